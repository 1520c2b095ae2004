//! Who gets which connection.
//!
//! A request takes an idle connection of its key, or else waits in line, and while fewer connections are being opened
//! than requests wait (and the limit allows), one more is opened. What becomes available first, an idle connection or a
//! new one, goes to the head of the line; a new one that nobody waits for any more is kept as idle.
//!
//! Connections are opened in tasks of their own, so that a request that is given up or served otherwise wastes nothing.
//! Where HTTP/2 may be spoken, one connection is opened and the line waits for what it turns out to speak.
//!
//! No lock is held while anything is polled, woken or dropped.

use std::{
    collections::{HashMap, VecDeque, hash_map},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::{
    connect::{Connector, Established},
    connection::{Connection, Lease, Multiplexed, Sender},
    error::ClientError,
    key::Key,
    stats::{KeyStats, PoolStats},
};

/// How much a pool holds, and for how long. `None` is no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_idle_per_key: Option<usize>,
    pub(super) max_idle: Option<usize>,
    pub(super) max_per_key: Option<usize>,
}

pub(super) struct Pool {
    connector: Connector,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Arc<Key>, Entry>,
    /// Idle connections of all keys.
    idle: usize,
    opened: u64,
    reused: u64,
    /// Whether a task is there that closes what was idle for too long.
    reaping: bool,
}

#[derive(Default)]
struct Entry {
    /// The one that was used last comes last, and is used first.
    idle: VecDeque<(Connection, Instant)>,
    http2: Option<Multiplexed>,
    /// What the last connection spoke.
    is_http2: Option<bool>,
    line: VecDeque<oneshot::Sender<Result<Lease, ClientError>>>,
    connecting: usize,
    open: usize,
    opened: u64,
    reused: u64,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.open == 0 && self.connecting == 0 && self.line.is_empty()
    }
}

impl Pool {
    pub(super) fn new(connector: Connector, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            connector,
            limits,
            state: Mutex::default(),
        })
    }

    /// A connection for this key, in turn.
    pub(super) async fn acquire(self: &Arc<Self>, key: Key) -> Result<Lease, ClientError> {
        match self.take_or_wait(key) {
            Ok(lease) => Ok(lease),
            Err(waiting) => waiting.await.unwrap_or_else(|_| Err(ClientError::gone())),
        }
    }

    fn take_or_wait(self: &Arc<Self>, key: Key) -> Result<Lease, oneshot::Receiver<Result<Lease, ClientError>>> {
        let mut dead = Vec::new();
        let mut guard = self.lock();
        let state = &mut *guard;
        let (key, entry) = match state.entries.entry(Arc::new(key)) {
            hash_map::Entry::Occupied(entry) => (entry.key().clone(), entry.into_mut()),
            hash_map::Entry::Vacant(entry) => (entry.key().clone(), entry.insert(Entry::default())),
        };
        let mut found = None;
        if let Some(http2) = entry.http2.as_ref().filter(|http2| !http2.is_closed()) {
            found = Some(http2.share());
        }
        while let (None, Some((connection, _))) = (&found, entry.idle.pop_back()) {
            state.idle -= 1;
            match connection.is_ready() {
                true => found = Some(connection),
                false => dead.push(connection),
            }
        }
        let result = match found {
            Some(connection) => {
                entry.reused += 1;
                state.reused += 1;
                Ok(Lease::new(self, &key, connection, true))
            }
            None => {
                let (waiter, waiting) = oneshot::channel();
                entry.line.push_back(waiter);
                self.open_for_line(entry, &key);
                Err(waiting)
            }
        };
        drop(guard);
        drop(dead);
        result
    }

    /// Opens connections while fewer are being opened than requests wait.
    fn open_for_line(self: &Arc<Self>, entry: &mut Entry, key: &Arc<Key>) {
        entry.line.retain(|waiter| !waiter.is_closed());
        let may_be_http2 = self.connector.may_speak_http2(key) && entry.is_http2 != Some(false);
        let wanted = match may_be_http2 {
            true => entry.line.len().min(1),
            false => entry.line.len(),
        };
        let limit = self.limits.max_per_key.unwrap_or(usize::MAX);
        while entry.connecting < wanted && entry.open + entry.connecting < limit {
            entry.connecting += 1;
            let opening = Opening {
                pool: Arc::downgrade(self),
                key: key.clone(),
                pending: true,
            };
            tokio::spawn(opening.run(self.connector.clone()));
        }
    }

    /// A connection has been opened.
    fn opened(self: &Arc<Self>, key: &Arc<Key>, established: Established) {
        let Established {
            sender,
            driver,
            connected,
        } = established;
        {
            let mut guard = self.lock();
            let state = &mut *guard;
            let entry = state.entries.entry(key.clone()).or_default();
            entry.connecting -= 1;
            entry.open += 1;
            entry.opened += 1;
            entry.is_http2 = Some(matches!(sender, Sender::Http2(_)));
            state.opened += 1;
        }
        let open = Open {
            pool: Arc::downgrade(self),
            key: key.clone(),
        };
        tokio::spawn(async move {
            driver.await;
            drop(open);
        });
        match sender {
            Sender::Http2(sender) => self.multiplex(key, Multiplexed::new(sender, connected)),
            sender => {
                self.give(key, Connection::new(sender, connected), false);
                // Now that it is known not to be HTTP/2, the others in line need their own.
                self.update(key, |_| ());
            }
        }
    }

    /// Serves the whole line from one HTTP/2 connection.
    fn multiplex(self: &Arc<Self>, key: &Arc<Key>, new: Multiplexed) {
        let mut surplus = None;
        let (line, shared) = {
            let mut guard = self.lock();
            let state = &mut *guard;
            let entry = state.entries.entry(key.clone()).or_default();
            let http2 = match entry.http2.take_if(|old| !old.is_closed()) {
                Some(old) => {
                    surplus = Some(new);
                    entry.http2.insert(old)
                }
                None => entry.http2.insert(new),
            };
            let line = std::mem::take(&mut entry.line);
            let shared: Vec<_> = line.iter().map(|_| http2.share()).collect();
            self.reap_later(state);
            (line, shared)
        };
        for (waiter, connection) in line.into_iter().zip(shared) {
            let _ = waiter.send(Ok(Lease::new(self, key, connection, false)));
        }
        drop(surplus);
    }

    /// A connection could not be opened: that is the answer for the head of the line.
    fn failed(self: &Arc<Self>, key: &Arc<Key>, mut error: ClientError) {
        let mut next = self.update(key, |entry| {
            entry.connecting -= 1;
            entry.line.pop_front()
        });
        while let Some(waiter) = next {
            match waiter.send(Err(error)) {
                Err(Err(returned)) => error = returned,
                _ => return,
            }
            next = self.update(key, |entry| entry.line.pop_front());
        }
    }

    /// Gives a connection that is not in use to the head of the line, or keeps it.
    pub(super) fn give(self: &Arc<Self>, key: &Arc<Key>, mut connection: Connection, reused: bool) {
        loop {
            let mut evicted = Vec::new();
            let mut guard = self.lock();
            let state = &mut *guard;
            let entry = state.entries.entry(key.clone()).or_default();
            let Some(waiter) = entry.line.pop_front() else {
                entry.idle.push_back((connection, Instant::now()));
                state.idle += 1;
                self.evict(state, key, &mut evicted);
                self.reap_later(state);
                drop(guard);
                drop(evicted);
                return;
            };
            if reused {
                entry.reused += 1;
                state.reused += 1;
            }
            drop(guard);
            match waiter.send(Ok(Lease::new(self, key, connection, reused))) {
                Err(Ok(mut lease)) => match lease.take() {
                    Some(returned) => connection = returned,
                    None => return,
                },
                _ => return,
            }
        }
    }

    /// Takes out what is over the limits, the longest idle first.
    fn evict(&self, state: &mut State, key: &Arc<Key>, evicted: &mut Vec<Connection>) {
        if let Some(entry) = state.entries.get_mut(key) {
            while entry.idle.len() > self.limits.max_idle_per_key.unwrap_or(usize::MAX) {
                state.idle -= 1;
                evicted.extend(entry.idle.pop_front().map(|(connection, _)| connection));
            }
        }
        while state.idle > self.limits.max_idle.unwrap_or(usize::MAX) {
            let idle = state.entries.values_mut().filter(|entry| !entry.idle.is_empty());
            let Some(oldest) = idle.min_by_key(|entry| entry.idle[0].1) else {
                return;
            };
            state.idle -= 1;
            evicted.extend(oldest.idle.pop_front().map(|(connection, _)| connection));
        }
    }

    /// Changes an entry, opens connections for its line, and forgets it when nothing is left of it.
    fn update<T>(self: &Arc<Self>, key: &Arc<Key>, change: impl FnOnce(&mut Entry) -> T) -> T {
        let mut dead = VecDeque::new();
        let mut guard = self.lock();
        let state = &mut *guard;
        let entry = state.entries.entry(key.clone()).or_default();
        let result = change(entry);
        self.open_for_line(entry, key);
        if entry.idle.iter().any(|(connection, _)| connection.is_closed()) {
            let (closed, open) = entry.idle.drain(..).partition(|(connection, _)| connection.is_closed());
            (dead, entry.idle) = (closed, open);
            state.idle -= dead.len();
        }
        let http2 = entry.http2.take_if(|http2| http2.is_closed());
        if entry.is_empty() {
            state.entries.remove(key);
        }
        drop(guard);
        drop((dead, http2));
        result
    }

    /// Sees to it that what is idle for too long is closed, without a request having to come.
    fn reap_later(self: &Arc<Self>, state: &mut State) {
        let Some(timeout) = self.limits.idle_timeout.filter(|_| !state.reaping) else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else { return };
        state.reaping = true;
        let pool = Arc::downgrade(self);
        runtime.spawn(async move {
            let mut next = Instant::now() + timeout;
            loop {
                sleep_until(next).await;
                match pool.upgrade().and_then(|pool| pool.reap(timeout)) {
                    Some(expiry) => next = expiry,
                    None => return,
                }
            }
        });
    }

    /// Closes what was idle for too long, and tells when to look again.
    fn reap(&self, timeout: Duration) -> Option<Instant> {
        let now = Instant::now();
        let mut expired = Vec::new();
        let mut expired_http2 = Vec::new();
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut next: Option<Instant> = None;
        let mut not_before = |expiry: Instant| next = Some(next.map_or(expiry, |next| next.min(expiry)));
        for entry in state.entries.values_mut() {
            while entry.idle.front().is_some_and(|(_, since)| *since + timeout <= now) {
                state.idle -= 1;
                expired.extend(entry.idle.pop_front());
            }
            if let Some((_, since)) = entry.idle.front() {
                not_before(*since + timeout);
            }
            expired_http2.extend(
                entry
                    .http2
                    .take_if(|http2| http2.idle_since().is_some_and(|since| since + timeout <= now)),
            );
            if let Some(http2) = &entry.http2 {
                not_before(http2.idle_since().unwrap_or(now) + timeout);
            }
        }
        state.reaping = next.is_some();
        drop(guard);
        next
    }

    pub(super) fn stats(&self) -> PoolStats {
        let state = self.lock();
        let keys = state.entries.iter().map(|(key, entry)| KeyStats {
            route: key.route.clone(),
            origin: key.origin.as_ref().map(ToString::to_string),
            open: entry.open,
            idle: entry.idle.len()
                + usize::from(entry.http2.as_ref().is_some_and(|http2| http2.idle_since().is_some())),
            connecting: entry.connecting,
            waiting: entry.line.len(),
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

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("limits", &self.limits)
            .field("stats", &self.stats())
            .finish()
    }
}

/// A connection that is being opened. However its task ends, the pool is told.
struct Opening {
    pool: Weak<Pool>,
    key: Arc<Key>,
    pending: bool,
}

impl Opening {
    async fn run(mut self, connector: Connector) {
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
        if self.pending {
            // The task panicked, or the runtime ends.
            if let Some(pool) = self.pool.upgrade() {
                pool.lock().entries.entry(self.key.clone()).or_default().connecting -= 1;
            }
        }
    }
}

/// A connection that is open, for as long as its task runs.
struct Open {
    pool: Weak<Pool>,
    key: Arc<Key>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let (Some(pool), Ok(_)) = (self.pool.upgrade(), Handle::try_current()) {
            pool.update(&self.key, |entry| entry.open -= 1);
        }
    }
}
