//! CONNECT over HTTP/1.1: one request head out, one response head in, and the connection becomes the tunnel
//! (RFC 9112 3.2.3).
//!
//! The client sends nothing after the request head until a 2xx arrives (RFC 9931). The bytes after the 2xx head belong
//! to the tunnel.

mod body;
mod head;

use std::{future::poll_fn, io, mem::MaybeUninit, pin::Pin};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderName, StatusCode, Version, header};
use hyper::rt::{Read, ReadBuf, Write};
use tokio::time::timeout_at;
use zeroize::Zeroizing;

use self::{body::Body, head::Lines};
use super::{ConnectRequest, Exchange};
use crate::{
    connector::deadline::Deadline,
    error::{BODY_PATIENCE, Failure, InvalidHead, MAX_BODY, MAX_REST, ResponseParts, asks_for_credentials},
};

/// The maximum length of the response head, including interim heads before it.
const MAX_HEAD: usize = 64 * 1024;

/// A connection to a proxy, for one CONNECT request.
pub(super) struct Http1<T> {
    io: T,
    /// Bytes that were received but not parsed yet.
    received: BytesMut,
}

impl<T> Http1<T> {
    pub(super) fn new(io: T) -> Self {
        Self {
            io,
            received: BytesMut::new(),
        }
    }
}

impl<T: Read + Write + Unpin> Exchange for Http1<T> {
    type Io = T;

    async fn connect(&mut self, request: &ConnectRequest<'_>) -> Result<ResponseParts, Failure> {
        // In a block, so that it is wiped before the response comes.
        {
            let head = request_head(request);
            write_all(&mut self.io, &head).await.map_err(Failure::Io)?;
        }
        read_head(&mut self.io, &mut self.received).await
    }

    async fn refusal_body(mut self, head: &ResponseParts, deadline: Deadline) -> (Bytes, Option<T>) {
        // Neither has a body (RFC 9112 6.3).
        if matches!(head.status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::NOT_MODIFIED) {
            return (Bytes::new(), None);
        }
        // The answer to a challenge goes out on the same connection.
        let most = match is_persistent(head) && asks_for_credentials(head.status) {
            true => MAX_REST,
            false => MAX_BODY,
        };
        let mut body = Body::new(&head.headers, self.received, most);
        let _ = timeout_at(deadline.within(BODY_PATIENCE), body::read(&mut self.io, &mut body)).await;
        // Many proxies close the connection with their 407, and say so.
        let connection = (is_persistent(head) && body.is_at_end()).then_some(self.io);
        (body.into_bytes(), connection)
    }

    fn into_tunnel(self) -> (T, Bytes) {
        let early = match self.received.is_empty() {
            // Usually there are no early bytes, and the buffer is freed.
            true => Bytes::new(),
            false => self.received.freeze(),
        };
        (self.io, early)
    }
}

/// Returns true if the connection goes on after this response (RFC 9112 9.3). Some proxies use a field of their own.
fn is_persistent(head: &ResponseParts) -> bool {
    let fields = [header::CONNECTION, HeaderName::from_static("proxy-connection")];
    let mut options = fields.iter().flat_map(|name| head.headers.get_all(name));
    let closes = options.any(|value| value.to_str().unwrap_or("close").to_ascii_lowercase().contains("close"));
    head.version == Version::HTTP_11 && !closes
}

/// The bytes of a head around its fields and the two authorities.
const AROUND: usize = b"CONNECT  HTTP/1.1\r\n\r\n".len();

/// Returns the head, which is wiped when it is dropped.
fn request_head(request: &ConnectRequest<'_>) -> Zeroizing<Vec<u8>> {
    let authority = request.authority.as_bytes();
    let fields = || {
        let fields = request.fields().map(|(name, value)| (name, value.as_bytes()));
        [(&header::HOST, authority)].into_iter().chain(fields)
    };
    let lengths = fields().map(|(name, value)| name.as_str().len() + value.len() + b": \r\n".len());
    // It must not grow: the credentials would stay where it was.
    let length = AROUND + authority.len() + lengths.sum::<usize>();
    let mut head = Zeroizing::new(Vec::with_capacity(length));
    for part in [b"CONNECT ", authority, b" HTTP/1.1\r\n"] {
        head.extend_from_slice(part);
    }
    for (name, value) in fields() {
        head.extend(usual_spelling(name));
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Returns a field's name with each word capitalised: `Proxy-Authorization`. Some proxies know no other spelling.
fn usual_spelling(name: &HeaderName) -> impl Iterator<Item = u8> {
    let mut before = b'-';
    name.as_str()
        .bytes()
        .map(move |byte| match std::mem::replace(&mut before, byte) {
            b'-' => byte.to_ascii_uppercase(),
            _ => byte,
        })
}

/// Reads the first head that is not interim. Bytes after it stay in `received`.
async fn read_head<T: Read + Unpin>(io: &mut T, received: &mut BytesMut) -> Result<ResponseParts, Failure> {
    let mut left = MAX_HEAD;
    loop {
        let mut lines = Lines::default();
        let end = loop {
            skip_empty_lines(received, &mut left);
            if let Some(end) = lines.end_of_head(received) {
                break end;
            }
            head::check_start(received).map_err(Failure::InvalidHead)?;
            if left == 0 || received.len() > left {
                return Err(Failure::InvalidHead(InvalidHead::TooLarge));
            }
            match read_some(io, received).await {
                Ok(0) => return Err(eof(received)),
                // TLS ended without a close_notify.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(eof(received)),
                Err(error) => return Err(Failure::Io(error)),
                Ok(_) => {}
            }
        };
        left = left
            .checked_sub(end)
            .ok_or(Failure::InvalidHead(InvalidHead::TooLarge))?;
        let head = head::parse(&received[..end]).map_err(Failure::InvalidHead)?;
        received.advance(end);
        if !head::is_interim(head.status) {
            return Ok(head);
        }
    }
}

fn eof(received: &BytesMut) -> Failure {
    let mid_head = !received.is_empty();
    Failure::InvalidHead(InvalidHead::Eof { mid_head })
}

/// Skips empty lines before the status line, as RFC 9112 2.2 advises for requests.
fn skip_empty_lines(received: &mut BytesMut, left: &mut usize) {
    let lines = received.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    received.advance(lines);
    *left = left.saturating_sub(lines);
}

async fn read_some<T: Read + Unpin>(io: &mut T, received: &mut BytesMut) -> io::Result<usize> {
    let mut chunk = [const { MaybeUninit::uninit() }; 4096];
    let mut buf = ReadBuf::uninit(&mut chunk);
    poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, buf.unfilled())).await?;
    received.extend_from_slice(buf.filled());
    Ok(buf.filled().len())
}

pub(in crate::connector) async fn write_all<T: Write + Unpin>(io: &mut T, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match poll_fn(|cx| Pin::new(&mut *io).poll_write(cx, bytes)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = &bytes[written..],
        }
    }
    poll_fn(|cx| Pin::new(&mut *io).poll_flush(cx)).await
}
