//! A pool of connections, keyed by route.
//!
//! - [`key`]: the properties that two requests must share to use one connection;
//! - [`checkout`]: gives connections to requests; [`waiters`]: requests that wait for one;
//! - [`open`]: makes attempts for waiters; [`attempts`]: the pending ones of one key;
//! - [`idle`]: checks connections in, keeps them within the limits, and closes them;
//! - [`connection`], [`link`], [`lease`]: one connection, the facts about it, and a request's hold on it;
//! - [`attempt`], [`reaper`], [`retired`]: the tasks of a pool, and connections of replaced settings;
//! - [`stats`]: the pool's content as data.
//!
//! Nothing that a request costs grows with the number of keys, connections or waiters, except for the depth of a tree.
//!
//! No lock is held while anything is polled, woken, spawned (spawning drops a task if the runtime is ending) or
//! dropped.

mod attempt;
mod attempts;
mod checkout;
mod connection;
mod idle;
pub(super) mod key;
mod lease;
mod link;
mod open;
mod reaper;
mod retired;
mod stats;
mod waiters;

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
    runtime::{EnterGuard, Handle},
    sync::watch,
};

pub use self::stats::{KeyStats, PoolStats};
pub(super) use self::{
    attempt::{Attempt, Driver, Established, OpenConnection},
    connection::Sender,
    lease::{Lease, REST_OF_REQUEST, SendError},
    link::{Link, Watched},
};
use self::{
    attempts::Attempts,
    connection::{Connection, Multiplexed, Removed},
    idle::{Idle, Stamp},
    key::Key,
    retired::Retired,
    waiters::Waiters,
};
use super::connect::TargetConnector;

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
    /// The runtime of connections and timers; without one, each request uses its own.
    runtime: Option<Handle>,
    state: Mutex<State>,
    /// Dropped with the pool, which ends its connection attempts and its reaper.
    alive: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Arc<Key>, Entry>,
    common: Common,
}

/// The part of the state that belongs to no key.
#[derive(Default)]
struct Common {
    idle: Idle,
    opened: u64,
    reused: u64,
    retired: Retired,
    /// True while a reaper is running.
    reaping: bool,
}

impl State {
    /// Returns the pool's own copy of the key, with its entry. If the key comes from the current settings and the
    /// copy from replaced ones, this key takes the copy's place, so that its settings open connections from now on.
    fn entry(&mut self, key: Key) -> (Arc<Key>, &mut Entry, &mut Common) {
        // Most requests find their key here and need no key of their own on the heap.
        let known = self.entries.get_key_value(&key).map(|(known, _)| known.clone());
        let retired = &self.common.retired;
        let is_newer =
            |known: &Arc<Key>| !Arc::ptr_eq(&key.settings, &known.settings) && retired.is_present(&key.settings);
        let key = match known {
            Some(known) if !is_newer(&known) => known,
            known => {
                let entry = known.and_then(|known| self.entries.remove(&known)).unwrap_or_default();
                let key = Arc::new(key);
                self.entries.insert(key.clone(), entry);
                key
            }
        };
        let entry = self.entries.entry(key.clone()).or_default();
        (key, entry, &mut self.common)
    }
}

#[derive(Default)]
struct Entry {
    /// Idle HTTP/1.1 connections by their stamps. The most recently used one comes last and is used first.
    idle: VecDeque<(Stamp, Connection)>,
    /// HTTP/2 connections that take requests.
    http2: Vec<Multiplexed>,
    /// True if the last connection spoke HTTP/2.
    is_http2: Option<bool>,
    /// The requests that the last HTTP/2 connection took at a time.
    streams: Option<usize>,
    waiters: Waiters,
    attempts: Attempts,
    open: usize,
    opened: u64,
    reused: u64,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.open == 0 && self.attempts.len() == 0 && self.waiters.is_at_rest()
    }

    /// Returns the number of idle connections.
    fn idle(&self) -> usize {
        self.idle.len() + self.http2.iter().filter(|http2| http2.link.users() == 0).count()
    }
}

impl Pool {
    pub(super) fn new(connector: TargetConnector, limits: Limits, runtime: Option<Handle>) -> Arc<Self> {
        Arc::new(Self {
            connector,
            limits,
            runtime,
            state: Mutex::default(),
            alive: watch::Sender::new(()),
        })
    }

    /// Enters the pool's runtime, if it has one of its own.
    pub(super) fn enter(&self) -> Option<EnterGuard<'_>> {
        self.runtime.as_ref().map(Handle::enter)
    }

    pub(super) fn stats(&self) -> PoolStats {
        let state = self.lock();
        let keys = state.entries.iter().map(|(key, entry)| KeyStats {
            route: key.route.clone(),
            origin: key.origin.as_ref().map(ToString::to_string),
            open: entry.open,
            idle: entry.idle(),
            connecting: entry.attempts.len(),
            waiting: entry.waiters.len(),
            opened: entry.opened,
            reused: entry.reused,
        });
        PoolStats {
            opened: state.common.opened,
            reused: state.common.reused,
            keys: keys.collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let removed = std::iter::from_fn(|| state.remove_oldest()).collect();
        Removed::close(removed);
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
