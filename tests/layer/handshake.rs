//! CONNECT over HTTP/1.1 sends exactly the required bytes and understands every answer, however its bytes arrive. An
//! open tunnel loses no byte. A refusal carries the proxy's whole answer. Anything that is not an answer ends the
//! attempt at once, with an error of its own.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::time::Duration;

use crate::common::{CONNECT, Handing, OK, Then, Wire, connect, layer, tunnel};
use http::{HeaderName, HeaderValue, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tower_outbound_proxy::{
    ConnectError, ProxyConfig, ProxyLayer, connector::ConnectResponse, error::ConnectErrorKind, error::Stage,
};
use tower_outbound_proxy_lab::{Ca, ScriptedProxy, Step, connector, within};

const PROXY: &str = "http://proxy.test:3128";
const WITH_CREDENTIALS: &str = "http://user:pass%20word@proxy.test:3128";
/// `user:pass word`
const TOKEN: &str = "dXNlcjpwYXNzIHdvcmQ=";

/// Returns the error of an answer that opens no tunnel.
async fn refused(proxy: &str, wire: Wire) -> ConnectError {
    within(tunnel(&layer(proxy), wire)).await.unwrap_err()
}

#[tokio::test]
async fn the_request_is_exactly_this() {
    let plain = |authority: &str| format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    for (uri, authority) in [
        ("https://origin.test/path?query", "origin.test:443"),
        ("https://origin.test:443", "origin.test:443"),
        ("https://origin.test:8443/", "origin.test:8443"),
        ("https://Origin.TEST/", "origin.test:443"),
        ("https://user:word@origin.test/", "origin.test:443"),
        ("https://192.0.2.1/", "192.0.2.1:443"),
        ("https://[2001:db8::1]/", "[2001:db8::1]:443"),
        ("https://[2001:DB8:0::1]:80/", "[2001:db8::1]:80"),
        ("wss://origin.test/", "origin.test:443"),
        ("ws://origin.test/", "origin.test:80"),
        ("ws://origin.test:443/", "origin.test:443"),
        ("http://origin.test/", "origin.test:80"),
        ("http://origin.test:8080/", "origin.test:8080"),
    ] {
        let wire = Wire::saying([OK]);
        let log = wire.log();
        let layer = layer(PROXY).with_always_tunnel(true);
        within(connect(&layer, Handing::new(wire), uri)).await.unwrap();
        assert_eq!(log.written(), plain(authority), "{uri}");
    }
}

#[tokio::test]
async fn credentials_and_configured_fields_are_all_it_carries() {
    let field = |layer: ProxyLayer, name, value| layer.with_connect_header(name, HeaderValue::from_static(value));
    let agent = HeaderName::from_static("user-agent");
    let with_fields = field(layer(WITH_CREDENTIALS), agent.clone(), "one").unwrap();
    let with_fields = field(with_fields, agent, "two").unwrap();
    let with_fields = field(with_fields, HeaderName::from_static("x--a-1b"), "").unwrap();
    let head = CONNECT.strip_suffix("\r\n").unwrap();
    #[rustfmt::skip] // one row a line
    let cases = [
        (layer("http://proxy.test"), String::new()),
        (layer("http://user@proxy.test"), "Proxy-Authorization: Basic dXNlcjo=\r\n".to_owned()),
        (layer(WITH_CREDENTIALS), format!("Proxy-Authorization: Basic {TOKEN}\r\n")),
        (with_fields, format!("Proxy-Authorization: Basic {TOKEN}\r\nUser-Agent: one\r\nUser-Agent: two\r\nX--A-1b: \r\n")),
    ];
    for (layer, fields) in cases {
        let wire = Wire::saying([OK]);
        let log = wire.log();
        within(tunnel(&layer, wire)).await.unwrap();
        assert_eq!(log.written(), format!("{head}{fields}\r\n"));
    }
    for reserved in ["host", "proxy-authorization", "content-length", "transfer-encoding"] {
        let error = field(layer(PROXY), HeaderName::from_static(reserved), "x").unwrap_err();
        assert_eq!(error.setting(), Some(reserved));
    }
}

#[tokio::test]
async fn a_pipe_of_one_byte_is_wide_enough() {
    for capacity in [1, 2] {
        let (near, mut far) = tokio::io::duplex(capacity);
        let proxy = tokio::spawn(async move {
            let mut head = vec![0; CONNECT.len()];
            far.read_exact(&mut head).await.unwrap();
            far.write_all(format!("{OK}early").as_bytes()).await.unwrap();
            (head, far.read_u8().await.unwrap())
        });
        let layer = layer(PROXY);
        let connecting = connect(&layer, Handing::new(TokioIo::new(near)), "https://origin.test/");
        let mut stream = TokioIo::new(within(connecting).await.unwrap());
        let mut early = [0; 5];
        within(stream.read_exact(&mut early)).await.unwrap();
        assert_eq!(&early, b"early");
        within(stream.write_all(b"\x16")).await.unwrap();
        assert_eq!(within(proxy).await.unwrap(), (CONNECT.as_bytes().to_vec(), 0x16));
    }
}

/// Returns an open tunnel's response, and the bytes that can be read from it with a buffer of this size.
async fn opened(wire: Wire, buffer: usize) -> (ConnectResponse, Vec<u8>) {
    let log = wire.log();
    let mut stream = TokioIo::new(within(tunnel(&layer(PROXY), wire.then(Then::Close))).await.unwrap());
    assert_eq!(log.written(), CONNECT, "written before the tunnel was open");
    let mut received = Vec::new();
    let mut buffer = vec![0; buffer];
    loop {
        match within(stream.read(&mut buffer)).await.unwrap() {
            0 => break,
            length => received.extend_from_slice(&buffer[..length]),
        }
    }
    (stream.inner().connect_response().unwrap().clone(), received)
}

#[tokio::test]
async fn any_success_opens_the_tunnel() {
    #[rustfmt::skip] // one row a line
    let cases = [
        ("HTTP/1.1 200 Connection established\r\n\r\n", 200, "Connection established"),
        ("HTTP/1.0 200 Connection Established\r\nProxy-agent: Apache\r\n\r\n", 200, "Connection Established"),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, "No Content"),
        ("HTTP/1.1 299 Odd\r\n\r\n", 299, "Odd"),
        ("HTTP/1.1 200 \r\n\r\n", 200, ""),
        ("HTTP/1.1 200\r\n\r\n", 200, ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "OK"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 200, "OK"),
        ("HTTP/1.1 200 OK\nServer: bare\n\n", 200, "OK"),
        ("HTTP/1.1 200 OK\r\nServer: mixed\n\r\n", 200, "OK"),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", 200, "OK"),
        ("\r\n\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200, "OK"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200, "OK"),
        ("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200, "OK"),
        ("HTTP/1.1 100 A\n\nHTTP/1.1 102 B\r\n\r\nHTTP/1.0 199 C\r\n\r\nHTTP/1.1 201 D\r\n\r\n", 201, "D"),
    ];
    for (head, status, reason) in cases {
        // Whether the first bytes of the tunnel look like a chunk, an empty line, a head or nothing at all.
        for early in ["", "3\r\nabc\r\n0\r\n\r\n", "\r\n\r\n", OK] {
            let (response, received) = opened(Wire::saying([format!("{head}{early}")]), 64).await;
            assert_eq!(
                (response.status().as_u16(), response.reason()),
                (status, reason),
                "{head:?}"
            );
            let is_old = head.contains("HTTP/1.0 2");
            assert_eq!(response.version() == Version::HTTP_10, is_old, "{head:?}");
            assert_eq!(String::from_utf8(received).unwrap(), early, "{head:?}");
            assert!(response.body().is_empty());
        }
    }
}

#[tokio::test]
async fn no_split_of_the_answer_matters() {
    const EARLY: &str = "\x16\x03\x01\0\r\n\r\nHTTP/1.1 403 No\r\n\r\n";
    for head in [
        "HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n",
        "\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.0 200 OK\n\n",
    ] {
        let answer = format!("{head}{EARLY}").into_bytes();
        for buffer in [1, 4096] {
            for at in 0..=answer.len() {
                let (one, other) = answer.split_at(at);
                let (_, received) = opened(Wire::saying([one, other]), buffer).await;
                assert_eq!(received, EARLY.as_bytes(), "{head:?} split at {at}, read by {buffer}");
            }
            let (_, received) = opened(Wire::saying(answer.chunks(1)), buffer).await;
            assert_eq!(received, EARLY.as_bytes(), "{head:?} byte by byte, read by {buffer}");
        }
    }
}

#[tokio::test]
async fn a_refusal_carries_what_the_proxy_says() {
    let long = "x".repeat(5000);
    let chunked = "Transfer-Encoding: gzip, Chunked\r\nContent-Length: 3\r\n\r\n";
    #[rustfmt::skip] // one row a line
    let cases = [
        ("Content-Length: 5\r\n\r\nabcdefgh".to_owned(), Then::Hang, "abcde"),
        ("Content-Length: 0\r\n\r\nabc".to_owned(), Then::Hang, ""),
        (format!("Content-Length: 5000\r\n\r\n{long}"), Then::Hang, &long[..4096]),
        (format!("Content-Length: 99999999999999999999\r\n\r\n{long}"), Then::Hang, &long[..4096]),
        (format!("\r\n{long}"), Then::Hang, &long[..4096]),
        ("\r\nuntil the end".to_owned(), Then::Close, "until the end"),
        ("Content-Length: 50\r\n\r\ncut off".to_owned(), Then::Close, "cut off"),
        ("Content-Length: 50\r\n\r\nbroken".to_owned(), Then::Reset, "broken"),
        (format!("{chunked}4\r\nabcd\r\n3;x=y\r\nefg\r\n0\r\n\r\n"), Then::Hang, "abcdefg"),
        (format!("{chunked}4\r\nabcd\r\n8\r\nef"), Then::Close, "abcdef"),
        (format!("{chunked}4\r\nabcd\r\nno chunk"), Then::Close, "abcd"),
        (format!("{chunked}1388\r\n{long}"), Then::Hang, &long[..4096]),
        (format!("{chunked}ffffffffffffffff\r\n{long}"), Then::Hang, &long[..4096]),
    ];
    for (fields_and_body, then, body) in cases {
        let answer = format!("HTTP/1.1 403 No Way\r\nX-Why: policy\r\n{fields_and_body}");
        for size in [1, 7, 100_000] {
            let wire = Wire::saying(answer.as_bytes().chunks(size)).then(then);
            let error = refused(PROXY, wire).await;
            let response = error.response().unwrap();
            assert_eq!(String::from_utf8_lossy(response.body()), body, "{fields_and_body:.80}");
            assert_eq!((response.status().as_u16(), response.reason()), (403, "No Way"));
            assert_eq!(response.headers()["x-why"], "policy");
            assert!(
                error.response().is_some()
                    && error.kind() != ConnectErrorKind::AuthenticationRequired
                    && !error.is_timeout()
            );
            assert_eq!(error.stage(), Stage::Tunnel);
        }
    }
}

#[tokio::test]
async fn what_is_no_success_is_a_refusal() {
    for status in [101, 300, 301, 304, 400, 401, 407, 499, 500, 503, 600, 999] {
        let error = refused(
            PROXY,
            Wire::saying([format!("HTTP/1.1 {status} Odd\r\nContent-Length: 0\r\n\r\n")]),
        )
        .await;
        assert!(error.response().is_some(), "{error:?}");
        assert_eq!(error.response().unwrap().status().as_u16(), status);
        assert_eq!(
            error.kind() == ConnectErrorKind::AuthenticationRequired,
            [401, 407].contains(&status),
            "{status}"
        );
    }
}

/// The refusal is known when its head has come, so the body can only delay it a little, and never turn it into
/// something else.
#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_not_waited_for() {
    for (limit, least, most) in [(None, 900, 2000), (Some(30_000), 900, 2000), (Some(400), 0, 400)] {
        let layer = layer(PROXY).with_connect_timeout(limit.map(Duration::from_millis));
        for framing in ["Content-Length: 9", "Transfer-Encoding: chunked", "Connection: close"] {
            let started = Instant::now();
            let head = format!("HTTP/1.1 407 Log In\r\nProxy-Authenticate: Basic realm=\"x\"\r\n{framing}\r\n\r\n");
            let error = within(tunnel(&layer, Wire::saying([head]))).await.unwrap_err();
            assert!(
                error.response().is_some() && !error.is_timeout(),
                "limit {limit:?}: {error}"
            );
            assert_eq!(error.challenges()[0].realm(), Some("x"));
            let elapsed = started.elapsed().as_millis();
            assert!(
                (least..=most).contains(&elapsed),
                "{framing} with limit {limit:?} took {elapsed} ms"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_waited_for_after_a_bodys_end() {
    for body in [
        "Content-Length: 2\r\n\r\nab",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    ] {
        let started = Instant::now();
        let error = refused(PROXY, Wire::saying([format!("HTTP/1.1 403 No\r\n{body}")])).await;
        assert_eq!(error.response().unwrap().body(), b"ab", "{body:?}");
        assert_eq!(started.elapsed(), Duration::ZERO, "{body:?}");
    }
}

/// A body of nothing but framing is not read without end.
#[tokio::test(start_paused = true)]
async fn framing_without_content_does_not_fill_the_memory() {
    const SENT: usize = 1 << 20;
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let taken = tokio::spawn(async move {
        far.write_all(b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n1;")
            .await
            .unwrap();
        let mut taken = 0;
        while taken < SENT && far.write_all(&[b'x'; 4096]).await.is_ok() {
            taken += 4096;
        }
        taken
    });
    let layer = layer(PROXY);
    let connecting = connect(&layer, Handing::new(TokioIo::new(near)), "https://origin.test/");
    let error = within(connecting).await.unwrap_err();
    assert!(error.response().is_some());
    let taken = within(taken).await.unwrap();
    assert!(taken < SENT / 4, "{taken} bytes were read for a body of at most 4 KiB");
}

#[tokio::test]
async fn challenges_are_told() {
    for (status, fields, expected) in [
        (
            407,
            "Proxy-Authenticate: Basic realm=\"lab, \\\"x\\\"\"",
            &["Basic (realm \"lab, \\\"x\\\"\")"][..],
        ),
        (
            407,
            "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM, Basic realm=a",
            &["Negotiate", "NTLM", "Basic (realm \"a\")"],
        ),
        (407, "WWW-Authenticate: Basic realm=\"origin's\"", &[]),
        (407, "X-Other: x", &[]),
        (
            401,
            "WWW-Authenticate: Basic realm=\"envoy\"",
            &["Basic (realm \"envoy\")"],
        ),
        (403, "Proxy-Authenticate: ", &[]),
    ] {
        let answer = format!("HTTP/1.1 {status} Odd\r\n{fields}\r\nContent-Length: 0\r\n\r\n");
        let error = refused(PROXY, Wire::saying([answer])).await;
        let challenges: Vec<_> = error.challenges().iter().map(ToString::to_string).collect();
        assert_eq!(challenges, expected, "{fields}");
    }
}

/// Each fault by its own question, and without waiting for more where there can be no more to the point.
#[tokio::test(start_paused = true)]
async fn what_is_no_answer_has_a_name() {
    use ConnectErrorKind::{HeadTooLarge, Io, NotHttp, Timeout, TooManyFields, UnexpectedEof};
    let head = "HTTP/1.1 200 OK\r\n";
    let of_size = |size: usize| format!("{head}X: {}\r\n\r\n", "x".repeat(size - head.len() - 7));
    let fields = |count: usize| format!("{head}{}\r\n", "X: y\r\n".repeat(count));
    let interim = "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n";
    for (expected, answer, then) in [
        (None, of_size(64 * 1024), Then::Hang),
        (Some(HeadTooLarge), of_size(64 * 1024 + 1), Then::Hang),
        (
            Some(HeadTooLarge),
            format!("{head}X: {}", "x".repeat(70_000)),
            Then::Hang,
        ),
        (Some(HeadTooLarge), interim.repeat(2000), Then::Hang),
        (Some(HeadTooLarge), "\r\n".repeat(40_000), Then::Hang),
        (None, fields(100), Then::Hang),
        (Some(TooManyFields), fields(101), Then::Hang),
        (Some(NotHttp), "SSH-2.0-OpenSSH_9.6\r\n".to_owned(), Then::Hang),
        (Some(NotHttp), "220 mail.test ESMTP\r\n\r\n".to_owned(), Then::Hang),
        (Some(NotHttp), "\0".to_owned(), Then::Hang),
        (Some(NotHttp), "<".to_owned(), Then::Hang),
        (Some(NotHttp), "HTTQ".to_owned(), Then::Hang),
        (Some(NotHttp), "http/1.1 200 OK\r\n\r\n".to_owned(), Then::Hang),
        (Some(NotHttp), "HTTP/2 200 OK\r\n\r\n".to_owned(), Then::Hang),
        (Some(NotHttp), "HTTP/1.2 200 OK\r\n\r\n".to_owned(), Then::Hang),
        (Some(NotHttp), "HTTP/1.1 2x0 OK\r\n\r\n".to_owned(), Then::Hang),
        (Some(NotHttp), "HTTP/1.1 099 OK\r\n\r\n".to_owned(), Then::Hang),
        (Some(NotHttp), "HTTP/1.1 2000 OK\r\n\r\n".to_owned(), Then::Hang),
        (Some(NotHttp), "HTTP/1.1 407 Log\0In\r\n\r\n".to_owned(), Then::Hang),
        (Some(NotHttp), format!("{head}no colon\r\n\r\n"), Then::Hang),
        (Some(NotHttp), format!("{head}X: a\0b\r\n\r\n"), Then::Hang),
        (Some(NotHttp), format!("{head}X: a\rb\r\n\r\n"), Then::Hang),
        (Some(NotHttp), "\x15".to_owned(), Then::Hang),
        (Some(NotHttp), "\x15\x03\x01\0\x02\x02\x46".to_owned(), Then::Hang),
        (Some(NotHttp), "\x16\x03\x03".to_owned(), Then::Hang),
        (Some(NotHttp), format!("{interim}SSH"), Then::Hang),
        (Some(UnexpectedEof), String::new(), Then::Close),
        (Some(UnexpectedEof), "\r\n".to_owned(), Then::Close),
        (Some(UnexpectedEof), "HTTP".to_owned(), Then::Close),
        (Some(UnexpectedEof), head.to_owned(), Then::Close),
        (Some(UnexpectedEof), interim.to_owned(), Then::Close),
        (Some(UnexpectedEof), head.to_owned(), Then::Truncate),
        (Some(Io), head.to_owned(), Then::Reset),
        (Some(Timeout), head.to_owned(), Then::Hang),
    ] {
        let (started, shown) = (Instant::now(), answer.chars().take(40).collect::<String>());
        let wire = Wire::saying(answer.as_bytes().chunks(997)).then(then);
        let layer = layer(PROXY).with_connect_timeout(Some(Duration::from_secs(5)));
        match within(tunnel(&layer, wire)).await {
            Ok(_) => assert_eq!(expected, None, "{shown:?}"),
            Err(error) => {
                assert_eq!(Some(error.kind()), expected, "{shown:?}: {error}");
                assert_eq!(error.stage(), Stage::Tunnel);
                assert!(error.response().is_none() && error.challenges().is_empty());
            }
        }
        let waited = started.elapsed() >= Duration::from_secs(5);
        assert_eq!(
            waited,
            expected == Some(Timeout),
            "{shown:?}: took {:?}",
            started.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_deadline_covers_dialling_tls_and_connect() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let secs = Duration::from_secs;
    for (proxy, dial, stage) in [
        (PROXY, DAY * 2, Stage::Dial),
        (PROXY, secs(3), Stage::Tunnel),
        ("https://proxy.test", secs(3), Stage::Tls),
    ] {
        let tls = Ca::new().client_config(&[]);
        let config = ProxyConfig::builder().all(proxy).proxy_tls(tls).build();
        let unset = ProxyLayer::new(config.unwrap());
        for (layer, limit) in [
            (unset.clone(), Some(secs(30))),
            (unset.clone().with_connect_timeout(Some(secs(5))), Some(secs(5))),
            (unset.with_connect_timeout(None), None),
        ] {
            let inner = tower::service_fn(move |_| async move {
                tokio::time::sleep(dial).await;
                std::io::Result::Ok(Wire::saying([""; 0]))
            });
            let started = Instant::now();
            let connecting = tokio::time::timeout(DAY, connect(&layer, inner, "https://origin.test/"));
            match (connecting.await, limit) {
                (Err(_), None) => {}
                (Ok(Err(error)), Some(limit)) => {
                    assert!(error.is_timeout() && error.is_transient(), "{error}");
                    assert_eq!(error.stage(), stage);
                    assert_eq!(started.elapsed().as_secs(), limit.as_secs(), "{proxy} {stage:?}");
                }
                (outcome, limit) => panic!("{proxy} {stage:?} {limit:?}: {outcome:?}"),
            }
        }
    }
}

/// A limit beyond the end of time is none.
#[tokio::test]
async fn the_longest_limit_is_no_limit() {
    let layer = layer(PROXY).with_connect_timeout(Some(Duration::MAX));
    within(tunnel(&layer, Wire::saying([OK]))).await.unwrap();
}

#[tokio::test]
async fn dropping_the_future_closes_the_socket() {
    let proxy = ScriptedProxy::start(Step::Hang).await;
    // Behind an `https://` address the proxy gets a TLS greeting, which it waits to end as a head would.
    for address in [proxy.url(), proxy.url().replace("http:", "https:")] {
        let config = ProxyConfig::builder()
            .all(address)
            .proxy_tls(Ca::new().client_config(&[]));
        let layer = ProxyLayer::new(config.build().unwrap());
        let seen = proxy.connections_opened();
        let connecting =
            tokio::spawn(async move { connect(&layer, connector(), "https://origin.test/").await.map(drop) });
        within(proxy.until(|proxy| proxy.raw().get(seen).is_some_and(|bytes| !bytes.is_empty()))).await;
        assert_eq!(proxy.connections_open(), 1);
        connecting.abort();
        within(proxy.idle()).await;
        assert!(within(connecting).await.unwrap_err().is_cancelled());
    }
}
