//! The gate of a server over HTTP/2: a relay of frames, which does what the `h2` crate does not do of itself.
//!
//! That crate takes every stream that arrives before it sends GOAWAY, and tells of its limits once, at once. The gate
//! withholds streams and sends the GOAWAY, as nginx does, lets SETTINGS come late and change, and loses PINGs. It also
//! sees every stream that the client opens, and checks the number.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, split},
    time::sleep,
};

use super::Session;
use crate::{fault::Fault, invariants::Invariant, record::Happening, world::lock};

const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;

const MAX_CONCURRENT_STREAMS: u16 = 3;

/// The things that a gate does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gate {
    /// The streams before a GOAWAY, which the others are above.
    pub(super) streams: Option<usize>,
    /// The time of a GOAWAY, in milliseconds.
    pub(super) until: Option<u64>,
    /// The delay of everything that the server says, in milliseconds.
    pub(super) late: u64,
    /// The number of streams to allow, and the time and the number of a change.
    pub(super) allows: Option<(u32, u64, u32)>,
    /// True if PINGs are lost.
    pub(super) loses_pings: bool,
}

impl Gate {
    /// Returns the gate of a server, as its faults will have it.
    pub(super) fn of(session: &mut Session) -> Self {
        let is_proxy = session.is_proxy();
        let mut gate = Self::default();
        if session.happens(Fault::GoAwayBelow) {
            match is_proxy && session.random.chance(500) {
                true => gate.until = Some(session.moment()),
                false => gate.streams = Some(session.random.range(1, 4) as usize),
            }
        }
        if is_proxy {
            if session.happens(Fault::SettingsLate) {
                session.fault(Fault::SettingsLate);
                gate.late = session.random.range(1, 3_000);
            }
            gate.loses_pings = session.happens(Fault::PingUnanswered);
            let most = session.world.server(session.server).max_streams;
            let next = if session.random.chance(300) {
                session.random.pick(&[1, 2, 4, 100])
            } else {
                most
            };
            gate.allows = Some((most, session.moment(), next));
        }
        gate
    }

    /// Returns true if there is nothing to do.
    pub(super) fn is_open(&self) -> bool {
        self.streams.is_none() && self.until.is_none() && self.allows.is_none()
    }

    /// Relays frames to the end of the connection.
    pub(super) async fn relay<T>(self, session: Session, io: T, server: DuplexStream)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut heard_from_client, to_client) = split(io);
        let (mut heard_from_server, mut to_server) = split(server);
        // Locked for a whole frame.
        let to_client = tokio::sync::Mutex::new(to_client);
        let passing = Passing {
            gate: self,
            session,
            state: Arc::default(),
        };
        let requests = async {
            let mut preface = [0; PREFACE];
            heard_from_client.read_exact(&mut preface).await?;
            to_server.write_all(&preface).await?;
            loop {
                let frame = read_frame(&mut heard_from_client).await?;
                let (passes, goaway) = passing.heard_from_client(&frame);
                if let Some(goaway) = goaway {
                    to_client.lock().await.write_all(&goaway).await?;
                }
                if passes && to_server.write_all(&frame).await.is_err() {
                    // The server has ended, but not all that it said has arrived.
                    std::future::pending::<()>().await;
                }
            }
        };
        let responses = async {
            sleep(Duration::from_millis(self.late)).await;
            loop {
                let mut frame = read_frame(&mut heard_from_server).await?;
                let mut to_client = to_client.lock().await;
                passing.heard_from_server(&mut frame);
                to_client.write_all(&frame).await?;
                to_client.flush().await?;
            }
        };
        let change = async {
            let Some((_, after, next)) = self.allows.filter(|(allowed, _, next)| allowed != next) else {
                return std::future::pending().await;
            };
            sleep(Duration::from_millis(self.late + after)).await;
            let mut to_client = to_client.lock().await;
            to_client.write_all(&passing.settings(next)).await?;
            drop(to_client);
            std::future::pending().await
        };
        let end = async {
            let Some(until) = self.until else {
                return std::future::pending().await;
            };
            sleep(Duration::from_millis(self.late + until)).await;
            let goaway = passing.withhold();
            to_client.lock().await.write_all(&goaway).await?;
            std::future::pending().await
        };
        let _: io::Result<()> = tokio::select! {
            biased;
            ended = requests => ended,
            ended = responses => ended,
            ended = change => ended,
            ended = end => ended,
        };
    }
}

/// A connection's frames, in both directions.
struct Passing {
    gate: Gate,
    session: Session,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The last stream that passed.
    last: u32,
    seen: usize,
    is_withholding: bool,
    /// By open stream: true if the client has ended its half, and if the server has.
    open: BTreeMap<u32, (bool, bool)>,
    /// The SETTINGS that the client has yet to acknowledge: the streams that it allows, and true if the server knows
    /// nothing of it.
    sent: VecDeque<(u32, bool)>,
    /// The limit that the client has acknowledged.
    allowed: Option<u32>,
}

impl Passing {
    /// Returns true if a frame passes, and a GOAWAY if it is time for one.
    fn heard_from_client(&self, frame: &[u8]) -> (bool, Option<Vec<u8>>) {
        let (kind, flags, stream) = parts(frame);
        let mut state = lock(&self.state);
        let mut goaway = None;
        if kind == HEADERS && stream > state.last && !state.is_withholding {
            state.seen += 1;
            if self.gate.streams.is_some_and(|most| state.seen > most) {
                drop(state);
                goaway = Some(self.withhold());
                state = lock(&self.state);
            } else {
                state.last = stream;
                state.open.insert(stream, (false, false));
                self.check(&state);
            }
        }
        match kind {
            PING if flags & ACK == 0 && self.gate.loses_pings => {
                self.session.fault(Fault::PingUnanswered);
                return (false, goaway);
            }
            SETTINGS if flags & ACK != 0 => {
                let (allowed, is_added) = state.sent.pop_front().unwrap_or((u32::MAX, false));
                state.allowed = Some(allowed);
                return (!is_added, goaway);
            }
            _ => {}
        }
        state.ends(kind, flags, stream, |ends| &mut ends.0);
        (stream <= state.last, goaway)
    }

    fn heard_from_server(&self, frame: &mut [u8]) {
        let (kind, flags, stream) = parts(frame);
        let mut state = lock(&self.state);
        state.ends(kind, flags, stream, |ends| &mut ends.1);
        if let (SETTINGS, 0, Some((allowed, ..))) = (kind, flags & ACK, self.gate.allows) {
            state.sent.push_back((allowed, false));
            for setting in frame[FRAME_HEAD..].chunks_exact_mut(6) {
                if setting[..2] == MAX_CONCURRENT_STREAMS.to_be_bytes() {
                    setting[2..].copy_from_slice(&allowed.to_be_bytes());
                }
            }
        }
    }

    /// Withholds further streams. Returns the GOAWAY that says so.
    fn withhold(&self) -> Vec<u8> {
        let mut state = lock(&self.state);
        state.is_withholding = true;
        self.session.fault(Fault::GoAwayBelow);
        let mut goaway = vec![0, 0, 8, GOAWAY, 0, 0, 0, 0, 0];
        goaway.extend(state.last.to_be_bytes());
        goaway.extend([0; 4]);
        goaway
    }

    /// Allows another number of streams. Returns the SETTINGS that say so.
    fn settings(&self, allowed: u32) -> Vec<u8> {
        lock(&self.state).sent.push_back((allowed, true));
        let connection = self.session.connection;
        let mut record = self.session.world.record();
        record.happens(&Happening::Streams(connection, allowed));
        if self.gate.allows.is_some_and(|(before, ..)| before > allowed) {
            record.fault(connection, Fault::AllowsFewer);
        }
        let mut settings = vec![0, 0, 6, SETTINGS, 0, 0, 0, 0, 0];
        settings.extend(MAX_CONCURRENT_STREAMS.to_be_bytes());
        settings.extend(allowed.to_be_bytes());
        settings
    }

    /// Checks the number of streams that a client has opened. Before SETTINGS, it is to open one.
    fn check(&self, state: &State) {
        let (open, allowed) = (state.open.len(), state.allowed.unwrap_or(1) as usize);
        if self.gate.allows.is_some() && open > allowed {
            let connection = self.session.connection;
            let text = format_args!("connection {connection} has {open} streams, and {allowed} are allowed");
            self.session.world.record().violated(Invariant::Streams, text);
        }
    }
}

impl State {
    /// Notes that one side has ended its half of a stream, or reset the stream.
    fn ends(&mut self, kind: u8, flags: u8, stream: u32, half: impl Fn(&mut (bool, bool)) -> &mut bool) {
        let Some(ends) = self.open.get_mut(&stream) else {
            return;
        };
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            *half(ends) = true;
        }
        if kind == RST_STREAM || *ends == (true, true) {
            self.open.remove(&stream);
        }
    }
}

async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; FRAME_HEAD];
    from.read_exact(&mut frame).await?;
    let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
    frame.resize(FRAME_HEAD + length, 0);
    from.read_exact(&mut frame[FRAME_HEAD..]).await?;
    Ok(frame)
}

/// Returns the kind, the flags and the stream of a frame.
fn parts(frame: &[u8]) -> (u8, u8, u32) {
    let stream = u32::from_be_bytes([frame[5] & 0x7f, frame[6], frame[7], frame[8]]);
    (frame[3], frame[4], stream)
}
