//! TLS over a stream, to an `https://` proxy or to a target.

use std::io;

use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio_rustls::{TlsConnector, client};

use crate::{error::CertificateError, host::Host, tls::TlsConfig};

/// The names that versions of HTTP have in ALPN (RFC 7301 6, RFC 9113 3.2).
pub(crate) const HTTP1: &[u8] = b"http/1.1";
#[cfg(feature = "http2")]
pub(crate) const HTTP2: &[u8] = b"h2";

/// A TLS stream over a hyper stream, and itself a hyper stream.
pub(crate) type TlsStream<T> = TokioIo<client::TlsStream<TokioIo<T>>>;

/// Performs the handshake. It offers the given protocols instead of those in the settings.
pub(crate) async fn handshake<T>(
    stream: T,
    host: &Host<'_>,
    tls: &TlsConfig,
    alpn: Vec<Vec<u8>>,
) -> io::Result<TlsStream<T>>
where
    T: Read + Write + Unpin,
{
    TlsConnector::from(tls.client_config().clone())
        .with_alpn(alpn)
        .connect(server_name(host)?, TokioIo::new(stream))
        .await
        .map(TokioIo::new)
        .map_err(|error| match CertificateError::find(&error) {
            // rustls's text around it would say less.
            Some(certificate) => io::Error::new(error.kind(), certificate.clone()),
            None => error,
        })
}

/// Returns the name that the certificate must have, in lower case and without a trailing dot (RFC 6066 3).
fn server_name(host: &Host<'_>) -> io::Result<ServerName<'static>> {
    let name = match host {
        Host::Ip(ip) => return Ok(ServerName::IpAddress((*ip).into())),
        Host::Name(name) => name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase(),
    };
    ServerName::try_from(name).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a valid TLS server name"))
}
