//! [`Proxy`] around a connector: `Service<Uri>`.
//!
//! On a direct route, it calls the inner connector with the target. On every other route, it calls the inner connector
//! with the proxy's address. It then speaks TLS to the proxy and opens a tunnel with CONNECT, as the route requires.
//!
//! - A client that takes connectors passes a `Uri`, and the settings decide its route.
//! - A program that speaks another protocol than HTTP calls [`Proxy::tunnel`].
//! - A client that decides routes itself passes a [`Destination`].
//! - The connection is a [`ProxyStream`], which knows its route and the proxy's response.
//! - A [`Split`] of two connectors dials targets with one and proxies with the other.
//! - A [`HappyEyeballs`] gives each address of a target or proxy its chance, which hyper-util's `HttpConnector` does
//!   not.
//!
//! ```
//! # use tower::{Layer, Service, ServiceExt};
//! # use tower_outbound_proxy::{ConnectError, ProxyLayer, Route, connector::{Destination, HappyEyeballs}};
//! # async fn run(proxy: ProxyLayer) -> Result<(), ConnectError> {
//! let mut connector = proxy.layer(HappyEyeballs::default());
//! let uri = http::Uri::from_static("http://example.com/");
//! let stream = connector.call(Destination { uri, route: Route::Direct }).await?;
//! assert_eq!(stream.route(), &Route::Direct);
//! # Ok(())
//! # }
//! ```
//!
//! # Any protocol
//!
//! [`Proxy::tunnel`] connects to a host and port for a protocol that is not HTTP: Postgres, redis, SMTP, ssh, NATS. The
//! route follows the settings (`NO_PROXY`, `ALL_PROXY`), and a proxy is asked for a tunnel. The stream is one of
//! tokio's, for any library that takes a stream.
//!
//! ```
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! # use tower::{BoxError, Layer};
//! # use tower_outbound_proxy::{ProxyLayer, connector::HappyEyeballs};
//! # async fn run() -> Result<(), BoxError> {
//! let mut proxy = ProxyLayer::from_env()?.layer(HappyEyeballs::default());
//! let mut redis = proxy.tunnel("cache.example", 6379).await?;
//! redis.write_all(b"PING\r\n").await?;
//! let mut pong = [0; 7];
//! redis.read_exact(&mut pong).await?;
//! assert_eq!(&pong, b"+PONG\r\n");
//! # Ok(())
//! # }
//! ```
//!
//! A URI of any other scheme (`tcp://host:port`) is the same for a client that calls the connector with URIs.

pub(crate) mod deadline;
mod dial;
mod first_bytes;
mod future;
mod happy_eyeballs;
#[cfg(feature = "hyper-rustls")]
mod https;
mod inner;
mod race;
mod raw;
mod stream;
#[cfg(feature = "tls")]
pub(crate) mod tls;
mod tunnel;

#[cfg(feature = "tls")]
use std::io;
use std::{
    any::TypeId,
    fmt::Write as _,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service;

pub(crate) use self::dial::DialTarget;
use self::{
    deadline::Deadline,
    first_bytes::Awaited,
    stream::Io,
    tunnel::{ConnectRequest, Tunnel},
};
pub use self::{
    dial::DialFuture,
    future::ConnectFuture,
    happy_eyeballs::HappyEyeballs,
    inner::{Connector, Split},
    stream::ProxyStream,
};
use crate::{
    config::ProxyServer,
    decide,
    error::{ConnectError, Failure, Stage},
    layer::{Proxy, Shared},
    route::Route,
    target::{Target, TargetError},
    trace,
};
pub use crate::{error::ConnectResponse, route::Destination};
#[cfg(feature = "tls")]
use crate::{host::HostPort, tls::TlsConfig};

/// The stream of a connector that speaks nothing but TCP.
type Tcp = <HttpConnector as Service<Uri>>::Response;

impl<S: Connector> Service<Uri> for Proxy<S> {
    type Response = ProxyStream<S::Stream>;
    type Error = ConnectError;
    type Future = ConnectFuture<S::Future, S::Stream>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(cx).map_err(ConnectError::dial)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let route = match Target::try_from(&uri) {
            Ok(target) => self.shared.config.route_connection(&target),
            Err(error) => return ConnectFuture::failed(ConnectError::target(error)),
        };
        self.call(Destination { uri, route })
    }
}

impl<S: Connector> Service<Destination> for Proxy<S> {
    type Response = ProxyStream<S::Stream>;
    type Error = ConnectError;
    type Future = ConnectFuture<S::Future, S::Stream>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(cx).map_err(ConnectError::dial)
    }

    fn call(&mut self, destination: Destination) -> Self::Future {
        let Destination { uri, route } = destination;
        let connecting = match Target::try_from(&uri) {
            Ok(target) => self.connect(&target, uri.clone(), route),
            Err(error) => Err(ConnectError::target(error)),
        };
        connecting.unwrap_or_else(ConnectFuture::failed)
    }
}

impl<S: Connector> Proxy<S> {
    /// Connects to a target, which a direct connector knows by this URI.
    fn connect(
        &mut self,
        target: &Target<'_>,
        uri: Uri,
        route: Route,
    ) -> Result<ConnectFuture<S::Future, S::Stream>, ConnectError> {
        let route = decide::safe(route, target);
        let awaited = Awaited::of(target, &route, TypeId::of::<S::Stream>() == TypeId::of::<Tcp>());
        let proxy = match &route {
            Route::Direct => {
                let uri = target.uri_to_dial(&uri).map_err(ConnectError::target)?.unwrap_or(uri);
                return Ok(ConnectFuture::direct(self.inner.dial_target(uri.clone()), uri, awaited));
            }
            Route::Forward(proxy) | Route::Tunnel(proxy) => proxy,
            Route::Unusable(error) => return Err(ConnectError::unusable(error.clone()).to(target.authority())),
        };
        if target.port().is_none() {
            let error =
                TargetError::new("no port to ask the proxy for (name it in the URI: its scheme has no default)");
            return Err(ConnectError::target(error));
        }
        let mut authority = String::with_capacity(target.written().len() + "[]:65535".len());
        // Writing to a string cannot fail.
        let _ = write!(authority, "{}", target.authority());
        let connection = ProxyConnection {
            shared: self.shared.clone(),
            proxy: proxy.clone(),
            authority,
            deadline: Deadline::after(self.shared.connect_timeout),
            route,
            awaited,
        };
        let dial = self.inner.dial_proxy(connection.proxy.dial_uri().clone());
        let dial = async move { dial.await.map_err(|error| Failure::dial(error.into())) };
        Ok(ConnectFuture::proxied(Box::pin(connection.establish(dial))))
    }
}

/// A connection to a proxy that is yet to be made.
struct ProxyConnection {
    shared: Arc<Shared>,
    route: Route,
    proxy: ProxyServer,
    authority: String,
    deadline: Deadline,
    awaited: Awaited,
}

impl ProxyConnection {
    async fn establish<T>(self, dial: impl Future<Output = Result<T, Failure>>) -> Result<ProxyStream<T>, ConnectError>
    where
        T: Read + Write + Unpin,
    {
        let stream = self.steps(dial).await.map_err(|(stage, failure)| {
            let error = ConnectError::new(stage, failure).through(&self.proxy);
            let error = match self.is_for_any_target() {
                true => error,
                false => error.to(&self.authority),
            };
            trace::connect_failed(&error);
            error
        })?;
        Ok(stream.awaiting(self.awaited))
    }

    /// Returns true for a connection that a `Client` makes to a proxy that forwards: it asks for the
    /// proxy itself, since requests to any target can use it.
    fn is_for_any_target(&self) -> bool {
        let proxy = self.proxy.dial_uri().authority();
        matches!(self.route, Route::Forward(_)) && proxy.is_some_and(|proxy| *proxy == *self.authority)
    }

    async fn steps<T>(&self, dial: impl Future<Output = Result<T, Failure>>) -> Result<ProxyStream<T>, (Stage, Failure)>
    where
        T: Read + Write + Unpin,
    {
        let dialled = self.deadline.run(dial, Failure::Timeout).await;
        let stream = dialled.map_err(|failure| (Stage::Dial, failure))?;
        let io = self.secure(stream).await.map_err(|failure| (Stage::Tls, failure))?;
        match &self.route {
            Route::Tunnel(_) => {
                let request = ConnectRequest {
                    authority: &self.authority,
                    headers: &self.shared.connect_headers,
                    auth: self.proxy.auth(),
                };
                let phase = trace::Phase::connect(&self.authority);
                let opened = phase.end(tunnel::open(io, &request, self.deadline).await);
                let Tunnel { io, response, early } = opened.map_err(|failure| (Stage::Tunnel, failure))?;
                Ok(ProxyStream::tunnel(io, self.route.clone(), response, early))
            }
            Route::Forward(_) | Route::Direct | Route::Unusable(_) => Ok(ProxyStream::forward(io, self.route.clone())),
        }
    }

    /// Speaks TLS to the proxy, if its address says so.
    #[cfg(feature = "tls")]
    async fn secure<T: Read + Write + Unpin>(&self, stream: T) -> Result<Io<T>, Failure> {
        if !self.proxy.is_tls() {
            return Ok(Io::Plain(stream));
        }
        let handshake = async {
            let tls = match self.shared.config.tls() {
                Some(tls) => tls.clone(),
                // This proxy came with a `Destination`, or is for other schemes alone.
                None => TlsConfig::platform().map_err(|error| Failure::Tls(io::Error::other(error)))?,
            };
            // This crate speaks HTTP/1.1 to proxies, so it offers nothing else.
            tls::handshake(stream, self.proxy.host_name(), &tls, vec![b"http/1.1".to_vec()])
                .await
                .map_err(Failure::Tls)
        };
        let phase = trace::Phase::proxy_tls(HostPort(self.proxy.host_name().borrowed(), Some(self.proxy.port())));
        let tls = phase.end(self.deadline.run(handshake, Failure::Timeout).await)?;
        Ok(Io::Tls(Box::new(tls)))
    }

    /// Returns the stream as it is. A build without TLS rejects the address of an `https://` proxy.
    #[cfg(not(feature = "tls"))]
    async fn secure<T>(&self, stream: T) -> Result<Io<T>, Failure> {
        Ok(Io::Plain(stream))
    }
}
