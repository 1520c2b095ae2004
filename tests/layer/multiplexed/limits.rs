//! No more streams than the proxy allows, and no more connections than it takes.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::Layer;
use tower_outbound_proxy::{Client, ProxyConfig, ProxyLayer, connector::ProxyVersion};
use tower_outbound_proxy_lab::within;

use super::{
    pipes::{DATA, END_HEADERS, END_STREAM, HEADERS, Peer, pipes, proxy},
    through,
};

/// A time in which nothing happens, if nothing has happened in it.
const A_WHILE: Duration = Duration::from_millis(500);

#[tokio::test(start_paused = true)]
async fn no_more_streams_are_opened_than_the_proxy_allows() {
    let (connector, mut connections) = pipes();
    let connector = through("http://proxy.test:3128").layer(connector);
    let mut tunnels = JoinSet::new();
    for _ in 0..4 {
        let mut connector = connector.clone();
        tunnels.spawn(async move { connector.tunnel("a.test", 7).await.unwrap() });
    }
    let mut peer = Peer::accept(&mut connections).await;
    assert_eq!(peer.next_of(HEADERS).await.stream, 1);
    let early = timeout(A_WHILE, peer.next_of(HEADERS)).await;
    assert!(early.is_err(), "before the SETTINGS: {early:?}");

    peer.allow(2).await;
    assert_eq!(peer.next_of(HEADERS).await.stream, 3);
    // Another connection for those for whom there is no room.
    let mut other = Peer::accept(&mut connections).await;
    assert_eq!(other.next_of(HEADERS).await.stream, 1);
    let more = timeout(A_WHILE, peer.next_of(HEADERS)).await;
    assert!(more.is_err(), "above the limit: {more:?}");
    for stream in [1, 3] {
        peer.establish(stream).await;
    }
    other.allow(1).await;
    other.establish(1).await;
    let mut last = Peer::accept(&mut connections).await;
    last.allow(1).await;
    last.next_of(HEADERS).await;
    last.establish(1).await;
    let open = tunnels.join_all().await;
    assert!(connections.is_empty());

    // The limit is raised, and lowered.
    peer.allow(3).await;
    let mut third = connector.clone();
    let third = tokio::spawn(async move { third.tunnel("a.test", 7).await.unwrap() });
    assert_eq!(peer.next_of(HEADERS).await.stream, 5);
    peer.establish(5).await;
    let third = third.await.unwrap();
    peer.allow(2).await;
    sleep(A_WHILE).await;
    drop(third);
    let mut fourth = connector.clone();
    let fourth = tokio::spawn(async move { fourth.tunnel("a.test", 7).await.unwrap() });
    let mut new = Peer::accept(&mut connections).await;
    new.allow(2).await;
    new.next_of(HEADERS).await;
    new.establish(1).await;
    fourth.await.unwrap();
    drop(open);
}

/// A request that was given a stream just before the limit is lowered waits for no other request's end. Nothing of it
/// has been sent, so it goes to another connection, whatever its method is.
#[tokio::test(start_paused = true)]
async fn a_request_that_a_lowered_limit_holds_back_is_sent_elsewhere() {
    let (connector, mut connections) = pipes();
    let config = ProxyConfig::builder().all("http://proxy.test:3128").build().unwrap();
    let layer = ProxyLayer::new(config).with_proxy_version(ProxyVersion::Http2);
    let client = Client::builder().layer(layer).connector(connector).build().unwrap();
    let post = || {
        let request = Request::post("http://a.test/").body(Full::<Bytes>::from("once"));
        client.send(request.unwrap())
    };
    let under_way = tokio::spawn(post());
    let mut peer = Peer::accept(&mut connections).await;
    peer.next_of(HEADERS).await;
    peer.allow(2).await;
    sleep(A_WHILE).await;

    // The connection's task cannot read the new limit before the next request has been given to it.
    peer.allow(1).await;
    let mut held_back = post();
    assert!(timeout(Duration::ZERO, &mut held_back).await.is_err());
    let held_back = tokio::spawn(held_back);
    let mut other = within(Peer::accept(&mut connections)).await;
    other.allow(2).await;
    assert_eq!(other.next_of(DATA).await.payload, "once");
    other.send(HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]).await;
    assert!(held_back.await.unwrap().is_ok());

    let sent = timeout(A_WHILE, peer.next_of(HEADERS)).await;
    assert!(sent.is_err(), "it was sent twice: {sent:?}");
    peer.send(HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]).await;
    assert!(under_way.await.unwrap().is_ok());
}

/// Without a limit that is reached, another connection is of no use.
#[tokio::test(start_paused = true)]
async fn tunnels_that_begin_together_share_one_handshake() {
    let (connector, seen) = proxy(1000, 1000);
    let connector = through("http://proxy.test:3128").layer(connector);
    let mut tunnels = JoinSet::new();
    for index in 0..100_u8 {
        let mut connector = connector.clone();
        tunnels.spawn(async move {
            let mut tunnel = connector.tunnel("a.test", 7).await.unwrap();
            tunnel.write_all(&[index]).await.unwrap();
            assert_eq!(tunnel.read_u8().await.unwrap(), index);
            tunnel
        });
    }
    let open = tunnels.join_all().await;
    assert_eq!((open.len(), seen.connections()), (100, 1));
}

/// Each tunnel needs a connection, and nobody waits for somebody else's handshake.
#[tokio::test(start_paused = true)]
async fn a_proxy_of_few_streams_gets_as_many_connections_as_it_takes() {
    for (streams, tunnels, connections) in [(1, 20, 20), (5, 40, 8)] {
        let (connector, seen) = proxy(streams, 1000);
        let connector = through("http://proxy.test:3128").layer(connector);
        for round in 0..2 {
            let mut open = JoinSet::new();
            for _ in 0..tunnels {
                let mut connector = connector.clone();
                open.spawn(async move { connector.tunnel("a.test", 7).await.unwrap() });
            }
            let open = open.join_all().await;
            assert_eq!(open.len(), tunnels);
            let opened = seen.connections();
            assert!(
                opened >= connections && opened <= connections + 1,
                "{opened} in round {round}"
            );
            drop(open);
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Apache httpd serves about six CONNECTs of one connection at a time. The others get no answer until one ends.
#[tokio::test(start_paused = true)]
async fn a_connection_that_serves_few_tunnels_gets_company() {
    let (connector, seen) = proxy(1000, 6);
    let connector = through("http://proxy.test:3128").layer(connector);
    let begun = Instant::now();
    let mut tunnels = JoinSet::new();
    for _ in 0..100 {
        let mut connector = connector.clone();
        tunnels.spawn(async move { connector.tunnel("a.test", 7).await.unwrap() });
    }
    let open = tunnels.join_all().await;
    let (time, connections) = (begun.elapsed(), seen.connections());
    assert!(time < Duration::from_secs(3), "{time:?} over {connections}");
    assert!((17..=20).contains(&connections), "{connections} connections");
    drop(open);
    // It is known now.
    sleep(A_WHILE).await;
    let begun = Instant::now();
    let mut tunnels = JoinSet::new();
    for _ in 0..100 {
        let mut connector = connector.clone();
        tunnels.spawn(async move { connector.tunnel("a.test", 7).await.unwrap() });
    }
    tunnels.join_all().await;
    assert!(begun.elapsed() < A_WHILE, "{:?}", begun.elapsed());
    assert!(seen.connections() <= 20, "{}", seen.connections());
}

/// A target that nobody answers for is no fault of the proxy's.
#[tokio::test(start_paused = true)]
async fn a_target_without_an_answer_costs_other_tunnels_nothing() {
    for (open, lost) in [(1, 1), (3, 2), (1, 100), (0, 5), (10, 30)] {
        let (connector, seen) = proxy(1000, 1000);
        let layer = through("http://proxy.test:3128").with_connect_timeout(Some(Duration::from_secs(20)));
        let mut connector = layer.layer(connector);
        let mut tunnels = Vec::new();
        for _ in 0..open {
            tunnels.push(connector.tunnel("a.test", 7).await.unwrap());
        }
        sleep(Duration::from_secs(5)).await;
        let mut lost_ones = JoinSet::new();
        for _ in 0..lost {
            let mut connector = connector.clone();
            lost_ones.spawn(async move { connector.tunnel("hole.test", 7).await.map(drop).unwrap_err() });
        }
        sleep(Duration::from_secs(5)).await;
        for _ in 0..20 {
            let begun = Instant::now();
            tunnels.push(connector.tunnel("a.test", 7).await.unwrap());
            assert!(begun.elapsed() < Duration::from_millis(10), "{:?}", begun.elapsed());
        }
        lost_ones.join_all().await;
        for _ in 0..20 {
            tunnels.push(connector.tunnel("a.test", 7).await.unwrap());
        }
        let connections = seen.connections();
        assert!(
            connections <= 2,
            "{connections} connections with {open} open and {lost} lost"
        );
    }
}

/// It is tried again after a while, and whoever tries it loses a second.
#[tokio::test(start_paused = true)]
async fn the_tunnels_that_a_connection_serves_are_remembered() {
    let (connector, seen) = proxy(1000, 6);
    let mut connector = through("http://proxy.test:3128").layer(connector);
    let mut tunnels = Vec::new();
    for minute in 0..5 {
        let begun = Instant::now();
        for _ in 0..9 {
            tunnels.push(connector.tunnel("a.test", 7).await.unwrap());
        }
        let time = begun.elapsed();
        assert!(time < Duration::from_millis(2500), "{time:?} in minute {minute}");
        sleep(Duration::from_secs(61)).await;
    }
    assert!(seen.connections() <= 9, "{}", seen.connections());
}

/// A packet to the target was lost, and sent again a second later. The second way was faster.
#[tokio::test(start_paused = true)]
async fn a_target_that_is_late_once_is_forgiven() {
    let (connector, seen) = proxy(1000, 1000);
    let mut connector = through("http://proxy.test:3128").layer(connector);
    let mut tunnels = Vec::new();
    for _ in 0..2 {
        tunnels.push(connector.tunnel("a.test", 7).await.unwrap());
    }
    sleep(Duration::from_secs(5)).await;
    let begun = Instant::now();
    tunnels.push(connector.tunnel("lost.test", 7).await.unwrap());
    assert!(begun.elapsed() < Duration::from_millis(1100), "{:?}", begun.elapsed());
    assert_eq!(seen.connections(), 2);
    sleep(Duration::from_secs(61)).await;
    for _ in 0..100 {
        tunnels.push(connector.tunnel("a.test", 7).await.unwrap());
    }
    assert_eq!(seen.connections(), 2);
}
