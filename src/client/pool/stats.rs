//! [`PoolStats`]: the content of a pool, as data.

use crate::{http2::ProxyStats, route::Route};

/// The content of a client's pool, and counters since the client was built.
///
/// A tunnel over HTTP/2 counts as a connection of its target. The connection to the proxy that carries it counts as one
/// that forwards, whatever it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Connections opened since the client was built.
    pub opened: u64,
    /// Requests that got a connection which had served another request.
    pub reused: u64,
    /// The current content, by key. Empty keys are not listed.
    pub keys: Vec<KeyStats>,
}

impl PoolStats {
    /// Adds the connections over HTTP/2 to one proxy. Those over HTTP/1.1 may be listed already.
    pub(in crate::client) fn add(&mut self, stats: ProxyStats) {
        let route = Route::Forward(stats.proxy);
        let listed = self
            .keys
            .iter_mut()
            .find(|key| key.origin.is_none() && key.route == route);
        match listed {
            Some(key) => {
                key.open += stats.open;
                key.idle += stats.idle;
                key.connecting += stats.connecting;
                key.waiting += stats.waiting;
                key.opened += stats.opened;
                key.reused += stats.reused;
            }
            None => self.keys.push(KeyStats {
                route,
                origin: None,
                open: stats.open,
                idle: stats.idle,
                connecting: stats.connecting,
                waiting: stats.waiting,
                opened: stats.opened,
                reused: stats.reused,
            }),
        }
    }

    /// Returns the number of open connections, idle ones included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.keys.iter().map(|key| key.open).sum()
    }

    /// Returns the number of open connections that serve no request.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.keys.iter().map(|key| key.idle).sum()
    }
}

/// The content of a client's pool for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStats {
    /// The route of its requests.
    pub route: Route,
    /// `scheme://host:port` of its target; `None` if a proxy forwards to any origin.
    pub origin: Option<String>,
    /// Open connections, idle ones included. An upgraded connection belongs to the caller and is not counted.
    pub open: usize,
    /// Open connections that serve no request.
    pub idle: usize,
    /// Connections that are being opened.
    pub connecting: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// Connections opened.
    pub opened: u64,
    /// Requests that got a connection which had served another request.
    pub reused: u64,
}
