//! Judgement of every request after the run.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::Invariant;
use crate::{
    fault::Fault,
    plan::{Protocol, Reading},
    record::{BodyEnd, Connection, End, Peer, Record, Try},
    world::World,
};

/// More than all round trips of a connection and a request take.
const SLACK: Duration = Duration::from_secs(1);

/// The time after which a slow attempt has certainly got company.
const COMPANY: Duration = Duration::from_secs(2);

/// More than it takes to open a connection on a short way, and less than the patience with a new connection.
const PROMPT: Duration = Duration::from_millis(800);

/// More than a response takes on its way.
const TRANSFER: Duration = Duration::from_secs(15);

pub(crate) fn judge(world: &World) {
    let mut record = world.record();
    let mut broken = Vec::new();
    for (number, one) in record.tries.iter().enumerate() {
        let judge = Judge {
            world,
            record: &record,
            one,
        };
        judge.all(|invariant, text| broken.push((invariant, format!("try {number} {text}"))));
    }
    shared_blame(world, &record, |text| broken.push((Invariant::Blame, text)));
    waste(&record, |text| broken.push((Invariant::Waste, text)));
    if world.plan.client.max_per_key == Some(1) {
        order(world, &record, |text| broken.push((Invariant::Order, text)));
    }
    for (invariant, text) in broken {
        record.violated(invariant, format_args!("{text}"));
    }
}

/// One try, and what is known about it.
struct Judge<'r> {
    world: &'r World,
    record: &'r Record,
    one: &'r Try,
}

impl Judge<'_> {
    fn all(&self, mut broken: impl FnMut(Invariant, String)) {
        let Some((ended, end)) = self.one.ended else {
            return broken(Invariant::Deadline, "has not ended".to_owned());
        };
        if let Some(wait) = self.unexplained_wait(ended) {
            broken(
                Invariant::Deadline,
                format!("waited {wait:?} while no server worked on it"),
            );
        }
        if let Some(wait) = self.needless_wait() {
            broken(
                Invariant::Prompt,
                format!("waited {wait:?}, though its connections could be opened"),
            );
        }
        // A server that closes after GOAWAY, and does not linger, resets what the client has not read yet.
        if let Some((ended, BodyEnd::Failed(read))) = self.one.body_ended {
            if !self.has_fault(ended, |_| true) {
                broken(
                    Invariant::Blame,
                    format!("lost its body after {read} bytes without a fault"),
                );
            }
        }
        if let Some(wait) = self.unread_response() {
            broken(Invariant::Flow, format!("waited {wait:?} for a response that was sent"));
        }
        let End::Failed {
            before,
            connect,
            timeout,
        } = end
        else {
            return;
        };
        if before && self.one.seen.iter().any(|sighting| sighting.processed) {
            broken(
                Invariant::BeforeRequest,
                "was processed, and is reported as before-request".to_owned(),
            );
        }
        if timeout {
            if let Some(why) = self.inherited_timeout(ended) {
                broken(Invariant::OwnDeadline, why);
            }
        } else if !connect {
            self.failed(ended, before, broken);
        }
    }

    /// An error after the request was sent, or could have been.
    fn failed(&self, ended: Instant, before: bool, mut broken: impl FnMut(Invariant, String)) {
        let Try {
            is_post, has_upload, ..
        } = *self.one;
        // A body that is sent once cannot be sent to another connection, when a server allows fewer streams than it is
        // sent.
        let is_unrepeatable = before && has_upload && self.is_http2();
        // A graceful GOAWAY lets every request have its response.
        let is_harmless = |fault| matches!(fault, Fault::GoAwayGraceful | Fault::AllowsFewer);
        if !self.has_fault(ended, |fault| !is_harmless(fault)) && !is_unrepeatable {
            broken(Invariant::Blame, "failed without a fault of its connection".to_owned());
        }
        if self.was_refused(ended) {
            if !before {
                let text = "was not processed, as the server promised, and is reported as if it may have been";
                broken(Invariant::Unprocessed, text.to_owned());
            }
            if !has_upload && self.one.seen.len() == 1 {
                let text = "was not processed, as the server promised, and was not repeated";
                broken(Invariant::Repeat, text.to_owned());
            }
        }
        if !is_post && self.lost_its_connection(ended) {
            broken(
                Invariant::Repeat,
                "is a GET on a reused connection, and was not repeated".to_owned(),
            );
        }
    }

    fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.world.plan.client.connect_timeout)
    }

    /// Returns the client's connections to the same server that lived during the try.
    fn connections(&self, ended: Instant) -> impl Iterator<Item = &Connection> {
        let server = self.one.peer.server();
        self.record.connections.iter().filter(move |connection| {
            connection.near.is_none()
                && connection.server == server
                && connection.dialled <= ended
                && connection
                    .client_closed
                    .is_none_or(|closed| closed + news(connection) >= self.one.began)
        })
    }

    /// Returns the longest time in which no server had the request, if it is longer than it may be and no silent
    /// connection can have swallowed the request.
    fn unexplained_wait(&self, ended: Instant) -> Option<Duration> {
        let mut since = self.one.began;
        let mut longest = Duration::ZERO;
        for sighting in &self.one.seen {
            longest = longest.max(sighting.at.saturating_duration_since(since));
            since = sighting.released.unwrap_or(ended);
        }
        longest = longest.max(ended.saturating_duration_since(since));
        let is_silent = |connection: &Connection| {
            connection
                .faults
                .iter()
                .any(|(at, fault)| fault.is_silent() && *at <= ended)
        };
        let explained = || self.connections(ended).any(is_silent);
        // A request that is sent again has spent time on the connections that broke.
        let broken = self
            .connections(ended)
            .filter(|connection| !connection.faults.is_empty());
        let spent = broken.map(|connection| {
            let closed = connection.client_closed.unwrap_or(ended).min(ended);
            closed.saturating_duration_since(connection.dialled.max(self.one.began))
        });
        let most = self.connect_timeout() + SLACK + spent.sum::<Duration>();
        (longest > most && !explained()).then_some(longest)
    }

    /// Returns the time until the request arrived, if that is too long for a peer without a fault on a short way, and
    /// without a limit.
    fn needless_wait(&self) -> Option<Duration> {
        let sighting = self.one.seen.first()?;
        let wait = sighting.at.saturating_duration_since(self.one.began);
        let ways = [self.one.peer.server(), self.world.plan.origin(self.one.request)];
        let is_short = ways.into_iter().all(|server| self.world.server(server).latency <= 5);
        let is_healthy = self
            .connections(sighting.at)
            .all(|connection| connection.faults.is_empty());
        let is_free = self.world.plan.client.max_per_key.is_none();
        (is_free && is_short && is_healthy && wait > PROMPT).then_some(wait)
    }

    /// Returns the time that a response took which was sent, and read at once, if that is too long.
    fn unread_response(&self) -> Option<Duration> {
        let (ended, _) = self.one.body_ended?;
        let sighting = self.one.seen.last()?;
        let began = sighting.released?.max(self.one.ended?.0);
        let wait = ended.saturating_duration_since(began);
        let is_healthy = sighting.fault.is_none() && self.record.connections[sighting.connection].faults.is_empty();
        (self.one.reading == Reading::Whole && is_healthy && wait > TRANSFER).then_some(wait)
    }

    fn inherited_timeout(&self, ended: Instant) -> Option<String> {
        let waited = ended - self.one.began;
        if waited < self.connect_timeout() {
            return Some(format!("timed out after {waited:?}"));
        }
        if self.world.plan.client.max_per_key.is_some() {
            return None;
        }
        let attempts = self
            .connections(ended)
            .filter(|connection| !connection.faults.is_empty() || connection.served == 0);
        let (own, inherited): (Vec<_>, Vec<_>) = attempts.partition(|connection| connection.dialled >= self.one.began);
        // On the way to a proxy that may speak HTTP/2, attempts are everybody's.
        let is_everybodys = |connection: &&Connection| matches!(connection.peer, None | Some(Peer::Shared { .. }));
        if own.is_empty() && inherited.iter().any(is_everybodys) {
            return None;
        }
        if own.is_empty() {
            return Some("timed out over attempts that others had made".to_owned());
        }
        // Where a peer has been in trouble for long, company may come later. What comes with the time-out is none.
        let company = own
            .iter()
            .skip(1)
            .any(|connection| connection.dialled + COMPANY / 10 < ended);
        let is_alone = !company && inherited.is_empty() && waited >= COMPANY;
        is_alone.then(|| "timed out over one attempt, which got no company".to_owned())
    }

    /// Returns true if a fault explains an error after the request was sent, or could have been.
    fn has_fault(&self, ended: Instant, explains: impl Fn(Fault) -> bool) -> bool {
        let breaks = |(at, fault): &(Instant, Fault)| *at <= ended && explains(*fault);
        match self.one.seen.last() {
            Some(sighting) => {
                let connection = &self.record.connections[sighting.connection];
                sighting.fault.is_some() || connection.faults.iter().any(&breaks)
            }
            None => self
                .connections(ended)
                .any(|connection| connection.faults.iter().any(&breaks)),
        }
    }

    /// Returns true if nothing but a refusal of the stream can have failed the request.
    fn was_refused(&self, ended: Instant) -> bool {
        let faults: Vec<_> = self
            .connections(ended)
            .flat_map(|connection| &connection.faults)
            .filter(|(at, _)| *at <= ended)
            .collect();
        // A connection that broke may have had the request before, or may have kept the refusal from the client.
        let promise = |fault: &Fault| fault.is_promise() || *fault == Fault::AllowsFewer;
        faults.iter().all(|(_, fault)| promise(fault))
            && match self.one.seen.last() {
                Some(sighting) => sighting.at <= ended && sighting.fault == Some(Fault::RefusesStream),
                None => !faults.is_empty(),
            }
    }

    /// Returns true if a reused HTTP/1.1 connection closed before any byte of a response (RFC 9112 9.3.1), and nothing
    /// else can have failed the request.
    fn lost_its_connection(&self, ended: Instant) -> bool {
        let last = self.one.seen.last();
        let since = last.map_or(self.one.began, |sighting| sighting.at);
        let is_excused = self.connections(ended).any(|connection| {
            // A new connection, on which a request is not repeated, broke before the request arrived.
            connection.served == 0
                && connection.client_closed.is_none_or(|closed| closed >= since)
                && connection.faults.iter().any(|(at, _)| *at <= ended)
        });
        !self.is_http2() && !is_excused && last.is_none_or(|sighting| sighting.reused && !sighting.answering)
    }

    fn is_http2(&self) -> bool {
        match self.one.peer {
            Peer::Direct { origin } | Peer::Tunnel { origin, .. } => {
                self.world.server(origin).protocol == Protocol::Http2
            }
            Peer::Forward { proxy, .. } => self.world.server(proxy).protocol.is_http2_proxy(),
            Peer::Shared { .. } => true,
        }
    }
}

/// Returns the time that the client may take to hear of a connection's end: the end of a tunnel is known by its proxy.
fn news(connection: &Connection) -> Duration {
    match connection.carrier {
        Some(_) => SLACK,
        None => Duration::ZERO,
    }
}

/// One attempt that fails is told to one request: no server has more failures than failed attempts.
fn shared_blame(world: &World, record: &Record, mut broken: impl FnMut(String)) {
    let mut failed = BTreeMap::<usize, (usize, usize)>::new();
    for one in &record.tries {
        if let Some((
            _,
            End::Failed {
                connect: true,
                timeout: false,
                ..
            },
        )) = one.ended
        {
            failed.entry(one.peer.server()).or_default().0 += 1;
        }
    }
    for connection in &record.connections {
        if connection.near.is_none() && connection.served == 0 && !connection.faults.is_empty() {
            failed.entry(connection.server).or_default().1 += 1;
        }
    }
    // What is on its way on a shared connection is lost with it.
    let is_shared = |server: usize| world.server(server).protocol.is_http2_proxy();
    for (server, (requests, attempts)) in failed {
        if requests > attempts && !is_shared(server) {
            broken(format!(
                "{requests} requests failed by {attempts} failed attempts to server {server}"
            ));
        }
    }
}

/// A connection that nobody used was opened for a request that got another one, or was given up. A request that makes
/// two attempts has been served by one of them, or has been failed by faults.
fn waste(record: &Record, mut broken: impl FnMut(String)) {
    let unused = record.connections.iter().filter(|connection| {
        connection.near.is_none()
            && connection.connected.is_some()
            && connection.served == 0
            && connection.faults.is_empty()
    });
    let (unused, requests) = (unused.count(), record.tries.len());
    if unused > 2 * requests {
        broken(format!(
            "{unused} connections were opened and not used, for {requests} requests"
        ));
    }
}

/// With one connection at a time and no faults, the order in which requests arrive is that in which they were made.
fn order(world: &World, record: &Record, mut broken: impl FnMut(String)) {
    let mut last = BTreeMap::<Peer, (usize, Instant)>::new();
    for (number, one) in record.tries.iter().enumerate() {
        let is_calm = |connection: &&Connection| connection.server != one.peer.server() || connection.faults.is_empty();
        let [sighting] = &one.seen[..] else { continue };
        let got_response = matches!(one.ended, Some((_, End::Response(_))));
        let is_http1 = match one.peer {
            Peer::Direct { origin } | Peer::Tunnel { origin, .. } => world.server(origin).protocol != Protocol::Http2,
            Peer::Forward { proxy, .. } => !world.server(proxy).protocol.is_http2_proxy(),
            Peer::Shared { .. } => false,
        };
        if !got_response || one.is_probe || !is_http1 || !record.connections.iter().all(|one| is_calm(&one)) {
            continue;
        }
        match last.get(&one.peer) {
            Some((before, at)) if *at > sighting.at => {
                broken(format!(
                    "try {number} arrived before try {before}, which had waited longer"
                ));
            }
            _ => {
                last.insert(one.peer, (number, sighting.at));
            }
        }
    }
}
