//! [`ProxyLayer`] and the service it makes, [`Proxy<S>`].
//!
//! One layer type for both places where a client meets a proxy; which of the two a `Proxy<S>` is depends on what `S` is:
//!
//! - around a **connector** (`S: Service<Uri>`) it dials the proxy and opens tunnels: see `connect/`;
//! - around an **HTTP service** (`S: Service<Request<B>>`) it owns `Proxy-Authorization`: see `request.rs`.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tower_layer::Layer;

#[cfg(feature = "client")]
use crate::purpose::PurposePolicy;
use crate::{
    config::ProxyConfig,
    error::ConfigError,
    no_proxy::Bypass,
    route::{Decision, Route},
    target::Target,
};

/// How long dialling a proxy, TLS to it and CONNECT may take together, unless set otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes a tower HTTP client obey the outbound proxy settings.
///
/// Put it around the connector, and, where a proxy has credentials and is used for plain `http`, the same layer around
/// the client. Each half does what only it can:
///
/// | | connector (`Service<Uri>`) | client (`Service<Request<B>>`) |
/// |---|---|---|
/// | direct | calls the inner connector with the target | removes `Proxy-Authorization` and `Proxy-Connection` |
/// | forward | dials the proxy, tells hyper to send absolute-form | adds the proxy's `Proxy-Authorization` |
/// | tunnel | dials the proxy, sends CONNECT with the proxy's `Proxy-Authorization` | as direct |
///
/// ```
/// # use hyper_util::{client::legacy::{Client, connect::HttpConnector}, rt::TokioExecutor};
/// # use tower::ServiceBuilder;
/// # use tower_outbound_proxy::{ProxyConfig, ProxyLayer};
/// # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
/// let proxy = ProxyLayer::from_env()?;
///
/// let connector = ServiceBuilder::new().layer(proxy.clone()).service(HttpConnector::new());
/// let client = Client::builder(TokioExecutor::new()).build(connector);
/// let service = ServiceBuilder::new().layer(proxy).service(client);
/// # let _: tower_outbound_proxy::Proxy<Client<_, http_body_util::Empty<bytes::Bytes>>> = service;
/// # Ok(())
/// # }
/// ```
///
/// # TLS to the target goes outside
///
/// In a connector stack TLS to the *target* wraps this layer: `HttpsConnector<Proxy<HttpConnector>>`. The other way
/// round, `Proxy<HttpsConnector<..>>`, the TLS connector would be asked for the proxy's address, open a plain
/// connection to it, and the client's `https` request would go through the tunnel **in clear text**. The types cannot
/// forbid it; `ProxyLayer::https_connector` (feature `hyper-rustls`) builds the right order in one call.
///
/// # Middlewares that resend requests go outside
///
/// Retry and redirect layers belong around the client half, so that each attempt is decided anew. Inside it, a redirect
/// would carry the first target's `Proxy-Authorization` to the next.
///
/// Cloning is cheap, and all clones share one configuration.
#[derive(Clone)]
pub struct ProxyLayer {
    shared: Arc<Shared>,
}

#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: ProxyConfig,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) connect_headers: HeaderMap,
    pub(crate) route_extension: bool,
    /// Only a [`Client`](crate::Client) has one: other pools would mix up the connections of different routes.
    #[cfg(feature = "client")]
    pub(crate) purposes: Option<PurposePolicy>,
}

impl ProxyLayer {
    /// A layer with the settings of the process environment; see [`ProxyConfig::from_env`].
    ///
    /// # Errors
    ///
    /// A setting that cannot be used.
    pub fn from_env() -> Result<Self, ConfigError> {
        ProxyConfig::from_env().map(Self::new)
    }

    /// A layer with these settings. Logs their warnings, if the feature `tracing` is on.
    #[must_use]
    pub fn new(config: ProxyConfig) -> Self {
        log_warnings(&config);
        Self {
            shared: Arc::new(Shared {
                config,
                connect_timeout: Some(CONNECT_TIMEOUT),
                connect_headers: HeaderMap::new(),
                route_extension: true,
                #[cfg(feature = "client")]
                purposes: None,
            }),
        }
    }

    /// How long dialling a proxy, TLS to it and CONNECT may take together: 30 seconds unless set, `None` for no limit.
    /// Direct connections are the inner connector's own affair.
    ///
    /// Connecting through a proxy needs a tokio runtime whose timer is enabled: without a limit, too, a refusal's body is
    /// not waited for longer than a second.
    #[must_use]
    pub fn with_connect_timeout(mut self, limit: Option<Duration>) -> Self {
        Arc::make_mut(&mut self.shared).connect_timeout = limit;
        self
    }

    /// Adds a header field to every CONNECT, `User-Agent` for instance. Can be called again.
    ///
    /// # Errors
    ///
    /// `Host`, `Proxy-Authorization`, `Content-Length` and `Transfer-Encoding`: the first two are this crate's to set (so
    /// that one proxy's credentials never go to another), the others have no meaning in CONNECT.
    pub fn with_connect_header(mut self, name: HeaderName, value: HeaderValue) -> Result<Self, ConfigError> {
        let reserved = [
            header::HOST,
            header::PROXY_AUTHORIZATION,
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
        ];
        if reserved.contains(&name) {
            let error = ConfigError::text("this field of a CONNECT request cannot be set");
            return Err(error.in_setting(name.as_str()));
        }
        Arc::make_mut(&mut self.shared).connect_headers.append(name, value);
        Ok(self)
    }

    /// Whether the [`Route`] is put into the extensions of requests and responses; true unless set.
    ///
    /// `http::Extensions` allocates for what it holds. Without it the layer allocates nothing of its own on a request.
    #[must_use]
    pub fn with_route_extension(mut self, extension: bool) -> Self {
        Arc::make_mut(&mut self.shared).route_extension = extension;
        self
    }

    /// Tunnels `http` targets too; see [`ProxyConfigBuilder::always_tunnel`](crate::ProxyConfigBuilder::always_tunnel).
    #[must_use]
    pub fn with_always_tunnel(mut self, always: bool) -> Self {
        Arc::make_mut(&mut self.shared).config.always_tunnel = always;
        self
    }

    /// This predicate in place of the `NO_PROXY` list; see [`ProxyConfigBuilder::bypass`](crate::ProxyConfigBuilder::bypass).
    #[must_use]
    pub fn with_bypass(mut self, bypass: impl Bypass + Send + Sync + 'static) -> Self {
        let shared = Arc::make_mut(&mut self.shared);
        shared.config = shared.config.clone().with_bypass(bypass);
        self
    }

    #[cfg(feature = "client")]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &ProxyConfig {
        &self.shared.config
    }
}

impl<S> Layer<S> for ProxyLayer {
    type Service = Proxy<S>;

    fn layer(&self, inner: S) -> Proxy<S> {
        Proxy {
            inner,
            shared: self.shared.clone(),
        }
    }
}

impl fmt::Debug for ProxyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of the header fields only the names: their values are the application's, and may be secret.
        f.debug_struct("ProxyLayer")
            .field("config", &self.config)
            .field("connect_timeout", &self.connect_timeout)
            .field("connect_headers", &self.connect_headers.keys().collect::<Vec<_>>())
            .field("route_extension", &self.route_extension)
            .finish_non_exhaustive()
    }
}

/// A service that obeys the outbound proxy settings; made by [`ProxyLayer`].
///
/// It is a `Service<Uri>` where `S` is one (a connector), and a `Service<Request<B>>` where `S` is one (an HTTP client).
/// It has no state of its own: it is ready when the inner service is, and calls no service that was not.
#[derive(Clone, Debug)]
pub struct Proxy<S> {
    pub(crate) inner: S,
    pub(crate) shared: Arc<Shared>,
}

impl<S> Proxy<S> {
    /// The service it wraps.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service it wraps.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the service it wraps back.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl Shared {
    /// The decision, which both halves make the same way.
    pub(crate) fn route(&self, target: &Target<'_>) -> Route {
        let decision = self.config.decide(target);
        log_decision(&decision, target);
        decision.into_route()
    }
}

/// Logs what is odd in settings that take effect.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn log_warnings(config: &ProxyConfig) {
    #[cfg(feature = "tracing")]
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
}

#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn log_decision(decision: &Decision<'_>, target: &Target<'_>) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        %target,
        purpose = decision.purpose(),
        route = %decision.route(),
        reason = %decision.reason(),
        "proxy decision"
    );
}
