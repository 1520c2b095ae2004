//! The clients, each built as its documentation says, all with the same connector and the same trust.

pub(crate) mod diy;
pub(crate) mod hyper_http_proxy;
pub(crate) mod ours;
pub(crate) mod reqwest;

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Empty};
use hyper::body::Body;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::BoxError;

pub(crate) type NoBody = Empty<Bytes>;

/// The settings of a client.
pub(crate) struct Setup {
    pub(crate) proxy: Option<String>,
    roots: Arc<RootCertStore>,
}

impl Setup {
    pub(crate) fn new(proxy: &str, pem: &[u8]) -> Result<Self, BoxError> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem) {
            roots.add(root?)?;
        }
        Ok(Self {
            proxy: (proxy != "-").then(|| proxy.to_owned()),
            roots: roots.into(),
        })
    }

    /// Returns a new configuration that trusts the one root. It is new so that no client resumes another's sessions.
    pub(crate) fn tls(&self) -> ClientConfig {
        ClientConfig::builder()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth()
    }
}

/// Returns the connector of every client but reqwest and Go, which have their own.
pub(crate) fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector
}

/// Reads a body and gives its length.
pub(crate) async fn drain<B>(response: Response<B>) -> Result<usize, BoxError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    if !response.status().is_success() {
        return Err(format!("answered with {}", response.status()).into());
    }
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.map_err(Into::into)?.data_ref().map_or(0, Bytes::len);
    }
    Ok(length)
}
