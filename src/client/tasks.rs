//! The tasks of a pool. Each tells the pool how it ended, also where it panicked or its runtime ended.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::{connect::Connector, key::Key, pool::Pool};

/// A connection that is being opened. However its task ends, the pool is told.
pub(super) struct Opening {
    pub(super) pool: Weak<Pool>,
    pub(super) key: Arc<Key>,
    pub(super) pending: bool,
}

impl Opening {
    pub(super) async fn run(mut self, connector: Connector) {
        let result = connector.connect(&self.key).await;
        let Some(pool) = self.pool.upgrade() else { return };
        self.pending = false;
        match result {
            Ok(established) => pool.opened(&self.key, established),
            Err(error) => pool.failed(&self.key, error),
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
