//! [`Lease`]: a request's hold on a connection.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::{Extensions, Request, Response};
use hyper::body::Incoming;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};

use super::{
    Pool,
    connection::{Connection, Sender},
    key::Key,
};
use crate::{
    client::{error::Processed, request_body::RequestBody},
    error::{BoxError, find},
    http2::{PATIENCE, is_unprocessed},
};

/// The time that the rest of a request gets after the end of an early response, before its connection is closed.
pub(in crate::client) const REST_OF_REQUEST: Duration = Duration::from_millis(50);

/// A request's hold on a connection.
///
/// Dropping it checks the connection in. If a request is in progress, dropping it closes the connection instead
/// (HTTP/1.1), since nobody reads the rest of the response, or resets the stream (HTTP/2).
pub(in crate::client) struct Lease {
    pool: Arc<Pool>,
    key: Arc<Key>,
    connection: Option<Connection>,
    progress: Progress,
    /// A handle on the body that is being sent over HTTP/2.
    upload: Option<RequestBody>,
    may_be_stale: bool,
}

#[derive(Clone, Copy, Debug)]
enum Progress {
    Unused,
    /// The request was sent, over HTTP/2 at this time.
    Sent(Option<Instant>),
    Finished,
}

/// A request that failed.
pub(in crate::client) struct SendError {
    pub(in crate::client) error: BoxError,
    /// True if the same request would fail again: its body failed, or the response is not HTTP.
    pub(in crate::client) is_faulty: bool,
    pub(in crate::client) processed: Processed,
    /// The request, if no byte of it was sent.
    pub(in crate::client) unsent: Option<Request<RequestBody>>,
    /// True if the connection ended before a byte of the response.
    pub(in crate::client) is_unanswered: bool,
}

impl Lease {
    pub(super) fn new(pool: &Arc<Pool>, key: &Arc<Key>, connection: Connection, may_be_stale: bool) -> Self {
        Self {
            pool: pool.clone(),
            key: key.clone(),
            may_be_stale: may_be_stale || connection.has_served,
            connection: Some(connection),
            progress: Progress::Unused,
            upload: None,
        }
    }

    /// Returns true if the connection was not opened for this request, and the peer may have closed it.
    pub(in crate::client) fn may_be_stale(&self) -> bool {
        self.may_be_stale
    }

    pub(in crate::client) fn is_http2(&self) -> bool {
        let sender = self.connection.as_ref().map(|connection| &connection.sender);
        matches!(sender, Some(Sender::Http2(_)))
    }

    /// Puts the connection's metadata into a response's extensions.
    pub(in crate::client) fn describe(&self, extensions: &mut Extensions) {
        if let Some(connection) = &self.connection {
            connection.link.connected.get_extras(extensions);
        }
    }

    /// Sends a request.
    ///
    /// The request can be in hyper's channel to the connection's task when that task ends, and then stays there for as
    /// long as the channel has a sender (hyper 1.12). A wait for the response must therefore keep none: it drops its
    /// own when the task has ended (HTTP/1.1) or before it begins (HTTP/2).
    pub(in crate::client) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let Some(connection) = &mut self.connection else {
            unreachable!("a lease has its connection until it is dropped")
        };
        connection.has_served = true;
        let link = connection.link.clone();
        let read = link.read();
        let is_http2 = link.is_http2();
        self.progress = Progress::Sent(is_http2.then(Instant::now));
        let result = match &mut connection.sender {
            Sender::Http1(sender) => {
                let mut response = pin!(sender.try_send_request(request));
                match before(pin!(link.over()), response.as_mut()).await {
                    Some(result) => result,
                    None => {
                        connection.sender = Sender::Spent;
                        response.await
                    }
                }
            }
            Sender::Http2(sender) => {
                self.upload = Some(request.body().spare());
                let response = sender.try_send_request(request);
                connection.sender = Sender::Spent;
                response.await
            }
            Sender::Spent => unreachable!("a lease sends one request"),
        };
        if result.is_err() {
            // Nobody sends the body any more, and it may be sent again.
            self.upload = None;
        }
        result.map_err(|mut error| {
            let unsent = error.take_message();
            // The request's HTTP/2 stream was never opened. hyper (1.12) has taken the request, and lets go of it when
            // the connection goes away.
            let is_unopened = is_http2 && error.error().is_user() && link.is_draining();
            let error = error.into_error();
            SendError {
                is_faulty: error.is_parse() || error.is_user(),
                processed: match unsent.is_some() {
                    true => Processed::Unsent,
                    false if is_unopened || find(&error).is_some_and(is_unprocessed) => Processed::Refused,
                    false => Processed::Maybe,
                },
                // Over HTTP/2, what was read may belong to other requests.
                is_unanswered: match is_http2 {
                    true => is_lost(&error),
                    false => link.read() == read,
                },
                unsent,
                error: error.into(),
            }
        })
    }

    /// Keeps the hold for another request, after the response has been read to its end. `None` if the connection can
    /// have no other.
    pub(in crate::client) async fn kept(mut self) -> Option<Self> {
        let connection = self.connection.as_mut()?;
        let is_ready = timeout(REST_OF_REQUEST, connection.ready_or_ended()).await;
        if is_ready != Ok(true) {
            return None;
        }
        // It has served a request, and may be dropped before the next.
        self.progress = Progress::Finished;
        self.may_be_stale = true;
        Some(self)
    }

    /// Ends the hold after the response has been read to its end.
    pub(in crate::client) fn finish(mut self) {
        self.progress = Progress::Finished;
    }

    /// Ends the hold on a connection that has changed its protocol.
    pub(in crate::client) fn upgrade(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.given_up(&self.key, connection);
        }
    }
}

/// Returns true if an HTTP/2 connection ended under the request.
fn is_lost(error: &hyper::Error) -> bool {
    find::<io::Error>(error).is_some() || error.is_timeout()
}

/// Waits for a response, or for the end of the connection's task, which comes first.
async fn before<R>(mut over: Pin<&mut impl Future>, mut response: Pin<&mut impl Future<Output = R>>) -> Option<R> {
    poll_fn(|cx| match response.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => over.as_mut().poll(cx).map(|_| None),
    })
    .await
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let pool = self.pool.clone();
        let _runtime = pool.enter();
        let is_unused = matches!(self.progress, Progress::Unused);
        match (&connection.sender, self.progress) {
            (Sender::Http1(_), Progress::Unused) => self.pool.checkin(&self.key, connection, true),
            (Sender::Http1(_), Progress::Sent(_)) => {
                connection.link.abort();
                self.pool.given_up(&self.key, connection);
            }
            (Sender::Http1(sender), Progress::Finished) if sender.is_ready() && !connection.link.is_blocked() => {
                self.pool.checkin(&self.key, connection, false);
            }
            (Sender::Http1(_), Progress::Finished) => self.check_in_later(connection),
            (Sender::Http2(_) | Sender::Spent, progress) => {
                // The peer may be dead, although the connection has not ended yet.
                let is_silent = match progress {
                    Progress::Sent(Some(sent)) => connection.link.silent_since(sent) >= PATIENCE,
                    _ => false,
                };
                if is_silent {
                    self.pool.withdraw(&self.key, &connection.link);
                }
                let upload = self.upload.take().filter(|upload| !upload.is_finished());
                match (upload, Handle::try_current()) {
                    (Some(upload), Ok(runtime)) if matches!(progress, Progress::Finished) => {
                        let (pool, key) = (self.pool.clone(), self.key.clone());
                        runtime.spawn(async move {
                            sleep(REST_OF_REQUEST).await;
                            upload.stop();
                            pool.released(&key, connection, false);
                        });
                    }
                    (upload, _) => {
                        upload.iter().for_each(RequestBody::stop);
                        self.pool.released(&self.key, connection, is_unused);
                    }
                }
            }
        }
    }
}

impl Lease {
    /// Waits for the rest of the request, which the early response did not wait for, or for the connection's end.
    fn check_in_later(&self, mut connection: Connection) {
        // Without a runtime, nobody reads or writes the connection.
        let Ok(runtime) = Handle::try_current() else {
            connection.link.abort();
            return self.pool.given_up(&self.key, connection);
        };
        let (pool, key) = (Arc::downgrade(&self.pool), self.key.clone());
        runtime.spawn(async move {
            let rest = timeout(REST_OF_REQUEST, connection.ready_or_ended()).await;
            if rest.is_err() {
                connection.link.abort();
            }
            match (rest, pool.upgrade()) {
                (Ok(true), Some(pool)) => pool.checkin(&key, connection, false),
                (_, Some(pool)) => pool.given_up(&key, connection),
                (_, None) => {}
            }
        });
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", &self.key)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
