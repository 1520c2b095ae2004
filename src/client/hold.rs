//! [`Hold`]: a request's hold on a connection, of the pool or shared with tunnels.

use http::{Request, Response, StatusCode};

use super::{
    body::ClientBody,
    forward::Forward,
    pool::{Lease, SendError},
    repeat::Spare,
    request_body::RequestBody,
};

/// A request's hold on a connection.
pub(super) enum Hold {
    Pooled(Lease),
    /// A stream of a connection to a proxy over HTTP/2.
    Shared(Forward),
}

impl Hold {
    pub(super) fn is_http2(&self) -> bool {
        match self {
            Self::Pooled(lease) => lease.is_http2(),
            Self::Shared(_) => true,
        }
    }

    /// Returns true if the connection was not opened for this request, and the peer may have closed it.
    pub(super) fn may_be_stale(&self) -> bool {
        match self {
            Self::Pooled(lease) => lease.may_be_stale(),
            Self::Shared(forward) => forward.may_be_stale(),
        }
    }

    /// Sends the request. If `is_described`, the response's extensions describe the connection. Drops the copy of the
    /// request when the response has come, unless the proxy asks for other credentials: while it exists, the connection
    /// waits for the rest of the request.
    pub(super) async fn send(
        self,
        request: Request<RequestBody>,
        spare: &mut Spare,
        is_described: bool,
    ) -> Result<Response<ClientBody>, SendError> {
        match self {
            Self::Pooled(mut lease) => {
                let mut response = lease.send(request).await?;
                let is_refused = response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
                if !is_refused {
                    spare.forget();
                }
                if is_described {
                    lease.describe(response.extensions_mut());
                }
                // After an upgrade the connection speaks another protocol.
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    lease.upgrade();
                    return Ok(response.map(|body| ClientBody::new(body, None)));
                }
                Ok(response.map(|body| match is_refused {
                    true => ClientBody::unfinished(body, lease),
                    false => ClientBody::new(body, Some(lease)),
                }))
            }
            Self::Shared(forward) => forward.send(request, is_described).await,
        }
    }
}
