//! What a proxy said: its answer to CONNECT, and the challenges in it.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};

/// What a proxy answered to CONNECT.
///
/// With a refusal it is in [`ConnectError::response`](crate::ConnectError::response); with an open tunnel it is among the connection's metadata, and
/// hyper-util's client puts it into the extensions of every response that came through that tunnel.
///
/// A proxy may repeat what it was sent. Where its credentials come back, they are replaced by `***`.
#[derive(Clone)]
pub struct ConnectResponse(Arc<ResponseParts>);

pub(crate) struct ResponseParts {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) reason: Cow<'static, str>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl ConnectResponse {
    pub(crate) fn new(parts: ResponseParts) -> Self {
        Self(Arc::new(parts))
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The proxy's version: HTTP/1.0 or HTTP/1.1.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// The reason phrase as the proxy sent it; may be empty.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The header fields. Squid explains itself in `X-Squid-Error`.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The body's first 4 KiB. Empty for 2xx: what follows such a head belongs to the tunnel.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    pub(super) fn is_auth(&self) -> bool {
        matches!(
            self.0.status,
            StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED
        )
    }
}

/// The status line without the version, and `X-Squid-Error` where there is one.
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
        match headers.get("x-squid-error").map(|error| error.to_str()) {
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
            .field("body", &String::from_utf8_lossy(&self.0.body))
            .finish()
    }
}

/// One way in which a proxy wants to be authenticated to (RFC 9110 11.6.1), from `Proxy-Authenticate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub(crate) scheme: String,
    pub(crate) token68: Option<String>,
    pub(crate) params: Vec<(String, String)>,
}

impl Challenge {
    /// The scheme as it was written: `Basic`, `Digest`, `Negotiate`, … Compare it without regard to case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The single value that some schemes have in place of parameters.
    #[must_use]
    pub fn token68(&self) -> Option<&str> {
        self.token68.as_deref()
    }

    /// The parameters in order, names in lower case, values unquoted.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The protection space that the proxy names.
    #[must_use]
    pub fn realm(&self) -> Option<&str> {
        self.params().find(|(name, _)| *name == "realm").map(|(_, value)| value)
    }
}

/// `Basic (realm "corporate")`
impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        match self.realm() {
            Some(realm) => write!(f, " (realm {realm:?})"),
            None => Ok(()),
        }
    }
}
