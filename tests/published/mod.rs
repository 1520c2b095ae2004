//! Promise: the published faults of other programs are none of this crate's. Each has a test with its number.
//!
//! Each is shown at the wire, on [`Client`] and on hyper-util's client with the layer's two halves, over HTTP/1.1 and
//! over HTTP/2 as far as the client speaks it to proxies.

mod choice;
mod connections;
mod heads;
mod redirects;
mod tls;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper_util::{client::legacy, rt::TokioExecutor};
use tower::{BoxError, Layer, Service, ServiceExt, util::BoxCloneSyncService};
use tower_http::follow_redirect::{FollowRedirectLayer, policy::Limited};
use tower_outbound_proxy::{Client, ProxyConfig, TlsConfig};
use tower_outbound_proxy_lab::{Listening, connector, within};

use crate::leaks::{
    lab::{Lab, Trust, Version},
    schemes::{SCHEMES, Scheme},
};

type Outgoing = Request<Full<Bytes>>;

/// A client of either kind, with the body of its response read.
type Sender = BoxCloneSyncService<Outgoing, Response<Full<Bytes>>, BoxError>;

/// Returns both kinds of client, with these settings.
fn clients(lab: &Lab, config: &ProxyConfig) -> [Sender; 2] {
    clients_trusting(lab, config, &lab.trust)
}

fn clients_trusting(lab: &Lab, config: &ProxyConfig, target: &TlsConfig) -> [Sender; 2] {
    let layer = lab.layer(config.clone());
    let own = Client::builder().layer(layer.clone()).target_tls(target.clone());
    let own: Client<Full<Bytes>> = own.connector(connector()).build().unwrap();
    let half = layer.https_connector_with(connector(), target.clone());
    let pooled = legacy::Client::builder(TokioExecutor::new()).build(half);
    [reading(own), reading(layer.layer(pooled))]
}

/// Follows redirects, and keeps every header field then.
fn following(client: Sender) -> Sender {
    reading(FollowRedirectLayer::with_policy(Limited::new(3)).layer(client))
}

fn reading<S, R>(service: S) -> Sender
where
    S: Service<Outgoing, Response = Response<R>, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let read = service.map_err(Into::into).and_then(async |response: Response<R>| {
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(Into::into)?;
        Ok::<_, BoxError>(Response::from_parts(head, Full::new(body.to_bytes())))
    });
    BoxCloneSyncService::new(read)
}

fn request(url: &str) -> Outgoing {
    Request::get(url).body(Full::default()).unwrap()
}

async fn send(service: &Sender, request: Outgoing) -> Result<Response<Full<Bytes>>, BoxError> {
    within(service.clone().oneshot(request)).await
}

/// Sends a request that has to be answered with 200.
async fn get(service: &Sender, request: Outgoing) {
    let response = send(service, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

/// Starts a lab for each version of HTTP.
async fn labs(trust: &Trust) -> [Lab; 2] {
    let scheme: &Scheme = &SCHEMES[0];
    [
        Lab::start(trust, scheme, Version::Http1).await,
        Lab::start(trust, scheme, Version::Http2).await,
    ]
}

/// Returns true if no origin has received a field named `Proxy-Authorization`.
fn is_spared(origin: &Listening) -> bool {
    let raw = String::from_utf8_lossy(&origin.raw().concat()).to_lowercase();
    let decoded = origin.requests();
    !raw.contains("proxy-authorization") && decoded.iter().all(|one| one.header("proxy-authorization").is_none())
}
