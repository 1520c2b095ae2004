//! Makes connections that take requests: dials, speaks TLS to the target, performs the HTTP handshake.

use std::{future::poll_fn, sync::Arc};

use hyper::{
    client::conn::{http1, http2},
    rt::{Read, Write},
};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{runtime::Handle, sync::watch};
use tower_service::Service;

use super::{
    error::{ClientError, Failure},
    pool::{
        Attempt, RequestBody, Sender,
        key::{Key, Origin},
        run_until_closed,
    },
};
use crate::{
    connector::{Connector, Destination, ProxyStream, deadline::Deadline, tls, tls::TlsStream},
    error::{BoxError, ConnectError},
    layer::Proxy,
    route::Route,
    tls::TlsConfig,
};

/// The longest response head over HTTP/2: what hyper takes over HTTP/1.1 as well (its default is 16 KiB).
const MAX_HEAD: u32 = 408 * 1024;

/// The most fields of a response head over HTTP/1.1. Above hyper's default of 100, its parser makes two allocations for a
/// response, of 32 bytes a field.
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
    /// Spawns the task that connects and reports to the pool. Spawning here needs no box for the future.
    fn spawn(&self, runtime: &Handle, attempt: Attempt, pool: watch::Receiver<()>);
    fn alpn(&self) -> &[Vec<u8>];
}

struct Stack<C> {
    inner: C,
    /// `None` is the operating system's trust, which is read when the first target needs it.
    tls: Option<TlsConfig>,
    alpn: Vec<Vec<u8>>,
}

impl TargetConnector {
    pub(super) fn new(inner: impl ClientConnector, tls: Option<TlsConfig>) -> Self {
        let chosen = tls.as_ref().map(|tls| tls.client_config().alpn_protocols.clone());
        Self(Arc::new(Stack {
            inner,
            alpn: chosen
                .filter(|chosen| !chosen.is_empty())
                .unwrap_or_else(|| vec![b"h2".to_vec(), b"http/1.1".to_vec()]),
            tls,
        }))
    }

    /// Makes an attempt in its own task, which ends with the pool.
    pub(super) fn spawn(&self, runtime: &Handle, attempt: Attempt, pool: watch::Receiver<()>) {
        self.0.spawn(runtime, attempt, pool);
    }

    /// Returns true if the peer can choose HTTP/2.
    pub(super) fn may_speak_http2(&self, key: &Key) -> bool {
        !key.http1_only
            && key.origin.as_ref().is_some_and(Origin::is_tls)
            && self.0.alpn().iter().any(|protocol| protocol == b"h2")
    }
}

impl<C: ClientConnector> Connect for Stack<C> {
    fn spawn(&self, runtime: &Handle, attempt: Attempt, pool: watch::Receiver<()>) {
        let (tls, key) = (self.tls.clone(), attempt.key.clone());
        let proxy = Proxy {
            inner: self.inner.clone(),
            shared: key.settings.clone(),
        };
        let alpn = match key.http1_only {
            true => vec![b"http/1.1".to_vec()],
            false => self.alpn.clone(),
        };
        let connecting = async move {
            let deadline = Deadline::after(key.settings.connect_timeout);
            let timed_out = |_| ClientError::new(Failure::Timeout);
            let dialled = dial(proxy, &key);
            let stream = match key.route {
                Route::Direct => deadline.run(dialled, timed_out).await?,
                // A proxied dial has the same deadline itself, and its error names the step that was too slow.
                _ => dialled.await?,
            };
            deadline.run(handshake(stream, (tls, alpn), &key), timed_out).await
        };
        let telling = async move {
            match connecting.await {
                Ok((sender, driver, connected)) => attempt.opened((sender, connected), driver.run()),
                Err(error) => attempt.failed(error),
            }
        };
        runtime.spawn(run_until_closed(telling, pool));
    }

    fn alpn(&self) -> &[Vec<u8>] {
        &self.alpn
    }
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
    (tls, alpn): (Option<TlsConfig>, Vec<Vec<u8>>),
    key: &Key,
) -> Result<(Sender, Driver<T>, Connected), ClientError>
where
    T: Read + Write + Connection + Unpin + Send + 'static,
{
    let connected = stream.connected();
    let Some(origin) = key.origin.as_ref().filter(|origin| origin.is_tls()) else {
        let (sender, connection) = http1_over(stream).await?;
        return Ok((sender, Driver::Plain(connection), connected));
    };
    let tls = match tls {
        Some(tls) => tls,
        None => TlsConfig::platform().map_err(|error| failed("TLS to the target cannot be set up", error))?,
    };
    let stream = tls::handshake(stream, &origin.tls_host(), &tls, alpn)
        .await
        .map_err(|error| failed("the TLS handshake with the target failed", error))?;
    let is_http2 = stream.inner().get_ref().1.alpn_protocol() == Some(b"h2");
    if !is_http2 {
        let (sender, connection) = http1_over(stream).await?;
        return Ok((sender, Driver::Tls(connection), connected));
    }
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_header_list_size(MAX_HEAD);
    let (sender, connection) = builder
        .handshake(stream)
        .await
        .map_err(|error| failed("HTTP/2 handshake failed", error))?;
    Ok((Sender::Http2(sender), Driver::Http2(connection), connected))
}

/// TLS to the target, over a direct connection or a tunnel.
type Tls<T> = TlsStream<ProxyStream<T>>;

/// The task of a connection. It moves the connection's bytes.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one in a connection's task, which is on the heap"
)]
enum Driver<T>
where
    T: Read + Write + Unpin + Send + 'static,
{
    Plain(http1::Connection<ProxyStream<T>, RequestBody>),
    Tls(http1::Connection<Tls<T>, RequestBody>),
    Http2(http2::Connection<Tls<T>, RequestBody, TokioExecutor>),
}

impl<T> Driver<T>
where
    T: Read + Write + Unpin + Send + 'static,
{
    /// Runs the connection to its end. Its requests receive the cause.
    async fn run(self) {
        match self {
            Self::Plain(connection) => drop(connection.with_upgrades().await),
            Self::Tls(connection) => drop(connection.with_upgrades().await),
            Self::Http2(connection) => drop(connection.await),
        }
    }
}

fn failed(what: &'static str, error: impl Into<BoxError>) -> ClientError {
    let error = error.into();
    ClientError::new(Failure::Handshake { what, error })
}

async fn http1_over<T>(io: T) -> Result<(Sender, http1::Connection<T, RequestBody>), ClientError>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(MAX_FIELDS)
        .handshake(io)
        .await
        .map_err(|error| failed("HTTP/1.1 handshake failed", error))?;
    Ok((Sender::Http1(sender), connection))
}
