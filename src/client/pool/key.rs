//! [`Key`]: the properties that two requests must share to use one connection.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::IpAddr,
    sync::Arc,
};

use http::{
    Uri,
    uri::{self, Authority, PathAndQuery},
};

use crate::{
    host::{Host, HostPort},
    layer::Shared,
    route::Route,
    target::{Scheme, Target, TargetError},
    tls::TlsConfig,
};

/// The key of a connection: the route (with proxy and credentials), TLS to the proxy, and the peer, which is the proxy
/// or the target.
///
/// TLS to targets is the same for all connections of a client.
#[derive(Clone)]
pub(in crate::client) struct Key {
    pub(in crate::client) route: Route,
    /// `None` for a connection to a proxy that forwards to any origin.
    pub(in crate::client) origin: Option<Origin>,
    /// True if TLS must not choose HTTP/2, which has no `Upgrade`.
    pub(in crate::client) http1_only: bool,
    /// The settings that decided the route. Keys with different settings are equal if the route and TLS are the same.
    pub(in crate::client) settings: Arc<Shared>,
}

/// The parts of a key that are compared.
type Identity<'k> = (&'k Route, Option<&'k Origin>, bool, Option<&'k TlsConfig>);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("route", &self.route)
            .field("origin", &self.origin)
            .field("http1_only", &self.http1_only)
            .finish_non_exhaustive()
    }
}

/// The scheme, host and port of a target. Comparison ignores the case of the host, and treats a default port like no
/// port.
#[derive(Clone, Debug)]
pub(in crate::client) struct Origin {
    scheme: Scheme,
    /// The request's own authority, whose clone costs no allocation.
    authority: Authority,
    ip: Option<IpAddr>,
    port: u16,
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        (self.scheme, self.port) == (other.scheme, other.port) && self.host().eq_ignore_ascii_case(other.host())
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.scheme, self.port).hash(state);
        for byte in self.host().bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl Key {
    pub(in crate::client) fn new(
        route: &Route,
        uri: &Uri,
        upgrade: bool,
        settings: &Arc<Shared>,
    ) -> Result<Self, TargetError> {
        let origin = match route {
            Route::Forward(_) => None,
            Route::Direct | Route::Tunnel(_) | Route::Unusable(_) => Some(Origin::new(uri)?),
        };
        Ok(Self {
            route: route.clone(),
            http1_only: upgrade && origin.as_ref().is_some_and(Origin::is_tls),
            origin,
            settings: settings.clone(),
        })
    }

    fn identity(&self) -> Identity<'_> {
        (&self.route, self.origin.as_ref(), self.http1_only, self.proxy_tls())
    }

    /// Returns the TLS settings for the proxy, if it speaks TLS.
    pub(super) fn proxy_tls(&self) -> Option<&TlsConfig> {
        self.route.proxy().filter(|proxy| proxy.is_tls())?;
        self.settings.config.tls()
    }

    /// Returns the URI for the connector: the target's, or the proxy's if the proxy forwards to any origin.
    pub(in crate::client) fn uri(&self) -> Result<Uri, TargetError> {
        let mut parts = uri::Parts::default();
        match (&self.origin, self.route.proxy()) {
            (Some(origin), _) => {
                parts.scheme = uri::Scheme::try_from(origin.scheme.as_str()).ok();
                parts.authority = Some(origin.authority.clone());
            }
            (None, Some(proxy)) => return Ok(proxy.dial_uri().clone()),
            (None, None) => {}
        }
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        Uri::from_parts(parts).map_err(|_| TargetError::HOST_NOT_IN_URI)
    }
}

/// `scheme://host:port`
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.ip {
            Some(ip @ IpAddr::V6(_)) => Host::Ip(ip),
            _ => Host::Name(self.host().to_ascii_lowercase().into()),
        };
        write!(f, "{}://{}", self.scheme.as_str(), HostPort(host, Some(self.port)))
    }
}

impl Origin {
    fn new(uri: &Uri) -> Result<Self, TargetError> {
        let target = Target::try_from(uri)?;
        let scheme = target.scheme();
        let port = target.port().filter(|_| scheme != Scheme::Other);
        Ok(Self {
            scheme,
            authority: uri.authority().cloned().ok_or(TargetError::NO_HOST)?,
            ip: target.ip(),
            port: port.ok_or(TargetError::new("only http, https, ws and wss can be requested"))?,
        })
    }

    /// Returns the host as it was written.
    fn host(&self) -> &str {
        self.authority.host()
    }

    /// Returns the host that the target's certificate must name.
    pub(in crate::client) fn tls_host(&self) -> Host<'_> {
        match self.ip {
            Some(ip) => Host::Ip(ip),
            None => Host::Name(self.host().into()),
        }
    }

    pub(in crate::client) fn is_tls(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Wss)
    }
}
