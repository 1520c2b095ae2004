//! Each step of a script, as the client sees it and as the record has it.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{ask, connect, dial, get, read, read_head, read_to_end, tls, write};
use tokio::io::AsyncReadExt;
use tower_outbound_proxy_lab::{Ca, Origin, Script, ScriptedProxy, Step, within};

const HEAD: &str = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n";
const OK: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

#[tokio::test]
async fn sends_byte_for_byte_and_closes() {
    let proxy = ScriptedProxy::start(Step::send("any\0thing")).await;
    let mut io = dial(proxy.addr()).await;
    write(&mut io, HEAD).await;
    assert_eq!(read_to_end(&mut io).await, "any\0thing");
    assert_eq!(proxy.connections_open(), 1);
    drop(io);
    within(proxy.idle()).await;
    let record = proxy.connection(0);
    assert_eq!(record.received(), HEAD.as_bytes());
    assert_eq!(record.sent(), b"any\0thing");
    assert_eq!(proxy.requests()[0].target, "a.test:443");
}

#[tokio::test]
async fn answers_nothing_before_the_whole_head() {
    let proxy = ScriptedProxy::start(Step::established()).await;
    let mut io = dial(proxy.addr()).await;
    for byte in HEAD.as_bytes() {
        assert!(proxy.connections().iter().all(|record| record.sent().is_empty()));
        write(&mut io, [*byte]).await;
    }
    assert_eq!(read_to_end(&mut io).await, OK);
}

#[tokio::test]
async fn pieces_arrive_apart() {
    let proxy = ScriptedProxy::start([
        Step::split_at("abcd", 1),
        Step::pieces("efgh", 3),
        Step::SendEach(vec!["i".into(), "j".into()], Duration::from_millis(1)),
    ])
    .await;
    let mut io = dial(proxy.addr()).await;
    write(&mut io, HEAD).await;
    // On one thread the client gets its turn between two writes.
    let mut first = [0; 10];
    assert_eq!(within(io.read(&mut first)).await.unwrap(), 1);
    assert_eq!(read_to_end(&mut io).await, "bcdefghij");
}

#[tokio::test]
async fn tells_early_bytes_from_timely_ones() {
    let script = Script::from([
        Step::Wait(Duration::from_millis(1)),
        Step::send("HTTP/1.1 100 Continue\r\n\r\n"),
        Step::pieces(OK, 1),
        Step::Echo,
    ]);
    let proxy = ScriptedProxy::start(script).await;
    let mut io = dial(proxy.addr()).await;
    write(&mut io, format!("{HEAD}early")).await;
    read_head(&mut io).await;
    read_head(&mut io).await;
    write(&mut io, " timely").await;
    assert_eq!(read(&mut io, 12).await, b"early timely");
    let record = proxy.connection(0);
    assert_eq!(record.early(), b"early");
    assert_eq!(record.received_before_sent(0), format!("{HEAD}early").as_bytes());
    assert_eq!(record.received(), format!("{HEAD}early timely").as_bytes());

    let mut io = dial(proxy.addr()).await;
    connect(&mut io, "a.test:443", "").await;
    read_head(&mut io).await;
    write(&mut io, "timely").await;
    assert_eq!(read(&mut io, 6).await, b"timely");
    assert_eq!(proxy.connection(1).early(), b"");
}

#[tokio::test]
async fn early_bytes_without_an_answer_are_early() {
    let proxy = ScriptedProxy::start([Step::send("HTTP/1.1 200 OK\r\n"), Step::Hang]).await;
    let mut io = dial(proxy.addr()).await;
    write(&mut io, HEAD).await;
    read(&mut io, 17).await;
    write(&mut io, "early").await;
    drop(io);
    within(proxy.idle()).await;
    assert_eq!(proxy.connection(0).early(), b"early");
}

#[tokio::test]
async fn echo_ends_when_the_client_does() {
    let proxy = ScriptedProxy::start([Step::established(), Step::Echo]).await;
    let mut io = dial(proxy.addr()).await;
    connect(&mut io, "a.test:443", "").await;
    write(&mut io, "ping").await;
    within(tokio::io::AsyncWriteExt::shutdown(&mut io)).await.unwrap();
    assert_eq!(read_to_end(&mut io).await, "ping");
    within(proxy.idle()).await;
}

#[tokio::test]
async fn reset_is_a_reset() {
    let proxy = ScriptedProxy::start([Step::send("HTTP"), Step::Reset]).await;
    let mut io = dial(proxy.addr()).await;
    write(&mut io, HEAD).await;
    let mut answer = Vec::new();
    let error = within(io.read_to_end(&mut answer)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    within(proxy.idle()).await;
}

#[tokio::test]
async fn hanging_notices_that_the_client_left() {
    let proxy = ScriptedProxy::start(Step::Hang).await;
    let mut io = dial(proxy.addr()).await;
    write(&mut io, HEAD).await;
    within(proxy.until(|proxy| proxy.requests().len() == 1)).await;
    assert_eq!(proxy.connections_open(), 1);
    drop(io);
    within(proxy.idle()).await;
    assert!(proxy.connection(0).peer_closed());
    assert_eq!(proxy.connection(0).sent(), b"");
}

#[tokio::test]
async fn waiting_notices_that_the_client_left() {
    let proxy = ScriptedProxy::start(Step::Wait(Duration::from_secs(600))).await;
    let mut io = dial(proxy.addr()).await;
    write(&mut io, HEAD).await;
    drop(io);
    within(proxy.until(|proxy| proxy.connections_opened() == 1)).await;
    within(proxy.idle()).await;
}

#[tokio::test]
async fn reads_further_heads_and_everything() {
    let again = "HTTP/1.1 407 Again\r\nContent-Length: 0\r\n\r\n";
    let script = [Step::send(again), Step::ReadHead, Step::established(), Step::ReadAll];
    let proxy = ScriptedProxy::start(script).await;
    let mut io = dial(proxy.addr()).await;
    let head = connect(&mut io, "a.test:1", "").await;
    assert_eq!(head, again);
    connect(&mut io, "b.test:2", "").await;
    write(&mut io, "rest").await;
    drop(io);
    within(proxy.idle()).await;
    let targets: Vec<_> = proxy.requests().into_iter().map(|one| one.target).collect();
    assert_eq!(targets, ["a.test:1", "b.test:2"]);
    assert!(proxy.connection(0).received().ends_with(b"\r\n\r\nrest"));
}

#[tokio::test]
async fn tunnels_to_an_address_and_to_the_target() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &[]).await;
    let proxy = ScriptedProxy::builder()
        .script([Step::pieces(OK, 1), Step::Connect(origin.addr())])
        .script([Step::pieces(OK, 1), Step::Tunnel])
        .map("a.test:443", origin.addr())
        .start()
        .await;
    for _ in 0..3 {
        let mut io = dial(proxy.addr()).await;
        connect(&mut io, "a.test:443", "").await;
        let io = tls(io, ca.client_config(&[]), "a.test").await;
        assert_eq!(ask(io, get("/", "a.test")).await.status(), 200);
    }
    within(proxy.idle()).await;
    assert_eq!(origin.connections_opened(), 3);
}

#[tokio::test]
async fn plays_behind_tls_and_on_ipv6() {
    let ca = Ca::new();
    let proxy = ScriptedProxy::builder()
        .script([Step::established(), Step::Echo])
        .tls(ca.issue(&["localhost"]).server_config(&["http/1.1"]))
        .listen_v6()
        .host("localhost")
        .start()
        .await;
    assert_eq!(proxy.url(), format!("https://localhost:{}", proxy.port()));
    let io = dial(proxy.addr()).await;
    let mut io = tls(io, ca.client_config(&["http/1.1"]), "localhost").await;
    connect(&mut io, "a.test:443", "").await;
    write(&mut io, "ping").await;
    assert_eq!(read(&mut io, 4).await, b"ping");
    assert!(proxy.connection(0).received().starts_with(b"CONNECT a.test:443 "));
    assert_eq!(proxy.connection(0).tls().unwrap().sni.unwrap(), "localhost");
}

#[tokio::test]
async fn a_reset_behind_tls_is_a_reset() {
    let ca = Ca::new();
    let proxy = ScriptedProxy::builder()
        .script(Step::Reset)
        .tls(ca.issue(&["localhost"]).server_config(&[]))
        .start()
        .await;
    let mut io = tls(dial(proxy.addr()).await, ca.client_config(&[]), "localhost").await;
    write(&mut io, HEAD).await;
    let error = within(io.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
