//! Proxies and exemptions that others than the operator choose.

use tower_outbound_proxy::ProxyConfig;
use tower_outbound_proxy_lab::Origin;

use super::{clients, get, labs, request};
use crate::leaks::lab::{Proxy, Trust, Way};

/// "httpoxy": in PHP, Go and other programs, a CGI script's request could name the proxy in its header field `Proxy`,
/// which becomes the variable `HTTP_PROXY`.
#[tokio::test]
async fn cve_2016_5385_the_header_field_of_a_request_does_not_name_the_proxy() {
    for lab in labs(&Trust::new()).await {
        let [good, evil] = [Proxy::A, Proxy::B].map(|proxy| lab.server(proxy, false).url_with_password());
        let in_cgi = |vars: &[(&str, &str)]| {
            let config = ProxyConfig::builder().proxy_tls(lab.trust.clone());
            config
                .vars([&[("REQUEST_METHOD", "GET")], vars].concat())
                .build()
                .unwrap()
        };
        let url = lab.common_url(Way::Direct, "/");
        for name in ["HTTP_PROXY", "Http_Proxy"] {
            for client in clients(&lab, &in_cgi(&[(name, &evil)])) {
                get(&client, request(&url)).await;
            }
            for client in clients(&lab, &in_cgi(&[(name, &evil), ("http_proxy", &good)])) {
                get(&client, request(&url)).await;
            }
        }
        assert_eq!(lab.proxy(Proxy::B).connections_opened(), 0);
        assert_eq!(
            (lab.proxy(Proxy::A).requests().len(), lab.plain.requests().len()),
            (4, 8)
        );
    }
}

/// Go compared an IPv6 address's zone with the names of `NO_PROXY`: whoever chose the URL could bypass the proxy.
#[tokio::test]
async fn cve_2025_22870_a_zone_that_looks_like_a_listed_name_does_not_bypass_the_proxy() {
    let origin = Origin::builder().listen_v6().start().await;
    for lab in labs(&Trust::new()).await {
        let config = ProxyConfig::builder()
            .all(lab.server(Proxy::A, false))
            .proxy_tls(lab.trust.clone())
            .loopback_direct(false)
            .no_proxy("listed.test,*.listed.test");
        for client in clients(&lab, &config.build().unwrap()) {
            let url = format!("http://[::1%25.listed.test]:{}/", origin.port());
            get(&client, request(&url)).await;
        }
        let targets: Vec<_> = lab
            .proxy(Proxy::A)
            .requests()
            .into_iter()
            .map(|request| request.target)
            .collect();
        let expected = format!("http://[::1]:{}/", origin.port());
        assert_eq!(targets, [&*expected, &expected]);
    }
}

/// axios compared hosts letter by letter with `NO_PROXY`: `localhost.` and `[::1]` went to the proxy though they were
/// exempt (and so did addresses mapped to IPv6, CVE-2026-44492).
#[tokio::test]
async fn cve_2025_62718_another_spelling_of_an_exempt_host_is_exempt() {
    let v6 = Origin::builder().listen_v6().start().await;
    for lab in labs(&Trust::new()).await {
        let config = ProxyConfig::builder()
            .all(lab.server(Proxy::A, false))
            .proxy_tls(lab.trust.clone())
            .loopback_direct(false)
            .no_proxy("localhost,127.0.0.1,::1,x.test");
        let config = config.build().unwrap();
        let (port, v6_port) = (lab.plain.port(), v6.port());
        for client in clients(&lab, &config) {
            for host in [
                "localhost.",
                "LOCALHOST",
                "X.test.",
                "127.1",
                "0x7f.1",
                "2130706433",
                "[::ffff:127.0.0.1]",
                "[::ffff:7f00:1]",
            ] {
                get(&client, request(&format!("http://{host}:{port}/"))).await;
            }
            for host in ["[::1]", "[0:0:0:0:0:0:0:1]"] {
                get(&client, request(&format!("http://{host}:{v6_port}/"))).await;
            }
        }
        assert_eq!(lab.proxy(Proxy::A).connections_opened(), 0);
        assert_eq!(lab.plain.requests().len(), 16);
    }
    assert_eq!(v6.requests().len(), 8);
}
