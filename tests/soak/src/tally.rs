//! The sums, and the verdict.

use std::{process::ExitCode, time::Duration};

use crate::caller::End;

/// The growth of the resident set that is no leak, in MiB.
const SLACK: f64 = 8.0;
/// Runs that are shorter say nothing about memory.
const LONG: Duration = Duration::from_secs(120);

/// The requests of a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// In the order of [`COLUMNS`].
    numbers: [u64; COLUMNS.len()],
    /// POSTs of which the callers know that they were not sent.
    pub(crate) unsent: Vec<u64>,
}

const COLUMNS: [&str; 10] = [
    "requests", "answered", "repeats", "broken", "refused", "given up", "lost", "doubled", "hung", "wrong",
];
const DOUBLED: usize = 7;
/// The first column of those in which there has to be nothing.
const FAULTS: usize = 6;

impl Counts {
    pub(crate) fn add(&mut self, end: End, repeated: u64) {
        let column = match end {
            End::Answered => 1,
            End::Broken => 3,
            End::Refused => 4,
            End::GivenUp => 5,
            End::Lost => 6,
            End::Hung => 8,
            End::Wrong => 9,
        };
        self.numbers[0] += 1;
        self.numbers[2] += repeated;
        self.numbers[column] += 1;
    }

    fn merge(&mut self, other: &Self) {
        for (number, other) in self.numbers.iter_mut().zip(other.numbers) {
            *number += other;
        }
        self.unsent.extend(&other.unsent);
    }

    fn print(&self, name: &str) {
        let numbers = self.numbers.iter().zip(COLUMNS);
        let cells: Vec<_> = numbers
            .map(|(number, column)| format!("{number:>0$}", column.len()))
            .collect();
        println!("| {name:<39} | {} |", cells.join(" | "));
    }
}

pub(crate) struct Tally(Vec<(String, Counts)>);

impl Tally {
    pub(crate) fn new(names: impl Iterator<Item = String>) -> Self {
        Self(names.map(|name| (name, Counts::default())).collect())
    }

    pub(crate) fn add(&mut self, (row, counts): (usize, Counts)) {
        self.0[row].1.merge(&counts);
    }

    /// Takes the POSTs that the origin has processed into account: of each request the number of times, and its row.
    pub(crate) fn compare(&mut self, processed: &[u8]) {
        for (number, post) in processed.chunks_exact(2).enumerate() {
            if post[0] > 1 {
                eprintln!("POST {number} was processed {} times", post[0]);
                self.0[usize::from(post[1])].1.numbers[DOUBLED] += 1;
            }
        }
        for (_, counts) in &mut self.0 {
            for number in &counts.unsent {
                if processed.get(*number as usize * 2).is_some_and(|times| *times > 0) {
                    eprintln!("POST {number} was processed, and told as unsent");
                    counts.numbers[DOUBLED] += 1;
                }
            }
        }
    }

    /// Prints the table and the rest, and returns the verdict.
    pub(crate) fn report(
        &self,
        elapsed: Duration,
        kills: &str,
        memory: &[(Duration, f64)],
        left: &[String],
    ) -> ExitCode {
        println!("| {:<39} | {} |", "", COLUMNS.join(" | "));
        println!(
            "|{}|{}|",
            "-".repeat(41),
            COLUMNS
                .map(|column| format!("{}:", "-".repeat(column.len() + 1)))
                .join("|")
        );
        let mut sum = Counts::default();
        for (name, counts) in &self.0 {
            counts.print(name);
            sum.merge(counts);
        }
        sum.print("all");
        let requests = sum.numbers[0];
        let rate = requests as f64 / elapsed.as_secs_f64();
        println!(
            "{requests} requests in {:.0} s: {rate:.0} a second. Killed: {kills}.",
            elapsed.as_secs_f64()
        );
        let grown = print_memory(memory, elapsed);
        for left in left {
            println!("left at the end: {left}");
        }
        let faults: u64 = sum.numbers[FAULTS..].iter().sum();
        println!(
            "{faults} requests lost, doubled, hung or wrong; {} kinds of things left at the end",
            left.len()
        );
        match faults > 0 || grown || !left.is_empty() {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}

/// Prints the resident set, and returns true if it has grown in the second half of a long run.
fn print_memory(samples: &[(Duration, f64)], elapsed: Duration) -> bool {
    let median = |from: u32, to: u32| {
        let within = samples
            .iter()
            .filter(|(at, _)| *at * 8 >= elapsed * from && *at * 8 < elapsed * to);
        let mut values: Vec<_> = within.map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    let eighths: Vec<_> = (0..8).map(|eighth| median(eighth, eighth + 1)).collect();
    let shown: Vec<_> = eighths.iter().map(|value| format!("{value:.1}")).collect();
    println!("Resident MiB, by eighths of the time: {}", shown.join(", "));
    let grown = eighths[7] - eighths[4];
    let is_grown = elapsed > LONG && grown > SLACK;
    if is_grown {
        println!("memory has grown by {grown:.1} MiB in the second half");
    }
    is_grown
}
