//! A separate network.
//!
//! If a program decides by address, loopback is not enough: a guard would refuse every server of the lab, and the
//! examples in Mattermost's and Palpo's documents name addresses of their own. [`Network`] gives names external and
//! internal addresses, and dialling one connects to a server on loopback.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::io;
use std::iter::{self, Once};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::lock;
use crate::target::host;

/// A name, its address and port in the network, and the listener that stands for it.
pub type Host<'h> = (&'h str, ([u8; 4], u16), SocketAddr);

/// A resolver and a connector. Clones share the record of names.
///
/// `127.0.0.1` is this machine, on every port. Every other name that is not a [`Host`] does not resolve, and every
/// other address refuses the connection.
#[derive(Clone, Debug)]
pub struct Network {
    names: Arc<HashMap<String, IpAddr>>,
    servers: Arc<HashMap<SocketAddr, SocketAddr>>,
    resolved: Arc<Mutex<Vec<String>>>,
}

impl Network {
    /// Creates a network of these hosts. A name may have several ports, but has the last address given.
    #[must_use]
    pub fn new<'h>(hosts: impl IntoIterator<Item = Host<'h>>) -> Self {
        let (mut names, mut servers) = (HashMap::new(), HashMap::new());
        for (name, at, server) in hosts {
            names.insert(name.to_owned(), at.0.into());
            servers.insert(at.into(), server);
        }
        Self {
            names: names.into(),
            servers: servers.into(),
            resolved: Arc::default(),
        }
    }

    /// Returns every name looked up so far, in order, by resolver and connector alike.
    #[must_use]
    pub fn resolved(&self) -> Vec<String> {
        lock(&self.resolved).clone()
    }

    fn resolve(&self, name: &str) -> io::Result<IpAddr> {
        lock(&self.resolved).push(name.to_owned());
        let found = self.names.get(name).copied();
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name"))
    }

    /// Returns the server that stands for a host.
    fn server(&self, uri: &Uri) -> io::Result<SocketAddr> {
        let default_port = match uri.scheme_str() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        };
        let (Some(authority), Some(port)) = (uri.authority(), uri.port_u16().or(default_port)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no host or no port"));
        };
        let host = host(authority);
        let ip = host.parse().or_else(|_| self.resolve(&host))?;
        let at = SocketAddr::new(ip, port);
        match self.servers.get(&at) {
            Some(server) => Ok(*server),
            None if ip == Ipv4Addr::LOCALHOST => Ok(at),
            None => Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "nothing listens there",
            )),
        }
    }
}

/// As a resolver.
impl Service<Name> for Network {
    type Response = Once<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        // The connector puts the port in.
        ready(self.resolve(name.as_str()).map(|ip| iter::once((ip, 0).into())))
    }
}

/// As a connector.
impl Service<Uri> for Network {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let server = self.server(&uri);
        Box::pin(async move { Ok(TokioIo::new(TcpStream::connect(server?).await?)) })
    }
}
