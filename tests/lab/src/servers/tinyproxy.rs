//! tinyproxy 1.11 (Debian `tinyproxy`).
//!
//! - Demands a password with 407, but answers a wrong one with **401** and
//!   `WWW-Authenticate`.
//! - Closes after each answer, and sends no `Content-Length` with its own;
//!   only a tunnel lives on. Answers CONNECT with
//!   `HTTP/1.0 200 Connection established`.
//! - No TLS towards the client.
//! - Resolves only the names that the system resolves; it cannot be given names. On loopback these are `localhost` and
//!   IP literals.
//! - Takes credentials of ASCII letters, digits, `-`, `.` and `_` only.
//! - Logs requests without their outcome.

use super::process::{self, Plan, Running, Scratch};
use super::{RealProxy, Setup, StartError};
use std::fmt::Write;
use std::net::SocketAddr;
use std::process::Command;

/// Not configurable before 1.11.2.
const REALM: &str = "Tinyproxy";

pub(super) async fn start(setup: &Setup) -> Result<RealProxy, StartError> {
    let program = process::find("tinyproxy", "Debian package tinyproxy")?;
    if !configurable(&setup.user) || !configurable(&setup.password) {
        return Err(StartError::new("tinyproxy cannot take these credentials"));
    }
    let running: Running = process::start("tinyproxy", false, |dir, addr, _| {
        let filter: String = setup
            .deny
            .iter()
            .map(|name| format!("^{}$\n", process::escape(name)))
            .collect();
        dir.write("filter", &filter)?;
        let config = dir.write("tinyproxy.conf", &config(setup, dir, addr))?;
        let mut command = Command::new(&program);
        command.args(["-d", "-c"]).arg(config);
        Ok(Plan {
            command,
            ready: ("Accepting connections", 1),
            shared_memory: None,
            logs: &["log/tinyproxy.log", "log/console.log"],
            requests: ("log/tinyproxy.log", request),
        })
    })
    .await?;
    Ok(RealProxy {
        running,
        realm: REALM,
        root_pem: None,
        behind: None,
    })
}

/// Returns true if 1.11's configuration file can contain the credential as a word. It has no quotes for credentials.
fn configurable(credential: &str) -> bool {
    let in_word = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    !credential.is_empty() && credential.chars().all(in_word)
}

/// `CONNECT   … [1]: Request (file descriptor 5): GET http://… HTTP/1.1`
fn request(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(": Request (file descriptor ")?;
    rest.split_once("): ").map(|(_, request)| request)
}

fn config(setup: &Setup, dir: &Scratch, addr: SocketAddr) -> String {
    let (ip, port) = (addr.ip(), addr.port());
    let Setup { user, password, .. } = setup;
    let dir = dir.path().display();
    let mut text = format!(
        r#"Listen {ip}
Port {port}
Timeout 60
MaxClients 100
LogFile "{dir}/log/tinyproxy.log"
LogLevel Info
PidFile "{dir}/log/tinyproxy.pid"
BasicAuth {user} {password}
"#
    );
    if !setup.deny.is_empty() {
        let _ = write!(
            text,
            r#"Filter "{dir}/filter"
FilterDefaultDeny No
"#
        );
    }
    text
}
