//! A million requests through Squid, Apache httpd, nghttpx and tinyproxy, which are killed (SIGKILL) and started again at random.
//!
//! ```text
//! cargo run --release --package tower-outbound-proxy-soak -- [--requests N] [--minutes M] [--seed S]
//! ```
//!
//! It ends after so many requests (a million by default) or so many minutes, whichever comes first; `--minutes` alone
//! is without a number of requests. Origins and proxies are in a process of their own ([`far`]), so that the memory, the
//! sockets and the tasks of this one are the client's.
//!
//! Each request has a number, which the origin counts when it has read the whole request. Callers repeat what is safe to
//! repeat. The table shows how the requests of each way ended, and the exit code is 1 if one of them was lost, doubled,
//! hung or wrong, or if anything is left at the end.

mod caller;
mod far;
mod memory;
mod pattern;
mod tally;
mod ways;

use std::{
    env, fs,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, task::JoinSet};
use tower::BoxError;

use crate::{caller::Caller, far::Far, memory::Memory, tally::Tally};

/// The callers of each way, which is also the limit of its connections to one key: Apache's threads are few.
const CALLERS: usize = 4;

struct Options {
    requests: u64,
    duration: Duration,
    seed: u64,
}

/// The end of the run, which callers ask for their next request.
struct Supply {
    next: AtomicU64,
    options: Options,
    start: Instant,
}

impl Supply {
    /// Returns the number of a request that nobody else makes.
    fn next(&self) -> Option<u64> {
        if self.start.elapsed() > self.options.duration {
            return None;
        }
        let number = self.next.fetch_add(1, Relaxed);
        (number < self.options.requests).then_some(number)
    }
}

fn main() -> Result<ExitCode, BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build()?;
    match &arguments[..] {
        [role, folder, seed] if role == "far" => {
            runtime.block_on(far::run(folder.as_ref(), seed.parse()?))?;
            Ok(ExitCode::SUCCESS)
        }
        _ => runtime.block_on(soak(options(arguments)?)),
    }
}

fn options(arguments: Vec<String>) -> Result<Options, BoxError> {
    let (mut requests, mut minutes, mut seed) = (None, None, 1);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--requests" => requests = Some(value()?.parse()?),
            "--minutes" => minutes = Some(value()?.parse::<f64>()?),
            "--seed" => seed = value()?.parse()?,
            _ => return Err(format!("unknown argument `{argument}`").into()),
        }
    }
    Ok(Options {
        requests: requests.unwrap_or(if minutes.is_some() { u64::MAX } else { 1_000_000 }),
        duration: minutes.map_or(Duration::MAX, |minutes| Duration::from_secs_f64(minutes * 60.0)),
        seed,
    })
}

async fn soak(options: Options) -> Result<ExitCode, BoxError> {
    let folder = tempfile::tempdir()?;
    let mut far = Far::start(folder.path(), options.seed)?;
    let addresses = far.ready().await?;
    let sockets = open_files()?;
    let tasks = alive_tasks();

    let seed = options.seed;
    let supply = Arc::new(Supply {
        next: AtomicU64::new(0),
        options,
        start: Instant::now(),
    });
    let mut callers = JoinSet::new();
    let mut clients = Vec::new();
    for (row, way) in ways::all(&addresses, CALLERS)?.into_iter().enumerate() {
        for number in 0..CALLERS {
            let caller = Caller::new(row, &way, seed.wrapping_mul(1000) + (row * CALLERS + number) as u64);
            callers.spawn(caller.run(supply.clone()));
        }
        clients.push((way.name, way.client));
    }
    let memory = tokio::spawn(Memory::sample(supply.start));
    let mut tally = Tally::new(clients.iter().map(|(name, _)| name.clone()));
    while let Some(calls) = callers.join_next().await {
        tally.add(calls?);
    }
    let elapsed = supply.start.elapsed();
    memory.abort();
    let kills = far.stop().await?;
    tally.compare(&fs::read(folder.path().join(far::PROCESSED))?);

    // All that may be left of the requests is idle connections, and of the clients nothing.
    let settled = || clients.iter().all(|(_, client)| ways::is_idle(client));
    let mut left = Vec::new();
    if !eventually(settled).await {
        left.extend(
            clients
                .iter()
                .filter(|(_, client)| !ways::is_idle(client))
                .map(|(name, client)| format!("{name}: {:?}", client.stats())),
        );
    }
    drop(clients);
    if !eventually(|| alive_tasks() <= tasks).await {
        left.push(format!("{} tasks", alive_tasks() - tasks));
    }
    if !eventually(|| open_files().is_ok_and(|open| open <= sockets)).await {
        left.push(format!("{} open files", open_files()? - sockets));
    }
    Ok(tally.report(elapsed, &kills, &Memory::samples(), &left))
}

async fn eventually(condition: impl Fn() -> bool) -> bool {
    for _ in 0..500 {
        if condition() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

fn open_files() -> Result<usize, BoxError> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}
