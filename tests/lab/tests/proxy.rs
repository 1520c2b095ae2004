//! The forward proxy: forwarding, tunnels, credentials, refusals.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

mod common;

use common::{ask, connect, dial, get, read, read_head, read_to_end, tls, write};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio_rustls::TlsConnector;
use tower_outbound_proxy_lab::{Ca, Fault, ForwardProxy, Kind, Origin, ScriptedProxy, Step, within};

#[tokio::test]
async fn forwards_in_origin_form_without_hop_by_hop_fields() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder()
        .map("Origin.test:80", origin.addr())
        .start()
        .await;
    let request = Request::post("http://origin.test/echo?a=1")
        .header("host", "liar.test")
        .header("connection", "x-private")
        .header("x-private", "1")
        .header("x-public", "2")
        .header("proxy-connection", "keep-alive")
        .header("proxy-authorization", "Basic c2VjcmV0")
        .body("there and back")
        .unwrap();
    let answer = ask(dial(proxy.addr()).await, request).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.body(), "there and back");

    let asked = &proxy.requests()[0];
    assert_eq!(asked.kind(), Kind::Forward);
    assert_eq!(asked.target, "http://origin.test/echo?a=1");
    assert_eq!(asked.header("proxy-authorization"), Some("Basic c2VjcmV0"));
    let passed = &origin.requests()[0];
    assert_eq!(passed.target, "/echo?a=1");
    assert_eq!(passed.body, "there and back");
    let mut names: Vec<_> = passed.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "host", "via", "x-public"]);
    assert_eq!(passed.header("host"), Some("origin.test"));
}

#[tokio::test]
async fn targets_are_recorded_as_sent() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().map("a.test:80", origin.addr()).start().await;
    let mut io = dial(proxy.addr()).await;
    for target in ["http://a.test", "http://a.test/", "http://A.test/"] {
        write(&mut io, format!("HEAD {target} HTTP/1.1\r\nhost: a.test\r\n\r\n")).await;
        assert!(read_head(&mut io).await.starts_with("HTTP/1.1 200 "));
        let requests = proxy.requests();
        let last = requests.last().unwrap();
        assert_eq!((last.target.as_str(), last.connection), (target, 0));
    }
    assert_eq!(proxy.connections_opened(), 1);
    assert_eq!(origin.connections_opened(), 3);
}

#[tokio::test]
async fn a_request_for_the_proxy_itself_is_a_bad_request() {
    let proxy = ForwardProxy::builder().start().await;
    let answer = ask(dial(proxy.addr()).await, get("/", "a.test")).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(proxy.requests()[0].kind(), Kind::Origin);
}

#[tokio::test]
async fn tunnels_to_an_origin_and_through_tls() {
    let ca = Ca::new();
    let clear = Origin::http().await;
    let secret = Origin::https(&ca, &["origin.test"], &[]).await;
    let proxy = ForwardProxy::builder()
        .map("origin.test:443", secret.addr())
        .start()
        .await;

    let mut io = dial(proxy.addr()).await;
    let head = connect(&mut io, &clear.authority(), "").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(ask(io, get("/bytes/3", "a")).await.body(), "\0\u{1}\u{2}");

    let mut io = dial(proxy.addr()).await;
    connect(&mut io, "origin.test:443", "").await;
    let io = tls(io, ca.client_config(&[]), "origin.test").await;
    assert_eq!(ask(io, get("/", "origin.test")).await.status(), 200);
    assert_eq!(secret.connection(0).tls().unwrap().sni.unwrap(), "origin.test");

    let asked = &proxy.requests()[1];
    assert_eq!(
        (asked.kind(), asked.target.as_str()),
        (Kind::Connect, "origin.test:443")
    );
    within(proxy.idle()).await;
    assert!(!proxy.connection(1).received_text().contains("hello"));
}

/// With its own certificate, which a client that does not trust its root refuses.
#[tokio::test]
async fn interception_reads_what_is_in_a_tunnel() {
    let (origins, interceptor) = (Ca::new(), Arc::new(Ca::new()));
    let origin = Origin::https(&origins, &["origin.test"], &["http/1.1"]).await;
    let proxy = ForwardProxy::builder()
        .intercept(Arc::clone(&interceptor), &origins)
        .start()
        .await;
    let open = async || {
        let mut io = dial(proxy.addr()).await;
        assert!(
            connect(&mut io, &origin.authority(), "")
                .await
                .starts_with("HTTP/1.1 200 ")
        );
        io
    };

    let refused = TlsConnector::from(origins.client_config(&[]));
    let refused = within(refused.connect("origin.test".try_into().unwrap(), open().await)).await;
    assert!(refused.unwrap_err().to_string().contains("UnknownIssuer"));
    assert!(origin.requests().is_empty());

    let io = tls(open().await, interceptor.client_config(&[]), "origin.test").await;
    let answer = ask(io, get("/status/204?a=1", "origin.test")).await;
    assert_eq!(answer.status(), 204);
    assert_eq!(origin.requests()[0].target, "/status/204?a=1");
    let read = &proxy.requests()[2];
    assert_eq!((read.kind(), &*read.target), (Kind::Origin, "/status/204?a=1"));
}

#[tokio::test]
async fn missing_credentials_keep_the_connection() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().basic("user", "pa:ss").start().await;
    let mut io = dial(proxy.addr()).await;
    let authority = origin.authority();
    for fields in ["", "Proxy-Authorization: Basic bm90OnJpZ2h0\r\n"] {
        let head = connect(&mut io, &authority, fields).await;
        assert!(head.starts_with("HTTP/1.1 407 "), "{head}");
        assert!(head.contains("proxy-authenticate: Basic realm=\"lab\"\r\n"), "{head}");
        assert!(head.contains("x-lab-error: authentication\r\n"), "{head}");
        assert!(!head.contains("connection: close"), "{head}");
        let length = head.split_once("content-length: ").unwrap().1;
        let length = length.split_once('\r').unwrap().0.parse().unwrap();
        assert!(
            read(&mut io, length)
                .await
                .starts_with(b"the lab refuses (authentication)")
        );
    }
    let right = "Proxy-Authorization: Basic dXNlcjpwYTpzcw==\r\n";
    let head = connect(&mut io, &authority, right).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(ask(io, get("/", "a")).await.status(), 200);
    assert_eq!(proxy.connections_opened(), 1);
    assert_eq!(proxy.requests().len(), 3);
}

#[tokio::test]
async fn denied_and_unreachable_targets() {
    let gone = Origin::http().await;
    gone.stop().await;
    let proxy = ForwardProxy::builder().deny("Bad.test").deny("::1").start().await;
    for (target, status, reason) in [
        ("http://bad.test/", 403, "denied"),
        ("http://BAD.test:1/", 403, "denied"),
        ("http://[::1]/", 403, "denied"),
        (&gone.url("/"), 502, "connect"),
        ("https://good.test/", 400, "bad-request"),
    ] {
        let answer = ask(dial(proxy.addr()).await, get(target, "a")).await;
        assert_eq!(answer.status(), status, "{target}");
        assert_eq!(answer.headers()["x-lab-error"], reason, "{target}");
        assert!(answer.body().contains(reason));
    }
    for (authority, status) in [("bad.test:443", 403), (&gone.authority(), 502), ("a.test", 400)] {
        let head = connect(&mut dial(proxy.addr()).await, authority, "").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{authority}: {head}");
    }
}

#[tokio::test]
async fn listens_behind_tls_and_on_ipv6() {
    let ca = Ca::new();
    let origin = Origin::http().await;
    let config = ca.issue(&["localhost", "::1"]).server_config(&["http/1.1"]);
    let proxy = ForwardProxy::builder()
        .tls(config)
        .listen_v6()
        .host("proxy.test")
        .start()
        .await;
    assert!(proxy.addr().is_ipv6());
    assert_eq!(
        proxy.url_with("u:p@"),
        format!("https://u:p@proxy.test:{}", proxy.port())
    );
    let io = dial(proxy.addr()).await;
    let mut io = tls(io, ca.client_config(&["h2", "http/1.1"]), "::1").await;
    connect(&mut io, &origin.authority(), "").await;
    assert_eq!(ask(io, get("/", "a")).await.status(), 200);
    assert_eq!(proxy.connection(0).tls().unwrap().alpn.unwrap(), "http/1.1");
    assert!(proxy.connection(0).received().starts_with(b"CONNECT "));
}

#[tokio::test]
async fn a_client_that_leaves_closes_everything_behind_it() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().start().await;
    let mut tunnel = dial(proxy.addr()).await;
    connect(&mut tunnel, &origin.authority(), "").await;
    write(&mut tunnel, "GET /slow/600000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut forward = dial(proxy.addr()).await;
    let target = origin.url("/slow/600000");
    write(&mut forward, format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    within(origin.until(|origin| origin.requests().len() == 2)).await;
    assert_eq!(proxy.connections_open(), 2);
    drop((tunnel, forward));
    within(proxy.idle()).await;
    within(origin.idle()).await;
}

#[tokio::test]
async fn faults_are_for_connect_only() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().fault(Fault::Status(503)).start().await;
    let answer = ask(dial(proxy.addr()).await, get(&origin.url("/"), "a")).await;
    assert_eq!(answer.status(), 200);
    let mut io = dial(proxy.addr()).await;
    write(&mut io, "CONNECT a.test:443 HTTP/1.1\r\n\r\n").await;
    let answer = read_to_end(&mut io).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let kinds: Vec<_> = proxy.requests().iter().map(|request| request.kind()).collect();
    assert_eq!(kinds, [Kind::Forward, Kind::Connect]);
}

#[tokio::test]
async fn faults_that_tunnel_reach_the_target() {
    let origin = Origin::http().await;
    for (fault, interim) in [
        (Fault::SplitHead, 0),
        (Fault::Slow(Duration::from_millis(1)), 0),
        (Fault::Informational, 2),
        (Fault::FramedSuccess, 0),
        (Fault::LongHead(100_000), 0),
    ] {
        let builder = ForwardProxy::builder().map("a.test:80", origin.addr());
        let proxy = builder.fault(fault.clone()).start().await;
        let mut io = dial(proxy.addr()).await;
        let mut head = connect(&mut io, "a.test:80", "").await;
        for _ in 0..interim {
            assert!(head.starts_with("HTTP/1.1 10"), "{fault:?}: {head}");
            head = read_head(&mut io).await;
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{fault:?}: {head}");
        assert_eq!(ask(io, get("/", "a")).await.status(), 200, "{fault:?}");
        assert_eq!(proxy.connection(0).early(), b"", "{fault:?}");
    }
}

#[tokio::test]
async fn faults_that_do_not() {
    for (fault, answer) in [
        (
            Fault::EarlyBytes("early".into()),
            "HTTP/1.1 200 Connection established\r\n\r\nearly",
        ),
        (Fault::Garbage, "220 mail.test ESMTP\r\n\r\n"),
        (Fault::Truncated, "HTTP/1.1 200 Connection est"),
        (Fault::Close, ""),
    ] {
        // The far end of the tunnel that early bytes make closes at once.
        let far = ScriptedProxy::start(Step::Close).await;
        let proxy = ForwardProxy::builder()
            .map("a.test:80", far.addr())
            .fault(fault)
            .start()
            .await;
        let mut io = dial(proxy.addr()).await;
        write(&mut io, "CONNECT a.test:80 HTTP/1.1\r\n\r\n\r\n\r\n").await;
        assert_eq!(read_to_end(&mut io).await, answer);
        drop(io);
        within(proxy.idle()).await;
    }
}
