//! Idle connections: checked in, kept within the limits, and closed.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::Instant};

use super::{
    Entry, Evicted, Pool, State, connection::Connection, key::Key, lease::Lease, reaper::Reaper, run_until_closed,
};
use crate::layer::Shared;

impl Pool {
    /// Checks a connection in: passes it to the first waiter, or keeps it as idle.
    pub(super) fn checkin(self: &Arc<Self>, key: &Arc<Key>, mut connection: Connection, was_idle: bool) {
        loop {
            let mut evicted = Vec::new();
            let mut guard = self.lock();
            let state = &mut *guard;
            // Without an entry, the connection has ended meanwhile.
            let Some(entry) = state.entries.get_mut(key) else {
                return;
            };
            let Some(waiter) = entry.waiters.pop_front() else {
                // A closed connection has been removed from the entry and must not be put back.
                let mut reaper = None;
                if !connection.is_closed() && !state.retired.has(key) {
                    entry.idle.push_back((connection, Instant::now()));
                    self.evict(state, key, &mut evicted);
                    reaper = self.start_reaper(state);
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
            // The waiter was cancelled.
            let mut state = self.lock();
            state.reused -= reused;
            if let Some(entry) = state.entries.get_mut(key) {
                entry.reused -= reused;
            }
        }
    }

    /// Handles the end of a request on an HTTP/2 connection, which may be idle now.
    pub(super) fn released(&self, key: &Arc<Key>) {
        let is_limited = self.limits.max_idle_per_key.or(self.limits.max_idle).is_some();
        let mut evicted = Vec::new();
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(entry) = state.entries.get_mut(key).filter(|_| state.retired.has(key)) {
            let http2 = entry.http2.take_if(|http2| http2.idle_since().is_some());
            evicted.push((None, http2));
        }
        if is_limited {
            self.evict(state, key, &mut evicted);
        }
        drop(guard);
        drop(evicted);
    }

    /// Removes the connections over the limits, the longest idle first.
    pub(super) fn evict(&self, state: &mut State, key: &Arc<Key>, evicted: &mut Vec<Evicted>) {
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

    /// Closes connections to retired proxies after settings were replaced: idle ones now, others after their last
    /// request.
    pub(in crate::client) fn retire(&self, present: &Arc<Shared>) {
        let mut retired = Vec::new();
        let mut guard = self.lock();
        let state = &mut *guard;
        state.retired.update(present);
        for (key, entry) in &mut state.entries {
            if state.retired.has(key) {
                let http2 = entry.http2.take_if(|http2| http2.idle_since().is_some());
                retired.push((std::mem::take(&mut entry.idle), http2));
            }
        }
        drop(guard);
        drop(retired);
    }

    /// Returns the time-out of the reaper to start; `None` if one is running or nothing expires.
    pub(super) fn start_reaper(&self, state: &mut State) -> Option<Duration> {
        // A time-out that overflows never expires.
        let timeout = self
            .limits
            .idle_timeout
            .filter(|timeout| Instant::now().checked_add(*timeout).is_some())?;
        (!std::mem::replace(&mut state.reaping, true)).then_some(timeout)
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

    /// Closes expired idle connections, and returns the time of the next expiry.
    pub(super) fn reap(&self, timeout: Duration) -> Option<Instant> {
        let now = Instant::now();
        let mut expired = Vec::new();
        let mut next: Option<Instant> = None;
        let mut guard = self.lock();
        for entry in guard.entries.values_mut() {
            while entry.idle_since().is_some_and(|since| since + timeout <= now) {
                expired.push(entry.evict());
            }
            // An HTTP/2 connection in use becomes idle now at the earliest.
            let in_use = entry.http2.as_ref().map(|_| now);
            if let Some(since) = entry.idle_since().or(in_use) {
                // The minimum pause applies even if the time-out is shorter.
                let expiry = since + timeout.max(Duration::from_millis(1));
                next = Some(next.map_or(expiry, |next| next.min(expiry)));
            }
        }
        guard.reaping = next.is_some();
        drop(guard);
        next
    }

    /// Records that the reaper has stopped.
    pub(super) fn reaper_stopped(&self) {
        self.lock().reaping = false;
    }
}
