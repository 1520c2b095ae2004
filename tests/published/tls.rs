//! Certificates that nobody checks.

use tower_outbound_proxy::{ConnectError, ProxyConfig, error::ConnectErrorKind};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Http2Proxy, Listening};

use super::{clients, clients_trusting, labs, request, send};
use crate::{
    common::everything,
    leaks::lab::{Proxy, Trust, Way},
};

/// undici's `ProxyAgent` never verified the certificate of a target behind a proxy, and let the proxy read what was
/// meant for the target.
#[tokio::test]
async fn cve_2022_32210_a_targets_certificate_is_verified_behind_a_proxy() {
    let stranger = Trust::new().tls();
    for lab in labs(&Trust::new()).await {
        let way = Way::Tunnel(Proxy::A);
        for client in clients_trusting(&lab, &lab.settings(way, false), &stranger) {
            let mut request = request(&lab.common_url(way, "/secret-path"));
            request.headers_mut().insert("x-secret", "s3cret".parse().unwrap());
            let error = send(&client, request).await.unwrap_err();
            let shown = everything(&*error);
            assert!(
                shown.contains("UnknownIssuer") || shown.contains("certificate"),
                "{shown}"
            );
        }
        // The proxy was asked for the tunnels, and saw TLS in them.
        assert_eq!(lab.proxy(Proxy::A).requests().len(), 2);
        assert_eq!(lab.tls.requests().len(), 0);
        let seen = String::from_utf8_lossy(&lab.proxy(Proxy::A).raw().concat()).into_owned();
        assert!(!seen.contains("secret-path") && !seen.contains("x-secret"), "{seen}");
    }
}

/// urllib3 took any valid certificate from an `https://` proxy, whatever host it named.
#[tokio::test]
async fn cve_2021_28363_a_proxys_certificate_has_to_name_the_proxy() {
    let ca = Ca::new();
    let other = ca.issue(&["other.test"]);
    let http1 = ForwardProxy::builder()
        .host("proxy.test")
        .tls(other.server_config(&["http/1.1"]))
        .start()
        .await;
    let http2 = Http2Proxy::builder()
        .host("proxy.test")
        .tls(other.server_config(&["h2", "http/1.1"]));
    let http2 = http2.with_http1().start().await;
    for (lab, proxy) in labs(&Trust::new()).await.iter().zip([&*http1 as &Listening, &http2]) {
        let config = ProxyConfig::builder()
            .all(format!("https://user:s3cret@{}", proxy.authority()))
            .proxy_tls(ca.client_config(&[]))
            .build()
            .unwrap();
        for client in clients(lab, &config) {
            for way in [Way::Direct, Way::DirectTls] {
                let error = send(&client, request(&lab.common_url(way, "/"))).await.unwrap_err();
                let error = ConnectError::find(&*error).unwrap();
                assert_eq!(error.kind(), ConnectErrorKind::Certificate, "{error}");
            }
        }
        assert!(proxy.connections_opened() >= 4);
        assert!(proxy.raw().iter().all(Vec::is_empty) && proxy.requests().is_empty());
        assert!(lab.plain.connections().is_empty() && lab.tls.connections().is_empty());
    }
}
