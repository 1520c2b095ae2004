//! The program with Squid and mitmproxy, set up by the sample unit file of Mattermost's "Using an Outbound Proxy" with
//! their ports.
//!
//! The tests are ignored because the servers have to be installed. `cargo test -p mattermost -- --ignored` runs them,
//! and fails if a server is missing.

use tower_outbound_proxy_lab::{
    Ca, Files, Origin,
    servers::{RealProxy, Setup},
};

use crate::{
    program::{Server, unit},
    site::page,
};

/// A proxy server, and origins whose names it resolves to this machine.
struct Lab {
    files: Files,
    proxy: RealProxy,
    /// Issues the origins' certificates.
    origins: Ca,
    /// Issues the certificate of a proxy that has no root of its own.
    proxies: Ca,
    http: Origin,
    https: Origin,
}

impl Lab {
    async fn start(intercepting: bool) -> Self {
        let (origins, proxies) = (Ca::new(), Ca::new());
        let mut setup = Setup::new("mattermost", "password");
        setup.deny = vec!["denied.test".to_owned()];
        setup.origin_ca_pem = Some(origins.pem().to_owned());
        setup.tls = Some(proxies.issue(&["127.0.0.1"]).into());
        let proxy = match intercepting {
            true => RealProxy::mitmproxy(&setup).await,
            false => RealProxy::squid(&setup).await,
        };
        let tls = origins.issue(&["origin.test"]).server_config(&["http/1.1"]);
        Self {
            files: Files::new(),
            proxy: proxy.unwrap(),
            http: page("A page").host("origin.test").start().await,
            https: page("A page").tls(tls).host("origin.test").start().await,
            origins,
            proxies,
        }
    }

    /// Writes the sample unit file: HTTP through the plain port, HTTPS through the TLS port.
    fn unit(&self) -> String {
        self.unit_with("password")
    }

    fn unit_with(&self, password: &str) -> String {
        let (plain, tls) = (self.proxy.addr(), self.proxy.tls_addr().unwrap());
        let user = format!("mattermost:{password}@");
        unit(
            &self.files,
            &format!("http://{user}{plain}"),
            &format!("https://{user}{tls}"),
        )
    }

    /// Returns the server's log lines about origins, without the ports of clients.
    fn logged(&self) -> Vec<String> {
        let requests = self.proxy.requests();
        let head = |line: &String| line.split(" HTTP/").next().unwrap_or_default().to_owned();
        requests.iter().map(head).collect()
    }

    /// Asserts that the origins got requests for themselves, and no credentials.
    fn assert_origins_know_nothing(&self) {
        for received in [self.http.raw(), self.https.raw()].concat() {
            let received = String::from_utf8_lossy(&received).to_ascii_lowercase();
            assert!(received.starts_with("get / http/1.1"), "{received}");
            assert!(!received.contains("proxy-authorization"), "{received}");
        }
    }
}

#[tokio::test]
#[ignore = "needs squid (Debian package squid-openssl)"]
async fn squid_is_used_as_the_sample_unit_file_says() {
    let lab = Lab::start(false).await;
    let (unit, ca, proxy_ca) = (
        lab.unit(),
        lab.files.write("ca.pem", lab.origins.pem()),
        lab.files.write("proxy-ca.pem", lab.proxies.pem()),
    );
    let server = Server::start(&["--unit", &unit, "--ca", &ca, "--proxy-ca", &proxy_ca], &[]).await;
    for (origin, route) in [(&lab.http, "forward"), (&lab.https, "tunnel")] {
        let preview = server.preview(&origin.url("/")).await;
        assert_eq!(
            (&preview["title"], &preview["route"]),
            (&"A page".into(), &route.into())
        );
    }
    // What it refuses is logged with its words.
    let error = server.failure("https://denied.test/", 502).await;
    assert_eq!(error, "the proxy refused the tunnel: 403 Forbidden");
    let error = server.failure("http://denied.test/", 502).await;
    assert!(error.contains("answered 403 Forbidden"), "{error}");
    lab.assert_origins_know_nothing();

    // It logs a tunnel when that has ended.
    let log = server.log().await;
    assert!(log.contains("tunnel through https://mattermost:***@127.0.0.1"), "{log}");
    assert!(log.contains("403 Forbidden (ERR_ACCESS_DENIED 0)"), "{log}");
    let get = format!("GET {}", lab.http.url("/"));
    assert!(lab.logged().contains(&get), "{:?}", lab.logged());
}

#[tokio::test]
#[ignore = "needs squid (Debian package squid-openssl)"]
async fn squid_refuses_another_password() {
    let lab = Lab::start(false).await;
    let proxy_ca = lab.files.write("proxy-ca.pem", lab.proxies.pem());
    let unit = lab.unit_with("xyzzy");
    let server = Server::start(&["--unit", &unit, "--proxy-ca", &proxy_ca], &[]).await;
    for origin in [&lab.http, &lab.https] {
        let error = server.failure(&origin.url("/"), 502).await;
        assert!(error.contains("407 Proxy Authentication Required"), "{error}");
        assert!(!error.contains("xyzzy"), "{error}");
        assert_eq!(origin.connections_opened(), 0);
    }
    let log = server.log().await;
    assert!(!log.contains("xyzzy"), "{log}");
}

#[tokio::test]
#[ignore = "needs squid (Debian package squid-openssl)"]
async fn squid_over_tls_needs_its_root() {
    let lab = Lab::start(false).await;
    let (unit, ca) = (lab.unit(), lab.files.write("ca.pem", lab.origins.pem()));
    let server = Server::start(&["--unit", &unit, "--ca", &ca], &[]).await;
    let error = server.failure(&lab.https.url("/"), 502).await;
    assert_eq!(error, "the proxy's certificate does not verify");
    assert_eq!(lab.https.connections_opened(), 0);
}

#[tokio::test]
#[ignore = "needs mitmdump (PyPI package mitmproxy)"]
async fn mitmproxy_is_detected_without_its_root() {
    let lab = Lab::start(true).await;
    let (unit, root) = (lab.unit(), lab.proxy.root_pem().unwrap());
    let (ca, proxy_ca) = (
        lab.files.write("ca.pem", lab.origins.pem()),
        lab.files.write("proxy-ca.pem", &root),
    );
    let server = Server::start(&["--unit", &unit, "--ca", &ca, "--proxy-ca", &proxy_ca], &[]).await;
    let error = server.failure(&lab.https.url("/"), 502).await;
    assert_eq!(error, "the target's certificate does not verify");
    assert!(lab.https.requests().is_empty());
    // Plain HTTP it could read in any case.
    assert_eq!(server.preview(&lab.http.url("/")).await["title"], "A page");
}

#[tokio::test]
#[ignore = "needs mitmdump (PyPI package mitmproxy)"]
async fn mitmproxy_is_used_with_its_root() {
    let lab = Lab::start(true).await;
    let (unit, root) = (lab.unit(), lab.proxy.root_pem().unwrap());
    let root = lab.files.write("root.pem", &root);
    let server = Server::start(&["--unit", &unit, "--ca", &root, "--proxy-ca", &root], &[]).await;
    for (origin, route) in [(&lab.http, "forward"), (&lab.https, "tunnel")] {
        let preview = server.preview(&origin.url("/")).await;
        assert_eq!(
            (&preview["title"], &preview["route"]),
            (&"A page".into(), &route.into())
        );
    }
    // It has read what was asked for inside of the tunnel.
    let get = format!("GET {}", lab.https.url("/"));
    assert!(lab.logged().contains(&get), "{:?}", lab.logged());
    lab.assert_origins_know_nothing();
    server.log().await;
}
