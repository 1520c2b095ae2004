//! [`HappyEyeballs`]: a connector that tries all addresses of a name.

use std::{
    future::poll_fn,
    mem,
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::client::legacy::connect::{
    HttpConnector,
    dns::{GaiResolver, Name},
};
use tower_service::Service;

use super::{
    dial::{DialFuture, DialTarget},
    race::race,
};
use crate::{
    error::{BoxError, ConnectError, Failure, Stage},
    trace::Phase,
};

/// The default time between two probes of a silent connection, as Go's.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// A connector that resolves names itself and gives every address a chance soon ("Happy Eyeballs", RFC 8305).
///
/// The inner connector gets a URI with an address in place of the name. If it has not connected after 250 milliseconds,
/// or has failed, it gets the next address as well, up to eight at once; the first connection is used, and the others
/// are closed. Addresses of both families take turns.
///
/// hyper-util's [`HttpConnector`] on its own tries the addresses of a family one after the other and waits for each one
/// without a limit, so that an address that never answers hides all others (`set_connect_timeout` divides a limit among
/// them).
///
/// [`HappyEyeballs::default`] is the connector that this crate uses itself. One around an `HttpConnector` of your own
/// needs `enforce_http(false)` on it, without which it connects to no `https` target directly, and `set_nodelay(true)`,
/// without which uploads over HTTP/2 are slow:
///
/// ```
/// # use hyper_util::client::legacy::connect::HttpConnector;
/// # use tower::Layer;
/// # use tower_outbound_proxy::{ProxyLayer, connector::HappyEyeballs};
/// # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
/// let mut http = HttpConnector::new();
/// http.enforce_http(false);
/// http.set_nodelay(true);
/// http.set_keepalive(Some(std::time::Duration::from_secs(60)));
///
/// let connector = ProxyLayer::from_env()?.layer(HappyEyeballs::new(http));
/// # Ok(())
/// # }
/// ```
///
/// It needs a tokio runtime whose timer and I/O are enabled. Elsewhere, tokio panics and says that there is no runtime.
#[derive(Clone, Debug)]
pub struct HappyEyeballs<S = HttpConnector, R = GaiResolver> {
    inner: S,
    resolver: R,
}

impl<S> HappyEyeballs<S> {
    /// Creates a connector over this one. It resolves names with the system's resolver.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self::with_resolver(inner, GaiResolver::new())
    }
}

/// The connector of [`HappyEyeballs::http`], with the system's resolver.
impl Default for HappyEyeballs {
    fn default() -> Self {
        Self::http(GaiResolver::new())
    }
}

impl<R: Clone> HappyEyeballs<HttpConnector<R>, R> {
    /// Creates a connector with this resolver, over an [`HttpConnector`] with `enforce_http(false)`, `nodelay`, and TCP
    /// keep-alive probes every 15 seconds.
    pub fn http(resolver: R) -> Self {
        let mut http = HttpConnector::new_with_resolver(resolver.clone());
        // On a direct route, the connector dials URIs with the target's scheme.
        http.enforce_http(false);
        http.set_nodelay(true);
        let mut connector = Self::with_resolver(http, resolver);
        connector.set_tcp_keepalive(Some(TCP_KEEPALIVE));
        connector
    }
}

impl<R> HappyEyeballs<HttpConnector<R>, R> {
    /// Sets the time without traffic after which TCP probes a connection, and the time between two probes; `None` for
    /// no probes.
    pub(crate) fn set_tcp_keepalive(&mut self, time: Option<Duration>) {
        self.inner.set_keepalive(time);
        self.inner.set_keepalive_interval(time);
    }
}

impl<S, R> HappyEyeballs<S, R> {
    /// Creates a connector over this one, with this resolver: a `Service<Name>` as [`HttpConnector`] takes it.
    #[must_use]
    pub fn with_resolver(inner: S, resolver: R) -> Self {
        Self { inner, resolver }
    }

    /// Returns the inner connector.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner connector, for instance to set its time-outs.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Unwraps the inner connector.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, R> Service<Uri> for HappyEyeballs<S, R>
where
    S: Service<Uri, Response: Send, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static,
    R: Service<Name, Response: Iterator<Item = SocketAddr> + Send, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    type Response = S::Response;
    type Error = ConnectError;
    type Future = DialFuture<S::Future, S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(cx).map_err(ConnectError::dial)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match DialTarget::new(uri) {
            Ok((asked, uri)) if asked.target.ip().is_some() => {
                let phase = Phase::tcp(asked.target.authority());
                DialFuture::address(self.inner.call(uri), asked.target, Some(phase))
            }
            Ok((asked, uri)) => self.dial_name(asked, uri, |_, addresses| Ok(addresses.collect())),
            Err(error) => DialFuture::failed(ConnectError::target(error)),
        }
    }
}

impl<S, R> HappyEyeballs<S, R>
where
    S: Service<Uri, Response: Send, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static,
    R: Service<Name, Response: Iterator<Item = SocketAddr> + Send, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    /// Looks a name up once, and dials those of its addresses that `choose` returns.
    pub(crate) fn dial_name(
        &mut self,
        asked: DialTarget,
        uri: Uri,
        choose: impl FnOnce(&DialTarget, R::Response) -> Result<Vec<SocketAddr>, ConnectError> + Send + 'static,
    ) -> DialFuture<S::Future, S::Response> {
        // The ready service moves into the future. Its clone stays, and must become ready itself.
        let unready = self.inner.clone();
        let mut ready = Some(mem::replace(&mut self.inner, unready.clone()));
        let resolver = self.resolver.clone();
        DialFuture::name(Box::pin(async move {
            let dialled = async {
                let phase = Phase::dns(asked.target.host());
                let found = phase.end(resolve(resolver, asked.target.written()).await)?;
                let addresses = choose(&asked, found)?;
                race(addresses, |address| {
                    let inner = ready.take().unwrap_or_else(|| unready.clone());
                    let uri = asked.uri_at(address, &uri).map_err(ConnectError::target);
                    let port = asked.at(address).port().unwrap_or_default();
                    let phase = Phase::tcp(SocketAddr::new(address.ip(), port));
                    async move { phase.end(dial(inner, uri?).await) }
                })
                .await
            };
            dialled.await.map_err(|error| error.to(asked.target.authority()))
        }))
    }
}

async fn resolve<R>(mut resolver: R, name: &str) -> Result<R::Response, ConnectError>
where
    R: Service<Name, Error: Into<BoxError>>,
{
    let name = name.parse::<Name>().map_err(ConnectError::dial)?;
    poll_fn(|cx| resolver.poll_ready(cx))
        .await
        .map_err(ConnectError::dial)?;
    resolver.call(name).await.map_err(ConnectError::dial)
}

/// Dials one address. The error does not name it, since the name says more.
async fn dial<S>(mut inner: S, uri: Uri) -> Result<S::Response, ConnectError>
where
    S: Service<Uri, Error: Into<BoxError>>,
{
    let failed = |error: S::Error| ConnectError::new(Stage::Dial, Failure::dial(error.into()));
    poll_fn(|cx| inner.poll_ready(cx)).await.map_err(failed)?;
    inner.call(uri).await.map_err(failed)
}
