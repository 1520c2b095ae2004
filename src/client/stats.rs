//! What a pool holds and has done, as data.

use crate::route::Route;

/// What a client's pool holds and has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Connections opened since the client was built.
    pub opened: u64,
    /// Requests that were given a connection that another request had been given before.
    pub reused: u64,
    /// What there is now, by key. A key of which nothing is left is not listed.
    pub keys: Vec<KeyStats>,
}

impl PoolStats {
    /// Open connections, idle ones included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.keys.iter().map(|key| key.open).sum()
    }

    /// Open connections that serve no request.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.keys.iter().map(|key| key.idle).sum()
    }
}

/// The same for one key.
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
