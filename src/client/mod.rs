//! An HTTP client with a pool of connections keyed by route (feature `client`).
//!
//! hyper-util's pooled client keys its pool by origin. Behind a proxy, that is the wrong key: one connection to a proxy
//! serves every plain-HTTP origin, and two requests to one origin may need different routes. [`Client`] keys its pool
//! by route, so that a route can be chosen per request, for instance by a [purpose](crate::purpose).
//!
//! - [`ClientBuilder`] sets limits, TLS to targets, a connector and a [guard](crate::guard).
//! - [`ConfigHandle`] replaces the settings while the client runs.
//! - [`Client::stats`] returns the pool's content.
//!
//! ```
//! # use std::time::Duration;
//! # use bytes::Bytes;
//! # use http::Request;
//! # use http_body_util::Full;
//! # use tower::{BoxError, ServiceExt};
//! # use tower_outbound_proxy::{Client, IpPolicy};
//! # async fn run() -> Result<(), BoxError> {
//! let client = Client::builder()
//!     .max_connections_per_key(50)
//!     .idle_timeout(Some(Duration::from_secs(30)))
//!     .guard(IpPolicy::special_purpose())
//!     .build()?;
//! let response = client.clone().oneshot(Request::get("https://example.com/").body(Full::<Bytes>::default())?).await?;
//! println!("{}, {} connections open", response.status(), client.stats().open());
//! # Ok(())
//! # }
//! ```
//!
//! # Figures
//!
//! For a dashboard, by OpenTelemetry's names:
//!
//! | metric | source |
//! |---|---|
//! | `http.client.request.duration`, to the head of the response, in seconds | an event |
//! | `http.client.request.time_in_queue`, to the connection, which may have to be opened | an event |
//! | `http.client.connection.duration` | an event |
//! | `http.client.connection.setup.duration`, by `http.connection.phase`: `dns`, `tcp`, `tls to the proxy`, `connect`, `tls to the target` | an event, and a span `connecting` |
//! | `http.client.open_connections`, by `http.connection.state`: `idle`, `active` | [`stats`](Client::stats): `idle`, and `open - idle` |
//!
//! The events (feature `tracing`) have the level `TRACE` and the target `tower_outbound_proxy::metrics`. The field with
//! the value is named `histogram.` and the metric, as `tracing_opentelemetry::MetricsLayer` reads it, and the other
//! fields are its attributes: `server.address` and `server.port` are the target's, `network.peer.address` and
//! `network.peer.port` the proxy's, and `proxy.route` is `direct`, `forward` or `tunnel`. (Of a connection that serves any
//! target, all are the proxy's.) `error.type` is a status from 400, the name of a
//! [`ConnectErrorKind`](crate::error::ConnectErrorKind) or of another cause (`Send`), or `cancelled`. A phase of a setup
//! has `peer`, the host and port that it is with, and `error.type` is `failed`.
//!
//! To see them as lines of a log:
//!
//! ```ignore
//! let figures = tracing_subscriber::filter::Targets::new().with_target("tower_outbound_proxy", tracing::Level::TRACE);
//! tracing_subscriber::registry().with(tracing_subscriber::fmt::layer()).with(figures).init();
//! ```
//!
//! Events rather than a metrics library, because those are before their 1.0: each of their releases would be a breaking
//! one of this crate. The gauge is read rather than counted, so that it is exact.

// `hyper_util::client::pool` is not used. Its `cache` has no limits, no idle time-out and no ordered waiters. Its
// `singleton` panics when a stale handle resets a newer connection. Its `negotiate` calls a service that it did not
// poll ready.

mod body;
mod builder;
mod challenge;
mod connect;
mod descriptors;
mod error;
mod expect;
mod forward;
mod hold;
mod http2;
mod pool;
mod reload;
mod repeat;
mod request_body;
mod server_name;

use std::{
    fmt,
    future::ready,
    marker::PhantomData,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response, Uri, header};
use http_body::Body;
use tower_service::Service;

pub use self::{
    body::{BodyError, ClientBody},
    builder::ClientBuilder,
    connect::ClientConnector,
    error::ClientError,
    pool::{KeyStats, PoolStats},
    reload::ConfigHandle,
    server_name::TlsServerName,
};
use self::{
    challenge::After,
    error::Failure,
    forward::Forward,
    hold::Hold,
    pool::{
        Pool,
        key::{Key, Protocol},
    },
    reload::Settings,
    repeat::{Repeats, Spare},
    request_body::RequestBody,
};
use crate::{
    config::ProxyConfig,
    decide::Subject,
    error::{BoxError, ConfigError},
    http2::Connections,
    layer::Shared,
    request_target::RequestTarget,
    route::Route,
    service::{Asking, prepare},
    target::{Target, TargetError},
    trace::{RequestFigures, RequestSpan},
};

/// An HTTP client that obeys the outbound proxy settings, with a pool of connections keyed by route.
///
/// ```
/// # use bytes::Bytes;
/// # use http::Request;
/// # use http_body_util::Empty;
/// # use tower::{BoxError, ServiceExt};
/// # use tower_outbound_proxy::Client;
/// # async fn run() -> Result<(), BoxError> {
/// let client = Client::builder().build()?;
/// let request = Request::get("https://example.com/").body(Empty::<Bytes>::new())?;
/// let response = client.oneshot(request).await?;
/// # Ok(())
/// # }
/// ```
///
/// | route | requests that share a connection have the same | protocol |
/// |---|---|---|
/// | direct | scheme, host, port | HTTP/1.1, or HTTP/2 if the target chooses it in TLS |
/// | forward | proxy: address and credentials | HTTP/1.1, or HTTP/2 if the proxy chooses it in TLS |
/// | tunnel | proxy, scheme, host, port | as direct |
///
/// A request's purpose can decide its route ([`ClientBuilder::purposes`]), and the settings can be replaced while the
/// client runs ([`config_handle`](Self::config_handle)). A [`Destination`](crate::route::Destination) in a request's
/// extensions takes precedence over both; see [`route`](crate::route). An `Upgrade` request to an `http` target goes
/// through a tunnel, and one to an `https` target uses HTTP/1.1. `hyper::upgrade::on` returns the upgraded stream of
/// the response.
///
/// # Faults
///
/// | fault | consequence |
/// |---|---|
/// | a connection attempt takes longer than a second | another attempt starts beside it; under a limit, in its place |
/// | a request has no connection within the layer's [`connect_timeout`](crate::ProxyLayer::with_connect_timeout) | it fails; the deadline is its own, and covers waiting for a free connection |
/// | a request is given up | its attempt ends within a second, unless others wait |
/// | a connection closes before a byte of the request was sent, or the server promises not to have processed it (`GOAWAY`, `REFUSED_STREAM`) | the request is sent again |
/// | a used connection closes before a byte of the response | an idempotent request is sent again (RFC 9112 9.3.1) |
/// | the peer of an HTTP/2 connection allows no further streams | another connection is opened |
/// | the peer of an HTTP/2 connection is silent while requests wait | a PING is sent; a connection on which a request was given up after a second of silence gets no new requests |
/// | a response comes before the request has been sent, and has been read | the rest of the request has 50 ms |
/// | there are no more file descriptors | idle connections are closed |
///
/// A request with a body is sent again if at most one frame of the body was taken, as from a body in memory.
/// [`ClientError::is_before_request`] tells if the caller can safely send it again.
///
/// Cloning is cheap, and clones share the pool. Requests are made in a tokio runtime whose timer and I/O are enabled,
/// which runs their connections. Elsewhere they fail, unless [`ClientBuilder::runtime`] sets a runtime.
pub struct Client<B> {
    inner: Arc<Inner>,
    body: PhantomData<fn(B)>,
}

struct Inner {
    settings: Settings,
    is_http2_only: bool,
    pool: Arc<Pool>,
    /// The connections to proxies over HTTP/2.
    connections: Connections,
}

impl Client<()> {
    /// Creates a builder with the process environment's settings, the operating system's trust, and a pool that keeps
    /// up to 256 idle connections for 90 seconds.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }
}

impl<B> Client<B> {
    /// Creates a client with the settings of the process environment and the operating system's trust.
    ///
    /// # Errors
    ///
    /// A setting that cannot be used.
    pub fn from_env() -> Result<Self, ConfigError> {
        Client::builder().build()
    }

    /// Sends a request, without a `&mut self` and `poll_ready`, which always returns ready.
    pub fn send(&self, request: Request<B>) -> ResponseFuture
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        ResponseFuture {
            future: Some(self.inner.clone().start(request.map(RequestBody::new))),
            pool: self.inner.pool.clone(),
        }
    }

    /// Returns a client for requests with another type of body. It shares the pool and the settings.
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use http_body_util::{Empty, Full};
    /// # use tower_outbound_proxy::{Client, ProxyConfig};
    /// # let config = ProxyConfig::builder().build()?;
    /// let client: Client<Full<Bytes>> = Client::builder().config(config).build()?;
    /// let for_gets: Client<Empty<Bytes>> = client.with_body_type();
    /// # Ok::<_, tower_outbound_proxy::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_body_type<T>(&self) -> Client<T> {
        Client {
            inner: self.inner.clone(),
            body: PhantomData,
        }
    }

    /// Returns the settings for new requests.
    #[must_use]
    pub fn config(&self) -> ProxyConfig {
        self.inner.settings.current().config.clone()
    }

    /// Returns a handle that replaces the settings while the client runs.
    #[must_use]
    pub fn config_handle(&self) -> ConfigHandle {
        ConfigHandle::new(&self.inner)
    }

    /// Returns the pool's content, and counters since the client was built.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let (mut stats, connections) = (self.inner.pool.stats(), &self.inner.connections);
        connections.stats().into_iter().for_each(|one| stats.add(one));
        let (opened, reused) = connections.totals();
        stats.opened += opened;
        stats.reused += reused;
        stats
    }
}

impl<B> Clone for Client<B> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            body: PhantomData,
        }
    }
}

impl<B> fmt::Debug for Client<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("layer", &self.inner.settings.current())
            .field("pool", &self.inner.pool)
            .finish()
    }
}

impl<B> Service<Request<B>> for Client<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ClientBody>;
    type Error = ClientError;
    type Future = ResponseFuture;

    /// Always returns ready: a request that has to wait for a connection waits in its future.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.send(request)
    }
}

/// Response future of a [`Client`]. Dropping it cancels the request, and returns its connection to the pool if the
/// connection can be used again.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    /// `None` once it is dropped.
    future: Option<Responding>,
    pool: Arc<Pool>,
}

type Responding = Pin<Box<dyn Future<Output = Result<Response<ClientBody>, ClientError>> + Send>>;

impl Future for ResponseFuture {
    type Output = Result<Response<ClientBody>, ClientError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { future, pool } = self.get_mut();
        let _runtime = pool.enter();
        match future {
            Some(future) => future.as_mut().poll(cx),
            None => unreachable!("it is taken by `drop` alone"),
        }
    }
}

impl Drop for ResponseFuture {
    fn drop(&mut self) {
        let _runtime = self.pool.enter();
        self.future = None;
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// A request with its route, and with the settings that apply until it ends.
struct Decided {
    request: Request<RequestBody>,
    route: Route,
    purpose: Option<String>,
    settings: Arc<Shared>,
}

impl Inner {
    fn new(settings: Shared, is_http2_only: bool, pool: Arc<Pool>, connections: Connections) -> Self {
        Self {
            settings: Settings::new(settings),
            is_http2_only,
            pool,
            connections,
        }
    }

    /// Decides the route, and sends the request in a span that records it.
    fn start(self: Arc<Self>, request: Request<RequestBody>) -> Responding {
        let decided = match Decided::new(request, self.is_http2_only, self.settings.current()) {
            Ok(decided) => decided,
            Err(failure) => return Box::pin(ready(Err(ClientError::new(failure)))),
        };
        let (span, mut figures) = (decided.span(), decided.figures());
        Box::pin(span.run(async move {
            let result = self.send(decided, &mut figures).await;
            figures.end(match &result {
                Ok(response) => Ok((response.status(), response.version())),
                Err(error) => Err(error.name()),
            });
            result
        }))
    }

    async fn send(&self, decided: Decided, figures: &mut RequestFigures) -> Result<Response<ClientBody>, ClientError> {
        let Decided {
            mut request,
            route,
            settings,
            ..
        } = decided;
        let invalid = |error| ClientError::new(Failure::Target(error));
        let target = RequestTarget::new(&request).map_err(invalid)?;
        let protocol = Protocol {
            is_upgrade: request.headers().contains_key(header::UPGRADE),
            is_http2_only: self.is_http2_only,
        };
        let server_name = request.extensions().get::<TlsServerName>().cloned();
        let mut waited = Duration::ZERO;
        let mut asking = match &route {
            Route::Forward(proxy) => Some(challenge::asking(&settings, proxy, target.uri(), &mut waited).await?),
            _ => None,
        };
        let mut repeats = Repeats::default();
        let mut kept = None;
        loop {
            let hold = match kept.take() {
                Some(hold) => hold,
                None => {
                    let identity = match (&asking, route.proxy()) {
                        (Some(asking), _) => asking.authentication.identity(),
                        (None, Some(proxy)) => challenge::identity(&settings, proxy, &mut waited).await?,
                        (None, None) => 0,
                    };
                    let server_name = server_name.as_ref();
                    let key = Key::new(&route, target.uri(), protocol, server_name, identity, &settings);
                    let hold = self.hold(key.map_err(invalid)?, target.uri(), &mut waited).await;
                    hold.map_err(|error| repeats.error(error))?
                }
            };
            figures.dequeued();
            // A repeat is addressed anew.
            let may_be_challenged = asking.as_ref().is_some_and(Asking::may_be_challenged);
            let mut spare = Spare::of(&request, &hold, may_be_challenged);
            let addressed = target.address(&mut request, &route, hold.is_http2());
            addressed.map_err(invalid)?;
            if let Some(asking) = &mut asking {
                asking.authenticate(&mut request);
            }
            let may_be_stale = hold.may_be_stale();
            let is_likely = !hold.is_http2() && asking.as_ref().is_some_and(Asking::is_likely_to_be_challenged);
            let held = if is_likely { expect::hold(&mut request) } else { None };
            let sent = {
                let sending = pin!(hold.send(request, &mut spare, settings.route_extension));
                expect::send(held, sending).await
            };
            match sent {
                Ok(response) => match asking.as_mut() {
                    Some(asking) if asking.is_refused(&response) => {
                        // In a box, so that other requests need no room for it.
                        let refused = challenge::refused(asking, response, spare, &settings, &mut waited);
                        match Box::pin(refused).await? {
                            After::Again(again, hold) => (request, kept) = (again, hold),
                            After::Response(response) => return Ok(response),
                        }
                    }
                    asking => {
                        asking.into_iter().for_each(|asking| asking.authentication.accepted());
                        return Ok(response.map(ClientBody::finished));
                    }
                },
                Err(failed) => request = repeats.next(failed, spare, may_be_stale)?,
            }
        }
    }
}

impl Inner {
    /// Returns a connection for a request.
    async fn hold(&self, key: Key, uri: &Uri, waited: &mut Duration) -> Result<Hold, ClientError> {
        if let Some(lease) = self.pool.stream_to_forward(&key, waited).await? {
            return Ok(Hold::Shared(Forward::new(lease)));
        }
        self.pool.checkout(key, uri, waited).await.map(Hold::Pooled)
    }
}

impl Decided {
    fn new(mut request: Request<RequestBody>, is_http2_only: bool, settings: Arc<Shared>) -> Result<Self, Failure> {
        if request.method() == Method::CONNECT {
            return Err(Failure::Target(TargetError::new(
                "the client makes its own CONNECT requests",
            )));
        }
        let mut purpose = None;
        let route = prepare(&mut request, |request, target| {
            let subject = Subject {
                target,
                extensions: request.extensions(),
                needs_tunnel: is_http2_only || request.headers().contains_key(header::UPGRADE),
            };
            let (route, of) = settings
                .config
                .route_request::<Failure>(settings.purposes.as_ref(), &subject)?;
            purpose = of;
            Ok::<_, Failure>(route)
        })?;
        Ok(Self {
            request,
            route,
            purpose,
            settings,
        })
    }

    fn figures(&self) -> RequestFigures {
        RequestFigures::new(self.request.method(), || {
            let target = Target::try_from(self.request.uri()).ok()?;
            Some(self.route.peer(Some(&target)))
        })
    }

    fn span(&self) -> RequestSpan {
        RequestSpan::new(
            self.request.method(),
            || Target::try_from(self.request.uri()).ok(),
            self.purpose.as_deref(),
            &self.route,
        )
    }
}
