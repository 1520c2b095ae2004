//! [`Lease`]: a request's hold on a connection.

use std::{fmt, sync::Arc};

use http::{Extensions, Request, Response};
use hyper::body::Incoming;
use tokio::runtime::Handle;

use super::{
    Pool,
    connection::{Connection, RequestBody, Sender},
    key::Key,
};

/// A request's hold on a connection.
///
/// Dropping it checks the connection in. If a request is in progress, dropping it closes the connection instead
/// (HTTP/1.1), since nobody reads the rest of the response, or resets the stream (HTTP/2).
pub(in crate::client) struct Lease {
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

    /// Returns true if the connection was not opened for this request, and may be stale.
    pub(in crate::client) fn was_idle(&self) -> bool {
        self.was_idle
    }

    pub(in crate::client) fn is_http2(&self) -> bool {
        matches!(
            &self.connection,
            Some(Connection {
                sender: Sender::Http2(_),
                ..
            })
        )
    }

    /// Takes the connection out, so that it is not checked in.
    pub(super) fn take(&mut self) -> Option<Connection> {
        self.connection.take()
    }

    /// Puts the connection's metadata into a response's extensions.
    pub(in crate::client) fn describe(&self, extensions: &mut Extensions) {
        if let Some(connection) = &self.connection {
            connection.connected.get_extras(extensions);
        }
    }

    /// Sends a request. The error contains the request if no byte of it was sent.
    pub(in crate::client) async fn send(
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

    /// Ends the hold after the response has been read to its end.
    pub(in crate::client) fn finish(mut self) {
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
            return self.pool.checkin(&self.key, connection, true);
        }
        // The response has ended, but the connection is still busy, with the request's body for instance.
        if let Ok(runtime) = Handle::try_current() {
            let (pool, key) = (Arc::downgrade(&self.pool), self.key.clone());
            runtime.spawn(async move {
                let ready = match &mut connection.sender {
                    Sender::Http1(sender) => sender.ready().await.is_ok(),
                    Sender::Http2(_) => false,
                };
                if let Some(pool) = pool.upgrade().filter(|_| ready) {
                    pool.checkin(&key, connection, true);
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
