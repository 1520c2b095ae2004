//! HTTP/1.1: connections that end without an announcement.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tower_outbound_proxy_lab::{Ca, Dice, connector};

use crate::{
    DURATION, Processed, Shared, StressClient, builder, request, runtime, send, serve, timed::race, watch::Watch,
};

/// The number of requests at a time.
const CALLERS: usize = 12;

/// The longest time from a response to the end of its connection, in nanoseconds.
const CLOSES_AFTER: u64 = 150_000;

/// Answers requests. `closes` is the time from a response to the end of its connection.
async fn answer(mut io: TcpStream, processed: Arc<Processed>, closes: Option<Duration>) {
    let mut read = Vec::with_capacity(1024);
    while io.read_buf(&mut read).await.is_ok_and(|length| length > 0) {
        // The head ends with a blank line, and the body has eight bytes.
        let end = read.len().saturating_sub(8);
        if !read[..end].ends_with(b"\r\n\r\n") {
            continue;
        }
        let body = processed.answer(Bytes::copy_from_slice(&read[end..]));
        let response = [b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n", &body[..]].concat();
        if io.write_all(&response).await.is_err() {
            return;
        }
        read.clear();
        if let Some(closes) = closes {
            let since = Instant::now();
            while since.elapsed() < closes {
                std::hint::spin_loop();
            }
            return;
        }
    }
}

/// Starts a server in a thread of its own, which closes each connection after a response, if it does.
fn start(processed: &Arc<Processed>, closes: bool) -> SocketAddr {
    let (processed, dice) = (processed.clone(), Shared::default());
    serve(move |io| {
        let closes = closes.then(|| Duration::from_nanos(dice.roll(CLOSES_AFTER)));
        answer(io, processed.clone(), closes)
    })
}

#[test]
fn a_connection_can_end_in_any_nanosecond_of_a_request() {
    let processed = Arc::default();
    let addr = start(&processed, false);
    race(&Ca::new(), format!("http://{addr}/"), processed);
}

/// Callers that wait for few connections, each of which the server closes after a response, and of which some give up.
#[test]
fn connections_end_behind_their_responses() {
    let (processed, runtime) = (Arc::default(), runtime(2));
    let url = format!("http://{}/", start(&processed, true));
    let limited = builder(&Ca::new()).connector(connector()).max_connections_per_key(2);
    let client: StressClient = limited.build().unwrap();
    let watch = Watch::new(CALLERS);
    for caller in 0..CALLERS {
        let (client, url, watch, processed) = (client.clone(), url.clone(), watch.clone(), processed.clone());
        runtime.spawn(async move {
            let mut dice = Dice::new(caller as u64);
            for number in (caller as u64..).step_by(CALLERS) {
                if !watch.goes_on() {
                    break;
                }
                watch.begins(caller);
                let sending = send(&client, request(&url, number), number, &processed);
                let outcome = match dice.roll(4) {
                    0 => timeout(Duration::from_millis(dice.roll(3)), sending).await.ok(),
                    _ => Some(sending.await),
                };
                watch.ends(caller, outcome);
            }
        });
    }
    watch.watch(&client, DURATION);
}
