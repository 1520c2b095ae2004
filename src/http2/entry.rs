//! [`Entry`]: the connections to one proxy, and those who wait for a stream of them.

use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::{sync::oneshot, time::Instant};

use super::{MEMORY, PATIENCE, link::Link};

/// The time for which the number of requests that a proxy was seen to serve counts as its limit. It expires, because a
/// target that is slow for a moment looks the same.
const SERVED_FOR: Duration = Duration::from_secs(60);

/// The number of tunnels on a connection from which on a forwarded request may wait for ever: Apache httpd begins with
/// as many workers.
const FEW: usize = 6;

/// The connections to one proxy.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) open: Vec<Open>,
    /// The number of connections, including those that take no more requests and are not closed yet.
    pub(super) connections: usize,
    pub(super) waiters: BTreeMap<Place, Waiter>,
    /// The start of each attempt that is under way.
    pub(super) attempts: BTreeMap<u64, Instant>,
    /// Failed attempts since the last success.
    pub(super) setbacks: usize,
    pub(super) speaks: Speaks,
    /// True if the proxy has answered any CONNECT over HTTP/2.
    pub(super) has_answered: bool,
    /// True if the proxy has opened any tunnel over HTTP/2.
    pub(super) has_opened: bool,
    served: Option<Served>,
    /// The most requests that the proxy was seen to serve at a time on one connection.
    seen: usize,
    /// The streams that the last connection allowed.
    pub(super) streams: Option<usize>,
    /// Connections opened.
    pub(super) opened: u64,
    /// Streams of connections that had carried others.
    pub(super) reused: u64,
}

/// The requests that a proxy was seen to serve at a time on one connection.
struct Served {
    count: usize,
    until: Instant,
}

/// The version of HTTP that a proxy speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Speaks {
    #[default]
    Unknown,
    Http2,
    /// It chose HTTP/1.1.
    Http1,
    /// It chose HTTP/2, and takes no CONNECT over it. This is forgotten at the given time.
    Http1Until(Instant),
}

/// An open connection.
pub(super) struct Open {
    pub(super) id: u64,
    pub(super) sender: SendRequest<Bytes>,
    pub(super) link: Arc<Link>,
    /// The number of requests that were answered and are not over.
    pub(super) answered: usize,
    /// The number of tunnels among them.
    pub(super) tunnels: usize,
    pub(super) last_answer: Option<Instant>,
    /// The time since which the connection is silent while an answer is late.
    pub(super) suspected: Option<Instant>,
    /// The time at which a request that waits on it was last sent on another connection as well.
    probed: Option<Instant>,
    /// The time at which an answer on another connection was last faster.
    overtaken: Option<Instant>,
    pub(super) has_served: bool,
    /// True if the settings that opened it name the proxy.
    pub(super) is_named: bool,
}

/// The use of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    /// A CONNECT.
    Tunnel,
    /// A CONNECT that waits on this connection already.
    AnotherWay(u64),
    /// A forwarded request. It goes one way only, since it may not be processed twice.
    #[cfg_attr(not(feature = "client"), allow(dead_code))]
    Forward,
}

/// The place of a waiter in the order: its use of a stream, and a number. Waiters with the same use are neighbours, so
/// that they can be skipped together.
pub(super) type Place = (Use, u64);

/// A task that wants a stream.
pub(super) type Waiter = oneshot::Sender<super::Turn>;

/// The turn that a waiter can have now.
pub(super) enum Offer {
    /// A stream of the connection at this index.
    Stream(usize),
    /// The permit to connect.
    Attempt,
    /// A connection over HTTP/1.1.
    Http1 { is_only: bool },
}

impl Drop for Open {
    /// Wakes the connection's task, which h2 does not do while the connection takes no bytes.
    fn drop(&mut self) {
        self.link.wake();
    }
}

impl Open {
    pub(super) fn new(id: u64, sender: SendRequest<Bytes>, link: Arc<Link>, is_named: bool) -> Self {
        Self {
            id,
            sender,
            link,
            answered: 0,
            tunnels: 0,
            last_answer: None,
            suspected: None,
            probed: None,
            overtaken: None,
            has_served: false,
            is_named,
        }
    }

    /// Returns false if the connection takes no more requests, for instance after GOAWAY.
    pub(super) fn is_usable(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(self.sender.clone().poll_ready(&mut context), Poll::Ready(Ok(())))
    }

    /// Returns true if the connection takes one more request, of `most` at a time.
    fn has_room(&self, most: usize) -> bool {
        // Before the peer's SETTINGS, only the first request: Envoy closes a connection with more than it allows. If the
        // request is given up, the peer may hear of the next one before it hears of that.
        let streams = self.link.streams.get();
        streams.is_some_and(|streams| self.link.active() < streams.min(most)) && !self.is_silent()
    }

    /// Returns true if nothing was read since the connection is suspected to be dead.
    fn is_silent(&self) -> bool {
        self.suspected.is_some_and(|since| self.link.last_read.get() < since)
    }

    /// Returns true if nothing was answered since an answer on another connection was faster.
    fn is_overtaken(&self) -> bool {
        self.overtaken > self.last_answer
    }

    /// Returns true if a request that waits on it may be sent on another connection as well. One request a second
    /// tries, and shows if the others would gain by it.
    fn may_be_left(&self) -> bool {
        self.is_overtaken() || self.probed.is_none_or(|last| last.elapsed() >= PATIENCE)
    }

    /// Returns true if the peer's limit can be expected soon.
    fn is_settling(&self) -> bool {
        self.link.streams.get().is_none() && self.link.last_read.open_for() < PATIENCE
    }
}

impl Entry {
    /// Returns the turn that a waiter can have now, within the limits of streams on a connection and of connections.
    pub(super) fn offer(&mut self, wanted: Use, most: usize, max_connections: usize) -> Option<Offer> {
        match self.speaks {
            Speaks::Http1 => return Some(Offer::Http1 { is_only: false }),
            Speaks::Http1Until(_) => return Some(Offer::Http1 { is_only: true }),
            Speaks::Http2 | Speaks::Unknown => {}
        }
        let first = self.open.iter().position(|open| wanted == Use::AnotherWay(open.id));
        if first.is_some_and(|first| !self.open[first].may_be_left()) {
            return None;
        }
        let offer = self.stream_or_attempt(wanted, most, max_connections)?;
        if let Some(first) = first {
            self.open[first].probed = Some(Instant::now());
        }
        Some(offer)
    }

    fn stream_or_attempt(&self, wanted: Use, most: usize, max_connections: usize) -> Option<Offer> {
        let most = match &self.served {
            // A request that already waits for its answer respects the limit even after it has expired.
            Some(served) if matches!(wanted, Use::AnotherWay(_)) || served.until > Instant::now() => {
                served.count.min(most)
            }
            _ => most,
        };
        let with_room = self.open.iter().enumerate();
        let with_room = with_room.filter(|(_, open)| self.is_fit(open, wanted) && open.has_room(most));
        if let Some((index, _)) = with_room.min_by_key(|(_, open)| open.is_overtaken()) {
            return Some(Offer::Stream(index));
        }
        if self.open.len() + self.attempts.len() >= max_connections {
            return None;
        }
        // A slow attempt may be at an address that never answers.
        let is_slow = |started: &&Instant| started.elapsed() >= PATIENCE;
        let slow = self.attempts.values().filter(is_slow).count();
        let fresh = self.attempts.len() - slow + self.open.iter().filter(|open| open.is_settling()).count();
        let by_need = match self.streams.map(|streams| streams.min(most)) {
            // Each fresh attempt has been given to a task that is no waiter any more.
            Some(streams) => (self.waiters.len() + fresh).div_ceil(streams.max(1)),
            None => 1,
        };
        // As many more as have failed or are slow.
        let at_once = by_need.max(1 + slow + self.setbacks);
        (fresh < at_once).then_some(Offer::Attempt)
    }

    /// Returns true if a connection can be expected to answer. Tunnels may take all workers of a proxy, so that a
    /// forwarded request waits, unless the proxy was seen to serve more requests at a time.
    fn is_fit(&self, open: &Open, wanted: Use) -> bool {
        match wanted {
            Use::Tunnel => true,
            Use::AnotherWay(first) => open.id != first,
            Use::Forward => open.tunnels < self.seen.max(FEW),
        }
    }

    /// Forgets what has expired. Removes and returns connections that take no more requests, to be dropped without a
    /// lock.
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

    /// Records the version that the proxy chose, unless it is known to take no CONNECT over it.
    pub(super) fn set_chosen(&mut self, speaks: Speaks) {
        if !matches!(self.speaks, Speaks::Http1Until(_)) {
            self.speaks = speaks;
        }
    }

    /// Records that the proxy takes no CONNECT over HTTP/2. Returns true if it is news.
    pub(super) fn set_http1_only(&mut self) -> bool {
        let is_news = !matches!(self.speaks, Speaks::Http1Until(_));
        self.speaks = Speaks::Http1Until(Instant::now() + MEMORY);
        is_news
    }

    /// Records an answer on a connection.
    pub(super) fn set_answered(&mut self, id: u64, has_opened: Option<bool>) {
        self.has_answered |= has_opened.is_some();
        self.has_opened |= has_opened == Some(true);
        if let Some(open) = self.open.iter_mut().find(|open| open.id == id) {
            open.answered += 1;
            open.tunnels += usize::from(has_opened == Some(true));
            open.last_answer = Some(Instant::now());
            open.suspected = None;
            self.seen = self.seen.max(open.answered);
            if let Some(served) = &mut self.served {
                served.count = served.count.max(open.answered);
            }
        }
    }

    /// Records that another connection was faster. If this one has answered nothing for a while, although requests on
    /// it go on, the proxy serves only so many requests of one connection at a time, as Apache httpd does.
    pub(super) fn set_overtaken(&mut self, id: u64, is_silent: bool) {
        let Some(open) = self.find(id) else { return };
        let now = Instant::now();
        open.overtaken = Some(now);
        if is_silent {
            open.suspected = Some(now);
        }
        // Others may have been answered a moment after the one that was overtaken was sent.
        if open.answered > 0 && open.last_answer.is_none_or(|last| last + PATIENCE / 2 <= now) {
            let (count, until) = (open.answered, now + SERVED_FOR);
            self.served = Some(Served { count, until });
        }
    }

    /// Removes a connection that is over. If it was dead, its silence says nothing about the proxy's limit.
    pub(super) fn remove(&mut self, id: u64) -> Option<Open> {
        let index = self.open.iter().position(|open| open.id == id)?;
        let open = self.open.remove(index);
        if open.is_silent() {
            self.served = None;
        }
        Some(open)
    }

    /// Returns true if the entry holds nothing that is worth keeping.
    pub(super) fn is_empty(&self) -> bool {
        self.connections == 0 && self.waiters.is_empty() && self.attempts.is_empty() && self.setbacks == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_http2_is_forgotten_after_ten_minutes() {
        let mut entry = Entry::default();
        assert!(entry.set_http1_only());
        assert!(!entry.set_http1_only(), "it is no news");
        entry.set_chosen(Speaks::Http2);
        for (seconds, is_known) in [(0, true), (599, true), (2, false)] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            entry.refresh();
            let is_only = matches!(entry.offer(Use::Tunnel, 1, 1), Some(Offer::Http1 { is_only: true }));
            assert_eq!(is_only, is_known, "after {seconds} seconds more");
        }
    }
}
