//! A pool of connections, keyed by route.
//!
//! - [`key`]: the properties that two requests must share to use one connection;
//! - [`checkout`]: gives connections to requests, and makes attempts for waiters;
//! - [`idle`]: checks connections in, keeps them within the limits, and closes them;
//! - [`connection`], [`lease`]: one connection, and a request's hold on it;
//! - [`attempt`], [`reaper`], [`retired`]: the tasks of a pool, and connections of replaced settings;
//! - [`stats`]: the pool's content as data.
//!
//! No lock is held while anything is polled, woken, spawned (spawning drops a task if the runtime is ending) or
//! dropped.

mod attempt;
mod checkout;
mod connection;
mod idle;
pub(super) mod key;
mod lease;
mod reaper;
mod retired;
mod stats;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

pub use self::stats::{KeyStats, PoolStats};
pub(super) use self::{
    attempt::Attempt,
    connection::{RequestBody, Sender},
    lease::Lease,
};
use self::{
    connection::{Connection, Multiplexed},
    key::Key,
    retired::Retired,
};
use super::{connect::TargetConnector, error::ClientError};

/// The limits of a pool. `None` is no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_idle_per_key: Option<usize>,
    pub(super) max_idle: Option<usize>,
    pub(super) max_per_key: Option<usize>,
}

pub(super) struct Pool {
    connector: TargetConnector,
    limits: Limits,
    state: Mutex<State>,
    /// Dropped with the pool, which ends its connection attempts and its reaper.
    alive: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Arc<Key>, Entry>,
    opened: u64,
    reused: u64,
    retired: Retired,
    /// True while a reaper is running.
    reaping: bool,
}

impl State {
    /// Returns true if the key comes from the current settings, and the known, equal key from replaced ones.
    fn is_newer(&self, key: &Key, known: &Key) -> bool {
        !Arc::ptr_eq(&key.settings, &known.settings) && self.retired.is_present(&key.settings)
    }

    /// Replaces the equal key with this one. Connections opened for it from now on use its settings.
    fn replace_key(&mut self, key: Key) -> Arc<Key> {
        let entry = self.entries.remove(&key).unwrap_or_default();
        let key = Arc::new(key);
        self.entries.insert(key.clone(), entry);
        key
    }
}

#[derive(Default)]
struct Entry {
    /// In order of last use. The most recently used connection comes last and is used first.
    idle: VecDeque<(Connection, Instant)>,
    http2: Option<Multiplexed>,
    /// True if the last connection spoke HTTP/2.
    is_http2: Option<bool>,
    /// Requests without a connection, in order.
    waiters: VecDeque<Waiter>,
    connecting: usize,
    open: usize,
    opened: u64,
    reused: u64,
}

type Waiter = oneshot::Sender<Result<Lease, ClientError>>;

/// Connections taken out of an entry, to be dropped without the lock.
type Evicted = (Option<Connection>, Option<Multiplexed>);

impl Entry {
    fn is_empty(&self) -> bool {
        self.open == 0 && self.connecting == 0 && self.waiters.is_empty()
    }

    fn http2_idle_since(&self) -> Option<Instant> {
        self.http2.as_ref().and_then(Multiplexed::idle_since)
    }

    fn idle(&self) -> usize {
        self.idle.len() + usize::from(self.http2_idle_since().is_some())
    }

    /// Returns the time since which the longest idle connection is idle.
    fn idle_since(&self) -> Option<Instant> {
        let http1 = self.idle.front().map(|(_, since)| *since);
        http1.into_iter().chain(self.http2_idle_since()).min()
    }

    /// Removes the longest idle connection.
    fn evict(&mut self) -> Evicted {
        match self.http2_idle_since() == self.idle_since() {
            true => (None, self.http2.take()),
            false => (self.idle.pop_front().map(|(connection, _)| connection), None),
        }
    }
}

impl Pool {
    pub(super) fn new(connector: TargetConnector, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            connector,
            limits,
            state: Mutex::default(),
            alive: watch::Sender::new(()),
        })
    }

    /// Changes an entry, opens connections for its waiters, and removes it when it is empty.
    fn update<T>(self: &Arc<Self>, key: &Arc<Key>, change: impl FnOnce(&mut Entry) -> T) -> T {
        let mut dead = VecDeque::new();
        let mut guard = self.lock();
        let state = &mut *guard;
        let entry = state.entries.entry(key.clone()).or_default();
        let result = change(entry);
        let wanted = self.wanted(entry, key);
        if entry.idle.iter().any(|(connection, _)| connection.is_closed()) {
            let (closed, open) = entry.idle.drain(..).partition(|(connection, _)| connection.is_closed());
            (dead, entry.idle) = (closed, open);
        }
        let http2 = entry.http2.take_if(|http2| http2.is_closed());
        if entry.is_empty() {
            state.entries.remove(key);
        }
        drop(guard);
        drop((dead, http2));
        self.open(key, wanted);
        result
    }

    /// Records that an open connection's task has ended.
    pub(super) fn closed(self: &Arc<Self>, key: &Arc<Key>) {
        self.update(key, |entry| entry.open -= 1);
    }

    pub(super) fn stats(&self) -> PoolStats {
        let state = self.lock();
        let keys = state.entries.iter().map(|(key, entry)| KeyStats {
            route: key.route.clone(),
            origin: key.origin.as_ref().map(ToString::to_string),
            open: entry.open,
            idle: entry.idle(),
            connecting: entry.connecting,
            waiting: entry.waiters.iter().filter(|waiter| !waiter.is_closed()).count(),
            opened: entry.opened,
            reused: entry.reused,
        });
        PoolStats {
            opened: state.opened,
            reused: state.reused,
            keys: keys.collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `task` until it finishes or the pool is dropped.
pub(super) async fn run_until_closed(task: impl Future<Output = ()>, mut pool: watch::Receiver<()>) {
    let (mut task, mut closed) = (pin!(task), pin!(pool.changed()));
    poll_fn(|cx| match task.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => closed.as_mut().poll(cx).map(drop),
    })
    .await;
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("limits", &self.limits)
            .field("stats", &self.stats())
            .finish()
    }
}
