//! [`Connection`]: one HTTP/1.1 connection, or one request's share of an HTTP/2 connection ([`Multiplexed`]).

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::connect::Connected;
use tokio::time::Instant;

use crate::error::BoxError;

/// The boxed body of a request, so that connections are not tied to one type of body.
pub(in crate::client) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// The sending half of a connection.
pub(in crate::client) enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>),
}

pub(super) struct Connection {
    pub(super) sender: Sender,
    pub(super) connected: Arc<Connected>,
    pub(super) has_served: bool,
    /// Marks an HTTP/2 connection as in use by this request.
    _user: Option<User>,
}

impl Connection {
    pub(super) fn new(sender: Sender, connected: Connected) -> Self {
        Self {
            sender,
            connected: Arc::new(connected),
            has_served: false,
            _user: None,
        }
    }

    /// Returns true if the connection has already served a request.
    pub(super) fn has_served(&self) -> bool {
        self.has_served
    }

    /// Returns true if the connection takes no more requests.
    pub(super) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }
}

/// An HTTP/2 connection, which many requests share.
pub(super) struct Multiplexed {
    sender: http2::SendRequest<RequestBody>,
    connected: Arc<Connected>,
    users: Arc<Users>,
    has_served: bool,
}

/// The time when the last request ended. The connection and each request on it hold a reference.
struct Users(Mutex<Instant>);

struct User(Arc<Users>);

impl Drop for User {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl Multiplexed {
    pub(super) fn new(sender: http2::SendRequest<RequestBody>, connected: Connected) -> Self {
        Self {
            sender,
            connected: Arc::new(connected),
            users: Arc::new(Users(Mutex::new(Instant::now()))),
            has_served: false,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Returns the time since which the connection is idle; `None` while a request uses it.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let since = || *self.users.0.lock().unwrap_or_else(PoisonError::into_inner);
        (Arc::strong_count(&self.users) == 1).then(since)
    }

    /// Returns a share of the connection for one more request.
    pub(super) fn share(&mut self) -> Connection {
        Connection {
            sender: Sender::Http2(self.sender.clone()),
            connected: self.connected.clone(),
            has_served: std::mem::replace(&mut self.has_served, true),
            _user: Some(User(self.users.clone())),
        }
    }
}
