//! Requests per second on several threads.

use std::time::{Duration, Instant};

use tower_outbound_proxy_peers::{Page, Table};

use crate::{
    BoxError,
    contender::{Contender, Fetch, Limits, fill, hyper_util, origin, ours},
    one_shot,
};

const THREADS: [usize; 3] = [1, 2, 4];
const ORIGINS: [usize; 2] = [1, 64];
const CONCURRENCY: usize = 64;
const DURATION: Duration = Duration::from_millis(700);

/// Prints the number of requests per second.
pub(crate) fn run(contender: Contender, threads: usize, origins: usize) -> Result<(), BoxError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(threads).enable_all().build()?;
    let limits = Limits::IdleTimeout(Duration::from_secs(90));
    let rate = runtime.block_on(async {
        match contender {
            Contender::Ours => rate(ours(limits)?, origins).await,
            Contender::HyperUtil => rate(hyper_util(limits), origins).await,
        }
    })?;
    println!("{rate}");
    Ok(())
}

async fn rate<F: Fetch>(client: F, origins: usize) -> Result<f64, BoxError> {
    fill(&client, 0..origins).await?;
    let mut tasks = tokio::task::JoinSet::new();
    let start = Instant::now();
    for task in 0..CONCURRENCY {
        let client = client.clone();
        tasks.spawn(async move {
            let mut done = 0;
            for number in task.. {
                if start.elapsed() > DURATION {
                    break;
                }
                client.fetch(&origin(number % origins)).await?;
                done += 1;
            }
            Ok::<_, BoxError>(done)
        });
    }
    let mut done = 0;
    while let Some(task) = tasks.join_next().await {
        done += task??;
    }
    Ok(f64::from(done) / start.elapsed().as_secs_f64())
}

pub(crate) fn measure(page: &mut Page, rounds: usize) -> Result<(), BoxError> {
    let header = ["threads", "origins", "this crate", "hyper-util"];
    let mut table = Table::new(0..0, header);
    for origins in ORIGINS {
        for threads in THREADS {
            let mut best = [0_f64; 2];
            let contenders = [Contender::Ours, Contender::HyperUtil];
            for _ in 0..rounds {
                for (contender, best) in contenders.iter().zip(&mut best) {
                    let line = one_shot(&["threads", contender.word(), &threads.to_string(), &origins.to_string()])?;
                    *best = best.max(line.trim().parse()?);
                }
            }
            let [ours, theirs] = best;
            table.row([
                threads.to_string(),
                origins.to_string(),
                format!("{:.0}k", ours / 1e3),
                format!("{:.0}k (×{:.2})", theirs / 1e3, theirs / ours),
            ]);
        }
    }
    page.section("pool-threads", "Requests per second, 64 at a time", table);
    Ok(())
}
