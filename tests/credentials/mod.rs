//! Promise: a proxy gets the credentials that it asks for, in the strongest scheme, from whoever has them, and as often
//! as that helps.
//!
//! The proxies of the lab check each answer themselves, and count. Everything runs over HTTP/1.1 and HTTP/2, tunnelled
//! and forwarded.

mod closing;
mod digest;
mod identity;
mod many;
mod other_clients;
mod provider;
mod rounds;
mod schemes;
mod uploads;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Version};
use http_body_util::Full;
use tower::{BoxError, service_fn};
use tower_outbound_proxy::{
    ClientError, ProxyConfig, ProxyLayer,
    auth::{Authorization, CredentialsProvider, CredentialsRequest},
    connector::ProxyVersion,
};
use tower_outbound_proxy_lab::{Auth, Ca, Http2Proxy, Origin};

use crate::client::{self, TestClient, read, send, through};

const USER: &str = "Jane";
const PASSWORD: &str = "s3cret-4711";
const USERINFO: &str = "Jane:s3cret-4711@";

/// The versions of HTTP to a proxy.
const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

/// Origins, and the authority that vouches for them.
struct World {
    ca: Ca,
    http: Origin,
    https: Origin,
}

impl World {
    async fn new() -> Self {
        let ca = Ca::new();
        let tls = ca.issue(&["origin.test"]).server_config(&["http/1.1"]);
        Self {
            http: Origin::builder().host("origin.test").start().await,
            https: Origin::builder().host("origin.test").tls(tls).start().await,
            ca,
        }
    }

    /// Returns a URL that is forwarded, and one that is tunnelled.
    fn urls(&self) -> [String; 2] {
        [self.http.url("/"), self.https.url("/")]
    }

    /// Returns a client of a layer over this version of HTTP.
    fn client(&self, layer: ProxyLayer, version: Version) -> TestClient {
        let layer = layer.with_proxy_version(spoken(version));
        let builder = client::builder(client::unproxied(), &self.ca).layer(layer);
        builder.build().unwrap()
    }

    /// Returns a client with the credentials in the proxy's address.
    fn fixed(&self, proxy: &Http2Proxy, userinfo: &str, version: Version) -> TestClient {
        self.client(ProxyLayer::new(settings(proxy, userinfo)), version)
    }

    /// Returns a client with a provider.
    fn provided(&self, proxy: &Http2Proxy, version: Version, provider: impl CredentialsProvider) -> TestClient {
        let layer = ProxyLayer::new(settings(proxy, "")).with_credentials(provider);
        self.client(layer, version)
    }
}

fn settings(proxy: &Http2Proxy, userinfo: &str) -> ProxyConfig {
    through(proxy.url_with(userinfo).as_str())
}

fn spoken(version: Version) -> ProxyVersion {
    match version {
        Version::HTTP_2 => ProxyVersion::Http2,
        _ => ProxyVersion::Http1,
    }
}

/// Starts a proxy that speaks this version of HTTP, without TLS.
async fn proxy(version: Version, auth: Auth) -> Http2Proxy {
    let builder = Http2Proxy::builder().auth(auth);
    match version {
        Version::HTTP_2 => builder.start().await,
        _ => builder.with_http1().start().await,
    }
}

/// Returns the values of `Proxy-Authorization` that a proxy has received, in order; empty for a request without.
fn sent(proxy: &Http2Proxy) -> Vec<String> {
    let value = |request: tower_outbound_proxy_lab::Request| {
        let values: Vec<_> = request.headers.get_all("proxy-authorization").iter().collect();
        assert!(values.len() < 2, "{values:?}");
        values
            .first()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default()
    };
    proxy.requests().into_iter().map(value).collect()
}

/// Returns the schemes of [`sent`].
fn schemes(proxy: &Http2Proxy) -> Vec<String> {
    let scheme = |value: String| value.split(' ').next().unwrap_or_default().to_owned();
    sent(proxy).into_iter().map(scheme).collect()
}

fn basic() -> String {
    basic_of(USER, PASSWORD)
}

fn basic_of(user: &str, password: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// Sends a GET, and reads the response, which must be the origin's.
async fn ok(client: &TestClient, url: &str) -> Bytes {
    let response = match send(client, client::request(url)).await {
        Ok(response) => response,
        Err(error) => panic!("{url}: {}", text(&error)),
    };
    assert_eq!(response.status(), 200, "{url}");
    read(response).await
}

/// Sends a GET, and returns its error.
async fn refused(client: &TestClient, url: &str) -> ClientError {
    match send(client, client::request(url)).await {
        Ok(response) => panic!("{url}: {}", response.status()),
        Err(error) => error,
    }
}

fn post(url: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(url).body(Full::new(body.into())).unwrap()
}

/// Returns an error with its causes, in all ways in which it can be shown.
fn text(error: &ClientError) -> String {
    crate::common::everything(error)
}

/// A question that a provider was asked.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    proxy: String,
    round: u32,
    challenges: Vec<String>,
    exchange: u64,
}

/// The questions that a provider was asked.
#[derive(Clone, Default)]
struct Questions(Arc<Mutex<Vec<Asked>>>);

impl Questions {
    fn note(&self, request: &CredentialsRequest) -> usize {
        let mut asked = self.0.lock().unwrap();
        asked.push(Asked {
            proxy: request.proxy().to_owned(),
            round: request.round(),
            challenges: request.challenges().iter().map(|one| one.scheme().to_owned()).collect(),
            exchange: request.exchange(),
        });
        asked.len() - 1
    }

    fn all(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }

    fn count(&self) -> usize {
        self.all().len()
    }

    /// Returns a provider that gives these answers one after the other, and then the last one.
    fn answered(&self, answers: impl Into<Vec<Authorization>>) -> impl CredentialsProvider {
        let (questions, answers) = (self.clone(), Arc::new(answers.into()));
        service_fn(move |request: CredentialsRequest| {
            let number = questions.note(&request);
            let answer: Authorization = answers[number.min(answers.len() - 1)].clone();
            async move {
                // Others come meanwhile.
                tokio::task::yield_now().await;
                Ok::<_, BoxError>(answer)
            }
        })
    }
}

fn bearer(token: &str) -> Authorization {
    Authorization::value(HeaderValue::from_str(&format!("Bearer {token}")).unwrap())
}

fn once(value: &str) -> Authorization {
    Authorization::once(HeaderValue::from_str(value).unwrap())
}

/// Returns authentication that accepts these tokens.
fn bearers(tokens: &[&str]) -> Auth {
    let accepted: Vec<_> = tokens.iter().map(|token| format!("Bearer {token}")).collect();
    Auth::new(move |request| match request.header("proxy-authorization") {
        Some(value) if accepted.iter().any(|one| one == value) => Ok(()),
        _ => Err(vec![
            "Bearer realm=\"lab\"".to_owned(),
            "Basic realm=\"lab\"".to_owned(),
        ]),
    })
}

const SHORT: Duration = Duration::from_millis(300);
