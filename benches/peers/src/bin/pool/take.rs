//! The cost of a request that takes an idle connection and gives it back, by the number of other idle origins.

use std::io::{self, BufRead};

use rustix::time::{ClockId, clock_gettime};
use tower_outbound_proxy_peers::{Page, Table, chart};

use crate::{
    BoxError,
    contender::{Contender, Fetch, Limits, fill, hyper_util, origin, ours},
    counting::allocations,
    process::{Cores, Process},
};

/// The numbers of other idle origins.
const ORIGINS: [usize; 3] = [10, 1000, 10_000];
const BATCH: usize = 2000;

/// Does a batch of requests for each line of standard input, and prints its CPU time per request in nanoseconds and the
/// number of allocations per request.
pub(crate) fn run(contender: Contender, limits: Limits, origins: usize) -> Result<(), BoxError> {
    match contender {
        Contender::Ours => batches(|| ours(limits), origins),
        Contender::HyperUtil => batches(|| Ok(hyper_util(limits)), origins),
    }
}

fn batches<F: Fetch>(build: impl Fn() -> Result<F, BoxError>, origins: usize) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = build()?;
    runtime.block_on(fill(&client, 0..origins + 1))?;
    println!("ready");
    // It is the first that became idle, and an idle origin like all others.
    let target = origin(0);
    for line in io::stdin().lock().lines() {
        line?;
        let (cpu, calls) = (cpu_nanos(), allocations());
        runtime.block_on(async {
            for _ in 0..BATCH {
                client.fetch(&target).await?;
            }
            Ok::<_, BoxError>(())
        })?;
        let (cpu, calls) = ((cpu_nanos() - cpu) as f64, (allocations() - calls) as f64);
        println!("{} {}", cpu / BATCH as f64, calls / BATCH as f64);
    }
    Ok(())
}

fn cpu_nanos() -> u64 {
    let cpu = clock_gettime(ClockId::ThreadCPUTime);
    (cpu.tv_sec * 1_000_000_000 + cpu.tv_nsec).unsigned_abs()
}

struct Cell {
    process: Process,
    nanos: f64,
    allocations: f64,
}

impl Cell {
    fn start(contender: Contender, limits: &str, origins: usize, core: usize) -> Result<Self, BoxError> {
        let number = origins.to_string();
        let mut process = Process::this(&["take", contender.word(), limits], number.as_ref(), core)?;
        process.answer()?;
        Ok(Self {
            process,
            nanos: f64::INFINITY,
            allocations: f64::INFINITY,
        })
    }

    fn batch(&mut self) -> Result<(), BoxError> {
        let line = self.process.ask("")?;
        let (nanos, allocations) = line.trim().split_once(' ').ok_or("the client ended")?;
        self.nanos = self.nanos.min(nanos.parse()?);
        self.allocations = self.allocations.min(allocations.parse()?);
        Ok(())
    }
}

/// Measures all rows. In a round, each of a row's contenders does a batch.
pub(crate) fn measure(page: &mut Page, rounds: usize) -> Result<(), BoxError> {
    let core = Cores::find()?.client;
    let header = ["limits".to_owned()].into_iter().chain(
        [Contender::Ours, Contender::HyperUtil]
            .iter()
            .flat_map(|contender| ORIGINS.map(|origins| format!("{contender}, {origins}"))),
    );
    let mut time = Table::new(0..1, header.chain(["allocations".to_owned()]));
    let (mut lines, mut worst) = (Vec::new(), (1.0, String::new()));
    for limits in Limits::WORDS {
        let contenders = match limits.parse::<Limits>()?.has_peer() {
            true => &[Contender::Ours, Contender::HyperUtil][..],
            false => &[Contender::Ours],
        };
        let mut cells = Vec::new();
        for contender in contenders {
            for origins in ORIGINS {
                cells.push(Cell::start(*contender, limits, origins, core)?);
            }
        }
        for round in 0..rounds {
            for turn in 0..cells.len() {
                let turn = (round + turn) % cells.len();
                cells[turn].batch()?;
            }
        }
        let mut row = vec![format!("`{limits}`")];
        for cells in cells.chunks(ORIGINS.len()) {
            for (n, cell) in cells.iter().enumerate() {
                let ratio = cell.nanos / cells[0].nanos;
                row.push(match n {
                    0 => format!("{:.0}", cell.nanos),
                    _ => format!("{:.0} (×{ratio:.2})", cell.nanos),
                });
            }
        }
        row.resize(1 + 2 * ORIGINS.len(), "–".to_owned());
        let allocations = cells
            .chunks(ORIGINS.len())
            .map(|cells| format!("{:.1}", cells[2].allocations));
        row.push(allocations.collect::<Vec<_>>().join(", "));
        time.row(row);
        let ratio = cells[2].nanos / cells[0].nanos;
        if ratio > worst.0 {
            worst = (ratio, limits.to_owned());
        }
        for (contender, cells) in contenders.iter().zip(cells.chunks(ORIGINS.len())) {
            if limits == "none" || limits == "all" {
                let points = ORIGINS
                    .iter()
                    .zip(cells)
                    .map(|(origins, cell)| (*origins as f64, cell.nanos));
                lines.push((format!("{contender}, limits: {limits}"), points.collect()));
            }
        }
    }
    page.section("pool-take", "CPU time of a request over an idle connection, ns", time);
    let texts = chart::Texts {
        title: "A request over an idle connection",
        x: "other idle origins",
        y: "CPU time, ns",
    };
    page.chart(
        "pool-take",
        chart::lines(texts, &lines, |x| format!("{x}"), |y| format!("{y}"))?,
    );
    let (ratio, limits) = worst;
    match ratio <= 1.1 {
        true => println!("\ngoal: the same at 10 and at 10,000 origins, within 10 %: reached"),
        false => println!(
            "\ngoal: the same at 10 and at 10,000 origins, within 10 %: **missed**: ×{ratio:.2} with `{limits}`"
        ),
    }
    Ok(())
}
