//! [`ConnectError`]: a failed connection.

mod text;

use std::{error::Error as StdError, fmt, io, time::Duration};

#[cfg(feature = "tls")]
use super::CertificateError;
use super::{
    BoxError, ConnectResponse, DeniedError, TargetError, UnusableProxyError,
    chain::{find, write_chain},
};
use crate::auth::{Answered, Challenge};

/// A connection that could not be made.
///
/// `Proxy<S>` returns it as a connector (`Service<Uri>`). Clients wrap it, so search for it with
/// [`ConnectError::find`]:
///
/// ```
/// # use tower_outbound_proxy::ConnectError;
/// fn worth_another_try(error: &(dyn std::error::Error + 'static)) -> bool {
///     ConnectError::find(error).is_some_and(|error| error.is_before_request() && error.is_transient())
/// }
/// ```
///
/// The text names the proxy (without its password) and the step that failed. It does not repeat the cause, which is the
/// [`source`](std::error::Error::source).
pub struct ConnectError(Box<Inner>);

struct Inner {
    failure: Failure,
    stage: Stage,
    /// The proxy's address, redacted; `None` for a direct connection.
    proxy: Option<String>,
    /// The target, as `host:port`.
    target: Option<String>,
}

/// The step at which a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Reading the target from the URI, and deciding its route. Nothing was dialled.
    Target,
    /// Asking a credentials provider.
    Credentials,
    /// Dialling, by the inner connector: the target on a direct route, otherwise the proxy.
    Dial,
    /// The TLS handshake with an `https://` proxy.
    Tls,
    /// Asking the proxy for a tunnel, up to the first bytes of TLS in it. Nothing of the request itself was sent.
    Tunnel,
    /// Writing the first bytes on the new connection. They are not what it is for, so none of them was sent.
    FirstWrite,
    /// Asking the proxy to forward a request, which it refused to do without credentials (407).
    Forward,
}

/// The kind of failure of a [`ConnectError`].
///
/// It is more specific than the [`Stage`]: an invalid certificate and an unreachable proxy call for different actions.
/// A `match` can handle each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// The URI names no host to reach; [`target_error`](ConnectError::target_error) has the reason.
    Target,
    /// The setting that should name the target's proxy cannot be used; see
    /// [`Route::Unusable`](crate::Route::Unusable). Nothing was dialled.
    UnusableProxy,
    /// The route is to forward. The request asks for an upgrade, which no proxy passes on, or the client wrote HTTP/2
    /// (gRPC, for instance) or TLS on a connection for HTTP/1. Nothing was sent; see
    /// [`ProxyLayer::with_always_tunnel`](crate::ProxyLayer::with_always_tunnel).
    NeedsTunnel,
    /// An [`IpPolicy`](crate::IpPolicy) denies every address of the target; [`denied`](ConnectError::denied) has the
    /// reason. Nothing was dialled.
    Denied,
    /// The inner connector could not connect.
    Dial,
    /// A certificate did not verify: the proxy's, or the target's in an inner connector. `CertificateError::find` has
    /// the issuer.
    Certificate,
    /// A TLS handshake failed for another reason.
    Tls,
    /// The connection broke during CONNECT.
    Io,
    /// The proxy requires credentials, or rejected those that were sent: status 407, or 401 as Envoy sends.
    /// [`challenges`](ConnectError::challenges) has the schemes that it offers.
    AuthenticationRequired,
    /// The credentials provider failed.
    Provider,
    /// The proxy refused the tunnel with another non-2xx status; [`response`](ConnectError::response) has its response.
    Refused,
    /// The response head was longer than 64 KiB.
    HeadTooLarge,
    /// The head that opens the tunnel had more than 100 header fields.
    TooManyFields,
    /// The response was not HTTP/1, or the head that opens the tunnel had a line that is not a header field. (Of a
    /// refusal, [`response`](ConnectError::response) has all that could be read.)
    NotHttp,
    /// The proxy closed the connection before its response head was complete.
    UnexpectedEof,
    /// The proxy opened the tunnel, and HTTP came through it in answer to TLS: the proxy answered in the target's
    /// place, for instance with a block page, or the target does not speak TLS on this port.
    NotTls,
    /// The client wrote something other than TLS on a connection to an `https` or `wss` target. Nothing of it was sent.
    /// The stack has no TLS connector around the layer; see
    /// [`ProxyLayer`](crate::ProxyLayer#tls-to-the-target-goes-outside).
    Cleartext,
    /// The proxy did not choose HTTP/2, and nothing else is allowed: see `connector::ProxyVersion`.
    NotHttp2,
    /// Dialling, TLS and CONNECT together exceeded the deadline.
    Timeout,
}

/// The cause of a failure.
#[derive(Debug)]
pub(crate) enum Failure {
    Target(TargetError),
    UnusableProxy(UnusableProxyError),
    /// An upgrade on a forward route.
    NeedsTunnel,
    Denied(DeniedError),
    Dial(BoxError),
    /// The inner connector takes `http` only.
    HttpOnly(BoxError),
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    Tls(io::Error),
    Io(io::Error),
    Refused {
        response: ConnectResponse,
        challenges: Vec<Challenge>,
        answered: Answered,
    },
    /// The credentials provider failed.
    Provider(BoxError),
    InvalidHead(InvalidHead),
    /// HTTP came through the tunnel in answer to TLS.
    NotTls,
    /// The client wrote something other than TLS to an `https` or `wss` target.
    Cleartext,
    /// The client wrote this protocol on a forward route.
    NotHttp1(&'static str),
    /// The proxy did not choose HTTP/2, and nothing else is allowed.
    #[cfg_attr(not(all(feature = "http2", feature = "tls")), allow(dead_code))]
    NotHttp2,
    /// The route is to forward, over HTTP/1.1, and nothing but HTTP/2 is allowed.
    #[cfg_attr(not(feature = "http2"), allow(dead_code))]
    NeedsHttp1,
    /// No stream became free on the connections over HTTP/2 that the limit allows.
    #[cfg_attr(not(feature = "http2"), allow(dead_code))]
    NoStream {
        waited: Duration,
        limit: usize,
    },
    Timeout(Duration),
}

/// Bytes that are not an HTTP response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidHead {
    TooLarge,
    TooManyFields,
    NotHttp,
    /// A line of the head is not a header field.
    Field,
    Tls,
    Eof {
        mid_head: bool,
    },
}

impl ConnectError {
    pub(crate) fn new(stage: Stage, failure: Failure) -> Self {
        Self(Box::new(Inner {
            failure,
            stage,
            proxy: None,
            target: None,
        }))
    }

    /// Wraps an inner connector's error. A `ConnectError` stays as it is, since a wrapper would say less.
    pub(crate) fn dial(error: impl Into<BoxError>) -> Self {
        match error.into().downcast::<Self>() {
            Ok(error) => *error,
            Err(error) => Self::new(Stage::Dial, Failure::dial(error)),
        }
    }

    pub(crate) fn target(error: TargetError) -> Self {
        Self::new(Stage::Target, Failure::Target(error))
    }

    pub(crate) fn unusable(error: UnusableProxyError) -> Self {
        Self::new(Stage::Target, Failure::UnusableProxy(error))
    }

    pub(crate) fn needs_tunnel() -> Self {
        Self::new(Stage::Target, Failure::NeedsTunnel)
    }

    pub(crate) fn denied_by(denied: DeniedError) -> Self {
        Self::new(Stage::Dial, Failure::Denied(denied))
    }

    #[must_use]
    pub(crate) fn through(mut self, proxy: impl fmt::Display) -> Self {
        self.0.proxy = Some(proxy.to_string());
        self
    }

    /// Sets the target, unless it is already set.
    #[must_use]
    pub(crate) fn to(mut self, target: impl fmt::Display) -> Self {
        self.0.target.get_or_insert_with(|| target.to_string());
        self
    }

    /// Finds the `ConnectError` in an error's chain of sources, including the error itself.
    ///
    /// Clients (hyper-util's, tonic's) wrap their connector's errors. This function also looks into [`io::Error`]s,
    /// whose `source` skips the error that they carry.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        find(error)
    }

    /// Returns the step at which the connection failed.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// Returns the kind of failure.
    #[must_use]
    pub fn kind(&self) -> ConnectErrorKind {
        use ConnectErrorKind as Kind;
        match &self.0.failure {
            Failure::Target(_) => Kind::Target,
            Failure::UnusableProxy(_) => Kind::UnusableProxy,
            Failure::NeedsTunnel | Failure::NotHttp1(_) | Failure::NeedsHttp1 => Kind::NeedsTunnel,
            Failure::NotHttp2 => Kind::NotHttp2,
            Failure::Denied(_) => Kind::Denied,
            Failure::Dial(_) | Failure::Tls(_) | Failure::Io(_) if self.is_certificate() => Kind::Certificate,
            Failure::Dial(_) | Failure::Io(_) if self.is_tls() => Kind::Tls,
            Failure::Dial(_) | Failure::HttpOnly(_) => Kind::Dial,
            Failure::Tls(_) => Kind::Tls,
            Failure::Io(_) => Kind::Io,
            Failure::Provider(_) => Kind::Provider,
            Failure::Refused { response, .. } if response.is_auth() => Kind::AuthenticationRequired,
            Failure::Refused { .. } => Kind::Refused,
            Failure::InvalidHead(InvalidHead::TooLarge) => Kind::HeadTooLarge,
            Failure::InvalidHead(InvalidHead::TooManyFields) => Kind::TooManyFields,
            Failure::InvalidHead(InvalidHead::NotHttp | InvalidHead::Field | InvalidHead::Tls) => Kind::NotHttp,
            Failure::InvalidHead(InvalidHead::Eof { .. }) => Kind::UnexpectedEof,
            Failure::NotTls => Kind::NotTls,
            Failure::Cleartext => Kind::Cleartext,
            Failure::Timeout(_) | Failure::NoStream { .. } => Kind::Timeout,
        }
    }

    /// Returns true if the connection failed before any byte of the request was sent. Repeating the request is then
    /// safe, whatever its method is.
    ///
    /// This holds for every error of this type: a connector runs before its client writes the request, CONNECT carries
    /// no part of the request, a proxy that asks for credentials does not forward it, and first bytes that are refused
    /// do not leave. If [`find`](Self::find) finds nothing in an error's chain, that error gives no such promise.
    /// [`is_transient`](Self::is_transient) tells whether a retry can *help*.
    #[must_use]
    pub fn is_before_request(&self) -> bool {
        match self.0.stage {
            Stage::Target
            | Stage::Credentials
            | Stage::Dial
            | Stage::Tls
            | Stage::Tunnel
            | Stage::FirstWrite
            | Stage::Forward => true,
        }
    }

    /// Returns true if the same attempt may succeed later: dialling or the credentials provider failed, the connection broke, time ran out, or the
    /// proxy answered 408, 425, 429, 500, 502, 503 or 504.
    ///
    /// These failures are not transient: a URI without a host, a setting that cannot be used, an upgrade that cannot be
    /// forwarded, an address that a policy denies, a certificate that does not verify, any other fault that TLS
    /// reports, any other refusal (407 and 403 among them: a retry with the same credentials can lock an account), a
    /// response that is not HTTP, HTTP in the place of TLS, and a stack of connectors that cannot work
    /// ([`Cleartext`](ConnectErrorKind::Cleartext), [`NeedsTunnel`](ConnectErrorKind::NeedsTunnel), a connector for
    /// `http` alone).
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match &self.0.failure {
            Failure::Target(_)
            | Failure::UnusableProxy(_)
            | Failure::NeedsTunnel
            | Failure::NotHttp1(_)
            | Failure::Denied(_)
            | Failure::HttpOnly(_)
            | Failure::NotTls
            | Failure::Cleartext
            | Failure::NotHttp2
            | Failure::NeedsHttp1 => false,
            Failure::Timeout(_) | Failure::NoStream { .. } | Failure::Provider(_) => true,
            // A broken connection is transient. A fault that TLS reports is not.
            Failure::Dial(_) | Failure::Io(_) | Failure::Tls(_) => !self.is_tls(),
            Failure::Refused { response, .. } => {
                matches!(response.status().as_u16(), 408 | 425 | 429 | 500 | 502..=504)
            }
            Failure::InvalidHead(invalid) => matches!(invalid, InvalidHead::Eof { .. }),
        }
    }

    /// Returns true if the deadline for dialling, TLS and CONNECT together ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind() == ConnectErrorKind::Timeout
    }

    /// Returns true if TLS reported a fault.
    fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls_error().is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    fn is_certificate(&self) -> bool {
        #[cfg(feature = "tls")]
        return matches!(self.tls_error(), Some(rustls::Error::InvalidCertificate(_)));
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Returns the fault of the proxy's certificate.
    #[cfg(feature = "tls")]
    pub(super) fn certificate(&self) -> Option<&CertificateError> {
        match &self.0.failure {
            Failure::Tls(error) => CertificateError::find(error),
            _ => None,
        }
    }

    #[cfg(feature = "tls")]
    fn tls_error(&self) -> Option<&rustls::Error> {
        match &self.0.failure {
            Failure::Tls(error) | Failure::Io(error) => find(error),
            Failure::Dial(error) => find(&**error),
            _ => None,
        }
    }

    /// Returns the reason why the URI names no host to reach; see [`ConnectErrorKind::Target`].
    #[must_use]
    pub fn target_error(&self) -> Option<&TargetError> {
        match &self.0.failure {
            Failure::Target(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the denied address and the reason; if there are several, the first. See [`ConnectErrorKind::Denied`].
    #[must_use]
    pub fn denied(&self) -> Option<&DeniedError> {
        match &self.0.failure {
            Failure::Denied(denied) => Some(denied),
            _ => None,
        }
    }

    /// Returns the proxy, as `http://user:***@host:port`; `None` for a direct connection.
    #[must_use]
    pub fn proxy(&self) -> Option<&str> {
        self.0.proxy.as_deref()
    }

    /// Returns the proxy's response, if it refused the tunnel.
    #[must_use]
    pub fn response(&self) -> Option<&ConnectResponse> {
        match &self.0.failure {
            Failure::Refused { response, .. } => Some(response),
            _ => None,
        }
    }

    /// Returns the challenges of a 407 (`Proxy-Authenticate`) or a 401 (`WWW-Authenticate`), in order.
    #[must_use]
    pub fn challenges(&self) -> &[Challenge] {
        match &self.0.failure {
            Failure::Refused { challenges, .. } => challenges,
            _ => &[],
        }
    }
}

impl Failure {
    /// Returns true if the connection ended before a byte of the response.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(
            self,
            Self::Io(_) | Self::InvalidHead(InvalidHead::Eof { mid_head: false })
        )
    }

    /// Classifies a failure to dial. A policy's refusal is found inside the wrappers of resolvers and connectors. An
    /// inner `Guard`'s failure to dial loses its wrapper, which would only repeat the outer one.
    pub(crate) fn dial(error: BoxError) -> Self {
        match error.downcast::<ConnectError>() {
            Ok(error) => match *error {
                ConnectError(inner) if inner.proxy.is_none() && inner.stage == Stage::Dial => inner.failure,
                error => Self::Dial(Box::new(error)),
            },
            Err(error) => match find::<DeniedError>(&*error) {
                Some(denied) => Self::Denied(denied.clone()),
                None if is_http_only(&*error) => Self::HttpOnly(error),
                None => Self::Dial(error),
            },
        }
    }
}

/// Returns true for an `HttpConnector`'s refusal of every scheme but `http`, which `enforce_http(false)` ends. The
/// error's type is private.
fn is_http_only(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .any(|error| error.to_string() == "invalid URL, scheme is not http")
}

/// Shows the text and those of the causes, which is what `main` prints of an error; `{:#?}` shows the parts.
impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return write_chain(f, "ConnectError", self);
        }
        f.debug_struct("ConnectError")
            .field("stage", &self.0.stage)
            .field("proxy", &self.0.proxy)
            .field("target", &self.0.target)
            .field("failure", &self.0.failure)
            .finish()
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.failure {
            Failure::Dial(error) | Failure::HttpOnly(error) | Failure::Provider(error) => Some(&**error),
            #[cfg(feature = "tls")]
            Failure::Tls(error) => match self.certificate() {
                // Its text is a part of this error's.
                Some(certificate) => certificate.source(),
                None => Some(error),
            },
            #[cfg(not(feature = "tls"))]
            Failure::Tls(error) => Some(error),
            Failure::Io(error) => Some(error),
            Failure::Target(_)
            | Failure::UnusableProxy(_)
            | Failure::NeedsTunnel
            | Failure::Denied(_)
            | Failure::Refused { .. }
            | Failure::InvalidHead(_)
            | Failure::NotHttp2
            | Failure::NeedsHttp1
            | Failure::NoStream { .. }
            | Failure::NotTls
            | Failure::Cleartext
            | Failure::NotHttp1(_)
            | Failure::Timeout(_) => None,
        }
    }
}
