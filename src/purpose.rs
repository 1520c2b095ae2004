//! Purposes of requests, and the proxies that they use.
//!
//! Some connections of a server use the proxy and others never do, wherever they lead: in Palpo (a Matrix homeserver)
//! push and federation use it, application services and Redis do not. So a request can carry a *purpose* in its
//! extensions, a value of any type of the application's, and a [`PurposePolicy`] says for each how the settings apply: as
//! they are, never, always, or with a proxy of its own.
//!
//! `ClientBuilder::purposes` (feature `client`) makes a `Client` follow a policy.
//! [`ProxyConfig::decide_for`](crate::ProxyConfig::decide_for) decides for one purpose by hand.

use std::{fmt, marker::PhantomData, sync::Arc};

use http::Extensions;

use crate::{
    config::ProxyServer,
    target::{Scheme, Target},
};

/// The use of proxies by requests of one purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyUse {
    /// Through the proxy that the settings name, if any.
    #[default]
    Settings,
    /// Never through a proxy, whatever the settings say.
    Never,
    /// Through the settings' proxy, even where `NO_PROXY`, a predicate or the loopback rule exempts the target. Where no
    /// proxy is set for the target's scheme, the request fails; it never goes directly.
    Always,
    /// Through this proxy instead of the settings', except for targets that the settings exempt.
    Proxy(ProxyServer),
}

/// Maps each purpose to its use of proxies.
///
/// The purpose is a value in the request's extensions, of the type that the policy is for. With a `match` over an enum the
/// compiler checks that no purpose is forgotten. The policy also gets the target, for any [`Bypass`](crate::Bypass)
/// predicate:
///
/// ```
/// # use tower_outbound_proxy::{Bypass, NoProxy, ProxyConfig, PurposePolicy, Target, purpose::ProxyUse};
/// #[derive(Clone, Debug)]
/// enum Purpose {
///     Push,
///     Federation,
///     ApplicationService,
/// }
///
/// let partners: NoProxy = "partner.example, 203.0.113.0/24".parse()?;
/// let policy = PurposePolicy::new(move |purpose: &Purpose, target: &Target<'_>| match purpose {
///     Purpose::Push => ProxyUse::Always,
///     Purpose::Federation if partners.bypass(target) => ProxyUse::Never,
///     Purpose::Federation => ProxyUse::Settings,
///     Purpose::ApplicationService => ProxyUse::Never,
/// });
///
/// let config = ProxyConfig::builder().all("http://proxy.example:3128").build()?;
/// let mut request = http::Request::get("http://bridge.example/").body(())?;
/// request.extensions_mut().insert(Purpose::ApplicationService);
/// let decision = policy.decide(&config, request.extensions(), &Target::try_from(request.uri())?)?;
/// assert_eq!(
///     decision.to_string(),
///     "purpose ApplicationService: direct: the policy says never for this purpose",
/// );
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Redirects
///
/// A layer that follows redirects makes new requests, and tower-http's drops the extensions of the first one when the next
/// goes to another origin. So let its policy keep the purpose (`FilterCredentials::allow_extension`), insert the purpose
/// inside of that layer (`AddExtensionLayer`), or set [`without_purpose`](Self::without_purpose) for requests that have
/// lost theirs.
#[derive(Clone)]
pub struct PurposePolicy {
    of: Arc<dyn Policy + Send + Sync>,
    without: ProxyUse,
}

/// A policy of any type of purpose.
trait Policy {
    fn of<'e>(&self, extensions: &'e Extensions, target: &Target<'_>) -> Option<(&'e dyn fmt::Debug, ProxyUse)>;
}

struct For<P, F>(F, PhantomData<fn(P)>);

impl<P, F> Policy for For<P, F>
where
    P: fmt::Debug + Send + Sync + 'static,
    F: Fn(&P, &Target<'_>) -> ProxyUse,
{
    fn of<'e>(&self, extensions: &'e Extensions, target: &Target<'_>) -> Option<(&'e dyn fmt::Debug, ProxyUse)> {
        let purpose = extensions.get::<P>()?;
        Some((purpose, (self.0)(purpose, target)))
    }
}

impl PurposePolicy {
    /// Creates a policy for purposes of this type. Explanations and logs show a purpose as its `Debug` writes it.
    pub fn new<P, F>(policy: F) -> Self
    where
        P: fmt::Debug + Send + Sync + 'static,
        F: Fn(&P, &Target<'_>) -> ProxyUse + Send + Sync + 'static,
    {
        Self {
            of: Arc::new(For(policy, PhantomData)),
            without: ProxyUse::Settings,
        }
    }

    /// Sets the use of proxies by requests without a purpose; by default the settings'.
    #[must_use]
    pub fn without_purpose(mut self, usage: ProxyUse) -> Self {
        self.without = usage;
        self
    }

    /// The purpose in a request's extensions, if there is one, and the use of proxies for it.
    pub(crate) fn proxy_use<'e>(
        &self,
        extensions: &'e Extensions,
        target: &Target<'_>,
    ) -> (Option<&'e dyn fmt::Debug>, ProxyUse) {
        match self.of.of(extensions, target) {
            Some((purpose, usage)) => (Some(purpose), usage),
            None => (None, self.without.clone()),
        }
    }
}

impl fmt::Debug for PurposePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PurposePolicy")
            .field("without_purpose", &self.without)
            .finish_non_exhaustive()
    }
}

/// A request that must go through a proxy ([`ProxyUse::Always`]) where none is set.
///
/// It is not sent directly instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurposeError {
    purpose: Option<String>,
    scheme: Scheme,
}

impl PurposeError {
    pub(crate) fn new(purpose: Option<String>, scheme: Scheme) -> Self {
        Self { purpose, scheme }
    }

    /// Returns the request's purpose; `None` for a request without one.
    #[must_use]
    pub fn purpose(&self) -> Option<&str> {
        self.purpose.as_deref()
    }
}

impl fmt::Display for PurposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.purpose {
            Some(purpose) => write!(f, "purpose {purpose} ")?,
            None => f.write_str("a request without a purpose ")?,
        }
        let scheme = self.scheme.as_str();
        write!(f, "always goes through a proxy, and none is set for {scheme} targets")
    }
}

impl std::error::Error for PurposeError {}
