//! Sentences 6 to 12 of Palpo's "Using Forward/Outbound Proxies": the parts of a proxy's address, and the examples.

use tower_outbound_proxy::{ConnectError, ProxyConfig, ProxyServer, error::ConnectErrorKind, error::Stage};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Identity};

use crate::{
    HTTP, HTTPS, PLAIN, TLS,
    app::{
        advice::report,
        connections::Connection,
        settings::{Settings, trust},
    },
    asked,
    lab::{Lab, environment},
    site::EXAMPLES,
};

/// Base64 of `USERNAME:PASSWORD`.
const BASIC: &str = "Basic VVNFUk5BTUU6UEFTU1dPUkQ=";

fn read(address: &str) -> ProxyServer {
    let config = ProxyConfig::from_vars([("http_proxy", address)]);
    config.unwrap_or_else(|error| panic!("{error}")).http().unwrap().clone()
}

#[test]
fn an_address_has_four_parts() {
    for (address, is_tls, credentials, host, port) in [
        ("https://user:word@proxy.test:3128", true, true, "proxy.test", 3128),
        ("https://user:word@proxy.test", true, true, "proxy.test", 1080),
        ("https://proxy.test:3128", true, false, "proxy.test", 3128),
        ("https://proxy.test", true, false, "proxy.test", 1080),
        ("user:word@proxy.test:3128", false, true, "proxy.test", 3128),
        ("user:word@proxy.test", false, true, "proxy.test", 1080),
        ("proxy.test:3128", false, false, "proxy.test", 3128),
        ("proxy.test", false, false, "proxy.test", 1080),
        ("user:word@10.0.1.1:3128", false, true, "10.0.1.1", 3128),
        ("http://[2001:db8::1]:3128", false, false, "[2001:db8::1]", 3128),
    ] {
        let proxy = read(address);
        assert_eq!(
            (
                proxy.is_tls(),
                proxy.credentials().is_some(),
                &*proxy.host(),
                proxy.port()
            ),
            (is_tls, credentials, host, port),
            "{address}"
        );
    }
}

#[tokio::test]
async fn the_scheme_is_http_unless_named() {
    for (address, is_tls) in [
        ("proxy.test", false),
        ("proxy.test:443", false),
        ("http://proxy.test", false),
        ("https://proxy.test", true),
    ] {
        assert_eq!(read(address).is_tls(), is_tls, "{address}");
    }
    let lab = Lab::start().await;
    // To a proxy that speaks no TLS, and to one that speaks nothing else.
    let outbound = lab.outbound(&[("http_proxy", PLAIN)]);
    assert_eq!(
        lab.reached(&outbound, Connection::Push, HTTP).await,
        "plain.example.com"
    );
    let outbound = lab.outbound(&[("http_proxy", "USERNAME:PASSWORD@tls.example.com")]);
    assert_eq!(lab.failed(&outbound, Connection::Push, HTTP).await.0, "nobody");
}

#[tokio::test]
async fn with_https_the_connection_to_the_proxy_uses_tls() {
    let lab = Lab::start().await;
    let settings = lab.trusting_the_proxy(&[("http_proxy", TLS), ("https_proxy", TLS)]);
    let outbound = lab.outbound_with(&settings);
    for url in [HTTP, HTTPS] {
        assert_eq!(lab.reached(&outbound, Connection::Push, url).await, "tls.example.com");
    }
    for connection in lab.site.proxies.tls.connections() {
        assert_eq!(connection.tls().unwrap().sni.as_deref(), Some("tls.example.com"));
    }
    assert_eq!(
        asked(&lab.site.proxies.tls),
        ["GET http://www.example.org/", "CONNECT www.example.com:443"]
    );
}

/// Starts a proxy at `127.0.0.1` that shows this certificate.
async fn showing(certificate: Identity) -> ForwardProxy {
    let tls = certificate.server_config(&["http/1.1"]);
    ForwardProxy::builder().tls(tls).host("127.0.0.1").start().await
}

#[tokio::test]
async fn a_proxy_with_an_invalid_certificate_is_rejected() {
    let (lab, known, unknown) = (Lab::start().await, Ca::new(), Ca::new());
    for (what, certificate) in [
        ("issued by nobody who is trusted", unknown.issue(&["127.0.0.1"])),
        ("for another name", known.issue(&["proxy.test"])),
        ("not valid any more", known.issue_expired(&["127.0.0.1"])),
    ] {
        let proxy = showing(certificate).await;
        let url = proxy.url_with("USERNAME:PASSWORD@");
        let settings = Settings {
            proxy_tls: Some(trust(known.pem().as_bytes()).unwrap()),
            ..lab.settings(&[("http_proxy", &url), ("https_proxy", &url)])
        };
        let outbound = lab.outbound_with(&settings);
        for url in [HTTP, HTTPS] {
            let (by_whom, error) = lab.failed(&outbound, Connection::Push, url).await;
            assert_eq!(by_whom, "nobody", "{what}");
            let connect = ConnectError::find(&*error).unwrap();
            assert_eq!(connect.kind(), ConnectErrorKind::Certificate, "{what}: {connect:?}");
            assert_eq!(connect.stage(), Stage::Tls, "{what}");
        }
        // Of the password it has not seen a byte.
        assert_eq!(proxy.raw().concat(), b"", "{what}");
    }
    // Those who are trusted for targets are not for proxies.
    let proxy = showing(lab.site.public.issue(&["127.0.0.1"])).await;
    let outbound = lab.outbound(&[("https_proxy", &proxy.url())]);
    let (_, error) = lab.failed(&outbound, Connection::Push, HTTPS).await;
    assert!(ConnectError::find(&*error).unwrap().kind() == ConnectErrorKind::Certificate);

    let proxy = showing(known.issue(&["127.0.0.1"])).await;
    let settings = Settings {
        proxy_tls: Some(trust(known.pem().as_bytes()).unwrap()),
        ..lab.settings(&[("http_proxy", &proxy.url())])
    };
    let outbound = lab.outbound_with(&settings);
    // It knows no names, so it answers that it cannot reach the target.
    let answer = outbound.call(Connection::Push, &HTTP.parse().unwrap()).await.unwrap();
    assert_eq!(
        (answer.route.proxy(), proxy.requests().len()),
        (settings.config().unwrap().http(), 1)
    );
}

#[tokio::test]
async fn the_port_is_1080_unless_named() {
    let lab = Lab::start().await;
    let settings = lab.trusting_the_proxy(&[
        ("http_proxy", "http://USERNAME:PASSWORD@plain.example.com"),
        ("https_proxy", TLS),
    ]);
    let outbound = lab.outbound_with(&settings);
    // They listen on that port in the lab's network, and on no other.
    assert_eq!(
        lab.reached(&outbound, Connection::Push, HTTP).await,
        "plain.example.com"
    );
    assert_eq!(lab.reached(&outbound, Connection::Push, HTTPS).await, "tls.example.com");
    for address in [
        "proxy.test",
        "http://proxy.test",
        "https://proxy.test",
        "10.0.1.1",
        "[2001:db8::1]",
    ] {
        assert_eq!(read(address).port(), 1080, "{address}");
    }
    assert_eq!(read("http://proxy.test:80").port(), 80);

    let outbound = lab.outbound(&[("http_proxy", "USERNAME:PASSWORD@plain.example.com:8080")]);
    assert_eq!(lab.failed(&outbound, Connection::Push, HTTP).await.0, "nobody");
}

#[tokio::test]
async fn user_name_and_password_authenticate() {
    let lab = Lab::start().await;
    let outbound = lab.outbound(&[("http_proxy", PLAIN), ("https_proxy", PLAIN)]);
    for url in [HTTP, HTTPS] {
        assert_eq!(lab.reached(&outbound, Connection::Push, url).await, "plain.example.com");
    }
    for request in lab.site.proxies.plain.requests() {
        assert_eq!(request.header("proxy-authorization"), Some(BASIC), "{}", request.target);
    }
    lab.assert_targets_know_no_password();

    // The proxy insists on them.
    for address in ["plain.example.com", "USERNAME:another@plain.example.com"] {
        let outbound = lab.outbound(&[("http_proxy", address), ("https_proxy", address)]);
        for url in [HTTP, HTTPS] {
            let (by_whom, error) = lab.failed(&outbound, Connection::Push, url).await;
            assert_eq!(by_whom, "plain.example.com, not the target");
            assert!(ConnectError::find(&*error).unwrap().kind() == ConnectErrorKind::AuthenticationRequired);
            assert!(!report(&*error).contains("another"), "{}", report(&*error));
        }
    }
}

#[tokio::test]
async fn user_name_and_password_are_optional() {
    let lab = Lab::start().await;
    let open = ForwardProxy::builder()
        .map("www.example.org:80", lab.site.host("www.example.org").unwrap().addr())
        .map("www.example.com:443", lab.site.host("www.example.com").unwrap().addr())
        .start()
        .await;
    let outbound = lab.outbound(&[("http_proxy", &open.url()), ("https_proxy", &open.url())]);
    for url in [HTTP, HTTPS] {
        let answer = outbound.call(Connection::Push, &url.parse().unwrap()).await.unwrap();
        assert_eq!(answer.status, "200 OK", "{url}");
    }
    assert_eq!(
        asked(&open),
        ["GET http://www.example.org/", "CONNECT www.example.com:443"]
    );
    for request in open.requests() {
        assert_eq!(request.header("proxy-authorization"), None, "{}", request.target);
    }
}

#[tokio::test]
async fn the_documents_examples_hold() {
    let lab = Lab::start().await;
    let config = environment(&EXAMPLES).config().unwrap();
    for (proxy, text) in [
        (config.http(), "http://USERNAME:***@10.0.1.1:8080"),
        (config.https(), "http://USERNAME:***@proxy.example.com:8080"),
    ] {
        assert_eq!(proxy.unwrap().to_string(), text);
    }
    assert_eq!(config.warnings(), []);

    let outbound = lab.outbound(&EXAMPLES);
    for (url, by_whom) in [
        (HTTP, "10.0.1.1"),
        (HTTPS, "proxy.example.com"),
        ("https://master.hostname.example.com/", "direct"),
        ("http://10.1.0.5/", "direct"),
        ("http://172.30.0.5/", "direct"),
        ("http://10.2.0.9/", "10.0.1.1"),
    ] {
        assert_eq!(lab.reached(&outbound, Connection::Cas, url).await, by_whom, "{url}");
    }
    for (_, proxy) in lab.site.proxies.all() {
        for request in proxy.requests() {
            assert_eq!(request.header("proxy-authorization"), Some(BASIC), "{}", request.target);
        }
    }
    lab.assert_targets_know_no_password();
}
