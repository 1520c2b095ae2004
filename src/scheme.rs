//! [`Scheme`]: the scheme of a target or a proxy, and its port.

/// A target's scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
    /// `ws`: WebSocket in clear.
    Ws,
    /// `wss`: WebSocket over TLS.
    Wss,
    /// Any other scheme (`postgres`, `tcp`). Its targets use the proxy of `ALL_PROXY`, always through a tunnel.
    Other,
}

impl Scheme {
    /// Reads a scheme's name, in any case.
    #[inline]
    pub(crate) fn new(name: &str) -> Self {
        match name {
            "http" => Self::Http,
            "https" => Self::Https,
            _ => [Self::Http, Self::Https, Self::Ws, Self::Wss]
                .into_iter()
                .find(|scheme| scheme.as_str().eq_ignore_ascii_case(name))
                .unwrap_or(Self::Other),
        }
    }

    /// Returns the name in lower case; `other` for [`Scheme::Other`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Other => "other",
        }
    }

    /// Returns true for a scheme whose targets speak TLS: `https` and `wss`.
    pub(crate) const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Wss)
    }

    /// Returns the port of a URI that names none (RFC 9110 4.2).
    #[inline]
    pub(crate) const fn default_port(self) -> Option<u16> {
        match self {
            Self::Http | Self::Ws => Some(80),
            Self::Https | Self::Wss => Some(443),
            Self::Other => None,
        }
    }
}
