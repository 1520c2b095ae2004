//! Opening: attempts for waiters, and their ends.
//!
//! While there are fewer fresh attempts than waiters (and the limit allows it), more start. If the target may choose
//! HTTP/2, waiters share one attempt, until its protocol and the peer's limit of streams are known. Attempts run in
//! their own tasks, so that the connection is not wasted if its request is served otherwise.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::oneshot, time::Instant};

use super::{
    Entry, Pool,
    attempt::{Attempt, Driver, Established, OpenConnection},
    attempts::AttemptId,
    connection::{Connection, Multiplexed, Removed, Sender},
    key::Key,
    link::Link,
};
use crate::{client::error::ClientError, http2::PATIENCE};

/// An attempt to start.
pub(super) type Wanted = (AttemptId, oneshot::Receiver<()>);

impl Pool {
    /// Returns the attempts to start, which count from now on. Removes those that nobody has a use for.
    pub(super) fn wanted(&self, entry: &mut Entry, key: &Key, removed: &mut Vec<Removed>) -> Vec<Wanted> {
        let waiters = entry.waiters.useful(self.limits.max_per_key);
        if waiters == 0 {
            return Vec::new();
        }
        let now = Instant::now();
        entry.attempts.age(now, waiters, removed);
        let settling = entry
            .http2
            .iter()
            .filter(|http2| http2.link.is_settling(PATIENCE))
            .count();
        if entry.http2.iter().any(|http2| http2.link.streams() == 0) {
            // The peer takes no requests for now.
            return Vec::new();
        }
        let needed = match self.connector.may_speak_http2(key) && entry.is_http2 != Some(false) {
            true => {
                let connections = entry.streams.map_or(1, |streams| waiters.div_ceil(streams.max(1)));
                connections.max(entry.attempts.at_once()).min(waiters)
            }
            false => waiters,
        };
        let needed = needed.saturating_sub(entry.attempts.fresh() + settling);
        let limit = self.limits.max_per_key.unwrap_or(usize::MAX);
        if needed > 0 && entry.open + entry.attempts.len() >= limit && entry.attempts.fresh() == 0 {
            // The limit allows no attempt beside it.
            entry.attempts.end_youngest(removed);
        }
        let room = limit.saturating_sub(entry.open + entry.attempts.len());
        (0..needed.min(room)).map(|_| entry.attempts.start(now)).collect()
    }

    /// Starts attempts that [`wanted`](Self::wanted) returned.
    pub(super) fn open(self: &Arc<Self>, key: &Arc<Key>, wanted: Vec<Wanted>) {
        for (id, stopped) in wanted {
            let attempt = Attempt {
                pool: Arc::downgrade(self),
                key: key.clone(),
                id,
                stopped,
                pending: true,
            };
            // Without a runtime, the attempt is dropped, which tells its waiter.
            if let Ok(runtime) = Handle::try_current() {
                self.connector.spawn(&runtime, attempt, self.alive.subscribe());
            }
        }
    }

    /// Returns true if an attempt is to go on after its patience.
    pub(super) fn is_wanted(self: &Arc<Self>, key: &Arc<Key>, id: AttemptId) -> bool {
        let wanted = self.change(key, |entry, _, removed| {
            let waiters = entry.waiters.len();
            entry.attempts.age(Instant::now(), waiters, removed);
            entry.attempts.is_wanted(id, waiters, removed)
        });
        wanted == Some(true)
    }

    /// Adds an opened connection and gives it to waiters.
    pub(super) fn opened<D: Driver>(self: &Arc<Self>, key: &Arc<Key>, id: AttemptId, established: Established<D>) {
        let Established { sender, link, driver } = established;
        let is_http2 = matches!(sender, Sender::Http2(_));
        let open = OpenConnection {
            pool: Arc::downgrade(self),
            key: key.clone(),
            link: link.clone(),
        };
        let added = self.change(key, |entry, common, removed| {
            let known = entry.attempts.remove(id).map(Removed::Attempt);
            let is_known = known.is_some();
            removed.extend(known);
            let count = entry.open + entry.attempts.len();
            if !is_known && self.limits.max_per_key.is_some_and(|limit| count >= limit) {
                // The pool has ended the attempt, and another has its place.
                return false;
            }
            entry.attempts.succeeded();
            entry.open += 1;
            entry.opened += 1;
            common.opened += 1;
            entry.is_http2 = Some(is_http2);
            match sender {
                Sender::Http2(sender) => {
                    let new = Multiplexed::new(sender, link.clone());
                    // Nobody waits where another connection has room.
                    let is_surplus = entry.http2.iter().any(Multiplexed::has_room);
                    if is_surplus || new.is_closed() {
                        removed.push(Removed::Http2(new));
                        return true;
                    }
                    entry.http2.push(new);
                    self.idled(entry, common, key, &link, removed);
                }
                sender => {
                    let new = Connection {
                        sender,
                        link: link.clone(),
                        has_served: false,
                        share: 0,
                    };
                    self.keep(entry, common, key, new, removed);
                }
            }
            true
        });
        if added == Some(true) {
            link.set_task(driver.spawn(open));
        } else {
            open.forget();
        }
    }

    /// Records that the peer of an HTTP/2 connection allows this number of requests at a time.
    pub(super) fn settled(self: &Arc<Self>, key: &Arc<Key>, link: &Link) {
        self.change(key, |entry, _, _| entry.streams = Some(link.streams()));
    }

    /// Handles a failed attempt. Its error goes to the first waiter, unless enough other attempts are fresh (the
    /// attempt's own request may have left). A time-out is told to nobody, since each waiter has its own deadline.
    pub(super) fn failed(self: &Arc<Self>, key: &Arc<Key>, id: AttemptId, error: ClientError) {
        let waiter = self.change(key, |entry, _, removed| {
            removed.push(Removed::Attempt(entry.attempts.remove(id)?));
            entry.attempts.failed(&error);
            match error.is_timeout() || entry.waiters.len() <= entry.attempts.fresh() {
                true => None,
                false => entry.waiters.pop(None).map(|(_, waiter)| waiter),
            }
        });
        if let Some(waiter) = waiter.flatten() {
            let _ = waiter.send(Err(error));
        }
    }

    /// Handles an aborted attempt, whose task panicked or whose runtime ended. No attempt takes its place, so waiters
    /// that would wait for nothing get an error.
    pub(super) fn aborted(&self, key: &Arc<Key>, id: AttemptId) {
        let mut guard = self.lock();
        let Some(entry) = guard.entries.get_mut(key) else {
            return;
        };
        let ended = entry.attempts.remove(id);
        let told = match entry.waiters.len().saturating_sub(entry.attempts.fresh()) {
            0 => 0,
            _ if entry.open + entry.attempts.len() == 0 => entry.waiters.len(),
            _ => 1,
        };
        let told: Vec<_> = (0..told).filter_map(|_| entry.waiters.pop(None)).collect();
        if entry.is_empty() {
            guard.entries.remove(key);
        }
        drop(guard);
        drop(ended);
        for (_, waiter) in told {
            let _ = waiter.send(Err(ClientError::aborted()));
        }
    }
}
