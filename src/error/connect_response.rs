//! [`ConnectResponse`]: a proxy's response to CONNECT.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, Version};

/// A proxy's response to CONNECT.
///
/// [`ConnectError::response`](crate::ConnectError::response) returns the response that refused a tunnel. The response
/// that opened a tunnel is part of the connection's metadata. hyper-util's client puts it into the extensions of every
/// response that came through the tunnel.
///
/// A proxy may echo the request. Echoed credentials are replaced by `***`, in a field's name as well as in its value.
#[derive(Clone)]
pub struct ConnectResponse(Arc<ResponseParts>);

/// The field in which Squid gives its reason.
pub(crate) const X_SQUID_ERROR: HeaderName = HeaderName::from_static("x-squid-error");

pub(crate) struct ResponseParts {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) reason: Cow<'static, str>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// True if the connection was open before.
    pub(crate) is_reused: bool,
}

impl ConnectResponse {
    pub(crate) fn new(parts: ResponseParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Returns the status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Returns true if the connection to the proxy was open already, for other tunnels: only over HTTP/2.
    #[must_use]
    pub fn is_connection_reused(&self) -> bool {
        self.0.is_reused
    }

    /// Returns the version of the response: HTTP/1.0, HTTP/1.1 or HTTP/2.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// Returns the reason phrase as the proxy sent it; may be empty.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Returns the header fields. Squid gives its reason in `X-Squid-Error`.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// Returns the body's first 4 KiB. Empty for 2xx: the bytes that follow such a head belong to the tunnel.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    pub(crate) fn is_auth(&self) -> bool {
        asks_for_credentials(self.0.status)
    }
}

/// Returns true if this status of a response to CONNECT asks for credentials: 407, or 401 as Envoy sends.
pub(crate) fn asks_for_credentials(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED
    )
}

/// Writes the status line without the version, and `X-Squid-Error` if it is present.
impl fmt::Display for ConnectResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ResponseParts {
            status,
            reason,
            headers,
            ..
        } = &*self.0;
        f.write_str(status.as_str())?;
        if !reason.is_empty() {
            write!(f, " {}", reason.escape_debug())?;
        }
        match headers.get(X_SQUID_ERROR).map(|error| error.to_str()) {
            Some(Ok(error)) => write!(f, " ({error})"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for ConnectResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectResponse")
            .field("status", &self.0.status)
            .field("version", &self.0.version)
            .field("reason", &self.0.reason)
            .field("headers", &self.0.headers)
            .field("body", &format_args!("{} bytes", self.0.body.len()))
            .finish()
    }
}
