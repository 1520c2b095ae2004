//! From a key to a connection that takes requests: dial, TLS to the target, HTTP handshake.

use std::{future::poll_fn, io, pin::Pin, sync::Arc};

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
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::{
    connection::Sender,
    error::{ClientError, Failure},
    key::{Key, Origin},
};
use crate::{
    connect::{Destination, ProxyStream},
    error::{BoxError, ConnectError},
    layer::Proxy,
    route::Route,
    tls::TlsConfig,
};

/// What is to be had of a connection: where requests go in, and the future that does its work.
pub(super) struct Established {
    pub(super) sender: Sender,
    pub(super) driver: Pin<Box<dyn Future<Output = ()> + Send>>,
    pub(super) connected: Connected,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Established, ClientError>> + Send>>;

/// Makes connections for a pool, over an inner connector of any type.
#[derive(Clone)]
pub(super) struct Connector(Arc<dyn Connect + Send + Sync>);

trait Connect {
    fn connect(&self, key: &Key) -> Connecting;
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

    pub(super) async fn connect(&self, key: &Key) -> Result<Established, ClientError> {
        self.0.connect(key).await
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
    fn connect(&self, key: &Key) -> Connecting {
        let (tls, key) = (self.tls.clone(), key.clone());
        let proxy = Proxy {
            inner: self.inner.clone(),
            shared: key.settings.clone(),
        };
        let alpn = match key.http1_only {
            true => vec![b"http/1.1".to_vec()],
            false => self.alpn.clone(),
        };
        let timeout = key.settings.connect_timeout;
        Box::pin(async move {
            let deadline = timeout.and_then(|limit| Instant::now().checked_add(limit));
            let dialled = dial(proxy, &key);
            let stream = match key.route {
                Route::Direct => within(deadline, dialled).await?,
                // Has the same deadline of its own, and tells what the proxy was at.
                _ => dialled.await?,
            };
            within(deadline, speak(stream, (tls, alpn), &key)).await
        })
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
) -> Result<Established, ClientError>
where
    T: Read + Write + Connection + Unpin + Send + 'static,
{
    let connected = stream.connected();
    let Some(origin) = key.origin.as_ref().filter(|origin| origin.is_tls()) else {
        return http1_over(stream, connected).await;
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
    match is_http2 {
        true => http2_over(TokioIo::new(stream), connected).await,
        false => http1_over(TokioIo::new(stream), connected).await,
    }
}

fn server_name(origin: &Origin) -> Result<ServerName<'static>, ClientError> {
    if let Some(ip) = origin.ip {
        return Ok(ServerName::IpAddress(ip.into()));
    }
    let name = origin.host.strip_suffix('.').unwrap_or(&origin.host).to_owned();
    ServerName::try_from(name)
        .map_err(|error| handshake("the target's name fits no certificate", io::Error::other(error)))
}

fn handshake(what: &'static str, error: impl Into<BoxError>) -> ClientError {
    let error = error.into();
    ClientError::new(Failure::Handshake { what, error })
}

async fn http1_over<T>(io: T, connected: Connected) -> Result<Established, ClientError>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io)
        .await
        .map_err(|error| handshake("HTTP failed", error))?;
    Ok(Established {
        sender: Sender::Http1(sender),
        // What ends it is known to whoever has a request on it.
        driver: Box::pin(async { drop(connection.with_upgrades().await) }),
        connected,
    })
}

async fn http2_over<T>(io: T, connected: Connected) -> Result<Established, ClientError>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new());
    let (sender, connection) = builder
        .handshake(io)
        .await
        .map_err(|error| handshake("HTTP/2 failed", error))?;
    Ok(Established {
        sender: Sender::Http2(sender),
        driver: Box::pin(async { drop(connection.await) }),
        connected,
    })
}
