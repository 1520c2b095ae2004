//! Dialects: the ways in which existing programs read the settings.
//!
//! Each difference is one field of [`Rules`]. A dialect is a set of values for these fields, and no other file checks
//! for a dialect by its name.

use std::{fmt, str::FromStr};

use crate::{
    error::{ConfigError, Problem},
    target::Scheme,
};

/// A way of reading the settings.
///
/// [`Standard`](Self::Standard) is the default. The others are for services that move to this crate while their
/// operators keep their settings. On well-formed input, each gives the answers of the program it is named after.
///
/// | point | Standard | Go | curl |
/// |---|---|---|---|
/// | `.example.com` matches `example.com` | no | no | **yes** |
/// | `*.example.com` | subdomains | subdomains | **matches nothing** |
/// | `*` | anywhere in the list | anywhere in the list | **only as the whole value** |
/// | ports in entries | effective port | effective port | **an entry with a port matches nothing** |
/// | loopback direct without being listed | `localhost`, `*.localhost`, 127/8, `::1` | **`localhost` (exact spelling), 127/8, `::1`** | **no** |
/// | `0.0.0.0/0`, `::/0` | every address of that family | every address of that family | **only the address written** |
/// | `[2001:db8::1]` without a port | that address | **matches nothing** | **matches nothing** |
/// | trailing dots ignored | yes | **no** | yes |
/// | odd IPv4 spellings in the target | normalised | **kept as names** | normalised |
/// | IPv4-mapped IPv6 is IPv4 | yes | yes | **no** |
/// | white space separates entries | yes | **no** (trimmed around entries) | **no** (trimmed; a space or tab inside an entry ends the list) |
/// | Unicode entries | A-label | A-label | **as written** |
/// | default proxy port | 1080 | **80 / 443 by scheme** | **80 / 443 by scheme** |
/// | spelling that wins | lower case | **upper case** | lower case; **`HTTP_PROXY` is read only as `http_proxy`** |
/// | `ALL_PROXY` | read | **not read** | read |
/// | proxy for other schemes | that of `ALL_PROXY` | **none** | that of `ALL_PROXY` |
/// | CGI | only `http_proxy` is read | **any `HTTP_PROXY` is an error** | same as Standard |
///
/// Security rules are the same in every dialect: a bracketed host never matches a name, and a proxy that cannot be used
/// is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// The rules of Mattermost's and Palpo's documents (see [`settings`](crate::settings)). Where these are silent, the
    /// behaviour that users of curl, Go and hyper-util expect.
    #[default]
    Standard,
    /// Go's `golang.org/x/net/http/httpproxy`, as of Go 1.27.
    Go,
    /// curl and libcurl, as of 8.22.
    Curl,
    /// hyper-util's `client::proxy::matcher`, as of 0.1.21, and so reqwest, kube and the AWS SDK.
    HyperUtil,
    /// Python's requests, as of 2.34 on CPython 3.11.
    Requests,
    /// Python's `urllib.request`, as of CPython 3.11.
    Urllib,
    /// undici's `EnvHttpProxyAgent`, as of 8.12, which Node's `NODE_USE_ENV_PROXY` uses.
    Undici,
}

impl Dialect {
    /// All dialects, Standard first.
    pub const ALL: &[Self] = &[
        Self::Standard,
        Self::Go,
        Self::Curl,
        Self::HyperUtil,
        Self::Requests,
        Self::Urllib,
        Self::Undici,
    ];

    pub(crate) const fn rules(self) -> &'static Rules {
        match self {
            Self::Standard => &STANDARD,
            Self::Go => &GO,
            Self::Curl => &CURL,
            Self::HyperUtil => &HYPER_UTIL,
            Self::Requests => &REQUESTS,
            Self::Urllib => &URLLIB,
            Self::Undici => &UNDICI,
        }
    }

    /// Returns the name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Go => "go",
            Self::Curl => "curl",
            Self::HyperUtil => "hyper-util",
            Self::Requests => "requests",
            Self::Urllib => "urllib",
            Self::Undici => "undici",
        }
    }

    /// Returns the program in words: `Node: fetch and undici`.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Standard => "this crate",
            Self::Go => "Go: net/http",
            Self::Curl => "curl and libcurl",
            Self::HyperUtil => "Rust: hyper-util, reqwest",
            Self::Requests => "Python: requests",
            Self::Urllib => "Python: urllib",
            Self::Undici => "Node: fetch and undici",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Parses a name, in any case: `standard`, `go`, `curl`, `hyper-util`, `requests`, `urllib`, `undici`.
impl FromStr for Dialect {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        let mut dialects = Self::ALL.iter().copied();
        dialects
            .find(|dialect| dialect.as_str().eq_ignore_ascii_case(name))
            .ok_or_else(|| ConfigError::new(Problem::Dialect).with_value(name))
    }
}

/// The rules of one dialect. Each field is a row of the table above.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) leading_dot_matches_apex: bool,
    pub(crate) star_dot_is_subdomains: bool,
    pub(crate) star_anywhere: bool,
    pub(crate) ports: bool,
    pub(crate) loopback: Loopback,
    pub(crate) prefix_zero_is_all: bool,
    pub(crate) brackets_without_port: bool,
    pub(crate) trailing_dots_ignored: bool,
    pub(crate) odd_ipv4_is_address: bool,
    pub(crate) mapped_is_ipv4: bool,
    pub(crate) separator: Separator,
    pub(crate) idna: bool,
    pub(crate) default_port: DefaultPort,
    pub(crate) spelling: Spelling,
    /// True if `ALL_PROXY` is read, which alone is for schemes other than `http`, `https`, `ws` and `wss`.
    pub(crate) all_proxy: bool,
    pub(crate) cgi: Cgi,
}

/// The loopback hosts that are reached directly without being listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loopback {
    Direct,
    DirectLocalhostAsSpelled,
    AsListed,
}

/// The separator between two entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    CommaOrSpace,
    Comma,
    /// Like `Comma`, but a space or tab within an entry ends the whole list. Other white space has no meaning.
    CommaUntilSpace,
}

impl Separator {
    /// Returns true if the character is trimmed around entries. `CommaOrSpace` also separates entries by it.
    pub(crate) fn is_blank(self, c: char) -> bool {
        match self {
            Self::CommaOrSpace | Self::Comma => c.is_whitespace(),
            Self::CommaUntilSpace => matches!(c, ' ' | '\t'),
        }
    }
}

/// The port of a proxy whose address has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DefaultPort {
    /// The same port for both schemes. The Standard dialect uses 1080, as Palpo's document says (see
    /// [`settings`](crate::settings)).
    Fixed(u16),
    /// 80 for `http`, 443 for `https`.
    ByScheme,
}

impl DefaultPort {
    /// Returns the port of a proxy with this scheme.
    pub(crate) fn of(self, scheme: Scheme) -> u16 {
        match self {
            Self::Fixed(port) => port,
            // A proxy's scheme is `http` or `https`, and both have a default port.
            Self::ByScheme => scheme.default_port().unwrap_or(80),
        }
    }
}

/// The spelling of a variable's name that wins if several are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    LowerFirst,
    UpperFirst,
    /// Like `LowerFirst`, but `HTTP_PROXY` is read only in the spelling `http_proxy`, in CGI or not.
    LowerFirstHttpLowerOnly,
}

/// The treatment of `HTTP_PROXY` in CGI, where a client can set it (CVE-2016-5385).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cgi {
    LowerOnly,
    Error,
}

const STANDARD: Rules = Rules {
    leading_dot_matches_apex: false,
    star_dot_is_subdomains: true,
    star_anywhere: true,
    ports: true,
    loopback: Loopback::Direct,
    prefix_zero_is_all: true,
    brackets_without_port: true,
    trailing_dots_ignored: true,
    odd_ipv4_is_address: true,
    mapped_is_ipv4: true,
    separator: Separator::CommaOrSpace,
    idna: true,
    default_port: DefaultPort::Fixed(1080),
    spelling: Spelling::LowerFirst,
    all_proxy: true,
    cgi: Cgi::LowerOnly,
};

const GO: Rules = Rules {
    loopback: Loopback::DirectLocalhostAsSpelled,
    brackets_without_port: false,
    trailing_dots_ignored: false,
    odd_ipv4_is_address: false,
    separator: Separator::Comma,
    default_port: DefaultPort::ByScheme,
    spelling: Spelling::UpperFirst,
    all_proxy: false,
    cgi: Cgi::Error,
    ..STANDARD
};

const CURL: Rules = Rules {
    leading_dot_matches_apex: true,
    star_dot_is_subdomains: false,
    star_anywhere: false,
    ports: false,
    loopback: Loopback::AsListed,
    prefix_zero_is_all: false,
    brackets_without_port: false,
    mapped_is_ipv4: false,
    separator: Separator::CommaUntilSpace,
    idna: false,
    default_port: DefaultPort::ByScheme,
    spelling: Spelling::LowerFirstHttpLowerOnly,
    ..STANDARD
};

const HYPER_UTIL: Rules = Rules {
    loopback: Loopback::AsListed,
    separator: Separator::Comma,
    default_port: DefaultPort::ByScheme,
    spelling: Spelling::UpperFirst,
    ..STANDARD
};

const REQUESTS: Rules = Rules {
    loopback: Loopback::AsListed,
    separator: Separator::Comma,
    default_port: DefaultPort::ByScheme,
    ..STANDARD
};

const URLLIB: Rules = Rules {
    leading_dot_matches_apex: true,
    loopback: Loopback::AsListed,
    separator: Separator::Comma,
    default_port: DefaultPort::ByScheme,
    ..STANDARD
};

const UNDICI: Rules = Rules {
    leading_dot_matches_apex: true,
    loopback: Loopback::AsListed,
    default_port: DefaultPort::ByScheme,
    all_proxy: false,
    ..STANDARD
};
