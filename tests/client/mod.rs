//! Promise: the client's connections are keyed by route. Each is opened, shared, kept and closed only as it should be.
//!
//! The servers count opened and closed connections, and the client's own statistics must agree.

mod bodies;
mod cancel;
mod ends;
mod figures;
mod forward;
mod forward_streams;
mod heads;
mod host;
mod hostile_bodies;
mod http2;
mod isolation;
#[cfg(target_os = "linux")]
mod keepalive;
mod keys;
mod limits;
mod middleware;
mod multiplexing;
mod pool;
mod purpose;
mod refusal;
mod repeat;
mod replace;
mod request;
mod runtime;
mod target_tls;
mod types;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use tower::ServiceExt;
use tower_outbound_proxy::{
    Client, ClientError, ProxyConfig, Route, TlsConfig,
    client::{ClientBody, ClientBuilder},
    config::ProxySetting,
};
use tower_outbound_proxy_lab::{Ca, Listening, Resolver, connector, within};

pub type TestClient = Client<Full<Bytes>>;

/// Returns settings that send everything through this proxy.
pub fn through(proxy: impl Into<ProxySetting>) -> ProxyConfig {
    ProxyConfig::builder().all(proxy).build().unwrap()
}

/// Returns settings without a proxy.
pub fn unproxied() -> ProxyConfig {
    ProxyConfig::builder().build().unwrap()
}

pub fn trusting(ca: &Ca) -> TlsConfig {
    let tls = TlsConfig::builder().add_root_pem(ca.pem()).only_added_roots();
    tls.build().unwrap()
}

/// Returns a builder of a client for which every name is loopback.
pub fn builder(config: ProxyConfig, ca: &Ca) -> ClientBuilder<HttpConnector<Resolver>> {
    let builder = Client::builder().config(config).target_tls(trusting(ca));
    builder.connector(connector())
}

pub fn client(config: ProxyConfig, ca: &Ca) -> TestClient {
    builder(config, ca).build().unwrap()
}

pub fn request(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).unwrap()
}

pub async fn send(client: &TestClient, request: Request<Full<Bytes>>) -> Result<Response<ClientBody>, ClientError> {
    within(client.clone().oneshot(request)).await
}

pub async fn get(client: &TestClient, url: &str) -> Response<ClientBody> {
    send(client, request(url)).await.unwrap()
}

pub async fn read(response: Response<ClientBody>) -> Bytes {
    within(response.into_body().collect()).await.unwrap().to_bytes()
}

/// Sends a request and reads the whole response.
pub async fn fetch(client: &TestClient, url: &str) -> Bytes {
    read(get(client, url).await).await
}

/// Sends the same request this many times at once, and reads the responses.
pub async fn fetch_at_once(client: &TestClient, url: &str, count: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (client, url) = (client.clone(), url.to_owned());
        tasks.spawn(async move { fetch(&client, &url).await });
    }
    within(tasks.join_all()).await;
}

/// Waits until other tasks have made the condition true.
#[track_caller]
pub fn eventually(mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    within(async move {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
}

/// Waits until other tasks have made the condition true, and lets no timer fire meanwhile if the clock is paused.
#[track_caller]
pub fn soon(mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let (place, started) = (std::panic::Location::caller(), std::time::Instant::now());
    async move {
        while !condition() {
            assert!(started.elapsed() < Duration::from_secs(10), "{place}: not done in time");
            tokio::task::yield_now().await;
        }
    }
}

/// Returns the client's connections that are open, idle and connecting, and its waiters.
pub fn now(client: &TestClient) -> [usize; 4] {
    let stats = client.stats();
    let connecting = stats.keys.iter().map(|key| key.connecting).sum();
    let waiting = stats.keys.iter().map(|key| key.waiting).sum();
    [stats.open(), stats.idle(), connecting, waiting]
}

/// Returns the numbers of connections opened, and of requests served by a reused connection, since the client was
/// built.
pub fn so_far(client: &TestClient) -> (u64, u64) {
    let stats = client.stats();
    (stats.opened, stats.reused)
}

pub fn opened(listening: &Listening) -> usize {
    listening.connections_opened()
}

fn forward(proxy: &str) -> Route {
    Route::Forward(proxy.parse().unwrap())
}

fn tunnel(proxy: &str) -> Route {
    Route::Tunnel(proxy.parse().unwrap())
}
