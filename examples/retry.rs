//! hyper-util's client under tower's retry and timeout: requests that may be retried, and requests that may not.
//!
//! The proxy here refuses the first CONNECT with 503, never answers the second, and opens the third. Both failures came
//! before any byte of the request was sent, so even a POST can be repeated. A 403 is not repeated, because a retry
//! would not help. Exits with 0 only if the POST arrived once, after three attempts, and the 403 was final.
//!
//! ```text
//! cargo run --example retry
//! ```

use std::{future::Ready, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, retry::Policy};
use tower_outbound_proxy::{ConnectError, ProxyConfig, ProxyLayer};
use tower_outbound_proxy_lab::{Fault, Origin, ScriptedProxy, Step, connector};

/// Repeats requests that failed before they were sent and may succeed later.
#[derive(Clone)]
struct RetryConnect {
    left: u32,
}

impl<B: Clone, R> Policy<Request<B>, Response<R>, BoxError> for RetryConnect {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request<B>, result: &mut Result<Response<R>, BoxError>) -> Option<Ready<()>> {
        let error = ConnectError::find(result.as_ref().err()?.as_ref())?;
        let again = self.left > 0 && error.is_before_request() && error.is_transient();
        println!("    {error}\n    -> {}", if again { "again" } else { "final" });
        self.left -= u32::from(again);
        again.then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let origin = Origin::http().await;
    let busy = ScriptedProxy::builder()
        .script(Fault::Status(503))
        .script(Fault::Hang)
        .script([Step::established(), Step::Tunnel])
        .start()
        .await;
    println!("POST through a busy proxy");
    let response = post(&busy, &origin).await?;
    println!("    {}", response.status());
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((busy.requests().len(), origin.requests().len()), (3, 1));

    let strict = ScriptedProxy::start(Fault::Status(403)).await;
    println!("POST through a proxy that forbids it");
    assert!(post(&strict, &origin).await.is_err());
    assert_eq!((strict.requests().len(), origin.requests().len()), (1, 1));
    Ok(())
}

async fn post(proxy: &ScriptedProxy, origin: &Origin) -> Result<Response<impl Sized>, BoxError> {
    let config = ProxyConfig::builder().http(proxy.url()).always_tunnel(true).build()?;
    let layer = ProxyLayer::new(config).with_connect_timeout(Some(Duration::from_millis(300)));
    let client = Client::builder(TokioExecutor::new()).build(layer.layer(connector()));
    let service = ServiceBuilder::new()
        .retry(RetryConnect { left: 3 })
        // This limits one attempt. Connecting has its own, shorter limit in the layer.
        .timeout(Duration::from_secs(5))
        .layer(layer)
        .service(client);
    let request = Request::post(format!("http://origin.test:{}/echo", origin.port())).body(Full::from("once"))?;
    let request: Request<Full<Bytes>> = request;
    service.oneshot(request).await
}
