//! Clients that take turns at the same job, round after round.

use crate::{BoxError, Contender, Server, ask, job::Job, process::Process, samples::Samples};

/// One client's values in one row.
#[derive(Default)]
pub(crate) struct Cell {
    /// Units of the job per second: tunnels, or MiB.
    pub(crate) rate: Samples,
    /// CPU time of a unit in µs.
    pub(crate) cpu: Samples,
    /// The part of the time that the proxy's core was busy, in percent.
    pub(crate) busy: Samples,
    /// True if all connections to the proxy were of HTTP/2 in the last round.
    pub(crate) is_http2: bool,
    /// The fewest and the most connections to the proxy that a new client opened.
    pub(crate) connections: Option<(u64, u64)>,
}

impl Cell {
    pub(crate) fn connections_text(&self) -> String {
        match self.connections {
            None => "–".to_owned(),
            Some((fewest, most)) if fewest == most => most.to_string(),
            Some((fewest, most)) => format!("{fewest}–{most}"),
        }
    }
}

/// Has the clients that are able to do a job take turns. `units` is the size of the job.
pub(crate) fn take_turns(
    job: &Job,
    units: f64,
    server: &mut Server,
    clients: &mut [(Contender, Process)],
    rounds: usize,
) -> Result<Vec<Option<Cell>>, BoxError> {
    let repeats = job.repeats as u64;
    let mut cells: Vec<_> = clients
        .iter()
        .map(|(contender, _)| contender.has(job.inside).then(Cell::default))
        .collect();
    for round in 0..rounds {
        // Each goes first in its turn: one client's remains burden the next.
        for turn in 0..clients.len() {
            let turn = (round + turn) % clients.len();
            let ((contender, client), Some(cell)) = (&mut clients[turn], &mut cells[turn]) else {
                continue;
            };
            let before = server.state()?;
            let took = ask(*contender, client, job)?;
            let after = server.state()?;
            let &[nanos, cpu] = &took[..] else {
                return Err(format!("{} said {took:?}", contender.name()).into());
            };
            cell.rate.add(units * 1e9 / nanos as f64);
            cell.cpu.add(cpu as f64 / 1e3 / units);
            // The server's time for the tunnels that warm up counts too, which are few.
            cell.busy.add(100.0 * (after.cpu - before.cpu) as f64 / nanos as f64);
            let opened = after.connections - before.connections;
            cell.is_http2 = after.http2 - before.http2 == opened;
            let connections = opened.div_ceil(repeats);
            let (fewest, most) = cell.connections.unwrap_or((u64::MAX, 0));
            cell.connections = Some((fewest.min(connections), most.max(connections)));
        }
    }
    Ok(cells)
}
