//! [`Entry`]: the connections to one proxy, and those who wait for a stream of them.

use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::{sync::oneshot, time::Instant};

use super::{MEMORY, PATIENCE, link::Link};

/// The connections to one proxy.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) open: Vec<Open>,
    /// The number of connections, including those that take no more requests and are not closed yet.
    pub(super) connections: usize,
    pub(super) waiters: BTreeMap<u64, Waiter>,
    /// The start of each attempt that is under way.
    pub(super) attempts: BTreeMap<u64, Instant>,
    /// Failed attempts since the last success.
    pub(super) setbacks: u32,
    pub(super) speaks: Speaks,
    /// The requests that the proxy was seen to serve at a time on one connection.
    pub(super) served: Option<usize>,
    /// The streams that the last connection allowed.
    pub(super) streams: Option<usize>,
    /// Connections opened.
    pub(super) opened: u64,
    /// Streams of connections that had carried others.
    pub(super) reused: u64,
}

/// The version of HTTP that a proxy speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Speaks {
    #[default]
    Unknown,
    Http2,
    /// It chose HTTP/1.1.
    Http1,
    /// It chose HTTP/2, and takes no CONNECT over it. This is forgotten at some time.
    Http1Until(Instant),
}

/// An open connection.
pub(super) struct Open {
    pub(super) id: u64,
    pub(super) sender: SendRequest<Bytes>,
    pub(super) link: Arc<Link>,
    /// Requests that were answered and are not over.
    pub(super) answered: usize,
    pub(super) last_answer: Option<Instant>,
    /// The time since which the connection is silent while an answer is late.
    pub(super) suspected: Option<Instant>,
    pub(super) has_served: bool,
    /// True if the settings that opened it name the proxy.
    pub(super) is_named: bool,
}

/// Somebody who wants a stream.
pub(super) struct Waiter {
    pub(super) sender: oneshot::Sender<super::Turn>,
    /// The connection on which the same CONNECT waits already.
    pub(super) except: Option<u64>,
}

/// What a waiter can have now.
pub(super) enum Offer {
    /// A stream of the connection at this index.
    Stream(usize),
    /// To connect.
    Attempt,
    /// To speak HTTP/1.1.
    Http1 { is_only: bool },
}

impl Drop for Open {
    /// Wakes the connection's task, which h2 does not do while the connection takes no bytes.
    fn drop(&mut self) {
        self.link.wake();
    }
}

impl Open {
    /// Returns false if the connection takes no more requests, for instance after GOAWAY.
    pub(super) fn is_usable(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(self.sender.clone().poll_ready(&mut context), Poll::Ready(Ok(())))
    }

    /// Returns true if the connection takes one more request, of `most` at a time.
    fn has_room(&self, most: usize) -> bool {
        let is_silent = self.suspected.is_some_and(|since| self.link.last_read() < since);
        // Before the peer's SETTINGS, only the first request: Envoy closes a connection with more than it allows. If the
        // request is given up, the peer may hear of the next one before it hears of that.
        let streams = self.link.streams();
        streams.is_some_and(|streams| self.link.active() < streams.min(most)) && !is_silent
    }

    /// Returns true if the peer's limit can be expected soon.
    fn is_settling(&self) -> bool {
        self.link.streams().is_none() && self.link.open_for() < PATIENCE
    }
}

impl Entry {
    /// Returns what a waiter can have now, within the limits of streams on a connection and of connections.
    pub(super) fn offer(&self, except: Option<u64>, most: usize, max_connections: usize) -> Option<Offer> {
        match self.speaks {
            Speaks::Http1 => return Some(Offer::Http1 { is_only: false }),
            Speaks::Http1Until(_) => return Some(Offer::Http1 { is_only: true }),
            Speaks::Http2 | Speaks::Unknown => {}
        }
        let most = self.served.map_or(most, |served| served.min(most));
        let with_room = |open: &Open| Some(open.id) != except && open.has_room(most);
        if let Some(index) = self.open.iter().position(with_room) {
            return Some(Offer::Stream(index));
        }
        if self.open.len() + self.attempts.len() >= max_connections {
            return None;
        }
        // The others may be connecting to a place that does not answer.
        let now = Instant::now();
        let slow = self
            .attempts
            .values()
            .filter(|started| **started + PATIENCE <= now)
            .count();
        let fresh = self.attempts.len() - slow + self.open.iter().filter(|open| open.is_settling()).count();
        let by_need = match self.streams.map(|streams| streams.min(most)) {
            Some(streams) => self.waiters.len().div_ceil(streams.max(1)),
            None => 1,
        };
        let setbacks = self.setbacks.saturating_add(u32::try_from(slow).unwrap_or(u32::MAX));
        let at_once = by_need.max(1 << setbacks.min(10));
        (fresh < at_once).then_some(Offer::Attempt)
    }

    /// Forgets what has expired, and removes connections that take no more requests, to be dropped elsewhere.
    pub(super) fn refresh(&mut self) -> Vec<Open> {
        if matches!(self.speaks, Speaks::Http1Until(until) if until <= Instant::now()) {
            self.speaks = Speaks::Unknown;
        }
        match self.open.iter().all(Open::is_usable) {
            true => Vec::new(),
            false => {
                let (usable, over) = std::mem::take(&mut self.open).into_iter().partition(Open::is_usable);
                self.open = usable;
                over
            }
        }
    }

    pub(super) fn find(&mut self, id: u64) -> Option<&mut Open> {
        self.open.iter_mut().find(|open| open.id == id)
    }

    /// Records that the proxy takes no CONNECT over HTTP/2.
    pub(super) fn set_http1_only(&mut self) {
        self.speaks = Speaks::Http1Until(Instant::now() + MEMORY);
    }

    /// Returns true if nothing would be lost with the entry.
    pub(super) fn is_empty(&self) -> bool {
        self.connections == 0 && self.waiters.is_empty() && self.attempts.is_empty() && self.setbacks == 0
    }
}
