//! The connectors below the layer: one for all connections, or one for each kind.

use std::task::{Context, Poll, ready};

use http::Uri;
use hyper::rt::{Read, Write};
use tower_service::Service;

use crate::error::{BoxError, ConnectError};

/// A connector that [`Proxy`](crate::Proxy) can use: it dials targets on direct routes, and proxies on the others.
///
/// Each `Service<Uri>` whose connections are streams is such a connector, and so is a [`Split`] of two. The trait is
/// sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connector that `Proxy` can use",
    note = "a connector is a `Service<Uri>` whose response implements `hyper::rt::{{Read, Write}}`, `Unpin` and `Send`, \
            whose error converts to a boxed error, and whose future is `Send`"
)]
pub trait Connector: sealed::Sealed {
    /// A connection.
    type Stream: Read + Write + Unpin + Send + 'static;
    /// The connector for targets on direct routes.
    type Direct: Service<Uri, Response = Self::Stream, Error: Into<BoxError>, Future = Self::DirectFuture>;
    /// A direct connection that is being made.
    type DirectFuture: Future<Output = Result<Self::Stream, <Self::Direct as Service<Uri>>::Error>> + Send + 'static;
    /// The connector for proxies.
    type Proxy: Service<Uri, Response = Self::Stream, Error: Into<BoxError>, Future = Self::ProxyFuture>;
    /// A connection to a proxy that is being made.
    type ProxyFuture: Future<Output = Result<Self::Stream, <Self::Proxy as Service<Uri>>::Error>> + Send + 'static;

    #[doc(hidden)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>>;
    #[doc(hidden)]
    fn direct(&mut self) -> &mut Self::Direct;
    #[doc(hidden)]
    fn proxy(&mut self) -> &mut Self::Proxy;
}

mod sealed {
    #[expect(unnameable_types, reason = "a sealed trait cannot be named elsewhere")]
    pub trait Sealed {}
}

impl<S, T> sealed::Sealed for S where S: Service<Uri, Response = T> {}

impl<S, T> Connector for S
where
    S: Service<Uri, Response = T, Error: Into<BoxError>, Future: Send + 'static>,
    T: Read + Write + Unpin + Send + 'static,
{
    type Stream = T;
    type Direct = S;
    type DirectFuture = S::Future;
    type Proxy = S;
    type ProxyFuture = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Service::poll_ready(self, cx).map_err(ConnectError::dial)
    }

    fn direct(&mut self) -> &mut S {
        self
    }

    fn proxy(&mut self) -> &mut S {
        self
    }
}

/// Two connectors for one [`Proxy`](crate::Proxy): one dials targets on direct routes, the other dials proxies.
///
/// A [`GuardLayer`](crate::guard::GuardLayer) makes one, whose first connector is guarded and whose second is not. It is
/// not a `Service<Uri>` itself: only `Proxy` knows which of the two a connection needs. It is ready when both are.
///
/// ```
/// # use std::time::Duration;
/// # use hyper_util::client::legacy::connect::HttpConnector;
/// # use tower::ServiceBuilder;
/// # use tower_outbound_proxy::{ProxyLayer, connector::Split};
/// # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
/// let mut http = HttpConnector::new();
/// http.enforce_http(false);
/// let mut to_proxies = http.clone();
/// to_proxies.set_connect_timeout(Some(Duration::from_secs(1)));
///
/// let connector = ServiceBuilder::new().layer(ProxyLayer::from_env()?).service(Split::new(http, to_proxies));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Split<D, P> {
    direct: D,
    proxy: P,
}

impl<D, P> Split<D, P> {
    /// Creates a pair: the connector for targets, and the one for proxies.
    pub fn new(direct: D, proxy: P) -> Self {
        Self { direct, proxy }
    }

    /// Unwraps the connector for targets and the one for proxies.
    pub fn into_parts(self) -> (D, P) {
        (self.direct, self.proxy)
    }
}

impl<D, P> sealed::Sealed for Split<D, P> {}

impl<D, P, T> Connector for Split<D, P>
where
    D: Service<Uri, Response = T, Error: Into<BoxError>, Future: Send + 'static>,
    P: Service<Uri, Response = T, Error: Into<BoxError>, Future: Send + 'static>,
    T: Read + Write + Unpin + Send + 'static,
{
    type Stream = T;
    type Direct = D;
    type DirectFuture = D::Future;
    type Proxy = P;
    type ProxyFuture = P::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        ready!(self.direct.poll_ready(cx)).map_err(ConnectError::dial)?;
        self.proxy.poll_ready(cx).map_err(ConnectError::dial)
    }

    fn direct(&mut self) -> &mut D {
        &mut self.direct
    }

    fn proxy(&mut self) -> &mut P {
        &mut self.proxy
    }
}
