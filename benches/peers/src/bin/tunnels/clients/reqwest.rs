//! reqwest, without its default features. It has tunnels for `https` alone.

use http::Uri;
use reqwest::{Body, Client, Proxy};

use super::{Fetch, Setup, Upload, method};
use crate::BoxError;

pub(crate) fn client(setup: &Setup) -> Result<impl Fetch + use<>, BoxError> {
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
    async fn fetch(
        &self,
        target: &Uri,
        upload: Upload,
        mut read: impl FnMut(&[u8]) -> Result<(), BoxError> + Send,
    ) -> Result<(), BoxError> {
        let mut request = self.0.request(method(&upload), target.to_string());
        if upload.0.is_some() {
            request = request.body(Body::wrap(upload));
        }
        let mut response = request.send().await?.error_for_status()?;
        while let Some(chunk) = response.chunk().await? {
            read(&chunk)?;
        }
        Ok(())
    }
}
