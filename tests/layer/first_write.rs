//! The first bytes that a client writes are what its connection is for, or none of them leaves: TLS to an `https` or
//! `wss` target, a request of HTTP/1 to a proxy that forwards.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::{future::poll_fn, io, io::IoSlice, pin::Pin};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, rt::Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client, Error,
        connect::{Connect, HttpConnector},
    },
    rt::{TokioExecutor, TokioIo},
};
use tokio::io::AsyncReadExt;
use tower::Layer;
use tower_outbound_proxy::{
    ConnectError, ProxyConfig, ProxyLayer,
    connector::{HappyEyeballs, ProxyStream},
    error::{ConnectErrorKind, Stage},
};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Log, Origin, Resolver, connector, within};
use tracing::Level;

use crate::common::{CONNECT, Handing, OK, Wire, client, connect, layer};

/// The beginning of a TLS handshake.
const HELLO: &[u8] = b"\x16\x03\x01";
/// The beginning of an HTTP/2 connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const CLEARTEXT: &str = "origin.test:443: cleartext was written to an `https` or `wss` target, and nothing of it was sent: \
                         there is no TLS connector around the layer (one inside, `Proxy<HttpsConnector<..>>`, does not \
                         count); use `ProxyLayer::https_connector`, or put the TLS connector outside, \
                         `HttpsConnector<Proxy<..>>`";

fn unproxied() -> ProxyLayer {
    ProxyLayer::new(ProxyConfig::builder().build().unwrap())
}

/// Sends a request with a secret.
async fn send<C>(client: &Client<C, Full<Bytes>>, url: &str) -> Result<Response<Incoming>, Error>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let request = Request::get(url).header(header::AUTHORIZATION, "Bearer s3cret");
    within(client.request(request.body(Full::default()).unwrap())).await
}

fn wrong_order(ca: &Ca) -> HttpsConnector<HttpConnector<Resolver>> {
    HttpsConnectorBuilder::new()
        .with_tls_config((*ca.client_config(&[])).clone())
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector())
}

/// Checks the error of a request that must not have been sent.
fn assert_not_sent(error: &Error, kind: ConnectErrorKind, text: &str) {
    let found = ConnectError::find(error).unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!((found.kind(), found.stage()), (kind, Stage::FirstWrite));
    assert!(found.is_before_request() && !found.is_transient(), "{found:?}");
    assert_eq!(found.to_string(), text);
}

/// The far end speaks HTTP on port 443, and would be believed.
#[tokio::test]
async fn no_cleartext_goes_through_a_tunnel_to_an_https_target() {
    let ca = Ca::new();
    let imposter = Origin::http().await;
    let plain = ForwardProxy::builder().map("origin.test:443", imposter.addr());
    let tls = ForwardProxy::builder().map("origin.test:443", imposter.addr());
    let tls = tls.tls(ca.issue(&["localhost"]).server_config(&[]));
    for proxy in [plain.start().await, tls.start().await] {
        let log = Log::of_thread(Level::DEBUG);
        let config = ProxyConfig::builder().all(proxy.url()).proxy_tls(ca.client_config(&[]));
        let layer = ProxyLayer::new(config.build().unwrap());
        let text = format!("proxy {}, to {CLEARTEXT}", proxy.url());
        let without = send(&client(layer.layer(connector())), "https://origin.test/").await;
        assert_not_sent(&without.unwrap_err(), ConnectErrorKind::Cleartext, &text);
        let inside = send(&client(layer.layer(wrong_order(&ca))), "https://origin.test/").await;
        assert_not_sent(&inside.unwrap_err(), ConnectErrorKind::Cleartext, &text);

        proxy.until(|proxy| proxy.connections_open() == 0).await;
        assert_eq!(proxy.raw(), [CONNECT.as_bytes(), CONNECT.as_bytes()]);
        let log = log.text();
        let told = format!("the first bytes on a connection are not sent error={text}");
        assert_eq!(log.matches(&told).count(), 2, "{log}");
        assert!(!log.contains("s3cret"), "{log}");
    }
    assert!(imposter.raw().iter().all(Vec::is_empty), "{:?}", imposter.raw());
}

#[tokio::test]
async fn no_cleartext_goes_to_an_https_target_directly() {
    let imposter = Origin::http().await;
    let url = format!("https://localhost:{}/", imposter.port());
    let text = CLEARTEXT.replace("origin.test:443", &format!("localhost:{}", imposter.port()));
    let own = send(&client(unproxied().layer(HappyEyeballs::http(Resolver::new()))), &url).await;
    assert_not_sent(&own.unwrap_err(), ConnectErrorKind::Cleartext, &text);
    let other = send(&client(unproxied().layer(connector())), &url).await;
    assert_not_sent(&other.unwrap_err(), ConnectErrorKind::Cleartext, &text);
    imposter.until(|origin| origin.connections_open() == 0).await;
    assert!(imposter.raw().iter().all(Vec::is_empty), "{:?}", imposter.raw());

    // An inner connector that speaks TLS itself is not in the way of a direct connection.
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["localhost"], &[]).await;
    let response = send(&client(unproxied().layer(wrong_order(&ca))), &origin.url("/")).await;
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(origin.requests()[0].header("authorization"), Some("Bearer s3cret"));
}

async fn write(stream: &mut ProxyStream<Wire>, slices: &[&[u8]]) -> io::Result<usize> {
    let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
    within(poll_fn(|cx| match &slices[..] {
        [one] => Pin::new(&mut *stream).poll_write(cx, one),
        several => Pin::new(&mut *stream).poll_write_vectored(cx, several),
    }))
    .await
}

/// Returns a stream to this URI through a proxy, and the function that reads what was written behind CONNECT.
async fn open(uri: &str, answer: &str) -> (ProxyStream<Wire>, impl Fn() -> Vec<u8> + use<>) {
    let wire = Wire::saying([answer]);
    let log = wire.log();
    let stream = within(connect(&layer("http://proxy.test"), Handing::new(wire), uri)).await;
    let head = log.written().len();
    (stream.unwrap(), move || log.written().as_bytes()[head..].to_vec())
}

#[tokio::test]
async fn only_tls_begins_in_a_tunnel_to_a_target_of_tls() {
    for uri in [
        "https://origin.test/",
        "WSS://origin.test/",
        "https://origin.test:8443/",
    ] {
        for first in [
            &[&b"GET / HTTP/1.1\r\n"[..]][..],
            &[b"", b"P", b"OST"],
            &[b"\x15\x03"],
            &[PREFACE],
        ] {
            let (mut stream, written) = open(uri, OK).await;
            assert!(stream.is_write_vectored());
            // It is refused again, and does not become right by a shorter write.
            for again in [first, first, &[b"", b""], &[&first.concat()[..1]]] {
                let outcome = write(&mut stream, again).await;
                match again.concat().is_empty() {
                    true => assert_eq!(outcome.unwrap(), 0),
                    false => {
                        let error = outcome.unwrap_err();
                        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
                        assert_eq!(ConnectError::find(&error).unwrap().kind(), ConnectErrorKind::Cleartext);
                    }
                }
            }
            assert_eq!(written(), b"");
            // What is TLS goes through, in one piece and in several, and then anything does.
            assert_eq!(write(&mut stream, &[b"", HELLO, b"GET"]).await.unwrap(), 6);
            assert_eq!(write(&mut stream, &[b"GET"]).await.unwrap(), 3);
            assert_eq!(written(), [HELLO, b"GETGET"].concat());
        }
    }
    for uri in ["http://origin.test/", "ws://origin.test/"] {
        let inner = Wire::saying([OK]);
        let log = inner.log();
        let layer = layer("http://proxy.test").with_always_tunnel(true);
        let mut stream = within(connect(&layer, Handing::new(inner), uri)).await.unwrap();
        assert_eq!(write(&mut stream, &[PREFACE]).await.unwrap(), PREFACE.len());
        assert!(log.written().ends_with("\r\n\r\nSM\r\n\r\n"), "{uri}");
    }
}

/// A write of which the inner stream takes nothing has not begun anything.
#[tokio::test]
async fn a_first_write_that_writes_nothing_does_not_count() {
    let wire = Wire::saying([OK]);
    let log = wire.log();
    let layer = layer("http://proxy.test");
    let stream = connect(&layer, Handing::new(wire), "https://origin.test/");
    let mut stream = within(stream).await.unwrap();
    let head = log.written().len();
    for slices in [&[HELLO][..], &[HELLO, HELLO]] {
        log.take_nothing();
        assert_eq!(write(&mut stream, slices).await.unwrap(), 0);
        write(&mut stream, &[b"GET / HTTP/1.1\r\n"]).await.unwrap_err();
    }
    assert_eq!(&log.written()[head..], "");
}

/// A peer that speaks first is heard, and does not lift the check.
#[tokio::test]
async fn a_greeting_of_the_peer_changes_nothing() {
    let (mut stream, written) = open("https://origin.test/", &format!("{OK}220 hello")).await;
    let mut greeting = [0; 9];
    within(TokioIo::new(&mut stream).read_exact(&mut greeting))
        .await
        .unwrap();
    assert_eq!(&greeting, b"220 hello");
    write(&mut stream, &[b"EHLO me\r\n"]).await.unwrap_err();
    assert_eq!(written(), b"");
}

#[tokio::test]
async fn only_http1_begins_on_a_forward_route() {
    let proxy = "proxy http://user:***@proxy.test:1080: ";
    for (first, protocol) in [
        (&[PREFACE][..], "HTTP/2"),
        (&[PREFACE, b"\0\0\0\x04\0\0\0\0\0"], "HTTP/2"),
        (&[&PREFACE[..4]], "HTTP/2"),
        (&[b"", b"PR", &PREFACE[2..]], "HTTP/2"),
        (&[HELLO], "TLS"),
    ] {
        let wire = Wire::saying([""; 0]);
        let log = wire.log();
        let layer = layer("http://user:s3cret@proxy.test");
        let stream = connect(&layer, Handing::new(wire), "http://origin.test/");
        let mut stream = within(stream).await.unwrap();
        let error = write(&mut stream, first).await.unwrap_err();
        let found = ConnectError::find(&error).unwrap();
        assert_eq!(
            (found.kind(), found.stage()),
            (ConnectErrorKind::NeedsTunnel, Stage::FirstWrite)
        );
        assert!(found.is_before_request() && !found.is_transient());
        let text = format!(
            "{proxy}{protocol} was written on a forward route, and nothing of it was sent: this connection is for requests of \
             HTTP/1 only; set `always_tunnel` (`ProxyLayer::with_always_tunnel(true)`), as gRPC to `http` targets needs"
        );
        assert_eq!(found.to_string(), text);
        assert_eq!(log.written(), "");
        // A request, and then its body, may be anything.
        let request = b"PROPFIND http://origin.test/ HTTP/1.1\r\n";
        assert_eq!(write(&mut stream, &[request]).await.unwrap(), request.len());
        assert_eq!(write(&mut stream, &[PREFACE]).await.unwrap(), PREFACE.len());
        assert_eq!(log.written().into_bytes(), [&request[..], PREFACE].concat());
    }
}

/// A client of HTTP/2 with prior knowledge, through proxies with and without TLS.
#[tokio::test]
async fn http2_on_a_forward_route_names_the_setting() {
    let ca = Ca::new();
    let origin = Origin::http().await;
    let tls = ForwardProxy::builder().tls(ca.issue(&["localhost"]).server_config(&[]));
    for proxy in [ForwardProxy::builder().start().await, tls.start().await] {
        let config = ProxyConfig::builder()
            .all(proxy.url())
            .proxy_tls(ca.client_config(&[]))
            .build()
            .unwrap();
        let http2 = |layer: ProxyLayer| {
            let connector = layer.layer(connector());
            Client::builder(TokioExecutor::new()).http2_only(true).build(connector)
        };
        let url = format!("http://origin.test:{}/", origin.port());
        let error = send(&http2(ProxyLayer::new(config.clone())), &url).await.unwrap_err();
        let found = ConnectError::find(&error).unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!(found.kind(), ConnectErrorKind::NeedsTunnel);
        assert!(found.to_string().contains("`always_tunnel`"), "{found}");
        proxy.until(|proxy| proxy.connections_open() == 0).await;
        assert!(proxy.raw().iter().all(Vec::is_empty), "{:?}", proxy.raw());

        let tunnelled = send(&http2(ProxyLayer::new(config).with_always_tunnel(true)), &url).await;
        assert_eq!(tunnelled.unwrap().version(), http::Version::HTTP_2);
    }
}
