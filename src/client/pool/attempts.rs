//! [`Attempts`]: the pending connections of one key.
//!
//! An attempt is *fresh* until its patience is over. From then on it is *slow*: no waiter counts on it any more, and
//! another attempt starts beside it. Only the oldest slow attempts are kept, one for each waiter. A peer that answers
//! late is therefore still heard, and one that never answers costs one more dial now and then.

use std::{collections::BTreeMap, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::connection::Removed;
use crate::{client::error::ClientError, http2::PATIENCE};

/// The longest patience with an attempt. Patience grows with the time without a success, so that attempts at a peer
/// that is down become rarer.
const MOST_PATIENCE: Duration = Duration::from_secs(8);

pub(super) type AttemptId = u64;

/// The number that no attempt has.
pub(super) const NO_ATTEMPT: AttemptId = 0;

#[derive(Default)]
pub(super) struct Attempts {
    last: AttemptId,
    /// Most keys have no attempts and no trouble most of the time, and need no memory for them.
    busy: Option<Box<Busy>>,
}

#[derive(Default)]
struct Busy {
    fresh: BTreeMap<AttemptId, Pending>,
    slow: BTreeMap<AttemptId, Pending>,
    /// The start of the first attempt since the last success.
    since: Option<Instant>,
    /// Failed and slow attempts since the last success.
    setbacks: u32,
    /// The last attempt's time-out. It tells a waiter whose own time is up which step took too long.
    timed_out: Option<ClientError>,
}

/// A pending attempt. Dropping it wakes the attempt's task, which then ends.
pub(super) struct Pending {
    started: Instant,
    _stop: oneshot::Sender<()>,
}

impl Attempts {
    pub(super) fn len(&self) -> usize {
        self.busy.as_ref().map_or(0, |busy| busy.fresh.len() + busy.slow.len())
    }

    /// Returns the number of attempts that waiters count on.
    pub(super) fn fresh(&self) -> usize {
        self.busy.as_ref().map_or(0, |busy| busy.fresh.len())
    }

    /// Returns the number of attempts to make at a time for waiters that share one connection: one, and twice as many
    /// after each setback.
    pub(super) fn at_once(&self) -> usize {
        1 << self.busy.as_ref().map_or(0, |busy| busy.setbacks.min(16))
    }

    pub(super) fn start(&mut self, now: Instant) -> (AttemptId, oneshot::Receiver<()>) {
        let (_stop, stopped) = oneshot::channel();
        self.last += 1;
        let last = self.last;
        self.change(|busy| {
            busy.since.get_or_insert(now);
            busy.fresh.insert(last, Pending { started: now, _stop });
        });
        (last, stopped)
    }

    /// Removes an attempt, unless it was ended already.
    pub(super) fn remove(&mut self, id: AttemptId) -> Option<Pending> {
        self.change(|busy| busy.fresh.remove(&id).or_else(|| busy.slow.remove(&id)))
    }

    /// Records a success.
    pub(super) fn succeeded(&mut self) {
        self.change(|busy| (busy.since, busy.setbacks, busy.timed_out) = (None, 0, None));
    }

    /// Records a failure.
    pub(super) fn failed(&mut self, error: &ClientError) {
        self.change(|busy| {
            busy.setbacks += 1;
            if error.is_timeout() {
                busy.timed_out = Some(error.share());
            }
        });
    }

    pub(super) fn timed_out(&self) -> Option<&ClientError> {
        self.busy.as_ref()?.timed_out.as_ref()
    }

    /// Makes attempts slow whose patience is over, and ends those that no waiter has a use for.
    pub(super) fn age(&mut self, now: Instant, waiters: usize, removed: &mut Vec<Removed>) {
        self.change(|busy| {
            while let Some(first) = busy.fresh.first_entry() {
                let started = first.get().started;
                let troubled = busy.since.map_or(Duration::ZERO, |since| started - since);
                if started + troubled.clamp(PATIENCE, MOST_PATIENCE) > now {
                    break;
                }
                let (id, pending) = first.remove_entry();
                busy.slow.insert(id, pending);
                busy.setbacks += 1;
            }
            while busy.slow.len() > waiters {
                busy.end_youngest(removed);
            }
        });
    }

    /// Ends the youngest slow attempt.
    pub(super) fn end_youngest(&mut self, removed: &mut Vec<Removed>) {
        self.change(|busy| busy.end_youngest(removed));
    }

    /// Ends an attempt after its patience if nobody waits. Returns false if it has ended.
    pub(super) fn is_wanted(&mut self, id: AttemptId, waiters: usize, removed: &mut Vec<Removed>) -> bool {
        if waiters == 0 {
            removed.extend(self.remove(id).map(Removed::Attempt));
        }
        let busy = self.busy.as_ref();
        busy.is_some_and(|busy| busy.fresh.contains_key(&id) || busy.slow.contains_key(&id))
    }

    /// Changes the attempts. Once there are none, only the setbacks are remembered.
    fn change<T>(&mut self, change: impl FnOnce(&mut Busy) -> T) -> T {
        let busy = self.busy.get_or_insert_default();
        let result = change(busy);
        if busy.fresh.is_empty() && busy.slow.is_empty() {
            busy.since = None;
            if busy.setbacks == 0 {
                self.busy = None;
            }
        }
        result
    }
}

impl Busy {
    fn end_youngest(&mut self, removed: &mut Vec<Removed>) {
        let youngest = self.slow.pop_last();
        removed.extend(youngest.map(|(_, pending)| Removed::Attempt(pending)));
    }
}
