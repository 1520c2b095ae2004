//! The cost of a long line of waiters for a key whose limit is reached.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use tower_outbound_proxy_peers::{Page, Table};

use crate::{
    BoxError,
    contender::{Fetch, Limits, origin, ours},
    one_shot,
};

/// The limit. That many requests are in the way of the others.
const LIMIT: usize = 10;
const NUMBERS: [usize; 3] = [1000, 5000, 20_000];

type Waiting<'a> = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;

/// Prints the results for this number of waiters in ms: joining the line, being served, joining it once more, leaving it
/// from its end, and the longest that a request to another origin took meanwhile on another thread, in µs.
pub(crate) fn run(waiters: usize) -> Result<(), BoxError> {
    let client = ours(Limits::MaxConnectionsPerKey(LIMIT))?;
    let (stop, other) = (Arc::new(AtomicBool::new(false)), client.clone());
    let stopped = stop.clone();
    let other = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (target, mut longest) = (origin(1), Duration::ZERO);
            other.fetch(&target).await?;
            while !stopped.load(Relaxed) {
                let since = Instant::now();
                other.fetch(&target).await?;
                longest = longest.max(since.elapsed());
                thread::sleep(Duration::from_micros(20));
            }
            Ok::<_, BoxError>(longest)
        })
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let target = origin(0);
    let (joined, served, left) = runtime.block_on(async {
        let (line, joined) = join(&client, &target, waiters).await;
        let since = Instant::now();
        for waiting in line {
            waiting.await?;
        }
        let served = since.elapsed();
        let (line, _) = join(&client, &target, waiters).await;
        let since = Instant::now();
        // The first stays in the way.
        let mut line = line.into_iter();
        let first: Vec<_> = line.by_ref().take(LIMIT).collect();
        line.rev().for_each(drop);
        let left = since.elapsed();
        drop(first);
        Ok::<_, BoxError>((joined, served, left))
    })?;
    stop.store(true, Relaxed);
    let longest = other.join().map_err(|_| "the other thread panicked")??;
    let [joined, served, left] = [joined, served, left].map(|time| time.as_secs_f64() * 1e3);
    println!("{joined:.1} {served:.1} {left:.1} {}", longest.as_micros());
    Ok(())
}

/// Begins that many requests, none of which can go on before this returns.
async fn join<'a>(client: &'a impl Fetch, target: &'a http::Uri, waiters: usize) -> (Vec<Waiting<'a>>, Duration) {
    let mut line: Vec<Waiting<'a>> = (0..waiters).map(|_| Box::pin(client.fetch(target)) as _).collect();
    let since = Instant::now();
    for waiting in &mut line {
        poll_fn(|cx| {
            let _ = waiting.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
    }
    (line, since.elapsed())
}

pub(crate) fn measure(page: &mut Page) -> Result<(), BoxError> {
    let header = [
        "waiters",
        "joining the line, ms",
        "being served, ms",
        "leaving it, ms",
        "longest request to another origin meanwhile, µs",
    ];
    let mut table = Table::new(0..0, header);
    for waiters in NUMBERS {
        let waiters = waiters.to_string();
        let line = one_shot(&["wait", &waiters])?;
        table.row([waiters.as_str()].into_iter().chain(line.split_whitespace()));
    }
    page.section("pool-wait", "A line of waiters under a limit of 10 connections", table);
    Ok(())
}
