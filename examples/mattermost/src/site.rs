//! The servers behind and beside the proxies, in the demonstration and in tests: outside and inside the network.

use tower_outbound_proxy_lab::{Ca, ForwardProxy, ForwardProxyBuilder, Listening, Network, Origin, OriginBuilder};

/// Servers with pages. The title of `/` identifies each.
pub struct Site {
    /// Stands for the public certificate authorities.
    pub public: Ca,
    /// `www.example.org`, "A page"; `/to-wiki` and `/to-database` redirect.
    pub web: Origin,
    pub web_tls: Origin,
    /// `login.example.com`, "Sign in".
    pub sso: Origin,
    /// `wiki.internal.example.com`, "Wiki", at 10.0.0.7.
    pub wiki: Origin,
    /// `1.2.3.4:567`, "Port 567".
    pub host: Origin,
    /// `database.internal.example.com`, at 10.0.0.9, and `printer.example.net`, at 10.0.0.8. Nobody may connect to it.
    pub database: Origin,
    pub network: Network,
}

impl Site {
    pub async fn start() -> Self {
        Self::with_web(page("A page")).await
    }

    /// Creates the site with more pages on `http://www.example.org/`.
    pub async fn with_web(web: OriginBuilder) -> Self {
        let public = Ca::new();
        let certified = |names: &[&str]| public.issue(names).server_config(&["http/1.1"]);
        let web = web
            .redirect("/to-wiki", "http://wiki.internal.example.com/")
            .redirect("/to-database", "http://database.internal.example.com/");
        let web = web.start().await;
        let names = certified(&["www.example.org", "printer.example.net"]);
        let web_tls = page("A page").tls(names).start().await;
        let names = certified(&["login.example.com", "eu.login.example.com"]);
        let sso = page("Sign in").tls(names).start().await;
        let (wiki, host) = (page("Wiki").start().await, page("Port 567").start().await);
        let database = page("Customers").start().await;
        let network = Network::new([
            ("www.example.org", ([93, 184, 215, 14], 80), web.addr()),
            ("www.example.org", ([93, 184, 215, 14], 443), web_tls.addr()),
            ("login.example.com", ([93, 184, 215, 15], 443), sso.addr()),
            ("eu.login.example.com", ([93, 184, 215, 16], 443), sso.addr()),
            ("1.2.3.4", ([1, 2, 3, 4], 567), host.addr()),
            ("wiki.internal.example.com", ([10, 0, 0, 7], 80), wiki.addr()),
            ("printer.example.net", ([10, 0, 0, 8], 80), database.addr()),
            ("database.internal.example.com", ([10, 0, 0, 9], 80), database.addr()),
        ]);
        Self {
            public,
            web,
            web_tls,
            sso,
            wiki,
            host,
            database,
            network,
        }
    }

    /// Returns a proxy that looks names up in a network of its own. It knows only the web, and no server that is to be
    /// reached directly.
    pub fn proxy(&self) -> ForwardProxyBuilder {
        let hosts = [
            "www.example.org",
            "internal.example.com",
            "1.2.3.4",
            "printer.example.net",
            "10.0.0.8",
        ];
        hosts.iter().fold(ForwardProxy::builder(), |proxy, host| {
            proxy
                .map(&format!("{host}:80"), self.web.addr())
                .map(&format!("{host}:443"), self.web_tls.addr())
        })
    }

    /// Returns the bytes that reached these servers.
    pub fn received(&self) -> String {
        let origins = [
            &self.web,
            &self.web_tls,
            &self.sso,
            &self.wiki,
            &self.host,
            &self.database,
        ];
        let bytes: Vec<u8> = origins
            .iter()
            .flat_map(|origin| Listening::raw(origin))
            .flatten()
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Returns an origin with a home page of this title.
pub fn page(title: &str) -> OriginBuilder {
    Origin::builder().page("/", format!("<!doctype html><title>{title}</title>"))
}
