//! The tasks of a pool. Each tells the pool how it ended, also where it panicked or its runtime ended.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use hyper_util::client::legacy::connect::Connected;
use tokio::time::{Instant, sleep_until};

use super::{connection::Sender, error::ClientError, key::Key, pool::Pool};

/// A connection that is being opened. However its task ends, the pool is told.
pub(super) struct Opening {
    pub(super) pool: Weak<Pool>,
    pub(super) key: Arc<Key>,
    pub(super) pending: bool,
}

impl Opening {
    pub(super) fn opened(
        mut self,
        established: (Sender, Connected),
        driver: impl Future<Output = ()> + Send + 'static,
    ) {
        if let Some(pool) = self.pool.upgrade() {
            self.pending = false;
            pool.opened(&self.key, established, driver);
        }
    }

    pub(super) fn failed(mut self, error: ClientError) {
        if let Some(pool) = self.pool.upgrade() {
            self.pending = false;
            pool.failed(&self.key, error);
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade().filter(|_| self.pending) {
            pool.broken_off(&self.key);
        }
    }
}

/// A connection that is open, for as long as its task runs.
pub(super) struct Open {
    pub(super) pool: Weak<Pool>,
    pub(super) key: Arc<Key>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.closed(&self.key);
        }
    }
}

/// The task that closes what was idle for too long. If its runtime ends, another can be started.
pub(super) struct Reaping {
    pub(super) pool: Weak<Pool>,
    pub(super) pending: bool,
}

impl Reaping {
    pub(super) async fn run(mut self, timeout: Duration) {
        let mut next = Instant::now() + timeout;
        loop {
            sleep_until(next).await;
            match self.pool.upgrade().and_then(|pool| pool.reap(timeout)) {
                Some(expiry) => next = expiry,
                None => {
                    self.pending = false;
                    return;
                }
            }
        }
    }
}

impl Drop for Reaping {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade().filter(|_| self.pending) {
            pool.not_reaping();
        }
    }
}
