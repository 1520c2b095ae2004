//! A running server, origins behind it, and clients in front of it.

use std::{error::Error, fmt::Write, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{Layer, ServiceExt};
use tower_outbound_proxy::{
    ClientError, Proxy, ProxyConfig, ProxyLayer, TlsConfig,
    config::ProxyConfigBuilder,
    connector::{Http2Settings, ProxyVersion},
    error::BoxError,
};
use tower_outbound_proxy_lab::{
    Ca, Origin, Resolver, connector_with,
    servers::{RealProxy, Setup},
    within,
};

use super::server::Server;

/// The name under which clients know the proxy.
pub const PROXY: &str = "proxy.test";
pub const USER: &str = "user";
pub const PASSWORD: &str = "sesame-4711";
/// A host that the proxy does not serve.
pub const DENIED: &str = "denied.test";

/// One server and what belongs to it.
pub struct Lab {
    pub server: Server,
    pub proxy: RealProxy,
    password: String,
    /// Issues the proxy's certificate, unless the proxy makes its own.
    proxy_ca: Ca,
    /// Issues the origins' certificates.
    origin_ca: Ca,
}

impl Lab {
    pub async fn start(server: Server) -> Self {
        Self::with_password(server, PASSWORD).await
    }

    pub async fn with_password(server: Server, password: &str) -> Self {
        Self::with_setup(server, Setup::new(USER, password)).await
    }

    /// Starts a server with these settings, and with the certificate, the refusals and the protocol of the tests.
    pub async fn with_setup(server: Server, mut setup: Setup) -> Self {
        let (proxy_ca, origin_ca) = (Ca::new(), Ca::new());
        let identity = proxy_ca.issue(&[PROXY, "127.0.0.1"]);
        setup.deny = vec![DENIED.to_owned()];
        setup.origin_ca_pem = Some(origin_ca.pem().to_owned());
        setup.tls = server.tls.then_some(identity.into());
        server.prepare(&mut setup);
        Self {
            server,
            proxy: server.start(&setup).await.unwrap(),
            password: setup.password,
            proxy_ca,
            origin_ca,
        }
    }

    /// Starts an origin under the first of the server's names.
    pub async fn http(&self) -> Origin {
        self.http_named(self.server.names[0]).await
    }

    /// Starts origins under both of the server's names, first those for `http`.
    pub async fn origins(&self) -> [Origin; 4] {
        let [one, other] = self.server.names;
        [
            self.http_named(one).await,
            self.http_named(other).await,
            self.https_named(one).await,
            self.https_named(other).await,
        ]
    }

    pub async fn http_named(&self, name: &str) -> Origin {
        Origin::builder().host(name).start().await
    }

    /// Starts an origin behind TLS.
    pub async fn https(&self) -> Origin {
        self.https_named(self.server.names[0]).await
    }

    pub async fn https_named(&self, name: &str) -> Origin {
        Origin::https(&self.origin_ca, &[name], &["http/1.1"]).await
    }

    pub async fn http_v6(&self) -> Origin {
        Origin::builder().listen_v6().start().await
    }

    pub async fn https_v6(&self) -> Origin {
        let tls = self.origin_ca.issue(&["::1"]).server_config(&["http/1.1"]);
        Origin::builder().listen_v6().tls(tls).start().await
    }

    fn scheme(&self) -> &'static str {
        if self.server.tls { "https" } else { "http" }
    }

    pub fn addr(&self) -> SocketAddr {
        match self.server.tls {
            true => self.proxy.tls_addr().unwrap(),
            false => self.proxy.addr(),
        }
    }

    /// Returns the proxy's address with a user's credentials. The whole password is percent-encoded.
    pub fn url_with(&self, password: &str) -> String {
        let mut url = format!("{}://{USER}:", self.scheme());
        for byte in password.bytes() {
            let _ = write!(url, "%{byte:02X}");
        }
        let _ = write!(url, "@{PROXY}:{}", self.addr().port());
        url
    }

    /// Returns the proxy's address with the credentials that it accepts.
    pub fn url(&self) -> String {
        self.url_with(&self.password)
    }

    /// Returns the proxy's address without credentials.
    pub fn bare_url(&self, host: &str) -> String {
        format!("{}://{host}:{}", self.scheme(), self.addr().port())
    }

    /// Returns the root that verifies the proxy.
    pub fn proxy_root(&self) -> String {
        self.proxy.root_pem().unwrap_or(self.proxy_ca.pem().to_owned())
    }

    /// Returns the root that verifies targets behind the proxy: an intercepting proxy's own.
    pub fn target_root(&self) -> String {
        self.proxy.root_pem().unwrap_or(self.origin_root())
    }

    /// Returns the root that verifies the origins without the proxy.
    pub fn origin_root(&self) -> String {
        self.origin_ca.pem().to_owned()
    }

    /// Returns settings with the proxy for every target, including those on this machine.
    pub fn config(&self) -> ProxyConfigBuilder {
        ProxyConfig::builder()
            .all(self.url())
            .loopback_direct(false)
            .proxy_tls(trust(&self.proxy_root()))
    }

    /// Returns a client with the settings of [`config`](Self::config).
    pub fn client(&self) -> Client {
        self.client_with(self.config())
    }

    pub fn client_with(&self, config: ProxyConfigBuilder) -> Client {
        Client::new(config, &self.target_root())
    }

    /// Waits until the server has logged `count` requests, and returns them. The server logs a request when it is over.
    /// A tunnel is over when its client is dropped.
    pub async fn logged(&self, count: usize) -> Vec<String> {
        within(async {
            while self.proxy.requests().len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        self.proxy.requests()
    }
}

/// Returns trust in one root only.
pub fn trust(pem: &str) -> TlsConfig {
    TlsConfig::builder()
        .only_added_roots()
        .add_root_pem(pem)
        .build()
        .unwrap()
}

type Connector = HttpsConnector<Proxy<HttpConnector<Resolver>>>;

/// The documented stack: the layer around a client whose connector has the layer too.
pub struct Client {
    service: Proxy<legacy::Client<Connector, Full<Bytes>>>,
    resolver: Resolver,
}

impl Client {
    pub fn new(config: ProxyConfigBuilder, target_root: &str) -> Self {
        Self::with_http2(config, target_root, Http2Settings::default())
    }

    pub fn with_http2(config: ProxyConfigBuilder, target_root: &str, settings: Http2Settings) -> Self {
        let resolver = Resolver::new();
        let layer = ProxyLayer::new(config.build().unwrap()).with_http2(settings);
        let connector = layer.https_connector_with(connector_with(resolver.clone()), trust(target_root));
        let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Self {
            service: layer.layer(client),
            resolver,
        }
    }

    /// Returns the names that this machine had to resolve.
    pub fn resolved(&self) -> Vec<String> {
        self.resolver.names()
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, BoxError> {
        within(async {
            let (head, body) = self.service.clone().oneshot(request).await?.into_parts();
            Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        })
        .await
    }

    pub async fn try_get(&self, url: &str) -> Result<Response<Bytes>, BoxError> {
        self.send(Request::get(url).body(Full::default()).unwrap()).await
    }

    pub async fn get(&self, url: &str) -> Response<Bytes> {
        self.try_get(url)
            .await
            .unwrap_or_else(|error| panic!("{url}: {}", chain(&*error)))
    }
}

/// A client whose requests share connections to the proxy.
pub struct Sharing {
    pub client: tower_outbound_proxy::Client<Full<Bytes>>,
    resolver: Resolver,
}

impl Sharing {
    pub fn new(lab: &Lab) -> Self {
        Self::in_version(lab, ProxyVersion::default())
    }

    pub fn in_version(lab: &Lab, version: ProxyVersion) -> Self {
        let layer = ProxyLayer::new(lab.config().build().unwrap());
        Self::with_layer(lab, layer.with_proxy_version(version))
    }

    pub fn with_layer(lab: &Lab, layer: ProxyLayer) -> Self {
        let resolver = Resolver::new();
        let builder = tower_outbound_proxy::Client::builder()
            .layer(layer)
            .target_tls(trust(&lab.target_root()))
            .connector(connector_with(resolver.clone()));
        Self {
            client: builder.build().unwrap(),
            resolver,
        }
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, ClientError> {
        let (head, body) = within(self.client.clone().oneshot(request)).await?.into_parts();
        let body = within(body.collect()).await.unwrap().to_bytes();
        Ok(Response::from_parts(head, body))
    }

    pub async fn get(&self, url: &str) -> Response<Bytes> {
        let request = Request::get(url).body(Full::default()).unwrap();
        let response = self.send(request).await;
        response.unwrap_or_else(|error| panic!("{url}: {}", chain(&error)))
    }

    /// Returns the number of connections to the proxy that were begun.
    pub fn dialled(&self) -> usize {
        let names = self.resolver.names();
        assert!(names.iter().all(|name| name == PROXY), "{names:?}");
        names.len()
    }
}

/// Returns the text of an error with its sources.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let _ = write!(text, ": {error}");
        next = error.source();
    }
    text
}
