//! A network of its own: names with addresses of the outside and of the inside, all of which are servers on loopback.
//!
//! What the application has for a resolver and a connector in the demonstration and in tests, so that nothing leaves the
//! machine and its hosts file stays as it is. What is on `127.0.0.1`, as the proxies are, is reached there.

use std::{
    collections::HashMap,
    future::{Ready, ready},
    io, iter,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::{client::legacy::connect::dns::Name, rt::TokioIo};
use tokio::net::TcpStream;
use tower::Service;
use tower_outbound_proxy::Target;

/// A resolver and a connector. Clones share the record of names.
#[derive(Clone, Debug)]
pub(crate) struct Network(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    names: HashMap<String, IpAddr>,
    servers: HashMap<SocketAddr, SocketAddr>,
    resolved: Mutex<Vec<String>>,
}

/// A name, its address, and what listens there.
pub(crate) type Host<'h> = (&'h str, ([u8; 4], u16), SocketAddr);

impl Network {
    pub(crate) fn new(hosts: &[Host<'_>]) -> Self {
        let name = |&(name, (ip, _), _): &Host<'_>| (name.to_owned(), ip.into());
        let server = |&(_, at, server): &Host<'_>| (at.into(), server);
        Self(Arc::new(Inner {
            names: hosts.iter().map(name).collect(),
            servers: hosts.iter().map(server).collect(),
            resolved: Mutex::default(),
        }))
    }

    /// The names that were looked up, in order.
    pub(crate) fn resolved(&self) -> Vec<String> {
        lock(&self.0.resolved).clone()
    }

    fn resolve(&self, name: &str) -> io::Result<IpAddr> {
        lock(&self.0.resolved).push(name.to_owned());
        let found = self.0.names.get(name).copied();
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name"))
    }

    /// The server that stands for a host.
    fn server(&self, uri: &Uri) -> io::Result<SocketAddr> {
        let unusable = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let target = Target::try_from(uri).map_err(unusable)?;
        let ip = match (target.ip(), target.name()) {
            (Some(ip), _) => ip,
            (None, name) => self.resolve(name.unwrap_or_default())?,
        };
        let at = SocketAddr::new(ip, target.port().unwrap_or_default());
        match self.0.servers.get(&at) {
            Some(server) => Ok(*server),
            None if ip == Ipv4Addr::LOCALHOST => Ok(at),
            None => Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "nothing listens there",
            )),
        }
    }
}

fn lock<T>(record: &Mutex<T>) -> MutexGuard<'_, T> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As a resolver.
impl Service<Name> for Network {
    type Response = iter::Once<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
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
