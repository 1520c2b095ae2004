//! What happened to one connection.

use std::{error::Error as StdError, fmt, io, net::IpAddr, time::Duration};

use super::{
    BoxError, Denied, TargetError,
    response::{Challenge, ConnectResponse},
};

/// A connection that did not come about.
///
/// Returned by `Proxy<S>` as a connector (`Service<Uri>`). Clients wrap it, so look for it with [`ConnectError::find`]:
///
/// ```
/// # use tower_outbound_proxy::ConnectError;
/// fn worth_another_try(error: &(dyn std::error::Error + 'static)) -> bool {
///     ConnectError::find(error).is_some_and(|error| error.is_before_request() && error.is_transient())
/// }
/// ```
///
/// Its text names the proxy (without its password) and what was going on; the cause is in
/// [`source`](std::error::Error::source) and not repeated.
pub struct ConnectError(Box<Inner>);

struct Inner {
    failure: Failure,
    stage: Stage,
    /// The proxy's address, redacted; `None` for a direct connection.
    proxy: Option<String>,
    /// `host:port` of what was to be reached.
    target: Option<String>,
}

/// How far a connection had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Reading the target from the URI; nothing was dialled.
    Target,
    /// The inner connector was dialling: the target on a direct route, otherwise the proxy.
    Dial,
    /// The TLS handshake with an `https://` proxy.
    Tls,
    /// CONNECT had been sent, or was being sent, to the proxy. Nothing of the request itself had.
    Tunnel,
}

/// The ways to fail.
#[derive(Debug)]
pub(crate) enum Failure {
    Target(TargetError),
    Denied(Denied),
    Dial(BoxError),
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    Tls(io::Error),
    Io(io::Error),
    Refused {
        response: ConnectResponse,
        challenges: Vec<Challenge>,
        authorized: bool,
    },
    Broken(Broken),
    Timeout(Duration),
}

/// An answer to CONNECT that is not an HTTP response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    HeadTooLarge,
    TooManyFields,
    NotHttp,
    Tls,
    Eof { mid_head: bool },
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

    /// What an inner connector failed with. If that is an error of this type, it says more than a wrapper could.
    pub(crate) fn dial(error: impl Into<BoxError>) -> Self {
        match error.into().downcast::<Self>() {
            Ok(error) => *error,
            Err(error) => Self::new(Stage::Dial, Failure::dial(error)),
        }
    }

    pub(crate) fn denied_by(denied: Denied) -> Self {
        Self::new(Stage::Dial, Failure::Denied(denied))
    }

    #[must_use]
    pub(crate) fn through(mut self, proxy: impl fmt::Display) -> Self {
        self.0.proxy = Some(proxy.to_string());
        self
    }

    /// Names the target, where no part nearer to the fault has done so.
    #[must_use]
    pub(crate) fn to(mut self, target: impl fmt::Display) -> Self {
        self.0.target.get_or_insert_with(|| target.to_string());
        self
    }

    /// Finds the `ConnectError` in an error's chain of sources, the error itself included.
    ///
    /// Clients (hyper-util's, tonic's) wrap what their connector returned. Also looks into [`io::Error`]s, which hide
    /// the error they carry from `source`.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        find(error)
    }

    /// How far the connection had come.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// Whether it failed before any byte of the request was sent, so that repeating the request is safe whatever its
    /// method is.
    ///
    /// A connector runs before its client writes the request, and in CONNECT no part of the request travels: this holds
    /// for every error of this type. An error in whose chain [`find`](Self::find) finds nothing gives no such promise.
    /// Whether another try can *help* is [`is_transient`](Self::is_transient).
    #[must_use]
    pub fn is_before_request(&self) -> bool {
        match self.0.stage {
            Stage::Target | Stage::Dial | Stage::Tls | Stage::Tunnel => true,
        }
    }

    /// Whether the same attempt may succeed later: dialling failed, the connection broke, time ran out, or the proxy
    /// answered 408, 425, 429, 500, 502, 503 or 504.
    ///
    /// Not transient are a URI without a host, an address that a policy denies, a certificate that does not verify or another fault that TLS found, every
    /// other refusal (407 and 403 among them: asking again with the same credentials can lock an account), and an answer
    /// that is not HTTP.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match &self.0.failure {
            Failure::Target(_) | Failure::Denied(_) => false,
            Failure::Timeout(_) => true,
            // A connection that broke, not one on which TLS found something wrong.
            #[cfg(feature = "tls")]
            Failure::Dial(_) | Failure::Io(_) | Failure::Tls(_) => self.tls_error().is_none(),
            #[cfg(not(feature = "tls"))]
            Failure::Dial(_) | Failure::Io(_) | Failure::Tls(_) => true,
            Failure::Refused { response, .. } => {
                matches!(response.status().as_u16(), 408 | 425 | 429 | 500 | 502..=504)
            }
            Failure::Broken(broken) => matches!(broken, Broken::Eof { .. }),
        }
    }

    /// Whether the deadline for dialling, TLS and CONNECT together ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.failure, Failure::Timeout(_))
    }

    /// Whether the proxy answered CONNECT with anything but 2xx; [`response`](Self::response) has what it said.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.0.failure, Failure::Refused { .. })
    }

    /// Whether the proxy asked for (other) credentials: 407, or 401 as Envoy does.
    #[must_use]
    pub fn is_auth(&self) -> bool {
        self.response().is_some_and(ConnectResponse::is_auth)
    }

    /// Whether a TLS certificate, the proxy's or (in an inner connector) the target's, did not verify.
    #[must_use]
    pub fn is_certificate(&self) -> bool {
        #[cfg(feature = "tls")]
        return matches!(self.tls_error(), Some(rustls::Error::InvalidCertificate(_)));
        #[cfg(not(feature = "tls"))]
        false
    }

    #[cfg(feature = "tls")]
    fn tls_error(&self) -> Option<&rustls::Error> {
        match &self.0.failure {
            Failure::Tls(error) | Failure::Io(error) => find(error),
            Failure::Dial(error) => find(&**error),
            _ => None,
        }
    }

    /// Whether the response head was over 64 KiB.
    #[must_use]
    pub fn is_head_too_large(&self) -> bool {
        matches!(self.0.failure, Failure::Broken(Broken::HeadTooLarge))
    }

    /// Whether the response head had over 100 fields.
    #[must_use]
    pub fn is_too_many_fields(&self) -> bool {
        matches!(self.0.failure, Failure::Broken(Broken::TooManyFields))
    }

    /// Whether the proxy's answer was not an HTTP/1 response.
    #[must_use]
    pub fn is_not_http(&self) -> bool {
        matches!(self.0.failure, Failure::Broken(Broken::NotHttp | Broken::Tls))
    }

    /// Whether the proxy closed the connection before its response head was complete.
    #[must_use]
    pub fn is_unexpected_eof(&self) -> bool {
        matches!(self.0.failure, Failure::Broken(Broken::Eof { .. }))
    }

    /// The URI that named no host to reach, if that is the trouble.
    #[must_use]
    pub fn target_error(&self) -> Option<&TargetError> {
        match &self.0.failure {
            Failure::Target(error) => Some(error),
            _ => None,
        }
    }

    /// Whether an [`IpPolicy`](crate::IpPolicy) denied every address that the target has. Nothing was dialled then.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.denied().is_some()
    }

    /// What was denied and why, if that is the trouble; of several addresses the first.
    #[must_use]
    pub fn denied(&self) -> Option<&Denied> {
        match &self.0.failure {
            Failure::Denied(denied) => Some(denied),
            _ => None,
        }
    }

    /// The address that was denied, if that is the trouble; of several the first.
    #[must_use]
    pub fn denied_address(&self) -> Option<IpAddr> {
        self.denied().map(Denied::address)
    }

    /// The proxy, as `http://user:***@host:port`; `None` where the connection was a direct one.
    #[must_use]
    pub fn proxy(&self) -> Option<&str> {
        self.0.proxy.as_deref()
    }

    /// What the proxy answered, if it refused.
    #[must_use]
    pub fn response(&self) -> Option<&ConnectResponse> {
        match &self.0.failure {
            Failure::Refused { response, .. } => Some(response),
            _ => None,
        }
    }

    /// The challenges of a 407 (`Proxy-Authenticate`) or a 401 (`WWW-Authenticate`), in order.
    #[must_use]
    pub fn challenges(&self) -> &[Challenge] {
        match &self.0.failure {
            Failure::Refused { challenges, .. } => challenges,
            _ => &[],
        }
    }
}

impl Failure {
    /// What dialling failed with. A refusal by policy is seen through what resolvers and connectors wrap it in, and an
    /// inner `Guard`'s failure to dial is taken out of its wrapper, which would only repeat what the outer one says.
    pub(crate) fn dial(error: BoxError) -> Self {
        match error.downcast::<ConnectError>() {
            Ok(error) => match *error {
                ConnectError(inner) if inner.proxy.is_none() && inner.stage == Stage::Dial => inner.failure,
                error => Self::Dial(Box::new(error)),
            },
            Err(error) => match find::<Denied>(&*error) {
                Some(denied) => Self::Denied(denied.clone()),
                None => Self::Dial(error),
            },
        }
    }
}

/// Walks the sources; `io::Error` returns the *source of* the error it carries, so that one is looked at first.
fn find<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        match (&inner.failure, &inner.proxy) {
            (Failure::Target(error), _) => return error.fmt(f),
            // It names the target itself.
            (Failure::Denied(denied), None) => return denied.fmt(f),
            _ => {}
        }
        match (&inner.proxy, &inner.target) {
            (Some(proxy), Some(target)) => write!(f, "proxy {proxy}, to {target}: ")?,
            (Some(proxy), None) => write!(f, "proxy {proxy}: ")?,
            (None, Some(target)) => write!(f, "{target}: ")?,
            (None, None) => {}
        }
        match &inner.failure {
            Failure::Target(_) => Ok(()),
            Failure::Denied(denied) => denied.fmt(f),
            Failure::Dial(_) => f.write_str("connecting failed"),
            Failure::Tls(_) if self.is_certificate() => f.write_str("its certificate does not verify"),
            Failure::Tls(_) => f.write_str("the TLS handshake failed (does it speak TLS on this port?)"),
            Failure::Io(_) => f.write_str("the connection broke during CONNECT"),
            Failure::Refused {
                response,
                challenges,
                authorized,
            } => {
                write!(f, "the tunnel was refused: {response}")?;
                if response.is_auth() {
                    match challenges.split_first() {
                        None => f.write_str("; it names no way to authenticate")?,
                        Some((first, rest)) => {
                            write!(f, "; it asks for {first}")?;
                            rest.iter().try_for_each(|other| write!(f, " or {other}"))?;
                        }
                    }
                    f.write_str(match authorized {
                        true => ", and did not accept the credentials it was sent",
                        false => ", and none are configured for it",
                    })?;
                }
                Ok(())
            }
            Failure::Broken(broken) => f.write_str(match broken {
                Broken::HeadTooLarge => "the answer to CONNECT has a head of over 64 KiB",
                Broken::TooManyFields => "the answer to CONNECT has over 100 header fields",
                Broken::NotHttp => "the answer to CONNECT is not HTTP/1",
                Broken::Tls => "the answer to CONNECT is not HTTP/1 but TLS (is it an `https://` proxy?)",
                Broken::Eof { mid_head: false } => "the connection was closed without an answer to CONNECT",
                Broken::Eof { mid_head: true } => "the connection was closed within the answer to CONNECT",
            }),
            Failure::Timeout(after) => {
                let doing = match inner.stage {
                    Stage::Target | Stage::Dial => "connecting",
                    Stage::Tls => "the TLS handshake",
                    Stage::Tunnel => "waiting for the answer to CONNECT",
                };
                write!(f, "{doing} took longer than {after:?}")
            }
        }
    }
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            Failure::Dial(error) => Some(&**error),
            Failure::Tls(error) | Failure::Io(error) => Some(error),
            Failure::Target(_)
            | Failure::Denied(_)
            | Failure::Refused { .. }
            | Failure::Broken(_)
            | Failure::Timeout(_) => None,
        }
    }
}
