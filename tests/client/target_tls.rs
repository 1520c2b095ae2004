//! TLS with targets: the client's trust, its certificate, and the protocols that it offers.

use std::sync::Arc;

use http::Version;
use rustls::ClientConfig;
use tower_outbound_proxy::{ConfigError, ConnectError, TlsConfig, client::TlsServerName};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Origin, within};

use super::{TestClient, builder, client, fetch, get, now, opened, read, request, send, through, trusting, unproxied};

#[tokio::test]
async fn alpn_chooses_the_protocol_on_every_route() {
    let ca = Ca::new();
    let proxy = ForwardProxy::builder().start().await;
    for config in [unproxied(), through(proxy.url())] {
        for (offered, spoken, chosen, version) in [
            (&[][..], &["h2", "http/1.1"][..], Some("h2"), Version::HTTP_2),
            (&[], &["http/1.1", "h2"], Some("http/1.1"), Version::HTTP_11),
            (&[], &["h2"], Some("h2"), Version::HTTP_2),
            (&[], &["http/1.1"], Some("http/1.1"), Version::HTTP_11),
            (&[], &[], None, Version::HTTP_11),
            (&["http/1.1"], &["h2", "http/1.1"], Some("http/1.1"), Version::HTTP_11),
            (&["h2"], &["h2", "http/1.1"], Some("h2"), Version::HTTP_2),
        ] {
            let origin = Origin::https(&ca, &["a.test"], spoken).await;
            let client: TestClient = builder(config.clone(), &ca)
                .target_tls(ca.client_config(offered))
                .build()
                .unwrap();
            let response = get(&client, &origin.url("/")).await;
            assert_eq!(response.version(), version);
            read(response).await;
            let tls = origin.connection(0).tls().unwrap();
            assert_eq!((tls.alpn.as_deref(), tls.sni.as_deref()), (chosen, Some("a.test")));
            assert!(!tls.client_certificate);
        }
    }
}

#[tokio::test]
async fn tls_settings_choose_the_offer() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["h2", "http/1.1"]).await;
    let tls = TlsConfig::builder().add_root_pem(ca.pem()).only_added_roots();
    for (alpn, version) in [
        (&["http/1.1"][..], Version::HTTP_11),
        (&["http/1.1", "h2"], Version::HTTP_2),
        (&[], Version::HTTP_2),
    ] {
        let tls = tls.clone().alpn(alpn.iter().copied()).build().unwrap();
        let client: TestClient = builder(unproxied(), &ca).target_tls(tls).build().unwrap();
        assert_eq!(get(&client, &origin.url("/")).await.version(), version, "{alpn:?}");
    }
}

/// A target that is reached by another name than its certificate's.
#[tokio::test]
async fn a_request_names_its_certificate() {
    let ca = Ca::new();
    let proxy = ForwardProxy::builder().start().await;
    for config in [unproxied(), through(proxy.url())] {
        let origin = Origin::https(&ca, &["shop.test", "192.0.2.7"], &["h2", "http/1.1"]).await;
        let client = client(config, &ca);
        let url = origin
            .url("/")
            .replace("shop.test", "inside.test")
            .replace("localhost", "inside.test");
        let with_name = |name: Option<&str>| {
            let mut request = request(&url);
            if let Some(name) = name {
                request.extensions_mut().insert(TlsServerName::new(name).unwrap());
            }
            request
        };
        for (name, sni) in [("Shop.test.", Some("shop.test")), ("192.0.2.7", None)] {
            let before = opened(&origin);
            for _ in 0..2 {
                read(send(&client, with_name(Some(name))).await.unwrap()).await;
            }
            assert_eq!(opened(&origin), before + 1, "{name}");
            assert_eq!(origin.connection(before).tls().unwrap().sni.as_deref(), sni);
        }
        // Another name is another connection, and has to be in the certificate.
        for name in [None, Some("other.test")] {
            let error = send(&client, with_name(name)).await.unwrap_err();
            assert!(error.is_before_request() && !error.is_transient(), "{error:?}");
        }
    }
    for name in ["", "a b", "http://a.test", "a.test:443"] {
        TlsServerName::new(name).unwrap_err();
    }
}

/// Addresses, in brackets and without, are verified as addresses; through a proxy as well (`loopback_direct` aside).
#[tokio::test]
async fn an_address_is_a_target_as_any_other() {
    let ca = Ca::new();
    let identity = ca.issue(&["::1", "127.0.0.1"]).server_config(&["h2"]);
    let v6 = Origin::builder().listen_v6().tls(identity.clone()).start().await;
    let v4 = Origin::builder().host("127.0.0.1").tls(identity).start().await;
    let plain = Origin::builder().listen_v6().start().await;
    let proxy = ForwardProxy::builder().listen_v6().start().await;
    let config = tower_outbound_proxy::ProxyConfig::builder()
        .all(proxy.url())
        .loopback_direct(false)
        .build()
        .unwrap();
    for (config, count) in [(unproxied(), 0), (config, 3)] {
        let client = client(config, &ca);
        for (origin, host) in [(&v6, "[::1]"), (&v4, "127.0.0.1"), (&plain, "[::1]")] {
            for _ in 0..2 {
                let answer = fetch(&client, &format!("{}://{host}:{}/", origin.scheme(), origin.port())).await;
                let expected = format!("hello from origin, asked for {host}:{}\n", origin.port());
                assert_eq!(answer, expected);
            }
        }
        assert_eq!((client.stats().opened, opened(&proxy)), (3, count));
    }
    assert!(
        proxy
            .requests()
            .iter()
            .any(|heard| heard.target == format!("[::1]:{}", v6.port()))
    );
    assert_eq!(v6.connection(0).tls().unwrap().sni, None);
}

#[tokio::test]
async fn an_added_root_is_trusted_and_no_other() {
    let (ca, other) = (Ca::new(), Ca::new());
    let proxy = ForwardProxy::builder().start().await;
    let both = TlsConfig::builder()
        .add_root_pem(ca.pem())
        .add_root_pem(other.pem())
        .only_added_roots();
    let both = both.build().unwrap();
    for config in [unproxied(), through(proxy.url())] {
        for (trust, issuer, good) in [
            (trusting(&ca), &ca, true),
            (trusting(&ca), &other, false),
            (both.clone(), &ca, true),
            (both.clone(), &other, true),
            (other.client_config(&[]).into(), &other, true),
            (
                TlsConfig::from(ClientConfig::clone(&other.client_config(&[]))),
                &ca,
                false,
            ),
        ] {
            let origin = Origin::https(issuer, &["a.test"], &["h2", "http/1.1"]).await;
            let client: TestClient = builder(config.clone(), &ca).target_tls(trust).build().unwrap();
            let outcome = send(&client, request(&origin.url("/"))).await;
            assert_eq!(outcome.is_ok(), good);
            if let Err(error) = outcome {
                assert!(
                    error.is_before_request() && error.is_connect() && !error.is_timeout(),
                    "{error:?}"
                );
                let text = format!("no connection to https://a.test:{}", origin.port());
                assert!(error.to_string().starts_with(&text), "{error}");
                assert!(
                    error
                        .to_string()
                        .ends_with(": the TLS handshake with the target failed")
                );
                assert_eq!(
                    error.to_string().contains(", through http://"),
                    config.https().is_some(),
                    "{error}"
                );
                assert!(ConnectError::find(&error).is_none(), "it is not the proxy's");
                assert_eq!((origin.requests().len(), now(&client)), (0, [0, 0, 0, 0]));
            }
        }
    }
}

/// The operating system's trust is the default. It does not contain the lab's root.
#[tokio::test]
async fn the_default_is_the_operating_systems_trust() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &[]).await;
    let builder = tower_outbound_proxy::Client::builder()
        .config(unproxied())
        .connector(tower_outbound_proxy_lab::connector());
    // A machine may have no root at all, which is an error and not trust in everybody.
    let client: Result<TestClient, ConfigError> = builder.build();
    if let Ok(client) = client {
        let error = send(&client, request(&origin.url("/"))).await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        assert!(origin.requests().is_empty());
    }
}

#[tokio::test]
async fn names_and_dates_are_verified() {
    let ca = Ca::new();
    let client = client(unproxied(), &ca);
    for identity in [
        ca.issue(&["b.test"]),
        ca.issue(&["127.0.0.1"]),
        ca.issue_expired(&["a.test"]),
    ] {
        let origin = Origin::builder()
            .host("a.test")
            .tls(identity.server_config(&[]))
            .start()
            .await;
        send(&client, request(&origin.url("/"))).await.unwrap_err();
        assert!(origin.requests().is_empty());
        // With the switch that is for testing only, all of that is well.
        let any = TlsConfig::builder()
            .dangerous_accept_any_certificate_for_testing()
            .build()
            .unwrap();
        let careless: TestClient = builder(unproxied(), &ca).target_tls(any).build().unwrap();
        fetch(&careless, &origin.url("/")).await;
        assert_eq!(origin.requests().len(), 1);
    }
    // A name with a trailing dot is the same name.
    let origin = Origin::https(&ca, &["a.test"], &[]).await;
    fetch(&client, &format!("https://A.Test.:{}/", origin.port())).await;
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let (ca, clients) = (Ca::new(), Ca::new());
    let me = clients.issue_client("me");
    let server = ca.issue(&["a.test"]).server_config_with_client_auth(&clients, &["h2"]);
    let origin = Origin::builder().host("a.test").tls(server).start().await;
    let proxy = ForwardProxy::builder().start().await;
    let pem = TlsConfig::builder()
        .add_root_pem(ca.pem())
        .only_added_roots()
        .client_certificate_pem(me.cert_pem.clone(), me.key_pem.clone())
        .build()
        .unwrap();
    let whole: Arc<ClientConfig> = me.client_config(&ca, &[]);
    for config in [unproxied(), through(proxy.url())] {
        for tls in [pem.clone(), whole.clone().into()] {
            let client: TestClient = builder(config.clone(), &ca).target_tls(tls).build().unwrap();
            fetch(&client, &origin.url("/")).await;
            let last = origin.connections().pop().unwrap();
            assert!(last.tls().unwrap().client_certificate);
        }
        let without = client(config, &ca);
        within(send(&without, request(&origin.url("/")))).await.unwrap_err();
    }
    assert_eq!(origin.requests().len(), 4);
}

/// The trust for proxies and the trust for targets are not taken from each other.
#[tokio::test]
async fn the_proxys_trust_is_apart_from_the_targets() {
    let (ca, of_proxy) = (Ca::new(), Ca::new());
    let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let plain = Origin::http().await;
    let proxy = ForwardProxy::builder()
        .host("proxy.test")
        .tls(of_proxy.issue(&["proxy.test"]).server_config(&["http/1.1"]))
        .start()
        .await;
    for (proxys, targets, https, http) in [
        (&of_proxy, &ca, true, true),
        (&of_proxy, &of_proxy, false, true),
        (&ca, &ca, false, false),
    ] {
        let config = tower_outbound_proxy::ProxyConfig::builder()
            .all(proxy.url())
            .proxy_tls(trusting(proxys))
            .build()
            .unwrap();
        let client: TestClient = builder(config, targets).build().unwrap();
        for (url, good) in [
            (origin.url("/"), https),
            (format!("http://a.test:{}/", plain.port()), http),
        ] {
            let outcome = send(&client, request(&url)).await;
            assert_eq!(outcome.is_ok(), good, "{url}: {outcome:?}");
            if let Ok(response) = outcome {
                read(response).await;
            }
        }
        assert_eq!(client.stats().open(), usize::from(https) + usize::from(http));
    }
}
