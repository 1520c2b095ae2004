//! Checkout: a request gets a connection, or waits for one.
//!
//! A request takes a connection of its key that can take it, or becomes the last waiter. Each connection that becomes
//! available, idle or new, goes to the first waiter. A request waits until its own deadline, which covers every
//! attempt.

use std::{sync::Arc, time::Duration};

use http::Uri;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    Common, Entry, Pool, State,
    attempt::{Driver, Established},
    attempts::NO_ATTEMPT,
    connection::{Connection, Removed},
    key::Key,
    lease::Lease,
    waiters::{Answer, Share, Ticket},
};
use crate::{
    client::{
        connect::Streams,
        error::{ClientError, Failure},
    },
    connector::deadline::Deadline,
    http2::{self, PATIENCE},
    route::Route,
};

/// Waiters wait for so much longer than their deadline. An attempt that began with its waiter has the same deadline,
/// and its error, which names the step that took too long, comes first.
const GRACE: Duration = Duration::from_millis(10);

impl Pool {
    /// Returns a stream of a connection that a forwarded request shares with tunnels. `None` if the request is not
    /// forwarded, or the proxy speaks HTTP/1.1.
    pub(in crate::client) async fn stream_to_forward(
        self: &Arc<Self>,
        key: &Key,
        waited: &mut Duration,
    ) -> Result<Option<http2::Lease>, ClientError> {
        let Route::Forward(proxy) = &key.route else {
            return Ok(None);
        };
        match self.connector.stream(key, proxy) {
            Streams::None => Ok(None),
            Streams::Free(lease) => Ok(Some(lease)),
            Streams::ToWaitFor => {
                if Handle::try_current().is_err() {
                    return Err(ClientError::new(Failure::NoRuntime));
                }
                let start = Instant::now();
                let stream = self.connector.forwarding(self, key, *waited).await;
                *waited += start.elapsed();
                stream
            }
        }
    }

    /// Adds a connection that was opened without an attempt.
    pub(in crate::client) fn adopt<D: Driver>(self: &Arc<Self>, key: &Key, established: Established<D>) {
        let mut state = self.lock();
        let (key, ..) = state.entry(key.clone());
        drop(state);
        self.opened(&key, NO_ATTEMPT, established);
    }

    /// Returns a connection for this key. Waiters are served in order.
    /// The connect time-out covers all waits of a request, the earlier ones included.
    pub(in crate::client) async fn checkout(self: &Arc<Self>, key: Key, uri: &Uri, waited: &mut Duration) -> Answer {
        if Handle::try_current().is_err() {
            return Err(ClientError::new(Failure::NoRuntime));
        }
        let share = self.limits.max_per_key.map_or(0, |_| key.share(uri));
        match self.take_or_wait(key, share) {
            Ok(lease) => Ok(lease),
            Err(waiting) => {
                let start = Instant::now();
                let answer = waiting.lease(*waited).await;
                *waited += start.elapsed();
                answer
            }
        }
    }

    fn take_or_wait(self: &Arc<Self>, key: Key, share: Share) -> Result<Lease, Waiting> {
        let mut removed = Vec::new();
        let mut guard = self.lock();
        let (key, entry, common) = guard.entry(key);
        let taken = match entry.waiters.may_use(share, self.limits.max_per_key) {
            true => entry.take(common, &mut removed).map(|taken| entry.count(taken, share)),
            false => None,
        };
        let waiting = taken.is_none().then(|| entry.waiters.join(share));
        let wanted = self.wanted(entry, &key, &mut removed);
        drop(guard);
        Removed::close(removed);
        self.open(&key, wanted);
        match (taken, waiting) {
            (Some(connection), _) => Ok(Lease::new(self, &key, connection, true)),
            (None, Some((ticket, answer))) => Err(Waiting {
                pool: self.clone(),
                key,
                ticket,
                answer,
                is_answered: false,
            }),
            (None, None) => unreachable!("a request without a connection waits"),
        }
    }

    /// Brings an entry up to date: serves its waiters, makes attempts, removes it when it is empty.
    pub(super) fn update(self: &Arc<Self>, key: &Arc<Key>) {
        self.change(key, |_, _, _| ());
    }

    /// Changes an entry, and brings it up to date. Without the entry, there is nothing to change.
    pub(super) fn change<T>(
        self: &Arc<Self>,
        key: &Arc<Key>,
        change: impl FnOnce(&mut Entry, &mut Common, &mut Vec<Removed>) -> T,
    ) -> Option<T> {
        let (mut removed, mut served) = (Vec::new(), Vec::new());
        let mut guard = self.lock();
        let State { entries, common } = &mut *guard;
        let entry = entries.get_mut(key)?;
        let result = change(entry, common, &mut removed);
        let limit = self.limits.max_per_key;
        while entry.waiters.is_ready(limit) {
            let Some(taken) = entry.take(common, &mut removed) else {
                break;
            };
            let Some((share, waiter)) = entry.waiters.pop(limit) else {
                break;
            };
            served.push((waiter, entry.count(taken, share)));
        }
        let wanted = self.wanted(entry, key, &mut removed);
        if entry.is_empty() {
            entries.remove(key);
        }
        self.evict(&mut guard, &mut removed);
        let reaper = self.start_reaper(&mut guard.common);
        drop(guard);
        Removed::close(removed);
        for (waiter, connection) in served {
            let may_be_stale = connection.has_served;
            let lease = Lease::new(self, key, connection, may_be_stale);
            // If the waiter has left just now, its lease is dropped, which serves the next one.
            let _ = waiter.send(Ok(lease));
        }
        self.open(key, wanted);
        self.reap_later(reaper);
        Some(result)
    }
}

impl Entry {
    /// Takes a connection for a request: an HTTP/2 connection with room, or the idle one that was used last.
    fn take(&mut self, common: &mut Common, removed: &mut Vec<Removed>) -> Option<Connection> {
        let connection = match self.http2.iter_mut().find(|http2| http2.has_room()) {
            Some(http2) => {
                common.idle.remove(&http2.link);
                http2.share()
            }
            None => loop {
                let (_, connection) = self.idle.pop_back()?;
                common.idle.remove(&connection.link);
                // A new connection without a waiter may not be ready yet, but can take its first request.
                match connection.is_closed() {
                    false => break connection,
                    true => removed.push(Removed::Http1(connection)),
                }
            },
        };
        let reused = u64::from(connection.has_served);
        self.reused += reused;
        common.reused += reused;
        Some(connection)
    }

    /// Counts a connection for a share.
    fn count(&mut self, mut connection: Connection, share: Share) -> Connection {
        self.waiters.begin(share);
        connection.share = share;
        connection
    }
}

/// A request that waits. Dropping it removes its waiter.
struct Waiting {
    pool: Arc<Pool>,
    key: Arc<Key>,
    ticket: Ticket,
    answer: oneshot::Receiver<Answer>,
    is_answered: bool,
}

impl Waiting {
    async fn lease(mut self, waited: Duration) -> Answer {
        let limit = self.key.settings.connect_timeout;
        let deadline = Deadline::after(limit.map(|limit| limit.saturating_sub(waited)));
        let end = deadline.end().and_then(|end| end.checked_add(GRACE));
        loop {
            let patience = Instant::now() + PATIENCE;
            let until = end.map_or(patience, |end| end.min(patience));
            match timeout_at(until, &mut self.answer).await {
                Ok(answer) => {
                    self.is_answered = true;
                    return answer.unwrap_or_else(|_| Err(ClientError::aborted()));
                }
                Err(_) if Some(until) == end => return Err(self.timed_out()),
                // The waiter's own runtime looks after the attempts, because nobody may be driving theirs.
                Err(_) => self.pool.update(&self.key),
            }
        }
    }

    fn timed_out(&self) -> ClientError {
        let state = self.pool.lock();
        let entry = state.entries.get(&self.key);
        if let Some(error) = entry.and_then(|entry| entry.attempts.timed_out()) {
            return error.share();
        }
        let limit = self.pool.limits.max_per_key;
        let is_limited = limit.is_some_and(|limit| entry.is_some_and(|entry| entry.open >= limit));
        ClientError::new(match (self.key.settings.connect_timeout, limit) {
            (Some(waited), Some(limit)) if is_limited => Failure::NoneFree { waited, limit },
            _ => Failure::Timeout,
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let ticket = self.ticket;
        self.pool.change(&self.key, |entry, _, _| entry.waiters.leave(ticket));
    }
}
