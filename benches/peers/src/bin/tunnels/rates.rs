//! New tunnels per second, their CPU time, and connections to the proxy.

use std::iter;

use tower_outbound_proxy_peers::{Page, Table, chart};

use crate::{
    Bench, BoxError, Contender, Options, Server,
    job::{Inside, Job, Verb},
    process::Process,
    samples::{beside, figures},
    turns::{Cell, take_turns},
};

/// The number of hosts, each of which gets a tunnel.
pub(crate) const HOSTS: usize = 100;

/// One line of the tables.
pub(crate) struct Row {
    name: &'static str,
    inside: Inside,
    concurrency: usize,
    /// The number of hosts that are asked before the clock starts.
    warm: usize,
}

/// The rows that have been measured: their names, and the cells of all clients.
pub(crate) type Rows = Vec<(String, Vec<Option<Cell>>)>;

const ROWS: [Row; 9] = [
    row("tunnels alone, 1 at a time", Inside::Raw, 1, 1),
    row("tunnels alone, 50 at a time", Inside::Raw, 50, 1),
    row("plain HTTP in tunnels, 1 at a time", Inside::Http, 1, 1),
    row("plain HTTP in tunnels, 50 at a time", Inside::Http, 50, 1),
    row("https, 1 at a time", Inside::Https, 1, 1),
    row("https, 50 at a time", Inside::Https, 50, 1),
    row("https, 50 at a time from the first", Inside::Https, 50, 0),
    row("http, forwarded, 1 at a time", Inside::Forward, 1, 1),
    row("http, forwarded, 50 at a time", Inside::Forward, 50, 1),
];

pub(crate) const fn row(name: &'static str, inside: Inside, concurrency: usize, warm: usize) -> Row {
    Row {
        name,
        inside,
        concurrency,
        warm,
    }
}

pub(crate) fn measure(page: &mut Page, bench: &Bench, server: &mut Server, options: &Options) -> Result<(), BoxError> {
    let mut clients = bench.clients(server)?;
    let mut rows = Rows::new();
    for row in &ROWS {
        eprintln!("{} …", row.name);
        let cells = compare(row, server, &mut clients, options, "")?;
        for ((contender, _), cell) in clients.iter().zip(&cells) {
            if let Some(cell) = cell.as_ref().filter(|cell| contender.speaks_http2() != cell.is_http2) {
                let spoken = if cell.is_http2 { "HTTP/2" } else { "HTTP/1.1" };
                return Err(format!("{}, {}: it spoke {spoken} to the proxy", contender.name(), row.name).into());
            }
        }
        rows.push((row.name.to_owned(), cells));
    }
    page.section(
        "tunnels-rates",
        "New tunnels per second (forwarded: requests per second)",
        rates(&rows),
    );
    page.section("tunnels-cpu", "CPU time of the client, µs per tunnel", cpu(&rows));
    page.section(
        "tunnels-connections",
        "Connections to the proxy, of a new client for 100 hosts",
        connections(&rows),
    );
    let busy = table(&rows, |cell, _| format!("{:.0}", cell.busy.median()));
    println!("\n## Time that the proxy's core was busy, %\n\n{busy}");
    page.chart("tunnels-rates", drawn(&rows)?);
    println!("\n## Goals\n\n{}", goals(&rows));
    Ok(())
}

pub(crate) fn rates(rows: &Rows) -> Table {
    table(rows, |cell, ours| beside(&cell.rate, &ours.rate))
}

pub(crate) fn cpu(rows: &Rows) -> Table {
    table(rows, |cell, ours| beside(&cell.cpu, &ours.cpu))
}

pub(crate) fn connections(rows: &Rows) -> Table {
    table(rows, |cell, _| cell.connections_text())
}

/// Measures a row.
pub(crate) fn compare(
    row: &Row,
    server: &mut Server,
    clients: &mut [(Contender, Process)],
    options: &Options,
    credentials: &str,
) -> Result<Vec<Option<Cell>>, BoxError> {
    let job = Job {
        verb: Verb::Get,
        proxy: format!("https://{credentials}127.0.0.1:{}", server.ports.proxy),
        inside: row.inside,
        port: server.ports.host(row.inside),
        hosts: HOSTS,
        warm: row.warm,
        concurrency: row.concurrency,
        repeats: if options.quick { 1 } else { 4 },
        bytes: 20,
    };
    let tunnels = ((HOSTS - row.warm) * job.repeats) as f64;
    take_turns(&job, tunnels, server, clients, options.rounds)
}

/// Tabulates one value of each cell, which `show` is given together with ours.
fn table(rows: &Rows, show: impl Fn(&Cell, &Cell) -> String) -> Table {
    let header = iter::once("").chain(Contender::ALL.map(Contender::name));
    let mut table = Table::new(0..1, header);
    for (name, cells) in rows {
        let ours = cells[0].as_ref();
        let shown = cells.iter().map(|cell| match (cell, ours) {
            (Some(cell), Some(ours)) => show(cell, ours),
            _ => "–".to_owned(),
        });
        table.row(iter::once(name.clone()).chain(shown));
    }
    table
}

fn drawn(rows: &Rows) -> Result<String, BoxError> {
    let groups: Vec<_> = rows
        .iter()
        .map(|(name, cells)| {
            let ours = cells[0].as_ref().map_or(f64::NAN, |cell| cell.rate.median());
            let bar = |cell: &Option<Cell>| match cell.as_ref().map(|cell| cell.rate.median()) {
                Some(rate) => (rate / ours, figures(rate)),
                None => (0.0, "–".to_owned()),
            };
            (name.clone(), cells.iter().map(bar).collect())
        })
        .collect();
    chart::bars(
        "New tunnels per second (a longer bar is better)",
        "relative to this crate over HTTP/2; the figures are tunnels per second",
        &Contender::ALL.map(Contender::name),
        &groups,
    )
}

fn goals(rows: &Rows) -> Table {
    let mut table = Table::new(0..4, ["row", "goal", "ours over the best of HTTP/1.1, by round", ""]);
    for (row, (_, cells)) in ROWS.iter().zip(rows) {
        let Some(ours) = &cells[0] else { continue };
        let peers = Contender::ALL.iter().zip(cells);
        let peers = peers.filter(|(contender, _)| !contender.speaks_http2());
        let peers: Vec<_> = peers
            .filter_map(|(contender, cell)| Some((contender, cell.as_ref()?)))
            .collect();
        let best = peers
            .into_iter()
            .max_by(|(_, one), (_, other)| one.rate.median().total_cmp(&other.rate.median()));
        let Some((best, cell)) = best else { continue };
        let goal = match row.inside {
            Inside::Raw | Inside::Http => 3.0,
            Inside::Https | Inside::Forward => 1.0,
        };
        let ratios = ours.rate.over(&cell.rate);
        let text = format!(
            "{:.2} ({:.2}–{:.2}) over {}",
            ratios.median(),
            ratios.least(),
            ratios.greatest(),
            best.name()
        );
        let reached = if ratios.median() >= goal {
            "reached"
        } else {
            "**missed**"
        };
        table.row([
            row.name.to_owned(),
            format!("at least {goal}"),
            text,
            reached.to_owned(),
        ]);
    }
    table
}
