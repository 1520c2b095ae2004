//! Around a connector, the layer asks the inner one only for the next hop. It passes on metadata, vectored writes and
//! readiness, and makes hyper-util's client send what the settings require.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;

use crate::common::{CONNECT, Handing, Mark, OK, Then, Wire, client, connect, get, layer};
use http::{Extensions, Uri};
use hyper::rt::Write;
use hyper_util::client::legacy::connect::Connection;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok};
use tower::Layer;
use tower_outbound_proxy::{ProxyConfig, ProxyLayer, Route, connector::ConnectResponse, error::Stage};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Origin, Resolver, connector, connector_with, within};
use tower_test::mock::{self, Spawn};

/// Returns a layer that sends everything through this proxy, except `direct.test`.
fn with_exception(proxy: &str) -> ProxyLayer {
    ProxyLayer::new(ProxyConfig::from_vars([("ALL_PROXY", proxy), ("NO_PROXY", "direct.test")]).unwrap())
}

#[tokio::test]
async fn the_inner_connector_is_asked_for_the_next_hop() {
    const FORWARD: &str = "forward through http://user:***@proxy.test:1080";
    const TUNNEL: &str = "tunnel through http://user:***@proxy.test:1080";
    let layer = with_exception("http://user:word@Proxy.test");
    for (uri, next, route) in [
        ("http://direct.test/a?b", None, "direct"),
        ("https://user:word@sub.DIRECT.test:8443/a", None, "direct"),
        // hyper-util's connector would dial 80.
        ("wss://direct.test/", Some("wss://direct.test:443/"), "direct"),
        ("wss://direct.test:8443/", None, "direct"),
        ("ws://direct.test/", None, "direct"),
        ("http://127.0.0.1:8080/", None, "direct"),
        ("ftp://direct.test/", None, "direct"),
        ("tcp://origin.test:25/", Some("http://proxy.test:1080/"), TUNNEL),
        ("http://origin.test/a?b", Some("http://proxy.test:1080/"), FORWARD),
        ("https://origin.test/a?b", Some("http://proxy.test:1080/"), TUNNEL),
        ("ws://origin.test/", Some("http://proxy.test:1080/"), TUNNEL),
        ("wss://origin.test/", Some("http://proxy.test:1080/"), TUNNEL),
    ] {
        let wire = Wire::saying([OK]);
        let (log, inner) = (wire.log(), Handing::new(wire));
        let stream = within(connect(&layer, inner.clone(), uri)).await.unwrap();
        assert_eq!(
            inner.asked(),
            [uri.parse::<Uri>().unwrap().to_string().as_str()].map(|uri| next.unwrap_or(uri))
        );
        assert_eq!(stream.route().to_string(), route, "{uri}");
        assert_eq!(log.written().starts_with("CONNECT "), route == TUNNEL, "{uri}");
        assert_eq!(log.written().is_empty(), route != TUNNEL, "{uri}");

        // What the client learns: how to write its requests, and everything the inner stream has to say.
        let connected = stream.connected();
        let mut extras = Extensions::new();
        connected.get_extras(&mut extras);
        assert_eq!(connected.is_proxied(), route == FORWARD, "{uri}");
        assert!(!connected.is_negotiated_h2());
        assert_eq!(extras.get(), Some(&Mark(7)), "{uri}");
        assert_eq!(extras.get::<Route>(), Some(stream.route()), "{uri}");
        assert_eq!(extras.get::<ConnectResponse>().is_some(), route == TUNNEL, "{uri}");
    }
}

#[tokio::test]
async fn a_proxy_is_dialled_in_the_clear_at_its_own_address() {
    for (proxy, asked) in [
        ("http://[::1]:3128", "http://[::1]:3128/"),
        ("http://192.0.2.1", "http://192.0.2.1:1080/"),
        // TLS to it is made here: an inner connector that made it too would make it twice.
        ("https://proxy.test:3129", "http://proxy.test:3129/"),
    ] {
        let inner = Handing::new(Wire::saying([""; 0]).then(Then::Close));
        let config = ProxyConfig::builder()
            .all(proxy)
            .proxy_tls(Ca::new().client_config(&[]));
        let layer = ProxyLayer::new(config.build().unwrap());
        let outcome = within(connect(&layer, inner.clone(), "https://origin.test/")).await;
        assert_eq!(inner.asked(), [asked]);
        assert_eq!(outcome.unwrap_err().proxy().unwrap().trim_end_matches(":1080"), proxy);
    }
}

#[tokio::test]
async fn a_uri_without_a_host_is_dialled_nowhere() {
    let inner = Handing::new(Wire::saying([OK]));
    let error = within(connect(&layer("http://proxy.test"), inner.clone(), "/path"))
        .await
        .unwrap_err();
    assert!(error.target_error().is_some());
    assert_eq!((error.stage(), error.is_transient()), (Stage::Target, false));
    assert!(inner.asked().is_empty());
}

#[tokio::test]
async fn http2_agreed_by_the_inner_connector_is_told() {
    let inner = Handing::new(Wire::saying([OK]).negotiated_h2());
    let stream = connect(&with_exception("http://proxy.test"), inner, "https://direct.test/")
        .await
        .unwrap();
    assert!(stream.connected().is_negotiated_h2());
}

#[tokio::test]
async fn writes_and_shutdown_reach_the_inner_stream_as_they_are() {
    let layer = with_exception("http://proxy.test");
    for (uri, first) in [
        ("http://direct.test/", "ab"),
        ("http://origin.test/", "ab"),
        // As TLS begins.
        ("https://origin.test/", "\x16b"),
    ] {
        for vectored in [true, false] {
            let wire = Wire::saying([OK]).vectored(vectored);
            let log = wire.log();
            let mut stream = within(connect(&layer, Handing::new(wire), uri)).await.unwrap();
            assert_eq!(stream.is_write_vectored(), vectored, "{uri}");
            assert_eq!(write_two(&mut stream, first).await, 4, "{uri}");
            assert_eq!(log.vectored(), 1, "{uri}");
            assert!(log.written().ends_with(&format!("{first}cd")), "{uri}");
            assert_eq!(log.shutdowns(), 0);
            poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await.unwrap();
            assert_eq!(log.shutdowns(), 1, "{uri}");
        }
    }
}

#[tokio::test]
async fn writes_over_tls_to_the_proxy_are_vectored() {
    let (ca, origin) = (Ca::new(), Origin::http().await);
    let proxy = ForwardProxy::builder().tls(ca.issue(&["localhost"]).server_config(&[]));
    let proxy = proxy.map("origin.test:443", origin.addr()).start().await;
    let config = ProxyConfig::builder()
        .all(proxy.url().as_str())
        .proxy_tls(ca.client_config(&[]));
    let layer = ProxyLayer::new(config.build().unwrap());
    let mut stream = within(connect(&layer, connector(), "https://origin.test/"))
        .await
        .unwrap();
    assert!(stream.is_write_vectored());
    assert_eq!(write_two(&mut stream, "\x16b").await, 4);
    within(TokioIo::new(&mut stream).flush()).await.unwrap();
    within(proxy.until(|proxy| proxy.raw()[0].ends_with(b"\r\n\r\n\x16bcd"))).await;
}

/// Writes two slices at once, and returns the number of bytes taken.
async fn write_two(stream: &mut (impl Write + Unpin), first: &str) -> usize {
    let slices = [IoSlice::new(first.as_bytes()), IoSlice::new(b"cd")];
    within(poll_fn(|cx| Pin::new(&mut *stream).poll_write_vectored(cx, &slices)))
        .await
        .unwrap()
}

#[tokio::test]
async fn readiness_is_the_inner_connectors() {
    let (inner, mut handle) = mock::pair::<Uri, Wire>();
    let mut proxy = Spawn::new(layer("http://proxy.test").layer(inner));
    handle.allow(0);
    assert_pending!(proxy.poll_ready::<Uri>());
    handle.allow(1);
    assert!(proxy.is_woken());
    assert_ready_ok!(proxy.poll_ready::<Uri>());

    // Called at once, and by the service that was ready: the mock panics when any other is called.
    let connecting = proxy.call("https://origin.test/".parse::<Uri>().unwrap());
    let (uri, answer) = within(handle.next_request()).await.unwrap();
    assert_eq!(uri, "http://proxy.test:1080/");
    answer.send_response(Wire::saying([OK]));
    within(connecting).await.unwrap();

    // Readiness is used up, and no clone has it.
    let mut clone = proxy.clone();
    assert_pending!(proxy.poll_ready::<Uri>());
    assert_pending!(clone.poll_ready::<Uri>());

    handle.send_error("worn out");
    let error = assert_ready_err!(proxy.poll_ready::<Uri>());
    assert_eq!(error.stage(), Stage::Dial);
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "worn out");
    handle.allow(1);
    assert_ready_ok!(clone.poll_ready::<Uri>());
}

/// A whole stack on loopback. Tests check what each side received.
struct Stack {
    ca: Ca,
    http: Origin,
    https: Origin,
    proxy: ForwardProxy,
    resolver: Resolver,
}

impl Stack {
    async fn start() -> Self {
        let ca = Ca::new();
        let https = Origin::https(&ca, &["origin.test", "2001:db8::1"], &["http/1.1"]).await;
        let http = Origin::http().await;
        let mut proxy = ForwardProxy::builder().host("proxy.test");
        for host in ["origin.test", "[2001:db8::1]"] {
            proxy = proxy.map(&format!("{host}:80"), http.addr());
            proxy = proxy.map(&format!("{host}:443"), https.addr());
        }
        Self {
            ca,
            http,
            https,
            proxy: proxy.start().await,
            resolver: Resolver::new(),
        }
    }

    /// Returns the route, the body, and true if there is a response to CONNECT.
    async fn get(&self, layer: &ProxyLayer, uri: &str) -> (String, String, bool) {
        let connector = connector_with(self.resolver.clone());
        let client = client(layer.https_connector_with(connector, self.ca.client_config(&[])));
        let response = within(get(&client, uri)).await.unwrap();
        let route = response.extensions().get::<Route>().unwrap().to_string();
        let connected = response.extensions().get::<ConnectResponse>().is_some();
        let route = route.split(' ').next().unwrap().to_owned();
        (route, response.into_body(), connected)
    }
}

/// The proxy, and nobody else, resolves the target's name.
#[tokio::test]
async fn a_client_does_on_the_wire_what_the_settings_say() {
    for (uri, always, route, heard) in [
        (
            "http://origin.test/",
            false,
            "forward",
            "GET http://origin.test/ HTTP/1.1\r\nhost: origin.test\r\n\r\n",
        ),
        (
            "http://[2001:db8::1]/",
            false,
            "forward",
            "GET http://[2001:db8::1]/ HTTP/1.1\r\nhost: [2001:db8::1]\r\n\r\n",
        ),
        (
            "http://origin.test/",
            true,
            "tunnel",
            "CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\nGET / HTTP/1.1\r\nhost: origin.test\r\n\r\n",
        ),
        (
            "https://origin.test/",
            false,
            "tunnel",
            "CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n\x16",
        ),
        (
            "https://[2001:db8::1]/",
            false,
            "tunnel",
            "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n\x16",
        ),
    ] {
        let stack = Stack::start().await;
        let layer = layer(&stack.proxy.url()).with_always_tunnel(always);
        let uri: Uri = uri.parse().unwrap();
        let (took, body, connected) = stack.get(&layer, &uri.to_string()).await;
        assert_eq!((took.as_str(), connected), (route, route == "tunnel"), "{uri}");
        assert_eq!(body, format!("hello from origin, asked for {}\n", uri.host().unwrap()));
        let raw = stack.proxy.connection(0).received_text();
        match heard.strip_suffix('\x16') {
            Some(head) => assert!(raw.starts_with(heard), "{head:?} and TLS, not {raw:?}"),
            None => assert_eq!(raw, heard),
        }
        assert_eq!(stack.proxy.connections_opened(), 1);
        assert_eq!(stack.resolver.names(), ["proxy.test"], "{uri}");
        let origin = if uri.scheme_str() == Some("http") {
            &stack.http
        } else {
            &stack.https
        };
        assert_eq!(origin.requests()[0].target, "/");
        assert_eq!(origin.connections_opened(), 1);
    }
}

#[tokio::test]
async fn an_exempt_target_is_reached_past_the_proxy() {
    let stack = Stack::start().await;
    let proxy = stack.proxy.url();
    let config = ProxyConfig::from_vars([("ALL_PROXY", proxy.as_str()), ("NO_PROXY", "origin.test")]).unwrap();
    for origin in [&stack.http, &stack.https] {
        let uri = format!("{}://origin.test:{}/", origin.scheme(), origin.port());
        let (route, body, connected) = stack.get(&ProxyLayer::new(config.clone()), &uri).await;
        assert_eq!((route.as_str(), connected), ("direct", false));
        assert!(body.starts_with("hello from origin, asked for origin.test"), "{body}");
        assert_eq!(origin.requests()[0].target, "/");
    }
    assert_eq!(stack.resolver.names(), ["origin.test"; 2]);
    assert_eq!(stack.proxy.connections_opened(), 0);
}

#[tokio::test]
async fn a_proxy_at_an_ipv6_address_is_reached() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder()
        .listen_v6()
        .map("origin.test:80", origin.addr())
        .start()
        .await;
    assert!(proxy.url().starts_with("http://[::1]:"));
    let client = client(layer(&proxy.url()).layer(connector()));
    assert_eq!(
        within(get(&client, "http://origin.test/status/299"))
            .await
            .unwrap()
            .status(),
        299
    );
    assert_eq!(proxy.connections_opened(), 1);
}

#[tokio::test]
async fn websockets_go_through_a_tunnel() {
    const UPGRADE: &str = "GET /upgrade HTTP/1.1\r\nhost: origin.test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    let stack = Stack::start().await;
    let stream = within(connect(
        &layer(&stack.proxy.url()),
        connector(),
        "ws://origin.test/upgrade",
    ))
    .await
    .unwrap();
    let mut stream = TokioIo::new(stream);
    within(stream.write_all(format!("{UPGRADE}ping").as_bytes()))
        .await
        .unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\nping") {
        heard.push(within(stream.read_u8()).await.unwrap());
    }
    assert!(heard.starts_with(b"HTTP/1.1 101 "), "{}", heard.escape_ascii());
    let connect = CONNECT.replace("443", "80");
    assert_eq!(
        stack.proxy.connection(0).received_text(),
        format!("{connect}{UPGRADE}ping")
    );
}
