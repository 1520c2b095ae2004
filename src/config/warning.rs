//! Oddities of the settings that are not errors.

use std::fmt;

use crate::error::EntryError;

/// An oddity of the settings that an operator should know of, although they can be used.
///
/// [`ProxyConfig::warnings`](crate::ProxyConfig::warnings) returns them; with the feature `tracing` each new
/// [`ProxyLayer`](crate::ProxyLayer) also logs them. The text names the variable and never shows a proxy's
/// address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// An entry of the `NO_PROXY` list matches nothing.
    #[non_exhaustive]
    Entry {
        /// The variable, as it is spelled.
        setting: String,
        /// The entry, with its position and the reason.
        error: EntryError,
    },
    /// Two spellings of one variable have different values, and only one of them holds.
    #[non_exhaustive]
    Shadowed {
        /// The spelling that holds.
        used: String,
        /// The spelling that does not.
        ignored: String,
    },
    /// The process runs as a CGI script, where a client's `Proxy:` header becomes `HTTP_PROXY` (CVE-2016-5385).
    #[non_exhaustive]
    IgnoredInCgi {
        /// The variable, as it is spelled.
        ignored: String,
    },
    /// The dialect never reads this spelling.
    #[non_exhaustive]
    NotReadInDialect {
        /// The variable, as it is spelled.
        ignored: String,
    },
    /// Certificates of the proxy are accepted unverified, by a switch that is for testing only.
    CertificatesNotVerified,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { setting, error } => write!(f, "{setting}: {error}"),
            Self::Shadowed { used, ignored } => {
                write!(f, "{used} and {ignored} are both set and differ: {used} is used")
            }
            Self::IgnoredInCgi { ignored } => write!(
                f,
                "{ignored} is ignored because REQUEST_METHOD is set: in CGI a client can set it with a `Proxy:` header \
                 (CVE-2016-5385); use http_proxy"
            ),
            Self::NotReadInDialect { ignored } => {
                write!(f, "{ignored} is not read in this dialect: use http_proxy")
            }
            Self::CertificatesNotVerified => f.write_str(
                "the proxy's certificate is NOT verified: anyone on the way to it can read and change everything; for \
                 testing only",
            ),
        }
    }
}
