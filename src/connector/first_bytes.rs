//! The first bytes of a connection, in either direction.
//!
//! The bytes that the client writes first show two mistakes: cleartext where TLS belongs, and a protocol that no proxy
//! forwards. Such bytes are an error, and none of them is sent. The bytes that it receives first show if the peer
//! speaks TLS or HTTP. If the peer speaks the wrong one of the two, TLS and HTTP libraries report a corrupt message.
//! The error here names the usual cause instead.

use std::io::{self, IoSlice};

use crate::{
    config::ProxyServer,
    error::{ConnectError, Failure, Stage},
    route::Route,
    scheme::Scheme,
    target::Target,
    trace,
};

/// The type of the TLS record that a client writes first (RFC 8446 5.1).
pub(super) const HANDSHAKE: u8 = 0x16;

/// The bytes that a client of HTTP/2 writes first (RFC 9113 3.4). No method of HTTP/1 is `PRI` (RFC 9113 11.6).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Returns true for a TLS record: an alert or a handshake message, version 3.
pub(super) fn is_tls(first: &[u8]) -> bool {
    matches!(first, [0x15 | HANDSHAKE] | [0x15 | HANDSHAKE, 3, ..])
}

/// Returns true for the beginning of an HTTP/1 response.
pub(super) fn is_http(first: &[u8]) -> bool {
    const START: &[u8] = b"HTTP/";
    !first.is_empty() && first.iter().zip(START).all(|(a, b)| a == b)
}

/// Returns true for the beginning of an HTTP/2 connection.
fn is_http2(first: &[u8]) -> bool {
    first.starts_with(b"PRI ") && first.iter().zip(PREFACE).all(|(a, b)| a == b)
}

/// The first bytes that a client is about to write.
pub(super) struct FirstWrite([u8; PREFACE.len()], usize);

impl FirstWrite {
    pub(super) fn of(bufs: &[IoSlice<'_>]) -> Self {
        let mut first = Self([0; PREFACE.len()], 0);
        for (to, from) in first.0.iter_mut().zip(bufs.iter().flat_map(|buf| buf.iter())) {
            *to = *from;
            first.1 += 1;
        }
        first
    }

    fn bytes(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

/// The protocol of the bytes that are yet to come.
pub(super) enum Awaited {
    /// Any, or the first bytes have come.
    Any,
    /// The protocol in a tunnel to this `host:port`: the client's first byte decides.
    AsWritten(Box<str>),
    /// TLS, which the client is to begin, on a connection to this `host:port`.
    TlsWritten(Box<str>),
    /// A request of HTTP/1 to a proxy that forwards.
    RequestWritten,
    /// TLS in a tunnel to this `host:port`.
    Tls(Box<str>),
    /// HTTP from a proxy that forwards.
    Http,
}

impl Awaited {
    /// Returns the protocol on a client's connection to a target by this route. On a direct route, only a TCP socket is
    /// known to send the bytes as they are written: another inner stream may speak TLS itself. A tunnel to a target of
    /// any other scheme may carry any protocol.
    pub(super) fn of(target: &Target<'_>, route: &Route, is_tcp: bool) -> Self {
        let is_tls = target.is_tls();
        let authority = || target.authority().to_string().into_boxed_str();
        match route {
            Route::Direct if is_tls && is_tcp => Self::TlsWritten(authority()),
            Route::Direct | Route::Unusable(_) => Self::Any,
            Route::Forward(_) => Self::RequestWritten,
            Route::Tunnel(_) if is_tls => Self::TlsWritten(authority()),
            Route::Tunnel(_) if target.scheme() == Scheme::Other => Self::Any,
            Route::Tunnel(_) => Self::AsWritten(authority()),
        }
    }

    /// Returns true until the client has written its first bytes, if they matter.
    pub(super) fn is_for_writes(&self) -> bool {
        matches!(self, Self::AsWritten(_) | Self::TlsWritten(_) | Self::RequestWritten)
    }

    /// Returns true if the next bytes that the client receives matter.
    pub(super) fn is_for_reads(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::Http)
    }

    /// Checks the first bytes that the client is about to write. None of them may be written after an error.
    pub(super) fn check_write(&self, first: &FirstWrite, proxy: Option<&ProxyServer>) -> io::Result<()> {
        let (failure, target) = match (self, first.bytes()) {
            (Self::TlsWritten(target), [byte, ..]) if *byte != HANDSHAKE => (Failure::Cleartext, Some(target)),
            (Self::RequestWritten, [HANDSHAKE, ..]) => (Failure::NotHttp1("TLS"), None),
            (Self::RequestWritten, bytes) if is_http2(bytes) => (Failure::NotHttp1("HTTP/2"), None),
            _ => return Ok(()),
        };
        let mut error = ConnectError::new(Stage::FirstWrite, failure);
        if let Some(proxy) = proxy {
            error = error.through(proxy);
        }
        if let Some(target) = target {
            error = error.to(target);
        }
        trace::first_bytes_not_sent(&error);
        Err(io::Error::new(io::ErrorKind::InvalidInput, error))
    }

    /// Notes that the client has written its first bytes to the target or through this proxy.
    pub(super) fn on_write(&mut self, first: &FirstWrite, proxy: Option<&ProxyServer>) {
        let Some(byte) = first.bytes().first() else {
            return;
        };
        *self = match (std::mem::replace(self, Self::Any), proxy) {
            (Self::AsWritten(target) | Self::TlsWritten(target), Some(_)) if *byte == HANDSHAKE => Self::Tls(target),
            // Within TLS to the proxy, the peer is known to speak it.
            (Self::RequestWritten, Some(proxy)) if !proxy.is_tls() => Self::Http,
            _ => Self::Any,
        };
    }

    /// Checks the first bytes that the client receives from this proxy or through it. Nothing is checked twice.
    pub(super) fn check(&mut self, first: &[u8], proxy: Option<&ProxyServer>) -> io::Result<()> {
        let Some(proxy) = proxy.filter(|_| !first.is_empty()) else {
            return Ok(());
        };
        match std::mem::replace(self, Self::Any) {
            Self::Tls(target) if is_http(first) => {
                let error = ConnectError::new(Stage::Tunnel, Failure::NotTls);
                let error = error.through(proxy).to(target);
                trace::connect_failed(&error);
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
            // The request was sent, so this is not a `ConnectError`.
            Self::Http if is_tls(first) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("proxy {proxy}: the response is TLS, not HTTP/1 (is it an `https://` proxy?)"),
            )),
            _ => Ok(()),
        }
    }
}
