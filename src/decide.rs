//! Decisions that take time: a service that is asked for the route before the request goes on.
//!
//! The settings ([`ProxyConfig`](crate::ProxyConfig)) and predicates ([`Bypass`](crate::Bypass)) answer at once. What
//! has to ask elsewhere (DNS, a policy server) is a `Service<Target, Response = Route>`. [`DecideLayer`] asks it first
//! and puts its [`Route`] into the request's extensions, where [`Proxy`](crate::Proxy) further inside takes it in place
//! of its own decision. Deadlines, caches and limits for such a service are ordinary tower layers around it.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Request;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    error::{BoxError, TargetError},
    route::Route,
    target::Target,
};

/// Asks a service for each request's route.
///
/// The client below has to keep connections of different routes apart. hyper-util's pooled client does not: it keys its
/// pool by origin, and asks its connector with a URI alone, so a route chosen here for one request never reaches the
/// connector. Use a client that connects with a [`Destination`](crate::Destination), as the example `decide` does.
///
/// ```
/// # use http::Request;
/// # use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
/// # use tower_outbound_proxy::{DecideLayer, ProxyConfig, ProxyLayer, Route, Target};
/// # async fn build() -> Result<(), BoxError> {
/// # let client = service_fn(async |request: Request<()>| Ok::<_, BoxError>(http::Response::new(())));
/// let config = ProxyConfig::from_env()?;
/// let settings = config.clone();
/// let policy = service_fn(move |target: Target<'static>| {
///     let settings = settings.clone();
///     async move {
///         // … ask a policy server …
///         Ok::<Route, BoxError>(settings.route(&target))
///     }
/// });
/// let service = ServiceBuilder::new()
///     .layer(DecideLayer::new(policy))
///     .layer(ProxyLayer::new(config))
///     .service(client);
/// # let _ = service.oneshot(Request::get("http://x.test").body(())?).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DecideLayer<D> {
    decider: D,
}

impl<D> DecideLayer<D> {
    /// A layer that asks this service.
    pub fn new(decider: D) -> Self {
        Self { decider }
    }
}

impl<S, D: Clone> Layer<S> for DecideLayer<D> {
    type Service = Decide<D, S>;

    fn layer(&self, inner: S) -> Decide<D, S> {
        Decide {
            decider: self.decider.clone(),
            inner,
        }
    }
}

/// A service that has each request's route decided first; made by [`DecideLayer`].
///
/// It is ready when both the deciding and the inner service are. An error of the deciding service is the request's
/// error, and the inner service is not called.
#[derive(Clone, Copy, Debug)]
pub struct Decide<D, S> {
    decider: D,
    inner: S,
}

impl<D, S, B> Service<Request<B>> for Decide<D, S>
where
    D: Service<Target<'static>, Response = Route>,
    D::Error: Into<BoxError>,
    S: Service<Request<B>> + Clone,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = DecideFuture<D::Future, S, Request<B>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        ready!(self.decider.poll_ready(cx)).map_err(Into::into)?;
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let state = match Target::try_from(request.uri()) {
            Ok(target) => {
                let target = target.into_owned();
                // The inner service that is ready goes along; the clone stays and has to become ready itself.
                let clone = self.inner.clone();
                State::Deciding {
                    decision: self.decider.call(target),
                    next: Some((mem::replace(&mut self.inner, clone), request)),
                }
            }
            Err(error) => State::Failed { error: Some(error) },
        };
        DecideFuture { state }
    }
}

pin_project! {
    /// The response of a [`Decide`].
    #[must_use = "futures do nothing unless polled"]
    pub struct DecideFuture<D, S, R>
    where
        S: Service<R>,
    {
        #[pin]
        state: State<D, S, R, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<D, S, R, F> {
        Deciding { #[pin] decision: D, next: Option<(S, R)> },
        Responding { #[pin] response: F },
        Failed { error: Option<TargetError> },
    }
}

impl<D, S, B, E> Future for DecideFuture<D, S, Request<B>>
where
    D: Future<Output = Result<Route, E>>,
    E: Into<BoxError>,
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let response = match state.as_mut().project() {
                StateProj::Deciding { decision, next } => {
                    let route = ready!(decision.poll(cx)).map_err(Into::into)?;
                    let Some((mut inner, mut request)) = next.take() else {
                        return Poll::Ready(Err(TargetError::new("polled after it was done").into()));
                    };
                    request.extensions_mut().insert(route);
                    inner.call(request)
                }
                StateProj::Responding { response } => return response.poll(cx).map_err(Into::into),
                StateProj::Failed { error } => {
                    let error = error.take().unwrap_or(TargetError::new("polled after it was done"));
                    return Poll::Ready(Err(error.into()));
                }
            };
            state.set(State::Responding { response });
        }
    }
}

impl<D, S: Service<R>, R> std::fmt::Debug for DecideFuture<D, S, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &self.state {
            State::Deciding { .. } => "deciding",
            State::Responding { .. } => "responding",
            State::Failed { .. } => "failed",
        };
        f.debug_tuple("DecideFuture").field(&state).finish()
    }
}
