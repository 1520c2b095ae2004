//! The end of a connection ends no tunnel that need not end, and no connection outlives its use.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::{io, time::Duration};

use h2::Reason;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    runtime::Builder,
    sync::mpsc::UnboundedReceiver,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tower::Layer;
use tower_outbound_proxy::{
    ConnectError, Proxy,
    connector::{Http2Settings, ProxyStream},
    error::ConnectErrorKind,
};
use tower_outbound_proxy_lab::{Http2Proxy, connector as tcp, within};

use super::{
    pipes::{ACK, DATA, END_STREAM, GOAWAY, HEADERS, PING, Peer, Pipes, RST_STREAM, pipes, proxy},
    through,
};
use crate::common::{everything, shouting, speak};

type Tunnel = ProxyStream<<Pipes as tower::Service<http::Uri>>::Response>;

const PROXY: &str = "http://proxy.test:3128";

/// Opens a tunnel meanwhile.
fn opening(connector: &Proxy<Pipes>) -> JoinHandle<Result<Tunnel, ConnectError>> {
    let mut connector = connector.clone();
    tokio::spawn(async move { connector.tunnel("a.test", 7).await })
}

/// Opens a tunnel on a connection.
async fn open(connector: &Proxy<Pipes>, peer: &mut Peer) -> Tunnel {
    let tunnel = opening(connector);
    let stream = peer.next_of(HEADERS).await.stream;
    peer.establish(stream).await;
    tunnel.await.unwrap().unwrap()
}

/// Returns a connector, its further connections, and the only tunnel of the first one.
async fn one_tunnel() -> (Proxy<Pipes>, UnboundedReceiver<DuplexStream>, Peer, Tunnel) {
    let (connector, mut connections) = pipes();
    let connector = through(PROXY).layer(connector);
    let tunnel = opening(&connector);
    let mut peer = Peer::accept(&mut connections).await;
    peer.allow(100).await;
    peer.next_of(HEADERS).await;
    peer.establish(1).await;
    (connector, connections, peer, tunnel.await.unwrap().unwrap())
}

/// Reads and answers PINGs until another frame comes.
async fn next_but_pings(peer: &mut Peer) -> Option<super::pipes::Frame> {
    loop {
        match peer.next().await? {
            frame if frame.kind == PING && frame.flags & ACK == 0 => peer.send(PING, ACK, 0, &frame.payload).await,
            frame => return Some(frame),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tunnels_that_a_goaway_leaves_live_on_and_others_are_opened_anew() {
    let (connector, mut connections, mut peer, mut first) = one_tunnel().await;
    let second = opening(&connector);
    assert_eq!(peer.next_of(HEADERS).await.stream, 3);
    let third = opening(&connector);
    assert_eq!(peer.next_of(HEADERS).await.stream, 5);

    peer.go_away(3, Reason::NO_ERROR).await;
    let mut other = Peer::accept(&mut connections).await;
    other.allow(100).await;
    assert_eq!(other.next_of(HEADERS).await.stream, 1, "the third, again");
    other.establish(1).await;
    third.await.unwrap().unwrap();
    // The second may still be answered.
    peer.establish(3).await;
    second.await.unwrap().unwrap();
    let mut fourth = open(&connector, &mut other).await;

    peer.send(DATA, 0, 1, b"still here").await;
    let mut received = [0; 10];
    first.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"still here");
    first.write_all(b"and there").await.unwrap();
    assert_eq!(&peer.next_of(DATA).await.payload[..], b"and there");
    fourth.write_all(b"new").await.unwrap();
    assert_eq!(&other.next_of(DATA).await.payload[..], b"new");
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_opened_again_and_not_for_ever() {
    let (connector, mut connections) = pipes();
    let connector = through(PROXY).layer(connector);
    let tunnel = opening(&connector);
    let mut peer = Peer::accept(&mut connections).await;
    peer.allow(100).await;
    let refused = u32::from(Reason::REFUSED_STREAM).to_be_bytes();
    peer.next_of(HEADERS).await;
    peer.send(RST_STREAM, 0, 1, &refused).await;
    assert_eq!(peer.next_of(HEADERS).await.stream, 3);
    peer.establish(3).await;
    tunnel.await.unwrap().unwrap();

    let tunnel = opening(&connector);
    for _ in 0..3 {
        let stream = peer.next_of(HEADERS).await.stream;
        peer.send(RST_STREAM, 0, stream, &refused).await;
    }
    let error = tunnel.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Io, "{error}");
    let more = timeout(Duration::from_secs(9), peer.next_of(HEADERS)).await;
    assert!(more.is_err(), "{more:?}");
    assert!(everything(&error).contains("refused"), "{error:?}");
}

/// The proxy has processed it.
#[tokio::test(start_paused = true)]
async fn a_connect_that_is_reset_is_not_sent_again() {
    let (connector, _connections, mut peer, _) = one_tunnel().await;
    let tunnel = opening(&connector);
    let stream = peer.next_of(HEADERS).await.stream;
    peer.send(RST_STREAM, 0, stream, &u32::from(Reason::CONNECT_ERROR).to_be_bytes())
        .await;
    let error = tunnel.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Io, "{error}");
    let more = timeout(Duration::from_secs(9), peer.next_of(HEADERS)).await;
    assert!(more.is_err(), "{more:?}");
}

/// A relay has stopped to forward bytes, and neither side knows.
#[tokio::test(start_paused = true)]
async fn a_connection_that_answers_no_ping_is_given_up() {
    let (connector, mut connections, _peer, mut tunnel) = one_tunnel().await;
    let begun = Instant::now();
    let error = tunnel.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(
        error.to_string(),
        "the proxy did not answer a PING within 10s, and the connection to it was closed"
    );
    let time = begun.elapsed().as_secs_f32();
    assert!((25.0..25.1).contains(&time), "{time}");
    let error = tunnel.write_all(b"x").await.unwrap_err();
    assert!(error.to_string().contains("PING"), "{error}");
    drop(tunnel);

    // A CONNECT finds out sooner, and goes over another connection.
    let tunnel = opening(&connector);
    let mut dead = Peer::accept(&mut connections).await;
    dead.allow(100).await;
    dead.next_of(HEADERS).await;
    dead.establish(1).await;
    let mut first = tunnel.await.unwrap().unwrap();
    let begun = Instant::now();
    let tunnel = opening(&connector);
    let mut other = Peer::accept(&mut connections).await;
    other.allow(100).await;
    other.next_of(HEADERS).await;
    other.establish(1).await;
    tunnel.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(1100), "{:?}", begun.elapsed());
    // Nor does anybody else wait for the dead one.
    open(&connector, &mut other).await;
    assert!(begun.elapsed() < Duration::from_millis(1200), "{:?}", begun.elapsed());
    first.read_u8().await.unwrap_err();
    let time = begun.elapsed().as_secs_f32();
    assert!((11.0..11.1).contains(&time), "{time}");
}

/// The answer to a PING stands in line behind the bytes of tunnels.
#[tokio::test(start_paused = true)]
async fn a_connection_on_which_bytes_come_is_not_dead() {
    let (_connector, _connections, mut peer, mut tunnel) = one_tunnel().await;
    peer.next_of(PING).await;
    for count in 0..60 {
        sleep(Duration::from_secs(1)).await;
        peer.send(DATA, 0, 1, b"x").await;
        assert_eq!(tunnel.read_u8().await.map_err(|error| (count, error)).unwrap(), b'x');
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_tunnels_is_closed_and_one_with_tunnels_is_not() {
    let (_connector, _connections, mut peer, tunnel) = one_tunnel().await;
    let quiet = timeout(Duration::from_secs(3600), async {
        while next_but_pings(&mut peer).await.unwrap().kind != GOAWAY {}
    });
    assert!(quiet.await.is_err(), "a tunnel is open");
    drop(tunnel);
    let begun = Instant::now();
    assert_eq!(next_but_pings(&mut peer).await.unwrap().kind, RST_STREAM);
    assert_eq!(next_but_pings(&mut peer).await.unwrap().kind, GOAWAY);
    assert_eq!(next_but_pings(&mut peer).await, None);
    let time = begun.elapsed().as_secs_f32();
    assert!((90.0..90.1).contains(&time), "{time}");
}

#[tokio::test(start_paused = true)]
async fn a_time_without_an_end_is_no_time() {
    let (connector, _) = proxy(100, 100);
    let settings = Http2Settings::default()
        .keep_alive_interval(Duration::MAX)
        .keep_alive_timeout(Duration::MAX)
        .idle_timeout(Duration::MAX);
    let mut connector = through(PROXY).with_http2(settings).layer(connector);
    let mut tunnel = connector.tunnel("a.test", 7).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    tunnel.write_all(b"x").await.unwrap();
    assert_eq!(tunnel.read_u8().await.unwrap(), b'x');
    drop(tunnel);
    sleep(Duration::from_secs(5)).await;
    connector.tunnel("a.test", 7).await.unwrap();
}

/// The proxy has stopped to read, so that not even a GOAWAY can be sent.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_though_nothing_can_be_written() {
    let (_connector, _connections, mut peer, mut tunnel) = one_tunnel().await;
    // The window, which is as large as the pipe.
    tunnel.write_all(&[0; (1 << 16) - 1]).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    drop(tunnel);
    sleep(Duration::from_secs(120)).await;
    assert!(peer.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_whose_proxy_dies_does_not_end_in_peace() {
    let (_connector, _connections, mut peer, mut tunnel) = one_tunnel().await;
    peer.send(DATA, 0, 1, b"the last").await;
    drop(peer);
    let mut received = Vec::new();
    let error = tunnel.read_to_end(&mut received).await.unwrap_err();
    assert_eq!(received, b"the last");
    assert_ne!(error.kind(), io::ErrorKind::NotConnected, "{error}");
    tunnel.write_all(b"x").await.unwrap_err();
}

/// The bytes before the end are read, then the end, and then writing fails.
#[tokio::test(start_paused = true)]
async fn a_tunnel_that_is_ended_and_reset_has_an_end() {
    for reason in [Reason::NO_ERROR, Reason::CANCEL] {
        let (_connector, _connections, mut peer, mut tunnel) = one_tunnel().await;
        peer.send(DATA, END_STREAM, 1, b"the last").await;
        peer.send(RST_STREAM, 0, 1, &u32::from(reason).to_be_bytes()).await;
        sleep(Duration::from_millis(1)).await;
        let mut received = Vec::new();
        tunnel.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"the last");
        tunnel.write_all(b"x").await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn tunnels_outlive_their_connector_and_then_nothing_is_left() {
    let (connector, seen) = proxy(100, 100);
    let mut layered = through(PROXY).layer(connector);
    let mut tunnel = layered.tunnel("a.test", 7).await.unwrap();
    drop(layered);
    sleep(Duration::from_secs(200)).await;
    tunnel.write_all(b"x").await.unwrap();
    assert_eq!(tunnel.read_u8().await.unwrap(), b'x');
    assert_eq!(seen.open(), 1);
    drop(tunnel);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(seen.open(), 0);
}

/// Its connections end with it, and not silently.
#[test]
fn a_runtime_that_ends_takes_no_other_one_along() {
    let runtime = || {
        Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let (servers, first, second) = (runtime(), runtime(), runtime());
    let origin = servers.block_on(shouting());
    let proxy = servers.block_on(Http2Proxy::builder().map("mail.test:25", origin).start());
    let mut connector = through(&proxy.url_with("")).layer(tcp());
    let tunnel = first.block_on(connector.tunnel("mail.test", 25)).unwrap();
    let mut shared = second.block_on(connector.tunnel("mail.test", 25)).unwrap();
    assert_eq!(proxy.connections_opened(), 1);
    drop(first);
    drop(tunnel);
    second.block_on(async {
        let ended = async {
            let mut received = Vec::new();
            shared.read_to_end(&mut received).await
        };
        within(ended).await.unwrap_err();
        speak(within(connector.tunnel("mail.test", 25)).await.unwrap()).await;
    });
    assert_eq!(proxy.connections_opened(), 2);
}
