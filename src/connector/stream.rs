//! [`ProxyStream`]: a connection to the target, to a forwarding proxy, or through a tunnel.

use std::{
    fmt,
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

#[cfg(feature = "tls")]
use super::tls::TlsStream;
#[cfg(feature = "http2")]
use super::tunnel_stream::TunnelStream;
use super::{
    first_bytes::{Awaited, FirstWrite},
    optimistic::{Half, Opening},
};
use crate::{error::ConnectResponse, route::Route};

/// A connection to the target, direct or through a tunnel, or to a proxy that forwards.
///
/// Its metadata ([`Connection::connected`]) consists of the inner connection's, the [`Route`] and, for a tunnel, the
/// proxy's [`ConnectResponse`]. hyper-util's client puts the last two into the extensions of every response. On a
/// forward route, the metadata tells hyper to send absolute-form.
///
/// It is a stream of hyper's ([`hyper::rt::Read`]) and of tokio's ([`tokio::io::AsyncRead`]).
pub struct ProxyStream<T> {
    io: Io<T>,
    /// `None` once it is over, so that a connection that lives on for long is small.
    start: Option<Box<Start>>,
    route: Route,
    response: Option<ConnectResponse>,
}

/// The first bytes of a connection.
struct Start {
    /// The tunnel's first bytes, which the proxy sent right after its response head.
    early: Bytes,
    awaited: Awaited,
}

pub(super) enum Io<T> {
    Plain(T),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<T>>),
    /// A stream of a connection that others share.
    #[cfg(feature = "http2")]
    Http2(Box<TunnelStream>),
    /// A tunnel that is not open yet.
    Opening(Box<Opening<T>>),
    /// A tunnel that could not be opened.
    Failed,
}

impl<T> ProxyStream<T> {
    pub(super) fn direct(stream: T) -> Self {
        Self::forward(Io::Plain(stream), Route::Direct)
    }

    pub(super) fn forward(io: Io<T>, route: Route) -> Self {
        Self {
            io,
            start: None,
            route,
            response: None,
        }
    }

    pub(super) fn tunnel(io: Io<T>, route: Route, response: ConnectResponse, early: Bytes) -> Self {
        Self {
            io,
            start: Start::new(early, Awaited::Any),
            route,
            response: Some(response),
        }
    }

    /// Creates a stream whose first bytes go into the first flight, until the tunnel is open.
    pub(super) fn opening(opening: Opening<T>, route: Route) -> Self {
        Self::forward(Io::Opening(Box::new(opening)), route)
    }

    /// Sets the protocol that the first bytes are checked for.
    pub(super) fn awaiting(mut self, awaited: Awaited) -> Self {
        let early = self.start.map(|start| start.early).unwrap_or_default();
        self.start = Start::new(early, awaited);
        self
    }

    /// Returns the route.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Returns the proxy's response to CONNECT, if the connection is a tunnel.
    pub fn connect_response(&self) -> Option<&ConnectResponse> {
        self.response.as_ref()
    }

    /// Returns the inner connector's stream; `None` if other tunnels share it. Reading or writing it directly breaks
    /// the connection.
    pub fn get_ref(&self) -> Option<&T> {
        match &self.io {
            Io::Plain(stream) => Some(stream),
            #[cfg(feature = "tls")]
            Io::Tls(tls) => Some(tls.inner().get_ref().0.inner()),
            #[cfg(feature = "http2")]
            Io::Http2(_) => None,
            Io::Opening(_) | Io::Failed => None,
        }
    }
}

impl<T> ProxyStream<T> {
    /// Unwraps the inner connector's stream, and the bytes that were already received from the tunnel and come before
    /// all others.
    ///
    /// # Errors
    ///
    /// Returns the stream as it is if the connection to the proxy is encrypted, or other tunnels share it. The inner
    /// stream then carries that TLS or HTTP/2, and not the tunnel.
    pub fn into_inner(self) -> Result<(T, Bytes), Self> {
        match self.io {
            Io::Plain(stream) => Ok((stream, self.start.map(|start| start.early).unwrap_or_default())),
            _ => Err(self),
        }
    }
}

impl<T: Connection> Connection for ProxyStream<T> {
    fn connected(&self) -> Connected {
        let connected = match &self.io {
            #[cfg(feature = "http2")]
            Io::Http2(tunnel) => Connected::new().extra(tunnel.connection()),
            _ => self.get_ref().map_or_else(Connected::new, Connection::connected),
        };
        match &self.route {
            Route::Direct | Route::Unusable(_) => connected.extra(self.route.clone()),
            Route::Forward(_) => connected.proxy(true).extra(self.route.clone()),
            Route::Tunnel(_) => {
                let connected = connected.extra(self.route.clone());
                match &self.response {
                    Some(response) => connected.extra(response.clone()),
                    None => connected,
                }
            }
        }
    }
}

impl<T: Read + Write + Unpin> Read for ProxyStream<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx, Half::Read))?;
        match &self.start {
            None => Pin::new(&mut self.io).poll_read(cx, buf),
            Some(start) if start.awaited.is_for_reads() => self.poll_first_bytes(cx, buf),
            Some(_) => self.poll_bytes(cx, buf),
        }
    }
}

impl<T: Read + Write + Unpin> ProxyStream<T> {
    /// Waits until the tunnel is open.
    fn poll_open(&mut self, cx: &mut Context<'_>, half: Half) -> Poll<io::Result<()>> {
        let Io::Opening(opening) = &mut self.io else {
            return Poll::Ready(Ok(()));
        };
        match ready!(opening.poll(cx, half)) {
            Ok(stream) => {
                (self.io, self.response) = (stream.io, stream.response);
                let early = stream.start.map(|start| start.early).unwrap_or_default();
                let awaited = self.start.take().map_or(Awaited::Any, |start| start.awaited);
                self.start = Start::new(early, awaited);
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.io = Io::Failed;
                Poll::Ready(Err(io::Error::other(error)))
            }
        }
    }

    /// Writes to the tunnel, or into the first flight while it is not open.
    fn poll_write_now(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Io::Opening(opening) = &self.io {
            if let Poll::Ready(count) = opening.first.write(bufs) {
                // It is on its way before the caller waits for an answer.
                if let Poll::Ready(Err(error)) = self.poll_open(cx, Half::Write) {
                    return Poll::Ready(Err(error));
                }
                return Poll::Ready(Ok(count));
            }
            ready!(self.poll_open(cx, Half::Write))?;
        }
        match bufs {
            [buf] => Pin::new(&mut self.io).poll_write(cx, buf),
            _ => Pin::new(&mut self.io).poll_write_vectored(cx, bufs),
        }
    }

    /// Reads the first bytes by a buffer of its own, since a cursor does not show the bytes that it was given.
    #[inline(never)]
    fn poll_first_bytes(&mut self, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [const { MaybeUninit::uninit() }; 8192];
        let length = bytes.len().min(buf.remaining());
        let mut first = ReadBuf::uninit(&mut bytes[..length]);
        ready!(self.poll_bytes(cx, first.unfilled()))?;
        self.at_start(|start, route| start.awaited.check(first.filled(), route.proxy()))?;
        buf.put_slice(first.filled());
        Poll::Ready(Ok(()))
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match &mut self.start {
            Some(start) if !start.early.is_empty() => {
                let early = start.early.split_to(start.early.len().min(buf.remaining()));
                buf.put_slice(&early);
                Poll::Ready(self.at_start(|_, _| Ok(())))
            }
            _ => Pin::new(&mut self.io).poll_read(cx, buf),
        }
    }

    /// Checks the start, and ends it if nothing is left of it.
    fn at_start(&mut self, check: impl FnOnce(&mut Start, &Route) -> io::Result<()>) -> io::Result<()> {
        if let Some(start) = &mut self.start {
            check(start, &self.route)?;
            if start.is_over() {
                self.start = None;
            }
        }
        Ok(())
    }

    /// Writes the first bytes, unless they are refused.
    #[inline(never)]
    fn poll_first_write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let first = FirstWrite::of(bufs);
        self.at_start(|start, route| start.awaited.check_write(&first, route.proxy()))?;
        let written = ready!(self.poll_write_now(cx, bufs))?;
        if written > 0 {
            self.at_start(|start, route| {
                start.awaited.on_write(&first, route.proxy());
                Ok(())
            })?;
        }
        Poll::Ready(Ok(written))
    }

    /// Returns true if a write is not to be passed on as it is.
    fn is_at_start(&self) -> bool {
        let is_checked = |start: &Start| start.awaited.is_for_writes();
        self.start.as_deref().is_some_and(is_checked) || matches!(self.io, Io::Opening(_))
    }
}

impl Start {
    fn new(early: Bytes, awaited: Awaited) -> Option<Box<Self>> {
        let start = Self { early, awaited };
        (!start.is_over()).then(|| Box::new(start))
    }

    fn is_over(&self) -> bool {
        self.early.is_empty() && matches!(self.awaited, Awaited::Any)
    }
}

impl<T: Read + Write + Unpin> Write for ProxyStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.is_at_start() {
            false => Pin::new(&mut self.io).poll_write(cx, buf),
            true => self.poll_first_write(cx, &[IoSlice::new(buf)]),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The bytes of the first flight are on their way.
        if let Poll::Ready(Err(error)) = self.poll_open(cx, Half::Write) {
            return Poll::Ready(Err(error));
        }
        match self.io {
            Io::Opening(_) => Poll::Ready(Ok(())),
            _ => Pin::new(&mut self.io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx, Half::Write))?;
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
        match self.is_at_start() {
            false => Pin::new(&mut self.io).poll_write_vectored(cx, bufs),
            true => self.poll_first_write(cx, bufs),
        }
    }
}

/// Returns the error of a tunnel that is not open.
fn not_open<R>() -> Poll<io::Result<R>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl<T: Read + Write + Unpin> Read for Io<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
            #[cfg(feature = "http2")]
            Self::Http2(tunnel) => Pin::new(tunnel).poll_read(cx, buf),
            Self::Opening(_) | Self::Failed => not_open(),
        }
    }
}

impl<T: Read + Write + Unpin> Write for Io<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
            #[cfg(feature = "http2")]
            Self::Http2(tunnel) => Pin::new(tunnel).poll_write(cx, buf),
            Self::Opening(_) | Self::Failed => not_open(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
            #[cfg(feature = "http2")]
            Self::Http2(tunnel) => Pin::new(tunnel).poll_flush(cx),
            Self::Opening(_) | Self::Failed => not_open(),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            #[cfg(feature = "http2")]
            Self::Http2(tunnel) => Pin::new(tunnel).poll_shutdown(cx),
            Self::Opening(_) | Self::Failed => not_open(),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.is_write_vectored(),
            #[cfg(feature = "http2")]
            Self::Http2(tunnel) => tunnel.is_write_vectored(),
            Self::Opening(_) | Self::Failed => true,
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
            #[cfg(feature = "http2")]
            Self::Http2(tunnel) => Pin::new(tunnel).poll_write_vectored(cx, bufs),
            Self::Opening(_) | Self::Failed => not_open(),
        }
    }
}

impl<T> fmt::Debug for ProxyStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyStream")
            .field("route", &self.route)
            .field("early", &self.start.as_ref().map_or(0, |start| start.early.len()))
            .finish_non_exhaustive()
    }
}
