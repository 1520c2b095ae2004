//! Requests as they are sent: the target and `Host` in the form that the peer expects, upgrades, and refused requests.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, Version, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;
use tower_outbound_proxy::{Client, ConnectError, ProxyConfig, ProxyLayer, Route, connector::ConnectResponse};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Origin, ScriptedProxy, Step, within};

use crate::common::decide;

use super::{
    TestClient, builder, client, eventually, fetch, forward, now, opened, read, request, send, through, tunnel,
    unproxied,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Returns the first line and the `Host` that a server received.
async fn heard(
    url: &str,
    route: impl Fn(&str) -> Route,
    change: impl FnOnce(&mut Request<Full<Bytes>>),
) -> [String; 2] {
    let direct = matches!(route("http://a.test"), Route::Direct);
    let server = ScriptedProxy::start([Step::send(OK)]).await;
    let client = client(unproxied(), &Ca::new());
    let url = if direct {
        url.replacen("a.test", &server.addr().to_string(), 1)
    } else {
        url.to_owned()
    };
    let mut request = request(&url);
    decide(&mut request, route(&server.url()));
    change(&mut request);
    assert_eq!(send(&client, request).await.unwrap().status(), 200);
    let text = server.connection(0).received_text();
    let [line, host] = ["", "host: "].map(|name| {
        let mut lines = text.split("\r\n").filter(|line| line.to_lowercase().starts_with(name));
        let line = lines.next().unwrap_or("none")[name.len()..].to_owned();
        assert!(name.is_empty() || lines.next().is_none(), "{text}");
        line.replace(&server.addr().to_string(), "a.test")
    });
    [line, host]
}

#[tokio::test]
async fn the_target_has_the_form_that_the_other_end_reads() {
    let as_it_is = |_: &mut Request<_>| ();
    for (url, line, host) in [
        ("http://a.test", "http://a.test/", "a.test"),
        ("http://a.test#f", "http://a.test/", "a.test"),
        ("http://a.test?q=1", "http://a.test/?q=1", "a.test"),
        ("http://a.test/x?q#f", "http://a.test/x?q", "a.test"),
        ("http://a.test:80/", "http://a.test/", "a.test"),
        ("http://a.test:/", "http://a.test/", "a.test"),
        ("http://a.test:443/", "http://a.test:443/", "a.test:443"),
        ("http://me:s3cret@A.test:8080/", "http://a.test:8080/", "a.test:8080"),
        ("http://[2001:DB8::80]/", "http://[2001:db8::80]/", "[2001:db8::80]"),
        ("http://[2001:db8::1]:80/", "http://[2001:db8::1]/", "[2001:db8::1]"),
        ("http://me@127.1:80/", "http://127.0.0.1/", "127.0.0.1"),
    ] {
        let got = heard(url, forward, as_it_is).await;
        assert_eq!(got, [format!("GET {line} HTTP/1.1"), host.to_owned()], "{url}");
    }
    for (url, line) in [
        ("http://a.test", "/"),
        ("http://a.test#f", "/"),
        ("http://a.test?q=1", "/?q=1"),
        ("http://a.test/x?q#f", "/x?q"),
        ("http://me:s3cret@a.test/", "/"),
        ("ws://a.test/%20", "/%20"),
    ] {
        let got = heard(url, |_| Route::Direct, as_it_is).await;
        assert_eq!(got, [format!("GET {line} HTTP/1.1"), "a.test".to_owned()], "{url}");
    }
}

/// `OPTIONS *` (RFC 9112 3.2.4). A proxy would have to be asked with a URI without a path.
#[tokio::test]
async fn the_whole_server_can_be_asked_for_its_options_unless_a_proxy_forwards() {
    let whole = |request: &mut Request<Full<Bytes>>| {
        *request.method_mut() = Method::OPTIONS;
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static("*"));
        *request.uri_mut() = Uri::from_parts(parts).unwrap();
    };
    let got = heard("http://a.test", |_| Route::Direct, whole).await;
    assert_eq!(got, ["OPTIONS * HTTP/1.1", "a.test"]);
    let server = ScriptedProxy::start([Step::send(OK)]).await;
    let mut request = request("http://a.test");
    whole(&mut request);
    decide(&mut request, forward(&server.url()));
    let error = send(&client(unproxied(), &Ca::new()), request).await.unwrap_err();
    assert!(error.to_string().contains("`OPTIONS *` cannot be forwarded"), "{error}");
    assert!(error.is_before_request());
    assert_eq!(server.requests().len(), 0);
}

/// The caller's own `Host` is kept, once; its version is the connection's to say.
#[tokio::test]
async fn a_host_that_the_caller_set_is_kept() {
    for route in [forward as fn(&str) -> Route, |_| Route::Direct] {
        let [line, host] = heard("http://a.test/x", route, |request| {
            request
                .headers_mut()
                .insert(header::HOST, HeaderValue::from_static("virtual.test"));
            *request.version_mut() = Version::HTTP_2;
        })
        .await;
        assert!(line.ends_with("/x HTTP/1.1"), "{line}");
        assert_eq!(host, "virtual.test");
    }
}

/// A caller's fields for proxies reach a proxy that forwards, and never an origin.
#[tokio::test]
async fn proxy_authorization_is_for_proxies() {
    let ca = Ca::new();
    let proxy = ForwardProxy::builder().start().await;
    let origins = [
        Origin::http().await,
        Origin::https(&ca, &["a.test"], &["http/1.1"]).await,
        Origin::https(&ca, &["a.test"], &["h2"]).await,
    ];
    let client = client(unproxied(), &ca);
    for origin in &origins {
        let url = format!("{}://a.test:{}/headers", origin.scheme(), origin.port());
        for route in [
            Route::Direct,
            tunnel(&proxy.url_with("me:s3cret@")),
            forward(&proxy.url_with("me:s3cret@")),
        ] {
            let mut request = request(&url);
            request
                .headers_mut()
                .insert(header::PROXY_AUTHORIZATION, "Basic other".parse().unwrap());
            request
                .headers_mut()
                .insert("proxy-connection", "keep-alive".parse().unwrap());
            decide(&mut request, route);
            let answer = read(send(&client, request).await.unwrap()).await;
            let answer = String::from_utf8(answer.to_vec()).unwrap().to_lowercase();
            assert!(answer.contains("via: 1.1 lab") || !answer.contains("proxy"), "{answer}");
            assert!(
                !answer.contains("proxy-authorization") && !answer.contains("s3cret"),
                "{answer}"
            );
        }
    }
    for heard in proxy.requests() {
        assert_eq!(heard.header("proxy-authorization"), Some("Basic bWU6czNjcmV0"));
    }
}

#[tokio::test]
async fn what_cannot_be_requested_is_an_error_that_costs_nothing() {
    let client = client(unproxied(), &Ca::new());
    for (method, url) in [
        (Method::CONNECT, "http://a.test:80/"),
        (Method::CONNECT, "a.test:80"),
        (Method::GET, "/path"),
        (Method::GET, "a.test:80"),
        (Method::GET, "ftp://a.test/"),
        (Method::GET, "ftp://a.test:21/"),
        (Method::GET, "http://[v1.x]/"),
        (Method::GET, "http://a.test:0/"),
    ] {
        let Ok(request) = Request::builder().method(method).uri(url).body(Full::default()) else {
            continue;
        };
        let error = send(&client, request).await.unwrap_err();
        assert!(
            error.is_before_request() && !error.is_connect() && !error.is_timeout(),
            "{url}: {error:?}"
        );
        assert!(error.to_string().starts_with("invalid target: "), "{url}: {error}");
    }
    assert_eq!((client.stats().opened, client.stats().keys.len()), (0, 0));
}

/// A body whose length is known is sent with it, and no other; an empty one is none.
#[tokio::test]
async fn a_bodys_length_is_sent() {
    let ca = Ca::new();
    let plain = Origin::http().await;
    let http1 = Origin::https(&ca, &["a.test"], &["http/1.1"]).await;
    let http2 = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let proxy = ForwardProxy::builder().start().await;
    let client: Client<BoxBody<Bytes, Infallible>> = builder(through(proxy.url()), &ca).build().unwrap();
    for origin in [&plain, &http1, &http2] {
        for (method, body, length, chunked) in [
            (Method::POST, Full::from("body").boxed(), Some("4"), false),
            (
                Method::PUT,
                Full::from("body").map_frame(|frame| frame).boxed(),
                None,
                true,
            ),
            (Method::GET, Full::from("body").boxed(), Some("4"), false),
            (Method::GET, Full::default().boxed(), None, false),
            (Method::HEAD, Empty::new().boxed(), None, false),
            (Method::DELETE, Empty::new().boxed(), None, false),
        ] {
            let url = format!("{}://a.test:{}/status/204", origin.scheme(), origin.port());
            let request = Request::builder().method(method.clone()).uri(url).body(body).unwrap();
            read(within(client.clone().oneshot(request)).await.unwrap()).await;
            let heard = origin.requests().pop().unwrap();
            let http2 = heard.version == Version::HTTP_2;
            assert_eq!(heard.method, method);
            assert_eq!(
                heard.header("content-length").filter(|length| *length != "0"),
                length,
                "{heard:?}"
            );
            assert_eq!(
                heard.header("transfer-encoding").is_some(),
                chunked && !http2,
                "{heard:?}"
            );
            assert_eq!(heard.body.len(), if length.is_some() || chunked { 4 } else { 0 });
        }
    }
}

/// `Expect: 100-continue` goes out as it is; the interim response is passed over, or makes no difference.
#[tokio::test]
async fn interim_responses_are_passed_over() {
    for answer in [
        format!("HTTP/1.1 100 Continue\r\n\r\n{OK}"),
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n{OK}"),
        OK.to_owned(),
    ] {
        let server = ScriptedProxy::start([Step::send(answer), Step::Hang]).await;
        let client = client(unproxied(), &Ca::new());
        let mut request = Request::post(server.url()).body(Full::from("body")).unwrap();
        request
            .headers_mut()
            .insert(header::EXPECT, "100-continue".parse().unwrap());
        assert_eq!(send(&client, request).await.unwrap().status(), 200);
        eventually(|| now(&client) == [1, 1, 0, 0]).await;
        within(server.until(|server| server.raw()[0].ends_with(b"\r\n\r\nbody"))).await;
        assert_eq!(server.requests()[0].header("expect"), Some("100-continue"));
    }
}

fn upgrade(url: &str) -> Request<Full<Bytes>> {
    let mut request = request(url);
    request
        .headers_mut()
        .insert(header::CONNECTION, "upgrade".parse().unwrap());
    request.headers_mut().insert(header::UPGRADE, "echo".parse().unwrap());
    request
}

/// On every route; a forwarding proxy is asked for a tunnel.
#[tokio::test]
async fn an_upgrade_hands_the_stream_over() {
    let ca = Ca::new();
    let plain = Origin::http().await;
    let http1 = Origin::https(&ca, &["a.test"], &["http/1.1"]).await;
    // Would choose HTTP/2, which knows no upgrade.
    let http2 = Origin::https(&ca, &["a.test"], &["h2", "http/1.1"]).await;
    let proxy = ForwardProxy::builder().basic("me", "pass").start().await;
    let address = proxy.url_with("me:pass@");
    for origin in [&plain, &http1, &http2] {
        for route in [
            None,
            Some(Route::Direct),
            Some(forward(&address)),
            Some(tunnel(&address)),
        ] {
            for scheme in ["http", "ws"] {
                let client = client(through(address.as_str()), &ca);
                let scheme = origin.scheme().replace("http", scheme);
                let url = format!("{scheme}://a.test:{}/upgrade", origin.port());
                fetch(&client, &url.replace("upgrade", "status/200")).await;
                let mut request = upgrade(&url);
                if let Some(route) = &route {
                    decide(&mut request, route.clone());
                }
                let mut response = send(&client, request).await.unwrap();
                assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS, "{url}");
                let taken = response.extensions().get::<Route>();
                match &route {
                    Some(Route::Direct) => assert_eq!(taken, Some(&Route::Direct)),
                    _ => {
                        assert_eq!(taken, Some(&tunnel(&address)));
                        assert!(response.extensions().get::<ConnectResponse>().is_some());
                    }
                }
                let stream = within(hyper::upgrade::on(&mut response)).await.unwrap();
                drop(response);
                let mut stream = TokioIo::new(stream);
                for text in ["ping", "pong"] {
                    within(stream.write_all(text.as_bytes())).await.unwrap();
                    let mut back = [0; 4];
                    within(stream.read_exact(&mut back)).await.unwrap();
                    assert_eq!(&back, text.as_bytes());
                }
                // The stream is the caller's: nobody else gets it, and the client may go.
                read(
                    send(&client, self::request(&url.replace("upgrade", "status/200")))
                        .await
                        .unwrap(),
                )
                .await;
                drop(client);
                within(stream.write_all(b"last")).await.unwrap();
                within(stream.shutdown()).await.unwrap();
                let mut rest = String::new();
                within(stream.read_to_string(&mut rest)).await.unwrap();
                assert_eq!(rest, "last");
            }
        }
    }
}

/// An upgrade that is declined is an answer as any other.
#[tokio::test]
async fn an_upgrade_that_is_declined_gives_the_connection_back() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().start().await;
    let client = client(through(proxy.url()), &Ca::new());
    for _ in 0..3 {
        let mut request = upgrade(&format!("http://a.test:{}/upgrade", origin.port()));
        request
            .headers_mut()
            .insert(header::UPGRADE, "websocket".parse().unwrap());
        let response = send(&client, request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
        read(response).await;
        eventually(|| now(&client) == [1, 1, 0, 0]).await;
    }
    assert_eq!((opened(&proxy), opened(&origin)), (1, 1));
}

/// The response's extensions describe the connection, unless the layer is told not to.
#[tokio::test]
async fn a_response_tells_its_route() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let proxy = ForwardProxy::builder().start().await;
    let layer = ProxyLayer::new(through(proxy.url()));
    for told in [true, false] {
        let client: TestClient = builder(unproxied(), &ca)
            .layer(layer.clone().with_route_extension(told))
            .build()
            .unwrap();
        for _ in 0..2 {
            let response = send(&client, request(&origin.url("/"))).await.unwrap();
            let (route, answer) = (
                response.extensions().get::<Route>(),
                response.extensions().get::<ConnectResponse>(),
            );
            assert_eq!((route.is_some(), answer.is_some()), (told, told));
            if let Some(answer) = answer {
                assert_eq!(answer.status(), 200);
            }
            within(response.into_body().collect()).await.unwrap();
        }
    }
}

/// A connection to a proxy that forwards is for any target, so the proxy is not named as its own.
#[tokio::test]
async fn a_proxy_that_cannot_be_reached_is_named_once() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = ProxyConfig::builder()
        .all(format!("http://{nobody}"))
        .loopback_direct(false);
    let client = Client::builder().config(config.build().unwrap()).build().unwrap();
    for (url, text) in [
        (
            "http://origin.test/",
            format!("proxy http://{nobody}: connecting to the proxy failed"),
        ),
        (
            "https://origin.test/",
            format!("proxy http://{nobody}, to origin.test:443: connecting to the proxy failed"),
        ),
        (
            &format!("ws://{nobody}/"),
            format!("proxy http://{nobody}, to {nobody}: connecting to the proxy failed"),
        ),
    ] {
        let request = Request::get(url).body(String::new()).unwrap();
        let error = within(client.clone().oneshot(request)).await.unwrap_err();
        assert_eq!(ConnectError::find(&error).unwrap().to_string(), text, "{url}");
    }
}
