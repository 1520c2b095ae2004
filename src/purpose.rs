//! What a request is for, and what that means for its route.
//!
//! Palpo's document says of each kind of connection whether it uses the proxy: push and federation do, application
//! services and Redis never do, wherever they are. So a request can carry a *purpose* in its extensions, a value of any
//! type of the application's, and a [`PurposePolicy`] says for each how the settings apply: as they are, never, always,
//! or with a proxy of its own.

use std::{fmt, marker::PhantomData, sync::Arc};

use http::Extensions;

use crate::{
    config::{ProxyConfig, ProxyServer},
    error::PurposeError,
    route::{Decision, Reason, Route},
    target::{Scheme, Target},
};

/// Whether and how requests of one purpose use a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyUse {
    /// As the settings say.
    #[default]
    Settings,
    /// Never through a proxy, whatever the settings say.
    Never,
    /// Through the settings' proxy, also where `NO_PROXY`, a predicate or the loopback rule exempts the target. Where no
    /// proxy is set for the target's scheme the request fails; it never goes directly.
    Always,
    /// Through this proxy in place of the settings', except for targets that the settings exempt.
    Proxy(ProxyServer),
}

/// Says for each purpose how the settings apply.
///
/// The purpose is a value in the request's extensions, of the type that the policy is for. A `match` over an enum lets the
/// compiler see to it that none is forgotten. The target is there to be asked about too, with any
/// [`Bypass`](crate::Bypass) predicate:
///
/// ```
/// # use tower_outbound_proxy::{Bypass, NoProxy, ProxyConfig, ProxyUse, PurposePolicy, Target};
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
/// `ClientBuilder::purposes` makes a `Client` follow it (feature `client`).
///
/// # Redirects
///
/// A layer that follows redirects makes new requests, and tower-http's does not give them the extensions of the first when
/// they go to another origin. So let its policy keep the purpose (`FilterCredentials::allow_extension`), put it in inside of
/// that layer (`AddExtensionLayer`), or say [`without_purpose`](Self::without_purpose) what holds for requests that have
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
    /// A policy for purposes of this type. In explanations and logs a purpose appears as its `Debug` writes it.
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

    /// What holds for requests without a purpose: the settings, unless set.
    #[must_use]
    pub fn without_purpose(mut self, usage: ProxyUse) -> Self {
        self.without = usage;
        self
    }

    /// How a request with these extensions reaches this target, and why.
    ///
    /// # Errors
    ///
    /// The request has to go through a proxy, and none is set for it.
    pub fn decide<'c>(
        &self,
        config: &'c ProxyConfig,
        extensions: &Extensions,
        target: &Target<'_>,
    ) -> Result<Decision<'c>, PurposeError> {
        match self.of.of(extensions, target) {
            Some((purpose, usage)) => config.decide_for(purpose, &usage, target),
            None => config
                .decide_using(&self.without, target)
                .ok_or_else(|| PurposeError::new(None, target.scheme())),
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

impl ProxyConfig {
    /// How a target is reached by a request for this purpose, and why: what a [`PurposePolicy`] that says so decides.
    ///
    /// ```
    /// # use tower_outbound_proxy::{ProxyConfig, ProxyUse};
    /// let config = ProxyConfig::from_vars([("HTTPS_PROXY", "http://proxy.example:3128"), ("NO_PROXY", "push.example")])?;
    /// let decision = config.decide_for(&"push", &ProxyUse::Always, &"https://push.example/".parse()?)?;
    /// assert_eq!(
    ///     decision.to_string(),
    ///     "purpose \"push\": tunnel through http://proxy.example:3128: \
    ///      the policy says always for this purpose, and HTTPS_PROXY is set",
    /// );
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The request has to go through a proxy, and none is set for it.
    pub fn decide_for(
        &self,
        purpose: &dyn fmt::Debug,
        usage: &ProxyUse,
        target: &Target<'_>,
    ) -> Result<Decision<'_>, PurposeError> {
        let name = || format!("{purpose:?}");
        match self.decide_using(usage, target) {
            Some(decision) => Ok(decision.for_purpose(name())),
            None => Err(PurposeError::new(Some(name()), target.scheme())),
        }
    }

    /// `None` where a proxy has to be used and none is set.
    fn decide_using(&self, usage: &ProxyUse, target: &Target<'_>) -> Option<Decision<'_>> {
        match usage {
            ProxyUse::Settings => Some(self.decide(target)),
            ProxyUse::Never => Some(Decision::new(Route::Direct, Reason::Never)),
            ProxyUse::Always => self.always(target),
            ProxyUse::Proxy(_) if target.scheme() == Scheme::Other => Some(self.decide(target)),
            ProxyUse::Proxy(proxy) => Some(match self.exemption(target) {
                Some(reason) => Decision::new(Route::Direct, reason),
                None => Decision::new(self.through(proxy, target), Reason::OwnProxy),
            }),
        }
    }
}
