//! The socket that records its bytes.
//!
//! [`Recorded`] is an accepted socket, after the TLS handshake if there is one. It records, and it can be read ahead:
//! [`poll_fill`](Recorded::poll_fill) reads from the socket into a buffer that later reads drain. So a head is read
//! byte-exactly before the choice between hyper and a script.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::record::{Connection, Tls};

/// An accepted socket, with or without TLS.
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Marks the record closed; declared after the socket, so dropped after it.
pub(crate) struct CloseMark(pub(crate) Connection);

impl Drop for CloseMark {
    fn drop(&mut self) {
        self.0.note_closed();
    }
}

/// A socket that writes its [`Connection`] record.
pub(crate) struct Recorded {
    io: Transport,
    /// Bytes that were read from the socket and recorded, but not yet read from this.
    unread: BytesMut,
    record: CloseMark,
}

impl Recorded {
    pub(crate) fn plain(io: TcpStream, record: CloseMark) -> Self {
        Self {
            io: Transport::Plain(io),
            unread: BytesMut::new(),
            record,
        }
    }

    pub(crate) fn tls(io: TlsStream<TcpStream>, record: CloseMark) -> Self {
        let session = io.get_ref().1;
        let tls = Tls {
            alpn: session
                .alpn_protocol()
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            sni: session.server_name().map(str::to_owned),
            client_certificate: session.peer_certificates().is_some(),
        };
        record.0.note_tls(Ok(tls));
        Self {
            io: Transport::Tls(Box::new(io)),
            unread: BytesMut::new(),
            record,
        }
    }

    pub(crate) fn record(&self) -> &Connection {
        &self.record.0
    }

    /// Returns the bytes that [`poll_fill`](Self::poll_fill) has read ahead. The next read returns the bytes that are
    /// left in it.
    pub(crate) fn unread(&mut self) -> &mut BytesMut {
        &mut self.unread
    }

    /// Reads from the socket into [`unread`](Self::unread); 0 is the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [0; 4096];
        let mut buf = ReadBuf::new(&mut room);
        ready!(self.poll_read_socket(cx, &mut buf))?;
        self.unread.extend_from_slice(buf.filled());
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Makes the later close a reset.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        match &self.io {
            Transport::Plain(io) => io.set_zero_linger(),
            Transport::Tls(io) => io.get_ref().0.set_zero_linger(),
        }
    }

    fn poll_read_socket(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let had_room = buf.remaining() > 0;
        let result = ready!(match &mut self.io {
            Transport::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Transport::Tls(io) => Pin::new(io).poll_read(cx, buf),
        });
        let read = &buf.filled()[before..];
        let ended = result.is_err() || (had_room && read.is_empty());
        self.record.0.note_read(read, ended);
        Poll::Ready(result)
    }
}

impl AsyncRead for Recorded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return self.poll_read_socket(cx, buf);
        }
        let count = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(match &mut self.io {
            Transport::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Transport::Tls(io) => Pin::new(io).poll_write(cx, buf),
        })?;
        self.record.0.note_write(count, [buf]);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(match &mut self.io {
            Transport::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Transport::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        })?;
        self.record.0.note_write(count, bufs.iter().map(|buf| &**buf));
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Transport::Plain(io) => io.is_write_vectored(),
            Transport::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Transport::Plain(io) => Pin::new(io).poll_flush(cx),
            Transport::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Transport::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Transport::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
