//! The connectors under the layer: one for all connections, or one for each kind.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, Write};
use tower_service::Service;

use crate::error::BoxError;

/// A connector that [`Proxy`](crate::Proxy) can use: it dials targets on direct routes, and proxies on the others.
///
/// Every `Service<Uri>` whose connections are streams is such a connector, and so is a [`Split`] of two. It is cloned,
/// because one tunnel may need more than one connection. The trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connector that `Proxy` can use",
    note = "a connector is a `Service<Uri>` whose response implements `hyper::rt::{{Read, Write}}`, `Unpin` and `Send`, \
            whose error converts to a boxed error, and whose future is `Send`; it is `Clone`, `Send` and `'static` itself"
)]
pub trait Connector: sealed::Sealed + Clone + Send + 'static {
    /// A connection.
    type Stream: Read + Write + Unpin + Send + 'static;
    /// The error of a failed connection.
    type Error: Into<BoxError>;
    /// The future of a connection.
    type Future: Future<Output = Result<Self::Stream, Self::Error>> + Send + 'static;
    /// The connector for targets on direct routes.
    type Direct: Service<Uri, Response = Self::Stream, Error: Into<BoxError>, Future: Send>;
    /// The connector for proxies.
    type Proxy: Service<Uri, Response = Self::Stream, Error: Into<BoxError>, Future: Send>;

    #[doc(hidden)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>>;
    #[doc(hidden)]
    fn dial_target(&mut self, target: Uri) -> Self::Future;
    #[doc(hidden)]
    fn dial_proxy(&mut self, proxy: Uri) -> Self::Future;
    #[doc(hidden)]
    fn split(&self) -> (&Self::Direct, &Self::Proxy);
}

mod sealed {
    #[expect(unnameable_types, reason = "a sealed trait cannot be named elsewhere")]
    pub trait Sealed {}
}

impl<S, T> sealed::Sealed for S where S: Service<Uri, Response = T> {}

impl<S, T> Connector for S
where
    S: Service<Uri, Response = T, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
    T: Read + Write + Unpin + Send + 'static,
{
    type Stream = T;
    type Error = S::Error;
    type Future = S::Future;
    type Direct = S;
    type Proxy = S;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Service::poll_ready(self, cx)
    }

    fn dial_target(&mut self, target: Uri) -> S::Future {
        self.call(target)
    }

    fn dial_proxy(&mut self, proxy: Uri) -> S::Future {
        self.call(proxy)
    }

    fn split(&self) -> (&S, &S) {
        (self, self)
    }
}

/// Two connectors for one [`Proxy`](crate::Proxy): one dials targets on direct routes, the other dials proxies.
///
/// A [`GuardLayer`](crate::guard::GuardLayer) creates one with a guarded connector for targets and an unguarded one for
/// proxies. A `Split` is not a `Service<Uri>` itself: only `Proxy` knows which of the two a connection needs.
///
/// It is always ready. Each connection clones the connector that it needs and waits until that clone is ready. (Waiting
/// for both connectors beforehand could deadlock if they share a limit.)
///
/// ```
/// # use std::time::Duration;
/// # use tower::ServiceBuilder;
/// # use tower_outbound_proxy::{ProxyLayer, connector::{HappyEyeballs, Split}};
/// # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
/// let to_targets = HappyEyeballs::default();
/// let mut to_proxies = to_targets.clone();
/// to_proxies.get_mut().set_connect_timeout(Some(Duration::from_secs(1)));
///
/// let connector = ServiceBuilder::new().layer(ProxyLayer::from_env()?).service(Split::new(to_targets, to_proxies));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Split<D, P> {
    direct: D,
    proxy: P,
}

impl<D, P> Split<D, P> {
    /// Creates a pair of connectors: one for targets, one for proxies.
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
    D: Service<Uri, Response = T, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static,
    P: Service<Uri, Response = T, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static,
    T: Read + Write + Unpin + Send + 'static,
{
    type Stream = T;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
    type Direct = D;
    type Proxy = P;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn dial_target(&mut self, target: Uri) -> Self::Future {
        Box::pin(once_ready(self.direct.clone(), target))
    }

    fn dial_proxy(&mut self, proxy: Uri) -> Self::Future {
        Box::pin(once_ready(self.proxy.clone(), proxy))
    }

    fn split(&self) -> (&D, &P) {
        (&self.direct, &self.proxy)
    }
}

async fn once_ready<S>(mut connector: S, uri: Uri) -> Result<S::Response, BoxError>
where
    S: Service<Uri, Error: Into<BoxError>>,
{
    poll_fn(|cx| connector.poll_ready(cx)).await.map_err(Into::into)?;
    connector.call(uri).await.map_err(Into::into)
}
