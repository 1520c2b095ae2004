//! This crate: its `Client`, and its layer around a connector.

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tower::{Layer, ServiceExt};
use tower_outbound_proxy::{
    Client, Proxy, ProxyConfig, ProxyLayer,
    connector::{ProxyStream, ProxyVersion},
};

use super::{Fetch, Open, Setup, Upload, connector, drain, request};
use crate::{BoxError, job::Inside};

fn layer_of(setup: &Setup, version: ProxyVersion) -> Result<ProxyLayer, BoxError> {
    let mut config = ProxyConfig::builder()
        .proxy_tls(setup.tls())
        .always_tunnel(setup.inside == Inside::Http);
    if let Some(proxy) = &setup.proxy {
        config = config.all(proxy.as_str());
    }
    Ok(ProxyLayer::new(config.build()?).with_proxy_version(version))
}

pub(crate) fn client(setup: &Setup, version: ProxyVersion) -> Result<impl Fetch + use<>, BoxError> {
    let client = Client::builder()
        .layer(layer_of(setup, version)?)
        .target_tls(setup.tls())
        .connector(connector());
    Ok(Ours(client.build()?))
}

#[derive(Clone)]
struct Ours(Client<Upload>);

impl Fetch for Ours {
    async fn fetch(
        &self,
        target: &Uri,
        upload: Upload,
        read: impl FnMut(&[u8]) -> Result<(), BoxError> + Send,
    ) -> Result<(), BoxError> {
        drain(self.0.clone().oneshot(request(target, upload)?).await?, read).await
    }
}

pub(crate) fn layer(setup: &Setup, version: ProxyVersion) -> Result<impl Open + use<>, BoxError> {
    Ok(Layered(layer_of(setup, version)?.layer(connector())))
}

#[derive(Clone)]
struct Layered(Proxy<HttpConnector>);

impl Open for Layered {
    type Tunnel = ProxyStream<TokioIo<TcpStream>>;

    async fn open(&self, target: &Uri) -> Result<Self::Tunnel, BoxError> {
        let (host, port) = (target.host().ok_or("no host")?, target.port_u16().ok_or("no port")?);
        Ok(self.0.clone().tunnel(host, port).await?)
    }
}
