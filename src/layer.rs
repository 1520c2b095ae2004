//! [`ProxyLayer`] and its service, [`Proxy<S>`].
//!
//! One layer type serves both places where a client meets a proxy. The inner service decides which one a `Proxy<S>` is:
//!
//! - around a **connector** (`S: Service<Uri>`) it dials the proxy and opens tunnels: see `connector/`;
//! - around an **HTTP service** (`S: Service<Request<B>>`) it owns `Proxy-Authorization`: see `service.rs`.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tower_layer::Layer;

#[cfg(feature = "http2")]
use crate::http2::{Connections, Http2Settings, ProxyVersion};
#[cfg(feature = "client")]
use crate::purpose::PurposePolicy;
use crate::{
    accounts::{AccountOf, Accounts},
    auth::{AuthScheme, CredentialsProvider, Provider, Schemes},
    config::{ProxyConfig, ProxyServer, SettingName},
    error::ConfigError,
    no_proxy::Bypass,
    trace,
};

/// The default deadline for dialling a proxy, TLS to it and CONNECT together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes a tower HTTP client obey the outbound proxy settings.
///
/// Put it around the connector. If a proxy has credentials and forwards plain `http`, put the same layer around the
/// client as well. Each half has its own job:
///
/// | | connector (`Service<Uri>`) | client (`Service<Request<B>>`) |
/// |---|---|---|
/// | direct | calls the inner connector with the target | removes `Proxy-Authorization` and `Proxy-Connection` |
/// | forward | dials the proxy, tells hyper to send absolute-form | adds the proxy's `Proxy-Authorization` |
/// | tunnel | dials the proxy, sends CONNECT with the proxy's `Proxy-Authorization` | as direct |
///
/// Around hyper-util's client, with TLS to targets (feature `hyper-rustls`):
///
/// ```
/// # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// # use tower::ServiceBuilder;
/// # use tower_outbound_proxy::ProxyLayer;
/// # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
/// let proxy = ProxyLayer::from_env()?;
///
/// // An `HttpsConnector<Proxy<HappyEyeballs>>`: TLS to the target around the layer around the connector.
/// let connector = proxy.https_connector()?;
/// let client = Client::builder(TokioExecutor::new()).build(connector);
/// let service = ServiceBuilder::new().layer(proxy).service(client);
/// # let _: tower_outbound_proxy::Proxy<Client<_, http_body_util::Empty<bytes::Bytes>>> = service;
/// # Ok(())
/// # }
/// ```
///
/// # TLS to the target goes outside
///
/// In a connector stack, TLS to the *target* wraps this layer: `HttpsConnector<Proxy<..>>`.
/// `ProxyLayer::https_connector` builds that in one call. In the other order, `Proxy<HttpsConnector<..>>`, the TLS
/// connector opens a plain connection to the proxy's address, and the client's `https` request would go through the
/// tunnel in cleartext. A stack without a TLS connector would do the same. The types cannot forbid it, so the layer
/// looks at the first byte that is written: in a tunnel to an `https` or `wss` target, and on a direct TCP connection
/// to one, it has to begin a TLS record. Anything else is a [`ConnectError`](crate::ConnectError)
/// ([`Cleartext`](crate::error::ConnectErrorKind::Cleartext)), and nothing of it is sent.
///
/// # Middlewares that resend requests go outside
///
/// Retry and redirect layers belong around the client half, so that each attempt gets its own decision. Inside the
/// client half, a redirect would carry the first target's `Proxy-Authorization` to the next: tower-http's default
/// policy removes it where a redirect leads to another origin, but its `Limited` alone, or a policy of your own, does
/// not.
///
/// # Upgrades (WebSocket)
///
/// A proxy that forwards drops `Upgrade` (RFC 9110 7.6.1), and the origin answers as if nobody had asked. The client
/// half therefore fails a request with `Connection: upgrade` on a forward route, before it is sent, with
/// [`ConnectErrorKind::NeedsTunnel`](crate::error::ConnectErrorKind::NeedsTunnel). (`Client` makes a tunnel for it.)
/// Around hyper-util's client:
///
/// - Set [`with_always_tunnel`](ProxyLayer::with_always_tunnel), so that `http` and `ws` targets are tunnelled like
///   `https` and `wss`. Not every proxy permits CONNECT to their ports.
/// - Offer HTTP/1.1 alone in TLS to targets, as `ProxyLayer::https_connector` does: HTTP/2 has no `Upgrade`.
///
/// `hyper::upgrade::on` then returns the upgraded stream of the response.
///
/// # The connector inside
///
/// [`HappyEyeballs::default`](crate::connector::HappyEyeballs) connects to targets and proxies as this crate does
/// itself. An `HttpConnector` takes its place with three changes:
///
/// - `enforce_http(false)`. It refuses every scheme but `http` otherwise, which shows on direct routes only: proxies are
///   dialled at an `http` address.
/// - `set_nodelay(true)`. TCP otherwise holds the end of a write back until the peer has acknowledged all before it, which
///   takes Linux 40 ms; over HTTP/2, that is each window of an upload.
/// - A `HappyEyeballs` around it, or its `set_connect_timeout`, which is divided among the addresses. It waits for each
///   address of a family without a limit otherwise, so that one that never answers hides the others.
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
    /// `None` for the default, which differs: see [`ProxyLayer::with_auth_errors`].
    pub(crate) auth_errors: Option<bool>,
    pub(crate) request_target_form: bool,
    pub(crate) schemes: Schemes,
    /// `None` if the credentials are those of the proxies' addresses.
    pub(crate) accounts: Option<Arc<Accounts>>,
    #[cfg(feature = "http2")]
    pub(crate) proxy_version: ProxyVersion,
    #[cfg(feature = "http2")]
    pub(crate) http2: Http2Settings,
    /// Only a [`Client`](crate::Client) has a policy: other pools would mix up the connections of different routes.
    #[cfg(feature = "client")]
    pub(crate) purposes: Option<PurposePolicy>,
}

impl ProxyLayer {
    /// Creates a layer with the settings of the process environment; see [`ProxyConfig::from_env`].
    ///
    /// # Errors
    ///
    /// A setting that cannot be used.
    pub fn from_env() -> Result<Self, ConfigError> {
        ProxyConfig::from_env().map(Self::new)
    }

    /// Creates a layer with these settings, and logs their warnings if the feature `tracing` is on.
    #[must_use]
    pub fn new(config: ProxyConfig) -> Self {
        config.warnings().iter().for_each(trace::warning);
        Self {
            shared: Arc::new(Shared {
                config,
                connect_timeout: Some(CONNECT_TIMEOUT),
                connect_headers: HeaderMap::new(),
                route_extension: true,
                auth_errors: None,
                request_target_form: false,
                schemes: Schemes::default(),
                accounts: None,
                #[cfg(feature = "http2")]
                proxy_version: ProxyVersion::default(),
                #[cfg(feature = "http2")]
                http2: Http2Settings::default(),
                #[cfg(feature = "client")]
                purposes: None,
            }),
        }
    }

    /// Sets the deadline for dialling a proxy, TLS to it and CONNECT together: 30 seconds by default, `None` for no
    /// limit. Around a connector, it does not apply to direct connections, which only the inner connector limits. In a
    /// `Client`, it applies to every connection, and includes TLS to the target and the wait for a free connection.
    ///
    /// Connecting through a proxy needs a tokio runtime whose timer is enabled, even without a limit, because the layer
    /// waits up to one second for the body of a refusal. Elsewhere, tokio panics and says that there is no runtime.
    #[must_use]
    pub fn with_connect_timeout(mut self, limit: Option<Duration>) -> Self {
        Arc::make_mut(&mut self.shared).connect_timeout = limit;
        self
    }

    /// Adds a header field to every CONNECT, for instance `User-Agent`. Can be called repeatedly.
    ///
    /// # Errors
    ///
    /// `Host`, `Proxy-Authorization`, `Content-Length` and `Transfer-Encoding` are rejected. This crate sets the first
    /// two itself, so that one proxy's credentials never go to another. The others have no meaning in CONNECT.
    pub fn with_connect_header(mut self, name: HeaderName, value: HeaderValue) -> Result<Self, ConfigError> {
        let reserved = [
            header::HOST,
            header::PROXY_AUTHORIZATION,
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
        ];
        if reserved.contains(&name) {
            let error = ConfigError::text("this header field of a CONNECT request is reserved");
            return Err(error.in_setting(&SettingName::header(&name)));
        }
        Arc::make_mut(&mut self.shared).connect_headers.append(name, value);
        Ok(self)
    }

    /// Sets a provider of credentials, in place of those in the proxies' addresses. It is asked for each proxy when its
    /// credentials are needed, and again when the proxy has refused them; see [`auth`](crate::auth).
    ///
    /// Its answer holds for all requests to that proxy, of all clones of this layer. Many requests that need it at a
    /// time make one call, which has to come back within the
    /// [`connect_timeout`](Self::with_connect_timeout). A provider that fails or hangs is an error
    /// ([`Stage::Credentials`](crate::error::Stage::Credentials)).
    ///
    /// A tunnel waits for it, and so does a request of a `Client`. The layer around another HTTP client cannot wait: the
    /// first requests that it forwards get the proxy's 407, while the provider is asked.
    ///
    /// A `Proxy-Authorization` of a request's own goes to the proxy only if the provider has answered
    /// [`Authorization::none`](crate::auth::Authorization::none). The provider's error is the
    /// [`source`](std::error::Error::source) of the [`ConnectError`](crate::ConnectError), and is shown and logged with
    /// it as it is: it must not have a secret in it. Requests that waited for the same answer have its text as their
    /// cause.
    #[must_use]
    pub fn with_credentials(mut self, provider: impl CredentialsProvider) -> Self {
        Arc::make_mut(&mut self.shared).accounts = Some(Arc::new(Accounts::new(Provider::new(provider))));
        self
    }

    /// Sets the schemes in which user names and passwords may be sent: Basic and Digest by default.
    ///
    /// Basic is sent unasked, and is the password itself: on a connection to an `http://` proxy, anyone on the way can
    /// read it. With [`Digest`](AuthScheme::Digest) alone it never leaves. The first request to a proxy then carries no
    /// credentials, and is sent again after the proxy's challenge.
    #[must_use]
    pub fn with_auth_schemes(mut self, schemes: impl IntoIterator<Item = AuthScheme>) -> Self {
        Arc::make_mut(&mut self.shared).schemes = schemes.into_iter().collect();
        self
    }

    /// Sets the version of HTTP that is spoken to proxies; by default, an `https://` proxy chooses it in TLS.
    ///
    /// Over HTTP/2, all tunnels through a proxy share one connection, and further ones cost neither a TCP nor a TLS
    /// handshake. They share it as far as clones of one [`Proxy`] or of one `Client` open them, with the same
    /// credentials. A `Client` forwards its requests to plain `http` targets on the same connection. Other clients
    /// forward in HTTP/1.1, on connections of their own, and with [`ProxyVersion::Http2`] not at all.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn with_proxy_version(mut self, version: ProxyVersion) -> Self {
        Arc::make_mut(&mut self.shared).proxy_version = version;
        self
    }

    /// Sets how HTTP/2 is spoken to proxies.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn with_http2(mut self, settings: Http2Settings) -> Self {
        Arc::make_mut(&mut self.shared).http2 = settings;
        self
    }

    /// Sets whether requests and responses carry the [`Route`](crate::Route) in their extensions; true by default.
    ///
    /// `http::Extensions` allocates for its values. Without the route, the layer makes no allocation of its own for a
    /// request.
    #[must_use]
    pub fn with_route_extension(mut self, extension: bool) -> Self {
        Arc::make_mut(&mut self.shared).route_extension = extension;
        self
    }

    /// Sets whether a forwarded request that a proxy answers with 407 (Proxy Authentication Required) fails with a
    /// [`ConnectError`](crate::ConnectError), as a tunnel does: true by default in a `Client`, false
    /// around other clients, which return the response.
    ///
    /// A server that returns responses to its own callers would ask them for the proxy's password, and a retry layer
    /// would try the wrong one again. The error names the proxy and what it asks for, the same for `http` and `https`.
    /// Around other clients, its [`response`](crate::ConnectError::response) has no body.
    #[must_use]
    pub fn with_auth_errors(mut self, errors: bool) -> Self {
        Arc::make_mut(&mut self.shared).auth_errors = Some(errors);
        self
    }

    /// Sets whether the layer around an HTTP service writes the request-target in the form that the route requires, and
    /// `Host` if it is missing (RFC 9112 3.2); false by default.
    ///
    /// It is for a service that writes the URI as it is given: hyper's `client::conn`, or one of your own. hyper-util's
    /// client and `Client` write the target themselves, and hyper-util's needs the whole URI to connect.
    ///
    /// | request | direct, tunnel | forward |
    /// |---|---|---|
    /// | any | origin-form: `/path?query` | absolute-form: `http://host/path?query` |
    /// | `OPTIONS` with the path `*` | asterisk-form: `*` | an error, because `http::Uri` is always written with a path |
    /// | `CONNECT` | authority-form: `host:port` | authority-form |
    ///
    /// User information and the scheme's own port are removed from the URI. A `Host` of the caller's own stays; more
    /// than one, or one that is not a host, is an error. A request whose version is HTTP/2 is left as it is, because it
    /// needs scheme and authority.
    ///
    /// The service has a connection to the target, or to the proxy that forwards, for instance from the
    /// [connector](crate::connector) half:
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use http::Request;
    /// # use http_body_util::Empty;
    /// # use hyper::client::conn::http1;
    /// # use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
    /// # use tower_outbound_proxy::{ProxyLayer, connector::HappyEyeballs};
    /// # async fn run() -> Result<(), BoxError> {
    /// let proxy = ProxyLayer::from_env()?.with_request_target_form(true);
    /// let request = Request::get("http://example.com/path").body(Empty::<Bytes>::new())?;
    ///
    /// let stream = proxy.layer(HappyEyeballs::default()).call(request.uri().clone()).await?;
    /// let (mut sender, connection) = http1::handshake(stream).await?;
    /// tokio::spawn(connection);
    /// let response = proxy.layer(service_fn(|request| sender.send_request(request))).oneshot(request).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_request_target_form(mut self, write: bool) -> Self {
        Arc::make_mut(&mut self.shared).request_target_form = write;
        self
    }

    /// Sets whether `http` targets are tunnelled as well; see
    /// [`ProxyConfigBuilder::always_tunnel`](crate::config::ProxyConfigBuilder::always_tunnel).
    #[must_use]
    pub fn with_always_tunnel(mut self, always: bool) -> Self {
        Arc::make_mut(&mut self.shared).config.always_tunnel = always;
        self
    }

    /// Sets a predicate in place of the `NO_PROXY` list; see
    /// [`ProxyConfigBuilder::bypass`](crate::config::ProxyConfigBuilder::bypass).
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

    /// Returns the settings.
    #[must_use]
    pub fn config(&self) -> &ProxyConfig {
        &self.shared.config
    }
}

impl Shared {
    /// Returns the account of a proxy.
    pub(crate) fn account<'p>(&self, proxy: &'p ProxyServer) -> AccountOf<'p> {
        match &self.accounts {
            None => AccountOf::Address(proxy.account()),
            Some(accounts) => AccountOf::Provider(accounts.of(proxy)),
        }
    }
}

impl<S> Layer<S> for ProxyLayer {
    type Service = Proxy<S>;

    fn layer(&self, inner: S) -> Proxy<S> {
        Proxy {
            inner,
            shared: self.shared.clone(),
            #[cfg(feature = "http2")]
            connections: Connections::new(self.shared.http2),
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
        // Only the names of header fields: their values are the application's, and may be secret.
        f.debug_struct("ProxyLayer")
            .field("config", &self.config)
            .field("connect_timeout", &self.connect_timeout)
            .field("connect_headers", &self.connect_headers.keys().collect::<Vec<_>>())
            .field("route_extension", &self.route_extension)
            .field("request_target_form", &self.request_target_form)
            .finish_non_exhaustive()
    }
}

/// A service that obeys the outbound proxy settings; made by [`ProxyLayer`].
///
/// It is a `Service<Uri>` if `S` is one (a [connector](crate::connector)), and a `Service<Request<B>>` if `S` is one
/// (an HTTP client). It is ready when the inner service is ready, and never calls a service that is not ready. Its
/// clones share the connections to proxies over HTTP/2.
#[derive(Clone, Debug)]
pub struct Proxy<S> {
    pub(crate) inner: S,
    pub(crate) shared: Arc<Shared>,
    /// The connections to proxies over HTTP/2, which clones share.
    #[cfg(feature = "http2")]
    pub(crate) connections: Connections,
}

impl<S> Proxy<S> {
    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Unwraps the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}
