//! [`Record`]: what happened to every request and connection, as the servers, the network and the callers saw it.
//!
//! Invariants are judged by it, and by nothing that the client says of itself, except where they are about what the
//! client says.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    fault::Fault,
    invariants::{Invariant, Violation},
    plan::{Event, Reading, Upload},
};

/// The number of a connection, in order of dialling.
pub(crate) type ConnectionId = usize;
/// The number of a try, which every request carries.
pub(crate) type TryId = usize;

pub(crate) struct Record {
    epoch: Instant,
    print: bool,
    hash: DefaultHasher,
    /// The time of the last happening, and the sum of the hashes of those at that time. Their order is left out: a pool
    /// may drop its connections in any.
    instant: (Duration, u64),
    pub(crate) happenings: u64,
    pub(crate) connections: Vec<Connection>,
    pub(crate) tries: Vec<Try>,
    /// By request: how often an origin processed it.
    pub(crate) processed: BTreeMap<usize, usize>,
    /// CONNECTs over HTTP/2 on connections that had carried something.
    pub(crate) reused_by_connects: u64,
    pub(crate) violations: Vec<Violation>,
    tolerated: Vec<Invariant>,
}

/// Something that happened; a line of the trace.
#[derive(Debug, Hash)]
pub(crate) enum Happening {
    Dials(ConnectionId, String),
    Connected(ConnectionId),
    DialFailed(ConnectionId),
    ClientClosed(ConnectionId),
    ServerClosed(ConnectionId),
    Fault(ConnectionId, Fault),
    StreamFault(TryId, Fault),
    Connect(ConnectionId, Peer),
    /// A connection's peer allows so many streams from now on.
    Streams(ConnectionId, u32),
    Begins(TryId, Peer, Upload, Reading),
    Seen(TryId, ConnectionId),
    Processed(TryId),
    Answered(TryId),
    Ends(TryId, End),
    BodyEnds(TryId, BodyEnd),
    Event(Event),
    Healed,
    Dropped,
}

/// A connection of the client, or of a proxy for a tunnel. A tunnel over HTTP/2 is a connection of the client as well.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The client's connection that this one carries on, as the far half of a tunnel.
    pub(crate) near: Option<ConnectionId>,
    /// The client's connection over HTTP/2 of which this one, a tunnel, is a stream.
    pub(crate) carrier: Option<ConnectionId>,
    pub(crate) server: usize,
    pub(crate) peer: Option<Peer>,
    pub(crate) dialled: Instant,
    pub(crate) connected: Option<Instant>,
    pub(crate) client_closed: Option<Instant>,
    pub(crate) faults: Vec<(Instant, Fault)>,
    /// Requests that were seen on it.
    pub(crate) served: usize,
}

/// The peer of connections that requests may share: one key of the pool, as the servers see it.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Direct {
        origin: usize,
    },
    Forward {
        proxy: usize,
        password: u64,
    },
    Tunnel {
        proxy: usize,
        password: u64,
        origin: usize,
    },
    /// A proxy over HTTP/2, whose connections carry both of the above.
    Shared {
        proxy: usize,
        password: u64,
    },
}

impl Peer {
    /// Returns the server that the client dials.
    pub(crate) fn server(self) -> usize {
        match self {
            Self::Direct { origin } => origin,
            Self::Forward { proxy, .. } | Self::Tunnel { proxy, .. } | Self::Shared { proxy, .. } => proxy,
        }
    }
}

/// One call of the client.
#[derive(Debug)]
pub(crate) struct Try {
    pub(crate) request: usize,
    pub(crate) is_post: bool,
    pub(crate) has_upload: bool,
    pub(crate) is_probe: bool,
    pub(crate) reading: Reading,
    pub(crate) peer: Peer,
    pub(crate) began: Instant,
    pub(crate) seen: Vec<Sighting>,
    pub(crate) ended: Option<(Instant, End)>,
    pub(crate) body_ended: Option<(Instant, BodyEnd)>,
}

/// A request at a server.
#[derive(Debug)]
pub(crate) struct Sighting {
    /// The client's connection.
    pub(crate) connection: ConnectionId,
    pub(crate) at: Instant,
    /// True if the connection had served another request.
    pub(crate) reused: bool,
    pub(crate) processed: bool,
    /// True once a byte of the response was written.
    pub(crate) answering: bool,
    /// The end of the server's work on it.
    pub(crate) released: Option<Instant>,
    /// A fault of this stream alone.
    pub(crate) fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum End {
    Response(u16),
    Failed { before: bool, connect: bool, timeout: bool },
    GaveUp,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    Read(usize),
    Dropped(usize),
    Failed(usize),
    GaveUp(usize),
}

impl Record {
    pub(crate) fn new(print: bool, tolerated: &[Invariant]) -> Self {
        Self {
            epoch: Instant::now(),
            print,
            hash: DefaultHasher::new(),
            instant: (Duration::ZERO, 0),
            happenings: 0,
            connections: Vec::new(),
            tries: Vec::new(),
            processed: BTreeMap::new(),
            reused_by_connects: 0,
            violations: Vec::new(),
            tolerated: tolerated.to_vec(),
        }
    }

    pub(crate) fn happens(&mut self, happening: &Happening) {
        let now = Instant::now().duration_since(self.epoch);
        if now != self.instant.0 {
            self.instant.hash(&mut self.hash);
            self.instant = (now, 0);
        }
        let mut hash = DefaultHasher::new();
        happening.hash(&mut hash);
        self.instant.1 = self.instant.1.wrapping_add(hash.finish());
        self.happenings += 1;
        if self.print {
            say(format_args!("{:>9.3} s  {happening:?}", now.as_secs_f64()));
        }
    }

    /// Notes for whoever reads the trace.
    pub(crate) fn note(&self, text: fmt::Arguments<'_>) {
        if self.print {
            let now = self.since_start(Instant::now()).as_secs_f64();
            say(format_args!("{now:>9.3} s      {text}"));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        let mut hash = self.hash.clone();
        self.instant.hash(&mut hash);
        hash.finish()
    }

    pub(crate) fn since_start(&self, instant: Instant) -> Duration {
        instant.duration_since(self.epoch)
    }

    pub(crate) fn violated(&mut self, invariant: Invariant, text: fmt::Arguments<'_>) {
        let at = self.since_start(Instant::now());
        self.note(format_args!("VIOLATED {}: {text}", invariant.name()));
        if !self.tolerated.contains(&invariant) {
            let text = format!("at {:.3} s: {text}", at.as_secs_f64());
            self.violations.push(Violation { invariant, text });
        }
    }

    /// Adds a connection. `near` is the client's, which this one carries on to its peer.
    pub(crate) fn dial(&mut self, name: &str, server: usize, near: Option<(ConnectionId, Peer)>) -> ConnectionId {
        let connection = self.connections.len();
        self.connections.push(Connection {
            near: near.map(|(near, _)| near),
            carrier: None,
            server,
            peer: near.map(|(_, peer)| peer),
            dialled: Instant::now(),
            connected: None,
            client_closed: None,
            faults: Vec::new(),
            served: 0,
        });
        self.happens(&Happening::Dials(connection, name.to_owned()));
        connection
    }

    /// Adds a tunnel that is to be opened on a connection over HTTP/2, and shares the faults of that.
    pub(crate) fn tunnel(&mut self, carrier: ConnectionId, proxy: usize, peer: Peer) -> ConnectionId {
        let carrying = &mut self.connections[carrier];
        self.reused_by_connects += u64::from(carrying.served > 0);
        carrying.served += 1;
        let shared = carrying.faults.iter().filter(|(_, fault)| !fault.is_promise());
        let faults = shared.copied().collect();
        let tunnel = self.dial("a tunnel", proxy, None);
        let connection = &mut self.connections[tunnel];
        (connection.carrier, connection.peer, connection.faults) = (Some(carrier), Some(peer), faults);
        tunnel
    }

    /// Returns the tunnels that are open, or are being opened, on a connection over HTTP/2.
    fn tunnels(&self, carrier: ConnectionId) -> Vec<ConnectionId> {
        let is_on_it = |connection: &Connection| connection.carrier == Some(carrier);
        let connections = self.connections.iter().enumerate();
        let tunnels = connections.filter(|(_, one)| is_on_it(one) && one.client_closed.is_none());
        tunnels.map(|(tunnel, _)| tunnel).collect()
    }

    pub(crate) fn connected(&mut self, connection: ConnectionId) {
        self.connections[connection].connected = Some(Instant::now());
        self.happens(&Happening::Connected(connection));
    }

    pub(crate) fn dial_failed(&mut self, connection: ConnectionId) {
        self.connections[connection].client_closed = Some(Instant::now());
        self.happens(&Happening::DialFailed(connection));
    }

    pub(crate) fn client_closed(&mut self, connection: ConnectionId) {
        if self.connections[connection].client_closed.is_some() {
            return;
        }
        self.connections[connection].client_closed = Some(Instant::now());
        self.happens(&Happening::ClientClosed(connection));
        for tunnel in self.tunnels(connection) {
            self.client_closed(tunnel);
        }
    }

    /// Returns the client's connection that this one belongs to.
    pub(crate) fn near(&self, connection: ConnectionId) -> ConnectionId {
        self.connections[connection].near.unwrap_or(connection)
    }

    /// A fault of a connection. What comes later is its consequence.
    pub(crate) fn fault(&mut self, connection: ConnectionId, fault: Fault) {
        let now = Instant::now();
        let near = self.near(connection);
        let tunnels = if fault.is_promise() {
            Vec::new()
        } else {
            self.tunnels(near)
        };
        for harmed in tunnels.into_iter().chain([near]) {
            self.connections[harmed].faults.push((now, fault));
            if fault.ends_work() {
                self.release(harmed);
            }
        }
        self.happens(&Happening::Fault(connection, fault));
    }

    pub(crate) fn server_closed(&mut self, connection: ConnectionId) {
        self.happens(&Happening::ServerClosed(connection));
        let near = self.near(connection);
        for over in self.tunnels(near).into_iter().chain([near]) {
            self.release(over);
        }
    }

    /// No server works any more on what was on a connection.
    fn release(&mut self, connection: ConnectionId) {
        let seen = self.tries.iter_mut().filter_map(|one| one.seen.last_mut());
        for sighting in seen.filter(|sighting| sighting.connection == connection) {
            sighting.released.get_or_insert_with(Instant::now);
        }
    }

    pub(crate) fn seen(&mut self, try_id: TryId, connection: ConnectionId) {
        let near = self.near(connection);
        let reused = self.connections[near].served > 0;
        self.connections[near].served += 1;
        self.tries[try_id].seen.push(Sighting {
            connection: near,
            at: Instant::now(),
            reused,
            processed: false,
            answering: false,
            released: None,
            fault: None,
        });
        self.happens(&Happening::Seen(try_id, connection));
    }

    pub(crate) fn processed(&mut self, try_id: TryId) {
        let one = &mut self.tries[try_id];
        let (request, is_post) = (one.request, one.is_post);
        if let Some(sighting) = one.seen.last_mut() {
            sighting.processed = true;
        }
        let times = self.processed.entry(request).or_default();
        *times += 1;
        let times = *times;
        self.happens(&Happening::Processed(try_id));
        if is_post && times > 1 {
            self.violated(
                Invariant::Once,
                format_args!("POST {request} was processed {times} times"),
            );
        }
    }

    pub(crate) fn answering(&mut self, try_id: TryId) {
        if let Some(sighting) = self.tries[try_id].seen.last_mut() {
            sighting.answering = true;
        }
    }

    pub(crate) fn answered(&mut self, try_id: TryId) {
        if let Some(sighting) = self.tries[try_id].seen.last_mut() {
            sighting.released.get_or_insert_with(Instant::now);
        }
        self.happens(&Happening::Answered(try_id));
    }

    /// A fault of one stream, whose connection goes on.
    pub(crate) fn stream_fault(&mut self, try_id: TryId, fault: Fault) {
        if let Some(sighting) = self.tries[try_id].seen.last_mut() {
            sighting.fault = Some(fault);
            if fault.ends_work() {
                sighting.released.get_or_insert_with(Instant::now);
            }
        }
        self.happens(&Happening::StreamFault(try_id, fault));
    }

    /// Notes the peer of one of the client's connections. It has only one.
    pub(crate) fn belongs(&mut self, connection: ConnectionId, peer: Peer) {
        let known = self.connections[connection].peer.replace(peer);
        if known.is_none() {
            self.happens(&Happening::Connect(connection, peer));
        } else if known != Some(peer) {
            let text = format_args!("connection {connection} to {known:?} was used for {peer:?}");
            self.violated(Invariant::Route, text);
        }
    }
}

/// Prints a line, if anybody still reads.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}
