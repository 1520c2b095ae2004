//! Command line: which seeds run, on how many threads, and the report.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    ops::Range,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    invariants::{Invariant, Violation},
    seed::{self, Outcome},
    world::lock,
};

const USAGE: &str = "\
usage: tower-outbound-proxy-simulation [OPTION]...

  --seed N             runs one seed, twice, and prints what happens
  --seeds A..B         runs the seeds from A to B, without B
  --random COUNT       runs so many seeds from a random one on, which is printed
  --threads N          threads (default: one for each core)
  --without RULE,...   runs without these rules:
";

/// One seed in so many runs twice, to see that it has one trace.
const TWICE: u64 = 16;
/// The failures that are printed of each rule.
const PRINTED: u64 = 3;

/// The time in which every seed ends, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Arguments {
    seed: Option<u64>,
    ranges: Vec<Range<u64>>,
    threads: usize,
    without: Vec<Invariant>,
}

pub(crate) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let Some(arguments) = parse(arguments) else {
        eprint!("{USAGE}");
        for invariant in Invariant::ALL {
            eprintln!("      {:<16} {}", invariant.name(), invariant.rule());
        }
        return ExitCode::from(2);
    };
    seed::collect_panics();
    let passed = match arguments.seed {
        Some(seed) => replay(seed, &arguments.without),
        None => arguments.ranges.iter().all(|range| Run::new(range, &arguments).run()),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut given: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments {
        threads: thread::available_parallelism().map_or(1, usize::from),
        ..Arguments::default()
    };
    while let Some(option) = given.next() {
        let value = given.next()?;
        match &*option {
            "--seed" => arguments.seed = Some(value.parse().ok()?),
            "--seeds" => {
                let (start, end) = value.split_once("..")?;
                arguments.ranges.push(start.parse().ok()?..end.parse().ok()?);
            }
            "--random" => {
                // The standard library's hash is keyed by the system's random numbers.
                let start = RandomState::new().hash_one(0) >> 16;
                arguments.ranges.push(start..start + value.parse::<u64>().ok()?);
            }
            "--threads" => arguments.threads = value.parse().ok()?,
            "--without" => {
                for name in value.split(',') {
                    let known = Invariant::ALL.into_iter().find(|invariant| invariant.name() == name);
                    arguments.without.push(known?);
                }
            }
            _ => return None,
        }
    }
    (arguments.seed.is_some() || !arguments.ranges.is_empty()).then_some(arguments)
}

/// Prints what happens under a seed, and runs it again in silence.
fn replay(number: u64, without: &[Invariant]) -> bool {
    let mut outcome = seed::run(number, true, without);
    compare(&mut outcome, &seed::run(number, false, without), without);
    println!();
    for violation in &outcome.violations {
        println!("seed {number}: {}\n    {}", violation.invariant, violation.text);
    }
    let Outcome { hash, happenings, .. } = outcome;
    println!("trace {hash:016x} of {happenings} events");
    outcome.violations.is_empty()
}

fn compare(first: &mut Outcome, second: &Outcome, without: &[Invariant]) {
    if first.hash != second.hash && !without.contains(&Invariant::Determinism) {
        first.violations.push(Violation {
            invariant: Invariant::Determinism,
            text: format!("{} and {} happenings", first.happenings, second.happenings),
        });
    }
}

/// A range of seeds on several threads.
struct Run<'a> {
    range: &'a Range<u64>,
    arguments: &'a Arguments,
    next: AtomicU64,
    started: Instant,
    totals: Mutex<Totals>,
    /// When each began.
    running: Mutex<BTreeMap<u64, Instant>>,
}

#[derive(Default)]
struct Totals {
    seeds: u64,
    happenings: u64,
    requests: u64,
    connections: u64,
    virtual_time: Duration,
    failed: BTreeMap<Invariant, u64>,
    failed_seeds: u64,
}

impl<'a> Run<'a> {
    fn new(range: &'a Range<u64>, arguments: &'a Arguments) -> Self {
        Self {
            range,
            arguments,
            next: AtomicU64::new(range.start),
            started: Instant::now(),
            totals: Mutex::default(),
            running: Mutex::default(),
        }
    }

    fn run(&self) -> bool {
        println!(
            "seeds {}..{} on {} threads",
            self.range.start, self.range.end, self.arguments.threads
        );
        thread::scope(|scope| {
            for _ in 0..self.arguments.threads {
                scope.spawn(|| self.work());
            }
            scope.spawn(|| self.watch());
        });
        let totals = lock(&self.totals);
        self.report(&totals);
        for (invariant, seeds) in &totals.failed {
            println!("{seeds} seeds failed by {invariant}");
        }
        totals.failed_seeds == 0
    }

    fn work(&self) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.range.end {
                return;
            }
            let without = &self.arguments.without;
            lock(&self.running).insert(number, Instant::now());
            let mut outcome = seed::run(number, false, without);
            if number % TWICE == 0 || !outcome.violations.is_empty() {
                compare(&mut outcome, &seed::run(number, false, without), without);
            }
            self.add(number, &outcome);
            lock(&self.running).remove(&number);
        }
    }

    /// Ends the process if a seed does not end: a task that is never done with its work stops the clock.
    fn watch(&self) {
        while lock(&self.totals).seeds < self.range.end.saturating_sub(self.range.start) {
            thread::sleep(Duration::from_millis(100));
            let running = lock(&self.running);
            let stuck = running.iter().find(|(_, started)| started.elapsed() > PATIENCE);
            if let Some((number, _)) = stuck {
                println!("seed {number} has not ended after {PATIENCE:?}: its clock stands still");
                std::process::exit(1);
            }
        }
    }

    fn add(&self, number: u64, outcome: &Outcome) {
        let mut totals = lock(&self.totals);
        totals.seeds += 1;
        totals.happenings += outcome.happenings;
        totals.requests += outcome.requests;
        totals.connections += outcome.connections;
        totals.virtual_time += outcome.virtual_time;
        totals.failed_seeds += u64::from(!outcome.violations.is_empty());
        let mut told = Vec::new();
        for violation in &outcome.violations {
            if told.contains(&violation.invariant) {
                continue;
            }
            told.push(violation.invariant);
            let failed = totals.failed.entry(violation.invariant).or_default();
            *failed += 1;
            if *failed <= PRINTED {
                println!(
                    "seed {number} failed by {}\n    {}",
                    violation.invariant, violation.text
                );
                println!(
                    "    cargo run --profile simulation --package tower-outbound-proxy-simulation -- --seed {number}"
                );
            }
        }
        if totals.seeds % 100_000 == 0 {
            self.report(&totals);
        }
    }

    fn report(&self, totals: &Totals) {
        let took = self.started.elapsed().as_secs_f64();
        let rate = |count: u64| (count as f64 / took) as u64;
        println!(
            "{} seeds, {} failed, in {took:.1} s ({} a second); {} requests over {} connections, {} events ({} a second), \
             {} hours of simulated time",
            totals.seeds,
            totals.failed_seeds,
            rate(totals.seeds),
            totals.requests,
            totals.connections,
            totals.happenings,
            rate(totals.happenings),
            totals.virtual_time.as_secs() / 3600,
        );
    }
}
