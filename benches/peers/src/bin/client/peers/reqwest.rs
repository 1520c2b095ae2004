//! reqwest, without its default features.

use reqwest::{Client, Proxy};

use super::Setup;
use crate::{
    BoxError,
    run::{Fetch, Target},
};

pub(crate) const NAME: &str = "reqwest";

pub(crate) fn build(setup: &Setup) -> Result<impl Fetch, BoxError> {
    let builder = Client::builder().no_proxy().tls_backend_preconfigured(setup.tls());
    let builder = match &setup.proxy {
        Some(proxy) => builder.proxy(Proxy::all(proxy)?),
        None => builder,
    };
    Ok(Peer(builder.build()?))
}

#[derive(Clone)]
struct Peer(Client);

impl Fetch for Peer {
    async fn fetch(&self, target: &Target) -> Result<usize, BoxError> {
        let request = self.0.get(target.url.clone());
        let mut response = request.send().await?.error_for_status()?;
        let mut length = 0;
        while let Some(chunk) = response.chunk().await? {
            length += chunk.len();
        }
        Ok(length)
    }
}
