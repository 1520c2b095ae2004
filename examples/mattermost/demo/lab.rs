//! What is somewhere in the network of the demonstration: proxies, the outside, and the inside.

use std::sync::Arc;

use tower_outbound_proxy_lab::{Ca, ForwardProxy, Listening, Origin};

use crate::network::Network;

/// The sample unit file of the document, to the letter.
const SAMPLE: &str = include_str!("../sample.service");
const USER: &str = "mattermost";
const PASSWORD: &str = "password";

pub(super) struct Lab {
    /// In place of the authorities that everybody trusts.
    pub(super) public: Ca,
    /// Vouches for the proxies that are reached over TLS.
    pub(super) proxies: Ca,
    /// Makes the intercepting proxy's certificates.
    pub(super) interceptor: Arc<Ca>,
    http_proxy: ForwardProxy,
    https_proxy: ForwardProxy,
    intercepting: ForwardProxy,
    web: [Origin; 2],
    sso: Origin,
    wiki: Origin,
    host: Origin,
    database: Origin,
    /// On the machine of the application.
    pub(super) own: Origin,
    pub(super) network: Network,
}

impl Lab {
    pub(super) async fn start() -> Self {
        let (public, proxies, interceptor) = (Ca::new(), Ca::new(), Arc::new(Ca::new()));
        let page = |title: &str| Origin::builder().page("/", format!("<!doctype html><title>{title}</title>"));
        let certified = |names: &[&str]| public.issue(names).server_config(&["http/1.1"]);
        let web = [
            page("A page")
                .redirect("/to-wiki", "http://wiki.internal.example.com/")
                .redirect("/to-database", "http://database.internal.example.com/")
                .start()
                .await,
            page("A page").tls(certified(&["www.example.org"])).start().await,
        ];
        let sso = page("Sign in")
            .tls(certified(&["login.example.com", "eu.login.example.com"]))
            .start()
            .await;
        let (wiki, host) = (page("Wiki").start().await, page("Port 567").start().await);
        let (database, own) = (page("Customers").start().await, page("Own").start().await);

        // The proxy has a network of its own to look names up in. It is not told of the servers that it is not to see.
        let proxy = || {
            let proxy = ForwardProxy::builder().basic(USER, PASSWORD);
            let names = [
                "www.example.org",
                "internal.example.com",
                "1.2.3.4",
                "printer.example.net",
                "10.0.0.8",
            ];
            names.iter().fold(proxy, |proxy, name| {
                proxy
                    .map(&format!("{name}:80"), web[0].addr())
                    .map(&format!("{name}:443"), web[1].addr())
            })
        };
        let over_tls = || {
            let certificate = proxies.issue(&["127.0.0.1"]);
            proxy().tls(certificate.server_config(&["http/1.1"])).host("127.0.0.1")
        };
        let network = Network::new(&[
            ("login.example.com", ([10, 0, 0, 5], 443), sso.addr()),
            ("eu.login.example.com", ([10, 0, 0, 6], 443), sso.addr()),
            ("wiki.internal.example.com", ([10, 0, 0, 7], 80), wiki.addr()),
            ("printer.example.net", ([10, 0, 0, 8], 80), database.addr()),
            ("database.internal.example.com", ([10, 0, 0, 9], 80), database.addr()),
            ("1.2.3.4", ([1, 2, 3, 4], 567), host.addr()),
        ]);
        Self {
            http_proxy: proxy().start().await,
            https_proxy: over_tls().start().await,
            intercepting: over_tls().intercept(Arc::clone(&interceptor), &public).start().await,
            public,
            proxies,
            interceptor,
            web,
            sso,
            wiki,
            host,
            database,
            own,
            network,
        }
    }

    /// The sample with the ports of this lab's proxies.
    pub(super) fn unit(&self) -> String {
        self.unit_with(&self.https_proxy)
    }

    /// The same with the proxy that intercepts.
    pub(super) fn unit_intercepting(&self) -> String {
        self.unit_with(&self.intercepting)
    }

    fn unit_with(&self, https: &ForwardProxy) -> String {
        let user = format!("{USER}:{PASSWORD}@");
        SAMPLE
            .replace(
                "http://mattermost:password@127.0.0.1:3128",
                &self.http_proxy.url_with(&user),
            )
            .replace("https://mattermost:password@127.0.0.1:3128", &https.url_with(&user))
    }

    /// The servers that are seen by the way a request takes. (The web is behind all proxies.)
    pub(super) fn servers(&self) -> [(&'static str, &Listening); 8] {
        [
            ("HTTP proxy", &self.http_proxy),
            ("HTTPS proxy", &self.https_proxy),
            ("interceptor", &self.intercepting),
            ("login", &self.sso),
            ("wiki", &self.wiki),
            ("1.2.3.4:567", &self.host),
            ("database", &self.database),
            ("own machine", &self.own),
        ]
    }

    /// What reached servers that are no proxies, byte for byte.
    pub(super) fn told_to_origins(&self) -> Vec<u8> {
        let origins = [&self.sso, &self.wiki, &self.host, &self.database, &self.own];
        let received = origins.into_iter().chain(&self.web).flat_map(|origin| origin.raw());
        received.flatten().collect()
    }

    /// Connections to what nobody may reach.
    pub(super) fn trespasses(&self) -> usize {
        self.database.connections_opened() + self.own.connections_opened()
    }
}

/// The ways in which a secret could be written.
pub(super) fn secrets() -> [String; 2] {
    // Base64 of `mattermost:password`, as Basic sends it.
    [PASSWORD.to_owned(), "bWF0dGVybW9zdDpwYXNzd29yZA".to_owned()]
}
