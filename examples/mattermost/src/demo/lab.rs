//! The proxies of the demonstration, in front of the servers of [`Site`].

use std::sync::Arc;

use tower_outbound_proxy_lab::{Ca, ForwardProxy, Listening, Origin};

use mattermost::site::{Site, page};

/// The sample unit file of Mattermost's "Using an Outbound Proxy", to the letter.
const SAMPLE: &str = include_str!("../../sample.service");
const USER: &str = "mattermost";
const PASSWORD: &str = "password";

pub(super) struct Lab {
    pub(super) site: Site,
    /// An origin on the application's machine.
    pub(super) own: Origin,
    /// Issues the certificates of proxies that are reached over TLS.
    pub(super) proxies: Ca,
    /// Issues the intercepting proxy's certificates.
    pub(super) interceptor: Arc<Ca>,
    http_proxy: ForwardProxy,
    https_proxy: ForwardProxy,
    intercepting: ForwardProxy,
}

impl Lab {
    pub(super) async fn start() -> Self {
        let (site, own) = (Site::start().await, page("Own").start().await);
        let (proxies, interceptor) = (Ca::new(), Arc::new(Ca::new()));
        let proxy = || site.proxy().basic(USER, PASSWORD);
        let over_tls = || {
            let certificate = proxies.issue(&["127.0.0.1"]);
            proxy().tls(certificate.server_config(&["http/1.1"])).host("127.0.0.1")
        };
        Self {
            http_proxy: proxy().start().await,
            https_proxy: over_tls().start().await,
            intercepting: over_tls()
                .intercept(Arc::clone(&interceptor), &site.public)
                .start()
                .await,
            site,
            own,
            proxies,
            interceptor,
        }
    }

    /// Returns the sample with the ports of this lab's proxies.
    pub(super) fn unit(&self) -> String {
        self.unit_with(&self.https_proxy)
    }

    /// Returns the sample with the intercepting proxy.
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

    /// Returns the servers that show a request's route. (The web is behind all proxies.)
    pub(super) fn servers(&self) -> [(&'static str, &Listening); 8] {
        [
            ("HTTP proxy", &self.http_proxy),
            ("HTTPS proxy", &self.https_proxy),
            ("interceptor", &self.intercepting),
            ("login", &self.site.sso),
            ("wiki", &self.site.wiki),
            ("1.2.3.4:567", &self.site.host),
            ("database", &self.site.database),
            ("own machine", &self.own),
        ]
    }

    /// Returns the number of connections to servers that nobody may reach.
    pub(super) fn trespasses(&self) -> usize {
        self.site.database.connections_opened() + self.own.connections_opened()
    }
}

/// Returns the forms in which a secret could be written.
pub(super) fn secrets() -> [&'static str; 2] {
    // Base64 of `mattermost:password`, as Basic sends it.
    [PASSWORD, "bWF0dGVybW9zdDpwYXNzd29yZA"]
}
