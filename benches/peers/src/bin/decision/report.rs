//! The tables.

use crate::{Answer, TARGET, URI};

/// One contender's result in one case.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    /// Decisions in a batch.
    pub(crate) count: u64,
    pub(crate) nanos: f64,
    pub(crate) allocations: u64,
    pub(crate) answer: Answer,
}

/// All results so far.
#[derive(Default)]
pub(crate) struct Report(Vec<Row>);

struct Row {
    entries: usize,
    place: &'static str,
    cells: Vec<Cell>,
}

impl Row {
    fn cell(&self, name: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.name == name)
    }

    /// How often this crate's time goes into another's.
    fn ratio(&self, ours: &str, other: &str) -> Option<f64> {
        Some(self.cell(other)?.nanos / self.cell(ours)?.nanos)
    }
}

impl Report {
    pub(crate) fn add(&mut self, entries: usize, place: &'static str, cells: Vec<Cell>) {
        self.0.push(Row { entries, place, cells });
    }

    pub(crate) fn print(&self, batches: usize, go: Option<&str>) {
        println!("Nanoseconds per decision, least of {batches} batches; in brackets, times ours.");
        if let Some(version) = go {
            println!("Go is `net/http.ProxyFromEnvironment` of {version}, in a process of its own.");
        }
        let from_url = [URI, "hyper-util 0.1.21", "proxyvars 0.2.0", "env_proxy 0.4.1", "Go"];
        self.table("From a URL", &from_url);
        self.table("From a host", &[TARGET, "no-proxy 0.3.7"]);
        println!("\n† another answer than ours. The order in which no-proxy looks is another in every process.");
        self.allocations();
        self.goals();
    }

    /// The first column's contender is ours.
    fn table(&self, title: &str, names: &[&str]) {
        let names: Vec<_> = names.iter().filter(|name| self.0[0].cell(name).is_some()).collect();
        println!("\n## {title}\n");
        print!("| entries | place |");
        names.iter().for_each(|name| print!(" {name} |"));
        print!("\n|---:|---|");
        names.iter().for_each(|_| print!("---:|"));
        println!();
        for row in &self.0 {
            print!("| {} | {} |", row.entries, row.place);
            for name in &names {
                let Some(cell) = row.cell(name) else { continue };
                let differs = row.cell(TARGET).is_some_and(|ours| ours.answer != cell.answer);
                let mark = if differs { " †" } else { "" };
                match row.ratio(names[0], name) {
                    Some(ratio) if cell.name != *names[0] => print!(" {:.0} ({}){mark} |", cell.nanos, times(ratio)),
                    _ => print!(" {:.1} |", cell.nanos),
                }
            }
            println!();
        }
    }

    fn allocations(&self) {
        println!("\n## Allocations per decision\n\n| | fewest | most |\n|---|---:|---:|");
        for cell in &self.0[0].cells {
            let of_all = || {
                self.0
                    .iter()
                    .filter_map(|row| row.cell(cell.name))
                    .map(|cell| cell.allocations)
            };
            let (fewest, most) = (of_all().min().unwrap_or(0), of_all().max().unwrap_or(0));
            println!("| {} | {fewest} | {most} |", cell.name);
        }
    }

    /// The numbers to reach, and what was reached.
    fn goals(&self) {
        println!("\n## Goals\n\n| goal | measured | |\n|---|---|---|");
        let misses = |entries| {
            let rows = self
                .0
                .iter()
                .filter(move |row| row.entries == entries && row.place == "miss");
            rows.filter_map(|row| row.ratio(URI, "hyper-util 0.1.21"))
                .fold(f64::INFINITY, f64::min)
        };
        for (entries, goal) in [(1, 3.0), (100, 10.0), (10_000, 1_000.0)] {
            let ratio = misses(entries);
            goal_line(
                &format!("a miss among {entries}, from `&Uri`, {goal} times faster than hyper-util"),
                &times(ratio),
                ratio >= goal,
            );
        }
        let growth = self
            .0
            .iter()
            .filter(|row| row.entries == 10_000)
            .filter_map(|large| {
                let small = self
                    .0
                    .iter()
                    .find(|small| small.entries == 1 && small.place == large.place)?;
                Some((large.cell(URI)?.nanos / small.cell(URI)?.nanos, large.place))
            })
            .fold((0.0, ""), |most, one| if one.0 > most.0 { one } else { most });
        goal_line(
            "less than twice the time from 1 to 10,000 entries, from `&Uri`",
            &format!("{} ({})", times(growth.0), growth.1),
            growth.0 < 2.0,
        );
        let slower: Vec<_> = self
            .0
            .iter()
            .filter_map(|row| {
                let ours = row.cell(TARGET)?;
                let peers = row.cells.iter().filter(|cell| ![URI, TARGET].contains(&cell.name));
                let fastest = peers.min_by(|a, b| a.nanos.total_cmp(&b.nanos))?;
                (ours.nanos > fastest.nanos).then(|| {
                    format!(
                        "{} {}: {:.1} against {:.1} of {}",
                        row.entries, row.place, ours.nanos, fastest.nanos, fastest.name
                    )
                })
            })
            .collect();
        goal_line(
            "from `&Target` no slower than the fastest peer, at any size and place",
            &match slower.is_empty() {
                true => "everywhere".to_owned(),
                false => format!("not at {}", slower.join("; ")),
            },
            slower.is_empty(),
        );
    }
}

fn goal_line(goal: &str, measured: &str, reached: bool) {
    println!(
        "| {goal} | {measured} | {} |",
        if reached { "reached" } else { "**missed**" }
    );
}

fn times(ratio: f64) -> String {
    match ratio < 10.0 {
        true => format!("×{ratio:.1}"),
        false => format!("×{ratio:.0}"),
    }
}
