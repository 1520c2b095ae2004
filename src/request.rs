//! `Proxy<S>` around an HTTP client: `Service<Request<B>>`.
//!
//! It decides the route and owns `Proxy-Authorization`: on a forwarded request it is the proxy's, on any other there is
//! none, so that it can never reach an origin. It does not dial; that is the connector's half, in `connect/`.
//!
//! A route that is in the request's extensions already was decided outside (see [`DecideLayer`](crate::DecideLayer)) and
//! is taken as it is.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderName, Request, Response, Uri, header};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    error::{BoxError, TargetError},
    layer::Proxy,
    route::Route,
    target::{Target, with_authority},
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
        let applied = apply(&mut request, |request, target| {
            let decided = request.extensions().get::<Route>().cloned();
            Ok(decided.unwrap_or_else(|| shared.route(target)))
        });
        match applied {
            Ok(route) => {
                let told = shared.route_extension.then_some(route);
                if let Some(route) = &told {
                    request.extensions_mut().insert(route.clone());
                }
                ResponseFuture::new(self.inner.call(request), told)
            }
            Err(error) => ResponseFuture::failed(error),
        }
    }
}

/// Makes the request what the route that is chosen for it needs it to be.
pub(crate) fn apply<B, E: From<TargetError>>(
    request: &mut Request<B>,
    choose: impl FnOnce(&Request<B>, &Target<'_>) -> Result<Route, E>,
) -> Result<Route, E> {
    let target = Target::try_from(request.uri())?;
    let route = choose(request, &target)?.safe_for(&target);
    match &route {
        Route::Forward(proxy) => {
            if let Some(uri) = normalised(request.uri(), &target)? {
                *request.uri_mut() = uri;
            }
            if let Some(credentials) = proxy.credentials() {
                let headers = request.headers_mut();
                headers.insert(header::PROXY_AUTHORIZATION, credentials.header().clone());
            }
        }
        Route::Direct | Route::Tunnel(_) => {
            let headers = request.headers_mut();
            headers.remove(header::PROXY_AUTHORIZATION);
            headers.remove(PROXY_CONNECTION);
        }
    }
    Ok(route)
}

/// The URI for the proxy, where it is not the one given: with the host in normal form, which is what the decision was
/// made on, and without user information, which a request must not carry (RFC 9110 4.2.4).
fn normalised(uri: &Uri, target: &Target<'_>) -> Result<Option<Uri>, TargetError> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if target.is_written_normally() && !authority.contains(['@', '%']) {
        return Ok(None);
    }
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    with_authority(uri, &format!("{}{port}", target.host())).map(Some)
}

pin_project! {
    /// The response of a [`Proxy`] around an HTTP client.
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
        Running { #[pin] inner: F, route: Option<Route> },
        Failed { error: Option<TargetError> },
    }
}

impl<F> ResponseFuture<F> {
    fn new(inner: F, route: Option<Route>) -> Self {
        Self {
            state: State::Running { inner, route },
        }
    }

    fn failed(error: TargetError) -> Self {
        Self {
            state: State::Failed { error: Some(error) },
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
            StateProj::Running { inner, route } => {
                let mut response = ready!(inner.poll(cx)).map_err(Into::into)?;
                if let Some(route) = route.take() {
                    response.extensions_mut().insert(route);
                }
                Poll::Ready(Ok(response))
            }
            StateProj::Failed { error } => {
                let error = error.take().unwrap_or(TargetError::new("polled after it was done"));
                Poll::Ready(Err(error.into()))
            }
        }
    }
}
