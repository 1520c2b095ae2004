//! [`PoolStats`]: the content of a pool, as data.

use crate::route::Route;

/// The content of a client's pool, and counters since the client was built.
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
