//! [`TlsServerName`]: another name for TLS than the target's host.

use std::{fmt, sync::Arc};

use rustls::pki_types::ServerName;

use crate::{host::Host, target::TargetError};

/// The name that a target's certificate must have, and that is sent to the target (SNI), instead of the host in the
/// request's URI. It is for targets that are reached by an address or an internal name.
///
/// Put it into a request's extensions. A connection serves requests with the same name only. Requests without TLS
/// ignore it.
///
/// ```
/// # use http::Request;
/// # use tower_outbound_proxy::client::TlsServerName;
/// let request = Request::get("https://192.0.2.7/")
///     .header("host", "shop.example")
///     .extension(TlsServerName::new("shop.example")?)
///     .body(());
/// # Ok::<_, tower_outbound_proxy::error::TargetError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TlsServerName(Arc<str>);

impl TlsServerName {
    /// Creates a server name: a DNS name, or an address, which is compared with the certificate and not sent (RFC 6066
    /// 3).
    ///
    /// # Errors
    ///
    /// The text is neither.
    pub fn new(name: &str) -> Result<Self, TargetError> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        match ServerName::try_from(&*name) {
            Ok(_) => Ok(Self(name.into())),
            Err(_) => Err(TargetError::new(
                "the TLS server name is neither a DNS name nor an address",
            )),
        }
    }

    /// Returns the name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn host(&self) -> Host<'_> {
        match self.0.parse() {
            Ok(ip) => Host::Ip(ip),
            Err(_) => Host::Name(self.as_str().into()),
        }
    }
}

impl fmt::Debug for TlsServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsServerName").field(&self.0).finish()
    }
}
