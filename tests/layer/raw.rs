//! Promise: [`Proxy::tunnel`] connects for any protocol, by the settings, and loses and checks no byte. A connector
//! that is called with a URI of any other scheme does the same.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use http::{Request, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_outbound_proxy::{
    ConnectError, ProxyConfig, ProxyLayer, Route,
    connector::{HappyEyeballs, ProxyStream},
    error::{ConnectErrorKind, Stage},
};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Kind, Log, connector, within};
use tracing::Level;

use crate::common::{GREETING, Handing, OK, Wire, connect, everything, layer, shouting, speak};

fn all(proxy: &ForwardProxy) -> ProxyLayer {
    ProxyLayer::new(ProxyConfig::from_vars([("ALL_PROXY", proxy.url_with("user:pass@"))]).unwrap())
}

#[tokio::test]
async fn a_protocol_whose_server_speaks_first() {
    let log = Log::of_thread(Level::DEBUG);
    let server = shouting().await;
    let proxy = ForwardProxy::builder().basic("user", "pass");
    let proxy = proxy.map("mail.test:25", server).start().await;
    // The types are inferred, although `Proxy` is a service of two requests.
    let mut connector = all(&proxy).layer(connector());
    let stream = within(connector.tunnel("mail.test", 25)).await.unwrap();
    assert!(matches!(stream.route(), Route::Tunnel(_)));
    assert_eq!(stream.connect_response().unwrap().status(), 200);
    assert_eq!(speak(stream).await, format!("{GREETING}QUIT\r\n"));
    let asked = &proxy.requests()[0];
    assert_eq!((asked.kind(), asked.target.as_str()), (Kind::Connect, "mail.test:25"));
    assert_eq!(asked.header("proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
    let decided = "target=mail.test:25";
    assert!(
        log.text().contains(decided) && log.text().contains("ALL_PROXY is set"),
        "{}",
        log.text()
    );
}

#[tokio::test]
async fn a_uri_of_any_other_scheme_has_the_same_route() {
    let server = shouting().await;
    let proxy = ForwardProxy::builder().map("db.test:5432", server).start().await;
    for uri in [
        "postgres://me:secret@db.test:5432/db?x=y",
        "tcp://db.test:5432",
        "REDIS://DB.test:5432",
    ] {
        let stream = within(connect(&all(&proxy), connector(), uri)).await.unwrap();
        assert!(matches!(stream.route(), Route::Tunnel(_)), "{uri}");
        assert_eq!(speak(stream).await, format!("{GREETING}QUIT\r\n"), "{uri}");
    }
    assert!(proxy.requests().iter().all(|asked| asked.target == "db.test:5432"));
    assert_eq!(proxy.requests().len(), 3);
}

/// A CONNECT names a port, and such a scheme has no default one.
#[tokio::test]
async fn a_tunnel_needs_a_port_and_a_direct_connection_needs_none() {
    let inner = Handing::new(Wire::saying([OK]));
    let error = within(connect(&layer("http://proxy.test"), inner.clone(), "redis://db.test")).await;
    let error = error.unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid target: no port to ask the proxy for (name it in the URI: its scheme has no default)"
    );
    assert_eq!((error.stage(), inner.asked().len()), (Stage::Target, 0));
    let direct = ProxyLayer::new(ProxyConfig::from_vars([("ALL_PROXY", "p"), ("NO_PROXY", "db.test")]).unwrap());
    within(connect(&direct, inner.clone(), "redis://db.test"))
        .await
        .unwrap();
    assert_eq!(inner.asked(), ["redis://db.test/"]);
}

#[tokio::test]
async fn no_proxy_loopback_and_a_missing_all_proxy_make_it_direct() {
    let server = shouting().await;
    let proxy = ForwardProxy::builder().start().await;
    let url = proxy.url();
    let port = server.port();
    for (vars, host) in [
        (
            vec![("ALL_PROXY", url.as_str()), ("NO_PROXY", "mail.test")],
            "mail.test",
        ),
        (vec![("ALL_PROXY", &url)], "127.0.0.1"),
        (vec![("ALL_PROXY", &url)], "localhost"),
        (vec![("HTTP_PROXY", &url), ("HTTPS_PROXY", &url)], "mail.test"),
        (vec![], "mail.test"),
    ] {
        let layer = ProxyLayer::new(ProxyConfig::from_vars(vars.clone()).unwrap());
        let stream = within(layer.layer(connector()).tunnel(host, port)).await.unwrap();
        assert_eq!(stream.route(), &Route::Direct, "{vars:?}");
        assert_eq!(speak(stream).await, format!("{GREETING}QUIT\r\n"));
    }
    assert_eq!(proxy.connections_opened(), 0);
}

/// hyper-util's connector dials `http` URIs only, unless told otherwise.
#[tokio::test]
async fn a_direct_connection_needs_no_special_connector() {
    let server = shouting().await;
    let layer = ProxyLayer::new(ProxyConfig::builder().build().unwrap());
    let strict = within(layer.layer(HttpConnector::new()).tunnel("127.0.0.1", server.port())).await;
    assert_eq!(speak(strict.unwrap()).await, format!("{GREETING}QUIT\r\n"));
    let mut own = layer.layer(HappyEyeballs::default());
    let own = within(own.tunnel("localhost", server.port())).await;
    assert_eq!(speak(own.unwrap()).await, format!("{GREETING}QUIT\r\n"));
}

#[tokio::test]
async fn hosts_have_the_spellings_of_targets() {
    for (host, named) in [
        ("DB.Test", "db.test:7"),
        ("db.test.", "db.test.:7"),
        ("bücher.test", "xn--bcher-kva.test:7"),
        ("192.0.2.1", "192.0.2.1:7"),
        ("0xc0.0.2.1", "192.0.2.1:7"),
        ("2001:DB8::1", "[2001:db8::1]:7"),
        ("[2001:DB8::1]", "[2001:db8::1]:7"),
        ("fe80::1%eth0", "[fe80::1]:7"),
    ] {
        let wire = Wire::saying([OK]);
        let log = wire.log();
        let mut proxy = layer("http://proxy.test").layer(Handing::new(wire));
        within(proxy.tunnel(host, 7)).await.unwrap();
        assert_eq!(
            log.written(),
            format!("CONNECT {named} HTTP/1.1\r\nHost: {named}\r\n\r\n"),
            "{host}"
        );
    }
    for (host, port, reason) in [
        ("", 7, "no host"),
        ("db.test", 0, "the port is 0"),
        ("db.test:7", 7, "the host contains a `:` and is not an IPv6 address"),
        (
            "http://db.test",
            7,
            "the host contains a `:` and is not an IPv6 address",
        ),
        ("[db.test]", 7, "the text in brackets is not an IPv6 address"),
        (
            "me@db.test",
            7,
            "the host contains a character that is not allowed in a host",
        ),
        (
            "db.test/x",
            7,
            "the host contains a character that is not allowed in a host",
        ),
        ("a b", 7, "the host contains a character that is not allowed in a host"),
    ] {
        let inner = Handing::new(Wire::saying([OK]));
        let error = within(layer("http://proxy.test").layer(inner.clone()).tunnel(host, port)).await;
        let error = error.unwrap_err();
        assert_eq!(error.to_string(), format!("invalid target: {reason}"), "{host}");
        assert_eq!((error.stage(), inner.asked().len()), (Stage::Target, 0));
    }
}

/// In a tunnel for `https`, HTTP in answer to TLS is an error. A raw tunnel may carry anything.
#[tokio::test]
async fn nothing_is_checked_in_a_raw_tunnel() {
    for first in [b"\x16\x03\x01", b"GET", b"PRI"] {
        let wire = Wire::saying([OK, "HTTP/1.1 200 OK\r\n"]);
        let mut proxy = layer("http://proxy.test").layer(Handing::new(wire));
        let mut stream = within(proxy.tunnel("db.test", 443)).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut heard = [0; 4];
        within(stream.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"HTTP");
    }
}

#[tokio::test]
async fn the_inner_stream_comes_with_the_bytes_that_were_read_beyond_the_response() {
    let wire = Wire::saying([format!("{OK}{GREETING}").as_str(), "more"]);
    let mut proxy = layer("http://proxy.test").layer(Handing::new(wire));
    let mut stream = within(proxy.tunnel("mail.test", 25)).await.unwrap();
    let mut code = [0; 4];
    stream.read_exact(&mut code).await.unwrap();
    let (wire, early) = stream.into_inner().unwrap();
    assert_eq!([&code[..], &early].concat(), GREETING.as_bytes());
    let mut rest = [0; 4];
    within(hyper_util::rt::TokioIo::new(wire).read_exact(&mut rest))
        .await
        .unwrap();
    assert_eq!(&rest, b"more");
}

/// A library that insists on a `TcpStream` gets it, unless TLS to the proxy lies between.
#[tokio::test]
async fn the_inner_stream_of_tls_to_the_proxy_stays_inside() {
    let (ca, server) = (Ca::new(), shouting().await);
    let tls = ForwardProxy::builder().tls(ca.issue(&["localhost"]).server_config(&[]));
    let tls = tls.map("mail.test:25", server).start().await;
    let plain = ForwardProxy::builder().map("mail.test:25", server).start().await;
    let stream = async |proxy: &ForwardProxy| -> ProxyStream<_> {
        let config = ProxyConfig::builder().all(proxy.url()).proxy_tls(ca.client_config(&[]));
        let mut proxy = ProxyLayer::new(config.build().unwrap()).layer(connector());
        within(proxy.tunnel("mail.test", 25)).await.unwrap()
    };
    let kept = stream(&tls).await.into_inner().unwrap_err();
    assert_eq!(speak(kept).await, format!("{GREETING}QUIT\r\n"));
    let (inner, early) = stream(&plain).await.into_inner().unwrap();
    let inner: TcpStream = inner.into_inner();
    assert_eq!(inner.peer_addr().unwrap(), plain.addr());
    let (read, write) = inner.into_split();
    let both = tokio::io::join(AsyncReadExt::chain(&*early, read), write);
    assert_eq!(speak(both).await, format!("{GREETING}QUIT\r\n"));
}

/// Trust is read when such a proxy is used: one for other schemes alone is used by few.
#[tokio::test]
async fn an_https_proxy_can_be_for_other_schemes_alone() {
    let (ca, server) = (Ca::new(), shouting().await);
    let proxy = ForwardProxy::builder().tls(ca.issue(&["localhost"]).server_config(&[]));
    let proxy = proxy.map("mail.test:25", server).start().await;
    let config = ProxyConfig::builder()
        .http("http://p.test")
        .https("http://p.test")
        .all(proxy.url());
    let trusting = config.clone().proxy_tls(ca.client_config(&[]));
    let mut trusting = ProxyLayer::new(trusting.build().unwrap()).layer(connector());
    let stream = within(trusting.tunnel("mail.test", 25)).await.unwrap();
    assert_eq!(speak(stream).await, format!("{GREETING}QUIT\r\n"));
    let mut other = ProxyLayer::new(config.build().unwrap()).layer(connector());
    let error = within(other.tunnel("mail.test", 25)).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Certificate, "{error}");
}

/// Beside `HTTP_PROXY` and `HTTPS_PROXY`, a SOCKS proxy in `ALL_PROXY` is frequent. What needs it fails, and goes
/// nowhere.
#[tokio::test]
async fn an_all_proxy_that_cannot_be_used_is_an_error_of_what_needs_it() {
    let vars = [
        ("HTTP_PROXY", "http://p.test"),
        ("HTTPS_PROXY", "http://p.test"),
        ("ALL_PROXY", "socks5://user:secret@socks.test:1080"),
        ("NO_PROXY", "direct.test"),
    ];
    let layer = ProxyLayer::new(ProxyConfig::from_vars(vars).unwrap());
    let inner = Handing::new(Wire::saying([OK]));
    let error = within(layer.layer(inner.clone()).tunnel("db.test", 5432))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "db.test:5432: no connection, since the proxy cannot be used: ALL_PROXY=`socks5://user:***@socks.test:1080`: \
         unsupported proxy scheme `socks5` (http and https are supported)"
    );
    assert_eq!(
        (error.kind(), error.stage()),
        (ConnectErrorKind::UnusableProxy, Stage::Target)
    );
    assert!(error.is_before_request() && !error.is_transient() && error.proxy().is_none());
    assert!(!everything(&error).contains("secret"));
    assert!(inner.asked().is_empty());
    let uri = connect(&layer, inner.clone(), "postgres://db.test:5432")
        .await
        .unwrap_err();
    assert_eq!(uri.to_string(), error.to_string());
    // The HTTP half stops such a request as well: its service may not ask the connector.
    let half = layer.layer(service_fn(async |_: Request<()>| -> Result<Response<()>, BoxError> {
        unreachable!("the request has no route")
    }));
    let request = Request::get("ftp://db.test:21/").body(()).unwrap();
    let error = half.oneshot(request).await.unwrap_err();
    assert_eq!(
        ConnectError::find(&*error).unwrap().kind(),
        ConnectErrorKind::UnusableProxy
    );
    within(layer.layer(inner.clone()).tunnel("direct.test", 5432))
        .await
        .unwrap();
    assert_eq!(inner.asked(), ["http://direct.test:5432/"]);
}
