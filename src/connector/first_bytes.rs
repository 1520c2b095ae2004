//! The first bytes of a connection show whether its peer speaks TLS or HTTP.
//!
//! A peer that speaks the other of the two makes TLS and HTTP libraries report a corrupt message. The cause is usually
//! one that an operator can name.

use std::io;

use crate::{
    config::ProxyServer,
    error::{ConnectError, Failure, Stage},
    trace,
};

/// Returns true for a TLS record: an alert or a handshake message, version 3.
pub(super) fn is_tls(first: &[u8]) -> bool {
    matches!(first, [0x15 | 0x16] | [0x15 | 0x16, 3, ..])
}

/// Returns true for the beginning of an HTTP/1 response.
pub(super) fn is_http(first: &[u8]) -> bool {
    const START: &[u8] = b"HTTP/";
    !first.is_empty() && first.iter().zip(START).all(|(a, b)| a == b)
}

/// The protocol of the bytes that are yet to come.
pub(super) enum Awaited {
    /// Any, or the first bytes have come.
    Any,
    /// The protocol in a tunnel to this `host:port`: the client's first byte decides.
    AsWritten(Box<str>),
    /// TLS in a tunnel to this `host:port`.
    Tls(Box<str>),
    /// HTTP from a proxy that forwards.
    Http,
}

impl Awaited {
    /// Notes the bytes that the client is about to send.
    pub(super) fn on_write(&mut self, bytes: &[u8]) {
        let Some(first) = bytes.first() else {
            return;
        };
        *self = match std::mem::replace(self, Self::Any) {
            Self::AsWritten(target) if *first == 0x16 => Self::Tls(target),
            Self::AsWritten(_) => Self::Any,
            other => other,
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
