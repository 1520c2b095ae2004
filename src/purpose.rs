//! Purposes of requests, and their use of proxies.
//!
//! Some connections of a server use the proxy and others never do, whatever their target. In Palpo (a Matrix
//! homeserver), push and federation use it; application services and Redis do not. A request can therefore carry a
//! *purpose* in its extensions, a value of any type of the application's. A [`PurposePolicy`] says for each purpose how
//! the settings apply: as they are, never, always, or with a proxy of its own.
//!
//! `ClientBuilder::purposes` (feature `client`) makes a `Client` follow a policy.
//! [`ProxyConfig::decide_for`](crate::ProxyConfig::decide_for) decides for one purpose without a client.
//!
//! ```
//! # #[cfg(feature = "client")]
//! # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
//! # use tower_outbound_proxy::{Client, PurposePolicy, purpose::ProxyUse};
//! #[derive(Clone, Debug)]
//! struct ApplicationService;
//!
//! let policy = PurposePolicy::new(|_: &ApplicationService, _| ProxyUse::Never);
//! let client = Client::builder().purposes(policy).build()?;
//!
//! let mut request = http::Request::new(String::new());
//! request.extensions_mut().insert(ApplicationService);
//! # let _: Client<String> = client;
//! # Ok(())
//! # }
//! ```

use std::{fmt, marker::PhantomData, sync::Arc};

use http::Extensions;

use crate::{config::ProxyServer, scheme::Scheme, target::Target};

/// The use of proxies by requests of one purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyUse {
    /// Uses the proxy that the settings name, if any.
    #[default]
    Settings,
    /// Never uses a proxy, whatever the settings say.
    Never,
    /// Always uses the settings' proxy, even if `NO_PROXY`, a predicate or the loopback rule exempts the target. If no
    /// proxy is set for the target's scheme, the request fails; it never goes directly.
    Always,
    /// Uses this proxy instead of the settings' proxy, except for targets that the settings exempt.
    Proxy(ProxyServer),
}

/// Maps each purpose to its use of proxies.
///
/// The purpose is a value of the policy's type in the request's extensions. With a `match` over an enum, the compiler
/// checks that no purpose is forgotten. The policy also receives the target, for any [`Bypass`](crate::Bypass)
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
/// A layer that follows redirects makes new requests. tower-http's layer drops the extensions if a redirect leads to
/// another origin. Let its policy keep the purpose (`FilterCredentials::allow_extension`), insert the purpose inside
/// that layer (`AddExtensionLayer`), or set [`without_purpose`](Self::without_purpose) for requests that have lost
/// their purpose.
#[derive(Clone)]
pub struct PurposePolicy {
    of: Arc<dyn Policy + Send + Sync>,
    without: ProxyUse,
}

/// A policy for any type of purpose.
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
    /// Creates a policy for purposes of this type. Explanations and logs show a purpose's `Debug` output.
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

    /// Sets the use of proxies by requests without a purpose; [`ProxyUse::Settings`] by default.
    #[must_use]
    pub fn without_purpose(mut self, usage: ProxyUse) -> Self {
        self.without = usage;
        self
    }

    /// Returns the purpose in a request's extensions, if there is one, and its use of proxies.
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

/// A request that must go through a proxy ([`ProxyUse::Always`]), although none is set.
///
/// The request is not sent directly instead.
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
        match self.scheme {
            Scheme::Other => f.write_str("requires a proxy, but none is set for its scheme (ALL_PROXY sets one)"),
            scheme => write!(f, "requires a proxy, but none is set for {} targets", scheme.as_str()),
        }
    }
}

impl std::error::Error for PurposeError {}
