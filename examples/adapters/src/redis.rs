//! [`Redis`]: a real Redis server.

use std::{net::TcpListener, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};
use tower::BoxError;

/// A `redis-server` (Debian's package of this name) on a free port of loopback, without files. Dropping it ends it.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    _server: Child,
}

impl Redis {
    /// Starts it, with this password.
    ///
    /// # Errors
    ///
    /// If it is not installed, or does not start.
    pub async fn start(password: &str) -> Result<Self, BoxError> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut server = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--requirepass", password, "--save", "", "--appendonly", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run redis-server (Debian's package of this name): {error}"))?;
        let mut log = BufReader::new(server.stdout.take().ok_or("the output is piped")?).lines();
        let mut said = String::new();
        while let Some(line) = log.next_line().await? {
            if line.contains("Ready to accept connections") {
                // It goes on writing there.
                tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
                return Ok(Self { port, _server: server });
            }
            said.push_str(&line);
            said.push('\n');
        }
        Err(format!("redis-server ended before it served:\n{said}").into())
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}
