//! CONNECT over HTTP/2: a stream of a connection becomes the tunnel (RFC 9113 8.5).
//!
//! On a stream of its own, what follows the request cannot be read as another request. The first bytes of the tunnel
//! may therefore follow at once, which RFC 9931 forbids for HTTP/1.1.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Context};

use bytes::{Bytes, BytesMut};
use h2::{SendStream, client::ResponseFuture};
use http::{HeaderName, Method, Request, Uri, Version, header, uri::Authority};
use tokio::time::timeout_at;

use super::{ConnectRequest, Exchange};
use crate::{
    connector::{deadline::Deadline, optimistic::FirstFlight, tunnel_stream::TunnelStream},
    error::{BODY_PATIENCE, Failure, InvalidHead, MAX_BODY, ResponseParts},
    http2::{Lease, OF_HTTP1, Receiving},
};

/// Returns true for a field that concerns one connection alone.
fn is_of_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION || *name == header::TE || OF_HTTP1.contains(name)
}

/// A stream of a connection to a proxy, for one CONNECT request.
pub(in crate::connector) struct Http2 {
    lease: Lease,
    /// The bytes that follow the request at once.
    first: Option<Arc<FirstFlight>>,
    opened: Option<Opened>,
}

/// A stream on which CONNECT was sent.
struct Opened {
    sending: SendStream<Bytes>,
    receiving: Arc<Receiving>,
}

impl Http2 {
    pub(in crate::connector) fn new(lease: Lease, first: Option<Arc<FirstFlight>>) -> Self {
        Self {
            lease,
            first,
            opened: None,
        }
    }

    fn failed(&self, error: h2::Error) -> Failure {
        Failure::Io(self.lease.error(error))
    }
}

impl Exchange for Http2 {
    type Io = TunnelStream;

    async fn connect(&mut self, request: &ConnectRequest<'_>) -> Result<ResponseParts, Failure> {
        let head = head(request)?;
        let mut sender = self.lease.ready().await.map_err(|error| self.failed(error))?;
        let sent = self.lease.send(&mut sender, head, false);
        let (response, mut sending) = sent.map_err(|error| self.failed(error))?;
        let answer = Answer {
            response,
            sending: &mut sending,
            first: self.first.as_deref(),
            sent: 0,
        };
        let response = answer.wait().await.map_err(|error| self.failed(error))?;
        self.lease.answered(Some(response.status().is_success()));
        let (parts, body) = response.into_parts();
        self.opened = Some(Opened {
            sending,
            receiving: self.lease.receive(body),
        });
        Ok(ResponseParts {
            status: parts.status,
            version: Version::HTTP_2,
            // HTTP/2 has none. Its absence would make an operator look the number up.
            reason: parts.status.canonical_reason().unwrap_or_default().into(),
            headers: parts.headers,
            body: Bytes::new(),
            is_reused: self.lease.is_reused(),
        })
    }

    async fn refusal_body(self, _: &ResponseParts, deadline: Deadline) -> (Bytes, Option<TunnelStream>) {
        let mut body = BytesMut::new();
        if let Some(Opened { receiving, .. }) = self.opened {
            let reading = async {
                while body.len() < MAX_BODY {
                    match poll_fn(|cx| receiving.poll_data(cx)).await {
                        Some(Ok(chunk)) => {
                            body.extend_from_slice(&chunk);
                            receiving.release(chunk.len());
                        }
                        Some(Err(_)) | None => break,
                    }
                }
            };
            let _ = timeout_at(deadline.within(BODY_PATIENCE), reading).await;
        }
        body.truncate(MAX_BODY);
        (body.freeze(), None)
    }

    fn into_tunnel(self) -> (TunnelStream, Bytes) {
        match self.opened {
            Some(Opened { sending, receiving }) => (TunnelStream::new(sending, receiving, self.lease), Bytes::new()),
            None => unreachable!("a tunnel is open after its CONNECT"),
        }
    }
}

/// Returns a CONNECT request, which has neither a scheme nor a path.
fn head(request: &ConnectRequest<'_>) -> Result<Request<()>, Failure> {
    let invalid = |_| Failure::InvalidHead(InvalidHead::NotHttp);
    let authority = request.authority.parse::<Authority>().map_err(invalid)?;
    let mut head = Request::new(());
    *head.method_mut() = Method::CONNECT;
    *head.version_mut() = Version::HTTP_2;
    *head.uri_mut() = Uri::from(authority);
    for (name, value) in request.fields().filter(|(name, _)| !is_of_hop(name)) {
        head.headers_mut().append(name, value.clone());
    }
    Ok(head)
}

/// The wait for a response.
struct Answer<'a> {
    response: ResponseFuture,
    sending: &'a mut SendStream<Bytes>,
    first: Option<&'a FirstFlight>,
    /// The number of bytes of the first flight that were sent.
    sent: usize,
}

impl Answer<'_> {
    /// Waits for the head of the response, and sends the first flight meanwhile.
    async fn wait(mut self) -> Result<http::Response<h2::RecvStream>, h2::Error> {
        poll_fn(|cx| {
            let polled = pin!(&mut self.response).poll(cx);
            if polled.is_pending() {
                self.send(cx);
            }
            polled
        })
        .await
    }

    fn send(&mut self, cx: &mut Context<'_>) {
        while let Some(bytes) = self.first.and_then(|first| first.after(self.sent, cx)) {
            self.sent += bytes.len();
            // h2 keeps the few bytes of a flight for which there is no room in the window. If the stream is over, the
            // response tells why.
            let _ = self.sending.send_data(bytes, false);
        }
    }
}
