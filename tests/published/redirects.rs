//! Credentials that stay with a request whose target changes.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::header;
use tower_outbound_proxy::ProxyConfig;
use tower_outbound_proxy_lab::within;

use super::{Outgoing, clients, following, get, is_spared, labs, request};
use crate::leaks::lab::{Proxy, Trust, Way};

/// Returns a request to which its caller has added the proxy's credentials by hand.
fn with_own(url: &str) -> Outgoing {
    let mut request = request(url);
    let own = format!("Basic {}", BASE64_STANDARD.encode("user:s3cret"));
    request
        .headers_mut()
        .insert(header::PROXY_AUTHORIZATION, own.parse().unwrap());
    request
}

/// Python's requests added `Proxy-Authorization` to a request that was redirected to `https`, where it went through the
/// tunnel to the origin.
#[tokio::test]
async fn cve_2023_32681_a_redirect_to_https_does_not_take_the_proxys_credentials_along() {
    for lab in labs(&Trust::new()).await {
        let [before, after] = [Way::Forward(Proxy::A), Way::Tunnel(Proxy::A)];
        for client in clients(&lab, &lab.settings(before, false)) {
            let target = lab.common_url(after, "/");
            let url = lab.common_url(before, &format!("/redirect?{target}"));
            get(&following(client), with_own(&url)).await;
        }
        assert_eq!((lab.plain.requests().len(), lab.tls.requests().len()), (2, 2));
        assert!(is_spared(&lab.plain) && is_spared(&lab.tls));
    }
}

/// urllib3 kept a `Proxy-Authorization` that its caller had set when a redirect led to another origin, without a proxy
/// as well.
#[tokio::test]
async fn cve_2024_37891_a_callers_own_proxy_authorization_does_not_reach_any_origin() {
    for lab in labs(&Trust::new()).await {
        for (before, after) in [
            (Way::Direct, Way::DirectTls),
            (Way::DirectTls, Way::Direct),
            (Way::Direct, Way::Direct),
        ] {
            for client in clients(&lab, &ProxyConfig::builder().build().unwrap()) {
                // Another host, and another scheme or not.
                let target = lab.url(after, "/");
                let url = lab.common_url(before, &format!("/redirect?{target}"));
                get(&following(client), with_own(&url)).await;
            }
        }
        assert_eq!(lab.plain.requests().len() + lab.tls.requests().len(), 12);
        assert!(is_spared(&lab.plain) && is_spared(&lab.tls));
    }
}

/// curl sent the first proxy's credentials to the second, where a redirect from `http` to `https` led to another proxy
/// that has none.
#[tokio::test]
async fn cve_2026_6253_a_redirect_to_another_proxy_does_not_take_the_first_ones_credentials_along() {
    for lab in labs(&Trust::new()).await {
        let second = lab.proxy(Proxy::B);
        let config = ProxyConfig::builder()
            .http(lab.server(Proxy::A, false))
            .https(format!("{}://{}", second.scheme(), second.authority()))
            .proxy_tls(lab.trust.clone())
            .build()
            .unwrap();
        for client in clients(&lab, &config) {
            let target = lab.common_url(Way::Tunnel(Proxy::B), "/");
            let url = lab.common_url(Way::Forward(Proxy::A), &format!("/redirect?{target}"));
            get(&following(client), request(&url)).await;
        }
        assert_eq!((lab.proxy(Proxy::A).requests().len(), second.requests().len()), (2, 2));
        assert!(is_spared(second));
        within(lab.settled()).await;
        assert_eq!(lab.faults(&[]), [""; 0]);
    }
}
