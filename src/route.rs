//! The decision: for a target, one route, and the reason for it.
//!
//! Both are plain data. Deciding needs no runtime, does no I/O, and allocates nothing.

use std::fmt;

use crate::{
    config::{ProxyConfig, ProxyServer},
    no_proxy::{Entry, is_loopback},
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
}

impl<'c> Decision<'c> {
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

    /// The route alone.
    #[must_use]
    pub fn into_route(self) -> Route {
        self.route
    }
}

/// `route: reason`
impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        /// The variable as it is spelled, or the builder's method.
        setting: &'c str,
    },
    /// An entry of the `NO_PROXY` list matches.
    #[non_exhaustive]
    NoProxy {
        /// The variable as it is spelled, or the builder's method.
        setting: &'c str,
        /// The first entry that matches.
        entry: Entry<'c>,
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
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy { setting } => write!(f, "{setting} is set, and nothing exempts the target"),
            Self::NoProxy { setting, entry } => write!(f, "{entry} of {setting} matches"),
            Self::Loopback => {
                f.write_str("the target is this machine (built-in rule for localhost, 127.0.0.0/8 and ::1)")
            }
            Self::Unset { scheme } => write!(f, "no proxy is set for {} targets", scheme.as_str()),
            Self::Scheme => f.write_str("a proxy applies to http, https, ws and wss targets only"),
        }
    }
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
        let setting = match scheme {
            Scheme::Http | Scheme::Ws => &self.http,
            Scheme::Https | Scheme::Wss => &self.https,
            Scheme::Other => return direct(Reason::Scheme),
        };
        let Some(setting) = setting else {
            return direct(Reason::Unset { scheme });
        };
        if let Some(entry) = self.no_proxy.value.find(target) {
            return direct(Reason::NoProxy {
                setting: &self.no_proxy.name,
                entry,
            });
        }
        if self.loopback_direct && is_loopback(target, self.dialect) {
            return direct(Reason::Loopback);
        }
        let proxy = setting.value.clone();
        Decision {
            route: match scheme {
                Scheme::Http if !self.always_tunnel => Route::Forward(proxy),
                _ => Route::Tunnel(proxy),
            },
            reason: Reason::Proxy { setting: &setting.name },
        }
    }
}

fn direct(reason: Reason<'_>) -> Decision<'_> {
    Decision {
        route: Route::Direct,
        reason,
    }
}
