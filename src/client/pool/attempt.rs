//! [`Attempt`]: a pending connection, and [`OpenConnection`]: an open one.

use std::sync::{Arc, Weak};

use hyper_util::client::legacy::connect::Connected;

use super::{Pool, connection::Sender, key::Key};
use crate::client::error::ClientError;

/// A connection attempt. It reports to the pool however its task ends, even by a panic or with its runtime.
pub(in crate::client) struct Attempt {
    pub(super) pool: Weak<Pool>,
    pub(in crate::client) key: Arc<Key>,
    pub(super) pending: bool,
}

impl Attempt {
    pub(in crate::client) fn opened(
        mut self,
        established: (Sender, Connected),
        driver: impl Future<Output = ()> + Send + 'static,
    ) {
        if let Some(pool) = self.pool.upgrade() {
            self.pending = false;
            pool.opened(&self.key, established, driver);
        }
    }

    pub(in crate::client) fn failed(mut self, error: ClientError) {
        if let Some(pool) = self.pool.upgrade() {
            self.pending = false;
            pool.failed(&self.key, error);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade().filter(|_| self.pending) {
            pool.aborted(&self.key);
        }
    }
}

/// An open connection. It exists as long as its task runs.
pub(super) struct OpenConnection {
    pub(super) pool: Weak<Pool>,
    pub(super) key: Arc<Key>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.closed(&self.key);
        }
    }
}
