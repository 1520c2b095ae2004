//! Two proxies and two origins, all of which record what they receive, and the credentials that each may receive.

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use tower_outbound_proxy::{
    ProxyConfig, ProxyLayer, ProxyServer, Route, TlsConfig, config::ProxyConfigBuilder, connector::ProxyVersion,
};
use tower_outbound_proxy_lab::{
    Ca, ForwardProxy, ForwardProxyBuilder, Http2Proxy, Http2ProxyBuilder, Listening, Origin, Request, within,
};

use super::secrets::Search;

/// The version of HTTP that proxies speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http1,
    /// HTTP/2 wherever the client speaks it to proxies.
    Http2,
}

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proxy {
    A,
    B,
}

/// Credentials for one proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub proxy: Proxy,
    pub is_new: bool,
}

impl Identity {
    const ALL: [Self; 4] = [
        Self {
            proxy: Proxy::A,
            is_new: false,
        },
        Self {
            proxy: Proxy::A,
            is_new: true,
        },
        Self {
            proxy: Proxy::B,
            is_new: false,
        },
        Self {
            proxy: Proxy::B,
            is_new: true,
        },
    ];

    pub fn user(self) -> String {
        let age = if self.is_new { "new" } else { "old" };
        format!("user-of-{:?}-{age}", self.proxy).to_lowercase()
    }

    /// Returns the password, which has characters that encodings change.
    pub fn password(self) -> String {
        format!("{}?s3cret/w@rd~>", self.user().to_uppercase())
    }

    fn userinfo(self) -> String {
        let encode = |text: &str| {
            text.replace('?', "%3F")
                .replace('/', "%2F")
                .replace('@', "%40")
                .replace('>', "%3E")
        };
        format!("{}:{}@", self.user(), encode(&self.password()))
    }

    fn basic(self) -> String {
        format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("{}:{}", self.user(), self.password()))
        )
    }
}

/// A scheme of authentication: a proxy that asks for it, and a client that answers.
pub struct Scheme {
    pub name: &'static str,
    pub over_http1: fn(ForwardProxyBuilder) -> ForwardProxyBuilder,
    pub over_http2: fn(Http2ProxyBuilder) -> Http2ProxyBuilder,
    pub layer: fn(ProxyLayer) -> ProxyLayer,
    /// Returns whose credentials a proxy has received.
    pub identify: fn(&Request) -> Option<Identity>,
}

/// A scheme is one line here. The secrets are the user name and the password, in whatever spelling, so that they need
/// no line of their own: a response of Digest has the user name in it.
pub const SCHEMES: &[Scheme] = &[Scheme {
    name: "Basic",
    over_http1: |proxy| proxy,
    over_http2: |proxy| proxy,
    layer: |layer| layer,
    identify: |request| {
        let sent = request.header("proxy-authorization")?;
        Identity::ALL.into_iter().find(|identity| identity.basic() == sent)
    },
}];

/// A way to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Direct,
    DirectTls,
    Forward(Proxy),
    Tunnel(Proxy),
}

impl Way {
    pub const ALL: [Self; 6] = [
        Self::Direct,
        Self::DirectTls,
        Self::Forward(Proxy::A),
        Self::Tunnel(Proxy::A),
        Self::Forward(Proxy::B),
        Self::Tunnel(Proxy::B),
    ];

    pub fn proxy(self) -> Option<Proxy> {
        match self {
            Self::Direct | Self::DirectTls => None,
            Self::Forward(proxy) | Self::Tunnel(proxy) => Some(proxy),
        }
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Self::DirectTls | Self::Tunnel(_))
    }

    /// Returns the host whose targets go this way by [`Lab::by_host`].
    fn host(self) -> &'static str {
        match self.proxy() {
            None => "d.test",
            Some(Proxy::A) => "a.test",
            Some(Proxy::B) => "b.test",
        }
    }
}

/// The parts that all cells share.
pub struct Trust {
    ca: Ca,
    origin: tower_outbound_proxy_lab::Identity,
    proxy: tower_outbound_proxy_lab::Identity,
}

impl Trust {
    pub fn new() -> Self {
        let ca = Ca::new();
        Self {
            origin: ca.issue(&["a.test", "b.test", "d.test", "x.test"]),
            proxy: ca.issue(&["proxy.test"]),
            ca,
        }
    }

    pub fn tls(&self) -> TlsConfig {
        let tls = TlsConfig::builder().add_root_pem(self.ca.pem()).only_added_roots();
        tls.build().unwrap()
    }
}

pub struct Lab {
    pub trust: TlsConfig,
    pub scheme: &'static Scheme,
    version: Version,
    pub plain: Origin,
    pub tls: Origin,
    proxies: [Started; 2],
}

enum Started {
    Http1(ForwardProxy),
    Http2(Http2Proxy),
}

impl Started {
    fn listening(&self) -> &Listening {
        match self {
            Self::Http1(proxy) => proxy,
            Self::Http2(proxy) => proxy,
        }
    }
}

impl Lab {
    pub async fn start(trust: &Trust, scheme: &'static Scheme, version: Version) -> Self {
        let start = async || match version {
            Version::Http1 => Started::Http1((scheme.over_http1)(ForwardProxy::builder()).start().await),
            Version::Http2 => {
                let tls = trust.proxy.server_config(&["h2", "http/1.1"]);
                let proxy = Http2Proxy::builder().host("proxy.test").tls(tls).with_http1();
                Started::Http2((scheme.over_http2)(proxy).start().await)
            }
        };
        Self {
            trust: trust.tls(),
            scheme,
            version,
            plain: Origin::builder().host("x.test").start().await,
            tls: Origin::builder()
                .host("x.test")
                .tls(trust.origin.server_config(&["http/1.1"]))
                .start()
                .await,
            proxies: [start().await, start().await],
        }
    }

    pub fn proxy(&self, proxy: Proxy) -> &Listening {
        self.proxies[proxy as usize].listening()
    }

    /// Returns a proxy with credentials for it.
    pub fn server(&self, proxy: Proxy, is_new: bool) -> ProxyServer {
        let listening = self.proxy(proxy);
        let userinfo = Identity { proxy, is_new }.userinfo();
        let url = format!("{}://{userinfo}{}", listening.scheme(), listening.authority());
        url.parse().unwrap()
    }

    pub fn route(&self, way: Way, is_new: bool) -> Route {
        match way {
            Way::Direct | Way::DirectTls => Route::Direct,
            Way::Forward(proxy) => Route::Forward(self.server(proxy, is_new)),
            Way::Tunnel(proxy) => Route::Tunnel(self.server(proxy, is_new)),
        }
    }

    /// Returns settings by which a target at this host goes this way.
    pub fn settings(&self, way: Way, is_new: bool) -> ProxyConfig {
        let builder = ProxyConfig::builder().proxy_tls(self.trust.clone());
        let builder = match way.proxy() {
            Some(proxy) => builder.all(self.server(proxy, is_new)),
            None => builder,
        };
        builder.build().unwrap()
    }

    /// Returns settings with a proxy for each host.
    pub fn by_host(&self) -> ProxyConfig {
        let add = |builder: ProxyConfigBuilder, proxy| {
            builder.proxy_for(Way::Forward(proxy).host(), self.server(proxy, false))
        };
        let builder = ProxyConfig::builder().proxy_tls(self.trust.clone());
        add(add(builder, Proxy::A), Proxy::B).build().unwrap()
    }

    pub fn layer(&self, config: ProxyConfig) -> ProxyLayer {
        let version = match self.version {
            Version::Http1 => ProxyVersion::Http1,
            Version::Http2 => ProxyVersion::Negotiated,
        };
        (self.scheme.layer)(ProxyLayer::new(config).with_proxy_version(version))
    }

    /// Returns the URL of a target that goes this way by [`by_host`](Self::by_host).
    pub fn url(&self, way: Way, path: &str) -> String {
        self.url_at(way.host(), way.is_tls(), path)
    }

    /// Returns the URL of a target that goes this way by settings for every target.
    pub fn common_url(&self, way: Way, path: &str) -> String {
        self.url_at("x.test", way.is_tls(), path)
    }

    fn url_at(&self, host: &str, is_tls: bool, path: &str) -> String {
        match is_tls {
            true => format!("https://{host}:{}{path}", self.tls.port()),
            false => format!("http://{host}:{}{path}", self.plain.port()),
        }
    }

    /// Waits until everything that was sent to the origins and proxies is recorded.
    pub async fn settled(&self) {
        let listeners = [&*self.plain, &*self.tls, self.proxy(Proxy::A), self.proxy(Proxy::B)];
        for listening in listeners {
            within(listening.idle()).await;
        }
    }

    /// Returns what is wrong with the records: a secret at somebody who must not have it, or a connection that carries
    /// the credentials of two.
    pub fn faults(&self, expected: &[Identity]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut seen = BTreeSet::new();
        let listeners = [
            (None, "the origin", &*self.plain),
            (None, "the origin with TLS", &*self.tls),
            (Some(Proxy::A), "A", self.proxy(Proxy::A)),
            (Some(Proxy::B), "B", self.proxy(Proxy::B)),
        ];
        for (proxy, name, listening) in listeners {
            let search = search(proxy);
            let requests = listening.requests();
            let raw = listening.raw().concat();
            let mut texts = vec![raw];
            for request in &requests {
                texts.push(request.target.clone().into_bytes());
                texts.push(request.body.to_vec());
                let fields = request.headers.iter();
                texts.extend(fields.map(|(name, value)| [name.as_str().as_bytes(), b": ", value.as_bytes()].concat()));
            }
            let found = texts.iter().filter_map(|text| search.find(text));
            faults.extend(found.map(|found| format!("{name} received {found}")));
            for connection in 0..listening.connections_opened() {
                let of_connection = requests.iter().filter(|request| request.connection == connection);
                let identities: BTreeSet<_> = of_connection.filter_map(self.scheme.identify).collect();
                if identities.len() > 1 {
                    faults.push(format!("{name}: one connection is shared by {identities:?}"));
                }
                seen.extend(identities);
            }
        }
        // Otherwise there was nothing to leak.
        faults.extend(
            expected
                .iter()
                .filter(|one| !seen.contains(one))
                .map(|one| format!("{one:?} was not sent")),
        );
        faults
    }
}

/// Returns a search for the secrets that a proxy, or an origin, must not receive.
fn search(receiver: Option<Proxy>) -> Search {
    let mut search = Search::default();
    for identity in Identity::ALL
        .into_iter()
        .filter(|identity| Some(identity.proxy) != receiver)
    {
        search.add(&format!("the user name of {identity:?}"), identity.user().as_bytes());
        search.add(&format!("the password of {identity:?}"), identity.password().as_bytes());
    }
    search.add("the caller's own", CALLERS.as_bytes());
    search
}

/// Returns a search for all passwords. (User names are shown.)
pub fn passwords() -> Search {
    let mut search = Search::default();
    for identity in Identity::ALL {
        search.add(&format!("the password of {identity:?}"), identity.password().as_bytes());
    }
    search.add("the caller's own", CALLERS.as_bytes());
    search
}

/// The password in the `Proxy-Authorization` that the caller itself sets. Every proxy here has credentials, which
/// replace it; it goes to nobody.
pub const CALLERS: &str = "the-caller's-own/s3cret?";
