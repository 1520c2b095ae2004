//! Proxies on pipes in memory, so that a test's time can be paused: at the level of frames, or with h2.

use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use http::{Request, Response, Uri};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::{Semaphore, mpsc},
};
use tower::Service;

use crate::common::Pipe;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
const MAX_CONCURRENT_STREAMS: u8 = 3;
const INITIAL_WINDOW_SIZE: u8 = 4;

/// A connector whose connections are pipes.
#[derive(Clone, Debug)]
pub struct Pipes(mpsc::UnboundedSender<DuplexStream>);

/// Returns a connector, and the far ends of its connections.
pub fn pipes() -> (Pipes, mpsc::UnboundedReceiver<DuplexStream>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Pipes(sender), receiver)
}

impl Service<Uri> for Pipes {
    type Response = Pipe;
    type Error = Infallible;
    type Future = Ready<Result<Pipe, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (near, far) = Pipe::new(1 << 16);
        let _ = self.0.send(far);
        ready(Ok(near))
    }
}

/// One frame (RFC 9113, section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Bytes,
}

/// The proxy's end of one connection, frame by frame. Nothing is answered that a test does not answer.
#[derive(Debug)]
pub struct Peer {
    io: DuplexStream,
    has_settled: bool,
}

impl Peer {
    /// Takes the next connection, and reads its preface.
    pub async fn accept(connections: &mut mpsc::UnboundedReceiver<DuplexStream>) -> Self {
        let mut io = connections.recv().await.unwrap();
        let mut preface = [0; 24];
        io.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        Self { io, has_settled: false }
    }

    /// Reads the next frame; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.io.read_exact(&mut header).await.ok()?;
        let [high, middle, low, kind, flags, id @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(id),
            payload: payload.into(),
        })
    }

    /// Reads frames until one of this kind, which is no acknowledgement.
    pub async fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("no frame {kind} came"));
            if frame.kind == kind && (frame.flags & ACK == 0 || matches!(kind, HEADERS | DATA)) {
                return frame;
            }
        }
    }

    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![high, middle, low, kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.io.write_all(&frame).await.unwrap();
    }

    /// Allows so many streams at a time. The first time, it acknowledges the client's settings.
    pub async fn allow(&mut self, streams: u32) {
        let mut payload = vec![0, MAX_CONCURRENT_STREAMS];
        payload.extend_from_slice(&streams.to_be_bytes());
        self.send(SETTINGS, 0, 0, &payload).await;
        if !std::mem::replace(&mut self.has_settled, true) {
            self.send(SETTINGS, ACK, 0, &[]).await;
        }
    }

    /// Sets the window of each stream.
    pub async fn window(&mut self, bytes: u32) {
        let payload = [&[0, INITIAL_WINDOW_SIZE][..], &bytes.to_be_bytes()].concat();
        self.send(SETTINGS, 0, 0, &payload).await;
    }

    /// Answers CONNECT with 200.
    pub async fn establish(&mut self, stream: u32) {
        self.send(HEADERS, END_HEADERS, stream, &[0x88]).await;
    }

    /// Returns true if the client has closed the connection, without reading anything.
    pub async fn is_closed(&mut self) -> bool {
        self.io.write_all(&[0; 9]).await.is_err()
    }

    /// Ends the connection after this stream.
    pub async fn go_away(&mut self, last: u32, reason: h2::Reason) {
        let payload = [last.to_be_bytes(), u32::from(reason).to_be_bytes()].concat();
        self.send(GOAWAY, 0, 0, &payload).await;
    }
}

/// The streams of a [`proxy`].
#[derive(Debug, Default)]
pub struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    connects: Mutex<Vec<(usize, String)>>,
}

impl Seen {
    /// Returns the number of connections.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Returns the connection and the target of each CONNECT so far.
    pub fn connects(&self) -> Vec<(usize, String)> {
        self.connects.lock().unwrap().clone()
    }
}

/// Starts a proxy whose tunnels echo. Each connection serves so many tunnels at a time, and no one gets an answer for the
/// target `hole.test`, nor on the first connection for `lost.test`.
pub fn proxy(streams: u32, served: usize) -> (Pipes, Arc<Seen>) {
    let (pipes, mut connections) = pipes();
    let seen = Arc::new(Seen::default());
    let all = seen.clone();
    tokio::spawn(async move {
        while let Some(io) = connections.recv().await {
            let (seen, workers) = (seen.clone(), Arc::new(Semaphore::new(served)));
            let id = seen.connections.fetch_add(1, Ordering::SeqCst);
            seen.open.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut builder = Builder::new();
                builder.max_concurrent_streams(streams);
                let mut connection = builder.handshake::<_, Bytes>(io).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    let target = request.uri().host().unwrap().to_owned();
                    let is_hole = target == "hole.test" || target == "lost.test" && id == 0;
                    seen.connects.lock().unwrap().push((id, target));
                    tokio::spawn(echo(request, respond, workers.clone(), is_hole));
                }
                seen.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (pipes, all)
}

async fn echo(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    workers: Arc<Semaphore>,
    is_hole: bool,
) {
    let reset = poll_fn(|cx| respond.poll_reset(cx));
    let _worker = match is_hole {
        true => return drop(reset.await),
        false => tokio::select! {
            _ = reset => return,
            worker = workers.acquire() => worker.unwrap(),
        },
    };
    let mut tunnel = respond.send_response(Response::new(()), false).unwrap();
    let mut body = request.into_body();
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        if tunnel.send_data(chunk, false).is_err() {
            return;
        }
    }
    let _ = tunnel.send_data(Bytes::new(), true);
}
