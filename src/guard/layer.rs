//! [`GuardLayer`] and its connector, [`Guard<S>`].

use std::{
    net::SocketAddr,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::client::legacy::connect::{
    HttpConnector,
    dns::{GaiResolver, Name},
};
use tower_layer::Layer;
use tower_service::Service;

use super::policy::IpPolicy;
use crate::{
    connector::{DialFuture, DialTarget, HappyEyeballs, Split},
    error::{BoxError, ConnectError},
};

/// Keeps a connector from dialling addresses that an [`IpPolicy`] denies, on direct routes.
///
/// It goes *under* [`Proxy`](crate::Proxy), which can tell direct connections from connections to proxies. It makes a
/// [`Split`] of the connector: a [`Guard`] dials targets, and the connector itself dials proxies.
/// [`IpPolicy::http_connector`] does this for hyper-util's `HttpConnector`.
///
/// ```
/// # use tower::ServiceBuilder;
/// # use tower_outbound_proxy::{IpPolicy, ProxyLayer, connector::HappyEyeballs, guard::GuardLayer};
/// # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
/// # let my_connector = HappyEyeballs::default();
/// let connector = ServiceBuilder::new()
///     .layer(ProxyLayer::from_env()?)
///     .layer(GuardLayer::new(IpPolicy::special_purpose()))
///     .service(my_connector);
/// # Ok(())
/// # }
/// ```
///
/// # The dialled address is checked
///
/// - A host that is an address, in any spelling that a resolver would read (`0x7f.1`, `2130706433`,
///   `[::ffff:127.0.0.1]`), is checked. It is passed on in its usual spelling, without a zone.
/// - A name is resolved here, once. The inner connector gets the allowed addresses and resolves no name again, so DNS
///   cannot give it a different answer (DNS rebinding). All of them get their chance, as with a [`HappyEyeballs`]. The
///   inner connector's own time-out applies to each address.
/// - Connections to a proxy are not checked.
///
/// A refused connection fails with a [`DeniedError`](super::DeniedError) before any packet is sent to the address.
///
/// # The order matters
///
/// `Proxy` goes outside this layer, and TLS to the target goes outside both, because the inner connector does not see
/// the target's name. A layer between `Proxy` and this one does not compile, because a `Split` is not a `Service<Uri>`.
/// Put it inside this layer, around the connector that both halves use.
#[derive(Clone, Debug)]
pub struct GuardLayer<R = GaiResolver> {
    policy: IpPolicy,
    resolver: R,
}

impl GuardLayer {
    /// Creates a layer that enforces this policy and resolves names with the system's resolver.
    #[must_use]
    pub fn new(policy: IpPolicy) -> Self {
        Self {
            policy,
            resolver: GaiResolver::new(),
        }
    }
}

impl<R> GuardLayer<R> {
    /// Sets the resolver: a `Service<Name>` as hyper-util's `HttpConnector` takes it.
    #[must_use]
    pub fn with_resolver<N>(self, resolver: N) -> GuardLayer<N> {
        GuardLayer {
            policy: self.policy,
            resolver,
        }
    }
}

impl<S: Clone, R: Clone> Layer<S> for GuardLayer<R> {
    type Service = Split<Guard<S, R>, S>;

    fn layer(&self, inner: S) -> Self::Service {
        let guard = Guard {
            inner: HappyEyeballs::with_resolver(inner.clone(), self.resolver.clone()),
            policy: self.policy.clone(),
        };
        Split::new(guard, inner)
    }
}

impl IpPolicy {
    /// Creates a connector that dials no denied address on direct routes, over the connector of
    /// [`HappyEyeballs::default`]. To set more, put a [`GuardLayer`] around a connector of your own.
    #[must_use]
    pub fn http_connector(&self) -> Split<Guard<HttpConnector>, HappyEyeballs> {
        self.http_connector_with(GaiResolver::new())
    }

    /// Creates the same connector with the caller's resolver, for targets and proxies.
    #[must_use]
    pub fn http_connector_with<R: Clone>(
        &self,
        resolver: R,
    ) -> Split<Guard<HttpConnector<R>, R>, HappyEyeballs<HttpConnector<R>, R>> {
        let connector = HappyEyeballs::http(resolver);
        let guard = Guard {
            inner: connector.clone(),
            policy: self.clone(),
        };
        Split::new(guard, connector)
    }
}

/// A connector that dials no address that an [`IpPolicy`] denies.
///
/// It checks every connection. Under [`Proxy`](crate::Proxy), this would deny proxies in the server's own network, so
/// [`GuardLayer`] makes it one half of a [`Split`]. On its own, it guards clients that use no proxy.
#[derive(Clone, Debug)]
pub struct Guard<S, R = GaiResolver> {
    inner: HappyEyeballs<S, R>,
    policy: IpPolicy,
}

impl<S> Guard<S> {
    /// Creates a guard around a connector. It resolves names with the system's resolver.
    #[must_use]
    pub fn new(policy: IpPolicy, inner: S) -> Self {
        Self {
            inner: HappyEyeballs::new(inner),
            policy,
        }
    }
}

impl<S, R> Guard<S, R> {
    /// Returns the inner connector.
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref()
    }

    /// Returns the inner connector, for instance to set its time-outs.
    pub fn get_mut(&mut self) -> &mut S {
        self.inner.get_mut()
    }

    /// Unwraps the inner connector.
    pub fn into_inner(self) -> S {
        self.inner.into_inner()
    }

    /// Returns the policy.
    pub fn policy(&self) -> &IpPolicy {
        &self.policy
    }
}

impl<S, R> Service<Uri> for Guard<S, R>
where
    S: Service<Uri, Response: Send, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static,
    R: Service<Name, Response: Iterator<Item = SocketAddr> + Send, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    type Response = S::Response;
    type Error = ConnectError;
    type Future = DialFuture<S::Future, S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (asked, uri) = match DialTarget::new(uri) {
            Ok(asked) => asked,
            Err(error) => return DialFuture::failed(ConnectError::target(error)),
        };
        let policy = self.policy.clone();
        let Some(ip) = asked.target.ip() else {
            return self.inner.dial_name(asked, uri, move |asked, addresses| {
                let allowed = policy.retain_allowed(addresses, |address| asked.at(address));
                allowed.map_err(ConnectError::denied_by)
            });
        };
        let allowed = policy.enforce(&asked.target, ip).map_err(ConnectError::denied_by);
        let uri = allowed.and_then(|()| {
            let uri = asked.target.at(ip.to_canonical()).in_uri(&uri);
            uri.map_err(ConnectError::target)
        });
        match uri {
            Ok(uri) => DialFuture::address(self.inner.get_mut().call(uri), asked.target, None),
            Err(error) => DialFuture::failed(error),
        }
    }
}
