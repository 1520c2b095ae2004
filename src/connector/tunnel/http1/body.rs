//! The body of a refusal: its first bytes, as far as they arrive.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use hyper::rt::Read;

use super::{
    super::MAX_BODY,
    MAX_HEAD,
    head::{Lines, is_empty},
    read_some,
};

/// Reads as much as is wanted, or less if the body breaks off. Everything read is in `body`, even if the
/// future is dropped.
pub(super) async fn read<T: Read + Unpin>(io: &mut T, body: &mut Body) {
    while !body.is_complete() {
        match read_some(io, &mut body.received).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
}

/// A body, and how much of it is wanted.
pub(super) struct Body {
    received: BytesMut,
    /// The number of bytes to read.
    wanted: usize,
    /// The length of the whole body, if its field has it.
    length: Option<usize>,
    /// `None` for a body that is not chunked.
    chunks: Option<Chunks>,
}

impl Body {
    /// Creates the body that these fields describe (RFC 9112 6.3). Some of it was already received. It is read to its
    /// end if it is no longer than `most`, and otherwise only the bytes that are kept.
    pub(super) fn new(headers: &HeaderMap, received: BytesMut, most: usize) -> Self {
        let is_chunked = headers
            .get(header::TRANSFER_ENCODING)
            .is_some_and(|codings| codings.as_bytes().to_ascii_lowercase().ends_with(b"chunked"));
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.trim().parse::<usize>().ok());
        let length = length.filter(|_| !is_chunked);
        Self {
            received,
            length,
            wanted: match length {
                Some(length) if length <= most => length,
                None if is_chunked => most,
                _ => MAX_BODY,
            },
            chunks: is_chunked.then(Chunks::default),
        }
    }

    fn is_complete(&mut self) -> bool {
        let Some(chunks) = &mut self.chunks else {
            return self.received.len() >= self.wanted;
        };
        chunks.decode(&self.received);
        chunks.ended || chunks.body.len() >= self.wanted || self.received.len() >= MAX_HEAD
    }

    /// Returns true if the body was read to its end, and nothing after it.
    pub(super) fn is_at_end(&self) -> bool {
        match (&self.chunks, self.length) {
            (None, Some(length)) => self.received.len() == length,
            (Some(chunks), _) => chunks.is_at_end(&self.received),
            (None, None) => false,
        }
    }

    /// Returns the bytes that arrived, without their framing.
    pub(super) fn into_bytes(self) -> Bytes {
        let mut body = match self.chunks {
            Some(chunks) => chunks.body.into(),
            None => self.received.freeze(),
        };
        body.truncate(self.wanted.min(MAX_BODY));
        body
    }
}

/// Decodes a chunked body as it arrives (RFC 9112 7.1).
#[derive(Default)]
struct Chunks {
    lines: Lines,
    /// The number of bytes of the current chunk that are yet to come.
    left: usize,
    body: Vec<u8>,
    /// True after the last chunk, and after bytes that are not a chunk.
    ended: bool,
    /// True after the last chunk.
    is_last: bool,
}

impl Chunks {
    /// Decodes the bytes that arrived since the last call. `received` has all bytes of the body.
    fn decode(&mut self, received: &[u8]) {
        while !self.ended {
            let start = self.lines.start();
            let chunk = &received[start..start.saturating_add(self.left).min(received.len())];
            self.body.extend_from_slice(chunk);
            self.left -= chunk.len();
            self.lines.skip_to(start + chunk.len());
            if self.left > 0 {
                return;
            }
            match self.lines.next(received) {
                None => return,
                // The end of the line after a chunk.
                Some(line) if is_empty(line) => {}
                Some(line) => match httparse::parse_chunk_size(line) {
                    Ok(httparse::Status::Complete((_, size))) if size > 0 => {
                        self.left = usize::try_from(size).unwrap_or(usize::MAX);
                    }
                    Ok(httparse::Status::Complete((_, 0))) => (self.ended, self.is_last) = (true, true),
                    _ => self.ended = true,
                },
            }
        }
    }

    /// Returns true if the last chunk was read, without trailers, and nothing after it.
    fn is_at_end(&self, received: &[u8]) -> bool {
        self.is_last && matches!(&received[self.lines.start()..], b"\r\n" | b"\n")
    }
}
