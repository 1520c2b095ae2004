//! Names without a name server.
//!
//! Tests use names such as `origin.test` to see which side looks a name up. [`Resolver`] answers every name with
//! loopback and records it.

use std::collections::HashSet;
use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use crate::lock;

/// Resolves every name to the same addresses, usually one. Clones share the record of names.
#[derive(Clone)]
pub struct Resolver {
    answer: Vec<IpAddr>,
    unknown: HashSet<String>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Resolver {
    /// Resolves every name to `127.0.0.1`.
    #[must_use]
    #[allow(clippy::new_without_default)] // `to` is no less a constructor
    pub fn new() -> Self {
        Self::to(Ipv4Addr::LOCALHOST)
    }

    /// Resolves every name to this address.
    #[must_use]
    pub fn to(answer: impl Into<IpAddr>) -> Self {
        Self::to_all([answer.into()])
    }

    /// Resolves every name to these addresses, in this order.
    #[must_use]
    pub fn to_all(answer: impl Into<Vec<IpAddr>>) -> Self {
        Self {
            answer: answer.into(),
            unknown: HashSet::new(),
            asked: Arc::default(),
        }
    }

    /// Excludes this name, which does not resolve.
    #[must_use]
    pub fn unknown(mut self, name: &str) -> Self {
        self.unknown.insert(name.to_owned());
        self
    }

    /// Returns every name asked for so far, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }

    /// Returns the number of look-ups.
    #[must_use]
    pub fn lookups(&self) -> usize {
        lock(&self.asked).len()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("answer", &self.answer)
            .field("unknown", &self.unknown)
            .field("asked", &self.names())
            .finish()
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        lock(&self.asked).push(name.as_str().to_owned());
        ready(if self.unknown.contains(name.as_str()) {
            Err(io::Error::new(io::ErrorKind::NotFound, "no such name"))
        } else {
            // The connector puts the port in.
            let answer = self.answer.iter().map(|ip| SocketAddr::new(*ip, 0));
            Ok(answer.collect::<Vec<_>>().into_iter())
        })
    }
}

/// Returns a connector to loopback for every name and scheme.
#[must_use]
pub fn connector() -> HttpConnector<Resolver> {
    connector_with(Resolver::new())
}

/// Returns a connector for any scheme that uses this resolver. Keep a clone of the resolver to read the names.
#[must_use]
pub fn connector_with(resolver: Resolver) -> HttpConnector<Resolver> {
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector
}
