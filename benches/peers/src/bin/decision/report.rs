//! The tables, the charts, and the goals.

use std::fmt::Write;

use tower_outbound_proxy_peers::{
    Page, Table,
    chart::{self, Texts},
};

use crate::{Answer, BoxError, TARGET, URI};

const HYPER_UTIL: &str = "hyper-util 0.1.21";
/// The contenders that start from a URL, ours first.
const FROM_URL: [&str; 5] = [URI, HYPER_UTIL, "proxyvars 0.2.0", "env_proxy 0.4.1", "Go"];
/// The contenders that start from a host, ours first.
const FROM_HOST: [&str; 2] = [TARGET, "no-proxy 0.3.7"];

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

    /// Divides another contender's time by ours.
    fn ratio(&self, ours: &str, other: &str) -> Option<f64> {
        Some(self.cell(other)?.nanos / self.cell(ours)?.nanos)
    }
}

impl Report {
    pub(crate) fn add(&mut self, entries: usize, place: &'static str, cells: Vec<Cell>) {
        self.0.push(Row { entries, place, cells });
    }

    pub(crate) fn write(&self, page: &mut Page) -> Result<(), BoxError> {
        page.section("decision-from-url", "From a URL (ns)", self.table(&FROM_URL));
        page.section("decision-from-host", "From a host (ns)", self.table(&FROM_HOST));
        page.section("decision-allocations", "Allocations per decision", self.allocations());
        page.chart(
            "decision-from-url",
            self.chart("Time per decision when no entry matches, from a URL", &FROM_URL)?,
        );
        page.chart(
            "decision-from-host",
            self.chart("Time per decision when no entry matches, from a host", &FROM_HOST)?,
        );
        println!("\n## Goals\n\n{}", self.goals());
        Ok(())
    }

    fn present<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        let present = |name: &&str| self.0.first().is_some_and(|row| row.cell(name).is_some());
        names.iter().copied().filter(present).collect()
    }

    /// Tabulates nanoseconds, and in brackets the ratio to the first contender's, which is ours.
    fn table(&self, names: &[&str]) -> String {
        let names = self.present(names);
        let mut table = Table::new(1..2, ["entries", "target"].iter().chain(&names).copied());
        let mut differ = false;
        for row in &self.0 {
            let mut cells = vec![row.entries.to_string(), row.place.to_owned()];
            for name in &names {
                let Some(cell) = row.cell(name) else { continue };
                let differs = row.cell(TARGET).is_some_and(|ours| ours.answer != cell.answer);
                differ |= differs;
                let mark = if differs { " †" } else { "" };
                cells.push(match row.ratio(names[0], name) {
                    Some(ratio) if cell.name != names[0] => format!("{:.0} ({}){mark}", cell.nanos, times(ratio)),
                    _ => format!("{:.1}", cell.nanos),
                });
            }
            table.row(cells);
        }
        match differ {
            true => format!("{table}\n† The answer differs from this crate's."),
            false => table.to_string(),
        }
    }

    fn allocations(&self) -> Table {
        let mut table = Table::new(0..1, ["", "fewest", "most"]);
        for name in self.present(&[&FROM_URL[..], &FROM_HOST].concat()) {
            let cells = || self.0.iter().filter_map(|row| row.cell(name));
            let fewest = cells().map(|cell| cell.allocations).min().unwrap_or(0);
            let most = cells().map(|cell| cell.allocations).max().unwrap_or(0);
            table.row([name.to_owned(), fewest.to_string(), most.to_string()]);
        }
        table
    }

    /// Draws the misses by name: the targets for which every entry has to be ruled out.
    fn chart(&self, title: &str, names: &[&str]) -> Result<String, BoxError> {
        let line = |name: &str| {
            let rows = self.0.iter().filter(|row| row.place == "miss");
            let points = rows.filter_map(|row| Some((row.entries as f64, row.cell(name)?.nanos)));
            let label = name.split_once(',').map_or(name, |(label, _)| label);
            (label.to_owned(), points.collect())
        };
        let lines: Vec<_> = self.present(names).into_iter().map(line).collect();
        let texts = Texts {
            title,
            x: "entries in NO_PROXY",
            y: "time per decision",
        };
        chart::lines(texts, &lines, thousands, time)
    }

    fn goals(&self) -> Table {
        let mut table = Table::new(0..3, ["goal", "measured", ""]);
        let mut goal = |goal: String, measured: String, reached: bool| {
            let reached = if reached { "reached" } else { "**missed**" };
            table.row([goal, measured, reached.to_owned()]);
        };
        for (entries, least) in [(1, 3.0), (100, 10.0), (10_000, 1_000.0)] {
            let misses = self
                .0
                .iter()
                .filter(|row| row.entries == entries && row.place == "miss");
            let ratio = misses
                .filter_map(|row| row.ratio(URI, HYPER_UTIL))
                .fold(f64::INFINITY, f64::min);
            goal(
                format!("a miss among {entries}, from `&Uri`, {least} times faster than hyper-util"),
                times(ratio),
                ratio >= least,
            );
        }
        let (growth, place) = self.growth();
        goal(
            "less than twice the time from 1 to 10,000 entries, from `&Uri`".to_owned(),
            format!("{} ({place})", times(growth)),
            growth < 2.0,
        );
        let slower = self.slower();
        goal(
            "from `&Target` no slower than the fastest peer, at any size and place".to_owned(),
            match slower.is_empty() {
                true => "everywhere".to_owned(),
                false => format!("not at {slower}"),
            },
            slower.is_empty(),
        );
        table
    }

    /// Finds the place where our time grows most from 1 to 10,000 entries.
    fn growth(&self) -> (f64, &'static str) {
        let mut most = (0.0, "");
        for large in self.0.iter().filter(|row| row.entries == 10_000) {
            let mut small = self.0.iter();
            let small = small.find(|small| small.entries == 1 && small.place == large.place);
            if let Some((small, large_cell)) = small.and_then(|row| row.cell(URI)).zip(large.cell(URI)) {
                let growth = large_cell.nanos / small.nanos;
                if growth > most.0 {
                    most = (growth, large.place);
                }
            }
        }
        most
    }

    /// Lists the cases in which a peer is faster than we are from a host.
    fn slower(&self) -> String {
        let mut text = String::new();
        for row in &self.0 {
            let peers = row.cells.iter().filter(|cell| ![URI, TARGET].contains(&cell.name));
            let fastest = peers.min_by(|a, b| a.nanos.total_cmp(&b.nanos));
            let Some((ours, fastest)) = row.cell(TARGET).zip(fastest) else {
                continue;
            };
            if ours.nanos > fastest.nanos {
                let separator = if text.is_empty() { "" } else { "; " };
                let Row { entries, place, .. } = row;
                // Writing to a string cannot fail.
                let _ = write!(
                    text,
                    "{separator}{entries} {place}: {:.1} against {:.1} of {}",
                    ours.nanos, fastest.nanos, fastest.name
                );
            }
        }
        text
    }
}

fn times(ratio: f64) -> String {
    match ratio < 10.0 {
        true => format!("×{ratio:.1}"),
        false => format!("×{ratio:.0}"),
    }
}

/// Writes a power of ten up to 10,000.
fn thousands(number: f64) -> String {
    match number < 1e3 {
        true => format!("{number:.0}"),
        false => format!("{:.0},000", number / 1e3),
    }
}

/// Writes nanoseconds in the unit that a reader would choose.
fn time(nanos: f64) -> String {
    match nanos {
        nanos if nanos < 1e3 => format!("{nanos:.0} ns"),
        nanos if nanos < 1e6 => format!("{:.0} µs", nanos / 1e3),
        nanos => format!("{:.0} ms", nanos / 1e6),
    }
}
