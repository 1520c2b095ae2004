//! The memory of an idle tunnel, in the client's process.

use std::iter;

use tower_outbound_proxy_peers::{Page, Table};

use crate::{
    Bench, BoxError, Contender, Server, ask,
    job::{Inside, Job, Verb},
};

/// The number of tunnels whose memory is measured, after these that warm up. Together they are fewer than the streams
/// that the proxy admits.
const TUNNELS: usize = 200;
const WARM: usize = 10;

const ROWS: [(&str, Inside); 3] = [
    ("a tunnel alone", Inside::Raw),
    ("a tunnel, plain HTTP in it", Inside::Http),
    ("a tunnel, TLS, HTTP/1.1", Inside::Https),
];

pub(crate) fn measure(page: &mut Page, bench: &Bench, server: &mut Server) -> Result<(), BoxError> {
    let header = iter::once("live, KiB").chain(Contender::ALL.map(Contender::name));
    let mut table = Table::new(0..1, header);
    for (name, inside) in ROWS {
        eprintln!("{name} …");
        let job = Job {
            verb: Verb::Idle,
            proxy: format!("https://127.0.0.1:{}", server.ports.proxy),
            inside,
            port: server.ports.host(inside),
            hosts: WARM + TUNNELS,
            warm: WARM,
            concurrency: 1,
            repeats: 1,
            bytes: 20,
        };
        let mut row = vec![name.to_owned()];
        for contender in Contender::ALL {
            if !contender.has(inside) {
                row.push("–".to_owned());
                continue;
            }
            let mut client = bench.client(contender, server)?;
            let before = server.state()?;
            let grown = ask(contender, &mut client, &job)?;
            let after = server.state()?;
            let open = after.open - before.open;
            if open != (WARM + TUNNELS) as u64 {
                return Err(format!("{} has {open} tunnels open", contender.name()).into());
            }
            let each = grown[0] as f64 / 1024.0 / TUNNELS as f64;
            row.push(format!("{each:.1}"));
            drop(client);
            // The server sees its connections end.
            while server.state()?.open > 0 {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        table.row(row);
    }
    page.section("tunnels-memory", "Memory of an idle tunnel", table);
    Ok(())
}
