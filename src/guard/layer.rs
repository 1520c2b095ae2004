//! [`GuardLayer`] and its connector, [`Guard<S>`].

use std::{
    mem,
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

use super::{
    by_name::ByName,
    future::{GuardFuture, State},
    policy::IpPolicy,
};
use crate::{
    connector::Split,
    error::{BoxError, ConnectError},
    target::{Target, TargetError},
};

/// Keeps a connector from dialling addresses that an [`IpPolicy`] denies, on direct routes.
///
/// It goes *under* [`Proxy`](crate::Proxy), which can tell direct connections from connections to proxies. It makes a
/// [`Split`] of the connector: a [`Guard`] dials targets, and the connector itself dials proxies.
/// [`IpPolicy::http_connector`] does this for hyper-util's `HttpConnector`.
///
/// ```
/// # use hyper_util::client::legacy::connect::HttpConnector;
/// # use tower::ServiceBuilder;
/// # use tower_outbound_proxy::{IpPolicy, ProxyLayer, guard::GuardLayer};
/// # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
/// # let my_connector = HttpConnector::new();
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
///   cannot give it a different answer (DNS rebinding). Addresses of the first one's family are dialled in order. After
///   300 milliseconds, the other family joins in (RFC 8305). The inner connector's own time-out applies to each
///   address.
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
            inner: inner.clone(),
            policy: self.policy.clone(),
            resolver: self.resolver.clone(),
        };
        Split::new(guard, inner)
    }
}

impl IpPolicy {
    /// Creates a connector that dials no denied address on direct routes, over hyper-util's [`HttpConnector`] with
    /// `enforce_http(false)` and `nodelay`. To set more, put a [`GuardLayer`] around an `HttpConnector` of your own.
    #[must_use]
    pub fn http_connector(&self) -> Split<Guard<HttpConnector>, HttpConnector> {
        self.http_connector_with(GaiResolver::new())
    }

    /// Creates the same connector with the caller's resolver, for targets and proxies.
    #[must_use]
    pub fn http_connector_with<R: Clone>(&self, resolver: R) -> Split<Guard<HttpConnector<R>, R>, HttpConnector<R>> {
        let mut http = HttpConnector::new_with_resolver(resolver.clone());
        http.enforce_http(false);
        http.set_nodelay(true);
        GuardLayer::new(self.clone()).with_resolver(resolver).layer(http)
    }
}

/// A connector that dials no address that an [`IpPolicy`] denies.
///
/// It checks every connection. Under [`Proxy`](crate::Proxy), this would deny proxies in the server's own network, so
/// [`GuardLayer`] makes it one half of a [`Split`]. On its own, it guards clients that use no proxy.
#[derive(Clone, Debug)]
pub struct Guard<S, R = GaiResolver> {
    inner: S,
    policy: IpPolicy,
    resolver: R,
}

impl<S> Guard<S> {
    /// Creates a guard around a connector. It resolves names with the system's resolver.
    #[must_use]
    pub fn new(policy: IpPolicy, inner: S) -> Self {
        Self {
            inner,
            policy,
            resolver: GaiResolver::new(),
        }
    }
}

impl<S, R> Guard<S, R> {
    /// Returns the inner connector.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner connector, for instance to set its time-outs.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Unwraps the inner connector.
    pub fn into_inner(self) -> S {
        self.inner
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
    type Future = GuardFuture<S::Future, S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(cx).map_err(ConnectError::dial)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (asked, uri) = match DialTarget::new(uri) {
            Ok(asked) => asked,
            Err(error) => return GuardFuture::failed(ConnectError::target(error)),
        };
        if let Some(ip) = asked.target.ip() {
            let allowed = self.policy.enforce(&asked.target, ip).map_err(ConnectError::denied_by);
            let uri = allowed.and_then(|()| {
                let uri = asked.target.at(ip.to_canonical()).in_uri(&uri);
                uri.map_err(ConnectError::target)
            });
            return match uri {
                Ok(uri) => GuardFuture::new(State::Dialling {
                    dial: self.inner.call(uri),
                    target: asked.target,
                }),
                Err(error) => GuardFuture::failed(error),
            };
        }
        // The ready service moves into the future. Its clone stays, and must become ready itself.
        let unready = self.inner.clone();
        let by_name = ByName {
            policy: self.policy.clone(),
            resolver: self.resolver.clone(),
            asked,
            uri,
        };
        let ready = mem::replace(&mut self.inner, unready);
        GuardFuture::new(State::ByName {
            dial: Box::pin(by_name.dial(ready)),
        })
    }
}

/// The target of a guarded connection.
pub(super) struct DialTarget {
    pub(super) target: Target<'static>,
    /// True if the URI names the port. It then takes precedence over the resolver's port.
    port_is_explicit: bool,
}

impl DialTarget {
    /// Reads a URI. Adds the port if the inner connector would otherwise use a port that was not checked.
    fn new(uri: Uri) -> Result<(Self, Uri), TargetError> {
        let target = Target::try_from(&uri)?.into_owned();
        let uri = target.with_explicit_port(&uri)?.unwrap_or(uri);
        let port_is_explicit = uri.port().is_some();
        Ok((
            Self {
                target,
                port_is_explicit,
            },
            uri,
        ))
    }

    /// Creates the target of a look-up, which is a host without a port.
    pub(super) fn of_host(host: &str) -> Result<Self, TargetError> {
        Ok(Self {
            target: Target::of_host(host)?,
            port_is_explicit: false,
        })
    }

    /// Returns the target as it is dialled at a resolved address. The address's port applies if the URI names none.
    pub(super) fn at(&self, address: SocketAddr) -> Target<'_> {
        match (self.port_is_explicit, address.port(), self.target.port()) {
            (true, _, Some(port)) | (false, 0, Some(port)) => self.target.on_port(port),
            (_, 0, None) => self.target.clone(),
            (_, port, _) => self.target.on_port(port),
        }
    }
}
