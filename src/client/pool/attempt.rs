//! [`Attempt`]: the task of a pending connection, and [`OpenConnection`]: of an open one.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use tokio::{sync::oneshot, task::AbortHandle, time::sleep};

use super::{Pool, attempts::AttemptId, connection::Sender, key::Key, link::Link};
use crate::{
    client::error::ClientError,
    http2::PATIENCE,
    trace::{are_wanted, connection_closed},
};

/// A connection attempt. It reports to the pool however its task ends, even by a panic or with its runtime.
pub(in crate::client) struct Attempt {
    pub(super) pool: Weak<Pool>,
    pub(in crate::client) key: Arc<Key>,
    pub(super) id: AttemptId,
    /// Resolves when the pool has ended the attempt.
    pub(super) stopped: oneshot::Receiver<()>,
    pub(super) pending: bool,
}

/// A new connection: its sending half, and its driver.
pub(in crate::client) struct Established<D> {
    pub(in crate::client) sender: Sender,
    pub(in crate::client) link: Arc<Link>,
    pub(in crate::client) driver: D,
}

/// The future that moves a connection's bytes.
pub(in crate::client) trait Driver {
    /// Spawns a task that runs the connection until it is closed, and then drops `open`.
    fn spawn(self, open: OpenConnection) -> AbortHandle;
}

/// One step of an attempt.
enum Step<T> {
    Connected(T),
    Stopped,
    Slow,
}

impl Attempt {
    /// Runs the attempt to its end, or to the time when nobody waits for it.
    pub(in crate::client) async fn run<D: Driver>(
        mut self,
        connecting: impl Future<Output = Result<Established<D>, ClientError>>,
    ) {
        let mut connecting = pin!(connecting);
        let connected = loop {
            let mut patience = pin!(sleep(PATIENCE));
            let step = poll_fn(|cx| {
                if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
                    return Poll::Ready(Step::Connected(connected));
                }
                if Pin::new(&mut self.stopped).poll(cx).is_ready() {
                    return Poll::Ready(Step::Stopped);
                }
                patience.as_mut().poll(cx).map(|()| Step::Slow)
            });
            match step.await {
                Step::Connected(connected) => break connected,
                Step::Stopped => {
                    self.pending = false;
                    return;
                }
                Step::Slow => {
                    let pool = self.pool.upgrade();
                    self.pending = pool.is_some_and(|pool| pool.is_wanted(&self.key, self.id));
                    if !self.pending {
                        return;
                    }
                }
            }
        };
        let Some(pool) = self.pool.upgrade() else { return };
        self.pending = false;
        match connected {
            Ok(established) => pool.opened(&self.key, self.id, established),
            Err(error) => pool.failed(&self.key, self.id, error),
        }
    }

    /// Closes idle connections of the pool, because the system has no more descriptors. Returns false if there are
    /// none.
    pub(in crate::client) async fn close_idle(pool: &Weak<Pool>) -> bool {
        let closed = pool.upgrade().is_some_and(|pool| pool.close_idle());
        if closed {
            // Their tasks close them.
            sleep(Duration::from_millis(5)).await;
        }
        closed
    }

    pub(in crate::client) fn pool(&self) -> Weak<Pool> {
        self.pool.clone()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade().filter(|_| self.pending) {
            pool.aborted(&self.key, self.id);
        }
    }
}

/// An open connection. It exists as long as the connection does, and tells the pool of its end.
pub(in crate::client) struct OpenConnection {
    pub(super) pool: Weak<Pool>,
    pub(super) key: Arc<Key>,
    pub(in crate::client) link: Arc<Link>,
}

impl OpenConnection {
    /// Records that the peer allows another number of requests at a time.
    pub(in crate::client) fn settled(&self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.settled(&self.key, &self.link);
        }
    }

    /// Leaves the pool out of it: the connection was not added.
    pub(super) fn forget(mut self) {
        self.pool = Weak::new();
    }

    /// Records that the connection takes no more requests, though some may still be on it.
    pub(in crate::client) fn draining(&self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.withdraw(&self.key, &self.link);
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.link.set_over();
        if are_wanted() {
            let version = if self.link.is_http2() { "2" } else { "1.1" };
            connection_closed(&self.key.peer(), self.link.open_for(), version);
        }
        if let Some(pool) = self.pool.upgrade() {
            pool.closed(&self.key, &self.link);
        }
    }
}
