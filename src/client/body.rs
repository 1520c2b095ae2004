//! [`ClientBody`]: a response's body, which returns its connection to the pool.

use std::{
    error::Error as StdError,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::{forward::ForwardedBody, pool::Lease};
use crate::error::{BoxError, write_chain};

/// The body of a [`Client`](crate::Client)'s response.
///
/// A body that is read to its end returns its connection to the pool. A body that is dropped earlier closes the
/// connection (HTTP/1.1) or resets the stream (HTTP/2), because the rest would have to be read first.
pub struct ClientBody(Source);

enum Source {
    Pooled {
        incoming: Incoming,
        lease: Option<Lease>,
    },
    /// A stream of a connection to a proxy over HTTP/2.
    Shared(ForwardedBody),
}

impl ClientBody {
    pub(super) fn new(incoming: Incoming, lease: Option<Lease>) -> Self {
        Self(Source::Pooled { incoming, lease }).finished()
    }

    /// A body whose connection may be kept, even if the body is empty.
    pub(super) fn unfinished(incoming: Incoming, lease: Lease) -> Self {
        let lease = Some(lease);
        Self(Source::Pooled { incoming, lease })
    }

    /// Returns the connection to the pool, if the body is at its end.
    pub(super) fn finished(mut self) -> Self {
        self.0.finish_at_end();
        self
    }

    pub(super) fn shared(body: ForwardedBody) -> Self {
        Self(Source::Shared(body))
    }

    /// Reads the first bytes, as far as they come in time. Returns the hold on the connection too if it is to be kept,
    /// and can be.
    pub(super) async fn first(mut self, most: usize, until: Instant, is_kept: bool) -> (Bytes, Option<Lease>) {
        let lease = match &mut self.0 {
            Source::Pooled { lease, .. } if is_kept => lease.take(),
            _ => None,
        };
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
        let lease = match lease.filter(|_| self.is_end_stream()) {
            Some(lease) => lease.kept().await,
            None => None,
        };
        bytes.truncate(most);
        (bytes.freeze(), lease)
    }
}

impl Source {
    fn finish_at_end(&mut self) {
        match self {
            Self::Pooled { incoming, lease } if incoming.is_end_stream() => {
                lease.take().into_iter().for_each(Lease::finish);
            }
            _ => {}
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (incoming, lease) = match &mut self.0 {
            Source::Pooled { incoming, lease } => (incoming, lease),
            Source::Shared(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                return Poll::Ready(frame.map(|frame| frame.map_err(|error| BodyError(error.into()))));
            }
        };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => self.0.finish_at_end(),
            // Nothing more can be read or sent.
            Some(Err(_)) => *lease = None,
            None => lease.take().into_iter().for_each(Lease::finish),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| BodyError(error.into()))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Pooled { incoming, .. } => incoming.is_end_stream(),
            Source::Shared(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Pooled { incoming, .. } => incoming.size_hint(),
            Source::Shared(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for ClientBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody")
            .field("size_hint", &self.size_hint())
            .field("done", &self.is_end_stream())
            .finish_non_exhaustive()
    }
}

/// A response whose body broke off. Its [`source`](StdError::source) has the reason.
pub struct BodyError(BoxError);

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of the response broke off")
    }
}

/// Shows the text and those of the causes.
impl fmt::Debug for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_chain(f, "BodyError", self)
    }
}

impl StdError for BodyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}
