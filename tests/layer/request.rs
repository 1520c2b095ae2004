//! Promise: around an HTTP service, the layer owns `Proxy-Authorization`, reports the route, and changes nothing else.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_outbound_proxy::{ProxyConfig, ProxyLayer, Route, TargetError};
use tower_outbound_proxy_lab::{Log, ScriptedProxy, Step, connector, within};
use tower_test::mock;
use tracing::Level;

use crate::common;

const CREDENTIALS: &str = "Basic dXNlcjpzZWNyZXQ=";

fn layer(proxy: &str) -> ProxyLayer {
    let config = ProxyConfig::from_vars([("ALL_PROXY", proxy), ("NO_PROXY", "direct.test")]).unwrap();
    ProxyLayer::new(config)
}

/// Returns the request that the inner service gets for these header fields.
async fn inner_sees(proxy: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let inner = service_fn(|request: Request<()>| async {
        let (parts, ()) = request.into_parts();
        Ok::<_, Infallible>(Response::new(parts))
    });
    let mut request = Request::post(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap();
    let response = layer(proxy).layer(inner).oneshot(request).await.unwrap();
    // The response tells the same route as the request.
    let route = response.extensions().get::<Route>().cloned().unwrap();
    let parts = response.into_body();
    assert_eq!(parts.extensions.get::<Route>(), Some(&route));
    Request::from_parts(parts, ())
}

fn authorization(headers: &HeaderMap) -> Vec<&str> {
    let fields = headers.get_all(header::PROXY_AUTHORIZATION);
    fields.iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn a_forwarded_request_carries_the_proxys_credentials_and_only_them() {
    let callers = [
        ("proxy-authorization", "Basic one"),
        ("proxy-authorization", "Basic two"),
        ("accept", "*/*"),
    ];
    for headers in [&[][..], &callers] {
        let seen = inner_sees("http://user:secret@p", "http://x.test/path?query", headers).await;
        assert_eq!(authorization(seen.headers()), [CREDENTIALS]);
        assert!(seen.headers()[header::PROXY_AUTHORIZATION].is_sensitive());
        assert_eq!(seen.uri(), "http://x.test/path?query");
        assert!(matches!(seen.extensions().get(), Some(Route::Forward(_))));
    }
    // A proxy without credentials in its address leaves the caller's own, Digest or a bearer token for instance.
    let seen = inner_sees("http://p", "http://x.test/", &callers[1..]).await;
    assert_eq!(authorization(seen.headers()), ["Basic two"]);
    assert_eq!(seen.headers()[header::ACCEPT], "*/*");
}

#[tokio::test]
async fn no_other_request_carries_any() {
    let headers = [
        ("proxy-authorization", "Basic one"),
        ("proxy-connection", "keep-alive"),
        ("accept", "*/*"),
    ];
    for uri in [
        "http://direct.test/",
        "https://direct.test/",
        "https://x.test/",
        "http://localhost/",
        "ftp://x.test/",
    ] {
        let seen = inner_sees("http://user:secret@p", uri, &headers).await;
        let names: Vec<_> = seen.headers().keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["accept"], "{uri}");
        assert_eq!(seen.uri(), uri);
        assert!(!matches!(seen.extensions().get(), Some(Route::Forward(_))));
    }
}

/// The decision was made on the host in normal form, so that is what the proxy is told.
#[tokio::test]
async fn the_absolute_form_has_the_host_in_normal_form_and_no_user() {
    for (given, forwarded) in [
        ("http://x.test/path?query", "http://x.test/path?query"),
        ("http://x.test:8080", "http://x.test:8080/"),
        ("http://x.test:80/path", "http://x.test/path"),
        ("http://x.test:/", "http://x.test/"),
        ("http://me@[2001:db8::1]:80/", "http://[2001:db8::1]/"),
        ("http://X.Test/Path", "http://x.test/Path"),
        ("http://x.test./", "http://x.test./"),
        ("http://user:password@x.test:8080/", "http://x.test:8080/"),
        ("http://0x0a.1/", "http://10.0.0.1/"),
        ("http://10.0.0.1:8080/", "http://10.0.0.1:8080/"),
        ("http://[2001:DB8:0::1]:8080/", "http://[2001:db8::1]:8080/"),
        ("http://[fe80::1%25eth0]/", "http://[fe80::1]/"),
    ] {
        assert_eq!(inner_sees("http://p", given, &[]).await.uri(), forwarded, "{given}");
    }
}

/// hyper-util writes `Host` without the default port, so the absolute form must not have it either (RFC 9112 3.2.2).
#[tokio::test]
async fn the_absolute_form_and_host_agree() {
    let server = ScriptedProxy::start([Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]).await;
    let layer = layer(&server.url());
    for (id, (uri, host)) in [
        ("http://x.test:80/", "x.test"),
        ("http://x.test:8080/", "x.test:8080"),
        ("http://x.test/", "x.test"),
    ]
    .into_iter()
    .enumerate()
    {
        let client = layer.layer(common::client(layer.layer(connector())));
        let request = Request::get(uri).body(Full::<Bytes>::default()).unwrap();
        within(client.oneshot(request)).await.unwrap();
        let head = server.connection(id).received_text();
        assert!(head.starts_with(&format!("GET http://{host}/ HTTP/1.1\r\n")), "{head}");
        assert!(head.contains(&format!("\r\nhost: {host}\r\n")), "{head}");
    }
}

#[tokio::test]
async fn a_request_without_a_host_is_an_error_and_goes_nowhere() {
    for uri in ["/path", "*", "x.test:443", "http://x.test:99999/"] {
        let (mut service, mut handle) = mock::spawn_layer::<Request<()>, Response<()>, _>(layer("http://p"));
        handle.allow(1);
        tokio_test::assert_ready_ok!(service.poll_ready());
        let error = service.call(Request::get(uri).body(()).unwrap()).await.unwrap_err();
        assert!(error.is::<TargetError>(), "{uri}: {error}");
        tokio_test::assert_pending!(handle.poll_request());
    }
}

/// The caller learns why its field did not arrive; the field's value is in no log.
#[tokio::test]
async fn a_dropped_field_is_told() {
    let own = [("proxy-authorization", "Basic czNjcmV0"), ("accept", "*/*")];
    let same = [("proxy-authorization", CREDENTIALS)];
    let received = "the target would receive it (the proxy's address sets credentials for the proxy)";
    for (proxy, uri, headers, told) in [
        (
            "http://p",
            "https://x.test/",
            &own[..],
            Some(("https://x.test:443", "tunnel through http://p:1080", received)),
        ),
        (
            "http://p",
            "http://direct.test/",
            &own,
            Some(("http://direct.test:80", "direct", received)),
        ),
        (
            "http://user:secret@p",
            "http://X.test/",
            &own,
            Some((
                "http://x.test:80",
                "forward through http://user:***@p:1080",
                "the proxy has credentials of its own",
            )),
        ),
        ("http://p", "http://x.test/", &own, None),
        ("http://user:secret@p", "http://x.test/", &same, None),
        ("http://user:secret@p", "https://x.test/", &own[1..], None),
        ("http://user:secret@p", "http://x.test/", &[], None),
    ] {
        let log = Log::of_thread(Level::DEBUG);
        inner_sees(proxy, uri, headers).await;
        let log = log.text();
        let lines: Vec<_> = log
            .lines()
            .filter(|line| line.contains("Proxy-Authorization"))
            .collect();
        assert_eq!(lines.len(), usize::from(told.is_some()), "{uri}: {log}");
        if let Some((target, route, reason)) = told {
            let event = format!(
                "the request's own Proxy-Authorization is not sent target={target} route={route} reason=\"{reason}\""
            );
            assert!(lines[0].contains("DEBUG") && lines[0].ends_with(&event), "{log}");
        }
        assert!(!log.contains("czNjcmV0"), "{log}");
    }
}

/// Readiness is the inner service's, and errors are its own.
#[tokio::test]
async fn readiness_and_errors_are_passed_on() {
    let (mut service, mut handle) = mock::spawn_layer::<Request<()>, Response<()>, _>(layer("http://p"));
    handle.allow(0);
    tokio_test::assert_pending!(service.poll_ready());
    handle.allow(1);
    assert!(service.is_woken());
    tokio_test::assert_ready_ok!(service.poll_ready());

    let mut response = tokio_test::task::spawn(service.call(Request::get("https://x.test").body(()).unwrap()));
    tokio_test::assert_pending!(response.poll());
    let (request, respond) = handle.next_request().await.unwrap();
    assert_eq!(request.uri(), "https://x.test/");
    respond.send_error("inner trouble");
    assert_eq!(
        tokio_test::assert_ready_err!(response.poll()).to_string(),
        "inner trouble"
    );

    handle.send_error("not ready any more");
    assert_eq!(
        tokio_test::assert_ready_err!(service.poll_ready()).to_string(),
        "not ready any more"
    );
}

#[tokio::test]
async fn the_response_is_the_inner_services() {
    let (mut service, mut handle) = mock::spawn_layer(layer("http://p"));
    tokio_test::assert_ready_ok!(service.poll_ready());
    let response = service.call(Request::get("http://x.test").body("body of any type").unwrap());
    let answer = async {
        let (request, respond) = handle.next_request().await.unwrap();
        assert_eq!(*request.body(), "body of any type");
        respond.send_response(Response::builder().status(418).body(Bytes::from("teapot")).unwrap());
    };
    let (response, ()) = tokio::join!(response, answer);
    let response = response.unwrap();
    assert_eq!(
        (response.status(), &response.body()[..]),
        (StatusCode::IM_A_TEAPOT, &b"teapot"[..])
    );
}

#[tokio::test]
async fn the_route_can_be_kept_out_of_the_extensions() {
    let inner = service_fn(|request: Request<()>| async move {
        assert!(request.extensions().is_empty());
        Ok::<_, Infallible>(Response::new(()))
    });
    let mut service = layer("http://p").with_route_extension(false).layer(inner);
    let request = Request::get("http://x.test").body(()).unwrap();
    assert!(service.ready().await.is_ok());
    assert!(
        Service::call(&mut service, request)
            .await
            .unwrap()
            .extensions()
            .is_empty()
    );
}

/// Two threads of a client share the layer, and each asks for its own.
#[tokio::test]
async fn clones_share_settings_and_nothing_else() {
    let (mut first, mut handle) = mock::spawn_layer::<Request<()>, Response<()>, _>(layer("http://user:secret@p"));
    let clone = first.get_ref().clone();
    let mut second = tokio_test::task::spawn(clone);
    tokio_test::assert_ready_ok!(first.poll_ready());
    let _in_flight = first.call(Request::get("http://x.test/1").body(()).unwrap());
    let ready = second.enter(|cx, mut service| Service::<Request<()>>::poll_ready(&mut *service, cx));
    tokio_test::assert_ready_ok!(ready);
    let (request, _respond) = handle.next_request().await.unwrap();
    assert_eq!(authorization(request.headers()), [CREDENTIALS]);
    tokio_test::assert_pending!(handle.poll_request());
}
