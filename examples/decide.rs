//! A decision that takes time: looks the name up first, and matches the networks of `NO_PROXY` against its addresses.
//!
//! `NO_PROXY=10.0.0.0/8` does not match names, because the proxy resolves them. An application may want to reach names
//! in such a network directly. It then puts tower's `AsyncFilterLayer` before the layer, with a closure that resolves
//! the name within a deadline and puts the target with its route into the request's extensions. Exits with 0 only if
//! the intranet's name was reached directly, the other name was reached through the proxy, and the name whose look-up
//! hangs failed.
//!
//! ```text
//! cargo run --example decide
//! ```

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1};
use tokio::time::timeout;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, filter::AsyncFilterLayer, service_fn};
use tower_outbound_proxy::{ProxyConfig, ProxyLayer, Route, Target, route::Destination};
use tower_outbound_proxy_lab::{ForwardProxy, Origin, connector};

/// Looks names up. (A real resolver asks DNS. This one knows three names, and one takes forever.)
async fn resolve(name: &str) -> Vec<IpAddr> {
    match name {
        "intranet.test" => vec![[10, 1, 2, 3].into()],
        "slow.test" => std::future::pending().await,
        _ => vec![[192, 0, 2, 1].into()],
    }
}

/// Puts the target and its route into the request's extensions. The settings decide by the name, or else by any of its
/// addresses.
async fn decide<B>(settings: ProxyConfig, mut request: Request<B>) -> Result<Request<B>, BoxError> {
    let uri = request.uri().clone();
    let target = Target::try_from(&uri)?;
    let addresses = match target.name() {
        Some(name) => timeout(Duration::from_millis(200), resolve(name)).await?,
        None => vec![],
    };
    let exempt = addresses.iter().any(|ip| settings.no_proxy().matches(&target.at(*ip)));
    let route = if exempt { Route::Direct } else { settings.route(&target) };
    request.extensions_mut().insert(Destination { uri, route });
    Ok(request)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().basic("user", "pass").start().await;
    let config = ProxyConfig::from_vars([
        ("HTTP_PROXY", proxy.url_with("user:pass@")),
        ("NO_PROXY", "10.0.0.0/8".to_owned()),
    ])?;

    let settings = config.clone();
    let decide = move |request| decide(settings.clone(), request);
    let layer = ProxyLayer::new(config).with_request_target_form(true);
    let service = ServiceBuilder::new()
        .layer(AsyncFilterLayer::new(decide))
        .service(service_fn(move |request| send(layer.clone(), request)));

    for (host, through_proxy) in [("intranet.test", 0), ("public.test", 1)] {
        let before = proxy.requests().len();
        let url = format!("http://{host}:{}/", origin.port());
        let request = Request::get(&url).body(Empty::<Bytes>::new())?;
        let response = service.clone().oneshot(request).await?;
        let route = response.extensions().get::<Route>().cloned();
        println!(
            "{url}: {} {}",
            response.status(),
            route.map_or(String::new(), |route| route.to_string())
        );
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(proxy.requests().len() - before, through_proxy);
    }
    let request = Request::get("http://slow.test/").body(Empty::<Bytes>::new())?;
    let error = service
        .oneshot(request)
        .await
        .expect_err("a look-up that hangs is given up");
    println!("http://slow.test/: {error}");
    assert!(error.is::<tokio::time::error::Elapsed>());
    Ok(())
}

/// A minimal client. It opens a connection for each request, by the request's own route. The layer around the
/// connection writes the request-target and the credentials that the route requires.
async fn send(layer: ProxyLayer, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, BoxError> {
    let destination = request.extensions().get::<Destination>().cloned();
    let destination = destination.ok_or("no route was decided")?;
    let io = layer.layer(connector()).oneshot(destination).await?;
    let (mut sender, connection) = http1::handshake(io).await?;
    tokio::spawn(connection);
    let connection = service_fn(|request| sender.send_request(request));
    layer.layer(connection).oneshot(request).await
}
