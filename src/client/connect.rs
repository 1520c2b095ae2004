//! Makes connections that take requests: dials, speaks TLS to the target, performs the HTTP handshake.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{
    client::conn::http1,
    rt::{Read, Write},
};
use hyper_util::{client::legacy::connect::Connection, rt::TokioIo};
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Handle,
    sync::watch,
    task::AbortHandle,
};
use tower_service::Service;

use super::{
    descriptors,
    error::{ClientError, Failure},
    http2::{self, TargetHttp2Settings},
    pool::{
        Attempt, Driver, Established, Link, OpenConnection, Pool, Sender, Watched,
        key::{Key, Origin},
        run_until_closed,
    },
    request_body::RequestBody,
};
use crate::{
    config::ProxyServer,
    connector::{
        Connector, Destination, Forwarding, ProxyStream, deadline::Deadline, may_speak_http2, shared_key, tls,
    },
    error::{BoxError, ConnectError, ConnectErrorKind, find},
    http2::{Connections, Lease},
    layer::Proxy,
    route::Route,
    tls::TlsConfig,
    trace::Phase,
};

/// The most fields of a response head over HTTP/1.1. Above hyper's default of 100, its parser makes two allocations for
/// a response, of 32 bytes a field.
const MAX_FIELDS: usize = 256;

/// A connector that a [`Client`](super::Client) can use: any [`Connector`] whose connections have metadata, and that
/// can be cloned and sent to other threads. The trait is implemented for all of them.
pub trait ClientConnector:
    Connector<Stream: Connection, Direct: Clone + Send + Sync + 'static, Proxy: Clone + Send + Sync + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<C> ClientConnector for C where
    C: Connector<Stream: Connection, Direct: Clone + Send + Sync + 'static, Proxy: Clone + Send + Sync + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Makes connections for a pool, over an inner connector of any type.
#[derive(Clone)]
pub(super) struct TargetConnector(Arc<dyn Connect + Send + Sync>);

trait Connect {
    /// Spawns the task that connects and reports to the pool.
    fn spawn(&self, runtime: &Handle, attempt: Attempt, pool: watch::Receiver<()>);
    fn alpn(&self) -> &[Vec<u8>];
    fn is_http2_only(&self) -> bool;
    fn stream(&self, key: &Key, proxy: &ProxyServer) -> Streams;
    /// Connects to a proxy that forwards. A connection in HTTP/1.1 is the pool's.
    fn forwarding(&self, pool: &Arc<Pool>, key: &Key, waited: Duration) -> ForwardingFuture;
}

type ForwardingFuture = Pin<Box<dyn Future<Output = Result<Option<Lease>, ClientError>> + Send>>;

/// The streams that forwarded requests share with tunnels.
pub(super) enum Streams {
    /// The proxy is spoken to in HTTP/1.1.
    None,
    Free(Lease),
    ToWaitFor,
}

struct Stack<C> {
    inner: C,
    target: TargetSettings,
    connections: Connections,
}

/// The settings for connections to targets.
#[derive(Clone)]
struct TargetSettings {
    /// `None` is the operating system's trust, which is read when the first target needs it.
    tls: Option<TlsConfig>,
    alpn: Vec<Vec<u8>>,
    http2: TargetHttp2Settings,
}

impl TargetConnector {
    pub(super) fn new(
        inner: impl ClientConnector,
        tls: Option<TlsConfig>,
        http2: TargetHttp2Settings,
        connections: Connections,
    ) -> Self {
        let chosen = tls.as_ref().map(|tls| tls.client_config().alpn_protocols.clone());
        let alpn = chosen
            .filter(|chosen| !chosen.is_empty() && !http2.is_only)
            .unwrap_or_else(|| match http2.is_only {
                true => vec![tls::HTTP2.to_vec()],
                false => vec![tls::HTTP2.to_vec(), tls::HTTP1.to_vec()],
            });
        Self(Arc::new(Stack {
            inner,
            target: TargetSettings { tls, alpn, http2 },
            connections,
        }))
    }

    /// Makes an attempt in its own task, which ends with the pool.
    pub(super) fn spawn(&self, runtime: &Handle, attempt: Attempt, pool: watch::Receiver<()>) {
        self.0.spawn(runtime, attempt, pool);
    }

    /// Returns the state of the streams to a proxy that forwards.
    pub(super) fn stream(&self, key: &Key, proxy: &ProxyServer) -> Streams {
        self.0.stream(key, proxy)
    }

    /// Connects to a proxy that forwards. `None` if it speaks HTTP/1.1.
    pub(super) fn forwarding(&self, pool: &Arc<Pool>, key: &Key, waited: Duration) -> ForwardingFuture {
        self.0.forwarding(pool, key, waited)
    }

    /// Returns true if the peer can choose HTTP/2.
    pub(super) fn may_speak_http2(&self, key: &Key) -> bool {
        let is_tls = key.origin.as_ref().is_some_and(Origin::is_tls);
        let is_offered = || self.0.alpn().iter().any(|protocol| protocol == tls::HTTP2);
        !key.http1_only && (self.0.is_http2_only() || (is_tls && is_offered()))
    }
}

impl<C: ClientConnector> Connect for Stack<C> {
    fn spawn(&self, runtime: &Handle, attempt: Attempt, pool: watch::Receiver<()>) {
        let key = attempt.key.clone();
        let proxy = self.proxy(&key);
        let mut target = self.target.clone();
        if key.http1_only {
            target.alpn = vec![tls::HTTP1.to_vec()];
        }
        let idle = attempt.pool();
        let connecting = async move {
            loop {
                match connect(proxy.clone(), target.clone(), &key).await {
                    Err(error) if descriptors::are_used_up(&error) && Attempt::close_idle(&idle).await => {}
                    result => return result,
                }
            }
        };
        // In boxes, the steps of a connection take memory one after the other. A future that is passed on to be pinned
        // takes its own size twice.
        runtime.spawn(run_until_closed(attempt.run(Box::pin(connecting)), pool));
    }

    fn alpn(&self) -> &[Vec<u8>] {
        &self.target.alpn
    }

    fn is_http2_only(&self) -> bool {
        self.target.http2.is_only
    }

    fn stream(&self, key: &Key, proxy: &ProxyServer) -> Streams {
        if !may_speak_http2(&key.settings, proxy) {
            return Streams::None;
        }
        match self.connections.stream(&shared_key(&key.settings, proxy, key.identity)) {
            Some(lease) => Streams::Free(lease),
            None => Streams::ToWaitFor,
        }
    }

    fn forwarding(&self, pool: &Arc<Pool>, key: &Key, waited: Duration) -> ForwardingFuture {
        let (mut proxy, target) = (self.proxy(key), self.target.clone());
        let (pool, key) = (pool.clone(), key.clone());
        Box::pin(async move {
            let Route::Forward(server) = &key.route else {
                return Ok(None);
            };
            let forwarding = proxy.forwarding(server, key.identity, waited).await;
            match forwarding.map_err(|error| ClientError::new(Failure::Connect(error)))? {
                Forwarding::Stream(lease) => Ok(Some(lease)),
                Forwarding::Http1(None) => Ok(None),
                Forwarding::Http1(Some(stream)) => {
                    pool.adopt(&key, handshake(stream, target, &key).await?);
                    Ok(None)
                }
            }
        })
    }
}

impl<C: ClientConnector> Stack<C> {
    fn proxy(&self, key: &Key) -> Proxy<C> {
        Proxy {
            inner: self.inner.clone(),
            shared: key.settings.clone(),
            connections: self.connections.clone(),
        }
    }
}

async fn connect<C: Connector<Stream: Connection>>(
    proxy: Proxy<C>,
    target: TargetSettings,
    key: &Key,
) -> Result<Established<ConnectionDriver<C::Stream>>, ClientError> {
    let deadline = Deadline::after(key.settings.connect_timeout);
    let timed_out = |_| ClientError::new(Failure::Timeout);
    let dialled = dial(proxy, key);
    let stream = match key.route {
        Route::Direct => deadline.run(dialled, timed_out).await?,
        // A proxied dial has the same deadline itself, and its error names the step that was too slow.
        _ => dialled.await?,
    };
    let handshake = Box::pin(handshake(stream, target, key));
    let shaken = deadline.run(handshake, timed_out).await;
    shaken.map_err(|error| error.about(key))
}

async fn dial<C: Connector>(mut proxy: Proxy<C>, key: &Key) -> Result<ProxyStream<C::Stream>, ClientError> {
    let destination = Destination {
        uri: key.uri().map_err(|error| ClientError::new(Failure::Target(error)))?,
        route: key.route.clone(),
    };
    let failed = |error: ConnectError| ClientError::new(Failure::Connect(error));
    poll_fn(|cx| Service::<Destination>::poll_ready(&mut proxy, cx))
        .await
        .map_err(failed)?;
    proxy.call(destination).await.map_err(failed)
}

/// Performs the TLS handshake, if the target has one, and the HTTP handshake.
async fn handshake<T>(
    stream: ProxyStream<T>,
    target: TargetSettings,
    key: &Key,
) -> Result<Established<ConnectionDriver<T>>, ClientError>
where
    T: Read + Write + Connection + Unpin + Send + 'static,
{
    let is_http2_only = target.http2.is_only && !key.http1_only;
    let Some(origin) = key.origin.as_ref().filter(|origin| origin.is_tls()) else {
        let link = Link::new(stream.connected(), is_http2_only);
        let stream = Watched::new(TokioIo::new(stream), link.clone());
        let (sender, http) = http_over(stream, target.http2, &link).await?;
        let driver = ConnectionDriver::Plain(http);
        return Ok(Established { sender, link, driver });
    };
    let tls = match target.tls {
        Some(tls) => tls,
        None => TlsConfig::platform().map_err(|error| failed("TLS to the target cannot be set up", error))?,
    };
    let host = match &key.server_name {
        Some(name) => name.host(),
        None => origin.tls_host(),
    };
    let phase = Phase::target_tls(origin.host_port());
    let stream = phase
        .end(tls::handshake(stream, &host, &tls, target.alpn).await)
        .map_err(tls_failed)?
        .into_inner();
    // The metadata of a tunnel is complete when something has come through it.
    let connected = stream.get_ref().0.inner().connected();
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(tls::HTTP2);
    if is_http2_only && !is_http2 {
        return Err(failed(
            "the target did not choose HTTP/2 in TLS (ALPN), and `http2_only` is set",
            rustls::Error::NoApplicationProtocol,
        ));
    }
    let link = Link::new(connected, is_http2);
    let stream = Watched::new(stream, link.clone());
    let (sender, http) = http_over(stream, target.http2, &link).await?;
    let driver = ConnectionDriver::Tls(http);
    Ok(Established { sender, link, driver })
}

/// A plain connection to a forwarding proxy, or to the target over a direct connection or a tunnel.
type PlainIo<T> = Watched<TokioIo<ProxyStream<T>>>;

/// TLS to the target, over a direct connection or a tunnel.
type TlsIo<T> = Watched<tokio_rustls::client::TlsStream<TokioIo<ProxyStream<T>>>>;

/// Moves a connection's bytes.
#[expect(clippy::large_enum_variant, reason = "it exists until its task is spawned")]
enum ConnectionDriver<T>
where
    T: Read + Write + Unpin + Send + 'static,
{
    Plain(Http<PlainIo<T>>),
    Tls(Http<TlsIo<T>>),
}

/// A connection in the version of HTTP that it speaks.
#[expect(clippy::large_enum_variant, reason = "it exists until its task is spawned")]
enum Http<T>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Http1(http1::Connection<TokioIo<T>, RequestBody>),
    Http2(http2::Connection<TokioIo<T>>),
}

impl<T> Driver for ConnectionDriver<T>
where
    T: Read + Write + Unpin + Send + 'static,
{
    fn spawn(self, open: OpenConnection) -> AbortHandle {
        match self {
            Self::Plain(http) => http.spawn(open),
            Self::Tls(http) => http.spawn(open),
        }
    }
}

impl<T> Http<T>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Each kind has a task of its own, which has its size.
    fn spawn(self, open: OpenConnection) -> AbortHandle {
        let task = match self {
            Self::Http1(connection) => tokio::spawn(Running::new(connection.with_upgrades(), open)),
            Self::Http2(connection) => tokio::spawn(http2::run(connection, open)),
        };
        task.abort_handle()
    }
}

pin_project! {
    /// The task of an HTTP/1.1 connection. Its requests receive the cause of its end.
    struct Running<F> {
        // Dropped first: the end that `open` announces has come.
        #[pin]
        connection: F,
        open: OpenConnection,
    }
}

impl<F> Running<F> {
    fn new(connection: F, open: OpenConnection) -> Self {
        Self { connection, open }
    }
}

impl<F: Future> Future for Running<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().connection.poll(cx).map(drop)
    }
}

fn failed(what: &'static str, error: impl Into<BoxError>) -> ClientError {
    let error = error.into();
    let peer = String::new();
    ClientError::new(Failure::Handshake { what, peer, error })
}

/// Returns the error of a TLS handshake with a target. If the proxy opened no tunnel, that is the error.
fn tls_failed(error: io::Error) -> ClientError {
    let is_tunnel = |error: &ConnectError| error.kind() != ConnectErrorKind::NotTls;
    let refused = error.get_ref().and_then(|error| error.downcast_ref());
    if refused.is_some_and(is_tunnel) {
        if let Some(Ok(error)) = error.into_inner().map(|error| error.downcast::<ConnectError>()) {
            return ClientError::new(Failure::Connect(*error));
        }
        unreachable!("it is a `ConnectError`");
    }
    match find::<rustls::Error>(&error) {
        Some(rustls::Error::InvalidMessage(_)) => failed(
            "the TLS handshake with the target failed (does it speak TLS on this port?)",
            error,
        ),
        _ => failed("the TLS handshake with the target failed", error),
    }
}

/// Performs the HTTP handshake, in the version that the link has.
async fn http_over<T>(io: T, http2: TargetHttp2Settings, link: &Arc<Link>) -> Result<(Sender, Http<T>), ClientError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(io);
    if link.is_http2() {
        let shaken = http2.builder(link.clone()).handshake(io).await;
        let (sender, connection) = shaken.map_err(|error| failed("HTTP/2 handshake failed", error))?;
        return Ok((Sender::Http2(sender), Http::Http2(connection)));
    }
    let shaken = http1::Builder::new().max_headers(MAX_FIELDS).handshake(io).await;
    let (sender, connection) = shaken.map_err(|error| failed("HTTP/1.1 handshake failed", error))?;
    Ok((Sender::Http1(sender), Http::Http1(connection)))
}
