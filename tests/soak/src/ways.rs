//! The ways that requests take: a proxy, TLS to it or not, and the route behind it.

use bytes::Bytes;
use http_body_util::Full;
use tower::BoxError;
use tower_outbound_proxy::{Client, ProxyConfig, ProxyLayer, Route, TlsConfig, connector::ProxyVersion};

use crate::far::{Addresses, PASSWORD, USER};

pub(crate) type SoakClient = Client<Full<Bytes>>;

/// One row of the table.
pub(crate) struct Way {
    pub(crate) name: String,
    pub(crate) client: SoakClient,
    /// The origin's URL, without a path.
    pub(crate) origin: String,
}

/// A route: its name, its origin, and whether an `http` origin is reached through a tunnel as well.
const ROUTES: [(&str, &str, bool); 4] = [
    ("forward", "http", false),
    ("tunnel, plain", "http", true),
    ("tunnel, TLS, HTTP/1.1", "http1", false),
    ("tunnel, TLS, HTTP/2", "http2", false),
];
const PROXIES: [&str; 7] = [
    "squid",
    "squid-tls",
    "apache",
    "apache-tls",
    "tinyproxy",
    "apache-http2",
    "nghttpx-http2",
];

/// Returns all ways, each with a client of its own, which has that many connections for a key at most.
pub(crate) fn all(addresses: &Addresses, connections: usize) -> Result<Vec<Way>, BoxError> {
    let tls = TlsConfig::builder()
        .add_root_pem(addresses.root.as_str())
        .only_added_roots()
        .build()?;
    let mut ways = Vec::new();
    for proxy in PROXIES {
        let (name, scheme, version) = match proxy.split_once('-') {
            Some((name, "http2")) => (format!("{name}, HTTP/2 to it"), "https", ProxyVersion::Http2),
            Some((name, _)) => (format!("{name}, TLS to it"), "https", ProxyVersion::Http1),
            None => (proxy.to_owned(), "http", ProxyVersion::Http1),
        };
        let address = addresses.named.get(proxy).ok_or("a proxy is missing")?;
        let url = format!("{scheme}://{USER}:{PASSWORD}@{address}");
        for (route, origin, always_tunnel) in ROUTES {
            let config = ProxyConfig::builder()
                .all(url.as_str())
                .proxy_tls(tls.clone())
                .loopback_direct(false)
                .always_tunnel(always_tunnel);
            let layer = ProxyLayer::new(config.build()?).with_proxy_version(version);
            let client = Client::builder()
                .layer(layer)
                .target_tls(tls.clone())
                .max_connections_per_key(connections);
            let scheme = if origin == "http" { "http" } else { "https" };
            let address = addresses.named.get(origin).ok_or("an origin is missing")?;
            ways.push(Way {
                name: format!("{name}: {route}"),
                client: client.build()?,
                origin: format!("{scheme}://{address}"),
            });
        }
    }
    Ok(ways)
}

/// Returns true if nothing but idle connections is in the pool, and those that carry idle tunnels over HTTP/2.
pub(crate) fn is_idle(client: &SoakClient) -> bool {
    let stats = client.stats();
    let tunnels = stats.keys.iter().filter(|key| matches!(key.route, Route::Tunnel(_)));
    let has_tunnels = tunnels.map(|key| key.open).sum::<usize>() > 0;
    stats.keys.iter().all(|key| {
        let carries = has_tunnels && matches!(key.route, Route::Forward(_));
        key.connecting == 0 && key.waiting == 0 && (key.open == key.idle || carries)
    })
}
