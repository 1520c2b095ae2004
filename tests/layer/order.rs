//! TLS to the target must be made *outside* the layer. The helper makes the right order. No type can forbid the other
//! one, which sends nothing: see `first_write.rs`.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use crate::common::{CONNECT, client, get, layer};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use tower_outbound_proxy::Proxy;
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Origin, Resolver, connector, within};

const URL: &str = "https://origin.test/status/204?key=secret";

#[tokio::test]
async fn the_helper_encrypts_what_goes_through_the_tunnel() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["origin.test"], &["http/1.1"]).await;
    let proxy = ForwardProxy::builder()
        .map("origin.test:443", origin.addr())
        .start()
        .await;
    let connector: HttpsConnector<Proxy<HttpConnector<Resolver>>> =
        layer(&proxy.url()).https_connector_with(connector(), ca.client_config(&["http/1.1"]));
    let response = within(get(&client(connector), URL)).await.unwrap();
    assert_eq!(response.status(), 204);

    let request = &origin.requests()[0];
    let tls = origin.connection(request.connection).tls().unwrap();
    assert_eq!(
        (tls.sni.as_deref(), tls.alpn.as_deref()),
        (Some("origin.test"), Some("http/1.1"))
    );
    assert_eq!(request.target, "/status/204?key=secret");
    let raw = proxy.connection(0).received();
    let in_tunnel = raw.strip_prefix(CONNECT.as_bytes()).unwrap();
    assert_eq!(in_tunnel[..2], [0x16, 3], "a TLS handshake record");
    for clear in ["secret", "GET ", "HTTP/1.1"] {
        assert!(
            !in_tunnel.windows(clear.len()).any(|bytes| bytes == clear.as_bytes()),
            "{clear}"
        );
    }
}

/// A far end that speaks plain HTTP on port 443 gets a TLS greeting and not a byte of the request.
#[tokio::test]
async fn the_helper_is_not_deceived_by_a_plain_far_end() {
    let ca = Ca::new();
    let imposter = Origin::http().await;
    let proxy = ForwardProxy::builder()
        .map("origin.test:443", imposter.addr())
        .start()
        .await;
    let connector = layer(&proxy.url()).https_connector_with(connector(), ca.client_config(&[]));
    within(get(&client(connector), URL)).await.unwrap_err();
    assert!(imposter.requests().is_empty());
    assert_eq!(imposter.connection(0).received()[..2], [0x16, 3]);
}
