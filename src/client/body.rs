//! [`ClientBody`]: a response's body, which returns its connection to the pool.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::pool::Lease;

/// The body of a [`Client`](crate::Client)'s response.
///
/// A body that is read to its end returns its connection to the pool. A body that is dropped earlier closes the
/// connection (HTTP/1.1) or resets the stream (HTTP/2), because the rest would have to be read first.
pub struct ClientBody {
    incoming: Incoming,
    lease: Option<Lease>,
}

impl ClientBody {
    pub(super) fn new(incoming: Incoming, lease: Option<Lease>) -> Self {
        let mut body = Self { incoming, lease };
        body.finish_at_end();
        body
    }

    /// Reads the first bytes, as far as they come in time.
    pub(super) async fn first(mut self, most: usize, until: Instant) -> Bytes {
        let mut bytes = BytesMut::new();
        let reading = async {
            while bytes.len() < most {
                match poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
                    Some(Ok(frame)) => frame
                        .data_ref()
                        .into_iter()
                        .for_each(|data| bytes.extend_from_slice(data)),
                    Some(Err(_)) | None => break,
                }
            }
        };
        let _ = timeout_at(until, reading).await;
        bytes.truncate(most);
        bytes.freeze()
    }

    fn finish_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.finish();
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => self.finish_at_end(),
            // Nothing more can be read or sent.
            Some(Err(_)) => self.lease = None,
            None => self.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for ClientBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody")
            .field("size_hint", &self.size_hint())
            .field("done", &self.lease.is_none())
            .finish_non_exhaustive()
    }
}
