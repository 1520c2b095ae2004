//! This crate's `Client`.

use http::Request;
use tower::ServiceExt;
use tower_outbound_proxy::{Client, ProxyConfig};

use super::{NoBody, Setup, connector, drain};
use crate::{
    BoxError,
    run::{Fetch, Target},
};

pub(crate) const NAME: &str = "this crate";

pub(crate) fn build(setup: &Setup) -> Result<impl Fetch, BoxError> {
    let mut config = ProxyConfig::builder().proxy_tls(setup.tls());
    if let Some(proxy) = &setup.proxy {
        config = config.all(proxy.as_str());
    }
    let client = Client::builder()
        .config(config.build()?)
        .target_tls(setup.tls())
        .connector(connector());
    Ok(Ours(client.build()?))
}

#[derive(Clone)]
struct Ours(Client<NoBody>);

impl Fetch for Ours {
    async fn fetch(&self, target: &Target) -> Result<usize, BoxError> {
        let request = Request::get(target.uri.clone()).body(NoBody::new())?;
        drain(self.0.clone().oneshot(request).await?).await
    }
}
