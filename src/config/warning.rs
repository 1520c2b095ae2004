//! Problems in the settings that are not errors.

use std::fmt;

use crate::error::{EntryError, UnusableProxyError};

/// A problem in the settings that does not prevent their use, but that an operator should know about.
///
/// [`ProxyConfig::warnings`](crate::ProxyConfig::warnings) returns all warnings. With the feature `tracing`, each new
/// [`ProxyLayer`](crate::ProxyLayer) also logs them. A warning's text names the variable and never shows a
/// password.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// An entry of the `NO_PROXY` list matches nothing, or is malformed and matches targets in its dialect alone.
    #[non_exhaustive]
    Entry {
        /// The variable's name, as spelled.
        setting: String,
        /// The entry, with its position and the reason.
        error: EntryError,
    },
    /// Two spellings of one variable have different values, and only one of them is used.
    #[non_exhaustive]
    Shadowed {
        /// The spelling that is used.
        used: String,
        /// The spelling that is ignored.
        ignored: String,
    },
    /// The variable is ignored in a CGI script, where a client's `Proxy:` header becomes `HTTP_PROXY` (CVE-2016-5385).
    #[non_exhaustive]
    IgnoredInCgi {
        /// The variable's name, as spelled.
        ignored: String,
    },
    /// The variable is ignored in a CGI script, where the dialect uses no proxy.
    #[non_exhaustive]
    NothingReadInCgi {
        /// The variable's name, as spelled.
        ignored: String,
    },
    /// The dialect never reads this spelling.
    #[non_exhaustive]
    NotReadInDialect {
        /// The variable's name, as spelled.
        ignored: String,
    },
    /// A proxy's address is a number or a word like `none` or `true`. It is used as the name or the address of the
    /// proxy.
    #[non_exhaustive]
    UnlikelyProxy {
        /// The variable's name, as spelled.
        setting: String,
        /// The value.
        value: String,
        /// The proxy, as `http://host:port`.
        proxy: String,
    },
    /// A proxy for other schemes than `http`, `https`, `ws` and `wss` cannot be used. A connection that needs it fails;
    /// no other is affected.
    #[non_exhaustive]
    UnusableProxy {
        /// The setting and the reason.
        error: UnusableProxyError,
    },
    /// The proxy's certificate is not verified, because of a setting that is for testing only.
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
                write!(f, "{ignored} is not read in this dialect: use {}", ignored.to_ascii_lowercase())
            }
            Self::NothingReadInCgi { ignored } => write!(
                f,
                "{ignored} is not read because REQUEST_METHOD is set: in this dialect no proxy is used in CGI"
            ),
            Self::UnlikelyProxy { setting, value, proxy } => write!(
                f,
                "{setting}=`{value}` is read as the proxy {proxy}: if no proxy is meant, unset {setting}; otherwise write \
                 the address in full, as `http://proxy.example:3128`"
            ),
            Self::UnusableProxy { error } => write!(
                f,
                "{error}; it is for targets of schemes other than http, https, ws and wss, which cannot be reached"
            ),
            Self::CertificatesNotVerified => f.write_str(
                "the proxy's certificate is NOT verified: anyone on the network path can read and change everything; for \
                 testing only",
            ),
        }
    }
}
