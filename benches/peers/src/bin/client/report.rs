//! The tables.

use crate::{
    GO,
    peers::{diy, ours},
    rows::{Row, Way},
    run::Took,
};

/// One client's best in one row, per request; in a row of bytes, per MiB.
pub(crate) struct Cell {
    name: &'static str,
    nanos: f64,
    cpu: f64,
    allocations: f64,
    /// The fewest and the most of a new client.
    connections: (usize, usize),
}

impl Cell {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            nanos: f64::INFINITY,
            cpu: f64::INFINITY,
            allocations: f64::INFINITY,
            connections: (usize::MAX, 0),
        }
    }

    pub(crate) fn add(&mut self, row: &Row, took: Took, connections: usize) {
        let units = match row.is_bulk() {
            true => row.count() * (row.bytes >> 20) as f64,
            false => row.count(),
        };
        let least = |value: &mut f64, total: u64| *value = value.min(total as f64 / units);
        least(&mut self.nanos, took.nanos);
        least(&mut self.cpu, took.cpu);
        least(&mut self.allocations, took.allocations);
        let (fewest, most) = self.connections;
        self.connections = (fewest.min(connections), most.max(connections));
    }

    /// Requests or MiB per second.
    fn rate(&self) -> f64 {
        1e9 / self.nanos
    }
}

/// All results so far.
#[derive(Default)]
pub(crate) struct Report(Vec<(Row, Vec<Cell>)>);

type Show = fn(&Cell, &Cell) -> String;

impl Report {
    pub(crate) fn add(&mut self, row: Row, cells: Vec<Cell>) {
        self.0.push((row, cells));
    }

    pub(crate) fn print(&self, rounds: usize, squid: Option<&str>, go: Option<&str>) {
        let bulk = self.0.iter().find(|(row, _)| row.is_bulk());
        let bulk = bulk.map(|(row, _)| format!(" Long responses: {} MiB, 5 rounds at most.", row.bytes >> 20));
        println!(
            "Best of {rounds} rounds; in brackets, times ours.{}",
            bulk.unwrap_or_default()
        );
        print!(
            "Proxy: {}.",
            squid.unwrap_or("this program, which is every origin as well")
        );
        print!(
            " Clients: this crate {}, hyper-util 0.1.21 (`legacy::Client`,",
            env!("CARGO_PKG_VERSION")
        );
        print!(
            " `Matcher` and `Tunnel` by hand), hyper-http-proxy 1.2.0 (on the same `legacy::Client`), reqwest 0.13.5"
        );
        println!("{}.", go.map(|go| format!(", {go} net/http")).unwrap_or_default());
        self.table("Requests per second (long responses: MiB per second)", |cell, ours| {
            let rate = match cell.rate() {
                rate if rate >= 10_000.0 => format!("{:.1}k", rate / 1e3),
                rate if rate >= 1000.0 => format!("{:.2}k", rate / 1e3),
                rate => format!("{rate:.0}"),
            };
            with_ratio(cell, ours, rate, cell.rate() / ours.rate())
        });
        self.table(
            "Processor time of the client, µs per request (long responses: per MiB)",
            |cell, ours| with_ratio(cell, ours, format!("{:.1}", cell.cpu / 1e3), cell.cpu / ours.cpu),
        );
        self.table("Allocations per request (long responses: per MiB)", |cell, ours| {
            let ratio = cell.allocations / ours.allocations;
            with_ratio(cell, ours, format!("{:.1}", cell.allocations), ratio)
        });
        self.table("Connections to the proxy, of a new client", |cell, _| {
            match cell.connections {
                (fewest, most) if fewest == most => most.to_string(),
                (fewest, most) => format!("{fewest}–{most}"),
            }
        });
        self.goals();
    }

    fn table(&self, title: &str, show: Show) {
        let Some((_, cells)) = self.0.first() else { return };
        println!("\n## {title}\n");
        print!("| |");
        cells.iter().for_each(|cell| print!(" {} |", cell.name));
        print!("\n|---|");
        cells.iter().for_each(|_| print!("---:|"));
        println!();
        for (row, cells) in &self.0 {
            print!("| {} |", row.name);
            cells.iter().for_each(|cell| print!(" {} |", show(cell, &cells[0])));
            println!();
        }
    }

    /// The numbers to reach, and what was reached.
    fn goals(&self) {
        println!("\n## Goals\n\n| goal | |\n|---|---|");
        let no_more = |what: fn(&Cell) -> f64, unit: &str, allowed: f64| {
            self.misses(|row, cells| {
                let (ours, diy) = (find(cells, ours::NAME)?, find(cells, diy::NAME)?);
                let (ours, diy) = (what(ours), what(diy));
                (ours > diy * allowed).then(|| format!("{}: {ours:.1} {unit} against {diy:.1}", row.name))
            })
        };
        // Within half a part of a hundred there is no difference to be seen.
        goal(
            "processor time no higher than hyper-util's in any row",
            &no_more(|cell| cell.cpu / 1e3, "µs", 1.005),
        );
        goal(
            "allocations no more than hyper-util's in any row",
            &no_more(|cell| cell.allocations, "allocations", 1.005),
        );
        goal(
            "no more connections than are needed: 1, or one for each request at a time",
            &self.misses(|row, cells| {
                let (_, most) = find(cells, ours::NAME)?.connections;
                let connections = row.connections;
                (most > connections).then(|| format!("{}: {most}, not {connections}", row.name))
            }),
        );
        goal(
            "100 origins × 1 at least as fast as Go",
            &self.misses(|row, cells| {
                let (ours, go) = (find(cells, ours::NAME)?.rate(), find(cells, GO)?.rate());
                let counts = row.name.starts_with("100 origins × 1,");
                (counts && ours < go).then(|| format!("{}: {ours:.0}/s against {go:.0}/s", row.name))
            }),
        );
        goal(
            "a long response in a tunnel within 3 % of the best peer",
            &self.misses(|row, cells| {
                let ours = find(cells, ours::NAME)?.rate();
                let best = cells.iter().map(Cell::rate).fold(0.0, f64::max);
                let counts = row.is_bulk() && row.way != Way::Direct;
                (counts && ours < best * 0.97).then(|| format!("{ours:.0} MiB/s against {best:.0}"))
            }),
        );
    }

    fn misses(&self, miss: impl Fn(&Row, &[Cell]) -> Option<String>) -> Vec<String> {
        self.0.iter().filter_map(|(row, cells)| miss(row, cells)).collect()
    }
}

fn find<'a>(cells: &'a [Cell], name: &str) -> Option<&'a Cell> {
    cells.iter().find(|cell| cell.name == name)
}

fn with_ratio(cell: &Cell, ours: &Cell, value: String, ratio: f64) -> String {
    match cell.name == ours.name {
        true => value,
        false => format!("{value} (×{ratio:.2})"),
    }
}

fn goal(goal: &str, misses: &[String]) {
    match misses.is_empty() {
        true => println!("| {goal} | reached |"),
        false => println!("| {goal} | **missed**: {} |", misses.join("; ")),
    }
}
