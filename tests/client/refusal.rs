//! A forwarding proxy that asks for credentials: the same error as for a tunnel.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy, rt::TokioExecutor};
use tower::{BoxError, Layer, ServiceExt};
use tower_outbound_proxy::{
    ConnectError, ProxyLayer,
    error::{ConnectErrorKind, Stage},
};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, ScriptedProxy, Step, connector, within};

use super::{TestClient, builder, client, eventually, now, request, send, through, unproxied};

#[tokio::test]
async fn the_same_wrong_password_is_the_same_error_for_http_and_https() {
    let proxy = ForwardProxy::builder().basic("user", "secret").start().await;
    for (userinfo, said) in [
        ("user:wr0ng-one@", "rejected the configured credentials"),
        ("", "no credentials are configured for it"),
    ] {
        let client = client(through(proxy.url_with(userinfo).as_str()), &Ca::new());
        for (url, stage, refused) in [
            ("http://a.test/", Stage::Forward, "a.test:80: the request was refused"),
            ("https://a.test/", Stage::Tunnel, "a.test:443: the tunnel was refused"),
        ] {
            let error = send(&client, request(url)).await.unwrap_err();
            assert!(error.is_before_request() && error.is_connect() && !error.is_transient() && !error.is_timeout());
            let error = error.connect_error().unwrap();
            assert_eq!(
                (error.kind(), error.stage()),
                (ConnectErrorKind::AuthenticationRequired, stage)
            );
            assert_eq!(error.challenges()[0].realm(), Some("lab"));
            assert_eq!(
                error.response().unwrap().body(),
                b"the lab refuses (authentication): credentials are required\n"
            );
            let text = format!("{error} {error:?}");
            assert!(text.contains(refused) && text.contains(said), "{text}");
            assert!(!text.contains("wr0ng"), "{text}");
        }
        // A short refusal leaves the connection to others.
        assert_eq!(now(&client), [1, 1, 0, 0]);
    }
}

/// Parts of the request that a proxy sends back are not shown.
#[tokio::test]
async fn an_echo_of_the_password_is_hidden() {
    let echo = "HTTP/1.1 407 No s3cret0\r\nProxy-Authenticate: Basic realm=\"s3cret0\"\r\nX-s3cret0: s3cret0\r\n\
                Content-Length: 7\r\n\r\ns3cret0";
    let proxy = ScriptedProxy::start([Step::send(echo)]).await;
    let client = client(through(proxy.url_with("user:s3cret0@").as_str()), &Ca::new());
    let error = send(&client, request("http://a.test/")).await.unwrap_err();
    let connect = error.connect_error().unwrap();
    assert_eq!(connect.response().unwrap().body(), b"***");
    let text = format!(
        "{error} {error:?} {connect} {:?}",
        connect.response().unwrap().headers()
    );
    assert!(!text.contains("s3cret0"), "{text}");
}

/// A body that does not end, or is long, holds neither the error nor the memory.
#[tokio::test]
async fn the_body_of_a_refusal_has_limits() {
    for (body, length) in [
        (vec![Step::send("begins"), Step::Hang], 6),
        (vec![Step::send("x".repeat(100_000)), Step::Hang], 4096),
    ] {
        let head = Step::send("HTTP/1.1 407 No\r\nContent-Length: 1000000\r\n\r\n");
        let script: Vec<Step> = [head].into_iter().chain(body).collect();
        let proxy = ScriptedProxy::start(script).await;
        let layer = ProxyLayer::new(through(proxy.url())).with_connect_timeout(Some(Duration::from_millis(200)));
        let client: TestClient = builder(unproxied(), &Ca::new()).layer(layer).build().unwrap();
        let error = send(&client, request("http://a.test/")).await.unwrap_err();
        assert_eq!(error.connect_error().unwrap().response().unwrap().body().len(), length);
        eventually(|| now(&client) == [0, 0, 0, 0]).await;
    }
}

/// `false` leaves the response as it is. Around another client, `true` makes it an error too.
#[tokio::test]
async fn a_layer_decides() {
    let proxy = ForwardProxy::builder().basic("user", "secret").start().await;
    let layer = ProxyLayer::new(through(proxy.url()));
    let as_it_is: TestClient = builder(unproxied(), &Ca::new())
        .layer(layer.clone().with_auth_errors(false))
        .build()
        .unwrap();
    assert_eq!(send(&as_it_is, request("http://a.test/")).await.unwrap().status(), 407);

    for (layer, is_error) in [
        (layer.clone(), false),
        (layer.clone().with_auth_errors(false), false),
        (layer.with_auth_errors(true), true),
    ] {
        let inner = legacy::Client::builder(TokioExecutor::new()).build(layer.layer(connector()));
        let client = layer.layer(inner);
        let get = http::Request::get("http://a.test/")
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let result: Result<_, BoxError> = within(client.oneshot(get)).await;
        match result {
            Ok(response) => {
                assert!(!is_error && response.status() == 407);
                response.into_body().collect().await.unwrap();
            }
            Err(error) => {
                let error = ConnectError::find(&*error).unwrap();
                assert!(
                    is_error && error.kind() == ConnectErrorKind::AuthenticationRequired,
                    "{error}"
                );
                assert_eq!(error.stage(), Stage::Forward);
            }
        }
    }
}
