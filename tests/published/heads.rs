//! Requests that hide in other requests' heads.

use http::{HeaderValue, Uri};
use tower::Layer;
use tower_outbound_proxy::{ProxyConfig, ProxyServer, error::ConnectErrorKind};
use tower_outbound_proxy_lab::{connector, within};

use super::{clients, get, labs, request};
use crate::leaks::lab::{Proxy, Trust};

/// CPython's `http.client` wrote a target's host and the header fields of CONNECT as they were given: a CR and LF in
/// them began another field, or another request.
#[tokio::test]
async fn cve_2026_1502_a_line_break_does_not_begin_another_line_of_connect() {
    let breaks = [
        "\r\nX-Injected: y",
        "\nX-Injected: y",
        "\r",
        "\0",
        "\r\n\r\nGET http://x-injected.test/ HTTP/1.1\r\n\r\n",
    ];
    for lab in labs(&Trust::new()).await {
        let config = ProxyConfig::builder()
            .all(lab.server(Proxy::A, false))
            .always_tunnel(true)
            .loopback_direct(false)
            .proxy_tls(lab.trust.clone());
        let config = config.build().unwrap();
        let mut half = lab.layer(config.clone()).layer(connector());
        for text in breaks {
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            // A host, for the connector half as it is, and for clients within a URI.
            for host in [
                format!("a.test{text}"),
                format!("a.test:80{text}"),
                format!("[::1{text}]"),
                format!("a.test{escaped}"),
            ] {
                let error = within(half.tunnel(&host, 443)).await.unwrap_err();
                assert_eq!(error.kind(), ConnectErrorKind::Target, "{host:?}: {error}");
                assert!(Uri::try_from(format!("http://{host}/")).is_err(), "{host:?}");
            }
            // A field of CONNECT.
            assert!(HeaderValue::try_from(format!("agent{text}")).is_err());
            // Credentials, whose escapes are decoded.
            for userinfo in [
                format!("user{escaped}:secret"),
                format!("user:secret{escaped}"),
                format!("user{text}:secret"),
            ] {
                let proxy = format!("http://{userinfo}@proxy.test").parse::<ProxyServer>();
                assert!(proxy.is_err(), "{userinfo:?}");
            }
        }
        assert_eq!(lab.proxy(Proxy::A).connections_opened(), 0);

        // A zone is left out, whatever it is.
        for text in breaks {
            let _ = within(half.tunnel(&format!("[::1%{text}]"), 443)).await;
        }
        let asked = lab.proxy(Proxy::A).requests();
        assert!(
            asked.len() == breaks.len() && asked.iter().all(|request| request.target == "[::1]:443"),
            "{asked:?}"
        );

        for raw in lab.proxy(Proxy::A).raw() {
            assert!(
                !raw.to_ascii_lowercase()
                    .windows(10)
                    .any(|window| window == b"x-injected")
            );
        }

        // Other targets are reached as ever.
        for client in clients(&lab, &config) {
            get(&client, request(&format!("http://x.test:{}/", lab.plain.port()))).await;
        }
    }
}
