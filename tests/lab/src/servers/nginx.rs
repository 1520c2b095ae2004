//! nginx 1.22 (Debian `nginx-light`), an origin.
//!
//! - Speaks HTTP/1.1 and HTTP/2 behind TLS.
//! - Answers `HTTP/2.0 HOST`: the version of the request, and the host that nginx took from it.
//! - Refuses a request over HTTP/2 with a `Host` field beside `:authority` with 400, even if they are equal.

use super::process::{self, Plan, Running, Scratch};
use super::{StartError, TlsFiles};
use std::net::SocketAddr;
use std::process::Command;
use std::thread;

/// A running nginx. Dropping it stops it, as with a [`RealProxy`](super::RealProxy).
#[derive(Debug)]
pub struct Nginx(Running);

impl Nginx {
    /// Starts nginx with this certificate.
    ///
    /// # Errors
    ///
    /// If nginx is missing or does not come up.
    pub async fn start(tls: impl Into<TlsFiles>) -> Result<Self, StartError> {
        let program = process::find("nginx", "Debian package nginx-light")?;
        let tls = tls.into();
        let running = process::start("nginx", false, |dir, addr, _| {
            dir.write("tls.pem", &tls.cert_pem)?;
            dir.write("tls.key", &tls.key_pem)?;
            let config = dir.write("nginx.conf", &config(dir, addr))?;
            let mut command = Command::new(&program);
            command.args(["-e", "log/error.log", "-p"]).arg(dir.path());
            command.arg("-c").arg(config);
            Ok(Plan {
                command,
                ready: ("start worker processes", 1),
                shared_memory: None,
                logs: &["log/access.log", "log/error.log", "log/console.log"],
                requests: ("log/access.log", process::whole_line),
            })
        })
        .await?;
        Ok(Self(running))
    }

    /// Returns the address for HTTP over TLS.
    pub fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// Returns the requests it logged: `GET / HTTP/2.0 200`.
    pub fn requests(&self) -> Vec<String> {
        self.0.requests()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.0.log());
        }
    }
}

fn config(dir: &Scratch, addr: SocketAddr) -> String {
    let user = if dir.is_root { "user www-data;" } else { "" };
    format!(
        r#"{user}
daemon off;
worker_processes 1;
pid log/nginx.pid;
error_log log/error.log notice;
events {{}}
http {{
    log_format lab '$request $status';
    access_log log/access.log lab;
    client_body_temp_path log/body;
    proxy_temp_path log/proxy;
    fastcgi_temp_path log/fastcgi;
    uwsgi_temp_path log/uwsgi;
    scgi_temp_path log/scgi;
    server {{
        listen {addr} ssl http2;
        ssl_certificate tls.pem;
        ssl_certificate_key tls.key;
        location / {{
            default_type text/plain;
            return 200 "$server_protocol $host";
        }}
    }}
}}
"#
    )
}
