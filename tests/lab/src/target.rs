//! The addresses to which a proxy of the lab connects.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::uri::Authority;
use tokio::net::TcpStream;

/// A map of targets. IP literals are themselves, mapped authorities have the address they are mapped to, and every
/// other name is `127.0.0.1`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Targets {
    mapped: HashMap<String, SocketAddr>,
}

impl Targets {
    pub(crate) fn map(&mut self, authority: &str, addr: SocketAddr) {
        self.mapped.insert(authority.to_ascii_lowercase(), addr);
    }

    fn find(&self, authority: &Authority, default_port: Option<u16>) -> io::Result<SocketAddr> {
        let port = authority.port_u16().or(default_port);
        let port = port.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no port"))?;
        let host = host(authority);
        let key = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        Ok(self.mapped.get(&key).copied().unwrap_or_else(|| {
            let ip = host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            SocketAddr::new(ip, port)
        }))
    }

    /// Connects to the address of `authority`.
    pub(crate) async fn dial(&self, authority: &Authority, default_port: Option<u16>) -> io::Result<TcpStream> {
        let io = TcpStream::connect(self.find(authority, default_port)?).await?;
        io.set_nodelay(true)?;
        Ok(io)
    }
}

/// Returns the host in lower case, an IPv6 address without its brackets.
pub(crate) fn host(authority: &Authority) -> String {
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_maps_and_names() {
        let mut targets = Targets::default();
        let mapped = "127.0.0.1:4000".parse().unwrap();
        targets.map("Mapped.test:80", mapped);
        targets.map("[2001:db8::1]:443", mapped);
        for (authority, default_port, found) in [
            ("mapped.TEST:80", None, "127.0.0.1:4000"),
            ("mapped.test", Some(80), "127.0.0.1:4000"),
            ("mapped.test:81", Some(80), "127.0.0.1:81"),
            ("[2001:db8::1]:443", None, "127.0.0.1:4000"),
            ("[::1]:7", None, "[::1]:7"),
            ("127.0.0.2:7", None, "127.0.0.2:7"),
            ("any.test:7", None, "127.0.0.1:7"),
        ] {
            let authority = authority.parse().unwrap();
            let found: SocketAddr = found.parse().unwrap();
            assert_eq!(targets.find(&authority, default_port).unwrap(), found);
        }
        assert!(targets.find(&"any.test".parse().unwrap(), None).is_err());
    }
}
