//! What two requests have to have in common to share a connection.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::IpAddr,
    sync::Arc,
};

use http::{
    HeaderValue, Uri,
    uri::{self, Authority, PathAndQuery},
};

use crate::{
    error::TargetError,
    layer::Shared,
    route::Route,
    target::{Scheme, Target, with_authority},
    tls::TlsConfig,
};

/// The route, with proxy and credentials, TLS to the proxy, and what the connection ends at: the proxy, or the target.
///
/// TLS to targets is the client's, and the same for all of its connections.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) route: Route,
    /// `None` for a connection to a proxy that forwards to any origin.
    pub(super) origin: Option<Origin>,
    /// HTTP/2, which knows no `Upgrade`, must not be chosen in TLS.
    pub(super) http1_only: bool,
    /// The settings that the request was decided by. Two that give the same route and the same TLS make no difference.
    pub(super) settings: Arc<Shared>,
}

/// What makes keys equal.
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

/// Two are the same where scheme, host and port are; a host's case does not matter, nor whether the port is written.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) scheme: Scheme,
    /// The request's own, which costs no allocation.
    authority: Authority,
    pub(super) ip: Option<IpAddr>,
    pub(super) port: u16,
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
    pub(super) fn new(route: &Route, uri: &Uri, upgrade: bool, settings: &Arc<Shared>) -> Result<Self, TargetError> {
        let origin = match route {
            Route::Forward(_) => None,
            Route::Direct | Route::Tunnel(_) => Some(Origin::new(uri)?),
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

    /// TLS to the proxy, where there is one that speaks TLS.
    pub(super) fn proxy_tls(&self) -> Option<&TlsConfig> {
        self.route.proxy().filter(|proxy| proxy.is_tls())?;
        self.settings.config.tls()
    }

    /// What a connector is asked for: the target, or, for a proxy that forwards to any, the proxy.
    pub(super) fn uri(&self) -> Result<Uri, TargetError> {
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
        Uri::from_parts(parts).map_err(|_| TargetError::new("its host does not make a URI"))
    }
}

/// `scheme://host:port`
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, ip, port, .. } = self;
        match ip {
            Some(IpAddr::V6(ip)) => write!(f, "{}://[{ip}]:{port}", scheme.as_str()),
            _ => write!(f, "{}://{}:{port}", scheme.as_str(), self.host().to_ascii_lowercase()),
        }
    }
}

impl Origin {
    fn new(uri: &Uri) -> Result<Self, TargetError> {
        let target = Target::try_from(uri)?;
        let scheme = target.scheme();
        let port = target.port().filter(|_| scheme != Scheme::Other);
        Ok(Self {
            scheme,
            authority: uri.authority().cloned().ok_or(TargetError::new("it has no host"))?,
            ip: target.ip(),
            port: port.ok_or(TargetError::new("only http, https, ws and wss can be requested"))?,
        })
    }

    /// The host as it was written.
    pub(super) fn host(&self) -> &str {
        self.authority.host()
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Wss)
    }
}

/// The URI without user information, which a request must not carry (RFC 9110 4.2.4, RFC 9113 8.3.1).
pub(super) fn without_user_info(uri: &Uri) -> Result<Uri, TargetError> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    match authority.rsplit_once('@') {
        Some((_, host)) => with_authority(uri, host),
        None => Ok(uri.clone()),
    }
}

/// The value of `Host`: as in a URI without user information, and without the scheme's own port (RFC 9110 7.2).
pub(super) fn host_field(uri: &Uri) -> Result<HeaderValue, TargetError> {
    let target = Target::try_from(uri)?;
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let own = match target.port() {
        Some(80) if matches!(target.scheme(), Scheme::Http | Scheme::Ws) => ":80",
        Some(443) if matches!(target.scheme(), Scheme::Https | Scheme::Wss) => ":443",
        _ => "",
    };
    let host = host.strip_suffix(own).unwrap_or(host);
    HeaderValue::from_str(host).map_err(|_| TargetError::new("its host does not fit into a header field"))
}
