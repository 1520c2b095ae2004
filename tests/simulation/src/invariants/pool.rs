//! Limits, figures, and what is left.

use std::collections::BTreeMap;

use tower_outbound_proxy::client::PoolStats;

use super::Invariant;
use crate::{
    record::{Connection, Peer, Record},
    world::World,
};

/// Checks the limits, at any moment.
pub(crate) fn limits(world: &World, stats: &PoolStats) {
    let client = &world.plan.client;
    let mut record = world.record();
    if let Some(most) = client.max_per_key {
        let mut open = BTreeMap::<Peer, usize>::new();
        for peer in open_connections(&record).filter_map(|connection| connection.peer) {
            *open.entry(peer).or_default() += 1;
        }
        for (peer, open) in open.into_iter().filter(|(_, open)| *open > most) {
            let text = format_args!("{peer:?} has {open} connections, the limit is {most}");
            record.violated(Invariant::Limit, text);
        }
        for key in stats.keys.iter().filter(|key| key.open + key.connecting > most) {
            let text = format_args!(
                "{} open and {} connecting, the limit is {most}",
                key.open, key.connecting
            );
            record.violated(Invariant::Limit, text);
        }
    }
    for key in &stats.keys {
        let most = client.max_idle_per_key.unwrap_or(usize::MAX);
        if key.idle > most {
            let text = format_args!("{} idle for {:?}, the limit is {most}", key.idle, key.origin);
            record.violated(Invariant::Idle, text);
        }
    }
    if let Some(most) = client.max_idle.filter(|most| stats.idle() > *most) {
        let text = format_args!("{} idle, the limit is {most}", stats.idle());
        record.violated(Invariant::Idle, text);
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
        connection.near.is_none() && connection.connected.is_none() && connection.client_closed.is_none()
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
    if stats.open() != open {
        let text = format_args!("{} open in the figures, {open} on the network", stats.open());
        record.violated(Invariant::Stats, text);
    }
    let in_use = stats.open() - stats.idle().min(stats.open());
    if in_use > 0 {
        let text = format_args!("{in_use} connections are in use after the last request");
        record.violated(Invariant::Leak, text);
    }
    let settings = world.settings();
    let retired = open_connections(&record).filter(|connection| match connection.peer {
        Some(Peer::Forward { proxy, password } | Peer::Tunnel { proxy, password, .. }) => {
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
