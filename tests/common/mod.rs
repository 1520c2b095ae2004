//! A layer for a proxy, a client, and a wire with scripted behaviour.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connect, Connected, Connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt};
use tower_outbound_proxy::{
    ConnectError, Proxy, ProxyConfig, ProxyLayer, Route, connector::ProxyStream, route::Destination,
};
use tower_outbound_proxy_lab::within;

/// The request that [`tunnel`] sends.
pub const CONNECT: &str = "CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n";
/// The shortest answer that opens a tunnel.
pub const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";

/// Returns a layer that sends everything to this proxy.
pub fn layer(proxy: &str) -> ProxyLayer {
    ProxyLayer::new(ProxyConfig::builder().all(proxy).build().unwrap())
}

/// Returns a client over a connector, with one connection per request.
pub fn client<C: Connect + Clone>(connector: C) -> Client<C, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(connector)
}

/// Sends a GET and reads the whole response.
pub async fn get<C>(client: &Client<C, Full<Bytes>>, uri: &str) -> Result<Response<String>, legacy::Error>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let (head, body) = client.get(uri.parse().unwrap()).await?.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Ok(Response::from_parts(head, String::from_utf8(body.to_vec()).unwrap()))
}

/// Sets the route of a request to its target.
pub fn decide<B>(request: &mut Request<B>, route: Route) {
    let uri = request.uri().clone();
    request.extensions_mut().insert(Destination { uri, route });
}

/// Connects to a target.
pub async fn connect<S>(layer: &ProxyLayer, inner: S, uri: &str) -> Result<ProxyStream<S::Response>, ConnectError>
where
    Proxy<S>: Service<Uri, Response = ProxyStream<S::Response>, Error = ConnectError>,
    S: Service<Uri>,
{
    layer.layer(inner).oneshot(uri.parse().unwrap()).await
}

/// Opens a tunnel to `origin.test:443` over this wire.
pub async fn tunnel(layer: &ProxyLayer, wire: Wire) -> Result<ProxyStream<Wire>, ConnectError> {
    connect(layer, Handing::new(wire), "https://origin.test/").await
}

/// Returns all visible output of an error and its sources.
pub fn everything(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(|error| format!("{error}\n{error:?}\n{error:#?}\n")).collect()
}

/// A connector that returns one stream and records the URIs.
#[derive(Debug)]
pub struct Handing<T> {
    stream: Arc<Mutex<Option<T>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl<T> Handing<T> {
    pub fn new(stream: T) -> Self {
        Self {
            stream: Arc::new(Mutex::new(Some(stream))),
            asked: Arc::default(),
        }
    }

    /// Returns every URI so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl<T> Clone for Handing<T> {
    fn clone(&self) -> Self {
        Self {
            stream: self.stream.clone(),
            asked: self.asked.clone(),
        }
    }
}

impl<T> Service<Uri> for Handing<T> {
    type Response = T;
    type Error = Infallible;
    type Future = Ready<Result<T, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.asked.lock().unwrap().push(uri.to_string());
        ready(Ok(self.stream.lock().unwrap().take().expect("asked for one stream")))
    }
}

/// The near end of a stream in memory, without vectored writes: hyper copies a body for it, and can take the next
/// request before it has written this one. So it is with TLS, which has a buffer of its own.
#[derive(Debug)]
pub struct Pipe(TokioIo<DuplexStream>);

impl Pipe {
    /// Creates a stream with room for so many bytes in each direction, and returns both ends.
    pub fn new(room: usize) -> (Self, DuplexStream) {
        let (near, far) = duplex(room);
        (Self(TokioIo::new(near)), far)
    }
}

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The behaviour of the peer of a [`Wire`] after its last piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Hang,
    Close,
    /// The end of TLS without a `close_notify`.
    Truncate,
    Reset,
}

/// A stream whose peer sends these pieces and then hangs. It sends each piece separately, and only after something was
/// written.
#[derive(Debug)]
pub struct Wire {
    pieces: VecDeque<Bytes>,
    /// True if the next piece has been waited for.
    arrived: bool,
    then: Then,
    vectored: bool,
    h2: bool,
    log: Log,
}

/// The record of a [`Wire`].
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Logged>>);

#[derive(Debug, Default)]
struct Logged {
    written: Vec<u8>,
    vectored: usize,
    shutdowns: usize,
    /// True if the next write takes nothing.
    is_full: bool,
}

impl Logged {
    /// Returns the number of bytes that a write takes.
    fn take(&mut self, bytes: &[u8]) -> usize {
        if std::mem::take(&mut self.is_full) {
            return 0;
        }
        self.written.extend_from_slice(bytes);
        bytes.len()
    }
}

/// A mark among the metadata of a [`Wire`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(pub u8);

impl Wire {
    pub fn saying(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let pieces = pieces.into_iter().map(|piece| Bytes::copy_from_slice(piece.as_ref()));
        Self {
            pieces: pieces.filter(|piece| !piece.is_empty()).collect(),
            arrived: false,
            then: Then::Hang,
            vectored: true,
            h2: false,
            log: Log::default(),
        }
    }

    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    pub fn vectored(mut self, vectored: bool) -> Self {
        self.vectored = vectored;
        self
    }

    pub fn negotiated_h2(mut self) -> Self {
        self.h2 = true;
        self
    }

    pub fn log(&self) -> Log {
        self.log.clone()
    }
}

impl Log {
    pub fn written(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().written.clone()).unwrap()
    }

    /// Returns the number of vectored writes.
    pub fn vectored(&self) -> usize {
        self.0.lock().unwrap().vectored
    }

    pub fn shutdowns(&self) -> usize {
        self.0.lock().unwrap().shutdowns
    }

    /// Lets the next write take nothing.
    pub fn take_nothing(&self) {
        self.0.lock().unwrap().is_full = true;
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(Mark(7));
        match self.h2 {
            true => connected.negotiated_h2(),
            false => connected,
        }
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(piece) = this.pieces.front_mut() else {
            return match this.then {
                Then::Hang => Poll::Pending,
                Then::Close => Poll::Ready(Ok(())),
                Then::Truncate => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Then::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        };
        if !std::mem::replace(&mut this.arrived, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = piece.len().min(buf.remaining());
        buf.put_slice(&piece.split_to(length));
        if !piece.has_remaining() {
            this.pieces.pop_front();
            this.arrived = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.log.0.lock().unwrap().take(bytes)))
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut log = self.log.0.lock().unwrap();
        log.vectored += 1;
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        Poll::Ready(Ok(log.take(&bytes)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.log.0.lock().unwrap().shutdowns += 1;
        Poll::Ready(Ok(()))
    }
}

/// The first line that [`shouting`] sends.
pub const GREETING: &str = "220 mail.test ESMTP\r\n";

/// Starts a server that speaks first, answers one line in capital letters and closes.
pub async fn shouting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                client.write_all(GREETING.as_bytes()).await.unwrap();
                let mut line = vec![0; 6];
                client.read_exact(&mut line).await.unwrap();
                line.make_ascii_uppercase();
                client.write_all(&line).await.unwrap();
            });
        }
    });
    addr
}

/// Speaks with [`shouting`], as a library that takes any stream of tokio's does.
pub async fn speak(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    within(async {
        let (mut greeting, mut answer) = ([0; GREETING.len()], [0; 6]);
        stream.read_exact(&mut greeting).await.unwrap();
        stream.write_all(b"quit\r\n").await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        String::from_utf8([&greeting[..], &answer].concat()).unwrap()
    })
    .await
}
