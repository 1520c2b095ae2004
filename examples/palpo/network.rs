//! A network of its own: names and addresses of the outside and the inside, all of which are servers on loopback.
//!
//! What the application has for a resolver and a connector in the demonstration and in tests. Nothing leaves the machine,
//! its hosts file stays as it is, and the document's own examples can be taken to the letter: `10.0.1.1:8080` is there. What
//! is on `127.0.0.1` is reached there.

use std::{
    collections::HashMap,
    future::{Ready, ready},
    io, iter,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::{client::legacy::connect::dns::Name, rt::TokioIo};
use tokio::net::TcpStream;
use tower::Service;
use tower_outbound_proxy::Target;

/// A resolver and a connector. Clones share the record of names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    names: Arc<HashMap<String, IpAddr>>,
    servers: Arc<HashMap<SocketAddr, SocketAddr>>,
    resolved: Arc<Mutex<Vec<String>>>,
}

/// A name, its address with a port, and what listens there.
pub(crate) type Place<'p> = (&'p str, ([u8; 4], u16), SocketAddr);

impl Network {
    pub(crate) fn new<'p>(places: impl IntoIterator<Item = Place<'p>>) -> Self {
        let (mut names, mut servers) = (HashMap::new(), HashMap::new());
        for (name, at, server) in places {
            names.insert(name.to_owned(), at.0.into());
            servers.insert(at.into(), server);
        }
        Self {
            names: names.into(),
            servers: servers.into(),
            resolved: Arc::default(),
        }
    }

    /// The names that were looked up, in order.
    pub(crate) fn resolved(&self) -> Vec<String> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn resolve(&self, name: &str) -> io::Result<IpAddr> {
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        resolved.push(name.to_owned());
        let found = self.names.get(name).copied();
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name"))
    }

    /// The server that stands for a host.
    fn server(&self, uri: &Uri) -> io::Result<SocketAddr> {
        let no_target = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let target = Target::try_from(uri).map_err(no_target)?;
        let ip = match (target.ip(), target.name()) {
            (Some(ip), _) => ip,
            (None, name) => self.resolve(name.unwrap_or_default())?,
        };
        let at = SocketAddr::new(ip, target.port().unwrap_or_default());
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
