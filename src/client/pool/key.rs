//! [`Key`]: the properties that two requests must share to use one connection.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use http::{
    Uri,
    uri::{self, Authority, PathAndQuery},
};

use super::waiters::Share;
use crate::{
    client::server_name::TlsServerName,
    host::{Host, HostPort},
    layer::Shared,
    route::Route,
    scheme::Scheme,
    target::{Target, TargetError},
    tls::TlsConfig,
    trace::Peer,
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
    /// The name for TLS, if it is another than the origin's host.
    pub(in crate::client) server_name: Option<TlsServerName>,
    /// For whom a credentials provider answers.
    pub(in crate::client) identity: u64,
    /// The settings that decided the route. Keys with different settings are equal if the route and TLS are the same.
    pub(in crate::client) settings: Arc<Shared>,
    /// The hash of the parts that are compared. A request looks its key up several times, and the hash of a proxy's address takes time.
    hash: u64,
}

/// The properties of a request and of its client that decide the version of HTTP.
#[derive(Clone, Copy)]
pub(in crate::client) struct Protocol {
    pub(in crate::client) is_upgrade: bool,
    pub(in crate::client) is_http2_only: bool,
}

/// Hashes with keys of this process, so that no stranger can choose names whose hashes are equal.
static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The parts of a key that are compared.
type Parts<'k> = (
    &'k Route,
    Option<&'k Origin>,
    bool,
    Option<&'k TlsServerName>,
    u64,
    Option<&'k TlsConfig>,
);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.parts() == other.parts()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
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
        let host = self.host();
        match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => host.to_ascii_lowercase().hash(state),
            false => host.hash(state),
        }
    }
}

impl Key {
    pub(in crate::client) fn new(
        route: &Route,
        uri: &Uri,
        protocol: Protocol,
        server_name: Option<&TlsServerName>,
        identity: u64,
        settings: &Arc<Shared>,
    ) -> Result<Self, TargetError> {
        let origin = match route {
            Route::Forward(_) => None,
            Route::Direct | Route::Tunnel(_) | Route::Unusable(_) => Some(Origin::new(uri)?),
        };
        let mut key = Self {
            route: route.clone(),
            http1_only: protocol.is_upgrade && (protocol.is_http2_only || origin.as_ref().is_some_and(Origin::is_tls)),
            server_name: server_name
                .filter(|_| origin.as_ref().is_some_and(Origin::is_tls))
                .cloned(),
            origin,
            identity,
            settings: settings.clone(),
            hash: 0,
        };
        key.hash = HASHES.hash_one(key.parts());
        Ok(key)
    }

    /// Returns the share of a request with this key. Two origins with the same one, which is unlikely, are treated as
    /// one.
    pub(super) fn share(&self, uri: &Uri) -> Share {
        match self.route {
            Route::Forward(_) => HASHES.hash_one((uri.scheme(), uri.authority())).max(1),
            Route::Direct | Route::Tunnel(_) | Route::Unusable(_) => 0,
        }
    }

    fn parts(&self) -> Parts<'_> {
        let (origin, server_name) = (self.origin.as_ref(), self.server_name.as_ref());
        (
            &self.route,
            origin,
            self.http1_only,
            server_name,
            self.identity,
            self.proxy_tls(),
        )
    }

    /// Returns the TLS settings for the proxy, if it speaks TLS.
    pub(super) fn proxy_tls(&self) -> Option<&TlsConfig> {
        self.route.proxy().filter(|proxy| proxy.is_tls())?;
        self.settings.config.tls()
    }

    /// Returns the target, and the proxy on the way to it.
    pub(in crate::client) fn peer_name(&self) -> String {
        match (&self.origin, self.route.proxy()) {
            (Some(origin), Some(proxy)) => format!("{origin}, through {proxy}"),
            (Some(origin), None) => origin.to_string(),
            (None, Some(proxy)) => proxy.to_string(),
            (None, None) => String::new(),
        }
    }

    /// Returns the attributes of figures about connections with this key.
    pub(super) fn peer(&self) -> Peer {
        let uri = self.origin.as_ref().and_then(|_| self.uri().ok());
        self.route.peer(
            uri.and_then(|uri| Target::try_from(&uri).ok().map(Target::into_owned))
                .as_ref(),
        )
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
        write!(f, "{}://{}", self.scheme.as_str(), self.host_port())
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
            port: port.ok_or(TargetError::new(
                "only http, https, ws and wss can be requested (`Proxy::tunnel` connects for other protocols)",
            ))?,
        })
    }

    /// Returns the host as it was written.
    fn host(&self) -> &str {
        self.authority.host()
    }

    /// Returns the host in lower case, and the port.
    pub(in crate::client) fn host_port(&self) -> HostPort<'_> {
        let host = match self.ip {
            Some(ip @ IpAddr::V6(_)) => Host::Ip(ip),
            _ => Host::Name(self.host().to_ascii_lowercase().into()),
        };
        HostPort(host, Some(self.port))
    }

    /// Returns the host that the target's certificate must name.
    pub(in crate::client) fn tls_host(&self) -> Host<'_> {
        match self.ip {
            Some(ip) => Host::Ip(ip),
            None => Host::Name(self.host().into()),
        }
    }

    pub(in crate::client) fn is_tls(&self) -> bool {
        self.scheme.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str) -> Origin {
        Origin::new(&uri.parse().unwrap()).unwrap()
    }

    /// Hashes may be equal, therefore the rest decides.
    #[test]
    fn origins_are_compared() {
        let one = origin("http://a.test/");
        for other in ["http://A.test/x", "http://a.test:80/"] {
            assert!(one == origin(other), "{other}");
        }
        for other in [
            "http://b.test/",
            "http://a.test:81/",
            "https://a.test/",
            "https://a.test:80/",
        ] {
            assert!(one != origin(other), "{other}");
        }
    }

    #[test]
    fn origins_are_written_with_their_ports() {
        for (uri, written) in [
            ("http://A.test/", "http://a.test:80"),
            ("https://127.0.0.1/", "https://127.0.0.1:443"),
            ("ws://[0:0::1]:8080/", "ws://[::1]:8080"),
        ] {
            assert_eq!(origin(uri).to_string(), written);
        }
    }
}
