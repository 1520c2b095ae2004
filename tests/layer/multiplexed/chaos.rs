//! Thousands of tunnels that are opened, used and dropped at random through a proxy that fails at random: each carries
//! its own bytes and no others, and nothing is left of them.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use h2::Reason;
use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tower::Layer;
use tower_outbound_proxy::connector::Http2Settings;
use tower_outbound_proxy_lab::{Behaviour, Dice, Http2Proxy, connector as tcp, within};

use super::through;

/// The byte of a tunnel at a place: no two tunnels agree for long.
fn byte(tunnel: u64, at: u64) -> u8 {
    let mixed = ((tunnel << 32) | (at / 8)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_be_bytes()[usize::try_from(at % 8).unwrap()]
}

fn bytes(tunnel: u64, from: u64, count: u64) -> Vec<u8> {
    (from..from + count).map(|at| byte(tunnel, at)).collect()
}

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .unwrap()
}

/// Starts a server that sends back what it receives.
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = near.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    addr
}

async fn failing(seed: u64) -> Http2Proxy {
    let requests = AtomicU64::new(0);
    let proxy = Http2Proxy::builder().map("echo.test:7", echo().await);
    let proxy = proxy.tune(|builder| {
        // Small windows are exhausted often.
        builder
            .initial_window_size(20_000)
            .initial_connection_window_size(100_000)
            .max_concurrent_streams(50)
            .max_concurrent_reset_streams(1000)
            .max_pending_accept_reset_streams(1000);
    });
    let proxy = proxy.behave(move |_, _| {
        let mut dice = Dice::new(seed ^ requests.fetch_add(1, Ordering::Relaxed));
        match dice.roll(400) {
            0 => Behaviour::HangUp,
            1..4 => Behaviour::GoAway,
            4..14 => Behaviour::Reset(Reason::REFUSED_STREAM),
            14..20 => Behaviour::Reset(Reason::CONNECT_ERROR),
            20..30 => Behaviour::Refuse(StatusCode::FORBIDDEN),
            30..40 => Behaviour::SayAndReset(vec!["x".into()], Reason::CANCEL),
            40..80 => Behaviour::ServeLate(Duration::from_millis(dice.roll(20))),
            _ => Behaviour::Serve,
        }
    });
    proxy.start().await
}

/// Sends bytes through a tunnel and reads them back, or gives up at some point.
async fn exchange(
    tunnel: impl AsyncRead + AsyncWrite + Unpin,
    number: u64,
    dice: &mut Dice,
) -> Result<bool, io::Error> {
    let total = match dice.roll(10) {
        0 => 60_000,
        1..4 => dice.roll(10_000),
        _ => dice.roll(1500),
    };
    let leaves_at = match dice.roll(4) == 0 {
        true => dice.roll(total + 1),
        false => u64::MAX,
    };
    let (is_slow, piece) = (dice.roll(20) == 0, 1 + dice.roll(30_000));
    let (mut read, mut write) = tokio::io::split(tunnel);
    let sending = async move {
        let mut sent = 0;
        while sent < total {
            let count = piece.min(total - sent);
            write.write_all(&bytes(number, sent, count)).await?;
            sent += count;
        }
        write.shutdown().await?;
        Ok::<_, io::Error>(write)
    };
    let receiving = async {
        let (mut received, mut buffer) = (0, vec![0; 8192]);
        loop {
            if received >= leaves_at {
                return Ok::<_, io::Error>(None);
            }
            if is_slow {
                sleep(Duration::from_millis(1)).await;
            }
            let count = read.read(&mut buffer).await? as u64;
            if count == 0 {
                return Ok(Some(received));
            }
            let got = &buffer[..usize::try_from(count).unwrap()];
            assert!(
                got == bytes(number, received, count) || (received == 0 && got == b"x"),
                "tunnel {number} at {received} of {total}"
            );
            received += count;
        }
    };
    tokio::pin!(receiving);
    tokio::pin!(sending);
    let mut whole = None;
    loop {
        tokio::select! {
            received = &mut receiving => {
                let Some(received) = received? else { return Ok(false) };
                assert_eq!(received, total, "tunnel {number} has an end before its end");
                return Ok(true);
            }
            sent = &mut sending, if whole.is_none() => whole = Some(sent?),
        }
    }
}

fn run(seed: u64, count: u64, at_once: usize) {
    let (servers, clients) = (runtime(1), runtime(2));
    let proxy = servers.block_on(failing(seed));
    let [whole, broken, ended] = std::array::from_fn(|_| Arc::new(AtomicUsize::new(0)));
    clients.block_on(async {
        let settings = Http2Settings::default().max_connections(20);
        let layer = through(&proxy.url_with("")).with_http2(settings);
        let connector = layer.layer(tcp());
        let room = Arc::new(Semaphore::new(at_once));
        for number in 0..count {
            let permit = room.clone().acquire_owned().await.unwrap();
            let (mut connector, whole) = (connector.clone(), whole.clone());
            let (broken, ended) = (broken.clone(), ended.clone());
            tokio::spawn(async move {
                let mut dice = Dice::new(seed.wrapping_add(number << 20));
                let patience = match dice.roll(5) == 0 {
                    true => Duration::from_micros(dice.roll(3000)),
                    false => Duration::from_secs(30),
                };
                if let Ok(Ok(tunnel)) = timeout(patience, connector.tunnel("echo.test", 7)).await {
                    let life = match dice.roll(10) == 0 {
                        true => Duration::from_micros(dice.roll(3000)),
                        false => Duration::from_secs(30),
                    };
                    match timeout(life, exchange(tunnel, number, &mut dice)).await {
                        Ok(Ok(true)) => drop(whole.fetch_add(1, Ordering::Relaxed)),
                        Ok(Err(_)) => drop(broken.fetch_add(1, Ordering::Relaxed)),
                        Ok(Ok(false)) => {}
                        Err(_) => assert!(life < Duration::from_secs(30), "tunnel {number} hangs"),
                    }
                }
                ended.fetch_add(1, Ordering::Relaxed);
                drop(permit);
            });
        }
        let all = u32::try_from(at_once).unwrap();
        let done = timeout(Duration::from_secs(60), room.acquire_many(all)).await;
        assert!(done.is_ok(), "{} of {at_once} hang", at_once - room.available_permits());
        assert_eq!(ended.load(Ordering::Relaxed) as u64, count, "some have failed");
        // Whatever has happened, the next one works.
        for _ in 0..50 {
            let _ = within(connector.clone().tunnel("echo.test", 7)).await;
        }
        within(async {
            while proxy.tunnels_open() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        drop(connector);
        within(proxy.idle()).await;
        within(async {
            while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    });
    let (whole, broken) = (whole.load(Ordering::Relaxed), broken.load(Ordering::Relaxed));
    let connections = proxy.connections_opened();
    println!("seed {seed}: {whole} of {count} whole, {broken} broken, {connections} connections");
    assert!(whole as u64 > count / 3, "{whole} of {count}");
}

#[test]
fn ten_thousand_tunnels_at_random_leave_nothing_and_mix_nothing() {
    run(1, 10_000, 200);
}

#[test]
#[ignore = "takes minutes: `cargo test --release --test promises chaos -- --ignored`"]
fn many_seeds_of_tunnels_at_random() {
    for seed in 2..40 {
        run(seed, 20_000, 400);
    }
}
