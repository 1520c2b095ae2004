//! Scripts: the handling of a connection, byte for byte.
//!
//! A client must cope with every way in which the bytes of a handshake can arrive, and a real proxy sends them in one
//! way only. A [`Script`] is played once a request head has been read. Its last [`Step`] may be a tunnel to a real
//! server. A script needs no more of HTTP than the empty line that ends a head and, for [`Step::Tunnel`], the target in
//! its first line.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::Authority;
use tokio::io::{AsyncWriteExt, copy, copy_bidirectional, split};
use tokio::net::TcpStream;

use crate::listen::Ledger;
use crate::record::end_of_head;
use crate::request::Request;
use crate::target::Targets;
use crate::tee::Recorded;

/// The head that establishes a tunnel, for scripts that need no other.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// One step in the handling of a connection whose request head has been read.
#[derive(Debug, Clone)]
pub enum Step {
    /// Writes these bytes at once and flushes.
    Send(Bytes),
    /// Writes and flushes each piece, with this pause between them. A pause of zero only lets other tasks run. A client
    /// may still receive unread pieces as one.
    SendEach(Vec<Bytes>, Duration),
    /// Waits, reading what the client sends meanwhile.
    Wait(Duration),
    /// Reads another request head.
    ReadHead,
    /// Echoes all bytes received after the head, until the client has sent everything.
    Echo,
    /// Becomes a tunnel to this address.
    Connect(SocketAddr),
    /// Becomes a tunnel to the target of the request head read last.
    Tunnel,
    /// Reads until the client has sent everything.
    ReadAll,
    /// Ends sending (FIN), then reads until the client has sent everything.
    Close,
    /// Closes at once, with a reset (RST).
    Reset,
    /// Holds the socket and sends nothing, until the client closes it.
    Hang,
}

impl Step {
    /// [`Send`](Self::Send).
    #[must_use]
    pub fn send(bytes: impl Into<Bytes>) -> Self {
        Self::Send(bytes.into())
    }

    /// [`Send`](Self::Send) of `HTTP/1.1 200 Connection established` and the empty line.
    #[must_use]
    pub fn established() -> Self {
        Self::send(ESTABLISHED)
    }

    /// [`SendEach`](Self::SendEach) of the bytes before `offset`, then the others, without a
    /// pause.
    ///
    /// # Panics
    ///
    /// If `offset` is past the end.
    #[must_use]
    pub fn split_at(bytes: impl Into<Bytes>, offset: usize) -> Self {
        let mut head = bytes.into();
        let tail = head.split_off(offset);
        Self::SendEach(vec![head, tail], Duration::ZERO)
    }

    /// [`SendEach`](Self::SendEach) of pieces of `size` bytes, without a pause.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    #[must_use]
    pub fn pieces(bytes: impl Into<Bytes>, size: usize) -> Self {
        let bytes = bytes.into();
        let pieces = bytes.chunks(size).map(|piece| bytes.slice_ref(piece));
        Self::SendEach(pieces.collect(), Duration::ZERO)
    }
}

/// The handling of a connection, step by step. A script that runs out of steps ends as with [`Step::Close`].
#[derive(Debug, Clone, Default)]
pub struct Script(Vec<Step>);

impl From<Vec<Step>> for Script {
    fn from(steps: Vec<Step>) -> Self {
        Self(steps)
    }
}

impl<const N: usize> From<[Step; N]> for Script {
    fn from(steps: [Step; N]) -> Self {
        Self(steps.into())
    }
}

impl From<Step> for Script {
    fn from(step: Step) -> Self {
        Self(vec![step])
    }
}

impl Script {
    /// Plays the script for a client whose head has been read.
    pub(crate) async fn play(
        &self,
        mut io: Recorded,
        head: Bytes,
        targets: &Targets,
        ledger: &Ledger,
    ) -> io::Result<()> {
        let mut request = note(&io, &head, ledger);
        for step in &self.0 {
            match step {
                Step::Send(bytes) => send(&mut io, bytes).await?,
                Step::SendEach(pieces, pause) => {
                    for (index, piece) in pieces.iter().enumerate() {
                        match (index, pause.is_zero()) {
                            (0, _) => {}
                            (_, true) => tokio::task::yield_now().await,
                            (_, false) => wait(&mut io, *pause).await?,
                        }
                        send(&mut io, piece).await?;
                    }
                }
                Step::Wait(pause) => wait(&mut io, *pause).await?,
                Step::ReadHead => {
                    let Some(head) = read_head(&mut io).await? else {
                        break;
                    };
                    request = note(&io, &head, ledger);
                }
                Step::Echo => {
                    let (mut read, mut write) = split(io);
                    copy(&mut read, &mut write).await?;
                    return write.shutdown().await;
                }
                Step::Connect(addr) => return tunnel(io, TcpStream::connect(addr).await?).await,
                Step::Tunnel => {
                    let authority = request.as_ref().and_then(authority);
                    let Some(authority) = authority else {
                        return Err(io::ErrorKind::InvalidInput.into());
                    };
                    return tunnel(io, targets.dial(&authority, Some(80)).await?).await;
                }
                Step::ReadAll => read_all(&mut io).await?,
                Step::Close => break,
                Step::Reset => return io.reset_on_close(),
                Step::Hang => return read_all(&mut io).await,
            }
        }
        io.shutdown().await?;
        read_all(&mut io).await
    }
}

fn note(io: &Recorded, head: &[u8], ledger: &Ledger) -> Option<Request> {
    let request = Request::parse(io.record().id(), head)?;
    ledger.request(request.clone());
    Some(request)
}

fn authority(request: &Request) -> Option<Authority> {
    let uri: http::Uri = request.target.parse().ok()?;
    uri.into_parts().authority
}

async fn tunnel(mut io: Recorded, mut far: TcpStream) -> io::Result<()> {
    copy_bidirectional(&mut io, &mut far).await.map(drop)
}

/// Writes after everything that has arrived was read, so that the record shows the bytes that the client sent before.
async fn send(io: &mut Recorded, bytes: &[u8]) -> io::Result<()> {
    poll_fn(|cx| {
        while let Poll::Ready(result) = io.poll_fill(cx) {
            if result? == 0 {
                break;
            }
        }
        Poll::Ready(io::Result::Ok(()))
    })
    .await?;
    io.write_all(bytes).await?;
    io.flush().await
}

/// Reads ahead during the pause. A client that leaves ends the script.
async fn wait(io: &mut Recorded, pause: Duration) -> io::Result<()> {
    let read_ahead = async {
        while poll_fn(|cx| io.poll_fill(cx)).await? > 0 {}
        Err(io::ErrorKind::UnexpectedEof.into())
    };
    tokio::time::timeout(pause, read_ahead).await.unwrap_or(Ok(()))
}

async fn read_all(io: &mut Recorded) -> io::Result<()> {
    while poll_fn(|cx| io.poll_fill(cx)).await? > 0 {
        io.unread().clear();
    }
    Ok(())
}

/// Returns the next head, with its empty line. Bytes after it stay unread. `None` if the client stops before.
pub(crate) async fn read_head(io: &mut Recorded) -> io::Result<Option<Bytes>> {
    loop {
        if let Some(end) = end_of_head(io.unread()) {
            return Ok(Some(io.unread().split_to(end).freeze()));
        }
        if poll_fn(|cx| io.poll_fill(cx)).await? == 0 {
            return Ok(None);
        }
    }
}

/// Puts a head back in front of the unread bytes.
pub(crate) fn put_back(io: &mut Recorded, head: &[u8]) {
    let rest = std::mem::replace(io.unread(), BytesMut::from(head));
    io.unread().unsplit(rest);
}
