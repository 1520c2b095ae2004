//! A peer that speaks HTTP where TLS was expected, or TLS where HTTP was, is told as such: in the hyper-util stack, and
//! by `Client`.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{BoxError, ServiceExt};
use tower_outbound_proxy::{
    Client, ConnectError, ProxyConfig, ProxyLayer,
    error::{ConnectErrorKind, Stage},
};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Origin, Script, ScriptedProxy, Step, connector, within};

use crate::common::{client, everything, get};

const PAGE: &str = "HTTP/1.1 403 Blocked\r\nContent-Type: text/html\r\nContent-Length: 7\r\n\r\nblocked";

fn config(proxy: &str) -> ProxyConfig {
    ProxyConfig::builder().all(proxy).build().unwrap()
}

/// Returns the errors of the two stacks.
async fn errors(config: &ProxyConfig, url: &str) -> [BoxError; 2] {
    let ca = Ca::new();
    let layer = ProxyLayer::new(config.clone());
    let stack = client(layer.https_connector_with(connector(), ca.client_config(&[])));
    let own: Client<Full<Bytes>> = Client::builder()
        .config(config.clone())
        .target_tls(ca.client_config(&[]))
        .connector(connector())
        .build()
        .unwrap();
    let request = Request::get(url).body(Full::default()).unwrap();
    [
        within(get(&stack, url)).await.unwrap_err().into(),
        within(own.oneshot(request)).await.unwrap_err().into(),
    ]
}

fn chain(error: &BoxError) -> String {
    let chain = std::iter::successors(Some(&**error as &(dyn Error + 'static)), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_page_in_the_targets_place_is_told() {
    let early = format!("HTTP/1.1 200 OK\r\n\r\n{PAGE}");
    let later = |pieces: Step| Script::from([Step::established(), Step::Wait(Duration::from_millis(20)), pieces]);
    for script in [
        Step::send(early.clone()).into(),
        Step::pieces(early, 1).into(),
        later(Step::send(PAGE)),
        later(Step::pieces(PAGE, 1)),
        later(Step::send("H")),
    ] {
        let proxy = ScriptedProxy::start(script).await;
        let (host, port) = (proxy.addr().ip(), proxy.addr().port());
        let config = config(&format!("http://user:s3cret@{host}:{port}"));
        for error in errors(&config, "https://origin.test/").await {
            let found = ConnectError::find(&*error).unwrap_or_else(|| panic!("{}", chain(&error)));
            assert_eq!((found.kind(), found.stage()), (ConnectErrorKind::NotTls, Stage::Tunnel));
            assert!(found.is_before_request() && !found.is_transient() && found.response().is_none());
            assert_eq!(
                found.to_string(),
                format!(
                    "proxy http://user:***@{host}:{port}, to origin.test:443: HTTP came through the tunnel in answer to TLS: \
                     the proxy answered in the target's place (with a block page?), or the target does not speak TLS on \
                     this port"
                )
            );
            assert!(chain(&error).ends_with(&found.to_string()), "{}", chain(&error));
            assert!(!everything(&*error).contains("s3cret"));
        }
    }
}

/// The text is right for a target without TLS, and says nothing where the peer speaks neither.
#[tokio::test]
async fn a_target_without_tls_is_told() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder()
        .map("origin.test:443", origin.addr())
        .start()
        .await;
    for error in errors(&config(&proxy.url()), "https://origin.test/").await {
        let found = ConnectError::find(&*error).unwrap_or_else(|| panic!("{}", chain(&error)));
        assert_eq!(found.kind(), ConnectErrorKind::NotTls);
    }
    let other = ScriptedProxy::start([Step::established(), Step::send("220 mail.test ESMTP\r\n")]).await;
    for error in errors(&config(&other.url()), "https://origin.test/").await {
        assert!(ConnectError::find(&*error).is_none(), "{}", chain(&error));
    }
}

#[tokio::test]
async fn an_http_address_of_a_tls_proxy_is_told_on_a_forward_route() {
    let ca = Ca::new();
    let proxy = ForwardProxy::builder().tls(ca.issue(&["localhost"]).server_config(&[]));
    let proxy = proxy.start().await;
    let alert = [&b"\x15"[..], b"\x03", b"\x03\x00\x02\x02\x46"].map(Bytes::from_static);
    let split = ScriptedProxy::start(Step::SendEach(alert.to_vec(), Duration::from_millis(5))).await;
    for proxy in [&*proxy, &*split] {
        let address = format!("http://user:s3cret@localhost:{}", proxy.port());
        for error in errors(&config(&address), "http://origin.test/").await {
            let text = format!(
                "proxy http://user:***@localhost:{}: the response is TLS, not HTTP/1 (is it an `https://` proxy?)",
                proxy.port()
            );
            assert!(chain(&error).ends_with(&text), "{}", chain(&error));
            assert!(!everything(&*error).contains("s3cret"));
            // The request was sent, so there is no promise that it was not.
            assert!(ConnectError::find(&*error).is_none());
        }
    }
}
