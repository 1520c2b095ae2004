//! nghttpx 1.52 (Debian `nghttp2-proxy`) with a [Squid](super::squid) behind it.
//!
//! - Takes HTTP/1.1 and HTTP/2 on both ports: by ALPN behind TLS, with prior knowledge in clear.
//! - Only hands on. Squid authenticates, refuses and resolves names, so its answers are Squid's.
//! - Allows 100 streams on a connection. Of the tunnels of one connection to one host it serves 8 at a time, unless
//!   [`Setup::streams`] says otherwise. The others wait.
//! - Does not tell the target that the client has said all.
//! - Logs a tunnel when it ends, without the user, whom only Squid knows.

use super::process::{self, Plan, Running};
use super::{RealProxy, Setup, StartError};
use std::process::Command;

pub(super) async fn start(setup: &Setup) -> Result<RealProxy, StartError> {
    let program = process::find("nghttpx", "Debian package nghttp2-proxy")?;
    let behind = Setup {
        tls: None,
        ..setup.clone()
    };
    let squid = RealProxy::squid(&behind).await?;
    let running: Running = process::start("nghttpx", setup.tls.is_some(), |dir, addr, tls| {
        dir.write_tls(setup)?;
        let config = dir.write("nghttpx.conf", "")?;
        let log = dir.path().join("log");
        let address = |addr: std::net::SocketAddr| format!("{},{}", addr.ip(), addr.port());
        let mut command = Command::new(&program);
        command
            .arg(format!("--conf={}", config.display()))
            .args(["--http2-proxy", "--no-ocsp", "--workers=1"])
            .arg(format!("--frontend={};no-tls", address(addr)))
            .arg(format!("--backend={}", address(squid.addr())))
            .arg(format!("--accesslog-file={}", log.join("access.log").display()))
            .arg("--accesslog-format=$request $status - $remote_port");
        if let Some(streams) = setup.streams {
            command
                .arg(format!("--frontend-http2-max-concurrent-streams={streams}"))
                .arg(format!("--backend-connections-per-host={streams}"));
        }
        if let Some(addr) = tls {
            let alpn = if setup.http2.is_offered() {
                "h2,http/1.1"
            } else {
                "http/1.1"
            };
            command
                .arg(format!("--frontend={}", address(addr)))
                .arg(format!("--npn-list={alpn}"))
                .args([dir.path().join("tls.key"), dir.path().join("tls.pem")]);
        }
        Ok(Plan {
            command,
            ready: ("Created worker thread", 1),
            shared_memory: None,
            logs: &["log/access.log", "log/console.log"],
            requests: ("log/access.log", process::whole_line),
        })
    })
    .await?;
    Ok(RealProxy {
        running,
        realm: squid.realm,
        root_pem: None,
        behind: Some(Box::new(squid)),
    })
}
