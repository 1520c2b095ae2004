//! hyper-http-proxy's connector under hyper-util's client.

use std::sync::Arc;

use http::Request;
use hyper_http_proxy::{Intercept, Proxy, ProxyConnector};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio_rustls::TlsConnector;

use super::{NoBody, Setup, connector, drain};
use crate::{
    BoxError,
    run::{Fetch, Target},
};

pub(crate) const NAME: &str = "hyper-http-proxy";

type Connector = ProxyConnector<HttpsConnector<HttpConnector>>;

pub(crate) fn build(setup: &Setup) -> Result<impl Fetch, BoxError> {
    let mut connector = ProxyConnector::unsecured(HttpsConnector::from((connector(), setup.tls())));
    connector.set_tls(Some(TlsConnector::from(Arc::new(setup.tls()))));
    if let Some(proxy) = &setup.proxy {
        connector.add_proxy(Proxy::new(Intercept::All, proxy.parse()?));
    }
    Ok(Peer {
        client: Client::builder(TokioExecutor::new()).build(connector.clone()),
        connector,
    })
}

#[derive(Clone)]
struct Peer {
    client: Client<Connector, NoBody>,
    connector: Connector,
}

impl Fetch for Peer {
    async fn fetch(&self, target: &Target) -> Result<usize, BoxError> {
        let mut request = Request::get(target.uri.clone()).body(NoBody::new())?;
        if let Some(headers) = self.connector.http_headers(&target.uri) {
            let headers = headers.iter().map(|(name, value)| (name.clone(), value.clone()));
            request.headers_mut().extend(headers);
        }
        drain(self.client.request(request).await?).await
    }
}
