//! The head of a response: finds its end as its bytes arrive, and reads it.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use crate::{
    connector::first_bytes,
    error::{InvalidHead, ResponseParts},
};

/// The maximum number of header fields in one head.
const MAX_FIELDS: usize = 100;

/// Cuts lines from bytes that arrive in pieces. It looks at each byte once, however small the pieces are.
#[derive(Default)]
pub(super) struct Lines {
    /// The start of the next line.
    start: usize,
    /// The number of bytes that were searched for the end of the line.
    searched: usize,
}

impl Lines {
    /// Returns the next line with its line feed, if it is complete. `received` has all bytes since the first call.
    pub(super) fn next<'r>(&mut self, received: &'r [u8]) -> Option<&'r [u8]> {
        let length = received[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(length) = length else {
            self.searched = received.len();
            return None;
        };
        let end = self.searched + length + 1;
        let line = &received[self.start..end];
        self.skip_to(end);
        Some(line)
    }

    /// Returns the length of the head, including its empty line. A line may end in a bare LF (RFC 9112 2.2).
    pub(super) fn end_of_head(&mut self, received: &[u8]) -> Option<usize> {
        while let Some(line) = self.next(received) {
            if is_empty(line) {
                return Some(self.start);
            }
        }
        None
    }

    pub(super) fn start(&self) -> usize {
        self.start
    }

    pub(super) fn skip_to(&mut self, start: usize) {
        (self.start, self.searched) = (start, start);
    }
}

pub(super) fn is_empty(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

/// Rejects bytes that cannot begin a response head, without waiting for more.
pub(super) fn check_start(received: &[u8]) -> Result<(), InvalidHead> {
    const START: &[u8] = b"HTTP/1.";
    if received.iter().zip(START).all(|(a, b)| a == b) {
        return Ok(());
    }
    match first_bytes::is_tls(received) {
        true => Err(InvalidHead::Tls),
        false => Err(InvalidHead::NotHttp),
    }
}

/// Returns true if another head follows. A 101 would end HTTP on this connection. Nobody asked for that, so it is a
/// refusal.
pub(super) fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// Reads a head. In a refusal, a line that is not a header field loses only itself. A head that opens the tunnel, or
/// that another head follows, must be right in every line: where it ends would otherwise be a guess, and so would be
/// the first byte of the tunnel.
pub(super) fn parse(head: &[u8]) -> Result<ResponseParts, InvalidHead> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(head);
    let invalid = match &parsed {
        Ok(httparse::Status::Complete(_)) => None,
        Err(httparse::Error::Status | httparse::Error::Version) => Some(InvalidHead::NotHttp),
        Err(httparse::Error::TooManyHeaders) => Some(InvalidHead::TooManyFields),
        Ok(httparse::Status::Partial) | Err(_) => Some(InvalidHead::Field),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = match (status, invalid) {
        (Some(status), invalid) if invalid != Some(InvalidHead::NotHttp) => status,
        _ => return Err(check_start(head).err().unwrap_or(InvalidHead::NotHttp)),
    };
    let headers = match invalid {
        None => response
            .headers
            .iter()
            .map(|field| {
                Some((
                    HeaderName::from_bytes(field.name.as_bytes()).ok()?,
                    HeaderValue::from_bytes(field.value).ok()?,
                ))
            })
            .collect::<Option<_>>()
            .ok_or(InvalidHead::Field)?,
        Some(invalid) if status.is_success() || is_interim(status) => return Err(invalid),
        Some(_) => fields_that_parse(head),
    };
    Ok(ResponseParts {
        status,
        version: match response.version {
            Some(0) => Version::HTTP_10,
            _ => Version::HTTP_11,
        },
        reason: reason(response.reason.unwrap_or_default()),
        headers,
        body: Bytes::new(),
        is_reused: false,
    })
}

/// Returns the first [`MAX_FIELDS`] fields that parse. White space before the colon is removed, and a folded line is
/// joined to its field (RFC 9112 5.1 and 5.2). Any other line is skipped.
fn fields_that_parse(head: &[u8]) -> HeaderMap {
    let mut fields: Vec<Option<(HeaderName, Vec<u8>)>> = Vec::new();
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if let Some(Some((_, value))) = fields.last_mut() {
                value.push(b' ');
                value.extend_from_slice(line.trim_ascii());
            }
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        let name = HeaderName::from_bytes(line[..colon].trim_ascii_end());
        // The place of a line that is not a field is kept, so that the fold after it is not joined to another.
        fields.push(name.ok().map(|name| (name, line[colon + 1..].trim_ascii().to_vec())));
    }
    let fields = fields.into_iter().flatten();
    let fields = fields.filter_map(|(name, value)| Some((name, HeaderValue::from_bytes(value.trim_ascii()).ok()?)));
    let mut headers = HeaderMap::new();
    fields.take(MAX_FIELDS).for_each(|(name, value)| {
        headers.append(name, value);
    });
    headers
}

/// Returns the reason phrase. The usual ones are not copied.
fn reason(text: &str) -> Cow<'static, str> {
    let usual = ["OK", "Connection established", "Connection Established"];
    match usual.into_iter().find(|usual| *usual == text) {
        Some(usual) => Cow::Borrowed(usual),
        None => Cow::Owned(text.to_owned()),
    }
}
