//! What one writes by hand with hyper-util alone: its `legacy::Client`, its `Matcher` and its `Tunnel`.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Uri, header, uri::Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::{
        legacy::{
            Client,
            connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
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

type Dialled = MaybeHttpsStream<TokioIo<TcpStream>>;
type Dialling = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

#[derive(Clone)]
struct Connector {
    matcher: Arc<Matcher>,
    /// To the proxy.
    dial: HttpsConnector<HttpConnector>,
    direct: HttpConnector,
}

impl Service<Uri> for Connector {
    type Response = Stream;
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

/// Tells hyper whether to send absolute-form.
struct Stream {
    io: Dialled,
    forwards: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.forwards)
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
