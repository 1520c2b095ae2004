//! Recording, stopping, starting again, resolving.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

mod common;

use std::io::ErrorKind;

use common::{ask, connect, dial, get, read, read_head, write};
use http::Uri;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tower_outbound_proxy_lab::{
    ForwardProxy, Origin, Resolver, ScriptedProxy, Step, connector, connector_with, within,
};
use tower_service::Service;

#[tokio::test]
async fn the_record_is_what_the_client_wrote_and_read() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().start().await;
    let mut io = dial(proxy.addr()).await;
    let peer = io.local_addr().unwrap();
    let hello = format!("CONNECT {} HTTP/1.1\r\n\r\n", origin.authority());
    write(&mut io, &hello).await;
    let answer = read_head(&mut io).await;
    let inner = "POST /echo HTTP/1.1\r\nhOsT:  a\r\nContent-Length: 3\r\n\r\n\0\u{7f}\n";
    write(&mut io, inner).await;
    let reply = read_head(&mut io).await;
    let body = read(&mut io, 3).await;
    drop(io);
    within(proxy.idle()).await;

    let record = proxy.connection(0);
    assert_eq!(record.peer(), peer);
    assert_eq!(record.received(), [hello.as_bytes(), inner.as_bytes()].concat());
    assert_eq!(record.sent(), [answer.as_bytes(), reply.as_bytes(), &body].concat());
    assert!(!record.is_open());
    assert_eq!(origin.raw(), [inner.as_bytes()]);
}

#[tokio::test]
async fn a_large_body_is_recorded_whole() {
    let origin = Origin::http().await;
    let target = origin.url("/bytes/3000000");
    let proxy = ForwardProxy::builder().start().await;
    let mut io = dial(proxy.addr()).await;
    write(&mut io, format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    let head = read_head(&mut io).await;
    let body = read(&mut io, 3_000_000).await;
    assert_eq!(proxy.connection(0).sent(), [head.as_bytes(), &body].concat());
}

async fn stopping_closes(stop: impl AsyncFnOnce(ForwardProxy, Origin, ScriptedProxy)) {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().start().await;
    let scripted = ScriptedProxy::start(Step::Hang).await;
    let mut tunnel = dial(proxy.addr()).await;
    connect(&mut tunnel, &origin.authority(), "").await;
    let mut forward = dial(proxy.addr()).await;
    let target = origin.url("/slow/600000");
    write(&mut forward, format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    within(origin.until(|origin| origin.requests().len() == 1)).await;
    let mut hung = dial(scripted.addr()).await;
    write(&mut hung, "CONNECT a.test:443 HTTP/1.1\r\n\r\n").await;
    within(scripted.until(|scripted| scripted.requests().len() == 1)).await;

    let records: Vec<_> = [proxy.connections(), origin.connections(), scripted.connections()].concat();
    assert_eq!(records.len(), 5);
    assert!(records.iter().all(|record| record.is_open()));
    let addrs = [proxy.addr(), origin.addr(), scripted.addr()];
    stop(proxy, origin, scripted).await;
    for mut io in [tunnel, forward, hung] {
        // The end or a reset, as there may be unread bytes.
        let _ = within(io.read_to_end(&mut Vec::new())).await;
    }
    for record in records {
        within(record.closed()).await;
    }
    for addr in addrs {
        let refused = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}

async fn drop_all(proxy: ForwardProxy, origin: Origin, scripted: ScriptedProxy) {
    drop((proxy, origin, scripted));
}

async fn stop_all(proxy: ForwardProxy, origin: Origin, scripted: ScriptedProxy) {
    within(proxy.stop()).await;
    within(origin.stop()).await;
    within(scripted.stop()).await;
    assert_eq!(proxy.connections_open(), 0);
    assert_eq!(origin.connections_open(), 0);
    assert_eq!(scripted.connections_open(), 0);
    within(scripted.stop()).await;
}

#[tokio::test]
async fn dropping_closes_on_one_thread() {
    stopping_closes(drop_all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_closes_on_two_threads() {
    stopping_closes(drop_all).await;
}

#[tokio::test]
async fn stopping_closes_on_one_thread() {
    stopping_closes(stop_all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_closes_on_two_threads() {
    stopping_closes(stop_all).await;
}

#[tokio::test]
async fn restarting_keeps_the_address_and_the_record() {
    let origin = Origin::http().await;
    let addr = origin.addr();
    for _ in 0..3 {
        assert_eq!(ask(dial(addr).await, get("/", "a")).await.status(), 200);
        within(origin.restart()).await;
        assert_eq!(origin.addr(), addr);
    }
    assert_eq!(ask(dial(addr).await, get("/", "a")).await.status(), 200);
    assert_eq!(origin.requests().len(), 4);
    assert_eq!(origin.requests()[3].connection, 3);
}

#[tokio::test]
async fn every_name_is_loopback_and_is_written_down() {
    let origin = Origin::http().await;
    let resolver = Resolver::new().unknown("no.test");
    let mut listed = connector_with(resolver.clone());
    let uri = |host: &str| -> Uri { format!("https://{host}:{}/", origin.port()).parse().unwrap() };
    let io = within(listed.call(uri("some.test"))).await.unwrap();
    assert_eq!(ask(io.into_inner(), get("/", "a")).await.status(), 200);
    assert!(within(listed.call(uri("no.test"))).await.is_err());
    within(listed.call(uri("127.0.0.1"))).await.unwrap();
    assert_eq!(resolver.names(), ["some.test", "no.test"]);
    assert_eq!(resolver.lookups(), 2);
    within(connector().call(uri("other.test"))).await.unwrap();
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "lifecycle.rs")]
async fn what_hangs_fails_and_says_where() {
    within(std::future::pending::<()>()).await;
}
