//! [`Frames`]: a stream of HTTP/2 frames, without empty DATA frames.
//!
//! h2 ends a connection after a hundred empty DATA frames, whichever tunnels they belong to. This stream reads the
//! headers of the frames that go by (RFC 9113 4.1) and leaves out each DATA frame that is empty, has no padding and is
//! not the last one of its stream. It also counts the small ones, which h2 keeps one by one until they are read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{link::Link, receiving::SMALL};

const HEADER: usize = 9;
const DATA: u8 = 0;
const END_STREAM: u8 = 0x1;
const PADDED: u8 = 0x8;

const NOT_HTTP2: &str =
    "the proxy answers HTTP/2 in HTTP/1 (`ProxyVersion::Http2` is for proxies that speak HTTP/2 without being asked)";

/// A stream of frames.
pub(super) struct Frames<T> {
    io: T,
    link: Arc<Link>,
    scanner: Scanner,
    /// Bytes that were scanned and did not fit into the reader's buffer.
    scanned: Bytes,
}

/// The place in the stream of frames.
#[derive(Default)]
struct Scanner {
    /// The number of bytes of the current frame that are yet to come.
    left: usize,
    /// The first bytes of a header that was cut off.
    held: Vec<u8>,
    /// True if a response of HTTP/1 has come in place of a frame.
    is_http1: bool,
}

impl<T> Frames<T> {
    pub(super) fn new(io: T, link: Arc<Link>) -> Self {
        Self {
            io,
            link,
            scanner: Scanner::default(),
            scanned: Bytes::new(),
        }
    }
}

impl<T: AsyncRead + Unpin> Frames<T> {
    /// Reads bytes of whole headers. Only the end of the stream and an error add nothing.
    fn poll_frames(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let start = buf.filled().len();
            buf.put_slice(&self.scanner.held);
            let held = buf.filled().len();
            let polled = Pin::new(&mut self.io).poll_read(cx, buf);
            let count = buf.filled().len() - held;
            if !matches!(polled, Poll::Ready(Ok(()))) || count == 0 {
                // Bytes of a cut-off header wait for the rest. At the end, they say nothing.
                buf.set_filled(start);
                return polled;
            }
            self.scanner.held.clear();
            let (kept, small) = self.scanner.scan(&mut buf.filled_mut()[start..]);
            buf.set_filled(start + kept);
            if self.scanner.is_http1 {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, NOT_HTTP2)));
            }
            self.link.has_read(small);
            if kept > 0 {
                return polled;
            }
        }
    }
}

impl Scanner {
    /// Removes empty frames from bytes that come next, and holds an incomplete header back. Returns the number of bytes
    /// that are left, and of small frames among them.
    fn scan(&mut self, bytes: &mut [u8]) -> (usize, usize) {
        let (mut read, mut written, mut small) = (0, 0, 0);
        while read < bytes.len() {
            if self.left == 0 {
                let Some(header) = bytes[read..].first_chunk::<HEADER>() else {
                    self.held.extend_from_slice(&bytes[read..]);
                    break;
                };
                // As a frame, it would be longer than any may be.
                self.is_http1 |= header.starts_with(b"HTTP/");
                let [high, middle, low, kind, flags, ..] = *header;
                let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                if kind == DATA && length == 0 && flags & (END_STREAM | PADDED) == 0 {
                    read += HEADER;
                    continue;
                }
                small += usize::from(kind == DATA && length < SMALL);
                self.left = HEADER + length;
            }
            let count = self.left.min(bytes.len() - read);
            if read != written {
                bytes.copy_within(read..read + count, written);
            }
            self.left -= count;
            read += count;
            written += count;
        }
        (written, small)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Frames<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.link.has_many_small() {
            // h2 reads for as long as there is something to read. They are joined first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.scanned.is_empty() {
            // A header may be held back, and the next one may be cut off.
            if buf.remaining() >= 2 * HEADER {
                return this.poll_frames(cx, buf);
            }
            let mut room = [0; 4 * HEADER];
            let mut scanned = ReadBuf::new(&mut room);
            ready!(this.poll_frames(cx, &mut scanned))?;
            this.scanned = Bytes::copy_from_slice(scanned.filled());
        }
        buf.put_slice(&this.scanned.split_to(this.scanned.len().min(buf.remaining())));
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Frames<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn empty_frames_are_left_out_wherever_the_bytes_are_cut() {
        let kept = [
            frame(4, 0, &[0; 6]),
            frame(DATA, 0, b"abc"),
            frame(DATA, END_STREAM, b""),
            frame(DATA, PADDED, &[0]),
            frame(1, 4, &[7; 300]),
            frame(DATA, 0, &[0; SMALL]),
        ];
        let empty = frame(DATA, 0, b"");
        let mut all = empty.clone();
        for frame in &kept {
            all.extend_from_slice(frame);
            all.extend_from_slice(&empty);
            all.extend_from_slice(&empty);
        }
        for size in (1..400).chain([all.len()]) {
            let (mut scanner, mut out, mut small) = (Scanner::default(), Vec::new(), 0);
            for piece in all.chunks(size) {
                let mut piece = [std::mem::take(&mut scanner.held).as_slice(), piece].concat();
                let (length, of_piece) = scanner.scan(&mut piece);
                out.extend_from_slice(&piece[..length]);
                small += of_piece;
            }
            assert_eq!((out, small), (kept.concat(), 3), "in pieces of {size}");
        }
    }
}
