//! The head of a response to CONNECT: an odd line in a refusal loses only itself, an odd line opens no tunnel, and each
//! byte is read once.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::time::Duration;

use tower_outbound_proxy::{ConnectError, error::ConnectErrorKind};
use tower_outbound_proxy_lab::within;

use crate::common::{OK, Then, Wire, layer, tunnel};

const PROXY: &str = "http://proxy.test:3128";
const WITH_CREDENTIALS: &str = "http://user:pass%20word@proxy.test:3128";

/// Returns the error of an answer that opens no tunnel.
async fn refused(proxy: &str, wire: Wire) -> ConnectError {
    within(tunnel(&layer(proxy), wire)).await.unwrap_err()
}

/// An odd line costs a refusal only itself: the status, the reason and every field that parses stay.
#[tokio::test]
async fn an_odd_line_loses_only_itself() {
    let basic = &["Basic (realm \"lab\")"][..];
    let many = "X: y\r\n".repeat(200);
    #[rustfmt::skip] // one row a line
    let cases = [
        ("Proxy-Authenticate : Basic realm=\"lab\"\r\n", basic),
        ("Proxy-Authenticate\t: Basic realm=\"lab\"\r\n", basic),
        ("Proxy-Authenticate: Basic\r\n realm=\"lab\"\r\n", basic),
        ("Proxy-Authenticate:\r\n\tBasic\r\n  realm=\"lab\"\r\n", basic),
        ("Proxy-Authenticate: Basic realm=\"lab\"\r\nno colon\r\n", basic),
        ("no colon\r\n\x20and its fold\r\nProxy-Authenticate: Basic realm=\"lab\"\r\n", basic),
        (" a fold of nothing\r\nProxy-Authenticate: Basic realm=\"lab\"\n", basic),
        (": no name\r\nProxy-Authenticate: Basic realm=\"lab\"\r\n", basic),
        ("X Y: z\r\nProxy-Authenticate: Basic realm=\"lab\"\r\n", basic),
        ("X: a\0b\r\nProxy-Authenticate: Basic realm=\"lab\"\r\n", basic),
        ("X: a\rb\r\nProxy-Authenticate: Basic realm=\"lab\"\r\n", basic),
        ("\r\r\nProxy-Authenticate: Basic realm=\"lab\"\r\n", basic),
        ("Proxy-Authenticate: Negotiate\r\nodd\r\nProxy-Authenticate: Basic realm=\"lab\"\r\n", &["Negotiate", basic[0]]),
        (&format!("Proxy-Authenticate: Basic realm=\"lab\"\r\n{many}"), basic),
        ("Proxy-Authenticate: Basic realm=\"l\0ab\"\r\nodd\r\n", &[]),
    ];
    for (fields, expected) in cases {
        let answer = format!("HTTP/1.1 407 Log In\r\n{fields}Via: last\r\nContent-Length: 4\r\n\r\nbodyrest");
        let splits = (1..answer.len()).map(|at| Wire::saying([&answer[..at], &answer[at..]]));
        for wire in splits.take(300).chain([Wire::saying(answer.as_bytes().chunks(1))]) {
            let error = refused(WITH_CREDENTIALS, wire.then(Then::Close)).await;
            let response = error.response().unwrap_or_else(|| panic!("{fields:.80}: {error}"));
            assert_eq!((response.status().as_u16(), response.reason()), (407, "Log In"));
            let challenges: Vec<_> = error.challenges().iter().map(ToString::to_string).collect();
            assert_eq!(challenges, expected, "{fields:.80}");
            // The fields after the hundredth are not kept.
            let last = (fields.len() < 200).then_some("last");
            assert_eq!(response.headers().get("via").map(|via| via.to_str().unwrap()), last);
            assert_eq!(response.body(), if last.is_some() { &b"body"[..] } else { b"bodyrest" });
        }
    }
}

/// The same line in a head that opens the tunnel ends the attempt: the tunnel's first byte would be a guess.
#[tokio::test]
async fn an_odd_line_opens_no_tunnel() {
    for line in [
        "X : y",
        "X: y\r\n z",
        " z",
        "no colon",
        ": y",
        "X Y: z",
        "X: a\0b",
        "X: a\rb",
        "\r",
    ] {
        let odd = |start: &str| format!("{start}\r\n{line}\r\n\r\n");
        let interim = format!("{}{OK}", odd("HTTP/1.1 103 Early Hints"));
        for answer in [odd("HTTP/1.1 200 OK"), odd("HTTP/1.0 299 Odd"), interim] {
            let error = refused(PROXY, Wire::saying([&answer])).await;
            assert_eq!(error.kind(), ConnectErrorKind::NotHttp, "{answer:?}");
            let text = "the head of the response to CONNECT has a line that is not a header field";
            assert!(error.to_string().ends_with(text), "{answer:?}: {error}");
        }
    }
}

/// Reading costs the same for each byte, however many there are and however small their pieces.
#[tokio::test]
async fn a_head_and_a_body_that_drip_are_read_in_linear_time() {
    let head = |size: usize| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(size));
    let chunked = |size: usize| {
        let extension = "x".repeat(size);
        format!("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n1;{extension}\r\na\r\n0\r\n\r\n")
    };
    let chunks = |size: usize| {
        let chunks = "1\r\na\r\n".repeat(size / 16);
        format!("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    let cases: [(&str, &dyn Fn(usize) -> String); 3] = [("head", &head), ("extension", &chunked), ("chunks", &chunks)];
    for (what, answer) in cases {
        // The time on a processor, and the least of several runs, so that nothing else on the machine counts.
        let mut least = [Duration::MAX; 2];
        for _ in 0..5 {
            for (least, size) in least.iter_mut().zip([7_500, 60_000]) {
                let wire = Wire::saying(answer(size).as_bytes().chunks(1)).then(Then::Close);
                let started = cpu_time::ThreadTime::now();
                let opened = within(tunnel(&layer(PROXY), wire)).await.is_ok();
                *least = started.elapsed().min(*least);
                assert_eq!(opened, what == "head");
            }
        }
        // Eight times the bytes: linear is 8, and quadratic 64.
        let growth = least[1].as_secs_f64() / least[0].as_secs_f64();
        assert!(growth < 24.0, "{what}: {least:?}");
    }
}
