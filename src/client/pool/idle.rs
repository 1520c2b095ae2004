//! Idle connections: checked in, kept within the limits, and closed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::Instant};

use super::{
    Common, Entry, Pool, State,
    connection::{Connection, Removed, close},
    key::Key,
    link::Link,
    reaper::Reaper,
    run_until_closed,
};
use crate::layer::Shared;

/// The place of an idle connection in the order of last use. Zero is no place.
pub(super) type Stamp = u64;

/// All idle connections of a pool, the longest idle first.
#[derive(Default)]
pub(super) struct Idle {
    last: Stamp,
    connections: BTreeMap<Stamp, (Instant, Arc<Key>)>,
}

impl Idle {
    fn add(&mut self, key: &Arc<Key>, link: &Link) -> Stamp {
        self.last += 1;
        link.set_stamp(self.last);
        self.connections.insert(self.last, (Instant::now(), key.clone()));
        self.last
    }

    /// Removes a connection, if it is idle.
    pub(super) fn remove(&mut self, link: &Link) {
        self.connections.remove(&link.stamp());
        link.set_stamp(0);
    }

    /// Returns the time since which the longest idle connection is idle.
    fn since(&self) -> Option<Instant> {
        self.connections.first_key_value().map(|(_, (since, _))| *since)
    }
}

impl State {
    /// Removes the longest idle connection.
    pub(super) fn remove_oldest(&mut self) -> Option<Removed> {
        let (stamp, (_, key)) = self.common.idle.connections.pop_first()?;
        let entry = self.entries.get_mut(&key)?;
        let removed = entry.remove_idle(stamp);
        if entry.is_empty() {
            self.entries.remove(&key);
        }
        removed
    }
}

impl Entry {
    /// Removes a connection, if the pool has it.
    fn remove(&mut self, common: &mut Common, link: &Arc<Link>) -> Option<Removed> {
        let http1 = self.remove_http1(link.stamp());
        common.idle.remove(link);
        if http1.is_some() {
            return http1;
        }
        let position = self.http2.iter().position(|http2| Arc::ptr_eq(&http2.link, link))?;
        Some(Removed::Http2(self.http2.remove(position)))
    }

    /// Removes the idle HTTP/1.1 connection with this stamp. The stamps are in order.
    fn remove_http1(&mut self, stamp: Stamp) -> Option<Removed> {
        let position = self.idle.binary_search_by_key(&stamp, |(stamp, _)| *stamp).ok()?;
        self.idle
            .remove(position)
            .map(|(_, connection)| Removed::Http1(connection))
    }

    fn remove_idle(&mut self, stamp: Stamp) -> Option<Removed> {
        if let Some(removed) = self.remove_http1(stamp) {
            return Some(removed);
        }
        let position = self.http2.iter().position(|http2| http2.link.stamp() == stamp)?;
        Some(Removed::Http2(self.http2.remove(position)))
    }

    /// Returns the stamp of the longest idle connection.
    fn oldest(&self) -> Option<Stamp> {
        let http1 = self.idle.front().map(|(stamp, _)| *stamp);
        let http2 = self
            .http2
            .iter()
            .map(|http2| http2.link.stamp())
            .filter(|stamp| *stamp > 0);
        http1.into_iter().chain(http2).min()
    }
}

impl Pool {
    /// Checks a connection in: keeps it as idle, or passes it to the first waiter. `unused` is true if its request was
    /// not sent.
    pub(super) fn checkin(self: &Arc<Self>, key: &Arc<Key>, mut connection: Connection, unused: bool) {
        self.change(key, |entry, common, removed| {
            entry.waiters.end(std::mem::take(&mut connection.share));
            if unused {
                entry.unused(common, &connection);
            }
            self.keep(entry, common, key, connection, removed);
        });
    }

    /// Handles the end of a request on an HTTP/1.1 connection that is not checked in.
    pub(super) fn given_up(self: &Arc<Self>, key: &Arc<Key>, connection: Connection) {
        if connection.share > 0 {
            self.change(key, |entry, _, _| entry.waiters.end(connection.share));
        }
    }

    /// Handles the end of a request on a connection without a sender of its own. An HTTP/2 connection may be idle now.
    pub(super) fn released(self: &Arc<Self>, key: &Arc<Key>, connection: Connection, unused: bool) {
        let link = connection.link.clone();
        let is_withdrawn = self.change(key, |entry, common, removed| {
            if unused {
                entry.unused(common, &connection);
            }
            entry.waiters.end(connection.share);
            let is_last = connection.is_http2() && link.end();
            is_last && !self.idled(entry, common, key, &link, removed)
        });
        drop(connection);
        if is_withdrawn == Some(true) {
            close(vec![link]);
        }
    }

    /// Keeps an HTTP/1.1 connection as idle, unless it is closed or retired.
    pub(super) fn keep(
        &self,
        entry: &mut Entry,
        common: &mut Common,
        key: &Arc<Key>,
        connection: Connection,
        removed: &mut Vec<Removed>,
    ) {
        if connection.is_closed() || self.is_unwanted(entry, common, key) {
            return removed.push(Removed::Http1(connection));
        }
        if entry.idle.is_empty() {
            // Most keys have no more than one.
            entry.idle.reserve_exact(1);
        }
        entry
            .idle
            .push_back((common.idle.add(key, &connection.link), connection));
        self.evict_of_key(entry, common, removed);
    }

    /// Records that no request is on an HTTP/2 connection. Returns false if the pool no longer has it.
    pub(super) fn idled(
        &self,
        entry: &mut Entry,
        common: &mut Common,
        key: &Arc<Key>,
        link: &Arc<Link>,
        removed: &mut Vec<Removed>,
    ) -> bool {
        let position = entry.http2.iter().position(|http2| Arc::ptr_eq(&http2.link, link));
        let Some(position) = position else { return false };
        if entry.http2[position].is_closed() || self.is_unwanted(entry, common, key) {
            removed.push(Removed::Http2(entry.http2.remove(position)));
        } else {
            common.idle.add(key, link);
            self.evict_of_key(entry, common, removed);
        }
        true
    }

    /// Returns true if an idle connection is retired, and no waiter takes it now.
    fn is_unwanted(&self, entry: &Entry, common: &Common, key: &Key) -> bool {
        common.retired.has(key) && !entry.waiters.is_ready(self.limits.max_per_key)
    }

    /// Removes the idle connections over the limit of a key, the longest idle first.
    fn evict_of_key(&self, entry: &mut Entry, common: &mut Common, removed: &mut Vec<Removed>) {
        // A waiter takes what is idle now.
        if entry.waiters.is_ready(self.limits.max_per_key) {
            return;
        }
        let Some(most) = self.limits.max_idle_per_key else {
            return;
        };
        while entry.idle() > most {
            let Some(stamp) = entry.oldest() else { break };
            common.idle.connections.remove(&stamp);
            removed.extend(entry.remove_idle(stamp));
        }
    }

    /// Removes the idle connections over the limit of the pool, the longest idle first.
    pub(super) fn evict(&self, state: &mut State, removed: &mut Vec<Removed>) {
        let Some(most) = self.limits.max_idle else { return };
        while state.common.idle.connections.len() > most {
            removed.extend(state.remove_oldest());
        }
    }

    /// Closes a part of the idle connections, because the system has no more descriptors. Returns false if there are
    /// none.
    pub(super) fn close_idle(&self) -> bool {
        let mut state = self.lock();
        let count = state.common.idle.connections.len().div_ceil(8);
        let removed: Vec<_> = (0..count).filter_map(|_| state.remove_oldest()).collect();
        drop(state);
        let any = !removed.is_empty();
        Removed::close(removed);
        any
    }

    /// Records that a connection takes no more requests. Those that are on it go on.
    pub(super) fn withdraw(self: &Arc<Self>, key: &Arc<Key>, link: &Arc<Link>) {
        self.change(key, |entry, common, removed| removed.extend(entry.remove(common, link)));
    }

    /// Records that an open connection has ended.
    pub(super) fn closed(self: &Arc<Self>, key: &Arc<Key>, link: &Arc<Link>) {
        self.change(key, |entry, common, removed| {
            entry.open -= 1;
            removed.extend(entry.remove(common, link));
        });
    }

    /// Closes connections to retired proxies after settings were replaced: idle ones now, others after their last
    /// request.
    pub(in crate::client) fn retire(&self, present: &Arc<Shared>) {
        let mut retired = Vec::new();
        let mut guard = self.lock();
        let State { entries, common } = &mut *guard;
        common.retired.update(present);
        let Common {
            idle,
            retired: are_retired,
            ..
        } = common;
        idle.connections.retain(|stamp, (_, key)| {
            let is_retired = are_retired.has(key);
            if let Some(entry) = entries.get_mut(key).filter(|_| is_retired) {
                retired.extend(entry.remove_idle(*stamp));
            }
            !is_retired
        });
        drop(guard);
        Removed::close(retired);
    }

    /// Returns the time-out of the reaper to start; `None` if one is running or nothing expires.
    pub(super) fn start_reaper(&self, common: &mut Common) -> Option<Duration> {
        if common.reaping || common.idle.connections.is_empty() {
            return None;
        }
        // A time-out that overflows never expires.
        let timeout = self.limits.idle_timeout?;
        Instant::now().checked_add(timeout)?;
        common.reaping = true;
        Some(timeout)
    }

    /// Starts a reaper, which closes expired connections even if no request comes.
    pub(super) fn reap_later(self: &Arc<Self>, timeout: Option<Duration>) {
        let Some(timeout) = timeout else { return };
        let reaper = Reaper {
            pool: Arc::downgrade(self),
            pending: true,
        };
        // Without a runtime, the reaper is dropped, and the next idle connection starts another.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(run_until_closed(reaper.run(timeout), self.alive.subscribe()));
        }
    }

    /// Closes expired idle connections, and returns the time of the next look.
    pub(super) fn reap(&self, timeout: Duration) -> Option<Instant> {
        let now = Instant::now();
        let mut expired = Vec::new();
        let mut state = self.lock();
        while state.common.idle.since().is_some_and(|since| since + timeout <= now) {
            expired.extend(state.remove_oldest());
        }
        let next = state.common.idle.since();
        state.common.reaping = next.is_some();
        drop(state);
        Removed::close(expired);
        // Connections that expire at almost the same time are closed together.
        let pause = (timeout / 100).clamp(Duration::from_millis(1), Duration::from_secs(1));
        next.map(|since| (since + timeout).max(now + pause))
    }

    /// Records that the reaper has stopped.
    pub(super) fn reaper_stopped(&self) {
        self.lock().common.reaping = false;
    }
}

impl Entry {
    /// Corrects the counters for a request that was counted and not sent.
    fn unused(&mut self, common: &mut Common, connection: &Connection) {
        let reused = u64::from(connection.has_served);
        self.reused -= reused;
        common.reused -= reused;
    }
}
