//! [`ClientBody`]: a response's body, which returns its connection to the pool.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

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
