//! Dialects: the ways in which existing programs read the settings.
//!
//! A dialect is a row: a value for each field of [`Rules`]. `columns.rs` has the columns and their values. No other
//! file checks for a dialect by its name.

mod columns;

use std::{fmt, str::FromStr};

pub use self::columns::DefaultPort;
pub(crate) use self::columns::{
    AllProxy, Blanks, Case, Cgi, EntryBlanks, EntryPort, Ipv4Host, Ipv6Entry, Ipv6Host, LeadingDots, Loopback, Names,
    Networks, Reading, Separator, Spelling, Star, StarDot, TargetPort, TrailingDot, Unset, WebSocket,
};
use crate::error::{ConfigError, Problem};

/// A way of reading the settings.
///
/// [`Standard`](Self::Standard) is the default. The others are for services that move to this crate while their
/// operators keep their settings, and for telling how other programs on a machine read the same settings. Each gives
/// the answers of the program that it is named after, on malformed input, too. An entry that fits no row of
/// [`NoProxy`](crate::NoProxy)'s table, and that the program matches with something, is reported as
/// [`malformed`](crate::NoProxy::malformed).
///
/// | point | Standard | Go | curl |
/// |---|---|---|---|
/// | `.example.com` matches `example.com` | no | no | **yes** |
/// | `*.example.com` | subdomains | subdomains | **matches nothing** |
/// | `*` | anywhere in the list | anywhere in the list | **only as the whole value** |
/// | ports in entries | effective port | **effective port, digit by digit** | **an entry with a port matches nothing** |
/// | loopback direct without being listed | `localhost`, `*.localhost`, 127/8, `::1` | **`localhost` (exact spelling), 127/8, `::1`** | **no** |
/// | `0.0.0.0/0`, `::/0` | every address of that family | every address of that family | **only the address written** |
/// | `[2001:db8::1]` without a port | that address | **matches nothing** | **matches nothing** |
/// | `1.2.3.4` matches the name `a.1.2.3.4` | no | no | **yes** |
/// | trailing dots ignored | yes | **no** | yes |
/// | odd IPv4 spellings in the target | normalised | **kept as names** | normalised, but for a part `0x` |
/// | IPv4-mapped IPv6 is IPv4 | yes | yes | **no** |
/// | white space separates entries | yes | **no** (trimmed around entries) | **no** (trimmed; a space or tab inside an entry ends the list) |
/// | Unicode entries | A-label | A-label | **as written** |
/// | entries that are malformed | match nothing | **are names, if a host can have them** | **are names, if a host can have them** |
/// | default proxy port | 1080 | **80 / 443 by scheme** | **80 / 443 by scheme** |
/// | spelling that wins | lower case, upper case, any other | **upper case, lower case** | lower case, upper case; **`HTTP_PROXY` is read only as `http_proxy`** |
/// | `ALL_PROXY` | read | **not read** | read |
/// | proxy for other schemes | that of `ALL_PROXY` | **none** | that of `ALL_PROXY` |
/// | CGI | only `http_proxy` is read | **any `HTTP_PROXY` is an error** | same as Standard |
///
/// | point | hyper-util | requests | urllib | undici |
/// |---|---|---|---|---|
/// | `.example.com` matches `example.com` | yes | yes | yes | yes |
/// | `*.example.com` | matches nothing | matches nothing | matches nothing | subdomains |
/// | `*` | anywhere in the list, for names alone | only as the whole value | only as the whole value | anywhere in the list, with a port, too (`*:80`) |
/// | ports in entries | an entry with a port matches nothing | port in the URL, in lower case, IPv4 excepted | port in the URL, digit by digit | effective port; 0 is any |
/// | loopback direct without being listed | no | no | no | no |
/// | networks | of both families | IPv4, for addresses in any spelling, lengths 1 to 32 | match nothing | match nothing |
/// | IPv4 address | by value | as text: `0.1` matches `10.0.0.1` | as text | as text |
/// | IPv6 address | by value, none with a zone | as text, none with a zone | as text in brackets, none with a zone | by value, if the entry has its shortest form |
/// | `[2001:db8::1]` without a port | matches nothing | matches nothing | that text | that address |
/// | trailing dots ignored | no | no | no | yes |
/// | odd IPv4 spellings in the target | kept as names | addresses for networks, else text | kept as names | normalised |
/// | IPv4-mapped IPv6 is IPv4 | no | no | no | no |
/// | white space separates entries | no (trimmed) | no (spaces are removed, other white space is trimmed) | no (trimmed) | yes |
/// | Unicode entries | as written | as written | as written | as written |
/// | entries that are malformed | are names, if a host can have them | the same | the same | the same |
/// | default proxy port | 80 / 443 by scheme | 80 / 443 by scheme | 443 for the proxy of `https` targets and for `https://`, else 80 | 80 / 443 by scheme |
/// | proxy without a scheme | `http` | `http` | `http` | an error |
/// | spelling that wins | upper case, lower case | lower case, any other; `NO_PROXY`: lower case, upper case | lower case, any other | lower case, upper case |
/// | an empty variable | hides the other spelling | hides the others if in lower case | the same | hides the other spelling |
/// | `ALL_PROXY` | read for `http` and `https` | read | not read | not read |
/// | no `HTTPS_PROXY` | that of `ALL_PROXY` | that of `ALL_PROXY` | none | that of `HTTP_PROXY` |
/// | `ws` and `wss` | direct | as other schemes | as other schemes | as `http` and `https` |
/// | proxy for other schemes | none | that of `ALL_PROXY` | none | none |
/// | CGI | no variable is read | only `http_proxy` is read | only `http_proxy` is read | same as Standard |
///
/// # Agreement
///
/// `tests/dialects` in the repository (`.ci/run dialects`) asks the programs themselves about generated lists and
/// targets, about variables in all spellings, and about addresses of proxies. The answers are equal, with the
/// exceptions below.
///
/// | program | version compared with | lists: cases, equal | variables | addresses of proxies |
/// |---|---|---|---|---|
/// | Go | 1.27.3 | 30,000, 30,000 | 6,000, 5,608 (CGI 392) | 352, 212 (not usable 136, spelling 4) |
/// | curl | 8.22.0 | 30,000, 29,750 (URL refused 250) | 1,200, 1,200 | – |
/// | hyper-util | 0.1.21 | 30,000, 29,975 (brackets 25) | 10,000, 10,000 | 352, 212 (not usable 136, usable here 2, spelling 2) |
/// | requests | 2.34.2 on CPython 3.11.2 | 30,000, 29,641 (URL refused 356, brackets 3) | 8,000, 7,712 (two variables 288) | 352, 232 (not usable 116, usable here 2, spelling 2) |
/// | urllib | CPython 3.11.2 | 30,000, 30,000 | 8,000, 8,000 | 352, 224 (not usable 121, TLS 3, usable here 2, spelling 2) |
/// | undici | 8.12.4 on Node 24.19.0 | 30,000, 28,476 (URL refused 1,524) | 16,000, 15,672 (CGI 328) | 352, 309 (not usable 40, spelling 3) |
///
/// The exceptions, by name:
///
/// - **A URL that the program refuses** has no answer there and one here: `http://a$b/` for curl, `http://*.a/` for
///   requests, `http://1.2.3.256/` for undici.
/// - **A host in brackets is compared with no name** (CVE-2025-22870): to hyper-util, `[::1%25.example.com]` ends in
///   `.example.com`; to requests, `[::ffff:1.2.3.4]` ends in `3.4`.
/// - **A proxy that cannot be used is an error**: SOCKS, an address with a path or with an empty port. Some programs
///   ignore it and connect directly, some ignore the path, some support SOCKS.
/// - **A proxy that only this crate can use** is used: `p.example:3128/`, which hyper-util and urllib do not read, and
///   `user:password@p.example:3128`, which requests does not. Its spelling is normalised: a dot after the name and a
///   zero before the port are dropped.
/// - **TLS to an `https://` proxy** is never left out. urllib leaves it out for `https` targets.
/// - **CGI**: `HTTP_PROXY` is an error of the whole configuration in Go's dialect, where Go refuses `http` targets alone.
///   undici reads it, and this crate does not.
/// - **requests asks urllib, too**, which reads another variable if `NO_PROXY` has upper and lower case mixed, or if
///   `no_proxy` is empty beside it. This crate reads one.
///
/// The comparison leaves out: Unicode hosts, which this crate compares by the A-label and urllib as written; user
/// information in a URL, which to urllib is a part of the host. Variables for single other schemes (`ftp_proxy`),
/// which curl, requests and urllib have, are not read. `ws` and `wss` are `http` and `https` in Go's dialect, as Go's
/// WebSocket libraries ask.
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

/// The rules of one dialect. Each field, and each field of a [`Reading`], is a point in which dialects differ.
#[derive(Debug)]
pub(crate) struct Rules {
    // A list and its entries.
    pub(crate) separator: Separator,
    pub(crate) blanks: Blanks,
    /// The ways to read an entry, all of which apply. None: the strict grammar.
    pub(crate) readings: &'static [Reading],
    // A target beside an entry.
    pub(crate) ipv4: Ipv4Host,
    pub(crate) ipv6: Ipv6Host,
    pub(crate) mapped_is_ipv4: bool,
    pub(crate) trailing_dot_ignored: bool,
    pub(crate) port: TargetPort,
    pub(crate) loopback: Loopback,
    // Proxies.
    pub(crate) default_port: DefaultPort,
    /// True if a proxy's address without a scheme is an error.
    pub(crate) scheme_required: bool,
    /// True if the proxy of `http` targets is for `https` targets, too, unless these have their own.
    pub(crate) http_proxy_for_https: bool,
    pub(crate) all_proxy: AllProxy,
    pub(crate) websocket: WebSocket,
    // Variables.
    pub(crate) http_names: Names,
    pub(crate) names: Names,
    pub(crate) no_proxy_names: Names,
    pub(crate) cgi: Cgi,
}

const LOWER_FIRST: &[Spelling] = &[Spelling::Lower, Spelling::Upper];
const UPPER_FIRST: &[Spelling] = &[Spelling::Upper, Spelling::Lower];

const STANDARD: Rules = Rules {
    separator: Separator::CommaOrBlank,
    blanks: Blanks::Unicode,
    readings: &[],
    ipv4: Ipv4Host::Value,
    ipv6: Ipv6Host::Value,
    mapped_is_ipv4: true,
    trailing_dot_ignored: true,
    port: TargetPort::Effective,
    loopback: Loopback::Direct,
    default_port: DefaultPort::Fixed(1080),
    scheme_required: false,
    http_proxy_for_https: false,
    all_proxy: AllProxy::EveryScheme,
    websocket: WebSocket::LikeHttp,
    http_names: Names::STANDARD,
    names: Names::STANDARD,
    no_proxy_names: Names::STANDARD,
    cgi: Cgi::FirstSpelling,
};

impl Names {
    const STANDARD: Self = Self {
        spellings: &[Spelling::Lower, Spelling::Upper, Spelling::Any],
        unset: Unset::Blank,
    };

    const GO: Self = Self {
        spellings: UPPER_FIRST,
        unset: Unset::Empty,
    };

    const CURL: Self = Self {
        spellings: LOWER_FIRST,
        unset: Unset::Empty,
    };

    const HYPER_UTIL: Self = Self {
        spellings: UPPER_FIRST,
        unset: Unset::Never,
    };

    const URLLIB: Self = Self {
        spellings: &[Spelling::LowerEnd, Spelling::AnyLast],
        unset: Unset::Never,
    };

    const UNDICI: Self = Self {
        spellings: LOWER_FIRST,
        unset: Unset::Never,
    };
}

const GO: Rules = Rules {
    separator: Separator::Comma,
    readings: &[Reading {
        blanks: EntryBlanks::Kept,
        case: Case::Ignored,
        idna: true,
        star: Star::Anywhere,
        star_dot: StarDot::Subdomains,
        leading_dots: LeadingDots::Subdomains,
        trailing_dot: TrailingDot::Kept,
        port: EntryPort::Text,
        ipv6: Ipv6Entry::Value,
        networks: Networks::Cidr,
        ipv4_is_name: false,
    }],
    ipv4: Ipv4Host::UsualValue,
    trailing_dot_ignored: false,
    port: TargetPort::EffectiveText,
    loopback: Loopback::DirectLocalhostAsSpelled,
    default_port: DefaultPort::ByScheme,
    all_proxy: AllProxy::NotRead,
    http_names: Names::GO,
    names: Names::GO,
    no_proxy_names: Names::GO,
    cgi: Cgi::Error,
    ..STANDARD
};

const CURL: Rules = Rules {
    separator: Separator::CommaUntilBlank,
    blanks: Blanks::SpaceAndTab,
    readings: &[Reading {
        blanks: EntryBlanks::Kept,
        case: Case::IgnoredInAscii,
        idna: false,
        star: Star::WholeList,
        star_dot: StarDot::Literal,
        leading_dots: LeadingDots::FirstIgnored,
        trailing_dot: TrailingDot::Ignored,
        port: EntryPort::Literal,
        ipv6: Ipv6Entry::Value,
        networks: Networks::CidrFromOne,
        ipv4_is_name: true,
    }],
    ipv4: Ipv4Host::ValueWithDigits,
    mapped_is_ipv4: false,
    loopback: Loopback::AsListed,
    default_port: DefaultPort::ByScheme,
    http_names: Names {
        spellings: &[Spelling::Lower],
        unset: Unset::Empty,
    },
    names: Names::CURL,
    no_proxy_names: Names::CURL,
    ..STANDARD
};

const HYPER_UTIL: Rules = Rules {
    separator: Separator::Comma,
    readings: &[Reading {
        blanks: EntryBlanks::Kept,
        case: Case::IgnoredInAscii,
        idna: false,
        star: Star::AnywhereForNames,
        star_dot: StarDot::Literal,
        leading_dots: LeadingDots::FirstIgnored,
        trailing_dot: TrailingDot::Kept,
        port: EntryPort::Literal,
        ipv6: Ipv6Entry::Value,
        networks: Networks::Ipnet,
        ipv4_is_name: false,
    }],
    ipv4: Ipv4Host::UsualValue,
    ipv6: Ipv6Host::ValueWithoutZone,
    mapped_is_ipv4: false,
    trailing_dot_ignored: false,
    loopback: Loopback::AsListed,
    default_port: DefaultPort::ByScheme,
    all_proxy: AllProxy::HttpAndHttps,
    websocket: WebSocket::LikeOthers,
    http_names: Names::HYPER_UTIL,
    names: Names::HYPER_UTIL,
    no_proxy_names: Names::HYPER_UTIL,
    cgi: Cgi::NothingRead,
    ..STANDARD
};

/// `urllib.request.proxy_bypass_environment`
const PROXY_BYPASS: Reading = Reading {
    blanks: EntryBlanks::Trimmed(Blanks::Python),
    case: Case::Ignored,
    idna: false,
    star: Star::WholeList,
    star_dot: StarDot::Literal,
    leading_dots: LeadingDots::Ignored,
    trailing_dot: TrailingDot::Kept,
    port: EntryPort::TextWithDigits,
    ipv6: Ipv6Entry::TextInBrackets,
    networks: Networks::None,
    ipv4_is_name: false,
};

const URLLIB: Rules = Rules {
    separator: Separator::Comma,
    blanks: Blanks::Python,
    readings: &[PROXY_BYPASS],
    ipv4: Ipv4Host::Text,
    ipv6: Ipv6Host::Text,
    mapped_is_ipv4: false,
    trailing_dot_ignored: false,
    port: TargetPort::WrittenText,
    loopback: Loopback::AsListed,
    default_port: DefaultPort::BySchemeAndTarget,
    all_proxy: AllProxy::NotRead,
    websocket: WebSocket::LikeOthers,
    http_names: Names::URLLIB,
    names: Names::URLLIB,
    no_proxy_names: Names::URLLIB,
    cgi: Cgi::FirstSpellingIfBlank,
    ..STANDARD
};

const REQUESTS: Rules = Rules {
    blanks: Blanks::Space,
    readings: &[
        Reading {
            blanks: EntryBlanks::Removed(Blanks::Space),
            case: Case::Exact,
            star: Star::Nowhere,
            port: EntryPort::PlainNumber,
            ipv6: Ipv6Entry::Text,
            networks: Networks::InetAton,
            ..PROXY_BYPASS
        },
        // It asks urllib, too, about the host alone.
        Reading {
            port: EntryPort::Literal,
            ipv6: Ipv6Entry::TextOrBeforeDigits,
            ..PROXY_BYPASS
        },
    ],
    ipv4: Ipv4Host::NetworkOrText,
    ipv6: Ipv6Host::Text,
    port: TargetPort::Written,
    default_port: DefaultPort::ByScheme,
    all_proxy: AllProxy::EveryScheme,
    no_proxy_names: Names::CURL,
    ..URLLIB
};

const UNDICI: Rules = Rules {
    blanks: Blanks::JavaScript,
    readings: &[Reading {
        blanks: EntryBlanks::Kept,
        case: Case::Ignored,
        idna: false,
        star: Star::AnywhereInAnyForm,
        star_dot: StarDot::SubdomainsAfterAnyStar,
        leading_dots: LeadingDots::FirstIgnored,
        trailing_dot: TrailingDot::IgnoredAfterText,
        port: EntryPort::Number,
        ipv6: Ipv6Entry::UsualText,
        networks: Networks::None,
        ipv4_is_name: false,
    }],
    ipv4: Ipv4Host::UsualText,
    mapped_is_ipv4: false,
    port: TargetPort::EffectiveNotZero,
    loopback: Loopback::AsListed,
    default_port: DefaultPort::ByScheme,
    scheme_required: true,
    http_proxy_for_https: true,
    all_proxy: AllProxy::NotRead,
    http_names: Names::UNDICI,
    names: Names::UNDICI,
    no_proxy_names: Names::UNDICI,
    ..STANDARD
};
