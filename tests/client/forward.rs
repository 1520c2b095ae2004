//! Requests to `http` targets are forwarded over HTTP/2 where the proxy speaks it, on the connection of the tunnels.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{Request, StatusCode, Version};
use http_body_util::Full;
use hyper::body::{Body, Frame};
use tower::{BoxError, ServiceExt};
use tower_outbound_proxy::{
    Client, ClientError, ConnectError, ProxyConfig, ProxyLayer, Route,
    connector::{ProxyConnection, ProxyVersion},
    error::ConnectErrorKind,
};
use tower_outbound_proxy_lab::{Behaviour, Ca, ForwardProxy, Http2Proxy, Origin, connector, pattern, within};

use super::{TestClient, eventually, fetch, get, read, request, send, trusting};

/// Returns a client that sends everything through this proxy in HTTP/2 alone.
fn client(proxy: &str) -> TestClient {
    let config = ProxyConfig::builder().all(proxy).build().unwrap();
    let layer = ProxyLayer::new(config).with_proxy_version(ProxyVersion::Http2);
    Client::builder().layer(layer).connector(connector()).build().unwrap()
}

#[tokio::test]
async fn requests_to_all_origins_and_tunnels_share_one_connection() {
    let (ca, targets) = (Ca::new(), Ca::new());
    let (a, b) = (Origin::http().await, Origin::http().await);
    let c = Origin::https(&targets, &["c.test"], &["h2", "http/1.1"]).await;
    let proxy = Http2Proxy::builder()
        .host("proxy.test")
        .tls(ca.issue(&["proxy.test"]).server_config(&["h2", "http/1.1"]))
        .basic("user", "secret")
        .map("a.test:80", a.addr())
        .map("b.test:8080", b.addr())
        .map("c.test:443", c.addr());
    let proxy = proxy.start().await;
    let url = proxy.url_with("user:secret@");
    let config = ProxyConfig::builder()
        .all(&*url)
        .proxy_tls(trusting(&ca))
        .build()
        .unwrap();
    let builder = Client::builder()
        .config(config)
        .target_tls(trusting(&targets))
        .connector(connector());
    let client: TestClient = builder.build().unwrap();
    for (index, uri) in ["http://a.test/status/201", "http://b.test:8080/status/202"]
        .into_iter()
        .enumerate()
    {
        let response = get(&client, uri).await;
        assert!(uri.ends_with(response.status().as_str()));
        assert_eq!(response.version(), Version::HTTP_2);
        let route: &Route = response.extensions().get().unwrap();
        assert_eq!(*route, Route::Forward(url.parse().unwrap()));
        let connection: &ProxyConnection = response.extensions().get().unwrap();
        assert_eq!(
            (connection.version(), connection.is_reused()),
            (Version::HTTP_2, index > 0)
        );
        read(response).await;
    }
    let response = get(&client, "https://c.test/status/203").await;
    assert_eq!(response.status(), StatusCode::NON_AUTHORITATIVE_INFORMATION);
    read(response).await;
    assert_eq!(proxy.connections_opened(), 1);
    let stats = client.stats();
    assert_eq!(
        (stats.open(), stats.opened),
        (2, 2),
        "the proxy's, and the target's in it: {stats:?}"
    );
    for origin in [&a, &b] {
        assert!(!origin.requests()[0].headers.contains_key("proxy-authorization"));
    }
    let asked = proxy.requests();
    let targets: Vec<_> = asked.iter().map(|request| &*request.target).collect();
    assert_eq!(
        targets,
        [
            "http://a.test/status/201",
            "http://b.test:8080/status/202",
            "c.test:443"
        ]
    );
    assert!(
        asked
            .iter()
            .all(|request| request.headers.contains_key("proxy-authorization"))
    );
}

/// A proxy whose TLS chooses HTTP/1.1 is connected to once, and the pool has the connection.
#[tokio::test]
async fn a_proxy_that_chooses_http1_costs_no_further_connection() {
    let ca = Ca::new();
    let origin = Origin::http().await;
    for alpn in [&["http/1.1"][..], &[]] {
        let proxy = ForwardProxy::builder()
            .host("proxy.test")
            .map("a.test:80", origin.addr());
        let proxy = proxy.tls(ca.issue(&["proxy.test"]).server_config(alpn)).start().await;
        let config = ProxyConfig::builder()
            .all(&*proxy.url())
            .proxy_tls(trusting(&ca))
            .build()
            .unwrap();
        let client: TestClient = Client::builder().config(config).connector(connector()).build().unwrap();
        for _ in 0..3 {
            fetch(&client, "http://a.test/").await;
        }
        assert_eq!(proxy.connections_opened(), 1);
        assert_eq!(client.stats().open(), 1);
    }
}

#[tokio::test]
async fn bodies_go_both_ways_whole() {
    let origin = Origin::http().await;
    let proxy = Http2Proxy::builder().map("a.test:80", origin.addr()).start().await;
    let client = client(&proxy.url_with(""));
    let body = pattern(3_000_000);
    let post = Request::post("http://a.test/echo")
        .body(Full::new(body.clone()))
        .unwrap();
    let response = send(&client, post).await.unwrap();
    assert!(read(response).await == body);
    let heard = &origin.requests()[0];
    assert_eq!(heard.body.len(), body.len());
    assert_eq!(heard.header("content-length"), Some("3000000"));
    assert_eq!(heard.header("host"), Some("a.test"));
}

#[tokio::test]
async fn a_refusal_is_an_error_as_over_http1() {
    let proxy = Http2Proxy::builder().basic("user", "secret").start().await;
    let client = client(&proxy.url_with("user:wrong@"));
    let error = send(&client, request("http://a.test/")).await.unwrap_err();
    assert!(error.is_before_request());
    let error: &ConnectError = error.connect_error().unwrap();
    assert_eq!(error.kind(), ConnectErrorKind::AuthenticationRequired);
    assert_eq!(error.response().unwrap().version(), Version::HTTP_2);
    assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
}

/// The server promises not to have processed the request, whatever its method is.
#[tokio::test]
async fn what_was_not_processed_is_sent_again() {
    for first in [Behaviour::Reset(Reason::REFUSED_STREAM), Behaviour::GoAway] {
        let origin = Origin::http().await;
        let again = first.clone();
        let proxy = Http2Proxy::builder().map("a.test:80", origin.addr());
        let proxy = proxy.behave(move |request, _| match request.target.ends_with("/first") {
            true => Behaviour::Serve,
            false if request.connection == 0 && request.headers.get("x-try").is_none() => again.clone(),
            false => Behaviour::Serve,
        });
        let proxy = proxy.start().await;
        let client = client(&proxy.url_with(""));
        fetch(&client, "http://a.test/first").await;
        let post = Request::post("http://a.test/echo")
            .body(Full::new(Bytes::from("once")))
            .unwrap();
        let outcome = send(&client, post).await;
        match first {
            Behaviour::GoAway => {
                assert_eq!(read(outcome.unwrap()).await, "once");
                assert_eq!(proxy.connections_opened(), 2);
            }
            // The proxy refuses for ever.
            _ => assert!(outcome.unwrap_err().is_before_request()),
        }
        let posts = origin
            .requests()
            .iter()
            .filter(|request| request.target == "/echo")
            .count();
        assert_eq!(posts, usize::from(matches!(first, Behaviour::GoAway)));
    }
}

#[tokio::test]
async fn the_requests_own_error_is_told_and_harms_nobody() {
    let origin = Origin::http().await;
    let proxy = Http2Proxy::builder().map("a.test:80", origin.addr()).start().await;
    let first = client(&proxy.url_with(""));
    fetch(&first, "http://a.test/").await;
    let client = first.with_body_type();
    let post = Request::post("http://a.test/echo")
        .body(Failing(Some("part".into())))
        .unwrap();
    let error: ClientError = within(client.oneshot(post)).await.unwrap_err();
    assert!(format!("{error:?}").contains("the file is gone"), "{error:?}");
    assert!(!error.is_transient());
    fetch(&first, "http://a.test/").await;
    assert_eq!(proxy.connections_opened(), 1);
}

/// A body that fails after some of it.
struct Failing(Option<Bytes>);

impl Body for Failing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(match self.0.take() {
            Some(data) => Ok(Frame::data(data)),
            None => Err("the file is gone".into()),
        }))
    }
}

#[tokio::test]
async fn a_request_that_is_given_up_costs_its_stream_alone() {
    let origin = Origin::http().await;
    let proxy = Http2Proxy::builder().map("a.test:80", origin.addr());
    let proxy = proxy.behave(|request, _| match request.target.ends_with("/silent") {
        true => Behaviour::Silent,
        false => Behaviour::Serve,
    });
    let proxy = proxy.start().await;
    let client = client(&proxy.url_with(""));
    fetch(&client, "http://a.test/").await;
    let silent = client.clone().oneshot(request("http://a.test/silent"));
    assert!(tokio::time::timeout(Duration::from_millis(50), silent).await.is_err());
    // The answer's rest is not wanted.
    drop(get(&client, "http://a.test/bytes/1000000").await);
    fetch(&client, "http://a.test/").await;
    eventually(|| client.stats().idle() == 1).await;
    assert_eq!(proxy.connections_opened(), 1);
}
