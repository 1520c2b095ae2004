//! hyper-util alone: its `legacy::Client` over its `Tunnel`.

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connect, HttpConnector, proxy::Tunnel},
    },
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpStream;
use tower::{ServiceExt, service_fn};

use super::{Fetch, Open, Setup, Upload, connector, drain, request};
use crate::{BoxError, stream::Stream};

type Dial = HttpsConnector<HttpConnector>;

fn dial(setup: &Setup) -> Dial {
    HttpsConnector::from((connector(), setup.tls()))
}

fn tunnel(setup: &Setup) -> Result<Tunnel<Dial>, BoxError> {
    let tunnel = Tunnel::new(setup.proxy()?, dial(setup));
    Ok(match setup.authorization() {
        Some(authorization) => tunnel.with_auth(authorization),
        None => tunnel,
    })
}

/// Returns a client that has a tunnel for plain HTTP.
pub(crate) fn http(setup: &Setup) -> Result<impl Fetch + use<>, BoxError> {
    Ok(Peer(build(tunnel(setup)?)))
}

/// Returns a client that has a tunnel for TLS.
pub(crate) fn https(setup: &Setup) -> Result<impl Fetch + use<>, BoxError> {
    Ok(Peer(build(HttpsConnector::from((tunnel(setup)?, setup.tls())))))
}

/// Returns a client that is not behind a proxy.
pub(crate) fn direct(setup: &Setup) -> Result<impl Fetch + use<>, BoxError> {
    Ok(Peer(build(dial(setup))))
}

/// Returns a client that lets the proxy forward its requests.
pub(crate) fn forward(setup: &Setup) -> Result<impl Fetch + use<>, BoxError> {
    let (proxy, dial) = (setup.proxy()?, dial(setup));
    let connect = service_fn(move |_: Uri| {
        let dialling = dial.clone().oneshot(proxy.clone());
        Box::pin(async move { dialling.await.map(|io| Stream { io, forwards: true }) })
    });
    Ok(Peer(build(connect)))
}

fn build<C: Connect + Clone>(connector: C) -> Client<C, Upload> {
    Client::builder(TokioExecutor::new()).build(connector)
}

#[derive(Clone)]
struct Peer<C>(Client<C, Upload>);

impl<C: Connect + Clone + Send + Sync + 'static> Fetch for Peer<C> {
    async fn fetch(
        &self,
        target: &Uri,
        upload: Upload,
        read: impl FnMut(&[u8]) -> Result<(), BoxError> + Send,
    ) -> Result<(), BoxError> {
        drain(self.0.request(request(target, upload)?).await?, read).await
    }
}

/// Returns the connector alone.
pub(crate) fn raw(setup: &Setup) -> Result<impl Open + use<>, BoxError> {
    Ok(Raw(tunnel(setup)?))
}

#[derive(Clone)]
struct Raw(Tunnel<Dial>);

impl Open for Raw {
    type Tunnel = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;

    async fn open(&self, target: &Uri) -> Result<Self::Tunnel, BoxError> {
        Ok(TokioIo::new(self.0.clone().oneshot(target.clone()).await?))
    }
}
