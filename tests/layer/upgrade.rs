//! Promise: around hyper-util's client, an upgrade that a proxy would not pass on is an error that names the way, and
//! the way works.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body_util::Full;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_outbound_proxy::{
    ConnectError, ProxyConfig, ProxyLayer, Route,
    error::{ConnectErrorKind, Stage},
};
use tower_outbound_proxy_lab::{ForwardProxy, Origin, connector, within};

use crate::common;

fn upgrade(url: &str) -> Request<Full<Bytes>> {
    let request = Request::get(url).header(header::UPGRADE, "echo");
    request
        .header(header::CONNECTION, "Upgrade")
        .body(Full::default())
        .unwrap()
}

fn layer(proxy: &ForwardProxy) -> ProxyLayer {
    let config = ProxyConfig::builder().all(proxy.url_with("user:s3cret@"));
    ProxyLayer::new(config.no_proxy("direct.test").build().unwrap())
}

async fn send(layer: &ProxyLayer, request: Request<Full<Bytes>>) -> Result<StatusCode, BoxError> {
    let service = layer.layer(common::client(layer.layer(connector())));
    within(service.oneshot(request)).await.map(|response| response.status())
}

#[tokio::test]
async fn an_upgrade_that_would_be_forwarded_is_not_sent() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().start().await;
    let error = send(&layer(&proxy), upgrade(&origin.url("/"))).await;
    // An origin at an address of this machine is reached directly, without a proxy that could drop anything.
    assert!(error.is_ok());
    let named = format!("http://x.test:{}/", origin.port());
    let error = send(&layer(&proxy), upgrade(&named)).await.unwrap_err();
    let error = ConnectError::find(&*error).unwrap();
    assert_eq!(
        (error.kind(), error.stage()),
        (ConnectErrorKind::NeedsTunnel, Stage::Target)
    );
    assert!(error.is_before_request() && !error.is_transient());
    assert_eq!(
        error.to_string(),
        format!(
            "proxy http://user:***@{}, to x.test:{}: the request asks for an upgrade (to WebSocket, for instance), which a \
             proxy that forwards does not pass on: set `always_tunnel`, so that http targets are reached through a tunnel",
            proxy.authority(),
            origin.port()
        )
    );
    assert_eq!(proxy.connections_opened(), 0);
}

#[tokio::test]
async fn an_upgrade_works_with_always_tunnel_and_on_a_direct_route() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().basic("user", "s3cret").start().await;
    for (host, tunnels) in [("x.test", 1), ("direct.test", 1)] {
        let url = format!("http://{host}:{}/upgrade", origin.port());
        let status = send(&layer(&proxy).with_always_tunnel(true), upgrade(&url))
            .await
            .unwrap();
        assert_eq!(status, StatusCode::SWITCHING_PROTOCOLS, "{host}");
        assert_eq!(proxy.connections_opened(), tunnels, "{host}");
    }
}

/// A field without the other is no request for an upgrade (RFC 9110 7.8).
#[tokio::test]
async fn only_a_request_for_an_upgrade_fails() {
    let service = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
    let config = ProxyConfig::builder().all("http://proxy.test").build().unwrap();
    let mut service = ProxyLayer::new(config).layer(service);
    let ask = |fields: &[(HeaderName, &str)]| {
        let mut request = Request::get("http://x.test/");
        for (name, value) in fields {
            request = request.header(name, *value);
        }
        request.body(()).unwrap()
    };
    const UPGRADE: HeaderName = header::UPGRADE;
    const CONNECTION: HeaderName = header::CONNECTION;
    for (fields, is_upgrade) in [
        (&[(UPGRADE, "websocket"), (CONNECTION, "keep-alive, UPGRADE")][..], true),
        (
            &[(UPGRADE, "h2c"), (CONNECTION, "keep-alive"), (CONNECTION, "upgrade")],
            true,
        ),
        (&[(UPGRADE, "websocket")], false),
        (&[(UPGRADE, "websocket"), (CONNECTION, "upgrades")], false),
        (&[(CONNECTION, "upgrade")], false),
        (&[], false),
    ] {
        let outcome = service.call(ask(fields)).await;
        assert_eq!(outcome.is_err(), is_upgrade, "{fields:?}");
    }
    // A route that was chosen elsewhere counts.
    let proxy = "http://proxy.test".parse().unwrap();
    let mut request = ask(&[(UPGRADE, "websocket"), (CONNECTION, "upgrade")]);
    common::decide(&mut request, Route::Tunnel(proxy));
    assert!(service.call(request).await.is_ok());
}
