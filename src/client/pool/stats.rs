//! [`PoolStats`]: the content of a pool, as data.

use crate::route::Route;

/// The content of a client's pool, and counters since the client was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Connections opened since the client was built.
    pub opened: u64,
    /// Requests that were given a connection that another request had been given before.
    pub reused: u64,
    /// The present content, by key. An empty key is not listed.
    pub keys: Vec<KeyStats>,
}

impl PoolStats {
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
    /// The route its requests take.
    pub route: Route,
    /// `scheme://host:port` of its target; `None` where a proxy forwards to any.
    pub origin: Option<String>,
    /// Open connections, idle ones included. After an upgrade a connection is the caller's, and no longer counted.
    pub open: usize,
    /// Open connections that serve no request.
    pub idle: usize,
    /// Connections that are being opened.
    pub connecting: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// Connections opened.
    pub opened: u64,
    /// Requests that were given a connection that another request had been given before.
    pub reused: u64,
}
