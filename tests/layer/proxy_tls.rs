//! TLS to an `https://` proxy: the proxy must present a certificate before it receives a request. Only the trust for
//! proxies verifies it, and only the trust for targets verifies targets.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::sync::Arc;

use crate::common::{CONNECT, client, connect, everything, get, layer};
use rustls::ClientConfig;
use tower_outbound_proxy::{
    ConfigError, ConnectError, ProxyConfig, ProxyLayer, TlsConfig, config::Warning, connector::ProxyVersion,
    error::ConnectErrorKind, error::Stage,
};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Identity, Listening, Origin, ScriptedProxy, Step, connector, within};

/// Returns a layer that sends everything through this proxy in HTTP/1.1, with this trust in it.
fn through(proxy: &str, tls: impl Into<TlsConfig>) -> ProxyLayer {
    ProxyLayer::new(ProxyConfig::builder().all(proxy).proxy_tls(tls).build().unwrap())
        .with_proxy_version(ProxyVersion::Http1)
}

fn trusting(ca: &Ca) -> TlsConfig {
    TlsConfig::builder()
        .add_root_pem(ca.pem())
        .only_added_roots()
        .build()
        .unwrap()
}

/// Starts an `https://` proxy, `https://proxy.test:PORT`, in front of origins for `origin.test`.
async fn proxy(identity: &Identity, alpn: &[&str], origins: [&Origin; 2]) -> ForwardProxy {
    let [http, https] = origins.map(|origin| origin.addr());
    let proxy = ForwardProxy::builder()
        .host("proxy.test")
        .tls(identity.server_config(alpn));
    proxy
        .map("origin.test:80", http)
        .map("origin.test:443", https)
        .start()
        .await
}

/// Returns the error of a tunnel to `https://origin.test`.
async fn refused(layer: &ProxyLayer) -> ConnectError {
    within(connect(layer, connector(), "https://origin.test/"))
        .await
        .unwrap_err()
}

/// Returns true if no request was read from any connection.
fn heard_nothing(listening: &Listening) -> bool {
    listening.raw().iter().all(Vec::is_empty) && listening.requests().is_empty()
}

#[tokio::test]
async fn a_proxy_that_is_trusted_forwards_and_tunnels() {
    let (ca, targets) = (Ca::new(), Ca::new());
    let http = Origin::http().await;
    let https = Origin::https(&targets, &["origin.test"], &[]).await;
    let mut with_alpn = (*ca.client_config(&["h2", "http/1.1"])).clone();
    with_alpn.enable_sni = true;
    let with_platform = TlsConfig::builder().add_root_pem(ca.pem()).build();
    let configurations: [Option<TlsConfig>; 4] = [
        Some(trusting(&ca)),
        // A machine without any trust of its own has none to add to.
        with_platform.ok(),
        Some(Arc::new(with_alpn.clone()).into()),
        Some(<TlsConfig as From<ClientConfig>>::from(with_alpn)),
    ];
    for tls in configurations.into_iter().flatten() {
        // A server that would choose h2 if it were offered, and demands that something is.
        let proxy = proxy(&ca.issue(&["proxy.test"]), &["h2", "http/1.1"], [&http, &https]).await;
        let client = client(through(&proxy.url(), tls).https_connector_with(connector(), targets.client_config(&[])));
        for uri in ["http://origin.test/status/201", "https://origin.test/status/202"] {
            let response = within(get(&client, uri)).await.unwrap();
            assert!(uri.ends_with(response.status().as_str()));
        }
        let forward = proxy.connection(0).received_text();
        assert!(
            forward.starts_with("GET http://origin.test/status/201 HTTP/1.1\r\n"),
            "{forward}"
        );
        let tunnel = proxy.connection(1).received();
        assert_eq!(tunnel.strip_prefix(CONNECT.as_bytes()).unwrap()[0], 0x16, "TLS in TLS");
        for connection in proxy.connections() {
            let tls = connection.tls().unwrap();
            assert_eq!(tls.alpn.as_deref(), Some("http/1.1"));
            assert_eq!(tls.sni.as_deref(), Some("proxy.test"));
            assert!(!tls.client_certificate);
        }
    }
}

#[tokio::test]
async fn nothing_but_http1_is_offered() {
    let (ca, origin) = (Ca::new(), Origin::http().await);
    let proxy = proxy(&ca.issue(&["proxy.test"]), &["h2", "http/1.0"], [&origin; 2]).await;
    let error = refused(&through(&proxy.url(), ca.client_config(&["h2", "http/1.0"]))).await;
    assert_eq!(error.stage(), Stage::Tls);
    assert_ne!(error.kind(), ConnectErrorKind::Certificate, "{error}");
    assert!(heard_nothing(&proxy));
}

#[tokio::test]
async fn an_address_is_verified_as_an_address() {
    let ca = Ca::new();
    for (v6, host, names, accepted) in [
        (false, "127.0.0.1", "127.0.0.1", true),
        (true, "[::1]", "::1", true),
        (false, "127.0.0.1", "127.0.0.2", false),
        (false, "127.0.0.1", "localhost", false),
    ] {
        let origin = Origin::http().await;
        let proxy = ForwardProxy::builder().host(host).map("origin.test:443", origin.addr());
        let proxy = if v6 { proxy.listen_v6() } else { proxy };
        let proxy = proxy.tls(ca.issue(&[names]).server_config(&[])).start().await;
        let outcome = within(connect(
            &through(&proxy.url(), trusting(&ca)),
            connector(),
            "https://origin.test/",
        ))
        .await;
        assert_eq!(
            outcome.is_ok(),
            accepted,
            "{host} with a certificate for {names}: {outcome:?}"
        );
        match outcome {
            Ok(_) => assert_eq!(proxy.connection(0).tls().unwrap().sni, None),
            Err(error) => assert_eq!(error.kind(), ConnectErrorKind::Certificate),
        }
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_verify_hears_nothing() {
    let (ca, other) = (Ca::new(), Ca::new());
    let good = ca.issue(&["proxy.test"]);
    let platform = ProxyConfig::builder().https("https://proxy.test");
    for (case, identity, trust) in [
        ("expired", &ca.issue_expired(&["proxy.test"]), Some(trusting(&ca))),
        ("unknown", &good, Some(trusting(&other))),
        ("wrong name", &ca.issue(&["other.test"]), Some(trusting(&ca))),
        ("a client's", &ca.issue_client("proxy.test"), Some(trusting(&ca))),
        ("not the system's", &good, None),
    ] {
        if trust.is_none() && platform.clone().build().is_err_and(|error| error.is_tls()) {
            continue; // No trust on this machine: refused even earlier.
        }
        let origin = Origin::http().await;
        let proxy = proxy(identity, &[], [&origin; 2]).await;
        let url = proxy.url().replace("://", "://user:word@");
        let layer = match trust {
            Some(trust) => through(&url, trust),
            None => layer(&url),
        };
        for uri in ["http://origin.test/", "https://origin.test/"] {
            let error = within(connect(&layer, connector(), uri)).await.unwrap_err();
            assert!(
                error.kind() == ConnectErrorKind::Certificate && !error.is_transient(),
                "{case}: {error:?}"
            );
            assert_eq!(error.stage(), Stage::Tls, "{case}");
            let text = error.to_string();
            assert!(
                text.contains(":80: the certificate does not verify: ") == uri.starts_with("http:"),
                "{text}"
            );
            assert!(text.starts_with("proxy https://user:***@proxy.test:"), "{text}");
            let seen = everything(&error);
            assert!(!seen.contains(":word") && !seen.contains("dXNlcjp3b3Jk"), "{seen}");
        }
        within(proxy.idle()).await;
        assert!(heard_nothing(&proxy) && origin.connections_opened() == 0, "{case}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_set() {
    let (ca, clients, origin) = (Ca::new(), Ca::new(), Origin::http().await);
    let tls = ca.issue(&["proxy.test"]).server_config_with_client_auth(&clients, &[]);
    let proxy = ForwardProxy::builder().host("proxy.test").tls(tls);
    let proxy = proxy.map("origin.test:443", origin.addr()).start().await;

    // In TLS 1.3 the proxy's complaint comes after the handshake, in the place of an answer.
    let error = refused(&through(&proxy.url(), trusting(&ca))).await;
    assert!(error.response().is_none() && !error.is_transient(), "{error:?}");
    assert!(heard_nothing(&proxy));

    let me = clients.issue_client("me");
    let with_pem = TlsConfig::builder().only_added_roots().add_root_pem(ca.pem());
    let with_pem = with_pem.client_certificate_pem(me.cert_pem.as_str(), me.key_pem.as_str());
    for tls in [with_pem.build().unwrap(), me.client_config(&ca, &[]).into()] {
        within(connect(
            &through(&proxy.url(), tls),
            connector(),
            "https://origin.test/",
        ))
        .await
        .unwrap();
        assert!(proxy.connections().last().unwrap().tls().unwrap().client_certificate);
    }
}

/// Neither whom a proxy may be nor whom a target may be is learnt from the other.
#[tokio::test]
async fn trust_in_proxies_and_trust_in_targets_are_two() {
    let (proxies, targets) = (Ca::new(), Ca::new());
    for (for_proxy, for_target, reached) in [
        (&proxies, &targets, true),
        (&targets, &targets, false),
        (&proxies, &proxies, false),
        (&targets, &proxies, false),
    ] {
        let origin = Origin::https(&targets, &["origin.test"], &[]).await;
        let proxy = proxy(&proxies.issue(&["proxy.test"]), &[], [&origin; 2]).await;
        let layer = through(&proxy.url(), trusting(for_proxy));
        let client = client(layer.https_connector_with(connector(), trusting(for_target)));
        match within(get(&client, "https://origin.test/status/204")).await {
            Ok(response) => assert!(reached && response.status() == 204),
            Err(error) => {
                assert!(!reached, "{error:?}");
                let proxy_is_at_fault = !std::ptr::eq(for_proxy, &proxies);
                assert_eq!(ConnectError::find(&error).is_some(), proxy_is_at_fault, "{error:?}");
                assert!(heard_nothing(&origin));
                assert_eq!(heard_nothing(&proxy), proxy_is_at_fault);
            }
        }
    }
}

#[tokio::test]
async fn verification_can_be_switched_off_and_that_is_told() {
    let (ca, origin) = (Ca::new(), Origin::http().await);
    let proxy = proxy(&ca.issue_expired(&["other.test"]), &[], [&origin; 2]).await;
    let build = |tls: TlsConfig| ProxyConfig::builder().all(proxy.url()).proxy_tls(tls).build().unwrap();

    let dangerous = TlsConfig::builder()
        .dangerous_accept_any_certificate_for_testing()
        .build()
        .unwrap();
    assert!(!dangerous.verifies_certificates());
    let config = build(dangerous);
    assert_eq!(config.warnings(), [Warning::CertificatesNotVerified]);
    assert!(config.warnings()[0].to_string().contains("NOT verified"));
    within(connect(&ProxyLayer::new(config), connector(), "https://origin.test/"))
        .await
        .unwrap();

    let config = build(trusting(&ca));
    assert!(config.warnings().is_empty());
    assert!(refused(&ProxyLayer::new(config)).await.kind() == ConnectErrorKind::Certificate);
}

/// The address says `http://` and the proxy speaks TLS, or the reverse: asking again does not help, and the text says
/// what might.
#[tokio::test]
async fn a_wrong_scheme_is_told_from_other_faults() {
    let ca = Ca::new();
    let tls = ForwardProxy::builder()
        .tls(ca.issue(&["localhost"]).server_config(&[]))
        .start()
        .await;
    let plain = ForwardProxy::builder().start().await;
    let swapped = |proxy: &ForwardProxy| match proxy.url().split_once("://") {
        Some(("https", rest)) => format!("http://{rest}"),
        Some((_, rest)) => format!("https://{rest}"),
        None => unreachable!("a URL has a scheme"),
    };
    for (proxy, stage, hint) in [
        (&tls, Stage::Tunnel, "is TLS, not HTTP/1 (is it an `https://` proxy?)"),
        (&plain, Stage::Tls, "(does the proxy speak TLS on this port?)"),
    ] {
        let error = refused(&through(&swapped(proxy), trusting(&ca))).await;
        assert_eq!(error.stage(), stage, "{error:?}");
        assert!(error.to_string().ends_with(hint), "{error}");
        assert_eq!(error.kind() == ConnectErrorKind::NotHttp, stage == Stage::Tunnel);
        assert!(
            error.kind() != ConnectErrorKind::Certificate && !error.is_transient(),
            "{error:?}"
        );
        assert!(proxy.requests().is_empty());
    }
}

/// TLS can end without a farewell, and then it says so with an error; for a client it is an end like any other.
#[tokio::test]
async fn an_end_without_farewell_is_an_end() {
    let ca = Ca::new();
    let nowhere = {
        let gone = Origin::http().await;
        gone.stop().await;
        gone.addr()
    };
    for (said, then) in [
        ("", Step::Close),
        ("", Step::Connect(nowhere)),
        ("HTTP/1.1 200 ", Step::Connect(nowhere)),
    ] {
        // A script that fails drops its socket as it is.
        let proxy = ScriptedProxy::builder().script([Step::send(said), then]);
        let proxy = proxy.tls(ca.issue(&["localhost"]).server_config(&[])).start().await;
        let error = refused(&through(&proxy.url(), trusting(&ca))).await;
        assert!(
            error.kind() == ConnectErrorKind::UnexpectedEof && error.is_transient(),
            "{said:?}: {error:?}"
        );
        assert_eq!(proxy.connection(0).received_text(), CONNECT);
    }
}

/// Settings that cannot make a configuration are found before anything is dialled.
#[test]
fn settings_that_cannot_be_used_are_errors() {
    let ca = Ca::new();
    let (me, other) = (ca.issue_client("me"), ca.issue_client("other"));
    let cases: [(&str, Result<TlsConfig, ConfigError>); 4] = [
        ("no certificate", TlsConfig::builder().add_root_pem("text").build()),
        ("no root at all", TlsConfig::builder().only_added_roots().build()),
        (
            "no key",
            TlsConfig::builder()
                .client_certificate_pem(me.cert_pem.as_str(), "text")
                .build(),
        ),
        (
            "another's key",
            TlsConfig::builder()
                .add_root_pem(ca.pem())
                .client_certificate_pem(me.cert_pem, other.key_pem)
                .build(),
        ),
    ];
    for (case, outcome) in cases {
        assert!(outcome.is_err(), "{case}");
    }
}
