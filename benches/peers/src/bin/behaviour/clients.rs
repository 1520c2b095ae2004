//! The clients: each reads the environment, makes one request, and prints all that its caller gets to know.
//!
//! Each runs in a process of its own, since a process has one environment.

use std::{
    env,
    error::Error,
    fmt::Debug,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Uri, header::PROXY_AUTHORIZATION};
use http_body_util::{BodyExt, Empty};
use hyper_http_proxy::{Intercept, Proxy, ProxyConnector};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::{
        legacy::{
            Client,
            connect::{Connect, HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::Matcher,
    },
    rt::{TokioExecutor, TokioIo},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::net::TcpStream;
use tower::{Layer, Service, ServiceExt};
use tower_outbound_proxy::{ConnectError, ProxyLayer};
use tower_outbound_proxy_lab::{Resolver, connector};

use crate::stream::Stream;

type BoxError = Box<dyn Error + Send + Sync>;

/// The variable that holds the path of the roots that clients are to trust.
pub(crate) const ROOTS: &str = "LAB_ROOTS";
/// The variable that asks for a tunnel to `http` targets, too.
pub(crate) const TUNNEL: &str = "LAB_TUNNEL";

/// The clients that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    ThisCrate,
    HyperUtil,
    HyperHttpProxy,
    Reqwest,
}

impl Peer {
    pub(crate) const ALL: [Self; 4] = [Self::ThisCrate, Self::HyperUtil, Self::HyperHttpProxy, Self::Reqwest];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ThisCrate => "this crate",
            Self::HyperUtil => "hyper-util 0.1.21",
            Self::HyperHttpProxy => "hyper-http-proxy 1.2.0",
            Self::Reqwest => "reqwest 0.13.5",
        }
    }

    /// It reads `NO_PROXY`.
    pub(crate) fn has_no_proxy(self) -> bool {
        self != Self::HyperHttpProxy
    }

    /// It can tunnel to `http` targets.
    pub(crate) fn has_http_tunnels(self) -> bool {
        self != Self::Reqwest
    }

    /// Makes one request and prints its status, or "error" and, on further lines, what the error tells.
    pub(crate) async fn run(self, url: &str) {
        let outcome = match self {
            Self::ThisCrate => this_crate(url).await,
            Self::HyperUtil => hyper_util(url).await,
            Self::HyperHttpProxy => hyper_http_proxy(url).await,
            Self::Reqwest => reqwest(url).await,
        };
        match outcome {
            Ok(status) => println!("{status}"),
            Err(error) => {
                println!("error");
                let error: &(dyn Error + 'static) = &*error;
                let chain: Vec<_> = std::iter::successors(Some(error), |&error| error.source())
                    .map(ToString::to_string)
                    .collect();
                println!("{}", chain.join(": ").replace('\n', " "));
                println!("{error:?}");
                if let Some(response) = ConnectError::find(error).and_then(ConnectError::response) {
                    println!("{} {:?}", response.status(), response.headers());
                    println!("{}", String::from_utf8_lossy(response.body()));
                }
            }
        }
    }
}

/// Prints the `Debug` output of a client's settings.
fn show(configured: &dyn Debug) {
    eprintln!("{configured:?}\n{configured:#?}");
}

fn roots() -> Result<ClientConfig, BoxError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = env::var_os(ROOTS) {
        roots.add(CertificateDer::from_pem_file(path)?)?;
    }
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn always_tunnel() -> bool {
    env::var_os(TUNNEL).is_some()
}

fn client<C: Connect + Clone>(connector: C) -> Client<C, Empty<Bytes>> {
    Client::builder(TokioExecutor::new()).build(connector)
}

fn request(url: &str) -> Result<Request<Empty<Bytes>>, BoxError> {
    Ok(Request::get(url).body(Empty::new())?)
}

async fn this_crate(url: &str) -> Result<u16, BoxError> {
    let layer = ProxyLayer::from_env()?.with_always_tunnel(always_tunnel());
    show(&layer);
    let connector = layer.https_connector_with(connector(), roots()?);
    let response = layer.layer(client(connector)).oneshot(request(url)?).await?;
    let status = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(status)
}

/// As its documentation has it: a `Matcher` that decides, a `Tunnel` for what is `https`, and credentials on the request
/// for what is not.
async fn hyper_util(url: &str) -> Result<u16, BoxError> {
    let matcher = Arc::new(Matcher::from_env());
    show(&matcher);
    let mut request = request(url)?;
    if request.uri().scheme_str() == Some("http") && !always_tunnel() {
        let proxy = matcher.intercept(request.uri());
        if let Some(credentials) = proxy.as_ref().and_then(|proxy| proxy.basic_auth()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, credentials.clone());
        }
    }
    let connector = HttpsConnector::from((Glue { matcher }, roots()?));
    let response = client(connector).request(request).await?;
    let status = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(status)
}

#[derive(Clone)]
struct Glue {
    matcher: Arc<Matcher>,
}

impl Service<Uri> for Glue {
    type Response = Stream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let mut connector: HttpConnector<Resolver> = connector();
        let proxy = self.matcher.intercept(&target);
        Box::pin(async move {
            let (io, forwards) = match proxy {
                None => (connector.call(target).await?, false),
                Some(proxy) if target.scheme_str() == Some("https") || always_tunnel() => {
                    let mut tunnel = Tunnel::new(proxy.uri().clone(), connector);
                    if let Some(credentials) = proxy.basic_auth() {
                        tunnel = tunnel.with_auth(credentials.clone());
                    }
                    show(&tunnel);
                    (tunnel.call(target).await?, false)
                }
                Some(proxy) => (connector.call(proxy.uri().clone()).await?, true),
            };
            Ok(Stream { io, forwards })
        })
    }
}

/// As its documentation has it, with one proxy for all; the variables are read here, since it reads none.
async fn hyper_http_proxy(url: &str) -> Result<u16, BoxError> {
    let mut connector = ProxyConnector::unsecured(connector());
    if let Ok(proxy) = env::var("HTTP_PROXY").or_else(|_| env::var("HTTPS_PROXY")) {
        let mut proxy = Proxy::new(Intercept::All, proxy.parse()?);
        if always_tunnel() {
            proxy.force_connect();
        }
        connector.add_proxy(proxy);
    }
    show(&connector);
    let mut request = request(url)?;
    if let Some(headers) = connector.http_headers(request.uri()) {
        let headers: HeaderMap = headers.clone();
        request.headers_mut().extend(headers);
    }
    let connector = HttpsConnector::from((connector, roots()?));
    let response = client(connector).request(request).await?;
    let status = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(status)
}

async fn reqwest(url: &str) -> Result<u16, BoxError> {
    let mut builder = reqwest::Client::builder().resolve_to_addrs("origin.test", &[([127, 0, 0, 1], 0).into()]);
    if let Some(path) = env::var_os(ROOTS) {
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(&std::fs::read(path)?)?);
    }
    let client = builder.build()?;
    show(&client);
    let response = client.get(url).send().await?;
    let status = response.status().as_u16();
    response.bytes().await?;
    Ok(status)
}
