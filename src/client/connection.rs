//! One connection, and the right to use it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::client::legacy::connect::Connected;
use tokio::{runtime::Handle, time::Instant};

use super::{key::Key, pool::Pool};
use crate::error::BoxError;

/// Any body that a request may have, so that connections are not tied to one type.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Where requests go in.
pub(super) enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>),
}

pub(super) struct Connection {
    sender: Sender,
    connected: Arc<Connected>,
    has_served: bool,
    /// Tells an HTTP/2 connection that this request uses it.
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

    /// Whether it was there for another request before.
    pub(super) fn has_served(&self) -> bool {
        self.has_served
    }

    /// Whether it can take no more requests.
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

/// Held once by the connection and once by each request on it. Knows when the last request ended.
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

    /// Since when no request uses it; `None` while one does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let since = || *self.users.0.lock().unwrap_or_else(PoisonError::into_inner);
        (Arc::strong_count(&self.users) == 1).then(since)
    }

    /// The connection for one more request.
    pub(super) fn share(&mut self) -> Connection {
        Connection {
            sender: Sender::Http2(self.sender.clone()),
            connected: self.connected.clone(),
            has_served: std::mem::replace(&mut self.has_served, true),
            _user: Some(User(self.users.clone())),
        }
    }
}

/// The right to use a connection. Dropped, it gives the connection back, unless a request is under way on it: then the
/// connection is closed (HTTP/1.1), since nobody reads the rest of its response, or the stream is (HTTP/2).
pub(super) struct Lease {
    pool: Arc<Pool>,
    key: Arc<Key>,
    connection: Option<Connection>,
    in_use: bool,
    was_idle: bool,
}

impl Lease {
    pub(super) fn new(pool: &Arc<Pool>, key: &Arc<Key>, connection: Connection, was_idle: bool) -> Self {
        Self {
            pool: pool.clone(),
            key: key.clone(),
            connection: Some(connection),
            in_use: false,
            was_idle,
        }
    }

    /// Whether the connection was not opened for this request, and may have ended meanwhile.
    pub(super) fn was_idle(&self) -> bool {
        self.was_idle
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(
            &self.connection,
            Some(Connection {
                sender: Sender::Http2(_),
                ..
            })
        )
    }

    /// Takes the connection out, so that nothing is given back.
    pub(super) fn take(&mut self) -> Option<Connection> {
        self.connection.take()
    }

    /// Puts the connection's metadata into a response's extensions.
    pub(super) fn describe(&self, extensions: &mut Extensions) {
        if let Some(connection) = &self.connection {
            connection.connected.get_extras(extensions);
        }
    }

    /// Sends a request. With the error comes the request, if no byte of it was sent.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<RequestBody>>)> {
        self.in_use = true;
        if let Some(connection) = &mut self.connection {
            connection.has_served = true;
        }
        let result = match &mut self.connection {
            Some(Connection {
                sender: Sender::Http1(sender),
                ..
            }) => sender.try_send_request(request).await,
            Some(Connection {
                sender: Sender::Http2(sender),
                ..
            }) => sender.try_send_request(request).await,
            None => unreachable!("a lease has its connection until it is dropped"),
        };
        result.map_err(|mut error| {
            let request = error.take_message();
            (error.into_error(), request)
        })
    }

    /// The response has been read to its end.
    pub(super) fn finish(mut self) {
        self.in_use = false;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let Sender::Http1(sender) = &mut connection.sender else {
            drop(connection);
            return self.pool.released(&self.key);
        };
        if self.in_use || sender.is_closed() {
            return;
        }
        if sender.is_ready() {
            return self.pool.give(&self.key, connection, true);
        }
        // The response came to its end, but the connection is not done yet: with the request's body, for instance.
        if let Ok(runtime) = Handle::try_current() {
            let (pool, key) = (Arc::downgrade(&self.pool), self.key.clone());
            runtime.spawn(async move {
                let ready = match &mut connection.sender {
                    Sender::Http1(sender) => sender.ready().await.is_ok(),
                    Sender::Http2(_) => false,
                };
                if let Some(pool) = pool.upgrade().filter(|_| ready) {
                    pool.give(&key, connection, true);
                }
            });
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", &self.key)
            .field("in_use", &self.in_use)
            .finish_non_exhaustive()
    }
}
