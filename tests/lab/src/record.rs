//! The bytes of a socket.
//!
//! A test of a proxy client is a test of bytes: which were sent, in which order, and before which answer.
//! [`Connection`] is the record of one accepted socket, and outlives the socket. Behind TLS it has the decrypted bytes.
//! `tee.rs` has the socket that writes it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::lock;

/// The record of one accepted connection. It is a handle: the record grows while the connection is open, and clones
/// share it.
#[derive(Clone)]
pub struct Connection(Arc<Record>);

struct Record {
    id: usize,
    peer: SocketAddr,
    changed: Arc<watch::Sender<()>>,
    tape: Mutex<Tape>,
}

#[derive(Default)]
struct Tape {
    received: Vec<u8>,
    sent: Vec<u8>,
    /// For each write, the numbers of bytes sent and received before it.
    writes: Vec<(usize, usize)>,
    peer_closed: bool,
    closed: bool,
    tls: Option<Tls>,
    tls_error: Option<String>,
}

/// The result of a TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The ALPN protocol agreed on, as text.
    pub alpn: Option<String>,
    /// The server name the client sent. An IP address is never sent as a server name.
    pub sni: Option<String>,
    /// True if the client showed a certificate.
    pub client_certificate: bool,
}

impl Connection {
    pub(crate) fn new(id: usize, peer: SocketAddr, changed: Arc<watch::Sender<()>>) -> Self {
        Self(Arc::new(Record {
            id,
            peer,
            changed,
            tape: Mutex::default(),
        }))
    }

    /// Returns the position of this connection among those accepted by its listener, from 0.
    #[must_use]
    pub fn id(&self) -> usize {
        self.0.id
    }

    /// Returns the client's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// Returns everything read from the client so far.
    #[must_use]
    pub fn received(&self) -> Vec<u8> {
        lock(&self.0.tape).received.clone()
    }

    /// Returns everything written to the client so far.
    #[must_use]
    pub fn sent(&self) -> Vec<u8> {
        lock(&self.0.tape).sent.clone()
    }

    /// Returns [`received`](Self::received) as text, with anything that is not UTF-8 replaced.
    #[must_use]
    pub fn received_text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.0.tape).received).into_owned()
    }

    /// Returns [`sent`](Self::sent) as text, with anything that is not UTF-8 replaced.
    #[must_use]
    pub fn sent_text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.0.tape).sent).into_owned()
    }

    /// Returns the bytes read from the client before the byte at `offset` of [`sent`](Self::sent) was written;
    /// everything so far, if it has not been written yet.
    #[must_use]
    pub fn received_before_sent(&self, offset: usize) -> Vec<u8> {
        let tape = lock(&self.0.tape);
        tape.received[..tape.received_before_sent(offset)].to_vec()
    }

    /// Returns the bytes that the client sent after the head of its first request and before it could have had the
    /// whole head of the final response. For a CONNECT, these bytes were sent into a tunnel that did not exist yet. A
    /// scripted proxy looks for such bytes before each write; a hyper-based one reads at any time.
    #[must_use]
    pub fn early(&self) -> Vec<u8> {
        let tape = lock(&self.0.tape);
        let Some(start) = end_of_head(&tape.received) else {
            return Vec::new();
        };
        let end = match end_of_final_head(&tape.sent) {
            Some(answered) => tape.received_before_sent(answered - 1),
            None => tape.received.len(),
        };
        tape.received[start..end.max(start)].to_vec()
    }

    /// Returns true if the socket is still open here.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !lock(&self.0.tape).closed
    }

    /// Returns true if reading has reached the end of the client's bytes, or an error.
    #[must_use]
    pub fn peer_closed(&self) -> bool {
        lock(&self.0.tape).peer_closed
    }

    /// Returns the result of the TLS handshake, if there was one and it succeeded.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        lock(&self.0.tape).tls.clone()
    }

    /// Returns the reason why the TLS handshake failed, if it did.
    #[must_use]
    pub fn tls_error(&self) -> Option<String> {
        lock(&self.0.tape).tls_error.clone()
    }

    /// Waits until `condition` holds of this record.
    pub async fn until(&self, mut condition: impl FnMut(&Self) -> bool) {
        let mut changes = self.0.changed.subscribe();
        while !condition(self) {
            // An error says that nothing will change any more; the record keeps its sender, so
            // there is none.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until the socket is closed here.
    pub async fn closed(&self) {
        self.until(|record| !record.is_open()).await;
    }

    /// Reads the received bytes without copying them.
    pub(crate) fn read_received<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        read(&lock(&self.0.tape).received)
    }

    pub(crate) fn sent_ends_with(&self, end: &str) -> bool {
        lock(&self.0.tape).sent.ends_with(end.as_bytes())
    }

    pub(crate) fn note_read(&self, bytes: &[u8], ended: bool) {
        self.edit(|tape| {
            tape.received.extend_from_slice(bytes);
            tape.peer_closed |= ended;
        });
    }

    /// Records that the first `count` bytes of `slices` were written.
    pub(crate) fn note_write<'a>(&self, mut count: usize, slices: impl IntoIterator<Item = &'a [u8]>) {
        self.edit(|tape| {
            tape.writes.push((tape.sent.len(), tape.received.len()));
            for slice in slices {
                let part = &slice[..slice.len().min(count)];
                tape.sent.extend_from_slice(part);
                count -= part.len();
            }
        });
    }

    pub(crate) fn note_tls(&self, outcome: Result<Tls, io::Error>) {
        self.edit(|tape| match outcome {
            Ok(tls) => tape.tls = Some(tls),
            Err(error) => tape.tls_error = Some(error.to_string()),
        });
    }

    pub(crate) fn note_closed(&self) {
        self.edit(|tape| tape.closed = true);
    }

    fn edit(&self, edit: impl FnOnce(&mut Tape)) {
        edit(&mut lock(&self.0.tape));
        self.0.changed.send_replace(());
    }
}

impl Tape {
    fn received_before_sent(&self, offset: usize) -> usize {
        if offset >= self.sent.len() {
            return self.received.len();
        }
        let after = self.writes.partition_point(|&(sent, _)| sent <= offset);
        after.checked_sub(1).map_or(0, |write| self.writes[write].1)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tape = lock(&self.0.tape);
        let opening = |bytes: &[u8]| format!("{}", bytes[..bytes.len().min(1024)].escape_ascii());
        f.debug_struct("Connection")
            .field("id", &self.0.id)
            .field("peer", &self.0.peer)
            .field("open", &!tape.closed)
            .field("peer_closed", &tape.peer_closed)
            .field("tls", &tape.tls)
            .field("tls_error", &tape.tls_error)
            .field("received", &opening(&tape.received))
            .field("sent", &opening(&tape.sent))
            .finish()
    }
}

/// Returns the offset just after the first empty line, if there is one.
pub(crate) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|start| start + 4)
}

/// Returns the offset just after the first final head: skips interim (1xx) responses.
fn end_of_final_head(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let head = &bytes[start..];
        start += end_of_head(head)?;
        let interim = head.starts_with(b"HTTP/1.") && head.get(8..10) == Some(b" 1");
        if !interim || head.get(9..12) == Some(b"101") {
            return Some(start);
        }
    }
}
