//! The throughput of long transfers in tunnels.

use std::iter;

use tower_outbound_proxy_peers::{Page, Table};

use crate::{
    Bench, BoxError, Contender, Options, Server,
    job::{Inside, Job, Verb},
    samples::beside,
    turns::{Cell, take_turns},
};

/// The bytes of a measurement, all tunnels together.
const BYTES: u64 = 512 << 20;
const QUICK_BYTES: u64 = 64 << 20;

const ROWS: [(&str, Verb, Inside, usize); 6] = [
    ("download, 1 tunnel", Verb::Get, Inside::Http, 1),
    ("download, 8 tunnels", Verb::Get, Inside::Http, 8),
    ("upload, 1 tunnel", Verb::Put, Inside::Http, 1),
    ("upload, 8 tunnels", Verb::Put, Inside::Http, 8),
    ("https, download, 1 tunnel", Verb::Get, Inside::Https, 1),
    ("https, upload, 1 tunnel", Verb::Put, Inside::Https, 1),
];

pub(crate) fn measure(page: &mut Page, bench: &Bench, server: &mut Server, options: &Options) -> Result<(), BoxError> {
    let total = if options.quick { QUICK_BYTES } else { BYTES };
    let mut clients = bench.clients(server)?;
    let header = || iter::once("").chain(Contender::ALL.map(Contender::name));
    let mut rates = Table::new(0..1, header());
    let mut cpu = Table::new(0..1, header());
    let mut busy = Table::new(0..1, header());
    let mut connections = Table::new(0..1, header());
    for (name, verb, inside, tunnels) in ROWS {
        eprintln!("{name} …");
        let job = Job {
            verb,
            proxy: format!("https://127.0.0.1:{}", server.ports.proxy),
            inside,
            port: server.ports.host(inside),
            hosts: tunnels,
            warm: 0,
            concurrency: tunnels,
            repeats: 1,
            bytes: total / tunnels as u64,
        };
        let mib = (total >> 20) as f64;
        let cells = take_turns(&job, mib, server, &mut clients, options.rounds)?;
        let ours = cells[0].as_ref().ok_or("this crate has such tunnels")?;
        let shown = |show: &dyn Fn(&Cell) -> String| {
            let shown = cells.iter().map(|cell| cell.as_ref().map_or("–".to_owned(), show));
            iter::once(name.to_owned()).chain(shown).collect::<Vec<_>>()
        };
        rates.row(shown(&|cell| beside(&cell.rate, &ours.rate)));
        cpu.row(shown(&|cell| beside(&cell.cpu, &ours.cpu)));
        busy.row(shown(&|cell| format!("{:.0}", cell.busy.median())));
        connections.row(shown(&Cell::connections_text));
    }
    page.section("tunnels-bulk", "Long transfers, MiB per second", rates);
    page.section(
        "tunnels-bulk-cpu",
        "Long transfers, CPU time of the client, µs per MiB",
        cpu,
    );
    println!("\n## Long transfers, connections to the proxy\n\n{connections}");
    println!("\n## Long transfers, time that the proxy's core was busy, %\n\n{busy}");
    Ok(())
}
