//! The first bytes of TLS leave before the proxy has answered, and whatever becomes of them, the target receives them
//! once, in order, on the connection that is used.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::{io, time::Duration};

use h2::Reason;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep, timeout},
};
use tower::{Layer, ServiceExt};
use tower_outbound_proxy::{ConnectError, Proxy, connector::ProxyStream, error::ConnectErrorKind};

use super::{
    pipes::{DATA, END_HEADERS, END_STREAM, Frame, HEADERS, Peer, Pipes, RST_STREAM, WINDOW_UPDATE, pipes},
    through,
};

type Tunnel = ProxyStream<<Pipes as tower::Service<http::Uri>>::Response>;

const PROXY: &str = "http://proxy.test:3128";
const A_WHILE: Duration = Duration::from_millis(100);

/// A record of handshake messages, as a ClientHello is one.
const HELLO: &[u8] = b"\x16\x03\x01\x00\x05hello";
/// A record of data.
const EARLY_DATA: &[u8] = b"\x17\x03\x03\x00\x04data";

/// Asks for a tunnel and returns its stream, whose first bytes need no answer.
async fn begun(connector: &Proxy<Pipes>) -> Tunnel {
    let uri: http::Uri = "https://a.test/".parse().unwrap();
    let tunnel = connector.clone().oneshot(uri).await.unwrap();
    assert!(tunnel.connect_response().is_none());
    tunnel
}

/// Returns a connector, its further connections, and the only tunnel of the first one, which is not answered.
async fn begun_alone() -> (Proxy<Pipes>, UnboundedReceiver<DuplexStream>, Peer, Tunnel) {
    let (connector, mut connections) = pipes();
    let connector = through(PROXY).layer(connector);
    let tunnel = begun(&connector).await;
    let peer = Peer::accept(&mut connections).await;
    (connector, connections, peer, tunnel)
}

async fn data(peer: &mut Peer, stream: u32) -> Vec<u8> {
    let frame = peer.next_of(DATA).await;
    assert_eq!(frame.stream, stream);
    frame.payload.to_vec()
}

async fn more(peer: &mut Peer) -> Option<Frame> {
    timeout(A_WHILE, peer.next_of(DATA)).await.ok()
}

/// Returns an error of a stream as that of connecting, which it is.
fn connecting(error: &io::Error) -> &ConnectError {
    ConnectError::find(error).unwrap_or_else(|| panic!("{error:?}"))
}

#[tokio::test(start_paused = true)]
async fn handshake_messages_leave_at_once_and_data_does_not() {
    let (_connector, _connections, mut peer, mut tunnel) = begun_alone().await;
    let written = tokio::spawn(async move {
        // In tiny pieces, and with 0-RTT data behind.
        for byte in HELLO {
            tunnel.write_all(&[*byte]).await.unwrap();
            tunnel.flush().await.unwrap();
        }
        tunnel.write_all(EARLY_DATA).await.unwrap();
        tunnel.flush().await.unwrap();
        tunnel
    });
    peer.next_of(HEADERS).await;
    let mut early = Vec::new();
    while early.len() < HELLO.len() {
        early.extend(data(&mut peer, 1).await);
    }
    assert_eq!(early, HELLO);
    assert_eq!(more(&mut peer).await, None);
    assert!(!written.is_finished());
    peer.allow(100).await;
    peer.establish(1).await;
    assert_eq!(data(&mut peer, 1).await, EARLY_DATA);
    let mut tunnel = written.await.unwrap();
    assert!(tunnel.connect_response().is_some());
    peer.send(DATA, END_STREAM, 1, b"answer").await;
    let mut answer = String::new();
    tunnel.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "answer");
    tunnel.shutdown().await.unwrap();
    assert_eq!(peer.next_of(DATA).await.flags, END_STREAM);
}

/// A flight that is longer than all windows, in one write.
#[tokio::test(start_paused = true)]
async fn a_long_flight_arrives_once() {
    let (_connector, _connections, mut peer, mut tunnel) = begun_alone().await;
    let record = |index: u8| [&[0x16, 3, 3, 0x3f, 0xfb][..], &vec![index; 0x3ffb]].concat();
    let flight: Vec<u8> = (0..10).flat_map(record).collect();
    let whole = flight.clone();
    let written = tokio::spawn(async move {
        tunnel.write_all(&flight).await.unwrap();
        tunnel.write_all(EARLY_DATA).await.unwrap();
        tunnel
    });
    peer.next_of(HEADERS).await;
    let mut received = Vec::new();
    while received.len() < (1 << 16) - 1 {
        received.extend(data(&mut peer, 1).await);
    }
    assert_eq!(more(&mut peer).await, None, "beyond the window");
    peer.allow(100).await;
    peer.establish(1).await;
    let expected = [&whole, EARLY_DATA].concat();
    while received.len() < expected.len() {
        for stream in [0, 1] {
            peer.send(WINDOW_UPDATE, 0, stream, &(1_u32 << 16).to_be_bytes()).await;
        }
        received.extend(data(&mut peer, 1).await);
    }
    assert!(received == expected);
    written.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flight_is_sent_again_with_its_request() {
    let (_connector, mut connections, mut peer, mut tunnel) = begun_alone().await;
    peer.allow(100).await;
    let written = tokio::spawn(async move {
        tunnel.write_all(&HELLO[..7]).await.unwrap();
        sleep(Duration::from_millis(10)).await;
        tunnel.write_all(&HELLO[7..]).await.unwrap();
        tunnel.write_all(b"\x14\x03\x03\x00\x01\x01").await.unwrap();
        tunnel
    });
    assert_eq!(peer.next_of(HEADERS).await.stream, 1);
    assert_eq!(data(&mut peer, 1).await, &HELLO[..7]);
    peer.send(RST_STREAM, 0, 1, &u32::from(Reason::REFUSED_STREAM).to_be_bytes())
        .await;
    assert_eq!(peer.next_of(HEADERS).await.stream, 3);
    assert_eq!(data(&mut peer, 3).await, HELLO);
    drop(peer);
    let mut peer = Peer::accept(&mut connections).await;
    peer.allow(100).await;
    assert_eq!(peer.next_of(HEADERS).await.stream, 1);
    assert_eq!(data(&mut peer, 1).await, HELLO);
    peer.establish(1).await;
    assert_eq!(data(&mut peer, 1).await, b"\x14\x03\x03\x00\x01\x01");
    written.await.unwrap();
    assert_eq!(more(&mut peer).await, None);
}

/// The answer is late, and comes on the second connection.
#[tokio::test(start_paused = true)]
async fn a_flight_goes_over_a_second_connection_and_the_first_is_given_up() {
    for first_wins in [false, true] {
        let (_connector, mut connections, mut peer, mut tunnel) = begun_alone().await;
        peer.allow(100).await;
        let written = tokio::spawn(async move {
            tunnel.write_all(HELLO).await.unwrap();
            tunnel.write_all(EARLY_DATA).await.unwrap();
            tunnel
        });
        peer.next_of(HEADERS).await;
        assert_eq!(data(&mut peer, 1).await, HELLO);
        let mut other = Peer::accept(&mut connections).await;
        other.allow(100).await;
        other.next_of(HEADERS).await;
        assert_eq!(data(&mut other, 1).await, HELLO);
        let (winner, loser) = match first_wins {
            true => (&mut peer, &mut other),
            false => (&mut other, &mut peer),
        };
        winner.establish(1).await;
        assert_eq!(data(winner, 1).await, EARLY_DATA);
        let reset = loser.next_of(RST_STREAM).await;
        assert_eq!(reset.payload[..], u32::from(Reason::CANCEL).to_be_bytes());
        assert_eq!(more(loser).await, None);
        written.await.unwrap();
    }
}

/// The proxy wants nothing more of it than the head, and says so together with its answer.
#[tokio::test(start_paused = true)]
async fn a_refusal_with_a_reset_behind_it_is_a_refusal() {
    for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::STREAM_CLOSED] {
        for is_written in [true, false] {
            let (_connector, _connections, mut peer, mut tunnel) = begun_alone().await;
            peer.allow(100).await;
            peer.next_of(HEADERS).await;
            let begun = if is_written { 6 } else { 0 };
            tunnel.write_all(&HELLO[..begun]).await.unwrap();
            // 407, and END_STREAM.
            let head = [&[0x08, 3][..], b"407"].concat();
            peer.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).await;
            peer.send(RST_STREAM, 0, 1, &u32::from(reason).to_be_bytes()).await;
            sleep(A_WHILE).await;
            let wrote = tunnel.write_all(&HELLO[begun..]).await;
            let error = match wrote {
                Ok(()) => tunnel.read_u8().await.unwrap_err(),
                Err(error) => error,
            };
            let found = connecting(&error);
            assert_eq!(found.kind(), ConnectErrorKind::AuthenticationRequired, "{error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_tunnel_that_is_not_answered() {
    let (connector, mut connections) = pipes();
    let layer = through(PROXY).with_connect_timeout(Some(Duration::from_secs(5)));
    let connector = layer.layer(connector);
    let mut tunnel = begun(&connector).await;
    let _peer = Peer::accept(&mut connections).await;
    let begun = Instant::now();
    tunnel.write_all(HELLO).await.unwrap();
    let error = tunnel.read_u8().await.unwrap_err();
    assert_eq!(connecting(&error).kind(), ConnectErrorKind::Timeout);
    assert!(begun.elapsed() < Duration::from_millis(5100), "{:?}", begun.elapsed());
    // It stays failed, whatever is asked.
    tunnel.write_all(HELLO).await.unwrap_err();
    tunnel.flush().await.unwrap_err();
    tunnel.shutdown().await.unwrap_err();
    tunnel.read_u8().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_is_given_up_before_the_answer_is_reset() {
    let (connector, _connections, mut peer, mut tunnel) = begun_alone().await;
    peer.allow(100).await;
    tunnel.write_all(HELLO).await.unwrap();
    peer.next_of(HEADERS).await;
    assert_eq!(data(&mut peer, 1).await, HELLO);
    drop(tunnel);
    let reset = peer.next_of(RST_STREAM).await;
    assert_eq!(reset.payload[..], u32::from(Reason::CANCEL).to_be_bytes());
    // The connection is good for others.
    let mut tunnel = begun(&connector).await;
    assert_eq!(peer.next_of(HEADERS).await.stream, 3);
    peer.establish(3).await;
    tunnel.write_all(HELLO).await.unwrap();
    assert_eq!(data(&mut peer, 3).await, HELLO);
}

/// Each half of the stream is used by a task of its own, as by a relay.
#[tokio::test(start_paused = true)]
async fn an_answer_wakes_both_halves() {
    for is_refused in [false, true] {
        let (_connector, _connections, mut peer, tunnel) = begun_alone().await;
        peer.allow(100).await;
        peer.next_of(HEADERS).await;
        let (mut read, mut write) = tokio::io::split(tunnel);
        let reading = tokio::spawn(async move { read.read_u8().await });
        sleep(A_WHILE).await;
        let writing = tokio::spawn(async move {
            write.write_all(HELLO).await.unwrap();
            write.flush().await.unwrap();
            // It has nothing more to say.
            std::future::pending::<()>().await;
        });
        assert_eq!(data(&mut peer, 1).await, HELLO);
        sleep(A_WHILE).await;
        match is_refused {
            false => {
                peer.establish(1).await;
                sleep(A_WHILE).await;
                peer.send(DATA, 0, 1, b"x").await;
            }
            true => {
                let head = [&[0x08, 3][..], b"403"].concat();
                peer.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).await;
            }
        }
        let read = timeout(Duration::from_secs(1), reading).await.expect("it is not woken");
        assert_eq!(read.unwrap().is_err(), is_refused);
        writing.abort();
    }
}

/// It waits for the answer, and for nothing else.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_shut_down_at_once_is_opened_first() {
    let (_connector, _connections, mut peer, mut tunnel) = begun_alone().await;
    peer.allow(100).await;
    peer.next_of(HEADERS).await;
    tunnel.write_all(HELLO).await.unwrap();
    let shut = tokio::spawn(async move {
        tunnel.shutdown().await.unwrap();
        tunnel
    });
    assert_eq!(data(&mut peer, 1).await, HELLO);
    assert_eq!(more(&mut peer).await, None);
    peer.establish(1).await;
    assert_eq!(peer.next_of(DATA).await.flags, END_STREAM);
    shut.await.unwrap();
}
