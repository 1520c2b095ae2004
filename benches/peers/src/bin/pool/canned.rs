//! A connector without a network, so that the clients' own cost is all that there is.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tower::Service;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Connects at once, to any target.
#[derive(Clone, Debug)]
pub(crate) struct CannedConnector;

impl Service<Uri> for CannedConnector {
    type Response = Canned;
    type Error = Infallible;
    type Future = Ready<Result<Canned, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(Ok(Canned::default()))
    }
}

/// A connection on which each request head is answered with the same response.
#[derive(Debug, Default)]
pub(crate) struct Canned {
    /// The rest of a response.
    response: &'static [u8],
    reader: Option<Waker>,
}

impl Connection for Canned {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Canned {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.response.is_empty() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (now, later) = self.response.split_at(self.response.len().min(buf.remaining()));
        buf.put_slice(now);
        self.response = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for Canned {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // A head is written in one piece, and the requests have no bodies.
        self.response = RESPONSE;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
