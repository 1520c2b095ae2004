//! Promise: an error of the crate is found under the wrappers of these stacks. (tests/layer/errors.rs tests the
//! others.)

use tonic::transport::Endpoint;
use tower::{BoxError, Layer};
use tower_outbound_proxy::{ConnectError, ProxyConfig, ProxyLayer};
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
