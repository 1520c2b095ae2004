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
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header, response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
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
                let asking = Asking::new(shared.auth_errors.unwrap_or(false), &route, request.uri());
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
    proxy: ProxyServer,
    uri: Uri,
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
    /// Returns `None` if the request is not forwarded, or 407 is no error.
    pub(crate) fn new(are_errors: bool, route: &Route, uri: &Uri) -> Option<Self> {
        match route {
            Route::Forward(proxy) if are_errors => Some(Self {
                proxy: proxy.clone(),
                uri: uri.clone(),
            }),
            _ => None,
        }
    }

    /// Returns true if this is the proxy's answer: an origin has no reason to send it (RFC 9110 15.5.8).
    pub(crate) fn is_refused<B>(&self, response: &Response<B>) -> bool {
        response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED
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
        redact(&mut head, self.proxy.auth());
        let mut error = ConnectError::new(Stage::Forward, refusal(head, body, self.proxy.auth())).through(&self.proxy);
        if let Ok(target) = Target::try_from(&self.uri) {
            error = error.to(HostPort(target.host(), target.port()));
        }
        trace::connect_failed(&error);
        error
    }
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
        Route::Forward(proxy) => {
            if let Some(uri) = normalised(request.uri(), &target)? {
                *request.uri_mut() = uri;
            }
            if let Some(authorization) = proxy.auth().authorization() {
                let headers = request.headers_mut();
                let own = headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
                if own.is_some_and(|own| own != *authorization) {
                    tell_dropped(request, &route, "the proxy's address sets other credentials");
                }
            } else if let Some(own) = request.headers_mut().get_mut(header::PROXY_AUTHORIZATION) {
                own.set_sensitive(true);
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
                if let Some(asking) = asking.take().filter(|asking| asking.is_refused(&response)) {
                    return Poll::Ready(Err(asking.error(response.into_parts().0, &[]).into()));
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
