//! The servers behind and beside the proxies, in the demonstration and in tests: a target for each kind of connection.

use std::io;

use tower_outbound_proxy::error::BoxError;
use tower_outbound_proxy_lab::{Ca, ForwardProxy, ForwardProxyBuilder, Host, Identity, Listening, Network, Origin};

use crate::{app::connections::Connection, redis::Redis};

/// The examples of Palpo's "Using Forward/Outbound Proxies", to the letter.
pub const EXAMPLES: [(&str, &str); 3] = [
    ("HTTP_PROXY", "http://USERNAME:PASSWORD@10.0.1.1:8080/"),
    ("HTTPS_PROXY", "http://USERNAME:PASSWORD@proxy.example.com:8080/"),
    ("NO_PROXY", "master.hostname.example.com,10.1.0.0/16,172.30.0.0/16"),
];
const USER: &str = "USERNAME";
const PASSWORD: &str = "PASSWORD";

/// A server's scheme, name, address and port.
type At = (&'static str, &'static str, [u8; 4], u16);

/// Servers that speak HTTP. Those at 93.184.0.0/16 are external, the others internal.
const HOSTS: [At; 20] = [
    ("https", "push.example.org", [93, 184, 0, 1], 443),
    ("http", "www.example.org", [93, 184, 0, 2], 80),
    ("https", "statistics.example.org", [93, 184, 0, 3], 443),
    ("https", "recaptcha.example.org", [93, 184, 0, 4], 443),
    ("http", "cas.example.org", [93, 184, 0, 5], 8080),
    ("https", "openid.example.org", [93, 184, 0, 6], 443),
    ("https", "federation.example.org", [93, 184, 0, 7], 8448),
    ("https", "revocation.example.org", [93, 184, 0, 8], 8448),
    ("https", "keys.example.org", [93, 184, 0, 9], 8448),
    ("https", "media.example.org", [93, 184, 0, 10], 8448),
    ("http", "bridge.internal.example.com", [10, 2, 0, 1], 9000),
    ("https", "identity.example.org", [93, 184, 0, 11], 443),
    ("http", "worker.internal.example.com", [10, 2, 0, 2], 8083),
    // Listed in the examples' NO_PROXY.
    ("https", "master.hostname.example.com", [93, 184, 0, 12], 443),
    ("http", "10.1.0.5", [10, 1, 0, 5], 80),
    ("http", "172.30.0.5", [172, 30, 0, 5], 80),
    // Not listed.
    ("https", "hidden.onion", [93, 184, 0, 13], 443),
    ("http", "printer.internal.example.com", [10, 2, 0, 8], 80),
    ("http", "10.2.0.9", [10, 2, 0, 9], 80),
    ("https", "www.example.com", [93, 184, 0, 14], 443),
];

/// Servers, and their network.
pub struct Site {
    /// Stands for the public certificate authorities.
    pub public: Ca,
    hosts: Vec<(At, Origin)>,
    pub redis: Redis,
    pub proxies: Proxies,
    pub network: Network,
}

/// The proxies. All require the user and the password of the examples.
pub struct Proxies {
    /// Issues the certificate of `tls`.
    pub ca: Ca,
    /// `10.0.1.1:8080`.
    pub http: ForwardProxy,
    /// `proxy.example.com:8080`.
    pub https: ForwardProxy,
    /// `tls.example.com:1080`, over TLS.
    pub tls: ForwardProxy,
    /// `plain.example.com:1080`.
    pub plain: ForwardProxy,
}

impl Site {
    pub async fn start() -> io::Result<Self> {
        let public = Ca::new();
        let names: Vec<_> = HOSTS.iter().map(|(_, name, ..)| *name).collect();
        let certificate = public.issue(&names);
        let mut hosts = Vec::new();
        for at in HOSTS {
            hosts.push((at, origin(at, &certificate).await));
        }
        let redis = Redis::start().await?;
        let ca = Ca::new();
        let certificate = ca.issue(&["tls.example.com"]);
        let proxies = Proxies {
            http: proxy(&hosts).start().await,
            https: proxy(&hosts).start().await,
            tls: proxy(&hosts)
                .tls(certificate.server_config(&["http/1.1"]))
                .start()
                .await,
            plain: proxy(&hosts).start().await,
            ca,
        };
        let known: [Host<'_>; 5] = [
            ("redis.internal.example.com", ([10, 2, 0, 3], 6379), redis.addr()),
            ("10.0.1.1", ([10, 0, 1, 1], 8080), proxies.http.addr()),
            ("proxy.example.com", ([10, 0, 1, 2], 8080), proxies.https.addr()),
            ("tls.example.com", ([10, 0, 1, 3], 1080), proxies.tls.addr()),
            ("plain.example.com", ([10, 0, 1, 4], 1080), proxies.plain.addr()),
        ];
        let of_hosts = hosts.iter().map(|((_, name, ip, port), server)| {
            let host: Host<'_> = (name, (*ip, *port), server.addr());
            host
        });
        let network = Network::new(of_hosts.chain(known));
        Ok(Self {
            public,
            hosts,
            redis,
            proxies,
            network,
        })
    }

    /// Returns the URL of the target for this kind of connection.
    pub fn url(&self, connection: Connection) -> String {
        let index = Connection::ALL.iter().position(|other| *other == connection);
        match index.and_then(|index| HOSTS.get(index)) {
            None | Some(_) if connection == Connection::Redis => "redis://redis.internal.example.com/".to_owned(),
            Some((scheme, name, _, 80 | 443)) => format!("{scheme}://{name}/"),
            Some((scheme, name, _, port)) => format!("{scheme}://{name}:{port}/"),
            None => String::new(),
        }
    }

    /// Returns the server of this host.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn host(&self, name: &str) -> Result<&Origin, BoxError> {
        let found = self.hosts.iter().find(|((_, other, ..), _)| *other == name);
        let (_, origin) = found.ok_or_else(|| format!("no host {name}"))?;
        Ok(origin)
    }

    /// Returns the peer that reaches a host during a call (`direct`, a proxy's name, or `nobody`) and the result of the
    /// call.
    ///
    /// # Errors
    ///
    /// There is no such host.
    pub async fn by_whom<T>(&self, host: &str, call: impl Future<Output = T>) -> Result<(String, T), BoxError> {
        let before = self.proxies.all().map(|(_, proxy)| proxy.requests().len());
        let asked_before = self.asked(host)?;
        let outcome = call.await;
        let now = self.proxies.all().into_iter().zip(before);
        let used: Vec<_> = now
            .filter(|((_, proxy), before)| proxy.requests().len() > *before)
            .map(|((name, _), _)| name)
            .collect();
        let was_reached = self.asked(host)? > asked_before;
        let by_whom = match (&used[..], was_reached) {
            ([], true) => "direct".to_owned(),
            ([], false) => "nobody".to_owned(),
            (used, true) => used.join(", "),
            (used, false) => format!("{}, not the target", used.join(", ")),
        };
        Ok((by_whom, outcome))
    }

    /// Returns the number of requests to a host.
    fn asked(&self, name: &str) -> Result<usize, BoxError> {
        match name {
            "redis.internal.example.com" => Ok(self.redis.commands().len()),
            name => Ok(self.host(name)?.requests().len()),
        }
    }

    /// Returns the bytes that reached the hosts.
    pub fn received(&self) -> String {
        let raw = self.hosts.iter().flat_map(|(_, origin)| origin.raw());
        String::from_utf8_lossy(&raw.flatten().collect::<Vec<_>>()).into_owned()
    }
}

impl Proxies {
    pub fn all(&self) -> [(&'static str, &Listening); 4] {
        [
            ("10.0.1.1", &self.http),
            ("proxy.example.com", &self.https),
            ("tls.example.com", &self.tls),
            ("plain.example.com", &self.plain),
        ]
    }
}

async fn origin((scheme, ..): At, certificate: &Identity) -> Origin {
    match scheme {
        "https" => {
            let tls = certificate.server_config(&["http/1.1"]);
            Origin::builder().tls(tls).start().await
        }
        _ => Origin::http().await,
    }
}

/// Returns a proxy that knows all hosts, including those that clients may not reach.
fn proxy(hosts: &[(At, Origin)]) -> ForwardProxyBuilder {
    hosts.iter().fold(
        ForwardProxy::builder().basic(USER, PASSWORD),
        |proxy, ((_, name, _, port), server)| proxy.map(&format!("{name}:{port}"), server.addr()),
    )
}
