//! [`Waiters`]: the requests that wait for a connection of one key, in order.
//!
//! A forward proxy's connections serve all origins, and under a limit a slow origin could have all of them. Therefore
//! an origin gets a further one only while it has fewer in use than are free (the dynamic thresholds of shared buffers
//! in switches): it can have half of them, the next origin half of the others. Of the origins that wait, the one with
//! the fewest in use comes first, then the one that waits longest.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::sync::oneshot;

use super::lease::Lease;
use crate::client::error::ClientError;

pub(super) type Answer = Result<Lease, ClientError>;

/// A part of the requests of one key: those to one origin behind a forward proxy with a limit. Everywhere else, all
/// requests have the share zero, which is not counted.
pub(super) type Share = u64;

/// The place of a waiter.
pub(super) type Ticket = (Share, u64);

/// The requests that wait for a connection of one key.
#[derive(Default)]
pub(super) struct Waiters {
    last: u64,
    /// Most keys have no waiters most of the time, and need no memory for them.
    busy: Option<Box<Busy>>,
}

/// The state while somebody waits, or connections are counted.
#[derive(Default)]
struct Busy {
    waiting: usize,
    in_use: usize,
    shares: HashMap<Share, State>,
    /// The shares that wait, by their connections in use, and their first waiter.
    order: BTreeSet<(usize, u64, Share)>,
}

#[derive(Default)]
struct State {
    in_use: usize,
    waiters: BTreeMap<u64, oneshot::Sender<Answer>>,
}

impl Waiters {
    /// Returns the number of waiters.
    pub(super) fn len(&self) -> usize {
        self.busy.as_ref().map_or(0, |busy| busy.waiting)
    }

    /// Returns true if nobody waits, and nothing is counted as in use.
    pub(super) fn is_at_rest(&self) -> bool {
        self.busy.is_none()
    }

    /// Adds a waiter.
    pub(super) fn join(&mut self, share: Share) -> (Ticket, oneshot::Receiver<Answer>) {
        let (waiter, answer) = oneshot::channel();
        self.last += 1;
        let last = self.last;
        self.change(share, |state| state.waiters.insert(last, waiter));
        ((share, last), answer)
    }

    /// Removes a waiter, unless it has been served. Returns it, to be dropped without the lock, since that wakes it.
    pub(super) fn leave(&mut self, (share, number): Ticket) -> Option<oneshot::Sender<Answer>> {
        self.change(share, |state| state.waiters.remove(&number))
    }

    /// Removes the first waiter that may have a further connection of `limit`.
    pub(super) fn pop(&mut self, limit: Option<usize>) -> Option<(Share, oneshot::Sender<Answer>)> {
        let (_, number, share) = *self.first()?;
        if !self.may_use(share, limit) {
            return None;
        }
        let waiter = self.change(share, |state| state.waiters.remove(&number))?;
        Some((share, waiter))
    }

    /// Returns true if a share may use a further connection of `limit`.
    pub(super) fn may_use(&self, share: Share, limit: Option<usize>) -> bool {
        let (Some(limit), true, Some(busy)) = (limit, share > 0, &self.busy) else {
            return true;
        };
        let in_use = busy.shares.get(&share).map_or(0, |state| state.in_use);
        in_use < limit.saturating_sub(busy.in_use)
    }

    /// Returns true if the first waiter may use a further connection of `limit`.
    pub(super) fn is_ready(&self, limit: Option<usize>) -> bool {
        self.first().is_some_and(|(_, _, share)| self.may_use(*share, limit))
    }

    /// Returns the number of further connections of `limit` that waiters may use, or a few more if several origins
    /// wait.
    pub(super) fn useful(&self, limit: Option<usize>) -> usize {
        let Some(busy) = &self.busy else { return 0 };
        let (Some(limit), Some(&(in_use, _, share))) = (limit, self.first()) else {
            return busy.waiting;
        };
        if share == 0 {
            return busy.waiting;
        }
        let may_have = limit.saturating_sub(busy.in_use + in_use).div_ceil(2);
        let first = busy.shares.get(&share).map_or(0, |state| state.waiters.len());
        match may_have {
            0 => 0,
            _ => first.min(may_have) + (busy.waiting - first),
        }
    }

    /// Counts a connection as in use.
    pub(super) fn begin(&mut self, share: Share) {
        if share > 0 {
            self.change(share, |state| state.in_use += 1);
        }
    }

    /// Ends what [`begin`](Self::begin) began.
    pub(super) fn end(&mut self, share: Share) {
        if share > 0 {
            self.change(share, |state| state.in_use -= 1);
        }
    }

    fn first(&self) -> Option<&(usize, u64, Share)> {
        self.busy.as_ref()?.order.first()
    }

    /// Changes a share, and keeps the counts and the order.
    fn change<T>(&mut self, share: Share, change: impl FnOnce(&mut State) -> T) -> T {
        let busy = self.busy.get_or_insert_default();
        let state = busy.shares.entry(share).or_default();
        let (before, waiting, in_use) = (state.place(), state.waiters.len(), state.in_use);
        let result = change(state);
        let after = state.place();
        busy.waiting = busy.waiting + state.waiters.len() - waiting;
        busy.in_use = busy.in_use + state.in_use - in_use;
        if before != after {
            before.map(|(in_use, first)| busy.order.remove(&(in_use, first, share)));
            after.map(|(in_use, first)| busy.order.insert((in_use, first, share)));
        }
        if state.in_use == 0 && after.is_none() {
            busy.shares.remove(&share);
            if busy.shares.is_empty() {
                self.busy = None;
            }
        }
        result
    }
}

impl State {
    fn place(&self) -> Option<(usize, u64)> {
        self.waiters.keys().next().map(|first| (self.in_use, *first))
    }
}
