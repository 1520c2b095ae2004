//! Limits, figures, and what is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;
use tower_outbound_proxy::{
    ProxyServer, Route,
    client::{KeyStats, PoolStats},
};

use super::Invariant;
use crate::{
    plan::{Event, Server},
    record::{Connection, ConnectionId, End, Peer, Record, Try, TryId},
    world::World,
};

/// More than it takes until a connection is open or a request is over, as the client sees it, and to close one.
const CHECKIN: Duration = Duration::from_millis(500);

/// Checks the limits, at any moment.
pub(crate) fn limits(world: &World, stats: &PoolStats) {
    let client = &world.plan.client;
    let mut record = world.record();
    if let Some(most) = client.max_per_key {
        let mut open = BTreeMap::<Peer, usize>::new();
        // A proxy hears of a tunnel's end later. A shared connection that takes no more streams does not count, be it that
        // the settings do not name it any more.
        let is_replaced = |event: &(u64, Event)| matches!(event.1, Event::Replace(_));
        let is_shared_limited = client.max_shared.is_some() && !world.plan.events.iter().any(is_replaced);
        let counts = |connection: &&Connection| match connection.peer {
            Some(Peer::Shared { .. }) => is_shared_limited && connection.faults.is_empty(),
            _ => connection.carrier.is_none(),
        };
        for peer in open_connections(&record)
            .filter(counts)
            .filter_map(|connection| connection.peer)
        {
            *open.entry(peer).or_default() += 1;
        }
        for (peer, open) in open.into_iter().filter(|(_, open)| *open > most) {
            let text = format_args!("{peer:?} has {open} connections, the limit is {most}");
            record.violated(Invariant::Limit, text);
        }
        // Attempts to find out if a proxy speaks HTTP/2 have no limit of this kind.
        let may_be_shared =
            |key: &&KeyStats| key.origin.is_none() && key.route.proxy().is_some_and(ProxyServer::is_tls);
        let keys = stats
            .keys
            .iter()
            .filter(|key| world.shared_proxy(key).is_none() && !may_be_shared(key));
        for key in keys.filter(|key| key.open + key.connecting > most) {
            let text = format_args!(
                "{} open and {} connecting, the limit is {most}",
                key.open, key.connecting
            );
            record.violated(Invariant::Limit, text);
        }
    }
    for key in stats.keys.iter().filter(|key| world.shared_proxy(key).is_none()) {
        let most = client.max_idle_per_key.unwrap_or(usize::MAX).min(key.open);
        if key.idle > most {
            let text = format_args!("{} idle for {:?}, the limit is {most}", key.idle, key.origin);
            record.violated(Invariant::Idle, text);
        }
    }
    if let Some(timeout) = client.idle_timeout {
        let most = Duration::from_millis(timeout + (timeout / 100).clamp(1, 1_000)) + CHECKIN;
        let idle = (0..record.connections.len()).filter_map(|number| record.idle_since(number));
        for idle in idle
            .map(|since| since.elapsed())
            .filter(|idle| *idle > most)
            .collect::<Vec<_>>()
        {
            let text = format_args!("a connection is idle for {idle:?}, the limit is {timeout} ms");
            record.violated(Invariant::Idle, text);
        }
    }
    let keys = stats.keys.iter().filter(|key| world.shared_proxy(key).is_none());
    let idle: usize = keys.map(|key| key.idle).sum();
    if let Some(most) = client.max_idle.filter(|most| idle > *most) {
        let text = format_args!("{idle} idle, the limit is {most}");
        record.violated(Invariant::Idle, text);
    }
}

/// Checks, when a request arrives, that its origin leaves connections of a forward proxy to others.
pub(crate) fn share(world: &World, record: &mut Record, arrived: TryId) {
    let one = &record.tries[arrived];
    let (Some(limit), Peer::Forward { proxy, .. }) = (world.plan.client.max_per_key, one.peer) else {
        return;
    };
    if world.server(proxy).protocol.is_http2_proxy() {
        return;
    }
    let origin = world.plan.origin(one.request);
    let is_same = |other: &&Try| other.peer == one.peer && world.plan.origin(other.request) == origin;
    let is_sent = |other: &&Try| {
        let connection = other
            .seen
            .last()
            .map(|sighting| &record.connections[sighting.connection]);
        other.ended.is_none() && connection.is_some_and(|connection| connection.client_closed.is_none())
    };
    let in_use = record.tries.iter().filter(is_same).filter(is_sent).count();
    if in_use > limit.div_ceil(2) {
        let text = format_args!("origin {origin} has {in_use} connections of {limit} in use");
        record.violated(Invariant::Share, text);
    }
}

/// Checks a client whose requests have all ended a while ago.
pub(crate) fn quiet(world: &World, stats: &PoolStats) {
    limits(world, stats);
    let mut record = world.record();
    for key in &stats.keys {
        if key.waiting + key.connecting > 0 {
            let (waiting, connecting) = (key.waiting, key.connecting);
            let text = format_args!("{waiting} waiting and {connecting} connecting after the last request");
            record.violated(Invariant::Leak, text);
        }
    }
    let connecting: usize = stats.keys.iter().map(|key| key.connecting).sum();
    let dialling = record.connections.iter().filter(|connection| {
        connection.near.is_none()
            && connection.connected.is_none()
            && connection.client_closed.is_none()
            && !connection.is_doubtful()
    });
    let dialling = dialling.count();
    if dialling > 0 {
        let text = format_args!("{dialling} connections are dialled after the last request");
        record.violated(Invariant::Leak, text);
    }
    let open = open_connections(&record).count();
    if connecting > 0 {
        // Reported above.
        return;
    }
    let doubtful = open_connections(&record)
        .filter(|connection| connection.is_doubtful())
        .count();
    if !(open - doubtful..=open).contains(&stats.open()) {
        let text = format_args!("{} open in the figures, {open} on the network", stats.open());
        record.violated(Invariant::Stats, text);
    }
    counters(&mut record, stats);
    // A connection is in use as long as it carries a tunnel, which may be idle itself.
    let carriers: BTreeSet<_> = open_connections(&record).filter_map(|tunnel| tunnel.carrier).collect();
    let in_use = (stats.open() - stats.idle().min(stats.open())).saturating_sub(carriers.len());
    if in_use > 0 {
        let text = format_args!("{in_use} connections are in use after the last request");
        record.violated(Invariant::Leak, text);
    }
    let settings = world.settings();
    let retired = open_connections(&record).filter(|connection| match connection.peer {
        Some(
            Peer::Forward { proxy, password } | Peer::Tunnel { proxy, password, .. } | Peer::Shared { proxy, password },
        ) => {
            let is_named = settings.http == Some(proxy) || settings.https == Some(proxy);
            !is_named || password != settings.password
        }
        _ => false,
    });
    let retired = retired.count();
    if retired > 0 {
        let text = format_args!("{retired} connections to proxies that the settings no longer name");
        record.violated(Invariant::Retired, text);
    }
}

/// Checks the counters since the client was built, and since its keys got their connections.
fn counters(record: &mut Record, stats: &PoolStats) {
    let own = || record.connections.iter().filter(|connection| connection.near.is_none());
    let used = own().filter(|connection| connection.served > 0).count() as u64;
    let connected = own().filter(|connection| connection.connected.is_some()).count() as u64;
    let sightings = record.tries.iter().flat_map(|one| &one.seen);
    let reused = sightings.filter(|sighting| sighting.reused).count() as u64 + record.reused_by_connects;
    let reused_open: usize = open_connections(record)
        .map(|connection| connection.served.saturating_sub(1))
        .sum();
    // Of requests that nobody failed or gave up, every one that gets a connection arrives.
    let is_calm = own().all(|connection| connection.faults.is_empty())
        && record
            .tries
            .iter()
            .all(|one| matches!(one.ended, Some((_, End::Response(_)))));
    let is_whole = stats.keys.iter().all(|key| key.open as u64 == key.opened);
    let by_keys: u64 = stats.keys.iter().map(|key| key.reused).sum();
    for (figure, found, least, most) in [
        ("opened", stats.opened, used, connected),
        ("reused", stats.reused, reused, if is_calm { reused } else { u64::MAX }),
        (
            "reused by keys",
            by_keys,
            if is_calm && is_whole { reused_open as u64 } else { 0 },
            stats.reused,
        ),
    ] {
        if !(least..=most).contains(&found) {
            let text = format_args!("{found} {figure} in the figures, {least} to {most} on the network");
            record.violated(Invariant::Stats, text);
        }
    }
    for key in stats.keys.iter().filter(|key| key.open as u64 > key.opened) {
        let text = format_args!("{} open for {:?}, and {} opened", key.open, key.origin, key.opened);
        record.violated(Invariant::Stats, text);
    }
}

/// Checks that the client has no connection left.
pub(crate) fn closed(world: &World, when: &str) {
    let mut record = world.record();
    let open = open_connections(&record).count();
    if open > 0 {
        record.violated(Invariant::Leak, format_args!("{open} connections are open {when}"));
    }
}

/// Returns the client's own connections that are open.
fn open_connections(record: &Record) -> impl Iterator<Item = &Connection> {
    record.connections.iter().filter(|connection| {
        connection.near.is_none() && connection.connected.is_some() && connection.client_closed.is_none()
    })
}

impl Connection {
    /// Returns true for a connection over HTTP/2 that is dead without a sign, and for the tunnels on it: the proxy does
    /// not hear of their end, and closing takes a while.
    fn is_doubtful(&self) -> bool {
        let is_shared = self.carrier.is_some() || matches!(self.peer, Some(Peer::Shared { .. }));
        is_shared && self.faults.iter().any(|(_, fault)| fault.is_silent())
    }
}

impl World {
    /// Returns the proxy over HTTP/2 that a key of the pool forwards to.
    fn shared_proxy(&self, key: &KeyStats) -> Option<&Server> {
        let Route::Forward(proxy) = &key.route else { return None };
        let is_it = |server: &&Server| server.protocol.is_http2_proxy() && proxy.to_string().contains(&server.name);
        self.plan.servers.iter().find(is_it)
    }
}

impl Record {
    /// Returns the time since which one of the client's own connections is idle, if nothing has gone wrong on it.
    fn idle_since(&self, number: ConnectionId) -> Option<Instant> {
        let connection = &self.connections[number];
        if connection.near.is_some() || connection.client_closed.is_some() || !connection.faults.is_empty() {
            return None;
        }
        let mut since = connection.connected?;
        if connection.carrier.is_some() && connection.served == 0 {
            // The client may not have heard yet that it is open, or still speak TLS in it.
            return None;
        }
        for tunnel in self.connections.iter().filter(|tunnel| tunnel.carrier == Some(number)) {
            since = since.max(tunnel.client_closed?);
        }
        let is_it = |id: ConnectionId| id == number || self.connections[id].carrier == Some(number);
        let is_on_it = |one: &&Try| one.seen.iter().any(|sighting| is_it(sighting.connection));
        for one in self.tries.iter().filter(is_on_it) {
            let (ended, end) = one.ended?;
            let over = match end {
                End::Response(_) => one.body_ended?.0,
                End::Failed { .. } | End::GaveUp => ended,
            };
            since = since.max(over);
        }
        Some(since)
    }
}
