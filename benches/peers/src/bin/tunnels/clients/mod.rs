//! The Rust clients, each built as its documentation says, all with the same trust.

pub(crate) mod hyper_util;
pub(crate) mod ours;
pub(crate) mod reqwest;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ::hyper_util::client::{legacy::connect::HttpConnector, proxy::matcher::Matcher};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{BoxError, content::Content, job::Inside};

/// The settings of a client.
pub(crate) struct Setup {
    pub(crate) proxy: Option<String>,
    pub(crate) inside: Inside,
    roots: Arc<RootCertStore>,
}

impl Setup {
    pub(crate) fn new(proxy: &str, inside: Inside, pem: &[u8]) -> Result<Self, BoxError> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem) {
            roots.add(root?)?;
        }
        Ok(Self {
            proxy: (proxy != "-").then(|| proxy.to_owned()),
            inside,
            roots: roots.into(),
        })
    }

    /// Returns a new configuration that trusts the one root. It is new so that no client resumes another's sessions.
    fn tls(&self) -> ClientConfig {
        ClientConfig::builder()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth()
    }

    fn proxy(&self) -> Result<Uri, BoxError> {
        let proxy = self
            .proxy
            .as_ref()
            .ok_or("this client has no direct connections here")?;
        Ok(proxy.parse()?)
    }

    /// Returns the value of `Proxy-Authorization`, if the proxy's URL has credentials.
    fn authorization(&self) -> Option<HeaderValue> {
        // hyper-util's own reader of proxies' URLs.
        let matcher = Matcher::builder().all(self.proxy.clone().unwrap_or_default()).build();
        let target = Uri::from_static("https://host/");
        matcher.intercept(&target)?.basic_auth().cloned()
    }
}

/// One of the clients. Clones share its pool.
pub(crate) trait Fetch: Clone + Send + Sync + 'static {
    /// Gets the target, or sends it content if there is any, and hands on the response's body piece by piece.
    fn fetch(
        &self,
        target: &Uri,
        upload: Upload,
        read: impl FnMut(&[u8]) -> Result<(), BoxError> + Send,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// One of the connectors. Clones share what they share.
pub(crate) trait Open: Clone + Send + Sync + 'static {
    type Tunnel: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens a tunnel.
    fn open(&self, target: &Uri) -> impl Future<Output = Result<Self::Tunnel, BoxError>> + Send;
}

/// The body of a request: a host's content, or nothing.
#[derive(Default)]
pub(crate) struct Upload(pub(crate) Option<Content>);

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let content = self.0.as_mut().filter(|content| content.left() > 0);
        Poll::Ready(content.map(|content| Ok(Frame::data(content.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, Content::left))
    }
}

/// Returns the dialler of every client but reqwest, which has its own.
fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector
}

fn request(target: &Uri, upload: Upload) -> Result<Request<Upload>, BoxError> {
    let request = Request::builder().method(method(&upload)).uri(target.clone());
    Ok(request.body(upload)?)
}

fn method(upload: &Upload) -> Method {
    match upload.0 {
        Some(_) => Method::POST,
        None => Method::GET,
    }
}

/// Hands on the body of a response that is a success.
async fn drain<B>(response: Response<B>, mut read: impl FnMut(&[u8]) -> Result<(), BoxError>) -> Result<(), BoxError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    if !response.status().is_success() {
        return Err(format!("answered with {}", response.status()).into());
    }
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.map_err(Into::into)?.data_ref() {
            read(data)?;
        }
    }
    Ok(())
}
