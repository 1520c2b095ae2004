//! An axum gateway that fetches through the proxy for its clients.
//!
//! `GET /HOST:PORT/PATH` answers with the response of `http://HOST:PORT/PATH`. The client stack is built once, when the
//! server starts, and handlers share it as state. Exits with 0 only if one request went through the proxy, one that
//! `NO_PROXY` names did not, and a caller's own `Proxy-Authorization` reached nobody.
//!
//! ```text
//! cargo run -p tower-outbound-proxy-stacks --example gateway
//! ```

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, Uri};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_outbound_proxy::{ConnectError, ProxyConfig, ProxyLayer};
use tower_outbound_proxy_lab::{ForwardProxy, Origin, Resolver, connector};

type Outgoing = BoxCloneSyncService<Request, http::Response<hyper::body::Incoming>, BoxError>;

fn app(proxy: ProxyLayer, http: HttpConnector<Resolver>) -> Router {
    let client = Client::builder(TokioExecutor::new()).build(proxy.layer(http));
    let outgoing: Outgoing = BoxCloneSyncService::new(ServiceBuilder::new().layer(proxy).service(client));
    Router::new()
        .route("/{authority}/{*path}", get(fetch))
        .with_state(outgoing)
}

async fn fetch(
    State(outgoing): State<Outgoing>,
    Path((authority, path)): Path<(String, String)>,
    mut request: Request,
) -> Response {
    let Ok(uri) = format!("http://{authority}/{path}").parse::<Uri>() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    *request.uri_mut() = uri;
    request.headers_mut().remove(http::header::HOST);
    match outgoing.oneshot(request).await {
        Ok(response) => response.map(Body::new).into_response(),
        Err(error) => {
            // The gateway's caller learns only this. The error itself is for the gateway's log.
            let unreachable = ConnectError::find(error.as_ref()).is_some();
            let status = if unreachable {
                StatusCode::BAD_GATEWAY
            } else {
                StatusCode::INTERNAL_SERVER_ERROR
            };
            status.into_response()
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().basic("user", "pass").start().await;
    let config = ProxyConfig::from_vars([
        ("HTTP_PROXY", proxy.url_with("user:pass@")),
        ("NO_PROXY", "internal.test".to_owned()),
    ])?;
    let app = app(ProxyLayer::new(config), connector());

    for (host, through_proxy) in [("origin.test", 1), ("internal.test", 0)] {
        let before = proxy.requests().len();
        let request = Request::get(format!("/{host}:{}/headers", origin.port()))
            .header("proxy-authorization", "Basic of-the-caller")
            .body(Body::empty())?;
        let response = app.clone().oneshot(request).await?;
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.into_body().collect().await?.to_bytes();
        println!(
            "{host}: {} request(s) through the proxy",
            proxy.requests().len() - before
        );
        assert_eq!(proxy.requests().len() - before, through_proxy);
        assert!(
            !String::from_utf8_lossy(&headers)
                .to_lowercase()
                .contains("proxy-authorization")
        );
    }
    Ok(())
}
