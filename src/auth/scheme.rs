//! [`AuthScheme`]: the schemes in which a user name and a password are sent.

use std::fmt;

/// A scheme in which a user name and a password are sent; see
/// [`ProxyLayer::with_auth_schemes`](crate::ProxyLayer::with_auth_schemes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthScheme {
    /// The password itself (RFC 7617).
    Basic,
    /// A hash of it that serves for one request (RFC 7616), with SHA-512/256, SHA-256 or MD5.
    Digest,
}

impl fmt::Display for AuthScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The schemes that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schemes {
    pub(crate) basic: bool,
    pub(crate) digest: bool,
}

impl Default for Schemes {
    fn default() -> Self {
        Self {
            basic: true,
            digest: true,
        }
    }
}

impl FromIterator<AuthScheme> for Schemes {
    fn from_iter<I: IntoIterator<Item = AuthScheme>>(schemes: I) -> Self {
        let none = Self {
            basic: false,
            digest: false,
        };
        schemes.into_iter().fold(none, |schemes, scheme| match scheme {
            AuthScheme::Basic => Self { basic: true, ..schemes },
            AuthScheme::Digest => Self {
                digest: true,
                ..schemes
            },
        })
    }
}
