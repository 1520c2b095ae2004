//! CONNECT over HTTP/1.1: one request head out, one response head in, and the connection becomes the tunnel
//! (RFC 9112 3.2.3).
//!
//! The client sends nothing after the request head until a 2xx arrives (RFC 9931). The bytes after the 2xx head belong
//! to the tunnel.

use std::{borrow::Cow, future::poll_fn, io, pin::Pin, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use hyper::rt::{Read, ReadBuf, Write};
use tokio::time::timeout_at;

use super::{ConnectRequest, Exchange, MAX_BODY};
use crate::{
    connector::deadline::Deadline,
    error::{Failure, InvalidHead, ResponseParts},
};

/// The maximum length of the response head, including interim heads before it.
const MAX_HEAD: usize = 64 * 1024;
/// The maximum number of header fields in one head.
const MAX_FIELDS: usize = 100;
/// The maximum wait for a refusal's body. The refusal itself is already known.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

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
        // One buffer serves both directions.
        self.received = request_head(request);
        write_all(&mut self.io, &self.received).await.map_err(Failure::Io)?;
        self.received.clear();
        read_head(&mut self.io, &mut self.received).await
    }

    async fn refusal_body(self, head: &ResponseParts, deadline: Deadline) -> Bytes {
        match head.status {
            // Neither has a body (RFC 9112 6.3).
            StatusCode::SWITCHING_PROTOCOLS | StatusCode::NOT_MODIFIED => Bytes::new(),
            _ => read_body(self.io, self.received, &head.headers, deadline).await,
        }
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

fn request_head(request: &ConnectRequest<'_>) -> BytesMut {
    let authority = request.authority.as_bytes();
    let mut head = BytesMut::with_capacity(1024);
    for part in [b"CONNECT ", authority, b" HTTP/1.1\r\nHost: ", authority, b"\r\n"] {
        head.extend_from_slice(part);
    }
    for (name, value) in request.fields() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Reads the first head that is not interim. Bytes after it stay in `received`.
async fn read_head<T: Read + Unpin>(io: &mut T, received: &mut BytesMut) -> Result<ResponseParts, Failure> {
    let mut left = MAX_HEAD;
    loop {
        let end = loop {
            skip_empty_lines(received, &mut left);
            if let Some(end) = head_end(received) {
                break end;
            }
            check_start(received).map_err(Failure::InvalidHead)?;
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
        let head = parse_head(&received[..end]).map_err(Failure::InvalidHead)?;
        received.advance(end);
        // A 101 would end HTTP on this connection. Nobody asked for that, so it is a refusal.
        if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
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

/// Returns the length of the head, including its empty line. A line may end in a bare LF (RFC 9112 2.2).
fn head_end(received: &[u8]) -> Option<usize> {
    let mut lines = 0;
    for line in received.split_inclusive(|byte| *byte == b'\n') {
        lines += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            return Some(lines);
        }
    }
    None
}

/// Rejects bytes that cannot begin a response head, without waiting for more.
fn check_start(received: &[u8]) -> Result<(), InvalidHead> {
    const START: &[u8] = b"HTTP/1.";
    if received.iter().zip(START).all(|(a, b)| a == b) {
        return Ok(());
    }
    // A TLS record: an alert or a handshake message, version 3.
    match received {
        [0x15 | 0x16] | [0x15 | 0x16, 3, ..] => Err(InvalidHead::Tls),
        _ => Err(InvalidHead::NotHttp),
    }
}

fn parse_head(head: &[u8]) -> Result<ResponseParts, InvalidHead> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(InvalidHead::NotHttp),
        Err(httparse::Error::TooManyHeaders) => return Err(InvalidHead::TooManyFields),
        Err(_) => return Err(check_start(head).err().unwrap_or(InvalidHead::NotHttp)),
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for field in response.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| InvalidHead::NotHttp)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| InvalidHead::NotHttp)?;
        headers.append(name, value);
    }
    Ok(ResponseParts {
        status: status.ok_or(InvalidHead::NotHttp)?,
        version: match response.version {
            Some(0) => Version::HTTP_10,
            _ => Version::HTTP_11,
        },
        reason: reason(response.reason.unwrap_or_default()),
        headers,
        body: Bytes::new(),
    })
}

/// Returns the reason phrase. The usual ones are not copied.
fn reason(text: &str) -> Cow<'static, str> {
    let usual = ["OK", "Connection established", "Connection Established"];
    match usual.into_iter().find(|usual| *usual == text) {
        Some(usual) => Cow::Borrowed(usual),
        None => Cow::Owned(text.to_owned()),
    }
}

/// Reads the first [`MAX_BODY`] bytes of a refusal's body, or fewer if it breaks off or does not arrive.
async fn read_body<T: Read + Unpin>(
    mut io: T,
    mut received: BytesMut,
    headers: &HeaderMap,
    deadline: Deadline,
) -> Bytes {
    let chunked = headers
        .get(header::TRANSFER_ENCODING)
        .is_some_and(|codings| codings.as_bytes().to_ascii_lowercase().ends_with(b"chunked"));
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.trim().parse::<usize>().ok());
    let wanted = length.filter(|_| !chunked).unwrap_or(usize::MAX).min(MAX_BODY);
    let is_complete = |received: &[u8]| match chunked {
        true => {
            let (body, ended) = unchunk(received);
            ended || body.len() >= wanted || received.len() >= MAX_HEAD
        }
        false => received.len() >= wanted,
    };
    let reading = async {
        while !is_complete(&received) {
            match read_some(&mut io, &mut received).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    };
    let _ = timeout_at(deadline.within(BODY_PATIENCE), reading).await;
    let mut body = match chunked {
        true => unchunk(&received).0.into(),
        false => received.freeze(),
    };
    body.truncate(wanted);
    body
}

/// Decodes the received part of a chunked body. The flag is true if the body is complete (RFC 9112 7.1).
fn unchunk(mut chunks: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(chunks) {
        let rest = &chunks[start..];
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&rest[..rest.len().min(size)]);
        // The chunk and the line end after it.
        match rest.get(size.saturating_add(2)..) {
            Some(next) => chunks = next,
            None => break,
        }
    }
    (body, false)
}

async fn read_some<T: Read + Unpin>(io: &mut T, received: &mut BytesMut) -> io::Result<usize> {
    let mut chunk = [0; 4096];
    let mut buf = ReadBuf::new(&mut chunk);
    poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, buf.unfilled())).await?;
    received.extend_from_slice(buf.filled());
    Ok(buf.filled().len())
}

async fn write_all<T: Write + Unpin>(io: &mut T, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match poll_fn(|cx| Pin::new(&mut *io).poll_write(cx, bytes)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = &bytes[written..],
        }
    }
    poll_fn(|cx| Pin::new(&mut *io).poll_flush(cx)).await
}
