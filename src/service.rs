//! [`Proxy`] around an HTTP client: `Service<Request<B>>`.
//!
//! It decides the route and owns `Proxy-Authorization`: a forwarded request carries the proxy's value, and every other
//! request carries none, so the credentials never reach an origin. The [connector](crate::connector) half does the
//! dialling.
//!
//! It fails a request with `Connection: upgrade` whose route is to forward, because a proxy does not pass an upgrade
//! on; see [`ProxyLayer`](crate::ProxyLayer). For a service that writes a request's URI as it is given, it also writes
//! the [request-target](crate::ProxyLayer::with_request_target_form).
//!
//! A [`Destination`](crate::route::Destination) in the request's extensions takes precedence over the settings; see
//! [`route`](crate::route).
//!
//! ```
//! # use http::Request;
//! # use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! # use tower_outbound_proxy::{ProxyConfig, ProxyLayer, Route};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let client = service_fn(async |request: Request<()>| {
//!     assert_eq!(request.headers()["proxy-authorization"], "Basic dXNlcjpzZWNyZXQ=");
//!     Ok::<_, BoxError>(http::Response::new(()))
//! });
//! let config = ProxyConfig::builder().http("http://user:secret@proxy.example:3128").build()?;
//! let service = ServiceBuilder::new().layer(ProxyLayer::new(config)).service(client);
//!
//! let response = service.oneshot(Request::get("http://example.com/").body(())?).await?;
//! assert!(matches!(response.extensions().get(), Some(Route::Forward(_))));
//! # Ok(())
//! # }
//! ```

use std::{
    fmt,
    future::{Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header, response};
use pin_project_lite::pin_project;
use tokio::{runtime::Handle, time::timeout};
use tower_service::Service;

use crate::{
    accounts::AccountOf,
    auth::{Authentication, Challenge, parse_challenges},
    config::ProxyServer,
    decide::Subject,
    error::{BoxError, ConnectError, ResponseParts, Stage, redact, refusal},
    host::HostPort,
    layer::{Proxy, Shared},
    request_target::RequestTarget,
    route::Route,
    target::{Target, TargetError, with_authority},
    trace,
};

const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

impl<S, B, R> Service<Request<B>> for Proxy<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let shared = &self.shared;
        match prepare_for(shared, &mut request) {
            Ok(route) => {
                let asking = authenticate(shared, &mut request, &route);
                let told = shared.route_extension.then_some(route);
                if let Some(route) = &told {
                    request.extensions_mut().insert(route.clone());
                }
                ResponseFuture::new(self.inner.call(request), told, asking)
            }
            Err(error) => ResponseFuture::failed(error),
        }
    }
}

/// A forwarded request, whose proxy may ask for credentials.
pub(crate) struct Asking {
    shared: Arc<Shared>,
    proxy: ProxyServer,
    uri: Uri,
    pub(crate) authentication: Authentication,
}

/// Leaves out the URI, whose query may be secret.
impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking")
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

impl Asking {
    pub(crate) fn new(shared: &Arc<Shared>, proxy: &ProxyServer, uri: &Uri, authentication: Authentication) -> Self {
        Self {
            shared: shared.clone(),
            proxy: proxy.clone(),
            uri: uri.clone(),
            authentication,
        }
    }

    pub(crate) fn may_be_challenged(&self) -> bool {
        self.authentication.may_be_challenged(self.shared.schemes)
    }

    #[cfg(feature = "client")]
    pub(crate) fn is_likely_to_be_challenged(&self) -> bool {
        self.authentication.is_likely_to_be_challenged(self.shared.schemes)
    }

    #[cfg(feature = "client")]
    pub(crate) fn proxy(&self) -> &ProxyServer {
        &self.proxy
    }

    /// Writes the credentials into a request that is about to be sent. A field of the caller's own stays if there are
    /// none, and not while they are yet to be asked for.
    pub(crate) fn authenticate<B>(&mut self, request: &mut Request<B>) {
        let schemes = self.shared.schemes;
        let value = self
            .authentication
            .authorization(schemes, request.method(), request.uri());
        let headers = request.headers_mut();
        let own = match value {
            Some(value) => headers.insert(header::PROXY_AUTHORIZATION, value),
            None if self.authentication.may_have_credentials() => headers.remove(header::PROXY_AUTHORIZATION),
            None => {
                if let header::Entry::Occupied(mut own) = headers.entry(header::PROXY_AUTHORIZATION) {
                    own.iter_mut().for_each(|own| own.set_sensitive(true));
                }
                return;
            }
        };
        if own.is_some_and(|own| Some(&own) != request.headers().get(header::PROXY_AUTHORIZATION)) {
            let route = Route::Forward(self.proxy.clone());
            tell_dropped(request, &route, "the proxy has credentials of its own");
        }
    }

    /// Returns true if this is the proxy's answer: an origin has no reason to send it (RFC 9110 15.5.8).
    pub(crate) fn is_refused<B>(&self, response: &Response<B>) -> bool {
        response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED
    }

    /// Learns from a refusal for the next requests.
    fn learn(self, challenges: Vec<Challenge>) {
        let Self {
            shared,
            proxy,
            authentication: refused,
            ..
        } = self;
        match shared.account(&proxy) {
            AccountOf::Address(account) => {
                let better = account.learn(&refused, &challenges, shared.schemes);
                better.iter().for_each(Authentication::publish);
            }
            AccountOf::Provider(account) => {
                let (limit, schemes) = (shared.connect_timeout, shared.schemes);
                in_background(limit, async move {
                    if let Ok(Some(better)) = account.exchange(&refused, &challenges, schemes).await {
                        better.publish();
                    }
                });
            }
        }
    }

    /// Returns the refusal as an error, with the first bytes of its body.
    pub(crate) fn error(&self, response: response::Parts, body: &[u8]) -> ConnectError {
        #[cfg(feature = "client")]
        let reason = response.extensions.get::<hyper::ext::ReasonPhrase>();
        #[cfg(feature = "client")]
        let reason = reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
        #[cfg(not(feature = "client"))]
        let reason: Option<String> = None;
        let mut head = ResponseParts {
            status: response.status,
            version: response.version,
            reason: match reason {
                Some(reason) => reason.into(),
                None => response.status.canonical_reason().unwrap_or_default().into(),
            },
            headers: response.headers,
            body: Bytes::new(),
            is_reused: false,
        };
        redact(&mut head, &self.authentication);
        let failure = refusal(head, body, &self.authentication);
        let mut error = ConnectError::new(Stage::Forward, failure).through(&self.proxy);
        if let Ok(target) = Target::try_from(&self.uri) {
            error = error.to(HostPort(target.host(), target.port()));
        }
        trace::connect_failed(&error);
        error
    }
}

/// Returns the challenges of a proxy that refused to forward a request.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    parse_challenges(headers.get_all(header::PROXY_AUTHENTICATE))
}

/// Runs a question to a provider that nobody can wait for. Without a runtime, it is not asked.
fn in_background(limit: Option<Duration>, question: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            match limit {
                Some(limit) => drop(timeout(limit, question).await),
                None => question.await,
            }
        });
    }
}

/// Writes the credentials into a request, if it is forwarded and they are known.
fn authenticate<B>(shared: &Arc<Shared>, request: &mut Request<B>, route: &Route) -> Option<Asking> {
    let Route::Forward(proxy) = route else { return None };
    let account = shared.account(proxy);
    let authentication = account.authentication_now().unwrap_or_else(|| {
        if let AccountOf::Provider(account) = &account {
            let account = account.clone();
            in_background(shared.connect_timeout, async move {
                let _ = account.authentication().await;
            });
        }
        account.unasked()
    });
    let mut asking = Asking::new(shared, proxy, request.uri(), authentication);
    asking.authenticate(request);
    let is_of_use =
        shared.auth_errors == Some(true) || asking.may_be_challenged() || asking.authentication.has_secrets();
    is_of_use.then_some(asking)
}

/// Chooses the route of a request, and prepares the request for it.
fn prepare_for<B>(shared: &Shared, request: &mut Request<B>) -> Result<Route, BoxError> {
    let route = prepare(request, |request, target| {
        let subject = Subject {
            target,
            extensions: request.extensions(),
            // An upgrade cannot change the route here: a connector makes the connection, and it gets only a URI.
            needs_tunnel: false,
        };
        let (route, _) = shared.config.route_request::<BoxError>(None, &subject)?;
        match &route {
            Route::Unusable(error) => Err(ConnectError::unusable(error.clone()).to(target.authority()).into()),
            Route::Forward(proxy) if asks_for_upgrade(request.headers()) => Err(ConnectError::needs_tunnel()
                .through(proxy)
                .to(target.authority())
                .into()),
            _ => Ok::<_, BoxError>(route),
        }
    })?;
    if shared.request_target_form && request.version() != Version::HTTP_2 {
        RequestTarget::new(request)?.address_http1(request, &route)?;
    }
    Ok(route)
}

/// Returns true if the request asks for another protocol on its connection (RFC 9110 7.8).
fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let is_option = |value: &HeaderValue| {
        let options = value.to_str().unwrap_or_default().split(',');
        options
            .map(str::trim)
            .any(|option| option.eq_ignore_ascii_case("upgrade"))
    };
    headers.contains_key(header::UPGRADE) && headers.get_all(header::CONNECTION).iter().any(is_option)
}

/// Prepares a request for the route that is chosen for it.
pub(crate) fn prepare<B, E: From<TargetError>>(
    request: &mut Request<B>,
    choose: impl FnOnce(&Request<B>, &Target<'_>) -> Result<Route, E>,
) -> Result<Route, E> {
    let target = Target::try_from(request.uri())?;
    let route = choose(request, &target)?;
    match &route {
        Route::Forward(_) => {
            if let Some(uri) = normalised(request.uri(), &target)? {
                *request.uri_mut() = uri;
            }
        }
        Route::Direct | Route::Tunnel(_) | Route::Unusable(_) => {
            let headers = request.headers_mut();
            headers.remove(PROXY_CONNECTION);
            if headers.remove(header::PROXY_AUTHORIZATION).is_some() {
                tell_dropped(
                    request,
                    &route,
                    "the target would receive it (the proxy's address sets credentials for the proxy)",
                );
            }
        }
    }
    Ok(route)
}

/// Logs that the request's own `Proxy-Authorization` was removed, or replaced.
#[cold]
fn tell_dropped<B>(request: &Request<B>, route: &Route, reason: &'static str) {
    if let Ok(target) = Target::try_from(request.uri()) {
        trace::authorization_dropped(&target, route, reason);
    }
}

/// Returns the URI for the proxy, if it differs from the given one. Its host is in normal form, as the decision saw it,
/// and its authority is the one that `Host` names (RFC 9112 3.2.2).
fn normalised(uri: &Uri, target: &Target<'_>) -> Result<Option<Uri>, TargetError> {
    let authority = target.authority_in_request(uri);
    let is_given = uri.authority().is_some_and(|given| given.as_str() == authority);
    if is_given && target.is_written_normally() && !authority.contains('%') {
        return Ok(None);
    }
    let port = target
        .port()
        .filter(|port| target.scheme().default_port() != Some(*port));
    with_authority(uri, &HostPort(target.host(), port).to_string()).map(Some)
}

pin_project! {
    /// Response future of a [`Proxy`] around an HTTP client.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProj]
    enum State<F> {
        Running { #[pin] inner: F, route: Option<Route>, asking: Option<Asking> },
        Failed { #[pin] error: Ready<BoxError> },
    }
}

impl<F> ResponseFuture<F> {
    fn new(inner: F, route: Option<Route>, asking: Option<Asking>) -> Self {
        Self {
            state: State::Running { inner, route, asking },
        }
    }

    fn failed(error: BoxError) -> Self {
        Self {
            state: State::Failed { error: ready(error) },
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Running { inner, route, asking } => {
                let mut response = ready!(inner.poll(cx)).map_err(Into::into)?;
                if let Some(asking) = asking.take() {
                    match asking.is_refused(&response) {
                        true if asking.shared.auth_errors == Some(true) => {
                            let (parts, _) = response.into_parts();
                            let challenges = challenges(&parts.headers);
                            let error = asking.error(parts, &[]);
                            asking.learn(challenges);
                            return Poll::Ready(Err(error.into()));
                        }
                        true => asking.learn(challenges(response.headers())),
                        false => asking.authentication.accepted(),
                    }
                }
                if let Some(route) = route.take() {
                    response.extensions_mut().insert(route);
                }
                Poll::Ready(Ok(response))
            }
            StateProj::Failed { error } => error.poll(cx).map(Err),
        }
    }
}
