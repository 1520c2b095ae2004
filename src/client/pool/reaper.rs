//! [`Reaper`]: the task that closes idle connections.

use std::{sync::Weak, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::Pool;

/// Closes connections that are idle for too long. If its runtime ends, another reaper can be started.
pub(super) struct Reaper {
    pub(super) pool: Weak<Pool>,
    pub(super) pending: bool,
}

impl Reaper {
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

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade().filter(|_| self.pending) {
            pool.reaper_stopped();
        }
    }
}
