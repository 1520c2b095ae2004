//! The rows of the tables.

use crate::run::Job;

/// The route of the requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    Plain,
    /// With TLS to the proxy.
    Tls,
}

/// One line of the tables.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) way: Way,
    pub(crate) scheme: &'static str,
    pub(crate) hosts: usize,
    pub(crate) concurrency: usize,
    pub(crate) requests: usize,
    /// The number of times that all of it is done, each time with a new client.
    pub(crate) repeats: usize,
    pub(crate) warm: usize,
    pub(crate) bytes: usize,
    /// The number of connections that suffices.
    pub(crate) connections: usize,
}

/// The ports of the server's process.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) https: u16,
    pub(crate) plain: u16,
    pub(crate) tls: u16,
}

impl Row {
    pub(crate) fn job(&self, ports: Ports, credentials: &str) -> Job {
        Job {
            proxy: match self.way {
                Way::Direct => "-".to_owned(),
                Way::Plain => format!("http://{credentials}127.0.0.1:{}", ports.plain),
                Way::Tls => format!("https://{credentials}127.0.0.1:{}", ports.tls),
            },
            scheme: self.scheme.to_owned(),
            port: if self.scheme == "http" { ports.http } else { ports.https },
            hosts: self.hosts,
            requests: self.requests,
            concurrency: self.concurrency,
            repeats: self.repeats,
            warm: self.warm,
            bytes: self.bytes,
        }
    }

    /// Returns the number of requests in one measurement.
    pub(crate) fn count(&self) -> f64 {
        (self.requests * self.repeats) as f64
    }

    /// Returns `true` if the row is measured in bytes, not in requests.
    pub(crate) fn is_bulk(&self) -> bool {
        self.bytes > 1 << 20
    }
}

const KEEP_ALIVE: Row = Row {
    name: "http, keep-alive, 1 at a time",
    way: Way::Plain,
    scheme: "http",
    hosts: 1,
    concurrency: 1,
    requests: 4000,
    repeats: 1,
    warm: 200,
    bytes: 13,
    connections: 1,
};

/// Returns all rows. `bulk` is the length of a long response in bytes.
pub(crate) fn all(bulk: usize) -> Vec<Row> {
    let at_50 = Row {
        name: "http, keep-alive, 50 at a time",
        concurrency: 50,
        requests: 10_000,
        connections: 50,
        ..KEEP_ALIVE
    };
    let first = Row {
        name: "100 origins × 1, 1 at a time",
        hosts: 100,
        requests: 100,
        repeats: 10,
        warm: 0,
        ..KEEP_ALIVE
    };
    let first_at_50 = Row {
        name: "100 origins × 1, 50 at a time",
        concurrency: 50,
        connections: 50,
        ..first
    };
    let more = Row {
        name: "100 origins × 40, 50 at a time",
        requests: 4000,
        repeats: 2,
        ..first_at_50
    };
    let tunnel = Row {
        name: "https, keep-alive in a tunnel, 1 at a time",
        scheme: "https",
        ..KEEP_ALIVE
    };
    let tunnels = Row {
        name: "https, a new tunnel each, 1 at a time",
        hosts: 100,
        requests: 100,
        repeats: 3,
        warm: 0,
        connections: 100,
        ..tunnel
    };
    let tunnels_at_50 = Row {
        name: "https, one origin, 50 at a time from the first",
        hosts: 1,
        concurrency: 50,
        requests: 2000,
        repeats: 2,
        connections: 50,
        ..tunnels
    };
    let bulk_tunnel = Row {
        name: "a long response, in a tunnel",
        hosts: 1,
        requests: 1,
        repeats: 1,
        bytes: bulk,
        connections: 1,
        ..tunnels
    };
    vec![
        KEEP_ALIVE,
        at_50,
        first,
        Row {
            name: "100 origins × 1, 1 at a time, TLS to the proxy",
            way: Way::Tls,
            ..first
        },
        first_at_50,
        Row {
            name: "100 origins × 1, 50 at a time, TLS to the proxy",
            way: Way::Tls,
            ..first_at_50
        },
        more,
        Row {
            name: "100 origins × 40, 50 at a time, TLS to the proxy",
            way: Way::Tls,
            ..more
        },
        tunnels,
        tunnel,
        tunnels_at_50,
        bulk_tunnel,
        Row {
            name: "a long response, direct",
            way: Way::Direct,
            connections: 0,
            ..bulk_tunnel
        },
    ]
}
