//! The AWS SDK through a proxy: `aws-sdk-s3` puts an object and gets it.
//!
//! The SDK takes any [`HttpConnector`] as its HTTP client, and this crate's [`Client`] becomes one in a few lines. Of
//! the SDK's time limits, those of an operation and an attempt apply; the connection's are the client's own.
//!
//! ```text
//! cargo run --manifest-path examples/adapters/Cargo.toml --example aws_s3
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use aws_sdk_s3::{
    Config,
    config::{Credentials, Region},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tower::BoxError;
use tower_outbound_proxy::{Client, TlsConfig};
use tower_outbound_proxy_adapters::{Outbound, serve};
use tower_outbound_proxy_lab::{Ca, connector};

/// [`Client`] as the SDK's HTTP client: `config.http_client(http_client_fn(…))`.
#[derive(Debug)]
struct Proxied(Client<SdkBody>);

impl HttpConnector for Proxied {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            let response = client.send(request).await.map_err(|error| match error.is_transient() {
                // The SDK tries again after these.
                true => ConnectorError::io(error.into()),
                false => ConnectorError::other(error.into(), None),
            })?;
            let response = HttpResponse::try_from(response.map(SdkBody::from_body_1_x));
            response.map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ca = Ca::new();
    let store = Store::default();
    let tls = ca.issue(&["s3.test"]).server_config(&[]);
    let port = serve(tls, move |request| answer(store.clone(), request)).await?;
    let outbound = Outbound::start(&["s3.test"]).await?;

    // The engineer's code. (A server leaves out trust and connector, and has its configuration from `aws-config`.)
    let trust = TlsConfig::builder().add_root_pem(ca.pem()).only_added_roots().build()?;
    let client = Client::builder()
        .config(outbound.config()?)
        .target_tls(trust)
        .connector(connector())
        .build()?;
    let connector = SharedHttpConnector::new(Proxied(client));
    let config = Config::builder()
        .behavior_version_latest()
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .region(Region::from_static("eu-central-1"))
        .credentials_provider(Credentials::new("id", "key", None, None, "example"))
        .endpoint_url(format!("https://s3.test:{port}"))
        .force_path_style(true)
        .build();
    let s3 = aws_sdk_s3::Client::from_conf(config);

    let content = Bytes::from("through the proxy");
    s3.put_object()
        .bucket("bucket")
        .key("object")
        .body(content.clone().into())
        .send()
        .await?;
    let object = s3.get_object().bucket("bucket").key("object").send().await?;
    let got = object.body.collect().await?.into_bytes();
    println!("the object has {} bytes", got.len());
    if got != content {
        return Err("the object is not what was put".into());
    }

    drop(s3);
    outbound.expect([format!("CONNECT s3.test:{port}")]).await
}

type Store = Arc<Mutex<HashMap<String, Bytes>>>;

/// Answers as an object store.
async fn answer(store: Store, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, BoxError> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = parts.uri.path().to_owned();
    let mut objects = store.lock().map_err(|_| "the store is broken")?;
    let (status, body) = match parts.method {
        Method::PUT => {
            objects.insert(path, body);
            (StatusCode::OK, Bytes::new())
        }
        _ => match objects.get(&path) {
            Some(object) => (StatusCode::OK, object.clone()),
            None => (StatusCode::NOT_FOUND, Bytes::new()),
        },
    };
    Ok(Response::builder().status(status).body(body.into())?)
}
