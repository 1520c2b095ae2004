//! The origin's answers and records.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

mod common;

use bytes::Bytes;
use common::{ask, dial, get, read, read_head, tls, write};
use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tower_outbound_proxy_lab::{Ca, Origin, Tls, pattern, within};

#[tokio::test]
async fn every_route_answers_as_documented() {
    let origin = Origin::http().await;
    for (path, status, body) in [
        ("/", 200, "hello from origin, asked for a.test\n"),
        ("/status/418", 418, ""),
        ("/status/101", 400, ""),
        ("/headers", 200, "host: a.test\n"),
        ("/slow/1", 200, "slow\n"),
        ("/upgrade", 426, ""),
        ("/nowhere", 404, ""),
    ] {
        let answer = ask(dial(origin.addr()).await, get(path, "a.test")).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.body(), body, "{path}");
    }
    let echoed = Request::post("/echo").header("host", "a.test").body("and back");
    let answer = ask(dial(origin.addr()).await, echoed.unwrap()).await;
    assert_eq!(answer.body(), "and back");

    let requests = origin.requests();
    let last = requests.last().unwrap();
    assert_eq!(last.method, Method::POST);
    assert_eq!(last.target, "/echo");
    assert_eq!(last.version, Version::HTTP_11);
    assert_eq!(last.header("host"), Some("a.test"));
    assert_eq!(last.body, "and back");
    assert_eq!(last.connection, 7);
    assert_eq!(origin.connections_opened(), 8);
}

#[tokio::test]
async fn pages_and_redirects_come_before_the_routes() {
    let origin = Origin::builder()
        .page("/", "<title>home</title>")
        .redirect("/echo", "http://b.test/")
        .start()
        .await;
    let home = ask(dial(origin.addr()).await, get("/", "a.test")).await;
    assert_eq!((home.status(), &**home.body()), (StatusCode::OK, "<title>home</title>"));
    assert_eq!(home.headers()["content-type"], "text/html; charset=utf-8");
    let moved = ask(dial(origin.addr()).await, get("/echo", "a.test")).await;
    assert_eq!(moved.status(), StatusCode::FOUND);
    assert_eq!(moved.headers()["location"], "http://b.test/");
    let other = ask(dial(origin.addr()).await, get("/nowhere", "a.test")).await;
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bytes_are_the_pattern() {
    let origin = Origin::http().await;
    let mut io = dial(origin.addr()).await;
    write(&mut io, "GET /bytes/100000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(read_head(&mut io).await.contains("content-length: 100000\r\n"));
    assert_eq!(read(&mut io, 100_000).await, pattern(100_000));
    assert!(pattern(100_000).starts_with(&pattern(300)));
    assert_eq!(pattern(252)[250..], [250, 0]);
}

#[tokio::test]
async fn an_upgrade_echoes() {
    let origin = Origin::http().await;
    let mut io = dial(origin.addr()).await;
    write(
        &mut io,
        "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nearly",
    )
    .await;
    let head = read_head(&mut io).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("upgrade: echo\r\n"), "{head}");
    write(&mut io, " late").await;
    assert_eq!(read(&mut io, 10).await, b"early late");
    drop(io);
    within(origin.idle()).await;
}

#[tokio::test]
async fn tls_settles_alpn_and_client_certificates() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["origin.test", "127.0.0.1"], &["h2", "http/1.1"]).await;
    assert_eq!(origin.url("/a"), format!("https://origin.test:{}/a", origin.port()));
    let io = dial(origin.addr()).await;
    let io = tls(io, ca.client_config(&["http/1.1"]), "origin.test").await;
    assert_eq!(ask(io, get("/", "origin.test")).await.status(), 200);
    let settled = Tls {
        alpn: Some("http/1.1".to_owned()),
        sni: Some("origin.test".to_owned()),
        client_certificate: false,
    };
    assert_eq!(origin.connection(0).tls(), Some(settled));
    let heard = origin.connection(0).received_text();
    assert_eq!(heard, "GET / HTTP/1.1\r\nhost: origin.test\r\n\r\n");

    let io = dial(origin.addr()).await;
    tls(io, ca.client_config(&[]), "127.0.0.1").await;
    within(origin.connection(1).until(|record| record.tls().is_some())).await;
    assert_eq!(origin.connection(1).tls().unwrap().sni, None);

    let config = ca.issue(&["origin.test"]).server_config_with_client_auth(&ca, &[]);
    let origin = Origin::builder().tls(config).start().await;
    let alice = ca.issue_client("alice").client_config(&ca, &[]);
    let io = tls(dial(origin.addr()).await, alice, "origin.test").await;
    assert_eq!(ask(io, get("/", "origin.test")).await.status(), 200);
    assert!(origin.connection(0).tls().unwrap().client_certificate);

    // TLS 1.3: the client learns of the refusal later than the server.
    let _io = tls(dial(origin.addr()).await, ca.client_config(&[]), "origin.test").await;
    within(origin.connection(1).closed()).await;
    assert!(origin.connection(1).tls_error().is_some());
    assert!(origin.connection(1).tls().is_none());
}

#[tokio::test]
async fn certificates_are_refused_for_the_right_reasons() {
    let ca = Ca::new();
    let connector = tokio_rustls::TlsConnector::from(ca.client_config(&[]));
    for (identity, reason) in [
        (ca.issue_expired(&["a.test"]), "expired"),
        (ca.issue(&["b.test"]), "not valid for name"),
        (Ca::new().issue(&["a.test"]), "UnknownIssuer"),
    ] {
        let origin = Origin::builder().tls(identity.server_config(&[])).start().await;
        let name = "a.test".try_into().unwrap();
        let refused = connector.connect(name, dial(origin.addr()).await);
        let error = within(refused).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        within(origin.connection(0).until(|record| record.tls_error().is_some())).await;
    }
}

#[tokio::test]
async fn http2_in_the_clear_and_behind_tls() {
    let ca = Ca::new();
    let clear = Origin::http().await;
    let secret = Origin::https(&ca, &["origin.test"], &["h2"]).await;
    let io = dial(secret.addr()).await;
    let io = tls(io, ca.client_config(&["h2"]), "origin.test").await;
    converse(dial(clear.addr()).await, &clear).await;
    converse(io, &secret).await;
}

async fn converse(io: impl common::Io, origin: &Origin) {
    let (mut sender, connection) = within(hyper::client::conn::http2::handshake(
        TokioExecutor::new(),
        TokioIo::new(io),
    ))
    .await
    .unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://a.test/echo").body(Full::new(Bytes::from("two")));
    let answer = within(sender.send_request(request.unwrap())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(within(answer.into_body().collect()).await.unwrap().to_bytes(), "two");
    let heard = &origin.requests()[0];
    assert_eq!(heard.version, Version::HTTP_2);
    assert_eq!(heard.target, "http://a.test/echo");
}

#[tokio::test]
async fn listens_on_ipv6() {
    let origin = Origin::builder().listen_v6().start().await;
    assert_eq!(origin.url("/"), format!("http://[::1]:{}/", origin.port()));
    let answer = ask(dial(origin.addr()).await, get("/", "six")).await;
    assert_eq!(answer.body(), "hello from origin, asked for six\n");
}
