//! `Proxy<S>` around a connector: `Service<Uri>`.
//!
//! Direct, it is the inner connector. Through a proxy, the inner connector is asked for the proxy's address, and on the
//! connection it gives come, as the route needs them: TLS to the proxy ([`tls`]), and CONNECT ([`handshake`]).
//!
//! What it dials, the target or a proxy, is marked for a [`Guard`](crate::Guard) below: proxies are never guarded.
//!
//! A direct connection is polled in place. A proxied one is an `async` function in a box: one allocation beside a dial
//! over the network, for code that reads from top to bottom.

mod challenge;
mod handshake;
mod stream;
#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "tls")]
use std::io;
use std::{
    fmt::{self, Write as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Uri;
use hyper::rt::{Read, Write};
use pin_project_lite::pin_project;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

pub use self::stream::ProxyStream;
use self::{handshake::Request, stream::Io};
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;
use crate::{
    config::ProxyServer,
    error::{BoxError, ConnectError, ConnectResponse, Failure, Stage, TargetError},
    guard::{self, Dial, Marked},
    layer::{Proxy, Shared},
    route::Route,
    target::{Authority, Target},
};

impl<S> Service<Uri> for Proxy<S>
where
    S: Service<Uri>,
    S::Response: Read + Write + Unpin + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = ProxyStream<S::Response>;
    type Error = ConnectError;
    type Future = Connecting<S::Future, S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(cx).map_err(ConnectError::dial)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let route = match Target::try_from(&uri) {
            Ok(target) => self.shared.route(&target),
            Err(error) => return Connecting::failed(error),
        };
        self.call(Destination { uri, route })
    }
}

/// Where to connect to, and by which route.
///
/// For clients that take a route per request, from a [`DecideLayer`](crate::DecideLayer) for instance, and keep the
/// connections of different routes apart. A connector that is given a `Uri` decides by its own settings.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The target: scheme and authority.
    pub uri: Uri,
    /// How it is reached.
    pub route: Route,
}

impl<S> Service<Destination> for Proxy<S>
where
    S: Service<Uri>,
    S::Response: Read + Write + Unpin + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = ProxyStream<S::Response>;
    type Error = ConnectError;
    type Future = Connecting<S::Future, S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Service::<Uri>::poll_ready(self, cx)
    }

    fn call(&mut self, Destination { uri, route }: Destination) -> Self::Future {
        let target = match Target::try_from(&uri) {
            Ok(target) => target,
            Err(error) => return Connecting::failed(error),
        };
        let route = route.safe_for(&target);
        let Some(proxy) = route.proxy() else {
            return match target.naming_its_port(&uri) {
                Ok(named) => {
                    let uri = named.unwrap_or(uri);
                    Connecting::direct(guard::direct(|| self.inner.call(uri.clone())), uri)
                }
                Err(error) => Connecting::failed(error),
            };
        };
        if target.port().is_none() {
            return Connecting::failed(TargetError::new("its scheme has no port of its own, and it names none"));
        }
        let mut authority = String::with_capacity(target.written().len() + "[]:65535".len());
        // A string takes anything.
        let _ = write!(authority, "{}", Authority(&target));
        let handshake = Handshake {
            shared: self.shared.clone(),
            proxy: proxy.clone(),
            authority,
            deadline: self
                .shared
                .connect_timeout
                .and_then(|limit| Instant::now().checked_add(limit)),
            route,
        };
        let proxy = handshake.proxy.dial_uri().clone();
        let mark = Dial::Proxy(handshake.proxy.clone());
        let dial = mark.clone().scope(|| self.inner.call(proxy));
        let dial = Marked::new(mark, dial);
        let dial = async { dial.await.map_err(|error| Failure::dial(error.into())) };
        Connecting::proxied(Box::pin(handshake.run(dial)))
    }
}

/// What is to be done on a connection to a proxy.
struct Handshake {
    shared: Arc<Shared>,
    route: Route,
    proxy: ProxyServer,
    authority: String,
    deadline: Option<Instant>,
}

impl Handshake {
    async fn run<T>(self, dial: impl Future<Output = Result<T, Failure>>) -> Result<ProxyStream<T>, ConnectError>
    where
        T: Read + Write + Unpin,
    {
        match self.steps(dial).await {
            Ok(stream) => Ok(stream),
            Err((stage, failure)) => {
                let error = ConnectError::new(stage, failure)
                    .through(&self.proxy)
                    .to(&self.authority);
                #[cfg(feature = "tracing")]
                tracing::debug!(%error, "connecting through the proxy failed");
                Err(error)
            }
        }
    }

    async fn steps<T>(&self, dial: impl Future<Output = Result<T, Failure>>) -> Result<ProxyStream<T>, (Stage, Failure)>
    where
        T: Read + Write + Unpin,
    {
        let stream = self.within_deadline(Stage::Dial, dial).await?;
        let mut io = self.secure(stream).await?;
        match &self.route {
            Route::Tunnel(_) => {
                let request = Request {
                    authority: &self.authority,
                    headers: &self.shared.connect_headers,
                    credentials: self.proxy.credentials(),
                };
                let connect = handshake::connect(&mut io, &request);
                let (head, rest) = self.within_deadline(Stage::Tunnel, connect).await?;
                if !head.status.is_success() {
                    let refusal = handshake::refusal(&mut io, &request, head, rest, self.deadline).await;
                    return Err((Stage::Tunnel, refusal));
                }
                let response = ConnectResponse::new(head);
                // Usually nothing has come early, and the buffer can go.
                let early = match rest.is_empty() {
                    true => Bytes::new(),
                    false => rest.freeze(),
                };
                Ok(ProxyStream::tunnel(io, self.route.clone(), response, early))
            }
            Route::Forward(_) | Route::Direct => Ok(ProxyStream::forward(io, self.route.clone())),
        }
    }

    /// TLS to the proxy, if its address says so.
    #[cfg(feature = "tls")]
    async fn secure<T: Read + Write + Unpin>(&self, stream: T) -> Result<Io<T>, (Stage, Failure)> {
        if !self.proxy.is_tls() {
            return Ok(Io::Plain(stream));
        }
        let handshake = async {
            let tls = match self.shared.config.tls() {
                Some(tls) => tls.clone(),
                // The settings know no such proxy: it came with a `Destination`.
                None => TlsConfig::platform().map_err(|error| Failure::Tls(io::Error::other(error)))?,
            };
            tls::connect(stream, &self.proxy, &tls).await
        };
        Ok(Io::Tls(Box::new(self.within_deadline(Stage::Tls, handshake).await?)))
    }

    /// There is no `https://` proxy in a build without TLS: reading its address was an error.
    #[cfg(not(feature = "tls"))]
    async fn secure<T>(&self, stream: T) -> Result<Io<T>, (Stage, Failure)> {
        Ok(Io::Plain(stream))
    }

    /// `timeout_at` polls the step before it looks at the clock.
    async fn within_deadline<T>(
        &self,
        stage: Stage,
        step: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, (Stage, Failure)> {
        let result = match (self.deadline, self.shared.connect_timeout) {
            (Some(deadline), Some(limit)) => {
                let timed = timeout_at(deadline, step).await;
                timed.unwrap_or(Err(Failure::Timeout(limit)))
            }
            _ => step.await,
        };
        result.map_err(|failure| (stage, failure))
    }
}

type Proxied<T> = Pin<Box<dyn Future<Output = Result<ProxyStream<T>, ConnectError>> + Send>>;

pin_project! {
    /// A connection in the making. Dropping it closes the socket.
    #[must_use = "futures do nothing unless polled"]
    pub struct Connecting<F, T> {
        #[pin]
        state: State<F, T>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, T> {
        Direct { #[pin] dial: F, uri: Uri },
        Proxied { handshake: Proxied<T> },
        Failed { error: Option<ConnectError> },
    }
}

impl<F, T> Connecting<F, T> {
    fn direct(dial: F, uri: Uri) -> Self {
        Self {
            state: State::Direct { dial, uri },
        }
    }

    fn proxied(handshake: Proxied<T>) -> Self {
        Self {
            state: State::Proxied { handshake },
        }
    }

    fn failed(error: TargetError) -> Self {
        let error = ConnectError::new(Stage::Target, Failure::Target(error));
        Self {
            state: State::Failed { error: Some(error) },
        }
    }
}

impl<F, T, E> Future for Connecting<F, T>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<ProxyStream<T>, ConnectError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Direct { dial, uri } => Poll::Ready(match ready!(guard::direct(|| dial.poll(cx))) {
                Ok(stream) => Ok(ProxyStream::direct(stream)),
                Err(error) => {
                    let error = ConnectError::dial(error);
                    Err(match Target::try_from(&*uri) {
                        Ok(target) => error.to(Authority(&target)),
                        Err(_) => error,
                    })
                }
            }),
            StateProj::Proxied { handshake } => handshake.as_mut().poll(cx),
            StateProj::Failed { error } => Poll::Ready(Err(error.take().unwrap_or_else(|| {
                let error = TargetError::new("polled after it was done");
                ConnectError::new(Stage::Target, Failure::Target(error))
            }))),
        }
    }
}

impl<F, T> fmt::Debug for Connecting<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Direct { .. } => "direct",
            State::Proxied { .. } => "proxied",
            State::Failed { .. } => "failed",
        };
        f.debug_tuple("Connecting").field(&state).finish()
    }
}
