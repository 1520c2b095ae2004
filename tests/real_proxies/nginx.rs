//! A real origin: nginx, which is strict about the host of a request over HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;
use tower_outbound_proxy::{Client, ProxyConfig};
use tower_outbound_proxy_lab::{Ca, connector, servers::Nginx, within};

#[tokio::test]
#[ignore = "needs nginx (Debian package nginx-light)"]
async fn the_callers_host_is_the_hosts_name_in_both_versions() {
    let ca = Ca::new();
    let nginx = Nginx::start(ca.issue(&["a.test"])).await.unwrap();
    let authority = format!("a.test:{}", nginx.addr().port());
    for (alpn, version) in [("h2", "HTTP/2.0"), ("http/1.1", "HTTP/1.1")] {
        let config = ProxyConfig::builder().build().unwrap();
        let builder = Client::builder().config(config).connector(connector());
        let client = builder.target_tls(ca.client_config(&[alpn])).build().unwrap();
        for (host, named) in [
            (None, "a.test"),
            (Some(&*authority), "a.test"),
            (Some("a.test"), "a.test"),
            (Some("virtual.test:8443"), "virtual.test"),
        ] {
            let mut request = Request::get(format!("https://{authority}/"))
                .body(Full::<Bytes>::default())
                .unwrap();
            if let Some(host) = host {
                request
                    .headers_mut()
                    .insert(header::HOST, HeaderValue::from_str(host).unwrap());
            }
            let response = within(client.clone().oneshot(request)).await.unwrap();
            assert_eq!(response.status(), 200, "{alpn} {host:?}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, format!("{version} {named}"), "{host:?}");
        }
    }
    // It writes its log after the response.
    let logged = async {
        while nginx.requests().len() < 8 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(logged).await;
    assert_eq!(nginx.requests().len(), 8);
}
