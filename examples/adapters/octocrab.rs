//! octocrab through a proxy: GitHub's API, here that of a GitHub Enterprise server.
//!
//! octocrab takes any tower service, and this crate's [`Client`] is one.
//!
//! ```text
//! cargo run --manifest-path examples/adapters/Cargo.toml --example octocrab
//! ```

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use octocrab::{
    AuthState, OctoBody, Octocrab, OctocrabBuilder,
    service::middleware::{base_uri::BaseUriLayer, extra_headers::ExtraHeadersLayer},
};
use serde_json::json;
use tower::BoxError;
use tower_outbound_proxy::{Client, TlsConfig};
use tower_outbound_proxy_adapters::{Outbound, serve};
use tower_outbound_proxy_lab::{Ca, connector};

/// Makes an API client. GitHub refuses requests without a `User-Agent`.
fn github(client: Client<OctoBody>, api: Uri, authorization: HeaderValue) -> Result<Octocrab, BoxError> {
    let agent = HeaderValue::from_static("example");
    let headers = vec![(header::USER_AGENT, agent), (header::AUTHORIZATION, authorization)];
    let octocrab = OctocrabBuilder::new_empty()
        .with_service(client)
        .with_layer(&ExtraHeadersLayer::new(Arc::new(headers)))
        .with_layer(&BaseUriLayer::new(api))
        .with_auth(AuthState::None)
        .build()?;
    Ok(octocrab)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ca = Ca::new();
    let port = serve(ca.issue(&["github.test"]).server_config(&[]), api).await?;
    let outbound = Outbound::start(&["github.test"]).await?;

    // The engineer's code. (A server leaves out trust and connector.)
    let trust = TlsConfig::builder().add_root_pem(ca.pem()).only_added_roots().build()?;
    let client = Client::builder()
        .config(outbound.config()?)
        .target_tls(trust)
        .connector(connector())
        .build()?;
    let api = format!("https://github.test:{port}/api/v3").parse()?;
    let github = github(client, api, HeaderValue::from_static("Bearer of-the-app"))?;

    let repository = github.repos("tower-rs", "tower").get().await?;
    println!("the repository's name is {}", repository.name);
    if repository.name != "tower" {
        return Err("another repository was asked for".into());
    }

    drop(github);
    outbound.expect([format!("CONNECT github.test:{port}")]).await
}

/// Answers as the API with one repository.
async fn api(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, BoxError> {
    let is_authorized =
        request.headers().get(header::AUTHORIZATION) == Some(&HeaderValue::from_static("Bearer of-the-app"));
    if !is_authorized || request.uri().path() != "/api/v3/repos/tower-rs/tower" {
        return Ok(Response::builder()
            .status(StatusCode::NOT_FOUND)
            .body(Full::default())?);
    }
    let url = "https://github.test/api/v3/repos/tower-rs/tower";
    let repository = serde_json::to_vec(&json!({ "id": 1, "name": "tower", "url": url }))?;
    Ok(Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .body(repository.into())?)
}
