//! mitmproxy (PyPI `mitmproxy`, its program `mitmdump`), which opens tunnels
//! and reads what is in them.
//!
//! - Makes a root certificate at the start, see [`RealProxy::root_pem`], and
//!   a leaf for each name a client asks for in TLS.
//! - Takes TLS from clients on the same port, also with a leaf of that root.
//!   There it agrees to ALPN `h2` and then drops CONNECT.
//! - Answers CONNECT with `HTTP/1.1 200 Connection established`, only after it
//!   has connected to the origin. If it cannot, it answers 502 and leaves the
//!   connection open, but answers nothing more on it.
//! - Resolves what the system resolves, and [`Setup::hosts`] by an addon,
//!   which also refuses and logs.
//! - Logs the requests inside a tunnel as well as the CONNECT.
//! - Splits credentials at every colon, so a password cannot have one.
//!
//! The program is looked for in the environment variable `MITMDUMP`, then in
//! `PATH`.

use super::process::{self, Plan, Running, Scratch};
use super::{RealProxy, Setup, StartError};
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

const REALM: &str = "mitmproxy";

pub(super) async fn start(setup: &Setup) -> Result<RealProxy, StartError> {
    let program = program()?;
    if setup.user.contains(':') || setup.password.contains(':') {
        return Err(StartError::new("mitmproxy cannot take these credentials"));
    }
    let mut running: Running = process::start("mitmproxy", false, |dir, addr, _| {
        Ok(Plan {
            command: command(&program, setup, dir, addr)?,
            ready: ("listening at", 1),
            shared_memory: None,
            logs: &["log/access.log", "log/console.log"],
            requests: ("log/access.log", process::whole_line),
        })
    })
    .await?;
    let root = running.path().join("conf/mitmproxy-ca-cert.pem");
    let root_pem =
        std::fs::read_to_string(root).map_err(|e| StartError::io("cannot read mitmproxy's root certificate", e))?;
    running.tls_addr = Some(running.addr);
    Ok(RealProxy {
        running,
        realm: REALM,
        root_pem: Some(root_pem),
        behind: None,
    })
}

fn program() -> Result<PathBuf, StartError> {
    match std::env::var_os("MITMDUMP") {
        Some(path) => Ok(path.into()),
        None => process::find("mitmdump", "PyPI package mitmproxy"),
    }
}

fn command(program: &PathBuf, setup: &Setup, dir: &Scratch, addr: SocketAddr) -> Result<Command, StartError> {
    let mut hosts = String::new();
    for (name, ip) in setup.allowed_hosts() {
        let _ = writeln!(hosts, "{ip} {name}");
    }
    dir.write("hosts", &hosts)?;
    dir.write("deny", &setup.deny.join("\n"))?;
    let addon = dir.write("addon.py", include_str!("mitmproxy.py"))?;

    let mut command = Command::new(program);
    command
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["--listen-host", &addr.ip().to_string()])
        .args(["--listen-port", &addr.port().to_string()])
        .args(["--set", "flow_detail=0"])
        .args(["--set", &format!("confdir={}/conf", dir.path().display())])
        .args(["--proxyauth", &format!("{}:{}", setup.user, setup.password)])
        .arg("-s")
        .arg(addon);
    if let Some(pem) = &setup.origin_ca_pem {
        let file = dir.write("origin-ca.pem", pem)?;
        command
            .arg("--set")
            .arg(format!("ssl_verify_upstream_trusted_ca={}", file.display()));
    }
    Ok(command)
}
