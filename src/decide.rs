//! Decides the route and its reason from a target and the request's purpose. No other file does.

use std::fmt;

use http::Extensions;

#[cfg(feature = "serde")]
use crate::config::Found;
use crate::{
    config::{PROXY_FOR, ProxyConfig, ProxyServer, Setting, SettingName},
    dialect::{AllProxy, WebSocket},
    error::UnusableProxyError,
    no_proxy::{Bypass, Exemption, is_loopback},
    purpose::{ProxyUse, PurposeError, PurposePolicy},
    route::{Decision, Destination, Reason, Route},
    scheme::Scheme,
    target::{Target, TargetError},
    trace,
};

/// Setting names for reasons that come from neither a variable nor a method.
static PREDICATE: SettingName = SettingName::code("the application's predicate");
static BY_DOMAIN: SettingName = SettingName::key_name("by_domain");

/// The proxy that is set for a scheme, and the setting that names it.
struct Set<'c> {
    name: &'c SettingName,
    proxy: Result<&'c ProxyServer, &'c UnusableProxyError>,
}

/// The parts of a request that a decision depends on.
pub(crate) struct Subject<'r> {
    pub(crate) target: &'r Target<'r>,
    pub(crate) extensions: &'r Extensions,
    /// True if the request cannot be forwarded: it asks for another protocol (RFC 9110 7.8), which a proxy does not
    /// pass on, or it uses HTTP/2.
    pub(crate) needs_tunnel: bool,
}

impl ProxyConfig {
    /// Decides the route of a connection to a target, and logs the decision.
    pub(crate) fn route_connection(&self, target: &Target<'_>) -> Route {
        logged(self.decide(target), target).0
    }

    /// Decides the route of a request, and returns it with the request's purpose. The destination in the request's
    /// extensions comes first, then its purpose, then the settings.
    pub(crate) fn route_request<E: From<PurposeError> + From<TargetError>>(
        &self,
        purposes: Option<&PurposePolicy>,
        subject: &Subject<'_>,
    ) -> Result<(Route, Option<String>), E> {
        let Subject { target, extensions, .. } = *subject;
        let (route, purpose) = match (extensions.get::<Destination>(), purposes) {
            (Some(destination), _) => (bound(destination, target)?, None),
            (None, Some(policy)) => logged(policy.decide(self, extensions, target)?, target),
            (None, None) => (self.route_connection(target), None),
        };
        Ok(match route {
            Route::Forward(proxy) if subject.needs_tunnel => (Route::Tunnel(proxy), purpose),
            route => (safe(route, target), purpose),
        })
    }
}

/// Returns the route of a destination, if it was chosen for this target.
fn bound(destination: &Destination, target: &Target<'_>) -> Result<Route, TargetError> {
    match Target::try_from(&destination.uri)?.is_same(target) {
        true => Ok(destination.route.clone()),
        false => Err(TargetError::OF_ANOTHER_ROUTE),
    }
}

fn logged(decision: Decision<'_>, target: &Target<'_>) -> (Route, Option<String>) {
    trace::decision(target, decision.purpose(), decision.route(), decision.reason());
    decision.into_parts()
}

/// Makes a route that was chosen elsewhere safe: only `http` is ever forwarded, so no proxy reads data meant for TLS.
pub(crate) fn safe(route: Route, target: &Target<'_>) -> Route {
    match route {
        Route::Forward(proxy) if target.scheme() != Scheme::Http => Route::Tunnel(proxy),
        route => route,
    }
}

impl PurposePolicy {
    /// Returns the route of a request with these extensions to this target, and the reason for it.
    ///
    /// # Errors
    ///
    /// Returns an error if the request must go through a proxy and none is set for it.
    pub fn decide<'c>(
        &self,
        config: &'c ProxyConfig,
        extensions: &Extensions,
        target: &Target<'_>,
    ) -> Result<Decision<'c>, PurposeError> {
        match self.proxy_use(extensions, target) {
            (Some(purpose), usage) => config.decide_for(purpose, &usage, target),
            (None, usage) => config
                .decide_using(&usage, target)
                .ok_or_else(|| PurposeError::new(None, target.scheme())),
        }
    }
}

impl ProxyConfig {
    /// Returns the route to a target.
    ///
    /// | target | route |
    /// |---|---|
    /// | any: no proxy is set for its scheme, or it is exempt | direct |
    /// | `http` | forward (tunnel with [`always_tunnel`](crate::config::ProxyConfigBuilder::always_tunnel)) |
    /// | `https`, `wss`, `ws` | tunnel |
    /// | any other scheme | tunnel (the proxy of `ALL_PROXY`) |
    #[must_use]
    pub fn route(&self, target: &Target<'_>) -> Route {
        self.decide(target).into_route()
    }

    /// Returns the route to a target, and the reason for it.
    #[must_use]
    pub fn decide(&self, target: &Target<'_>) -> Decision<'_> {
        let scheme = target.scheme();
        let setting = self.setting(scheme);
        if setting.is_none() && !self.has_rules() {
            return Decision::new(Route::Direct, self.unset(scheme));
        }
        if let Some(reason) = self.exemption(target) {
            return Decision::new(Route::Direct, reason);
        }
        match (self.rule(target), setting) {
            (Some((Some(proxy), reason)), _) => Decision::new(self.through(proxy, target), reason),
            (Some((None, reason)), _) => Decision::new(Route::Direct, reason),
            (None, Some(Set { name, proxy })) => {
                Decision::new(self.through_set(proxy, target), Reason::Proxy { setting: name })
            }
            (None, None) => Decision::new(Route::Direct, self.unset(scheme)),
        }
    }

    /// Returns the route to a target for requests of this purpose, and the reason for it. A [`PurposePolicy`] that maps
    /// the purpose to this use makes the same decision.
    ///
    /// ```
    /// # use tower_outbound_proxy::{ProxyConfig, purpose::ProxyUse};
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
    /// Returns an error if the request must go through a proxy and none is set for it.
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

    /// Returns the decision for a use of proxies, or `None` if a proxy must be used and none is set.
    fn decide_using(&self, usage: &ProxyUse, target: &Target<'_>) -> Option<Decision<'_>> {
        match usage {
            ProxyUse::Settings => Some(self.decide(target)),
            ProxyUse::Never => Some(Decision::new(Route::Direct, Reason::Never)),
            ProxyUse::Always => self.always(target),
            ProxyUse::Proxy(proxy) => Some(match self.exemption(target) {
                Some(reason) => Decision::new(Route::Direct, reason),
                None => Decision::new(self.through(proxy, target), Reason::OwnProxy),
            }),
        }
    }

    /// Returns the proxy that is set for a scheme.
    fn setting(&self, scheme: Scheme) -> Option<Set<'_>> {
        let setting = match scheme {
            Scheme::Http => self.http.as_ref(),
            Scheme::Https => self.https.as_ref(),
            Scheme::Ws if self.websocket_is_like_http() => self.http.as_ref(),
            Scheme::Wss if self.websocket_is_like_http() => self.https.as_ref(),
            Scheme::Ws | Scheme::Wss | Scheme::Other => match self.all.as_ref()? {
                Ok(setting) => Some(setting),
                Err(error) => {
                    return Some(Set {
                        name: error.setting(),
                        proxy: Err(error),
                    });
                }
            },
        };
        setting.map(|Setting { name, value }| Set { name, proxy: Ok(value) })
    }

    /// Returns the reason of a direct connection where no proxy is set for a scheme.
    fn unset(&self, scheme: Scheme) -> Reason<'_> {
        match scheme {
            Scheme::Http | Scheme::Https => Reason::Unset { scheme },
            Scheme::Ws | Scheme::Wss if self.websocket_is_like_http() => Reason::Unset { scheme },
            _ if self.dialect.rules().all_proxy != AllProxy::EveryScheme => Reason::Scheme,
            scheme => Reason::Unset { scheme },
        }
    }

    fn websocket_is_like_http(&self) -> bool {
        self.dialect.rules().websocket == WebSocket::LikeHttp
    }

    /// Returns the route to a target through the proxy that is set for its scheme.
    fn through_set(&self, proxy: Result<&ProxyServer, &UnusableProxyError>, target: &Target<'_>) -> Route {
        match proxy {
            Ok(proxy) => self.through(proxy, target),
            Err(error) => Route::Unusable(error.clone()),
        }
    }

    /// Returns the route to a target through a proxy.
    fn through(&self, proxy: &ProxyServer, target: &Target<'_>) -> Route {
        match target.scheme() {
            Scheme::Http if !self.always_tunnel => Route::Forward(proxy.clone()),
            _ => Route::Tunnel(proxy.clone()),
        }
    }

    /// Returns the route to a target that must be reached through a proxy, or `None` if none is set.
    fn always(&self, target: &Target<'_>) -> Option<Decision<'_>> {
        let setting = self.setting(target.scheme());
        if setting.is_none() && !self.has_rules() {
            return None;
        }
        let (proxy, setting) = match (self.rule(target), setting) {
            (Some((Some(proxy), Reason::ByDomain { .. })), _) => (Ok(proxy), &BY_DOMAIN),
            (Some((Some(proxy), _)), _) => (Ok(proxy), &PROXY_FOR),
            (_, Some(Set { name, proxy })) => (proxy, name),
            (_, None) => return None,
        };
        Some(Decision::new(
            self.through_set(proxy, target),
            Reason::Always { setting },
        ))
    }

    /// Returns the reason why a target is exempt from all proxies, or `None` if it is not.
    fn exemption(&self, target: &Target<'_>) -> Option<Reason<'_>> {
        let exemption = match &self.bypass {
            None => self.no_proxy.value.explain(target),
            Some(predicate) => predicate.0.explain(target),
        };
        match exemption {
            Some(Exemption::Entry(entry)) => Some(Reason::NoProxy {
                setting: match self.bypass {
                    None => &self.no_proxy.name,
                    Some(_) => &PREDICATE,
                },
                entry,
            }),
            Some(Exemption::Predicate) => Some(Reason::Predicate),
            None => (self.loopback_direct && is_loopback(target, self.dialect.rules())).then_some(Reason::Loopback),
        }
    }

    fn has_rules(&self) -> bool {
        #[cfg(feature = "serde")]
        if !self.by_domain.proxies().is_empty() {
            return true;
        }
        !self.rules.is_empty()
    }

    /// Returns the first rule that applies. The application's rules come before those of a settings file.
    fn rule(&self, target: &Target<'_>) -> Option<(Option<&ProxyServer>, Reason<'_>)> {
        let rule = self.rule_of_application(target);
        #[cfg(feature = "serde")]
        let rule = rule.or_else(|| {
            let Found { proxy, index, include } = self.by_domain.find(target)?;
            Some((Some(proxy), Reason::ByDomain { index, include }))
        });
        rule
    }

    fn rule_of_application(&self, target: &Target<'_>) -> Option<(Option<&ProxyServer>, Reason<'_>)> {
        self.rules.iter().zip(1..).find_map(|(rule, position)| {
            let entry = match rule.when.0.explain(target)? {
                Exemption::Entry(entry) => Some(entry),
                Exemption::Predicate => None,
            };
            Some((rule.proxy.as_ref(), Reason::Rule { position, entry }))
        })
    }
}
