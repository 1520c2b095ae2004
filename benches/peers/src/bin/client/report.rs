//! The tables, the charts, and the goals.

use tower_outbound_proxy_peers::{Page, Table, chart};

use crate::{
    BoxError, GO,
    peers::{diy, ours},
    rows::{Row, Way},
    run::Took,
};

/// One client's best values in one row, per request or, for long responses, per MiB.
pub(crate) struct Cell {
    name: &'static str,
    nanos: f64,
    cpu: f64,
    allocations: f64,
    /// The fewest and the most that a new client opened.
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

    /// Returns requests or MiB per second.
    fn rate(&self) -> f64 {
        1e9 / self.nanos
    }

    fn rate_text(&self) -> String {
        match self.rate() {
            rate if rate >= 10_000.0 => format!("{:.1}k", rate / 1e3),
            rate if rate >= 1000.0 => format!("{:.2}k", rate / 1e3),
            rate => format!("{rate:.0}"),
        }
    }

    fn cpu_text(&self) -> String {
        format!("{:.1}", self.cpu / 1e3)
    }

    fn connections_text(&self) -> String {
        match self.connections {
            (fewest, most) if fewest == most => most.to_string(),
            (fewest, most) => format!("{fewest}–{most}"),
        }
    }
}

/// All results so far.
#[derive(Default)]
pub(crate) struct Report(Vec<(Row, Vec<Cell>)>);

impl Report {
    pub(crate) fn add(&mut self, row: Row, cells: Vec<Cell>) {
        self.0.push((row, cells));
    }

    pub(crate) fn write(&self, page: &mut Page) -> Result<(), BoxError> {
        let rates = self.table(|cell, ours| with_ratio(cell, ours, cell.rate_text(), cell.rate() / ours.rate()));
        page.section(
            "client-rates",
            "Requests per second (long responses: MiB per second)",
            rates,
        );
        let cpu = self.table(|cell, ours| with_ratio(cell, ours, cell.cpu_text(), cell.cpu / ours.cpu));
        page.section(
            "client-cpu",
            "CPU time of the client, µs per request (long responses: per MiB)",
            cpu,
        );
        let allocations = self.table(|cell, ours| {
            let ratio = cell.allocations / ours.allocations;
            with_ratio(cell, ours, format!("{:.1}", cell.allocations), ratio)
        });
        page.section(
            "client-allocations",
            "Allocations per request (long responses: per MiB)",
            allocations,
        );
        let connections = self.table(|cell, _| cell.connections_text());
        page.section(
            "client-connections",
            "Connections to the proxy, of a new client",
            connections,
        );

        page.chart(
            "client-rates",
            self.chart(
                "Requests per second (a longer bar is better)",
                "relative to this crate; the figures are requests per second",
                |cell, ours| (cell.rate() / ours.rate(), cell.rate_text()),
            )?,
        );
        page.chart(
            "client-cpu",
            self.chart(
                "CPU time of the client per request (a shorter bar is better)",
                "relative to this crate; the figures are µs per request",
                |cell, ours| (cell.cpu / ours.cpu, cell.cpu_text()),
            )?,
        );
        page.chart(
            "client-connections",
            self.chart(
                "Connections to the proxy (a shorter bar is better)",
                "connections",
                |cell, _| (cell.connections.1 as f64, cell.connections_text()),
            )?,
        );
        println!("\n## Goals\n\n{}", self.goals());
        Ok(())
    }

    /// Tabulates one value of each cell, which `show` is given together with ours.
    fn table(&self, show: impl Fn(&Cell, &Cell) -> String) -> Table {
        let names = self.names();
        let mut table = Table::new(0..1, [""].iter().chain(&names).copied());
        for (row, cells) in &self.0 {
            let shown = cells.iter().map(|cell| show(cell, &cells[0]));
            table.row([row.name.to_owned()].into_iter().chain(shown));
        }
        table
    }

    /// Draws one value of each cell, which `show` is given together with ours, but for the long responses.
    fn chart(&self, title: &str, x: &str, show: impl Fn(&Cell, &Cell) -> (f64, String)) -> Result<String, BoxError> {
        let rows = self.0.iter().filter(|(row, _)| !row.is_bulk());
        let groups: Vec<_> = rows
            .map(|(row, cells)| {
                let bars = cells.iter().map(|cell| show(cell, &cells[0])).collect();
                (row.name.to_owned(), bars)
            })
            .collect();
        chart::bars(title, x, &self.names(), &groups)
    }

    fn names(&self) -> Vec<&'static str> {
        let cells = self.0.first().map(|(_, cells)| cells.iter().map(|cell| cell.name));
        cells.into_iter().flatten().collect()
    }

    fn goals(&self) -> Table {
        let mut table = Table::new(0..2, ["goal", ""]);
        let mut goal = |goal: &str, misses: Vec<String>| {
            let reached = match misses.is_empty() {
                true => "reached".to_owned(),
                false => format!("**missed**: {}", misses.join("; ")),
            };
            table.row([goal.to_owned(), reached]);
        };
        let no_more = |what: fn(&Cell) -> f64, unit: &str, allowed: f64| {
            self.misses(|row, cells| {
                let (ours, diy) = (find(cells, ours::NAME)?, find(cells, diy::NAME)?);
                let (ours, diy) = (what(ours), what(diy));
                (ours > diy * allowed).then(|| format!("{}: {ours:.1} {unit} against {diy:.1}", row.name))
            })
        };
        // A difference of half a percent cannot be told from noise.
        goal(
            "CPU time no higher than hyper-util's in any row",
            no_more(|cell| cell.cpu / 1e3, "µs", 1.005),
        );
        goal(
            "allocations no more than hyper-util's in any row",
            no_more(|cell| cell.allocations, "allocations", 1.005),
        );
        goal(
            "no more connections than are needed: 1, or one for each request at a time",
            self.misses(|row, cells| {
                let (_, most) = find(cells, ours::NAME)?.connections;
                let connections = row.connections;
                (most > connections).then(|| format!("{}: {most}, not {connections}", row.name))
            }),
        );
        goal(
            "100 origins × 1 at least as fast as Go",
            self.misses(|row, cells| {
                let (ours, go) = (find(cells, ours::NAME)?.rate(), find(cells, GO)?.rate());
                let counts = row.name.starts_with("100 origins × 1,");
                (counts && ours < go).then(|| format!("{}: {ours:.0}/s against {go:.0}/s", row.name))
            }),
        );
        goal(
            "a long response in a tunnel within 3 % of the best peer",
            self.misses(|row, cells| {
                let ours = find(cells, ours::NAME)?.rate();
                let best = cells.iter().map(Cell::rate).fold(0.0, f64::max);
                let counts = row.is_bulk() && row.way != Way::Direct;
                (counts && ours < best * 0.97).then(|| format!("{ours:.0} MiB/s against {best:.0}"))
            }),
        );
        table
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
