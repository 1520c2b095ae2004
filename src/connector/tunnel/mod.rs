//! CONNECT: asks a proxy for a tunnel, in any version of HTTP (RFC 9110 9.3.6).
//!
//! Each version is a file with an [`Exchange`]. An exchange sends the request, reads the head of the response, and then
//! yields either the tunnel or a refusal's body. [`open`] does the rest, which all versions share. With HTTP/1.1, the
//! connection itself becomes the tunnel. A multiplexing version yields one of the connection's streams instead.

mod http1;
#[cfg(feature = "http2")]
mod http2;

#[cfg(feature = "http2")]
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use hyper::rt::{Read, Write};

#[cfg(feature = "http2")]
pub(super) use self::http1::write_all;
use super::deadline::Deadline;
#[cfg(feature = "http2")]
use super::{optimistic::FirstFlight, tunnel_stream::TunnelStream};
#[cfg(feature = "http2")]
use crate::http2::Lease;
use crate::{
    auth::{Authentication, Challenge},
    error::{ConnectResponse, Failure, MAX_BODY, ResponseParts, challenges, redact, refusal},
};

/// A CONNECT request.
pub(super) struct ConnectRequest<'a> {
    /// `host:port`
    pub(super) authority: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) authentication: &'a Authentication,
}

impl ConnectRequest<'_> {
    /// Returns the header fields except `Host`, in order.
    fn fields(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let authorization = self.authorization.as_ref();
        let authorization = authorization.map(|value| (&header::PROXY_AUTHORIZATION, value));
        authorization.into_iter().chain(self.headers)
    }
}

/// A tunnel that the proxy refused.
pub(super) struct Refused<T> {
    pub(super) failure: Failure,
    /// The challenges as the proxy sent them. The failure has them without echoes of the credentials.
    pub(super) challenges: Vec<Challenge>,
    /// The connection, if it can be used for another request.
    pub(super) connection: Option<T>,
}

impl<T> From<Failure> for Refused<T> {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            challenges: Vec::new(),
            connection: None,
        }
    }
}

/// A CONNECT request and its response, in one version of HTTP.
trait Exchange {
    /// The tunnel.
    type Io;

    /// Sends the request and reads the head of the final response.
    async fn connect(&mut self, request: &ConnectRequest<'_>) -> Result<ResponseParts, Failure>;

    /// Returns the first [`MAX_BODY`] bytes of a refusal's body. The refusal is already known, so the deadline ends only
    /// the wait for the body. Returns the connection too if it can be used for another request.
    async fn refusal_body(self, head: &ResponseParts, deadline: Deadline) -> (Bytes, Option<Self::Io>);

    /// Returns the tunnel, and the bytes that were already received from it.
    fn into_tunnel(self) -> (Self::Io, Bytes);
}

/// An open tunnel.
pub(super) struct Tunnel<T> {
    pub(super) io: T,
    pub(super) response: ConnectResponse,
    /// The tunnel's first bytes, which came with the response.
    pub(super) early: Bytes,
}

/// Opens a tunnel on a connection to a proxy that speaks HTTP/1.1.
pub(super) async fn open<T>(
    connection: T,
    request: &ConnectRequest<'_>,
    deadline: Deadline,
) -> Result<Tunnel<T>, Refused<T>>
where
    T: Read + Write + Unpin,
{
    exchange(http1::Http1::new(connection), request, deadline).await
}

/// Opens a tunnel on a stream of a connection over HTTP/2. The first bytes follow the request at once.
#[cfg(feature = "http2")]
pub(super) async fn open_over_http2(
    lease: Lease,
    first: Option<Arc<FirstFlight>>,
    request: &ConnectRequest<'_>,
    deadline: Deadline,
) -> Result<Tunnel<TunnelStream>, Refused<TunnelStream>> {
    exchange(http2::Http2::new(lease, first), request, deadline).await
}

async fn exchange<E: Exchange>(
    mut exchange: E,
    request: &ConnectRequest<'_>,
    deadline: Deadline,
) -> Result<Tunnel<E::Io>, Refused<E::Io>> {
    let mut head = deadline.run(exchange.connect(request), timed_out).await?;
    let challenges = match head.status.is_success() {
        true => Vec::new(),
        false => challenges(&head),
    };
    redact(&mut head, request.authentication);
    if !head.status.is_success() {
        let (body, connection) = exchange.refusal_body(&head, deadline).await;
        let failure = refusal(head, &body, request.authentication);
        return Err(Refused {
            failure,
            challenges,
            connection,
        });
    }
    let (io, early) = exchange.into_tunnel();
    let response = ConnectResponse::new(head);
    Ok(Tunnel { io, response, early })
}

fn timed_out(limit: Duration) -> Failure {
    Failure::Timeout(limit)
}
