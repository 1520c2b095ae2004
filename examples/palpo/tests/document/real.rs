//! The program with Squid, over plain connections and over TLS, and with mitmproxy.
//!
//! The tests are ignored because the servers have to be installed. `cargo test -p palpo -- --ignored` runs them, and
//! fails if a server is missing.

use tower_outbound_proxy_lab::{
    Ca, Files, Origin,
    servers::{RealProxy, Setup},
};

use crate::{
    app::connections::Connection,
    redis::Redis,
    run::{Done, SWITCH, palpo},
};

/// A proxy server, and targets whose names it resolves.
struct Lab {
    files: Files,
    proxy: RealProxy,
    /// Issues the origins' certificates.
    origins: Ca,
    /// Issues the certificate of a proxy that has no root of its own.
    proxies: Ca,
    http: Origin,
    https: Origin,
    own: Origin,
    redis: Redis,
}

impl Lab {
    async fn squid() -> Self {
        Self::start(false).await
    }

    async fn mitmproxy() -> Self {
        Self::start(true).await
    }

    async fn start(intercepting: bool) -> Self {
        let (origins, proxies) = (Ca::new(), Ca::new());
        // A user name in lower case: Squid does not keep upper case.
        let mut setup = Setup::new("palpo", "PASSWORD");
        setup.deny = vec!["denied.test".to_owned()];
        setup.origin_ca_pem = Some(origins.pem().to_owned());
        setup.tls = Some(proxies.issue(&["127.0.0.1"]).into());
        let proxy = match intercepting {
            true => RealProxy::mitmproxy(&setup).await,
            false => RealProxy::squid(&setup).await,
        };
        Self {
            files: Files::new(),
            proxy: proxy.unwrap(),
            http: Origin::builder().host("origin.test").start().await,
            https: Origin::https(&origins, &["origin.test"], &["http/1.1"]).await,
            own: Origin::http().await,
            redis: Redis::start().await.unwrap(),
            origins,
            proxies,
        }
    }

    /// Writes a settings file with the server for everything, reached over TLS or not.
    fn config(&self, over_tls: bool, more: &str) -> String {
        let proxy = match over_tls {
            true => format!("https://palpo:PASSWORD@{}", self.proxy.tls_addr().unwrap()),
            false => format!("http://palpo:PASSWORD@{}", self.proxy.addr()),
        };
        let yaml = format!("http_proxy: {proxy}\nhttps_proxy: {proxy}\n{more}");
        self.files.write("palpo.yaml", &yaml)
    }

    /// Makes calls that use the proxy, for HTTP and for HTTPS, and one that never does.
    async fn call(&self, args: &[&str]) -> Done {
        let targets = [
            format!("url-preview={}", self.http.url("/")),
            format!("push={}", self.https.url("/")),
            format!("worker={}", self.own.url("/")),
            format!("redis=redis://{}", self.redis.addr()),
        ];
        let targets = targets.iter().flat_map(|target| ["--target", target]);
        palpo(&args.iter().copied().chain(targets).collect::<Vec<_>>(), &[]).await
    }

    /// Asserts that all calls went as documented, and that the server was asked.
    fn assert_right(&self, done: &Done) {
        assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
        for (connection, route) in [
            (Connection::UrlPreview, "forward through"),
            (Connection::Push, "tunnel through"),
            (Connection::Worker, "direct"),
            (Connection::Redis, "direct"),
        ] {
            let row = done.row(connection);
            assert!(row[3].starts_with(route), "{row:?}");
        }
        // It logs a tunnel when that has ended, which may be after the program.
        let get = format!("GET {}", self.http.url("/"));
        let logged = self.proxy.requests();
        assert!(logged.iter().any(|line| line.starts_with(&get)), "{logged:?}");
        assert!(!logged.iter().any(|line| line.contains("127.0.0.1")), "{logged:?}");
        for received in [self.http.raw(), self.https.raw(), self.own.raw()].concat() {
            let received = String::from_utf8_lossy(&received).to_ascii_lowercase();
            assert!(received.starts_with("get / http/1.1"), "{received}");
            assert!(!received.contains("proxy-authorization"), "{received}");
        }
        assert_eq!(self.redis.commands(), ["PING"]);
    }

    fn ca(&self) -> String {
        self.files.write("ca.pem", self.origins.pem())
    }

    fn proxy_ca(&self) -> String {
        self.files.write("proxy-ca.pem", self.proxies.pem())
    }

    fn own_root(&self) -> String {
        self.files.write("root.pem", &self.proxy.root_pem().unwrap())
    }
}

#[tokio::test]
#[ignore = "needs squid (Debian package squid-openssl)"]
async fn squid_is_used_as_documented() {
    let lab = Lab::squid().await;
    let (config, ca) = (lab.config(false, ""), lab.ca());
    let done = lab.call(&["--config", &config, "--ca", &ca]).await;
    assert_eq!(done.stderr, "");
    lab.assert_right(&done);
}

#[tokio::test]
#[ignore = "needs squid (Debian package squid-openssl)"]
async fn squid_over_tls_is_used_with_its_root() {
    let lab = Lab::squid().await;
    let (config, ca, proxy_ca) = (lab.config(true, ""), lab.ca(), lab.proxy_ca());
    let done = lab
        .call(&["--config", &config, "--ca", &ca, "--proxy-ca", &proxy_ca])
        .await;
    assert_eq!(done.stderr, "");
    lab.assert_right(&done);
}

#[tokio::test]
#[ignore = "needs squid (Debian package squid-openssl)"]
async fn squid_over_tls_is_rejected_without_its_root() {
    let lab = Lab::squid().await;
    let (config, ca) = (lab.config(true, ""), lab.ca());
    let done = lab.call(&["--config", &config, "--ca", &ca]).await;
    let proxy = format!("the proxy https://palpo:***@{}", lab.proxy.tls_addr().unwrap());
    done.assert_failed(60, &[&proxy, "--proxy-ca FILE", SWITCH.trim_end()]);
    assert!(lab.proxy.requests().iter().all(|line| !line.contains("origin.test")));
    // What does not use it is not hindered.
    assert_eq!(done.row(Connection::Worker)[4], "200 OK");
    assert_eq!(done.row(Connection::Redis)[4], "+PONG");
}

#[tokio::test]
#[ignore = "needs squid (Debian package squid-openssl)"]
async fn squid_over_tls_is_used_with_the_switch_for_testing() {
    let lab = Lab::squid().await;
    let config = lab.config(true, SWITCH);
    let done = lab.call(&["--config", &config]).await;
    assert!(
        done.stderr.contains("warning") && done.stderr.contains("NOT verified"),
        "{}",
        done.stderr
    );
    lab.assert_right(&done);
}

#[tokio::test]
#[ignore = "needs squid (Debian package squid-openssl)"]
async fn squid_refuses_what_it_does_not_serve_and_other_passwords() {
    let lab = Lab::squid().await;
    let config = lab.config(false, "");
    let done = palpo(&["--config", &config, "--target", "push=https://denied.test/"], &[]).await;
    done.assert_failed(1, &["403 Forbidden", "ERR_ACCESS_DENIED"]);

    let other = format!("http://palpo:another@{}", lab.proxy.addr());
    let done = palpo(
        &[
            "--target",
            "push=https://origin.test/",
            "--target",
            "url-preview=http://origin.test/",
        ],
        &[("http_proxy", &other), ("https_proxy", &other)],
    )
    .await;
    done.assert_failed(1, &["407 Proxy Authentication Required"]);
    assert_eq!(done.stdout.matches("WRONG").count(), 2, "{}", done.stdout);
    assert!(!done.stderr.contains("another"), "{}", done.stderr);
}

#[tokio::test]
#[ignore = "needs mitmdump (PyPI package mitmproxy)"]
async fn mitmproxy_is_used_with_its_root() {
    for over_tls in [false, true] {
        let lab = Lab::mitmproxy().await;
        let (config, root) = (lab.config(over_tls, ""), lab.own_root());
        let done = lab
            .call(&["--config", &config, "--ca", &root, "--proxy-ca", &root])
            .await;
        assert_eq!(done.stderr, "");
        lab.assert_right(&done);
        // It has read what was asked for inside of the tunnel.
        let get = format!("GET {}", lab.https.url("/"));
        let logged = lab.proxy.requests();
        assert!(logged.iter().any(|line| line.starts_with(&get)), "{logged:?}");
    }
}

#[tokio::test]
#[ignore = "needs mitmdump (PyPI package mitmproxy)"]
async fn mitmproxy_is_rejected_without_its_root() {
    let lab = Lab::mitmproxy().await;
    // The targets' root is not that of what a proxy shows in their place.
    let (config, ca) = (lab.config(false, ""), lab.ca());
    let done = lab.call(&["--config", &config, "--ca", &ca]).await;
    done.assert_failed(
        60,
        &["palpo: push: ", "Is a proxy on the way intercepting?", "--ca FILE"],
    );
    assert!(lab.https.requests().is_empty());
    // Plain HTTP it could read in any case.
    assert_eq!(done.row(Connection::UrlPreview)[4], "200 OK");

    let config = lab.config(true, "");
    let done = lab.call(&["--config", &config, "--ca", &ca]).await;
    done.assert_failed(
        60,
        &[
            "palpo: url-preview: ",
            "the proxy https://palpo:***@127.0.0.1",
            "--proxy-ca FILE",
        ],
    );
}

#[tokio::test]
#[ignore = "needs mitmdump (PyPI package mitmproxy)"]
async fn mitmproxy_is_used_with_the_switch_for_testing() {
    let lab = Lab::mitmproxy().await;
    let config = lab.config(true, SWITCH);
    let done = lab.call(&["--config", &config]).await;
    assert!(done.stderr.contains("NOT verified"), "{}", done.stderr);
    lab.assert_right(&done);
}
