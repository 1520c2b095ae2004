//! [`Connection`]: one HTTP/1.1 connection, or one request's share of an HTTP/2 connection ([`Multiplexed`]).

use std::{sync::Arc, time::Duration};

use hyper::client::conn::{http1, http2};
use tokio::{runtime::Handle, time::sleep};

use super::{attempts::Pending, link::Link, waiters::Share};
use crate::client::request_body::RequestBody;

/// The time in which hyper can close a connection in order.
const CLOSING: Duration = Duration::from_secs(1);

/// The sending half of a connection.
pub(in crate::client) enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>),
    /// None: the request was sent over HTTP/2, or the task of an HTTP/1.1 connection has ended.
    Spent,
}

/// A connection for one request.
pub(super) struct Connection {
    pub(super) sender: Sender,
    pub(super) link: Arc<Link>,
    pub(super) has_served: bool,
    /// The share that it counts for while it is in use.
    pub(super) share: Share,
}

impl Connection {
    pub(super) fn is_http2(&self) -> bool {
        self.link.is_http2()
    }

    /// Returns true if the connection takes no more requests.
    pub(super) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
            Sender::Spent => true,
        }
    }

    /// Waits until an HTTP/1.1 connection can take its next request, or has ended. Returns true if it can.
    pub(super) async fn ready_or_ended(&mut self) -> bool {
        let is_ready = match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(_) | Sender::Spent => false,
        };
        if is_ready {
            self.link.unblocked().await;
            return true;
        }
        self.link.over().await;
        false
    }
}

/// An HTTP/2 connection, which many requests share.
pub(super) struct Multiplexed {
    sender: http2::SendRequest<RequestBody>,
    pub(super) link: Arc<Link>,
    has_served: bool,
}

impl Multiplexed {
    pub(super) fn new(sender: http2::SendRequest<RequestBody>, link: Arc<Link>) -> Self {
        Self {
            sender,
            link,
            has_served: false,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Returns true if the peer takes one more request now.
    pub(super) fn has_room(&self) -> bool {
        self.link.users() < self.link.streams() && !self.is_closed()
    }

    /// Returns a share of the connection for one more request.
    pub(super) fn share(&mut self) -> Connection {
        self.link.begin();
        Connection {
            sender: Sender::Http2(self.sender.clone()),
            link: self.link.clone(),
            has_served: std::mem::replace(&mut self.has_served, true),
            share: 0,
        }
    }
}

/// A connection or an attempt taken out of the pool, to be closed without its lock.
pub(super) enum Removed {
    Http1(Connection),
    Http2(Multiplexed),
    Attempt(#[expect(dead_code, reason = "dropping it ends the attempt")] Pending),
}

impl Removed {
    /// Ends the attempts, and closes the connections once no request is on them.
    pub(super) fn close(removed: Vec<Self>) {
        let links = removed.into_iter().filter_map(|removed| match removed {
            Self::Http1(Connection { link, .. }) | Self::Http2(Multiplexed { link, .. }) => Some(link),
            Self::Attempt(_) => None,
        });
        close(links.filter(|link| link.users() == 0).collect());
    }
}

/// Aborts connections that are still open after [`CLOSING`]. Their senders have been dropped, so hyper is closing them.
/// A peer that reads nothing would keep them open for ever.
pub(super) fn close(links: Vec<Arc<Link>>) {
    if links.is_empty() {
        return;
    }
    let abort = |links: Vec<Arc<Link>>| links.iter().for_each(|link| link.abort());
    let Ok(runtime) = Handle::try_current() else {
        return abort(links);
    };
    runtime.spawn(async move {
        sleep(CLOSING).await;
        abort(links);
    });
}
