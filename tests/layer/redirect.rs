//! A route that is chosen for one target never applies to another, though a redirect keeps a request's extensions.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy, rt::TokioExecutor};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, filter::FilterLayer};
use tower_http::follow_redirect::{FollowRedirectLayer, policy::Limited};
use tower_outbound_proxy::{Client, ConnectError, ProxyConfig, ProxyLayer, Route, TargetError};
use tower_outbound_proxy_lab::{ForwardProxy, Origin, connector, within};

use crate::common::decide;

type Outgoing = Request<Full<Bytes>>;

/// Reaches `near.test` directly, and leaves everything else to the settings.
fn near_is_direct(mut request: Outgoing) -> Result<Outgoing, BoxError> {
    if request.uri().host() == Some("near.test") {
        decide(&mut request, Route::Direct);
    }
    Ok(request)
}

/// Sends a request, and returns the last response's body.
async fn send<S, R>(service: S, url: &str) -> Result<Bytes, BoxError>
where
    S: Service<Outgoing, Response = Response<R>, Error: Into<BoxError>>,
    R: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let request = Request::get(url).body(Full::default())?;
    let response = within(service.oneshot(request)).await.map_err(Into::into)?;
    Ok(within(response.into_body().collect()).await.unwrap().to_bytes())
}

/// A redirect leads to another target. `Limited` keeps extensions, which tower-http's default policy does not.
#[tokio::test]
async fn a_redirect_does_not_keep_the_route_to_another_target() {
    let far = Origin::http().await;
    let near = Origin::builder()
        .redirect("/near", "/")
        .redirect("/far", &format!("http://far.test:{}/", far.port()))
        .redirect("/secure", "https://near.test/")
        .start()
        .await;
    let proxy = ForwardProxy::builder().start().await;
    let config = ProxyConfig::builder().all(proxy.url()).build().unwrap();
    let own: Client<Full<Bytes>> = Client::builder()
        .config(config.clone())
        .connector(connector())
        .build()
        .unwrap();
    let layer = ProxyLayer::new(config);
    let pooled = legacy::Client::builder(TokioExecutor::new()).build(
        ProxyLayer::new(
            // The connector half gets no extensions; here, all that it is asked for is direct.
            ProxyConfig::builder().build().unwrap(),
        )
        .layer(connector()),
    );
    let half = layer.layer(pooled);
    let follow = || FollowRedirectLayer::with_policy(Limited::new(3));
    let url = |path: &str| format!("http://near.test:{}{path}", near.port());

    let outside = ServiceBuilder::new()
        .layer(FilterLayer::new(near_is_direct))
        .layer(follow());
    for path in ["/far", "/secure"] {
        for error in [
            send(outside.clone().service(own.clone()), &url(path))
                .await
                .unwrap_err(),
            send(outside.clone().service(half.clone()), &url(path))
                .await
                .unwrap_err(),
        ] {
            let chain = std::iter::successors(Some(&*error as &dyn std::error::Error), |&error| error.source());
            let told = "invalid target: the destination in the request's extensions is another target (was the request \
                        redirected? a layer that decides routes belongs inside of the one that follows redirects)";
            assert!(chain.map(ToString::to_string).any(|text| text == told), "{error:?}");
            assert!(error.is::<TargetError>() || ConnectError::find(&*error).is_none());
        }
    }
    assert!(far.connections().is_empty(), "the redirect went past the proxy");
    // The same target keeps its route.
    for body in [
        send(outside.clone().service(own.clone()), &url("/near")).await,
        send(outside.service(half), &url("/near")).await,
    ] {
        assert!(body.unwrap().starts_with(b"hello"));
    }
    assert!(proxy.requests().is_empty());

    // Inside, each hop is decided anew.
    let inside = ServiceBuilder::new()
        .layer(follow())
        .layer(FilterLayer::new(near_is_direct));
    assert!(
        send(inside.service(own), &url("/far"))
            .await
            .unwrap()
            .starts_with(b"hello")
    );
    let passed = proxy.requests();
    let targets: Vec<_> = passed.iter().map(|request| &*request.target).collect();
    assert_eq!(targets, [format!("http://far.test:{}/", far.port())]);
}

/// The route that the layer tells the service inside is no decision, so that a redirect inside cannot keep it.
#[tokio::test]
async fn a_route_that_was_told_decides_nothing() {
    let origin = Origin::builder().redirect("/far", "/").start().await;
    let proxy = ForwardProxy::builder().start().await;
    let own: Client<Full<Bytes>> = Client::builder()
        .config(ProxyConfig::builder().all(proxy.url()).build().unwrap())
        .connector(connector())
        .build()
        .unwrap();
    let elsewhere = ProxyLayer::new(ProxyConfig::builder().build().unwrap());
    let url = format!("http://near.test:{}/", origin.port());
    send(elsewhere.layer(own), &url).await.unwrap();
    assert_eq!(proxy.requests().len(), 1);
}

/// The spelling of a target does not matter, and each part of it does.
#[tokio::test]
async fn a_destination_is_its_scheme_host_and_port() {
    let inner = tower::service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new(())));
    let service = ProxyLayer::new(ProxyConfig::builder().build().unwrap()).layer(inner);
    let route = Route::Tunnel("http://proxy.test".parse().unwrap());
    for (decided_for, asked_for, same) in [
        ("http://x.test/a", "http://X.test:80/b?c", true),
        ("https://x.test", "https://x.test:443/", true),
        ("http://127.1", "http://127.0.0.1/", true),
        ("http://user@x.test/", "http://x.test/", true),
        ("http://x.test/", "https://x.test:80/", false),
        ("http://x.test/", "http://x.test:8080/", false),
        ("http://x.test/", "http://y.test/", false),
        ("http://x.test/", "ws://x.test/", false),
        ("/path", "http://x.test/", false),
    ] {
        let mut request = Request::get(decided_for).body(()).unwrap();
        decide(&mut request, route.clone());
        *request.uri_mut() = asked_for.parse().unwrap();
        match service.clone().oneshot(request).await {
            Ok(response) => assert!(same && response.extensions().get() == Some(&route), "{asked_for}"),
            Err(error) => assert!(
                !same && error.is::<TargetError>(),
                "{decided_for}, {asked_for}: {error}"
            ),
        }
    }
}
