//! Who gets which connection.
//!
//! A request takes an idle connection of its key, or else waits in line, and while fewer connections are being opened
//! than requests wait (and the limit allows), one more is opened. What becomes available first, an idle connection or a
//! new one, goes to the head of the line; a new one that nobody waits for any more is kept as idle.
//!
//! Connections are opened in tasks of their own, so that a request that is given up or served otherwise wastes nothing.
//! Where HTTP/2 may be spoken, one connection is opened and the line waits for what it turns out to speak.
//!
//! No lock is held while anything is polled, woken, spawned (which may drop it, where a runtime ends) or dropped.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use hyper_util::client::legacy::connect::Connected;
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
    time::Instant,
};

use super::{
    connect::Connector,
    connection::{Connection, Lease, Multiplexed, Sender},
    error::ClientError,
    gone::Gone,
    key::Key,
    stats::{KeyStats, PoolStats},
    tasks::{Open, Opening, Reaping},
};
use crate::layer::Shared;

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
    /// Dropped with the pool, which ends the tasks that open connections and the one that closes idle ones.
    alive: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Arc<Key>, Entry>,
    opened: u64,
    reused: u64,
    gone: Gone,
    /// Whether a task is there that closes what was idle for too long.
    reaping: bool,
}

impl State {
    /// Whether this key is of the present settings, and the known one, which is equal to it, of some that were replaced.
    fn is_newer(&self, key: &Key, known: &Key) -> bool {
        !Arc::ptr_eq(&key.settings, &known.settings) && self.gone.is_present(&key.settings)
    }

    /// What is done by this key from here on is by its settings.
    fn put_in_place_of_its_equal(&mut self, key: Key) -> Arc<Key> {
        let entry = self.entries.remove(&key).unwrap_or_default();
        let key = Arc::new(key);
        self.entries.insert(key.clone(), entry);
        key
    }
}

#[derive(Default)]
struct Entry {
    /// The one that was used last comes last, and is used first.
    idle: VecDeque<(Connection, Instant)>,
    http2: Option<Multiplexed>,
    /// What the last connection spoke.
    is_http2: Option<bool>,
    line: VecDeque<Waiter>,
    connecting: usize,
    open: usize,
    opened: u64,
    reused: u64,
}

type Waiter = oneshot::Sender<Result<Lease, ClientError>>;

/// What was taken out of an entry, to be dropped without the lock.
type Evicted = (Option<Connection>, Option<Multiplexed>);

impl Entry {
    fn is_empty(&self) -> bool {
        self.open == 0 && self.connecting == 0 && self.line.is_empty()
    }

    fn http2_idle_since(&self) -> Option<Instant> {
        self.http2.as_ref().and_then(Multiplexed::idle_since)
    }

    fn idle(&self) -> usize {
        self.idle.len() + usize::from(self.http2_idle_since().is_some())
    }

    /// Since when the longest idle connection is idle.
    fn idle_since(&self) -> Option<Instant> {
        let http1 = self.idle.front().map(|(_, since)| *since);
        http1.into_iter().chain(self.http2_idle_since()).min()
    }

    /// Takes the longest idle connection out.
    fn evict(&mut self) -> Evicted {
        match self.http2_idle_since() == self.idle_since() {
            true => (None, self.http2.take()),
            false => (self.idle.pop_front().map(|(connection, _)| connection), None),
        }
    }
}

impl Pool {
    pub(super) fn new(connector: Connector, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            connector,
            limits,
            state: Mutex::default(),
            alive: watch::Sender::new(()),
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
        // Most requests find their key here, and need none of their own on the heap.
        let key = match state.entries.get_key_value(&key) {
            Some((known, _)) if !state.is_newer(&key, known) => known.clone(),
            _ => state.put_in_place_of_its_equal(key),
        };
        let entry = state.entries.entry(key.clone()).or_default();
        let mut found = None;
        if let Some(http2) = entry.http2.as_mut().filter(|http2| !http2.is_closed()) {
            found = Some(http2.share());
        }
        while found.is_none() {
            let Some((connection, _)) = entry.idle.pop_back() else {
                break;
            };
            // A new one that nobody waited for need not be ready yet; it takes its first request all the same.
            match connection.is_closed() {
                false => found = Some(connection),
                true => dead.push(connection),
            }
        }
        let (result, wanted) = match found {
            Some(connection) => {
                let reused = u64::from(connection.has_served());
                entry.reused += reused;
                state.reused += reused;
                (Ok(Lease::new(self, &key, connection, true)), 0)
            }
            None => {
                let (waiter, waiting) = oneshot::channel();
                entry.line.push_back(waiter);
                (Err(waiting), self.wanted(entry, &key))
            }
        };
        drop(guard);
        drop(dead);
        self.open(&key, wanted);
        result
    }

    /// Whether one attempt to connect is made for all who wait, because it may bring HTTP/2.
    fn connects_for_all(&self, entry: &Entry, key: &Key) -> bool {
        self.connector.may_speak_http2(key) && entry.is_http2 != Some(false)
    }

    /// How many connections more are to be opened, which count as being opened from here on.
    fn wanted(&self, entry: &mut Entry, key: &Key) -> usize {
        entry.line.retain(|waiter| !waiter.is_closed());
        let wanted = match self.connects_for_all(entry, key) {
            true => entry.line.len().min(1),
            false => entry.line.len(),
        };
        let limit = self.limits.max_per_key.unwrap_or(usize::MAX);
        let room = limit.saturating_sub(entry.open + entry.connecting);
        let wanted = wanted.saturating_sub(entry.connecting).min(room);
        entry.connecting += wanted;
        wanted
    }

    /// Opens connections that were found [`wanted`](Self::wanted).
    fn open(self: &Arc<Self>, key: &Arc<Key>, wanted: usize) {
        for _ in 0..wanted {
            let opening = Opening {
                pool: Arc::downgrade(self),
                key: key.clone(),
                pending: true,
            };
            // Without a runtime it is dropped, and so told.
            if let Ok(runtime) = Handle::try_current() {
                self.connector.spawn(&runtime, opening, self.alive.subscribe());
            }
        }
    }

    /// A connection has been opened.
    pub(super) fn opened(
        self: &Arc<Self>,
        key: &Arc<Key>,
        (sender, connected): (Sender, Connected),
        driver: impl Future<Output = ()> + Send + 'static,
    ) {
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
        let (line, others, reaper) = {
            let mut guard = self.lock();
            let state = &mut *guard;
            // Without an entry the connection has ended already, and nobody waits for it.
            let Some(entry) = state.entries.get_mut(key) else {
                return;
            };
            let old = entry.http2.take();
            let (mut http2, other) = match old {
                Some(old) if !old.is_closed() => (old, Some(new)),
                old => (new, old),
            };
            entry.line.retain(|waiter| !waiter.is_closed());
            let line = std::mem::take(&mut entry.line);
            let line: Vec<_> = line.into_iter().map(|waiter| (waiter, http2.share())).collect();
            let reused = line.iter().filter(|(_, connection)| connection.has_served()).count() as u64;
            entry.reused += reused;
            state.reused += reused;
            let mut others = vec![(None, other)];
            let is_left_over = http2.idle_since().is_some() && state.gone.has(key);
            match http2.is_closed() || is_left_over {
                false => entry.http2 = Some(http2),
                true => others.push((None, Some(http2))),
            }
            self.evict(state, key, &mut others);
            (line, others, self.needs_reaper(state))
        };
        for (waiter, connection) in line {
            let _ = waiter.send(Ok(Lease::new(self, key, connection, false)));
        }
        drop(others);
        self.reap_later(reaper);
    }

    /// A connection could not be opened. That is the answer for the head of the line, unless enough others are being opened
    /// (the request it was for may have been given up), or for the whole line, if it was the attempt for all.
    pub(super) fn failed(self: &Arc<Self>, key: &Arc<Key>, error: ClientError) {
        let told = self.update(key, |entry| {
            entry.connecting -= 1;
            entry.line.retain(|waiter| !waiter.is_closed());
            match entry.line.len().saturating_sub(entry.connecting) {
                0 => VecDeque::new(),
                _ if self.connects_for_all(entry, key) => std::mem::take(&mut entry.line),
                _ => entry.line.pop_front().into_iter().collect(),
            }
        });
        for waiter in told {
            let _ = waiter.send(Err(error.share()));
        }
    }

    /// A connection is no longer being opened: the task panicked, or the runtime ends. No other is opened in its place, so
    /// whoever would wait for nothing is told.
    pub(super) fn broken_off(&self, key: &Arc<Key>) {
        let mut guard = self.lock();
        let Some(entry) = guard.entries.get_mut(key) else {
            return;
        };
        entry.connecting -= 1;
        entry.line.retain(|waiter| !waiter.is_closed());
        let told = match entry.line.len().saturating_sub(entry.connecting) {
            0 => 0,
            _ if entry.open + entry.connecting == 0 => entry.line.len(),
            _ => 1,
        };
        let told: Vec<_> = entry.line.drain(..told).collect();
        if entry.is_empty() {
            guard.entries.remove(key);
        }
        drop(guard);
        for waiter in told {
            let _ = waiter.send(Err(ClientError::gone()));
        }
    }

    /// Gives a connection that is not in use to the head of the line, or keeps it.
    pub(super) fn give(self: &Arc<Self>, key: &Arc<Key>, mut connection: Connection, was_idle: bool) {
        loop {
            let mut evicted = Vec::new();
            let mut guard = self.lock();
            let state = &mut *guard;
            // Without an entry the connection has ended meanwhile.
            let Some(entry) = state.entries.get_mut(key) else {
                return;
            };
            let Some(waiter) = entry.line.pop_front() else {
                // One that has ended has been taken out of the entry's, and must not be put in again.
                let mut reaper = None;
                if !connection.is_closed() && !state.gone.has(key) {
                    entry.idle.push_back((connection, Instant::now()));
                    self.evict(state, key, &mut evicted);
                    reaper = self.needs_reaper(state);
                }
                drop(guard);
                drop(evicted);
                return self.reap_later(reaper);
            };
            let reused = u64::from(connection.has_served());
            entry.reused += reused;
            state.reused += reused;
            drop(guard);
            match waiter.send(Ok(Lease::new(self, key, connection, was_idle))) {
                Err(Ok(mut lease)) => match lease.take() {
                    Some(returned) => connection = returned,
                    None => return,
                },
                _ => return,
            }
            // It was not taken after all.
            let mut state = self.lock();
            state.reused -= reused;
            if let Some(entry) = state.entries.get_mut(key) {
                entry.reused -= reused;
            }
        }
    }

    /// A request has ended on an HTTP/2 connection, which may be idle now.
    pub(super) fn released(&self, key: &Arc<Key>) {
        let is_limited = self.limits.max_idle_per_key.or(self.limits.max_idle).is_some();
        let mut evicted = Vec::new();
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(entry) = state.entries.get_mut(key).filter(|_| state.gone.has(key)) {
            let http2 = entry.http2.take_if(|http2| http2.idle_since().is_some());
            evicted.push((None, http2));
        }
        if is_limited {
            self.evict(state, key, &mut evicted);
        }
        drop(guard);
        drop(evicted);
    }

    /// Takes out what is over the limits, the longest idle first.
    fn evict(&self, state: &mut State, key: &Arc<Key>, evicted: &mut Vec<Evicted>) {
        if let (Some(most), Some(entry)) = (self.limits.max_idle_per_key, state.entries.get_mut(key)) {
            while entry.idle() > most {
                evicted.push(entry.evict());
            }
        }
        let Some(most) = self.limits.max_idle else { return };
        let idle = state.entries.values().map(Entry::idle).sum::<usize>();
        for _ in most..idle {
            let idle = state
                .entries
                .values_mut()
                .filter_map(|entry| Some((entry.idle_since()?, entry)));
            let oldest = idle.min_by_key(|(since, _)| *since);
            evicted.extend(oldest.map(|(_, entry)| entry.evict()));
        }
    }

    /// Settings have been replaced: what leads to a proxy that is gone is closed, as soon as no request is on it.
    pub(super) fn retire(&self, present: &Arc<Shared>) {
        let mut retired = Vec::new();
        let mut guard = self.lock();
        let state = &mut *guard;
        state.gone.update(present);
        for (key, entry) in &mut state.entries {
            if state.gone.has(key) {
                let http2 = entry.http2.take_if(|http2| http2.idle_since().is_some());
                retired.push((std::mem::take(&mut entry.idle), http2));
            }
        }
        drop(guard);
        drop(retired);
    }

    /// Changes an entry, opens connections for its line, and forgets it when nothing is left of it.
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

    /// Whether a task has to be started that closes what is idle for too long: then, after how long.
    fn needs_reaper(&self, state: &mut State) -> Option<Duration> {
        // An idle connection's time-out that overflows never comes.
        let timeout = self
            .limits
            .idle_timeout
            .filter(|timeout| Instant::now().checked_add(*timeout).is_some())?;
        (!std::mem::replace(&mut state.reaping, true)).then_some(timeout)
    }

    /// Sees to it that what is idle for too long is closed, without a request having to come.
    fn reap_later(self: &Arc<Self>, timeout: Option<Duration>) {
        let Some(timeout) = timeout else { return };
        let reaping = Reaping {
            pool: Arc::downgrade(self),
            pending: true,
        };
        // Without a runtime it is dropped, and the next connection that is kept starts another.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(for_its_life(reaping.run(timeout), self.alive.subscribe()));
        }
    }

    /// Closes what was idle for too long, and tells when to look again.
    pub(super) fn reap(&self, timeout: Duration) -> Option<Instant> {
        let now = Instant::now();
        let mut expired = Vec::new();
        let mut next: Option<Instant> = None;
        let mut guard = self.lock();
        for entry in guard.entries.values_mut() {
            while entry.idle_since().is_some_and(|since| since + timeout <= now) {
                expired.push(entry.evict());
            }
            // An HTTP/2 connection in use will be idle, but not before now.
            let in_use = entry.http2.as_ref().map(|_| now);
            if let Some(since) = entry.idle_since().or(in_use) {
                // Not without a pause, however short the time-out is.
                let expiry = since + timeout.max(Duration::from_millis(1));
                next = Some(next.map_or(expiry, |next| next.min(expiry)));
            }
        }
        guard.reaping = next.is_some();
        drop(guard);
        next
    }

    /// An open connection's task has ended.
    pub(super) fn closed(self: &Arc<Self>, key: &Arc<Key>) {
        self.update(key, |entry| entry.open -= 1);
    }

    /// The task that closes idle connections is there no more.
    pub(super) fn not_reaping(&self) {
        self.lock().reaping = false;
    }

    pub(super) fn stats(&self) -> PoolStats {
        let state = self.lock();
        let keys = state.entries.iter().map(|(key, entry)| KeyStats {
            route: key.route.clone(),
            origin: key.origin.as_ref().map(ToString::to_string),
            open: entry.open,
            idle: entry.idle(),
            connecting: entry.connecting,
            waiting: entry.line.iter().filter(|waiter| !waiter.is_closed()).count(),
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

/// Does this, but for no longer than the pool is there.
pub(super) async fn for_its_life(task: impl Future<Output = ()>, mut pool: watch::Receiver<()>) {
    let (mut task, mut gone) = (pin!(task), pin!(pool.changed()));
    poll_fn(|cx| match task.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => gone.as_mut().poll(cx).map(drop),
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
