//! The decision: for a target, one route, and the reason for it.
//!
//! Both are plain data. Deciding needs no runtime, does no I/O, and allocates nothing.

use std::fmt;

#[cfg(feature = "serde")]
use crate::config::Found;
use crate::{
    config::{ProxyConfig, ProxyServer, Setting},
    no_proxy::{Bypass, Entry, Exemption, is_loopback},
    target::{Scheme, Target},
};

/// How a target is reached.
///
/// [`Proxy`](crate::Proxy) puts it into the extensions of requests and responses, and `Debug` and `Display` show no
/// password, so it can be logged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// Straight to the target.
    Direct,
    /// The request goes to the proxy in absolute-form (RFC 9112 3.2.2), with the proxy's credentials on it.
    Forward(ProxyServer),
    /// Through a tunnel that the proxy opens with CONNECT (RFC 9110 9.3.6); its credentials are on the CONNECT only.
    Tunnel(ProxyServer),
}

impl Route {
    /// The same route, but never one that would show a proxy what TLS is to hide: only `http` is forwarded.
    pub(crate) fn safe_for(self, target: &Target<'_>) -> Self {
        match self {
            Self::Forward(proxy) if target.scheme() != Scheme::Http => Self::Tunnel(proxy),
            route => route,
        }
    }

    /// The proxy on the way, if there is one.
    #[must_use]
    pub fn proxy(&self) -> Option<&ProxyServer> {
        match self {
            Self::Direct => None,
            Self::Forward(proxy) | Self::Tunnel(proxy) => Some(proxy),
        }
    }
}

/// `direct`, `forward through http://user:***@proxy:3128`, `tunnel through …`
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Forward(proxy) => write!(f, "forward through {proxy}"),
            Self::Tunnel(proxy) => write!(f, "tunnel through {proxy}"),
        }
    }
}

/// A route and the reason for it.
///
/// ```
/// # use tower_outbound_proxy::ProxyConfig;
/// let config = ProxyConfig::from_vars([
///     ("HTTP_PROXY", "http://user:secret@proxy.example:3128"),
///     ("NO_PROXY", "10.0.0.0/8,internal.example"),
/// ])?;
/// let decision = config.decide(&"http://wiki.internal.example/".parse()?);
/// assert_eq!(decision.to_string(), "direct: entry 2 `internal.example` of NO_PROXY matches");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'c> {
    route: Route,
    reason: Reason<'c>,
    purpose: Option<String>,
}

impl<'c> Decision<'c> {
    pub(crate) fn new(route: Route, reason: Reason<'c>) -> Self {
        Self {
            route,
            reason,
            purpose: None,
        }
    }

    pub(crate) fn for_purpose(mut self, purpose: String) -> Self {
        self.purpose = Some(purpose);
        self
    }

    /// How the target is reached.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Why it is reached so.
    #[must_use]
    pub fn reason(&self) -> &Reason<'c> {
        &self.reason
    }

    /// What the request is for, where that was asked; see [`PurposePolicy`](crate::PurposePolicy).
    #[must_use]
    pub fn purpose(&self) -> Option<&str> {
        self.purpose.as_deref()
    }

    /// The route alone.
    #[must_use]
    pub fn into_route(self) -> Route {
        self.route
    }

    #[cfg(feature = "client")]
    pub(crate) fn into_route_and_purpose(self) -> (Route, Option<String>) {
        (self.route, self.purpose)
    }
}

/// `route: reason`, and before it the purpose, if there is one.
impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(purpose) = &self.purpose {
            write!(f, "purpose {purpose}: ")?;
        }
        write!(f, "{}: {}", self.route, self.reason)
    }
}

/// Why a target is reached as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason<'c> {
    /// This setting names a proxy for the target, and nothing exempts it.
    #[non_exhaustive]
    Proxy {
        /// The variable as it is spelled, the builder's method, or the settings file's key.
        setting: &'c str,
        /// Whether it is a key of a settings file.
        in_file: bool,
    },
    /// An entry of the `NO_PROXY` list matches.
    #[non_exhaustive]
    NoProxy {
        /// The variable as it is spelled, the builder's method, or the settings file's key.
        setting: &'c str,
        /// Whether it is a key of a settings file.
        in_file: bool,
        /// The first entry that matches.
        entry: Entry<'c>,
    },
    /// A predicate of the application's says so, without an entry to point at.
    Predicate,
    /// A rule of the application's names the proxy, or none.
    #[non_exhaustive]
    Rule {
        /// The rule's place, counted from 1.
        position: usize,
        /// The entry of the rule's list that matches, if it has a list.
        entry: Option<Entry<'c>>,
    },
    /// A proxy of a settings file's `by_domain` is for the target.
    #[non_exhaustive]
    ByDomain {
        /// Its place in the list, counted from 0, as in a file's key.
        index: usize,
        /// The pattern of its `include` that matches, with its place, counted from 0. `None` if it has no `include`.
        include: Option<(usize, &'c str)>,
    },
    /// The target is this machine: at the proxy, its name would mean the proxy's machine.
    Loopback,
    /// No proxy is set for the target's scheme.
    #[non_exhaustive]
    Unset {
        /// The target's scheme.
        scheme: Scheme,
    },
    /// The scheme is not one that proxies are for.
    Scheme,
    /// The application's policy says [`ProxyUse::Never`](crate::ProxyUse::Never) for the request's purpose.
    Never,
    /// The application's policy says [`ProxyUse::Always`](crate::ProxyUse::Always) for the request's purpose.
    #[non_exhaustive]
    Always {
        /// The setting that names the proxy: the variable as it is spelled, the builder's method, or the settings file's key.
        setting: &'c str,
        /// Whether it is a key of a settings file.
        in_file: bool,
    },
    /// The application's policy names a proxy for the request's purpose, and nothing exempts the target.
    OwnProxy,
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy { setting, in_file } => {
                let of_file = in_settings_file(*in_file);
                write!(f, "{setting}{of_file} is set, and nothing exempts the target")
            }
            Self::NoProxy {
                setting,
                in_file,
                entry,
            } => write!(f, "{entry} of {setting}{} matches", in_settings_file(*in_file)),
            Self::Predicate => f.write_str("a predicate of the application exempts the target"),
            Self::Rule { position, entry } => {
                write!(f, "rule {position} of the application applies")?;
                match entry {
                    Some(entry) => write!(f, " ({entry} matches)"),
                    None => Ok(()),
                }
            }
            Self::ByDomain { index, include } => {
                write!(f, "by_domain[{index}] applies ")?;
                match include {
                    Some((at, pattern)) => write!(f, "(include[{at}] `{pattern}` matches)"),
                    None => f.write_str("(it has no include, so it is for every target)"),
                }
            }
            Self::Loopback => {
                f.write_str("the target is this machine (built-in rule for localhost, 127.0.0.0/8 and ::1)")
            }
            Self::Unset { scheme } => write!(f, "no proxy is set for {} targets", scheme.as_str()),
            Self::Scheme => f.write_str("a proxy applies to http, https, ws and wss targets only"),
            Self::Never => f.write_str("the policy says never for this purpose"),
            Self::Always { setting, in_file } => {
                let of_file = in_settings_file(*in_file);
                write!(
                    f,
                    "the policy says always for this purpose, and {setting}{of_file} is set"
                )
            }
            Self::OwnProxy => f.write_str("the policy names a proxy for this purpose, and nothing exempts the target"),
        }
    }
}

fn in_settings_file(in_file: bool) -> &'static str {
    if in_file { " in the settings file" } else { "" }
}

impl ProxyConfig {
    /// How a target is reached.
    ///
    /// | target | route |
    /// |---|---|
    /// | no proxy for its scheme, or exempt | direct |
    /// | `http` | forward (tunnel with [`always_tunnel`](crate::ProxyConfigBuilder::always_tunnel)) |
    /// | `https`, `wss`, `ws` | tunnel |
    /// | any other scheme | direct |
    #[must_use]
    pub fn route(&self, target: &Target<'_>) -> Route {
        self.decide(target).route
    }

    /// How a target is reached, and why.
    #[must_use]
    pub fn decide(&self, target: &Target<'_>) -> Decision<'_> {
        let scheme = target.scheme();
        if scheme == Scheme::Other {
            return Decision::new(Route::Direct, Reason::Scheme);
        }
        let setting = self.setting(scheme);
        if setting.is_none() && !self.has_rules() {
            return Decision::new(Route::Direct, Reason::Unset { scheme });
        }
        if let Some(reason) = self.exemption(target) {
            return Decision::new(Route::Direct, reason);
        }
        let (proxy, reason) = match (self.rule(target), setting) {
            (Some((proxy, reason)), _) => (proxy, reason),
            (None, Some(setting)) => (Some(&setting.value), setting.reason()),
            (None, None) => (None, Reason::Unset { scheme }),
        };
        match proxy {
            None => Decision::new(Route::Direct, reason),
            Some(proxy) => Decision::new(self.through(proxy, target), reason),
        }
    }

    /// The proxy that is set for a scheme.
    fn setting(&self, scheme: Scheme) -> Option<&Setting<ProxyServer>> {
        match scheme {
            Scheme::Http | Scheme::Ws => self.http.as_ref(),
            Scheme::Https | Scheme::Wss => self.https.as_ref(),
            Scheme::Other => None,
        }
    }

    /// The route to a target through a proxy.
    pub(crate) fn through(&self, proxy: &ProxyServer, target: &Target<'_>) -> Route {
        match target.scheme() {
            Scheme::Other => Route::Direct,
            Scheme::Http if !self.always_tunnel => Route::Forward(proxy.clone()),
            _ => Route::Tunnel(proxy.clone()),
        }
    }

    /// The route to a target that must not be reached without a proxy. `None` if none is set.
    pub(crate) fn always(&self, target: &Target<'_>) -> Option<Decision<'_>> {
        let setting = self.setting(target.scheme());
        if target.scheme() == Scheme::Other || (setting.is_none() && !self.has_rules()) {
            return None;
        }
        let (proxy, setting, in_file) = match (self.rule(target), setting) {
            (Some((Some(proxy), Reason::ByDomain { .. })), _) => (proxy, "by_domain", true),
            (Some((Some(proxy), _)), _) => (proxy, "proxy_for", false),
            (_, Some(setting)) => (&setting.value, &*setting.name, setting.in_file),
            (_, None) => return None,
        };
        Some(Decision::new(
            self.through(proxy, target),
            Reason::Always { setting, in_file },
        ))
    }

    /// What makes a target a direct one, whatever proxies there are.
    pub(crate) fn exemption(&self, target: &Target<'_>) -> Option<Reason<'_>> {
        let exemption = match &self.bypass {
            None => self.no_proxy.value.explain(target),
            Some(predicate) => predicate.0.explain(target),
        };
        match exemption {
            Some(Exemption::Entry(entry)) => Some(Reason::NoProxy {
                setting: match self.bypass {
                    None => &self.no_proxy.name,
                    Some(_) => "the application's predicate",
                },
                in_file: self.bypass.is_none() && self.no_proxy.in_file,
                entry,
            }),
            Some(Exemption::Predicate) => Some(Reason::Predicate),
            None => (self.loopback_direct && is_loopback(target, self.dialect)).then_some(Reason::Loopback),
        }
    }

    fn has_rules(&self) -> bool {
        #[cfg(feature = "serde")]
        if !self.by_domain.proxies().is_empty() {
            return true;
        }
        !self.rules.is_empty()
    }

    /// The first rule that applies; after the application's own those of a settings file.
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

impl Setting<ProxyServer> {
    fn reason(&self) -> Reason<'_> {
        Reason::Proxy {
            setting: &self.name,
            in_file: self.in_file,
        }
    }
}
