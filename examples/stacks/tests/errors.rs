//! Promise: an error of the crate is found under the wrappers of these stacks. (tests/layer/errors.rs tests the
//! others.)

use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{BoxError, Layer};
use tower_outbound_proxy::{ConnectError, ProxyConfig, ProxyLayer, error::ConnectErrorKind};
use tower_outbound_proxy_lab::{ForwardProxy, connector, within};

#[tokio::test]
async fn it_is_found_under_tonics_transport() {
    let proxy = ForwardProxy::builder().deny("origin.test").start().await;
    let config = ProxyConfig::builder().all(proxy.url()).build().unwrap();
    let layer = ProxyLayer::new(config).with_always_tunnel(true);
    let endpoint = Endpoint::from_static("http://origin.test");
    let channel = endpoint.connect_with_connector(layer.layer(connector()));
    let error: BoxError = within(channel).await.unwrap_err().into();
    let found = ConnectError::find(&*error).unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!(found.response().unwrap().status(), 403);
    assert!(found.is_before_request() && !found.is_transient());
}

/// gRPC without TLS on a forward route: the error names the setting, and no byte reaches the proxy.
#[tokio::test]
async fn http2_without_a_tunnel_names_the_setting() {
    let proxy = ForwardProxy::builder().start().await;
    let layer = ProxyLayer::new(ProxyConfig::builder().all(proxy.url()).build().unwrap());
    let endpoint = Endpoint::from_static("http://origin.test:50051");
    let at_once = endpoint.connect_with_connector(layer.layer(connector()));
    let mut lazy = HealthClient::new(endpoint.connect_with_connector_lazy(layer.layer(connector())));
    let called = lazy.check(HealthCheckRequest::default());
    for error in [
        BoxError::from(within(at_once).await.unwrap_err()),
        BoxError::from(within(called).await.unwrap_err()),
    ] {
        let found = ConnectError::find(&*error).unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!(found.kind(), ConnectErrorKind::NeedsTunnel);
        assert!(found.to_string().contains("set `always_tunnel`"), "{found}");
        assert!(found.is_before_request() && !found.is_transient());
    }
    proxy.until(|proxy| proxy.connections_open() == 0).await;
    assert!(proxy.raw().iter().all(Vec::is_empty), "{:?}", proxy.raw());
}
