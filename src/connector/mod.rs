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
//!
//! # HTTP/2 to the proxy
//!
//! With the feature `http2`, an `https://` proxy is offered HTTP/2. If it chooses that, all tunnels of the connector and
//! its clones share one connection to it, and the first bytes of TLS to a target follow CONNECT at once. The client
//! above sees the same stream as otherwise. [`ProxyVersion`] and [`Http2Settings`] have the choices.

pub(crate) mod deadline;
mod dial;
mod first_bytes;
#[cfg(feature = "client")]
mod forwarding;
mod future;
mod happy_eyeballs;
#[cfg(feature = "hyper-rustls")]
mod https;
mod inner;
#[cfg(feature = "http2")]
mod multiplexed;
mod optimistic;
mod proxied;
mod race;
mod raw;
mod stream;
#[cfg(feature = "tls")]
pub(crate) mod tls;
mod tunnel;
#[cfg(feature = "http2")]
mod tunnel_stream;

use std::{
    any::TypeId,
    fmt::Write as _,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service;

pub(crate) use self::dial::DialTarget;
use self::{
    deadline::Deadline,
    first_bytes::Awaited,
    proxied::{Dialer, Offer, Proxied},
};
pub use self::{
    dial::DialFuture,
    future::ConnectFuture,
    happy_eyeballs::HappyEyeballs,
    inner::{Connector, Split},
    stream::ProxyStream,
};
#[cfg(feature = "client")]
pub(crate) use self::{forwarding::Forwarding, multiplexed::key as shared_key, proxied::may_speak_http2};
#[cfg(feature = "http2")]
pub use crate::http2::{Http2Settings, ProxyConnection, ProxyVersion};
use crate::{
    decide,
    error::ConnectError,
    layer::Proxy,
    route::Route,
    target::{Target, TargetError},
};
pub use crate::{error::ConnectResponse, route::Destination};

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
        if target.port() == Some(0) {
            return Err(ConnectError::target(TargetError::PORT_ZERO));
        }
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
        let is_shared = matches!(route, Route::Tunnel(_)) && Offer::to(&self.shared, proxy) != Offer::Http1;
        let proxied = Proxied {
            shared: self.shared.clone(),
            proxy: proxy.clone(),
            authority,
            deadline: Deadline::after(self.shared.connect_timeout),
            dialer: Dialer::new(&mut self.inner, proxy.dial_uri(), !is_shared),
            #[cfg(feature = "http2")]
            connections: self.connections.clone(),
            first: (is_shared && self.is_optimistic(target)).then(Arc::default),
            route,
        };
        Ok(proxied.start(awaited))
    }

    /// Returns true if the first bytes in a tunnel to this target may be sent more than once, and before the response.
    #[cfg(feature = "http2")]
    fn is_optimistic(&self, target: &Target<'_>) -> bool {
        target.is_tls() && self.shared.http2.is_optimistic
    }

    #[cfg(not(feature = "http2"))]
    fn is_optimistic(&self, _: &Target<'_>) -> bool {
        false
    }
}
