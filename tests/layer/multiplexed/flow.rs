//! No tunnel takes the bytes, the frames or the memory of another one.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};
use tower::Layer;
use tower_outbound_proxy::Proxy;
use tower_outbound_proxy_lab::{Behaviour, Http2Proxy, connector as tcp, within};

use super::{
    pipes::{DATA, HEADERS, Peer, WINDOW_UPDATE, pipes},
    through,
};

const A_WHILE: Duration = Duration::from_millis(100);

/// Starts a proxy whose tunnels to ports send frames of sizes.
async fn sending(frames: impl Fn(u16) -> Vec<usize> + Send + Sync + 'static) -> Http2Proxy {
    let proxy = Http2Proxy::builder().behave(move |request, _| {
        let (_, port) = request.target.split_once(':').unwrap();
        Behaviour::Frames(frames(port.parse().unwrap()))
    });
    proxy.start().await
}

fn server() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn client() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Reads so many bytes of a tunnel.
async fn read(tunnel: &mut (impl tokio::io::AsyncRead + Unpin), mut left: usize) {
    let mut buffer = vec![0; 64 * 1024];
    while left > 0 {
        let room = left.min(buffer.len());
        let count = within(tunnel.read(&mut buffer[..room])).await.unwrap();
        assert!(count > 0 && buffer[..count].iter().all(|byte| *byte == b'x'));
        left -= count;
    }
}

#[tokio::test]
async fn tunnels_that_are_not_read_stop_no_other_one() {
    let proxy = sending(|_| vec![16 << 10; 1000]).await;
    let mut connector = through(&proxy.url_with("")).layer(tcp());
    let mut stalled = Vec::new();
    for _ in 0..30 {
        stalled.push(within(connector.tunnel("a.test", 1)).await.unwrap());
    }
    let mut tunnel = within(connector.tunnel("a.test", 2)).await.unwrap();
    read(&mut tunnel, 16_000 << 10).await;
    // Nor do they lose anything.
    read(&mut stalled[7], 16_000 << 10).await;
    assert_eq!(proxy.connections_opened(), 1);
}

#[tokio::test]
async fn frames_that_are_tiny_or_empty_end_no_other_tunnel() {
    let server = server();
    let proxy = sending(|port| match port {
        1 => vec![1; 100_000],
        2 => vec![0; 5000],
        3 => (0..20_000).map(|index| index % 3).collect(),
        _ => vec![16 << 10; 200],
    });
    let proxy = server.spawn(proxy).await.unwrap();
    let mut connector = through(&proxy.url_with("")).layer(tcp());
    let mut tiny = within(connector.tunnel("a.test", 1)).await.unwrap();
    let _empty = within(connector.tunnel("a.test", 2)).await.unwrap();
    let mut mixed = within(connector.tunnel("a.test", 3)).await.unwrap();
    let mut tunnel = within(connector.tunnel("a.test", 4)).await.unwrap();
    read(&mut tunnel, 200 << 14).await;
    read(&mut tiny, 100_000).await;
    read(&mut mixed, 19_999).await;
    assert_eq!(proxy.connections_opened(), 1);
    server.shutdown_background();
}

/// Opens a tunnel to a port, on which everything has come after a while.
async fn filled(connector: &mut Proxy<impl tower_outbound_proxy::connector::Connector>, port: u16) -> impl Sized {
    let tunnel = within(connector.tunnel("a.test", port)).await.unwrap();
    sleep(A_WHILE).await;
    tunnel
}

/// The memory of a tunnel is bounded by its window, whatever the size of its frames.
#[test]
fn the_memory_of_a_tunnel_that_is_not_read_is_bounded() {
    let server = server();
    let proxy = server.block_on(sending(|port| match port {
        1 => vec![16 << 10; 300],
        2 => vec![1; 200_000],
        3 => vec![255; 20_000],
        4 => vec![256; 16_384],
        5 => vec![4000; 1100],
        _ => vec![16 << 10; 20_000],
    }));
    let client = client();
    let mut connector = through(&proxy.url_with("")).layer(tcp());
    let mut busy = client.block_on(async { within(connector.tunnel("a.test", 9)).await.unwrap() });
    for (port, sent) in [(1, 4 << 20), (2, 200_000), (3, 4 << 20), (4, 4 << 20), (5, 4 << 20)] {
        let mut tunnel = None;
        let memory = allocation_counter::measure(|| {
            tunnel = Some(client.block_on(async {
                let tunnel = within(connector.tunnel("a.test", port)).await.unwrap();
                // Bytes of another tunnel come between its own.
                for _ in 0..100 {
                    read(&mut busy, 100 << 10).await;
                    sleep(Duration::from_millis(2)).await;
                }
                tunnel
            }));
        });
        let (kept, most) = (memory.bytes_current, memory.bytes_max);
        println!("port {port}: {sent} bytes sent, {kept} kept, {most} at most");
        let busy_window = 9 << 20;
        assert!(
            kept < 2 * sent + (1 << 20) + busy_window,
            "port {port}: {kept} bytes are kept"
        );
        drop(tunnel);
    }
}

#[test]
fn the_memory_of_an_idle_tunnel_is_small() {
    let server = server();
    let proxy = server.block_on(sending(|_| Vec::new()));
    let client = client();
    let mut connector = through(&proxy.url_with("")).layer(tcp());
    let mut tunnels = Vec::with_capacity(400);
    client.block_on(async { drop(filled(&mut connector, 1).await) });
    let memory = allocation_counter::measure(|| {
        client.block_on(async {
            for _ in 0..400 {
                tunnels.push(within(connector.tunnel("a.test", 1)).await.unwrap());
            }
            sleep(A_WHILE).await;
        });
    });
    let each = memory.bytes_current / 400;
    println!(
        "{each} bytes for each idle tunnel, {} of stack",
        size_of_val(&tunnels[0])
    );
    assert!(each < 4096, "{each} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_whose_bytes_are_not_taken_stops_no_other_one() {
    let (connector, mut connections) = pipes();
    let mut connector = through("http://proxy.test:3128").layer(connector);
    let mut other = connector.clone();
    let first = tokio::spawn(async move { connector.tunnel("a.test", 7).await.unwrap() });
    let mut peer = Peer::accept(&mut connections).await;
    peer.allow(100).await;
    peer.window(1000).await;
    peer.next_of(HEADERS).await;
    peer.establish(1).await;
    let mut first = first.await.unwrap();
    let second = tokio::spawn(async move { other.tunnel("a.test", 7).await.unwrap() });
    peer.next_of(HEADERS).await;
    peer.establish(3).await;
    let mut second = second.await.unwrap();

    assert!(timeout(A_WHILE, first.write_all(&[1; 5000])).await.is_err());
    let frame = peer.next_of(DATA).await;
    assert_eq!((frame.stream, frame.payload.len()), (1, 1000));
    second.write_all(&[2; 900]).await.unwrap();
    let frame = peer.next_of(DATA).await;
    assert_eq!((frame.stream, frame.payload.len()), (3, 900));
}

/// A frame and its header fill one record of TLS.
#[tokio::test(start_paused = true)]
async fn a_frame_is_no_longer_than_a_record_of_tls_has_room_for() {
    let (connector, mut connections) = pipes();
    let mut connector = through("http://proxy.test:3128").layer(connector);
    let tunnel = tokio::spawn(async move { connector.tunnel("a.test", 7).await.unwrap() });
    let mut peer = Peer::accept(&mut connections).await;
    peer.allow(100).await;
    peer.next_of(HEADERS).await;
    peer.establish(1).await;
    let mut tunnel = tunnel.await.unwrap();
    tunnel.write_all(&[1; 3 * 16_375 + 1]).await.unwrap();
    for expected in [16_375, 16_375, 16_375, 1] {
        assert_eq!(peer.next_of(DATA).await.payload.len(), expected);
    }
}

/// Writers that wait for the connection's window and are given up leave it to others.
#[tokio::test(start_paused = true)]
async fn a_write_that_is_given_up_keeps_no_window() {
    let (connector, mut connections) = pipes();
    let connector = through("http://proxy.test:3128").layer(connector);
    let mut tunnels = Vec::new();
    let mut peer = None;
    for stream in [1, 3, 5, 7, 9, 11] {
        let mut connector = connector.clone();
        let tunnel = tokio::spawn(async move { connector.tunnel("a.test", 7).await.unwrap() });
        if peer.is_none() {
            peer = Some(Peer::accept(&mut connections).await);
        }
        let peer = peer.as_mut().unwrap();
        peer.allow(100).await;
        peer.next_of(HEADERS).await;
        peer.establish(stream).await;
        tunnels.push(tunnel.await.unwrap());
    }
    let mut peer = peer.unwrap();
    tunnels[0].write_all(&[0; (1 << 16) - 1]).await.unwrap();
    let mut taken = 0;
    while taken < (1 << 16) - 1 {
        taken += peer.next_of(DATA).await.payload.len();
    }
    for tunnel in &mut tunnels[1..5] {
        assert!(timeout(A_WHILE, tunnel.write_all(&[1; 100_000])).await.is_err());
    }
    peer.send(WINDOW_UPDATE, 0, 0, &30_000_u32.to_be_bytes()).await;
    sleep(A_WHILE).await;
    let written = timeout(A_WHILE, tunnels[5].write_all(&[2; 100])).await;
    assert!(written.is_ok(), "the window is lost");
    assert_eq!(peer.next_of(DATA).await.stream, 11);
}

/// Bytes are copied once between a caller's buffer and a frame.
#[test]
fn a_mebibyte_takes_few_allocations() {
    let server = server();
    let proxy = server.block_on(sending(|_| vec![16 << 10; 2048]));
    let client = client();
    let mut connector = through(&proxy.url_with("")).layer(tcp());
    let mut tunnel = client.block_on(async { within(connector.tunnel("a.test", 1)).await.unwrap() });
    client.block_on(read(&mut tunnel, 16 << 20));
    let memory = allocation_counter::measure(|| client.block_on(read(&mut tunnel, 8 << 20)));
    let (count, bytes) = (memory.count_total / 8, memory.bytes_total / 8);
    println!("{count} allocations of {bytes} bytes for each MiB that is read");
    assert!(bytes < 2 << 20, "{bytes} bytes");
}
