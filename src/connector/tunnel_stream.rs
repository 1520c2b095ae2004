//! [`TunnelStream`]: a stream of an HTTP/2 connection, as a stream of bytes.
//!
//! Bytes are copied once in each direction, between the caller's buffer and a frame. There is no task and no channel
//! of its own.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, SendStream};
use hyper::rt::{Read, ReadBufCursor, Write};

use crate::http2::{Lease, MOST_DATA, ProxyConnection, Receiving, poll_room};

/// A tunnel. Dropping it resets the stream.
pub(super) struct TunnelStream {
    sending: SendStream<Bytes>,
    receiving: Arc<Receiving>,
    /// The rest of the last frame that was read.
    chunk: Bytes,
    /// The number of bytes of that frame, for which the peer's window is opened again at its end.
    to_release: usize,
    is_shut_down: bool,
    // Dropped last: the stream must end before its place is free.
    lease: Lease,
}

impl TunnelStream {
    pub(super) fn new(sending: SendStream<Bytes>, receiving: Arc<Receiving>, lease: Lease) -> Self {
        Self {
            sending,
            receiving,
            chunk: Bytes::new(),
            to_release: 0,
            is_shut_down: false,
            lease,
        }
    }

    /// Returns the connection that carries the tunnel.
    pub(super) fn connection(&self) -> ProxyConnection {
        self.lease.connection()
    }

    /// Returns the number of bytes that can be written now, up to `wanted`.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        if self.is_shut_down {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Poll::Ready(match ready!(poll_room(&mut self.sending, cx, wanted)) {
            Some(room) => room.map_err(|error| self.lease.error(error)),
            None => Err(ready!(self.poll_reset(cx))),
        })
    }

    /// Returns the reason why nothing more can be written.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        Poll::Ready(match ready!(self.sending.poll_reset(cx)) {
            Ok(Reason::NO_ERROR) => io::ErrorKind::BrokenPipe.into(),
            Ok(reason) => io::Error::new(io::ErrorKind::ConnectionReset, h2::Error::from(reason)),
            Err(error) => self.lease.error(error),
        })
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() {
            match ready!(self.receiving.poll_data(cx)) {
                None => break,
                Some(Ok(chunk)) => (self.to_release, self.chunk) = (chunk.len(), chunk),
                Some(Err(error)) => return Poll::Ready(Err(self.lease.error(error))),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Read for TunnelStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_chunk(cx))?;
        let count = self.chunk.len().min(buf.remaining());
        buf.put_slice(&self.chunk[..count]);
        self.chunk.advance(count);
        if self.chunk.is_empty() && self.to_release > 0 {
            self.chunk = Bytes::new();
            let count = std::mem::take(&mut self.to_release);
            self.receiving.release(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for TunnelStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task sends what it has, and waits for nobody.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.is_shut_down, true) {
            // It fails if the stream is over, and then there is nothing left to end.
            let _ = self.sending.send_data(Bytes::new(), true);
        }
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum::<usize>().min(MOST_DATA);
        if length == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut room = ready!(self.poll_room(cx, length))?;
        let mut frame = BytesMut::with_capacity(room);
        for buf in bufs {
            let count = buf.len().min(room);
            frame.extend_from_slice(&buf[..count]);
            room -= count;
        }
        let written = frame.len();
        match self.sending.send_data(frame.freeze(), false) {
            Ok(()) => {
                if written < length {
                    // The rest may never be written.
                    self.sending.reserve_capacity(0);
                }
                Poll::Ready(Ok(written))
            }
            // The stream is over since just now.
            Err(_) => self.poll_reset(cx).map(Err),
        }
    }
}

impl fmt::Debug for TunnelStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelStream").finish_non_exhaustive()
    }
}
