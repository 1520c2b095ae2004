//! From a key to a connection that takes requests: dial, TLS to the target, HTTP handshake.

use std::{future::poll_fn, io, sync::Arc};

use http::Uri;
use hyper::{
    client::conn::{http1, http2},
    rt::{Read, Write},
};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::pki_types::ServerName;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower_service::Service;

use super::{
    connection::{RequestBody, Sender},
    error::{ClientError, Failure},
    key::{Key, Origin},
    pool::for_its_life,
    tasks::Opening,
};
use crate::{
    connect::{Destination, ProxyStream},
    error::{BoxError, ConnectError},
    layer::Proxy,
    route::Route,
    tls::TlsConfig,
};

/// Makes connections for a pool, over an inner connector of any type.
#[derive(Clone)]
pub(super) struct Connector(Arc<dyn Connect + Send + Sync>);

trait Connect {
    /// Spawns the task that connects and tells the pool. It needs no box beside being a task.
    fn spawn(&self, runtime: &Handle, opening: Opening, pool: watch::Receiver<()>);
    fn alpn(&self) -> &[Vec<u8>];
}

struct Stack<C> {
    inner: C,
    /// `None` is the operating system's trust, which only a target with TLS needs.
    tls: Option<TlsConfig>,
    alpn: Vec<Vec<u8>>,
}

impl Connector {
    pub(super) fn new<C>(inner: C, tls: Option<TlsConfig>) -> Self
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Connection + Unpin + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        let chosen = tls.as_ref().map(|tls| tls.client_config().alpn_protocols.clone());
        Self(Arc::new(Stack {
            inner,
            alpn: chosen
                .filter(|chosen| !chosen.is_empty())
                .unwrap_or_else(|| vec![b"h2".to_vec(), b"http/1.1".to_vec()]),
            tls,
        }))
    }

    /// Opens a connection in a task of its own, which ends with the pool.
    pub(super) fn spawn(&self, runtime: &Handle, opening: Opening, pool: watch::Receiver<()>) {
        self.0.spawn(runtime, opening, pool);
    }

    /// Whether the other end can choose HTTP/2.
    pub(super) fn may_speak_http2(&self, key: &Key) -> bool {
        !key.http1_only
            && key.origin.as_ref().is_some_and(Origin::is_tls)
            && self.0.alpn().iter().any(|protocol| protocol == b"h2")
    }
}

impl<C> Connect for Stack<C>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    fn spawn(&self, runtime: &Handle, opening: Opening, pool: watch::Receiver<()>) {
        let (tls, key) = (self.tls.clone(), opening.key.clone());
        let proxy = Proxy {
            inner: self.inner.clone(),
            shared: key.settings.clone(),
        };
        let alpn = match key.http1_only {
            true => vec![b"http/1.1".to_vec()],
            false => self.alpn.clone(),
        };
        let connecting = async move {
            let timeout = key.settings.connect_timeout;
            let deadline = timeout.and_then(|limit| Instant::now().checked_add(limit));
            let dialled = dial(proxy, &key);
            let stream = match key.route {
                Route::Direct => within(deadline, dialled).await?,
                // Has the same deadline of its own, and tells what the proxy was at.
                _ => dialled.await?,
            };
            within(deadline, speak(stream, (tls, alpn), &key)).await
        };
        let telling = async move {
            match connecting.await {
                Ok((sender, driver, connected)) => opening.opened((sender, connected), driver.run()),
                Err(error) => opening.failed(error),
            }
        };
        runtime.spawn(for_its_life(telling, pool));
    }

    fn alpn(&self) -> &[Vec<u8>] {
        &self.alpn
    }
}

/// Polls it before it looks at the clock.
async fn within<T>(
    deadline: Option<Instant>,
    step: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    match deadline {
        Some(deadline) => timeout_at(deadline, step)
            .await
            .unwrap_or_else(|_| Err(ClientError::new(Failure::Timeout))),
        None => step.await,
    }
}

async fn dial<C>(mut proxy: Proxy<C>, key: &Key) -> Result<ProxyStream<C::Response>, ClientError>
where
    C: Service<Uri>,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
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

/// TLS with the target, if that is what it takes, and the HTTP handshake.
async fn speak<T>(
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
        None => TlsConfig::platform().map_err(|error| handshake("TLS with the target cannot be set up", error))?,
    };
    let stream = TlsConnector::from(tls.client_config().clone())
        .with_alpn(alpn)
        .connect(server_name(origin)?, TokioIo::new(stream))
        .await
        .map_err(|error| handshake("TLS with the target failed", error))?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    if !is_http2 {
        let (sender, connection) = http1_over(stream).await?;
        return Ok((sender, Driver::Tls(connection), connected));
    }
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new());
    let (sender, connection) = builder
        .handshake(stream)
        .await
        .map_err(|error| handshake("HTTP/2 failed", error))?;
    Ok((Sender::Http2(sender), Driver::Http2(connection), connected))
}

/// TLS to the target, over whatever leads there.
type Tls<T> = TokioIo<TlsStream<TokioIo<ProxyStream<T>>>>;

/// Does the work of a connection.
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
    /// What ends it is known to whoever has a request on it.
    async fn run(self) {
        match self {
            Self::Plain(connection) => drop(connection.with_upgrades().await),
            Self::Tls(connection) => drop(connection.with_upgrades().await),
            Self::Http2(connection) => drop(connection.await),
        }
    }
}

fn server_name(origin: &Origin) -> Result<ServerName<'static>, ClientError> {
    if let Some(ip) = origin.ip {
        return Ok(ServerName::IpAddress(ip.into()));
    }
    let name = origin.host().strip_suffix('.').unwrap_or(origin.host());
    ServerName::try_from(name.to_ascii_lowercase())
        .map_err(|error| handshake("the target's name fits no certificate", io::Error::other(error)))
}

fn handshake(what: &'static str, error: impl Into<BoxError>) -> ClientError {
    let error = error.into();
    ClientError::new(Failure::Handshake { what, error })
}

async fn http1_over<T>(io: T) -> Result<(Sender, http1::Connection<T, RequestBody>), ClientError>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io)
        .await
        .map_err(|error| handshake("HTTP failed", error))?;
    Ok((Sender::Http1(sender), connection))
}
