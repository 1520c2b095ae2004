//! Checkout: a request gets an idle connection, or waits for one.
//!
//! A request takes an idle connection of its key, or becomes a waiter. While there are fewer attempts than waiters (and
//! the limit allows it), one more attempt starts. The first connection that becomes available, idle or new, goes to the
//! first waiter. A new connection without a waiter is kept as idle.
//!
//! Attempts run in their own tasks, so that the connection is not wasted if its request is cancelled or served
//! otherwise. If the target may choose HTTP/2, one attempt is made, and all waiters wait until its protocol is known.

use std::{collections::VecDeque, sync::Arc};

use hyper_util::client::legacy::connect::Connected;
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    ClientError, Entry, Pool,
    attempt::{Attempt, OpenConnection},
    connection::{Connection, Multiplexed, Sender},
    key::Key,
    lease::Lease,
};

impl Pool {
    /// Returns a connection for this key. Waiters are served in order.
    pub(in crate::client) async fn checkout(self: &Arc<Self>, key: Key) -> Result<Lease, ClientError> {
        match self.take_or_queue(key) {
            Ok(lease) => Ok(lease),
            Err(waiting) => waiting.await.unwrap_or_else(|_| Err(ClientError::aborted())),
        }
    }

    fn take_or_queue(self: &Arc<Self>, key: Key) -> Result<Lease, oneshot::Receiver<Result<Lease, ClientError>>> {
        let mut dead = Vec::new();
        let mut guard = self.lock();
        let state = &mut *guard;
        // Most requests find their key here and need no key of their own on the heap.
        let key = match state.entries.get_key_value(&key) {
            Some((known, _)) if !state.is_newer(&key, known) => known.clone(),
            _ => state.replace_key(key),
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
            // A new connection without a waiter may not be ready yet, but can take its first request.
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
                entry.waiters.push_back(waiter);
                (Err(waiting), self.wanted(entry, &key))
            }
        };
        drop(guard);
        drop(dead);
        self.open(&key, wanted);
        result
    }

    /// Returns true if all waiters share one attempt, because it may bring HTTP/2.
    fn is_shared_attempt(&self, entry: &Entry, key: &Key) -> bool {
        self.connector.may_speak_http2(key) && entry.is_http2 != Some(false)
    }

    /// Returns the number of further attempts to start. They count as connecting from now on.
    pub(super) fn wanted(&self, entry: &mut Entry, key: &Key) -> usize {
        entry.waiters.retain(|waiter| !waiter.is_closed());
        let wanted = match self.is_shared_attempt(entry, key) {
            true => entry.waiters.len().min(1),
            false => entry.waiters.len(),
        };
        let limit = self.limits.max_per_key.unwrap_or(usize::MAX);
        let room = limit.saturating_sub(entry.open + entry.connecting);
        let wanted = wanted.saturating_sub(entry.connecting).min(room);
        entry.connecting += wanted;
        wanted
    }

    /// Starts attempts that were counted by [`wanted`](Self::wanted).
    pub(super) fn open(self: &Arc<Self>, key: &Arc<Key>, wanted: usize) {
        for _ in 0..wanted {
            let attempt = Attempt {
                pool: Arc::downgrade(self),
                key: key.clone(),
                pending: true,
            };
            // Without a runtime, the attempt is dropped, which tells its waiter.
            if let Ok(runtime) = Handle::try_current() {
                self.connector.spawn(&runtime, attempt, self.alive.subscribe());
            }
        }
    }

    /// Adds an opened connection and gives it to waiters.
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
        let open = OpenConnection {
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
                self.checkin(key, Connection::new(sender, connected), false);
                // The connection does not speak HTTP/2, so the other waiters need connections of their own.
                self.update(key, |_| ());
            }
        }
    }

    /// Serves all waiters from one HTTP/2 connection.
    fn multiplex(self: &Arc<Self>, key: &Arc<Key>, new: Multiplexed) {
        let (waiters, others, reaper) = {
            let mut guard = self.lock();
            let state = &mut *guard;
            // Without an entry, the connection has already ended and has no waiters.
            let Some(entry) = state.entries.get_mut(key) else {
                return;
            };
            let old = entry.http2.take();
            let (mut http2, other) = match old {
                Some(old) if !old.is_closed() => (old, Some(new)),
                old => (new, old),
            };
            entry.waiters.retain(|waiter| !waiter.is_closed());
            let waiters = std::mem::take(&mut entry.waiters);
            let waiters: Vec<_> = waiters.into_iter().map(|waiter| (waiter, http2.share())).collect();
            let reused = waiters.iter().filter(|(_, connection)| connection.has_served()).count() as u64;
            entry.reused += reused;
            state.reused += reused;
            let mut others = vec![(None, other)];
            let is_retired = http2.idle_since().is_some() && state.retired.has(key);
            match http2.is_closed() || is_retired {
                false => entry.http2 = Some(http2),
                true => others.push((None, Some(http2))),
            }
            self.evict(state, key, &mut others);
            (waiters, others, self.start_reaper(state))
        };
        for (waiter, connection) in waiters {
            let _ = waiter.send(Ok(Lease::new(self, key, connection, false)));
        }
        drop(others);
        self.reap_later(reaper);
    }

    /// Handles a failed attempt. If the waiters shared it, its error goes to all of them. Otherwise, the error goes to
    /// the first waiter, unless enough other attempts are pending (the attempt's own request may have been cancelled).
    pub(super) fn failed(self: &Arc<Self>, key: &Arc<Key>, error: ClientError) {
        let told = self.update(key, |entry| {
            entry.connecting -= 1;
            entry.waiters.retain(|waiter| !waiter.is_closed());
            match entry.waiters.len().saturating_sub(entry.connecting) {
                0 => VecDeque::new(),
                _ if self.is_shared_attempt(entry, key) => std::mem::take(&mut entry.waiters),
                _ => entry.waiters.pop_front().into_iter().collect(),
            }
        });
        for waiter in told {
            let _ = waiter.send(Err(error.share()));
        }
    }

    /// Handles an aborted attempt, whose task panicked or whose runtime ended. No attempt takes its place, so waiters
    /// that would wait for nothing get an error.
    pub(super) fn aborted(&self, key: &Arc<Key>) {
        let mut guard = self.lock();
        let Some(entry) = guard.entries.get_mut(key) else {
            return;
        };
        entry.connecting -= 1;
        entry.waiters.retain(|waiter| !waiter.is_closed());
        let told = match entry.waiters.len().saturating_sub(entry.connecting) {
            0 => 0,
            _ if entry.open + entry.connecting == 0 => entry.waiters.len(),
            _ => 1,
        };
        let told: Vec<_> = entry.waiters.drain(..told).collect();
        if entry.is_empty() {
            guard.entries.remove(key);
        }
        drop(guard);
        for waiter in told {
            let _ = waiter.send(Err(ClientError::aborted()));
        }
    }
}
