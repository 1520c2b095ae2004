//! How existing programs read the settings, point by point.
//!
//! Each point is one field of [`Rules`], so that a dialect is a row of a table and no other file asks for a dialect by
//! its name.

use std::{fmt, str::FromStr};

use crate::{
    error::{ConfigError, Problem},
    target::Scheme,
};

/// How the settings are read.
///
/// [`Standard`](Self::Standard) is the default. The others are for services that move to this crate and whose operators
/// must not have to change their settings; on well-formed input they give the answers of the program they are named after.
///
/// | point | Standard | Go | curl |
/// |---|---|---|---|
/// | `.example.com` matches `example.com` | no | no | **yes** |
/// | `*.example.com` | subdomains | subdomains | **matches nothing** |
/// | `*` | anywhere in the list | anywhere in the list | **only as the whole value** |
/// | ports in entries | effective port | effective port | **an entry with a port matches nothing** |
/// | loopback direct without being listed | `localhost`, `*.localhost`, 127/8, `::1` | **`localhost` (spelled so), 127/8, `::1`** | **no** |
/// | `0.0.0.0/0`, `::/0` | every address of that family | every address of that family | **only the address written** |
/// | `[2001:db8::1]` without a port | that address | **matches nothing** | **matches nothing** |
/// | trailing dots ignored | yes | **no** | yes |
/// | odd IPv4 spellings in the target | normalised | **kept as names** | normalised |
/// | IPv4-mapped IPv6 is IPv4 | yes | yes | **no** |
/// | white space separates entries | yes | **no** (trimmed around entries) | **no** (trimmed; a blank inside an entry ends the list) |
/// | Unicode entries | A-label | A-label | **as written** |
/// | default proxy port | 1080 | **80 / 443 by scheme** | **80 / 443 by scheme** |
/// | which spelling wins | lower case | **upper case** | lower case; **`HTTP_PROXY` is never read** |
/// | `ALL_PROXY` | read | **not read** | read |
/// | CGI | only `http_proxy` is read | **an error for `http://` targets** | as Standard |
///
/// Security rules are no dialect points: a bracketed host never matches a name, and a proxy that cannot be used is an
/// error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Mattermost's and Palpo's documents, and what users of curl, Go and hyper-util expect where these are silent.
    #[default]
    Standard,
    /// Go's `golang.org/x/net/http/httpproxy`, as of Go 1.27.
    Go,
    /// curl and libcurl, as of 8.22.
    Curl,
}

impl Dialect {
    pub(crate) const fn rules(self) -> &'static Rules {
        match self {
            Self::Standard => &STANDARD,
            Self::Go => &GO,
            Self::Curl => &CURL,
        }
    }

    /// Its name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Go => "go",
            Self::Curl => "curl",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// By name, in any case: `standard`, `go`, `curl`.
impl FromStr for Dialect {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        [Self::Standard, Self::Go, Self::Curl]
            .into_iter()
            .find(|dialect| dialect.as_str().eq_ignore_ascii_case(name))
            .ok_or_else(|| ConfigError::new(Problem::Dialect).with_value(name))
    }
}

/// One dialect: the table above, a field a row.
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
    pub(crate) all_proxy: bool,
    pub(crate) cgi: Cgi,
}

/// Which loopback hosts are reached directly without being listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loopback {
    Direct,
    DirectLocalhostAsSpelled,
    AsListed,
}

/// What stands between two entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    CommaOrSpace,
    Comma,
    /// As `Comma`, but a blank or tab within an entry ends the whole list. No other white space means anything.
    CommaUntilSpace,
}

impl Separator {
    /// Whether it is dropped around entries (and between them, where it separates).
    pub(crate) fn is_blank(self, c: char) -> bool {
        match self {
            Self::CommaOrSpace | Self::Comma => c.is_whitespace(),
            Self::CommaUntilSpace => matches!(c, ' ' | '\t'),
        }
    }
}

/// The port of a proxy whose address names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DefaultPort {
    /// The same port for both schemes. The Standard dialect has 1080, from Palpo's document.
    Fixed(u16),
    /// 80 for `http`, 443 for `https`.
    ByScheme,
}

impl DefaultPort {
    /// The port of a proxy with this scheme.
    pub(crate) fn of(self, scheme: Scheme) -> u16 {
        match self {
            Self::Fixed(port) => port,
            // A proxy has one of the two schemes that have a port of their own.
            Self::ByScheme => scheme.default_port().unwrap_or(80),
        }
    }
}

/// Which spelling of a variable's name wins where several are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    LowerFirst,
    UpperFirst,
    /// As `LowerFirst`, and only `http_proxy` is read, CGI or not.
    LowerFirstHttpLowerOnly,
}

/// What a CGI environment does to `HTTP_PROXY`, which a client can set there (CVE-2016-5385).
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
