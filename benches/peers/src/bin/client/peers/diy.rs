//! A client written by hand with hyper-util alone: its `legacy::Client`, its `Matcher` and its `Tunnel`.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Uri, header, uri::Scheme};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::{
        legacy::{
            Client,
            connect::{HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::Matcher,
    },
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpStream;
use tower::Service;

use super::{NoBody, Setup, connector, drain};
use crate::{
    BoxError,
    run::{Fetch, Target},
    stream::Stream,
};

pub(crate) const NAME: &str = "hyper-util";

pub(crate) fn build(setup: &Setup) -> Result<impl Fetch, BoxError> {
    let matcher = Matcher::builder().all(setup.proxy.clone().unwrap_or_default()).build();
    let matcher = Arc::new(matcher);
    let connector = Connector {
        matcher: matcher.clone(),
        dial: HttpsConnector::from((connector(), setup.tls())),
        direct: connector(),
    };
    let mut tls = setup.tls();
    // As `hyper_rustls::HttpsConnectorBuilder` offers them, and this crate too.
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = Client::builder(TokioExecutor::new()).build(HttpsConnector::from((connector, tls)));
    Ok(Diy { client, matcher })
}

#[derive(Clone)]
struct Diy {
    client: Client<HttpsConnector<Connector>, NoBody>,
    matcher: Arc<Matcher>,
}

impl Fetch for Diy {
    async fn fetch(&self, target: &Target) -> Result<usize, BoxError> {
        let mut request = Request::get(target.uri.clone()).body(NoBody::new())?;
        if target.uri.scheme() == Some(&Scheme::HTTP) {
            let proxy = self.matcher.intercept(&target.uri);
            if let Some(credentials) = proxy.as_ref().and_then(|proxy| proxy.basic_auth()) {
                let headers = request.headers_mut();
                headers.insert(header::PROXY_AUTHORIZATION, credentials.clone());
            }
        }
        drain(self.client.request(request).await?).await
    }
}

type Dialled = Stream<MaybeHttpsStream<TokioIo<TcpStream>>>;
type Dialling = Pin<Box<dyn Future<Output = Result<Dialled, BoxError>> + Send>>;

#[derive(Clone)]
struct Connector {
    matcher: Arc<Matcher>,
    /// Connects to the proxy.
    dial: HttpsConnector<HttpConnector>,
    direct: HttpConnector,
}

impl Service<Uri> for Connector {
    type Response = Dialled;
    type Error = BoxError;
    type Future = Dialling;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.dial.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Dialling {
        let Some(proxy) = self.matcher.intercept(&target) else {
            let dial = self.direct.call(target);
            return Box::pin(async {
                Ok(Stream {
                    io: MaybeHttpsStream::Http(dial.await?),
                    forwards: false,
                })
            });
        };
        if target.scheme() == Some(&Scheme::HTTPS) {
            let mut tunnel = Tunnel::new(proxy.uri().clone(), self.dial.clone());
            if let Some(credentials) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(HeaderValue::clone(credentials));
            }
            let tunnel = tunnel.call(target);
            return Box::pin(async {
                Ok(Stream {
                    io: tunnel.await?,
                    forwards: false,
                })
            });
        }
        let dial = self.dial.call(proxy.uri().clone());
        Box::pin(async {
            Ok(Stream {
                io: dial.await?,
                forwards: true,
            })
        })
    }
}
