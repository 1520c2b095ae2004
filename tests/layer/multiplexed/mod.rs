//! Over HTTP/2, tunnels share one connection to the proxy and are otherwise the same. What one of them suffers, the
//! others do not.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

mod chaos;
mod first_flight;
mod flow;
mod life;
mod limits;
mod pipes;
mod secrets;
mod sharing;
mod versions;

use std::time::Duration;

use crate::common::{client, connect, everything, get};
use h2::Reason;
use http::{StatusCode, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::Layer;
use tower_outbound_proxy::{
    ConnectError, ProxyConfig, ProxyLayer,
    connector::{ConnectResponse, Http2Settings, ProxyVersion},
    error::ConnectErrorKind,
};
use tower_outbound_proxy_lab::{Behaviour, Ca, Http2Proxy, Http2ProxyBuilder, Origin, connector, within};

/// Returns a layer that sends everything through this proxy in HTTP/2 alone.
fn through(proxy: &str) -> ProxyLayer {
    let config = ProxyConfig::builder().all(proxy).always_tunnel(true).build().unwrap();
    ProxyLayer::new(config).with_proxy_version(ProxyVersion::Http2)
}

/// Returns a layer that sends everything through this `https://` proxy, which chooses the version.
fn negotiating(proxy: &str, ca: &Ca) -> ProxyLayer {
    let config = ProxyConfig::builder().all(proxy).always_tunnel(true);
    ProxyLayer::new(config.proxy_tls(ca.client_config(&[])).build().unwrap())
}

fn over_tls(builder: Http2ProxyBuilder, ca: &Ca) -> Http2ProxyBuilder {
    builder
        .host("proxy.test")
        .tls(ca.issue(&["proxy.test"]).server_config(&["h2", "http/1.1"]))
}

#[tokio::test]
async fn tunnels_to_several_origins_share_a_connection() {
    let (ca, targets) = (Ca::new(), Ca::new());
    let a = Origin::https(&targets, &["a.test"], &[]).await;
    let b = Origin::https(&targets, &["b.test"], &[]).await;
    let proxy = over_tls(Http2Proxy::builder(), &ca)
        .map("a.test:443", a.addr())
        .map("b.test:443", b.addr());
    let proxy = proxy.basic("user", "pass").start().await;
    let layer = negotiating(&proxy.url_with("user:pass@"), &ca);
    let client = client(layer.https_connector_with(connector(), targets.client_config(&[])));
    for (index, uri) in ["https://a.test/status/201", "https://b.test/status/202"]
        .into_iter()
        .enumerate()
    {
        let response = within(get(&client, uri)).await.unwrap();
        assert!(uri.ends_with(response.status().as_str()));
        let connect: &ConnectResponse = response.extensions().get().unwrap();
        assert_eq!((connect.version(), connect.status()), (Version::HTTP_2, StatusCode::OK));
        assert_eq!(connect.is_connection_reused(), index > 0);
    }
    assert_eq!(proxy.connections_opened(), 1);
    assert_eq!(proxy.connection(0).tls().unwrap().alpn.as_deref(), Some("h2"));
    let targets: Vec<_> = proxy.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["a.test:443", "b.test:443"]);
}

#[tokio::test]
async fn the_first_bytes_of_tls_do_not_wait_for_the_response() {
    let targets = Ca::new();
    let origin = Origin::https(&targets, &["a.test"], &[]).await;
    let proxy = Http2Proxy::builder().map("a.test:443", origin.addr());
    let proxy = proxy.behave(|_, _| Behaviour::ServeAfter(100)).start().await;
    for is_optimistic in [true, false] {
        let settings = Http2Settings::default().optimistic(is_optimistic);
        let layer = through(&proxy.url_with("")).with_http2(settings);
        let layer = layer.with_connect_timeout(Some(Duration::from_millis(300)));
        let client = client(layer.https_connector_with(connector(), targets.client_config(&[])));
        let outcome = within(get(&client, "https://a.test/status/201")).await;
        assert_eq!(outcome.is_ok(), is_optimistic, "{outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(ConnectError::find(&error).unwrap().kind(), ConnectErrorKind::Timeout);
        }
    }
}

/// An error is the same, whether the connector has waited for the response or not.
#[tokio::test]
async fn a_refusal_is_the_same_error_as_over_http1() {
    let targets = Ca::new();
    for status in [407, 401, 403, 502] {
        let status = StatusCode::from_u16(status).unwrap();
        let proxy = Http2Proxy::builder()
            .behave(move |_, _| Behaviour::Refuse(status))
            .start()
            .await;
        for (is_optimistic, uri) in [
            (true, "https://a.test/"),
            (false, "https://a.test/"),
            (true, "http://a.test/"),
        ] {
            let settings = Http2Settings::default().optimistic(is_optimistic);
            let layer = through(&proxy.url_with("user:secret@")).with_http2(settings);
            let client = client(layer.https_connector_with(connector(), targets.client_config(&[])));
            let error = within(get(&client, uri)).await.unwrap_err();
            assert!(!everything(&error).contains("secret"), "{error:?}");
            let error = ConnectError::find(&error).unwrap();
            let response = error.response().unwrap();
            assert_eq!((response.status(), response.version()), (status, Version::HTTP_2));
            assert_eq!(response.body(), format!("the lab refuses: {status}\n").as_bytes());
            let is_auth = matches!(status.as_u16(), 401 | 407);
            assert_eq!(
                error.kind() == ConnectErrorKind::AuthenticationRequired,
                is_auth,
                "{error}"
            );
            assert_eq!(error.challenges().len(), usize::from(is_auth));
        }
    }
}

/// Half-closes in both directions, with bytes after them.
#[tokio::test]
async fn a_tunnel_is_half_closed_as_a_socket_is() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Http2Proxy::builder()
        .map("raw.test:7", listener.local_addr().unwrap())
        .start()
        .await;
    let mut connector = through(&proxy.url_with("")).layer(connector());
    let mut near = within(connector.tunnel("raw.test", 7)).await.unwrap();
    let (mut far, _) = within(listener.accept()).await.unwrap();
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut question = String::new();
    within(far.read_to_string(&mut question)).await.unwrap();
    assert_eq!(question, "question");
    let answer = vec![b'x'; 3 << 20];
    let sending = async {
        far.write_all(&answer).await.unwrap();
        far.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) = within(async { tokio::join!(sending, near.read_to_end(&mut received)) }).await;
    assert_eq!(read.unwrap(), answer.len());
    assert!(received == answer);
}

#[tokio::test]
async fn a_reset_of_one_tunnel_is_no_others() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Http2Proxy::builder().map("raw.test:7", listener.local_addr().unwrap());
    let proxy = proxy.behave(|_, count| match count {
        1 => Behaviour::SayAndReset(vec!["x".into()], Reason::CONNECT_ERROR),
        _ => Behaviour::Serve,
    });
    let proxy = proxy.start().await;
    let layer = through(&proxy.url_with(""));
    let mut connector = layer.layer(connector());
    let mut first = within(connector.tunnel("raw.test", 7)).await.unwrap();
    let (mut far, _) = within(listener.accept()).await.unwrap();
    let mut second = within(connector.tunnel("raw.test", 7)).await.unwrap();
    let error = within(second.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    first.write_all(b"still here").await.unwrap();
    let mut received = [0; 10];
    within(far.read_exact(&mut received)).await.unwrap();
    assert_eq!(&received, b"still here");
    assert_eq!(proxy.connections_opened(), 1);
}

/// A proxy that takes ALPN h2 and then no CONNECT over it, as mitmproxy does.
#[tokio::test]
async fn connect_is_made_over_http1_where_http2_does_not_take_it() {
    let proxy = Http2Proxy::builder()
        .behave(|_, _| Behaviour::Reset(Reason::PROTOCOL_ERROR))
        .start()
        .await;
    let error = within(connect(&through(&proxy.url_with("")), connector(), "http://a.test/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Io, "nothing else is allowed: {error:?}");
}
