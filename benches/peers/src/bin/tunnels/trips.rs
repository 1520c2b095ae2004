//! The time to the first byte of a response, in round trips.

use std::iter;

use tower_outbound_proxy_peers::{Page, Table};

use crate::{
    Bench, BoxError, Contender, Options, ROUND_TRIP, Server, ask,
    job::{Inside, Job, Verb},
    samples::Samples,
};

pub(crate) fn measure(page: &mut Page, bench: &Bench, server: &Server, options: &Options) -> Result<(), BoxError> {
    let mut clients = bench.clients(server)?;
    let through = Job {
        verb: Verb::Trips,
        proxy: format!("https://127.0.0.1:{}", server.ports.far_proxy),
        inside: Inside::Https,
        port: server.ports.host(Inside::Https),
        hosts: 3,
        warm: 0,
        concurrency: 1,
        repeats: 1,
        bytes: 20,
    };
    let forwarded = Job {
        inside: Inside::Forward,
        port: server.ports.host(Inside::Forward),
        hosts: 2,
        ..through.clone()
    };
    let direct = Job {
        proxy: "-".to_owned(),
        port: server.ports.far_host,
        hosts: 1,
        ..through.clone()
    };
    let mut table = Table::new(
        0..1,
        iter::once("round trips").chain(Contender::ALL.map(Contender::name)),
    );
    for (job, names) in [
        (&through, &["the first https host", "the second", "the third"][..]),
        (&forwarded, &["the first http host, forwarded", "the second"]),
        (&direct, &["directly, https"]),
    ] {
        eprintln!("{}, … ", names[0]);
        let mut samples = vec![vec![Samples::default(); clients.len()]; names.len()];
        for _ in 0..options.rounds {
            for (n, (contender, client)) in clients.iter_mut().enumerate() {
                let times = ask(*contender, client, job)?;
                for (samples, time) in samples.iter_mut().zip(times) {
                    samples[n].add(time as f64 / ROUND_TRIP.as_nanos() as f64);
                }
            }
        }
        for (name, samples) in names.iter().zip(&samples) {
            let shown = samples.iter().map(|samples| {
                let (median, least, most) = (samples.median(), samples.least(), samples.greatest());
                format!("{median:.2} ({least:.2}–{most:.2})")
            });
            table.row(iter::once((*name).to_owned()).chain(shown));
        }
    }
    page.section("tunnels-trips", "Round trips to the first byte of a response", table);
    Ok(())
}
