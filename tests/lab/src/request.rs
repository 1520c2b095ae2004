//! A request as a listener of the lab received it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use crate::record::Connection;

/// A request head, and the body where the listener reads it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The [`id`](crate::Connection::id) of the connection it came on.
    pub connection: usize,
    /// The method.
    pub method: Method,
    /// The request target, exactly as it was on the wire; for HTTP/2, the URI.
    pub target: String,
    /// The protocol version.
    pub version: Version,
    /// The header fields, hop-by-hop ones included.
    pub headers: HeaderMap,
    /// The body, which an origin reads whole. Proxies pass it on and leave this empty.
    pub body: Bytes,
}

/// The kind of a request, by the form of its target (RFC 9112, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A tunnel: the method is CONNECT.
    Connect,
    /// To be forwarded: the target is a whole URI.
    Forward,
    /// To be answered here: the target is a path or `*`.
    Origin,
}

impl Request {
    /// Returns the kind of the request.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.method == Method::CONNECT {
            Kind::Connect
        } else if self.target.starts_with('/') || self.target == "*" {
            Kind::Origin
        } else {
            Kind::Forward
        }
    }

    /// Returns the first value of a header field, if it exists and is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn from_hyper<B>(record: &Connection, request: &http::Request<B>) -> Self {
        let (method, uri) = (request.method(), request.uri());
        Self {
            connection: record.id(),
            method: method.clone(),
            target: record
                .read_received(|received| target_on_the_wire(received, method, uri))
                .unwrap_or_else(|| uri.to_string()),
            version: request.version(),
            headers: request.headers().clone(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn from_http2<B>(record: &Connection, request: &http::Request<B>) -> Self {
        Self {
            connection: record.id(),
            method: request.method().clone(),
            target: request.uri().to_string(),
            version: Version::HTTP_2,
            headers: request.headers().clone(),
            body: Bytes::new(),
        }
    }

    /// Parses a raw HTTP/1 head.
    pub(crate) fn parse(connection: usize, head: &[u8]) -> Option<Self> {
        let mut lines = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
        let (method, target, version) = request_line(lines.next()?)?;
        let mut headers = HeaderMap::new();
        for line in lines.take_while(|line| !line.is_empty()) {
            let colon = line.iter().position(|&byte| byte == b':')?;
            headers.append(
                HeaderName::from_bytes(&line[..colon]).ok()?,
                HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?,
            );
        }
        Some(Self {
            connection,
            method,
            target: target.to_owned(),
            version,
            headers,
            body: Bytes::new(),
        })
    }
}

/// Returns the target as it was sent. hyper returns a parsed URI, and writing it back can differ (`http://host` gets a
/// slash). The last received request line with the same meaning has the original.
fn target_on_the_wire(received: &[u8], method: &Method, uri: &Uri) -> Option<String> {
    received.rsplit(|&byte| byte == b'\n').find_map(|line| {
        let (found, target, _) = request_line(line.trim_ascii_end())?;
        (found == *method && target.parse::<Uri>().ok()? == *uri).then(|| target.to_owned())
    })
}

fn request_line(line: &[u8]) -> Option<(Method, &str, Version)> {
    let mut parts = std::str::from_utf8(line).ok()?.split(' ');
    let method = parts.next()?.parse().ok()?;
    let target = parts.next()?;
    let version = match parts.next()? {
        "HTTP/1.1" => Version::HTTP_11,
        "HTTP/1.0" => Version::HTTP_10,
        _ => return None,
    };
    parts.next().is_none().then_some((method, target, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_bytes_that_were_sent() {
        let wire = b"GET http://a.test HTTP/1.1\r\nhost: a.test\r\n\r\n\
                     GET http://b.test?q HTTP/1.1\r\nhost: b.test\r\n\r\n";
        for sent in ["http://a.test", "http://b.test?q"] {
            let uri = sent.parse().unwrap();
            let target = target_on_the_wire(wire, &Method::GET, &uri);
            assert_eq!(target.as_deref(), Some(sent));
        }
        let other = "http://c.test".parse().unwrap();
        assert_eq!(target_on_the_wire(wire, &Method::GET, &other), None);
    }

    #[test]
    fn heads_parse() {
        let head = b"CONNECT a.test:443 HTTP/1.0\r\nHost:a.test:443\r\nX-A:  1 \r\nx-a: 2\r\n\r\nrest";
        let request = Request::parse(3, head).unwrap();
        assert_eq!(request.kind(), Kind::Connect);
        assert_eq!(request.target, "a.test:443");
        assert_eq!(request.version, Version::HTTP_10);
        assert_eq!(request.header("host"), Some("a.test:443"));
        let values: Vec<_> = request.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
    }

    #[test]
    fn what_is_no_head_is_no_request() {
        for bytes in [
            "",
            "\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        ] {
            assert!(Request::parse(0, bytes.as_bytes()).is_none(), "{bytes:?}");
        }
    }
}
