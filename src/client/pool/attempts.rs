//! [`Attempts`]: the pending connections of one key.
//!
//! An attempt is *fresh* until its patience is over. From then on it is *slow*: no waiter counts on it any more, and
//! another attempt keeps it company. The slow attempts that are kept are the oldest, one for each waiter, so that a
//! proxy that answers late is still heard, and a connection that nobody answers costs one more dial now and then.

use std::{collections::BTreeMap, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::connection::Removed;
use crate::client::error::ClientError;

/// The time after which an attempt gets company, a given-up attempt ends, and a silent HTTP/2 connection takes no more
/// requests.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The longest patience with an attempt. Patience grows with the time without a success, so that attempts at a peer
/// that is down become rarer.
const MOST_PATIENCE: Duration = Duration::from_secs(8);

pub(super) type AttemptId = u64;

#[derive(Default)]
pub(super) struct Attempts {
    next: AttemptId,
    fresh: BTreeMap<AttemptId, Pending>,
    slow: BTreeMap<AttemptId, Pending>,
    /// The start of the first attempt since the last success.
    since: Option<Instant>,
    /// Failed and slow attempts since the last success.
    setbacks: u32,
    /// The last attempt's time-out. It tells a waiter whose own time is up which step took too long.
    timed_out: Option<ClientError>,
}

/// A pending attempt. Dropping it ends the attempt's task, which wakes that.
pub(super) struct Pending {
    started: Instant,
    _stop: oneshot::Sender<()>,
}

impl Attempts {
    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.slow.len()
    }

    /// Returns the number of attempts that waiters count on.
    pub(super) fn fresh(&self) -> usize {
        self.fresh.len()
    }

    /// Returns the number of attempts to make at a time for waiters that share one connection: one, and twice as many
    /// after each setback.
    pub(super) fn at_once(&self) -> usize {
        1 << self.setbacks.min(16)
    }

    pub(super) fn start(&mut self, now: Instant) -> (AttemptId, oneshot::Receiver<()>) {
        let (_stop, stopped) = oneshot::channel();
        self.next += 1;
        self.since.get_or_insert(now);
        self.fresh.insert(self.next, Pending { started: now, _stop });
        (self.next, stopped)
    }

    /// Removes an attempt, unless it was ended already.
    pub(super) fn remove(&mut self, id: AttemptId) -> Option<Pending> {
        let removed = self.fresh.remove(&id).or_else(|| self.slow.remove(&id));
        self.rest();
        removed
    }

    /// Forgets everything but failures, if there are no attempts.
    fn rest(&mut self) {
        if self.len() == 0 {
            (self.since, self.fresh, self.slow) = (None, BTreeMap::new(), BTreeMap::new());
        }
    }

    /// Records a success.
    pub(super) fn succeeded(&mut self) {
        (self.since, self.setbacks, self.timed_out) = (None, 0, None);
    }

    /// Records a failure.
    pub(super) fn failed(&mut self, error: &ClientError) {
        self.setbacks += 1;
        if error.is_timeout() {
            self.timed_out = Some(error.share());
        }
    }

    pub(super) fn timed_out(&self) -> Option<&ClientError> {
        self.timed_out.as_ref()
    }

    /// Makes attempts slow whose patience is over, and ends those that no waiter has a use for.
    pub(super) fn age(&mut self, now: Instant, waiters: usize, removed: &mut Vec<Removed>) {
        while let Some(first) = self.fresh.first_entry() {
            let started = first.get().started;
            let troubled = self.since.map_or(Duration::ZERO, |since| started - since);
            if started + troubled.clamp(PATIENCE, MOST_PATIENCE) > now {
                break;
            }
            let (id, pending) = first.remove_entry();
            self.slow.insert(id, pending);
            self.setbacks += 1;
        }
        while self.slow.len() > waiters {
            self.end_youngest(removed);
        }
        self.rest();
    }

    /// Ends the youngest slow attempt.
    pub(super) fn end_youngest(&mut self, removed: &mut Vec<Removed>) {
        let youngest = self.slow.pop_last();
        removed.extend(youngest.map(|(_, pending)| Removed::Attempt(pending)));
    }

    /// Ends an attempt after its patience if nobody waits. Returns false if it has ended.
    pub(super) fn is_wanted(&mut self, id: AttemptId, waiters: usize, removed: &mut Vec<Removed>) -> bool {
        if waiters == 0 {
            removed.extend(self.remove(id).map(Removed::Attempt));
        }
        self.fresh.contains_key(&id) || self.slow.contains_key(&id)
    }
}
