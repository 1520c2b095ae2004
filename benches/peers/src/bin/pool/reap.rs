//! The cost of idle connections that expire: one by one while requests are made, and all at once.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tower_outbound_proxy_peers::{Page, Table};

use crate::{
    BoxError,
    contender::{Contender, Fetch, Limits, fill, hyper_util, origin, ours},
    one_shot,
};

const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
const FOREGROUND: Duration = Duration::from_secs(4);
/// The time between two foreground requests.
const PAUSE: Duration = Duration::from_millis(2);

/// Prints the results for this number of idle connections: CPU in percent of a core, the median, the 99th percentile and
/// the maximum of a request's latency in µs, and the CPU time of draining them in ms.
pub(crate) fn run(contender: Contender, connections: usize) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let limits = Limits::IdleTimeout(IDLE_TIMEOUT);
    runtime.block_on(async {
        match contender {
            Contender::Ours => reap(ours(limits)?, connections).await,
            Contender::HyperUtil => reap(hyper_util(limits), connections).await,
        }
    })
}

async fn reap<F: Fetch>(client: F, connections: usize) -> Result<(), BoxError> {
    // Opened evenly over the time-out, they expire evenly.
    let start = Instant::now();
    for step in 0..100 {
        fill(&client, part(connections, step)).await?;
        let due = IDLE_TIMEOUT * (step + 1) as u32 / 100;
        tokio::time::sleep(due.saturating_sub(start.elapsed())).await;
    }
    let (before, busy) = (cpu(), origin(usize::MAX));
    let (start, mut latencies) = (Instant::now(), Vec::new());
    while start.elapsed() < FOREGROUND {
        let since = Instant::now();
        client.fetch(&busy).await?;
        latencies.push(since.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    let load = (cpu() - before).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    latencies.sort();
    let [median, high, most] = [50, 99, 100].map(|percent| {
        let place = (latencies.len() * percent / 100).min(latencies.len() - 1);
        latencies[place].as_micros()
    });
    tokio::time::sleep(IDLE_TIMEOUT * 2).await;

    fill(&client, 0..connections).await?;
    let before = cpu();
    tokio::time::sleep(IDLE_TIMEOUT * 2 + Duration::from_secs(1)).await;
    let drain = (cpu() - before).as_millis();
    println!("{load:.1} {median} {high} {most} {drain}");
    Ok(())
}

fn part(connections: usize, step: usize) -> Range<usize> {
    connections * step / 100..connections * (step + 1) / 100
}

fn cpu() -> Duration {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(cpu.tv_sec.unsigned_abs(), cpu.tv_nsec as u32)
}

pub(crate) fn measure(page: &mut Page, connections: usize) -> Result<(), BoxError> {
    let header = [
        "",
        "idle connections",
        "CPU while they expire, % of a core",
        "a request's median, µs",
        "99 %",
        "longest",
        "CPU of draining them at once, ms",
    ];
    let mut table = Table::new(0..1, header);
    // With hardly any, for comparison.
    for connections in [100, connections] {
        for contender in [Contender::Ours, Contender::HyperUtil] {
            let line = one_shot(&["reap", contender.word(), &connections.to_string()])?;
            let cells = [contender.to_string(), connections.to_string()];
            table.row(cells.into_iter().chain(line.split_whitespace().map(str::to_owned)));
        }
    }
    page.section("pool-reap", "Idle connections that expire", table);
    Ok(())
}
