//! Routes and the reasons for them, as plain data.
//!
//! [`ProxyConfig::decide`](crate::ProxyConfig::decide) returns a [`Decision`]: the [`Route`] to a target, and the
//! [`Reason`] for it. Deciding needs no runtime, does no I/O, and does not allocate.
//!
//! # Decisions that take time
//!
//! A [`Destination`] in a request's extensions, a target with the route to it, takes precedence over the settings, in
//! [`Proxy`](crate::Proxy) around an HTTP service and in `Client`. A decision that must ask elsewhere (DNS, a policy
//! server) is therefore an ordinary tower layer around them: tower's `AsyncFilterLayer` with a closure that inserts the
//! destination.
//!
//! ```
//! # use http::Request;
//! # use tower::{BoxError, ServiceBuilder, ServiceExt, filter::AsyncFilterLayer, service_fn};
//! # use tower_outbound_proxy::{ProxyConfig, ProxyLayer, Target, route::Destination};
//! # async fn build() -> Result<(), BoxError> {
//! # let client = service_fn(async |request: Request<()>| Ok::<_, BoxError>(http::Response::new(())));
//! let config = ProxyConfig::from_env()?;
//! let settings = config.clone();
//! let decide = move |mut request: Request<()>| {
//!     let settings = settings.clone();
//!     async move {
//!         // … ask a policy server …
//!         let uri = request.uri().clone();
//!         let route = settings.route(&Target::try_from(&uri)?);
//!         request.extensions_mut().insert(Destination { uri, route });
//!         Ok::<_, BoxError>(request)
//!     }
//! };
//! let service = ServiceBuilder::new()
//!     .layer(AsyncFilterLayer::new(decide))
//!     .layer(ProxyLayer::new(config))
//!     .service(client);
//! # let _ = service.oneshot(Request::get("http://x.test").body(())?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The client inside must keep connections of different routes apart. hyper-util's pooled client does not. It keys its
//! pool by origin and passes only a URI to its connector, so a route chosen for one request never reaches the
//! connector. Use `Client`, or a client that connects with a [`Destination`], as in the example `decide`.
//!
//! Put such a layer *inside* a redirect layer, so that each hop is decided anew. Outside, the redirect layer may keep
//! the extensions, and with them the first target's destination. A request to another scheme, host or port than its
//! destination's is an error, and is not sent.
//!
//! A [`Route`] alone in a request's extensions decides nothing. The layer puts it there for the service inside.

use std::fmt;

use http::Uri;

use crate::{
    config::{ProxyServer, SettingName},
    error::UnusableProxyError,
    no_proxy::Entry,
    scheme::Scheme,
};
#[cfg(feature = "client")]
use crate::{target::Target, trace::Peer};

/// The route to a target.
///
/// [`Proxy`](crate::Proxy) puts it into the extensions of requests and responses. `Debug` and `Display` show no
/// password, so a route can be logged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// The request goes directly to the target.
    Direct,
    /// The request goes to the proxy in absolute-form (RFC 9112 3.2.2), with the proxy's credentials.
    Forward(ProxyServer),
    /// The request goes through a tunnel that the proxy opens on CONNECT (RFC 9110 9.3.6). Only the CONNECT carries the
    /// credentials.
    Tunnel(ProxyServer),
    /// No connection is made, because the setting that should name the target's proxy cannot be used. Only
    /// `ALL_PROXY` has this effect, for targets of other schemes than `http`, `https`, `ws` and `wss`, and only if it
    /// applies to no others: a wrong setting is otherwise an error when it is read.
    Unusable(UnusableProxyError),
}

#[cfg(feature = "client")]
impl Route {
    /// Returns the attributes of figures about this route. A connection that serves any target has none of its own.
    pub(crate) fn peer(&self, target: Option<&Target<'_>>) -> Peer {
        let proxy = self.proxy().map(|proxy| (proxy.host(), proxy.port()));
        let host = |target: &Target<'_>| match target.name() {
            Some(name) => name.to_owned(),
            None => target.ip().map(|ip| ip.to_string()).unwrap_or_default(),
        };
        Peer {
            scheme: target.map(|target| target.scheme().as_str()),
            host: match (target, &proxy) {
                (Some(target), _) => host(target),
                (None, Some((proxy, _))) => proxy.clone(),
                (None, None) => String::new(),
            },
            port: target.map_or_else(|| proxy.as_ref().map(|(_, port)| *port), |target| target.port()),
            proxy,
            route: match self {
                Self::Direct => "direct",
                Self::Forward(_) => "forward",
                Self::Tunnel(_) => "tunnel",
                Self::Unusable(_) => "unusable",
            },
        }
    }
}

impl Route {
    /// Returns the route's proxy, if there is one. [`Direct`](Self::Direct) and [`Unusable`](Self::Unusable) have none.
    #[must_use]
    pub fn proxy(&self) -> Option<&ProxyServer> {
        match self {
            Self::Direct | Self::Unusable(_) => None,
            Self::Forward(proxy) | Self::Tunnel(proxy) => Some(proxy),
        }
    }
}

/// Writes `direct`, `forward through http://user:***@proxy:3128`, `tunnel through …`, or `none: ` and the reason.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Forward(proxy) => write!(f, "forward through {proxy}"),
            Self::Tunnel(proxy) => write!(f, "tunnel through {proxy}"),
            Self::Unusable(error) => write!(f, "none: {error}"),
        }
    }
}

/// A target and the route to it.
///
/// It is for clients and layers that choose a route per request (see the [module's page](self)). In a request's
/// extensions, it takes precedence over the settings. A [connector](crate::connector) takes it in place of a `Uri`, and
/// then uses this route instead of deciding by its settings. A client that does so has to keep the connections of
/// different routes apart.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The target: scheme and authority. The rest of the URI does not matter.
    pub uri: Uri,
    /// The route to it.
    pub route: Route,
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

    /// Returns the route.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Returns the reason for the route.
    #[must_use]
    pub fn reason(&self) -> &Reason<'c> {
        &self.reason
    }

    /// Returns the request's purpose, if a [`PurposePolicy`](crate::PurposePolicy) decided by it.
    #[must_use]
    pub fn purpose(&self) -> Option<&str> {
        self.purpose.as_deref()
    }

    /// Returns the route alone.
    #[must_use]
    pub fn into_route(self) -> Route {
        self.route
    }

    pub(crate) fn into_parts(self) -> (Route, Option<String>) {
        (self.route, self.purpose)
    }
}

/// Writes `route: reason`, after the purpose if there is one.
impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(purpose) = &self.purpose {
            write!(f, "purpose {purpose}: ")?;
        }
        write!(f, "{}: {}", self.route, self.reason)
    }
}

/// The reason for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason<'c> {
    /// A setting names a proxy for the target, and nothing exempts it.
    #[non_exhaustive]
    Proxy {
        /// The setting that names the proxy.
        setting: &'c SettingName,
    },
    /// An entry of the `NO_PROXY` list matches.
    #[non_exhaustive]
    NoProxy {
        /// The setting that holds the list.
        setting: &'c SettingName,
        /// The first entry that matches.
        entry: Entry<'c>,
    },
    /// A predicate of the application exempts the target. It names no entry.
    Predicate,
    /// A rule of the application applies. It names a proxy or a direct connection.
    #[non_exhaustive]
    Rule {
        /// The rule's position, counted from 1.
        position: usize,
        /// The entry of the rule's list that matches, if it has a list.
        entry: Option<Entry<'c>>,
    },
    /// A proxy in a settings file's `by_domain` applies to the target.
    #[non_exhaustive]
    ByDomain {
        /// The proxy's index in the list, counted from 0 as in the file's key.
        index: usize,
        /// The pattern of its `include` that matches, after its index, counted from 0. `None` if it has no `include`.
        include: Option<(usize, &'c str)>,
    },
    /// The target is this machine. At the proxy, its name would mean the proxy's machine.
    Loopback,
    /// No proxy is set for the target's scheme.
    #[non_exhaustive]
    Unset {
        /// The target's scheme.
        scheme: Scheme,
    },
    /// The dialect has no proxy for schemes other than `http`, `https`, `ws` and `wss`, and code sets none.
    Scheme,
    /// The application's policy is [`ProxyUse::Never`](crate::purpose::ProxyUse::Never) for the request's purpose.
    Never,
    /// The application's policy is [`ProxyUse::Always`](crate::purpose::ProxyUse::Always) for the request's purpose.
    #[non_exhaustive]
    Always {
        /// The setting that names the proxy.
        setting: &'c SettingName,
    },
    /// The application's policy names a proxy for the request's purpose, and nothing exempts the target.
    OwnProxy,
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy { setting } => write!(f, "{setting} is set, and nothing exempts the target"),
            Self::NoProxy { setting, entry } => write!(f, "{entry} of {setting} matches"),
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
            Self::Unset { scheme: Scheme::Other } => {
                f.write_str("no proxy is set for schemes other than http, https, ws and wss (ALL_PROXY sets one)")
            }
            Self::Unset { scheme } => write!(f, "no proxy is set for {} targets", scheme.as_str()),
            Self::Scheme => f.write_str("in this dialect a proxy applies to http, https, ws and wss targets only"),
            Self::Never => f.write_str("the policy says never for this purpose"),
            Self::Always { setting } => write!(f, "the policy says always for this purpose, and {setting} is set"),
            Self::OwnProxy => f.write_str("the policy names a proxy for this purpose, and nothing exempts the target"),
        }
    }
}
