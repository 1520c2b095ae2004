//! [`Line`]: the requests that wait for a connection of one key, in order.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::lease::Lease;
use crate::client::error::ClientError;

pub(super) type Answer = Result<Lease, ClientError>;

/// A waiter of a line, which can leave it at any time.
pub(super) type Ticket = u64;

/// The requests that wait for a connection of one key. They are served in the order of their tickets.
#[derive(Default)]
pub(super) struct Line {
    next: Ticket,
    waiters: BTreeMap<Ticket, oneshot::Sender<Answer>>,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(super) fn join(&mut self) -> (Ticket, oneshot::Receiver<Answer>) {
        let (waiter, answer) = oneshot::channel();
        self.next += 1;
        self.waiters.insert(self.next, waiter);
        (self.next, answer)
    }

    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.waiters.remove(&ticket);
    }

    /// Removes the first waiter.
    pub(super) fn pop(&mut self) -> Option<oneshot::Sender<Answer>> {
        self.waiters.pop_first().map(|(_, waiter)| waiter)
    }
}
