//! [`Client`]: the same layer over a pool keyed by route.
//!
//! hyper-util's pooled client keys its pool by origin. Behind a proxy that is the wrong key: one connection to a proxy
//! serves every plain-HTTP origin, and two requests to one origin may have to go different ways. Here the key is the
//! route ([`key`]), so that a route can be chosen per request.
//!
//! What is whose:
//!
//! - connecting, TLS and the HTTP handshake: [`connect`], from [`Proxy`](crate::Proxy) and hyper's `client::conn`;
//! - who gets which connection: [`pool`];
//! - giving a connection back when its response has been read: [`body`];
//! - replacing the settings of a client that runs: [`settings`], [`gone`].
//!
//! `hyper_util::client::pool` is not used: its `cache` has no limits, no idle time-out and no waiting in order, its
//! `singleton` panics when a stale handle resets a newer connection, and its `negotiate` calls a service that it did not
//! poll ready.

mod body;
mod builder;
mod connect;
mod connection;
mod error;
mod gone;
mod key;
mod pool;
mod settings;
mod stats;
mod tasks;

use std::{
    fmt,
    future::ready,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body;
use tower_service::Service;

pub use self::{
    body::ClientBody,
    builder::ClientBuilder,
    error::ClientError,
    settings::ConfigHandle,
    stats::{KeyStats, PoolStats},
};
use self::{body::IntoBytes, connection::RequestBody, error::Failure, key::Key, pool::Pool, settings::Settings};
use crate::{
    config::ProxyConfig,
    error::{BoxError, ConfigError, PurposeError, TargetError},
    layer::{Shared, log_decision},
    request::apply,
    route::Route,
    target::Target,
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
/// | route | connections are shared by requests of the same | and are |
/// |---|---|---|
/// | direct | scheme, host, port | HTTP/1.1, or HTTP/2 if the target chooses it in TLS |
/// | forward | proxy: address and credentials | HTTP/1.1 |
/// | tunnel | proxy, scheme, host, port | as direct |
///
/// What a request is for can have a say in how it goes ([`ClientBuilder::purposes`]), and the settings can be replaced while
/// the client runs ([`config_handle`](Self::config_handle)). A [`Route`] in a request's extensions, put there by a
/// [`DecideLayer`](crate::DecideLayer) or by hand, is taken in place of all that for that request. An `Upgrade` request on `http` goes through a tunnel, and one on `https` over
/// HTTP/1.1; the upgraded stream is `hyper::upgrade::on` of the response.
///
/// Cloning is cheap, and clones share the pool. It needs a tokio runtime whose timer is enabled.
pub struct Client<B> {
    inner: Arc<Inner>,
    body: PhantomData<fn(B)>,
}

struct Inner {
    settings: Settings,
    pool: Arc<Pool>,
}

impl Client<()> {
    /// Starts with the process environment's settings, the operating system's trust, and a pool without limits whose idle
    /// connections are closed after 90 seconds.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }
}

impl<B> Client<B> {
    /// A client with the settings of the process environment and the operating system's trust.
    ///
    /// # Errors
    ///
    /// A setting that cannot be used.
    pub fn from_env() -> Result<Self, ConfigError> {
        Client::builder().build()
    }

    /// The settings that hold for new requests.
    #[must_use]
    pub fn config(&self) -> ProxyConfig {
        self.inner.settings.current().config.clone()
    }

    /// What replaces the settings while the client runs.
    #[must_use]
    pub fn config_handle(&self) -> ConfigHandle {
        ConfigHandle::new(&self.inner)
    }

    /// What the pool holds and has done.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.inner.pool.stats()
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
    type Future = ClientFuture;

    /// Always ready: a request that has to wait for a connection waits in its future.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ClientFuture {
        let request = request.map(|body| RequestBody::new(IntoBytes::new(body)));
        ClientFuture {
            future: self.inner.clone().start(request),
        }
    }
}

/// The response of a [`Client`]. Dropping it gives up the request; what it had of the pool goes back.
#[must_use = "futures do nothing unless polled"]
pub struct ClientFuture {
    future: Responding,
}

type Responding = Pin<Box<dyn Future<Output = Result<Response<ClientBody>, ClientError>> + Send>>;

impl Future for ClientFuture {
    type Output = Result<Response<ClientBody>, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx)
    }
}

impl fmt::Debug for ClientFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFuture").finish_non_exhaustive()
    }
}

/// A request whose route is decided, by settings that hold for it to its end.
struct Decided {
    request: Request<RequestBody>,
    route: Route,
    #[cfg_attr(not(feature = "tracing"), allow(dead_code))]
    purpose: Option<String>,
    settings: Arc<Shared>,
}

impl Inner {
    fn new(settings: Shared, pool: Arc<Pool>) -> Self {
        Self {
            settings: Settings::new(settings),
            pool,
        }
    }

    /// Decides how the request goes, and begins a span that says so.
    fn start(self: Arc<Self>, request: Request<RequestBody>) -> Responding {
        let decided = match Decided::new(request, self.settings.current()) {
            Ok(decided) => decided,
            Err(failure) => return Box::pin(ready(Err(ClientError::new(failure)))),
        };
        #[cfg(feature = "tracing")]
        let span = decided.span();
        let response = async move { self.send(decided).await };
        #[cfg(feature = "tracing")]
        let response = tracing::Instrument::instrument(response, span);
        Box::pin(response)
    }

    async fn send(&self, decided: Decided) -> Result<Response<ClientBody>, ClientError> {
        let Decided {
            mut request,
            route,
            settings,
            ..
        } = decided;
        let invalid = |error| ClientError::new(Failure::Target(error));
        let uri = key::without_user_info(request.uri()).map_err(invalid)?;
        let upgrade = request.headers().contains_key(header::UPGRADE);
        loop {
            let key = Key::new(&route, &uri, upgrade, &settings).map_err(invalid)?;
            let mut lease = self.pool.acquire(key).await?;
            address(&mut request, &uri, &route, lease.is_http2()).map_err(invalid)?;
            match lease.send(request).await {
                Ok(mut response) => {
                    if settings.route_extension {
                        lease.describe(response.extensions_mut());
                    }
                    // After an upgrade the connection speaks another protocol.
                    let lease = Some(lease).filter(|_| response.status() != StatusCode::SWITCHING_PROTOCOLS);
                    return Ok(response.map(|body| ClientBody::new(body, lease)));
                }
                // It was found dead before a byte of the request was sent.
                Err((_, Some(unsent))) if lease.was_idle() => request = unsent,
                Err((error, unsent)) => {
                    let before_request = unsent.is_some();
                    return Err(ClientError::new(Failure::Send { error, before_request }));
                }
            }
        }
    }
}

impl Decided {
    /// Decides, and makes the request what its route needs it to be.
    fn new(mut request: Request<RequestBody>, settings: Arc<Shared>) -> Result<Self, Failure> {
        if request.method() == Method::CONNECT {
            return Err(Failure::Target(TargetError::new("CONNECT is the client's own to send")));
        }
        let mut purpose = None;
        let route = apply(&mut request, |request, target| {
            let (route, asked_for) = Self::choose(request, target, &settings)?;
            purpose = asked_for;
            Ok::<_, Failure>(match route {
                // A proxy that forwards passes no upgrade on (RFC 9110 7.8: it is hop-by-hop).
                Route::Forward(proxy) if request.headers().contains_key(header::UPGRADE) => Route::Tunnel(proxy),
                route => route,
            })
        })?;
        Ok(Self {
            request,
            route,
            purpose,
            settings,
        })
    }

    /// The route that was decided outside, or else the one of the request's purpose, or else the settings'.
    fn choose(
        request: &Request<RequestBody>,
        target: &Target<'_>,
        settings: &Shared,
    ) -> Result<(Route, Option<String>), PurposeError> {
        let extensions = request.extensions();
        match (extensions.get::<Route>(), &settings.purposes) {
            (Some(route), _) => Ok((route.clone(), None)),
            (None, Some(policy)) => {
                let decision = policy.decide(&settings.config, extensions, target)?;
                log_decision(&decision, target);
                Ok(decision.into_route_and_purpose())
            }
            (None, None) => Ok((settings.route(target), None)),
        }
    }

    #[cfg(feature = "tracing")]
    fn span(&self) -> tracing::Span {
        tracing::debug_span!(
            "outbound request",
            method = %self.request.method(),
            target = Target::try_from(self.request.uri()).ok().map(tracing::field::display),
            purpose = self.purpose.as_deref(),
            route = %self.route,
        )
    }
}

/// Writes the request-target in the form that the connection's other end reads (RFC 9112 3.2), and `Host`.
fn address<B>(request: &mut Request<B>, uri: &Uri, route: &Route, is_http2: bool) -> Result<(), TargetError> {
    if is_http2 {
        *request.uri_mut() = uri.clone();
        *request.version_mut() = Version::HTTP_2;
        return Ok(());
    }
    *request.version_mut() = Version::HTTP_11;
    if !request.headers().contains_key(header::HOST) {
        let host = key::host_field(uri)?;
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = match (route, uri.path_and_query()) {
        (Route::Forward(_), _) => uri.clone(),
        (_, Some(path)) => Uri::from(path.clone()),
        (_, None) => Uri::from_static("/"),
    };
    // `http://host#fragment` has a path that says it is `/` and, alone, is written as nothing.
    if request.uri().path().is_empty() {
        *request.uri_mut() = Uri::from_static("/");
    }
    Ok(())
}
