//! The columns of the table of dialects: each is a point in which programs differ, with a value for each treatment.

use crate::scheme::Scheme;

/// The separator between two entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    CommaOrBlank,
    Comma,
    /// Like `Comma`, but a blank within an entry ends the whole list.
    CommaUntilBlank,
}

/// The characters that count as white space. They are trimmed around entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blanks {
    Space,
    SpaceAndTab,
    Unicode,
    /// `str.strip`
    Python,
    /// `\s`
    JavaScript,
}

impl Blanks {
    pub(crate) fn has(self, c: char) -> bool {
        match self {
            Self::Space => c == ' ',
            Self::SpaceAndTab => matches!(c, ' ' | '\t'),
            Self::Unicode => c.is_whitespace(),
            Self::Python => c.is_whitespace() || matches!(c, '\x1c'..='\x1f'),
            Self::JavaScript => (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}',
        }
    }
}

/// A way to read one entry. The text that is left after all points is the end of a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) blanks: EntryBlanks,
    pub(crate) case: Case,
    pub(crate) idna: bool,
    pub(crate) star: Star,
    pub(crate) star_dot: StarDot,
    pub(crate) leading_dots: LeadingDots,
    pub(crate) trailing_dot: TrailingDot,
    pub(crate) port: EntryPort,
    pub(crate) ipv6: Ipv6Entry,
    pub(crate) networks: Networks,
    /// True if an entry that is an IPv4 address is also the end of a name.
    pub(crate) ipv4_is_name: bool,
}

/// The treatment of white space that is left in an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryBlanks {
    Kept,
    Trimmed(Blanks),
    Removed(Blanks),
}

/// The comparison of an entry's letters with a host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    IgnoredInAscii,
    /// Ignored by the rules of Unicode, in which the lower case of the Kelvin sign is `k`.
    Ignored,
    /// As written: the host is in lower case, and the entry may not be.
    Exact,
}

/// The entries `*` that match every target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Star {
    Nowhere,
    Anywhere,
    /// Anywhere in the list, but for names alone.
    AnywhereForNames,
    /// Anywhere in the list, also with a port, in brackets and after a dot.
    AnywhereInAnyForm,
    /// As the whole list.
    WholeList,
}

/// The meaning of `*.` before a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StarDot {
    /// The subdomains.
    Subdomains,
    /// The subdomains, and so is every other text that begins with `*`.
    SubdomainsAfterAnyStar,
    Literal,
}

/// The meaning of dots before a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeadingDots {
    /// The first stands for the subdomains.
    Subdomains,
    FirstIgnored,
    Ignored,
}

/// The treatment of one dot after a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrailingDot {
    Kept,
    Ignored,
    IgnoredAfterText,
}

/// The meaning of `:` and digits at an entry's end, and of brackets before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryPort {
    /// None: they belong to the text.
    Literal,
    /// A port, compared as text. An empty one means any port. Brackets around the rest, whatever it is, are dropped.
    Text,
    /// A port, compared as text, if it is not empty.
    TextWithDigits,
    /// A port, compared as a number. 0 means any port. Brackets around any text are dropped, with a port or without.
    Number,
    /// A port, compared as a number. It is not 0, and written without needless zeros.
    PlainNumber,
}

/// The comparison of an entry with IPv6 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ipv6Entry {
    /// By value.
    Value,
    /// By value, if the entry is written as the URL standard writes it.
    UsualText,
    /// With the text of an address.
    Text,
    /// With the text of an address, or with that before the last `:` if the rest is decimal digits.
    TextOrBeforeDigits,
    /// With the text of an address in its brackets.
    TextInBrackets,
}

/// The entries that are networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Networks {
    None,
    /// Address and prefix length, of both families.
    Cidr,
    /// The same, but a length of 0 stands for the whole address.
    CidrFromOne,
    /// As the crate `ipnet` reads it.
    Ipnet,
    /// IPv4 alone, in every spelling of `inet_aton`, with a length from 1 to 32.
    InetAton,
}

/// The comparison of a target's IPv4 address with entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ipv4Host {
    /// By value. Every spelling of the WHATWG's URL standard is an address.
    Value,
    /// By value. The same spellings are addresses, but for a part `0x` without digits.
    ValueWithDigits,
    /// By value. Other spellings than the usual one are names.
    UsualValue,
    /// By value with networks, if it is a spelling of `inet_aton`; with other entries like a name, as written.
    NetworkOrText,
    /// Like a name, as written.
    Text,
    /// Like a name, in the usual spelling.
    UsualText,
}

/// The comparison of a target's IPv6 address with entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ipv6Host {
    /// By value, without the zone.
    Value,
    /// By value. No entry matches an address with a zone.
    ValueWithoutZone,
    /// As written. No entry matches an address with a zone.
    Text,
}

/// The target's port that entries are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetPort {
    /// The number, or else the scheme's default port.
    Effective,
    /// The same, but 0 stands for the default port, too.
    EffectiveNotZero,
    /// The digits as written, or else the scheme's default port.
    EffectiveText,
    /// The number that is written, unless it is 0. An IPv4 address has none.
    Written,
    /// The digits as written.
    WrittenText,
}

/// The loopback hosts that are reached directly without being listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loopback {
    Direct,
    DirectLocalhostAsSpelled,
    AsListed,
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
    /// 443 for `https` and for the proxy of `https` targets, 80 for others.
    BySchemeAndTarget,
}

impl DefaultPort {
    /// Returns the port of a proxy with this scheme, for targets of `target`.
    pub(crate) fn of(self, scheme: Scheme, target: Option<Scheme>) -> u16 {
        let scheme = match self {
            Self::Fixed(port) => return port,
            Self::ByScheme => scheme,
            Self::BySchemeAndTarget if target == Some(Scheme::Https) => Scheme::Https,
            Self::BySchemeAndTarget => scheme,
        };
        // A proxy's scheme is `http` or `https`, and both have a default port.
        scheme.default_port().unwrap_or(80)
    }
}

/// The targets that `ALL_PROXY` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AllProxy {
    /// Those of every scheme without a proxy of its own.
    EveryScheme,
    /// Those of `http` and `https` without a proxy of their own.
    HttpAndHttps,
    NotRead,
}

/// The proxy of `ws` and `wss` targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebSocket {
    /// That of `http` and `https`.
    LikeHttp,
    /// That of other schemes.
    LikeOthers,
}

/// A variable's spellings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    /// The spellings that are read. The first that is set wins.
    pub(crate) spellings: &'static [Spelling],
    pub(crate) unset: Unset,
}

/// A spelling of a variable's name, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    Lower,
    Upper,
    /// Any spelling whose `_proxy` is in lower case.
    LowerEnd,
    /// Any spelling, in alphabetical order.
    Any,
    /// Any spelling; the last of the environment wins.
    AnyLast,
}

impl Spelling {
    pub(crate) fn has(self, name: &str) -> bool {
        match self {
            Self::Lower => !name.bytes().any(|b| b.is_ascii_uppercase()),
            Self::Upper => !name.bytes().any(|b| b.is_ascii_lowercase()),
            Self::LowerEnd => name.ends_with("_proxy"),
            Self::Any | Self::AnyLast => true,
        }
    }
}

/// The values with which a variable counts as unset, so that the next spelling is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unset {
    /// White space, or nothing.
    Blank,
    /// Nothing. (A blank proxy counts as unset, too.)
    Empty,
    /// None. A variable that is set to nothing hides the other spellings.
    Never,
}

/// The treatment of the variables in CGI, where a client can set `HTTP_PROXY` (CVE-2016-5385).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cgi {
    /// `HTTP_PROXY` is read only in its first spelling, if `REQUEST_METHOD` is not blank.
    FirstSpelling,
    /// The same, even if `REQUEST_METHOD` is blank.
    FirstSpellingIfBlank,
    /// `HTTP_PROXY` is an error.
    Error,
    /// No variable is read, even if `REQUEST_METHOD` is blank.
    NothingRead,
}
