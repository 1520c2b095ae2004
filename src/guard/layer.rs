//! [`GuardLayer`] and the connector it makes, [`Guard<S>`].

use std::{
    mem,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    by_name::ByName,
    dial::{Asked, Dial, Marked, is_to_proxy},
    future::{Guarding, State},
    policy::IpPolicy,
    resolver::GuardedResolver,
};
use crate::{
    error::{BoxError, ConnectError, Failure, Stage},
    target::Target,
};

/// Keeps a connector from dialling addresses that an [`IpPolicy`] denies.
///
/// It goes *under* [`Proxy`](crate::Proxy), where direct dials and dials to proxies can be told apart, and around any
/// connector. For hyper-util's `HttpConnector` take [`IpPolicy::http_connector`], which keeps its happy eyeballs.
///
/// ```
/// # use hyper_util::client::legacy::connect::HttpConnector;
/// # use tower::ServiceBuilder;
/// # use tower_outbound_proxy::{GuardLayer, IpPolicy, ProxyLayer};
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
/// # What is checked is what is dialled
///
/// - A host that is an address, in whatever spelling a resolver would read it (`0x7f.1`, `2130706433`,
///   `[::ffff:127.0.0.1]`), is checked, and handed on in its usual spelling, without a zone.
/// - A name is resolved here, once. The inner connector is asked for one allowed address after the other until one
///   connects, and has no name to look up again, so that DNS cannot answer it otherwise (DNS rebinding). How long each
///   may take is the inner connector's affair.
/// - A dial to a proxy, by the [`Proxy`](crate::Proxy) around this, is handed on as it is.
///
/// What is refused fails with [`ConnectError::is_denied`] before any packet has left for that address.
///
/// # The order matters
///
/// - `Proxy<Guard<C>>` is right. `Guard<Proxy<C>>` would look up, and judge, names that are the proxy's to resolve.
/// - TLS to the target goes outside of both, since the inner connector does not get to see the target's name.
/// - A layer between `Proxy` and this that hands calls to another task (`tower::buffer`) or rewrites the proxy's address
///   hides that the dial is for a proxy. Then it is judged as a direct one: a proxy at a denied address is not reached.
#[derive(Clone, Debug)]
pub struct GuardLayer<R = GaiResolver> {
    policy: IpPolicy,
    resolver: R,
}

impl GuardLayer {
    /// A layer that enforces this policy, and resolves names as the system does.
    #[must_use]
    pub fn new(policy: IpPolicy) -> Self {
        Self {
            policy,
            resolver: GaiResolver::new(),
        }
    }
}

impl<R> GuardLayer<R> {
    /// Resolves names so: a `Service<Name>` as hyper-util's `HttpConnector` takes it.
    #[must_use]
    pub fn with_resolver<N>(self, resolver: N) -> GuardLayer<N> {
        GuardLayer {
            policy: self.policy,
            resolver,
        }
    }
}

impl<S, R: Clone> Layer<S> for GuardLayer<R> {
    type Service = Guard<S, R>;

    fn layer(&self, inner: S) -> Guard<S, R> {
        Guard {
            inner,
            policy: self.policy.clone(),
            names: Names::Resolved(self.resolver.clone()),
        }
    }
}

/// A connector that dials no address that an [`IpPolicy`] denies; made by [`GuardLayer`] and
/// [`IpPolicy::http_connector`].
#[derive(Clone, Debug)]
pub struct Guard<S, R = GaiResolver> {
    inner: S,
    policy: IpPolicy,
    names: Names<R>,
}

/// What becomes of a name.
#[derive(Clone, Debug)]
enum Names<R> {
    /// It is resolved here.
    Resolved(R),
    /// It is handed on to a connector whose resolver is guarded by the same policy.
    HandedOn,
}

impl<S> Guard<S> {
    /// Around a connector whose resolver is guarded by the same policy.
    pub(super) fn over_guarded_resolver(policy: IpPolicy, inner: S) -> Self {
        Self {
            inner,
            policy,
            names: Names::HandedOn,
        }
    }
}

impl<S, R> Guard<S, R> {
    /// The connector it wraps.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The connector it wraps, to set its time-outs for instance.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the connector it wraps back.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The policy.
    pub fn policy(&self) -> &IpPolicy {
        &self.policy
    }
}

impl<S, R> Service<Uri> for Guard<S, R>
where
    S: Service<Uri> + Clone + Send + 'static,
    S::Response: 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: Service<Name> + Clone + Send + 'static,
    R::Response: Iterator<Item = SocketAddr>,
    R::Error: Into<BoxError>,
    R::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = ConnectError;
    type Future = Guarding<S::Future, S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(cx).map_err(ConnectError::dial)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if is_to_proxy(&uri) {
            let dial = self.inner.call(uri);
            return Guarding::new(State::ToProxy { dial });
        }
        match self.dial(uri) {
            Ok(guarding) => guarding,
            Err(error) => Guarding::new(State::Failed { error: Some(error) }),
        }
    }
}

impl<S, R> Guard<S, R>
where
    S: Service<Uri> + Clone + Send + 'static,
    S::Response: 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: Service<Name> + Clone + Send + 'static,
    R::Response: Iterator<Item = SocketAddr>,
    R::Error: Into<BoxError>,
    R::Future: Send + 'static,
{
    fn dial(&mut self, uri: Uri) -> Result<Guarding<S::Future, S::Response>, ConnectError> {
        let not_a_target = |error| ConnectError::new(Stage::Target, Failure::Target(error));
        let target = Target::try_from(&uri).map_err(not_a_target)?.into_owned();
        let uri = match &self.names {
            // The connector that is handed the name must not take another port than the one checked.
            Names::HandedOn => target.naming_its_port(&uri).map_err(not_a_target)?.unwrap_or(uri),
            Names::Resolved(_) => uri,
        };
        let asked = Arc::new(Asked {
            port_is_explicit: uri.port().is_some(),
            target,
        });
        let target = &asked.target;
        let uri = match (target.ip(), &self.names) {
            (Some(ip), _) => {
                self.policy.check(target, ip).map_err(|denied| {
                    super::report(&denied);
                    ConnectError::denied_by(denied)
                })?;
                target.at(ip.to_canonical()).in_uri(&uri).map_err(not_a_target)?
            }
            (None, Names::HandedOn) => uri,
            (None, Names::Resolved(resolver)) => {
                let unready = self.inner.clone();
                let by_name = ByName {
                    resolver: GuardedResolver::with_resolver(self.policy.clone(), resolver.clone()),
                    // The one that was polled ready.
                    inner: mem::replace(&mut self.inner, unready),
                    asked: asked.clone(),
                    uri,
                };
                let dial = Marked::new(Dial::Target(asked), by_name.dial());
                return Ok(Guarding::new(State::ByName { dial: Box::pin(dial) }));
            }
        };
        let mark = Dial::Target(asked.clone());
        let dial = mark.clone().scope(|| self.inner.call(uri));
        let dial = Marked::new(mark, dial);
        Ok(Guarding::new(State::Dialling { asked, dial }))
    }
}
