//! [`ClientError`]: a request that got no response.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use crate::{
    client::pool::key::Key,
    error::{BoxError, ConnectError, find, write_chain},
    purpose::PurposeError,
    target::TargetError,
};

/// A request that got no response.
///
/// ```
/// # use tower_outbound_proxy::client::ClientError;
/// fn worth_another_try(error: &ClientError, is_idempotent: bool) -> bool {
///     error.is_transient() && (is_idempotent || error.is_before_request())
/// }
/// ```
pub struct ClientError {
    failure: Arc<Failure>,
    /// True if the request had been sent before, and a repeat of it failed.
    was_sent: bool,
}

#[derive(Debug)]
pub(super) enum Failure {
    Target(TargetError),
    Purpose(PurposeError),
    Connect(ConnectError),
    /// The proxy asks for credentials.
    Refused(ConnectError),
    /// TLS to the target, or the HTTP handshake with the peer.
    Handshake {
        what: &'static str,
        /// The target, and the proxy on the way to it.
        peer: String,
        error: BoxError,
    },
    Timeout,
    /// No connection became free under the limit.
    NoneFree {
        waited: Duration,
        limit: usize,
    },
    Aborted,
    NoRuntime,
    Send {
        error: BoxError,
        /// True if the same request would fail again.
        is_faulty: bool,
        processed: Processed,
    },
}

/// The server's progress with a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Processed {
    /// No byte of the request was sent.
    Unsent,
    /// The server promised not to have processed the request (RFC 9113 8.7).
    Refused,
    /// The server may have processed the request.
    Maybe,
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

impl From<PurposeError> for Failure {
    fn from(error: PurposeError) -> Self {
        Self::Purpose(error)
    }
}

impl ClientError {
    pub(super) fn new(failure: Failure) -> Self {
        Self {
            failure: Arc::new(failure),
            was_sent: false,
        }
    }

    /// Returns the error for another request that waited for the same attempt.
    pub(super) fn share(&self) -> Self {
        Self {
            failure: self.failure.clone(),
            was_sent: false,
        }
    }

    /// Names the peer of a handshake.
    pub(super) fn about(mut self, key: &Key) -> Self {
        if let Some(Failure::Handshake { peer, .. }) = Arc::get_mut(&mut self.failure) {
            *peer = key.peer_name();
        }
        self
    }

    /// Returns the error of a request that had been sent before.
    pub(super) fn after_request(self) -> Self {
        Self { was_sent: true, ..self }
    }

    /// Creates the error for a runtime that ended, or a connector that panicked, while the request waited for a
    /// connection.
    pub(super) fn aborted() -> Self {
        Self::new(Failure::Aborted)
    }

    /// Returns true if the request failed before any of its bytes was sent, or if the server promised not to have
    /// processed it (`GOAWAY` and `REFUSED_STREAM`, RFC 9113 8.7). Repeating it is then safe, whatever its method is.
    #[must_use]
    pub fn is_before_request(&self) -> bool {
        let may_be_processed = matches!(
            &*self.failure,
            Failure::Send {
                processed: Processed::Maybe,
                ..
            }
        );
        !self.was_sent && !may_be_processed
    }

    /// Returns true if there was no connection to the target to send the request on. This includes a proxy that refused
    /// to forward the request without credentials.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        !matches!(
            &*self.failure,
            Failure::Send { .. } | Failure::Target(_) | Failure::Purpose(_)
        )
    }

    /// Returns the failed connection: what the proxy answered, for instance.
    #[must_use]
    pub fn connect_error(&self) -> Option<&ConnectError> {
        ConnectError::find(self)
    }

    /// Returns true if the same request may succeed later: time ran out, no connection became free, one broke or could
    /// not be opened for the moment.
    ///
    /// These failures are not transient: a request that cannot be sent, credentials that a proxy requires or rejects,
    /// any other failure that [`ConnectError::is_transient`] calls permanent, a fault that TLS reports, a response that
    /// is not HTTP, the request's own body, and a client without a runtime.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match &*self.failure {
            Failure::Target(_) | Failure::Purpose(_) | Failure::NoRuntime => false,
            Failure::Timeout | Failure::NoneFree { .. } | Failure::Aborted => true,
            Failure::Connect(error) | Failure::Refused(error) => error.is_transient(),
            Failure::Handshake { error, .. } => match ConnectError::find(&**error) {
                Some(error) => error.is_transient(),
                None => find::<rustls::Error>(&**error).is_none(),
            },
            Failure::Send {
                is_faulty, processed, ..
            } => *processed != Processed::Maybe || !is_faulty,
        }
    }

    /// Returns the purpose that requires a proxy where none is set; see
    /// [`ProxyUse::Always`](crate::purpose::ProxyUse::Always).
    #[must_use]
    pub fn purpose_error(&self) -> Option<&PurposeError> {
        match &*self.failure {
            Failure::Purpose(error) => Some(error),
            _ => None,
        }
    }

    /// Returns true if connecting took too long, or waiting for a connection to become free.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match &*self.failure {
            Failure::Timeout | Failure::NoneFree { .. } => true,
            Failure::Connect(error) => error.is_timeout(),
            _ => false,
        }
    }
}

impl ClientError {
    /// Returns the kind of error, for figures.
    pub(super) fn name(&self) -> String {
        let name = match &*self.failure {
            Failure::Connect(error) | Failure::Refused(error) => return format!("{:?}", error.kind()),
            Failure::Target(_) => "Target",
            Failure::Purpose(_) => "Purpose",
            Failure::Handshake { error, .. } => match find::<rustls::Error>(&**error) {
                Some(rustls::Error::InvalidCertificate(_)) => "Certificate",
                Some(_) => "Tls",
                None => "Handshake",
            },
            Failure::Timeout => "Timeout",
            Failure::NoneFree { .. } => "NoneFree",
            Failure::Aborted => "Aborted",
            Failure::NoRuntime => "NoRuntime",
            Failure::Send { .. } => "Send",
        };
        name.to_owned()
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.failure {
            Failure::Target(error) => error.fmt(f),
            Failure::Purpose(error) => error.fmt(f),
            Failure::Connect(_) => f.write_str("no connection"),
            Failure::Refused(_) => f.write_str("the proxy did not forward the request"),
            Failure::Handshake { what, peer, .. } => write!(f, "no connection to {peer}: {what}"),
            Failure::Timeout => f.write_str("no connection: connecting timed out"),
            Failure::Aborted => f.write_str("no connection: the connection attempt was aborted"),
            Failure::NoRuntime => f.write_str(
                "no connection: the request was made outside of a tokio runtime (`ClientBuilder::runtime` sets one)",
            ),
            Failure::NoneFree { waited, limit } => write!(
                f,
                "no connection: none of the {limit} that `max_connections_per_key` allows became free within {waited:?}"
            ),
            Failure::Send { processed, .. } => f.write_str(match processed {
                Processed::Unsent => "the connection was closed before the request was sent",
                Processed::Refused => "the server refused the request without processing it",
                Processed::Maybe => "the connection broke after the request was sent",
            }),
        }?;
        match self.was_sent {
            true => f.write_str(", when the request was sent again after the connection had broken"),
            false => Ok(()),
        }
    }
}

/// Shows the text and those of the causes, which is what `main` prints of an error; `{:#?}` shows the parts.
impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match f.alternate() {
            false => write_chain(f, "ClientError", self),
            true => f.debug_tuple("ClientError").field(&self.failure).finish(),
        }
    }
}

impl StdError for ClientError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &*self.failure {
            Failure::Connect(error) | Failure::Refused(error) => Some(error),
            Failure::Handshake { error, .. } | Failure::Send { error, .. } => Some(&**error),
            Failure::Target(_)
            | Failure::Purpose(_)
            | Failure::Timeout
            | Failure::NoneFree { .. }
            | Failure::Aborted
            | Failure::NoRuntime => None,
        }
    }
}
