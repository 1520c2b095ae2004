//! Parses, normalises and writes hosts and ports. No other file does.
//!
//! Targets, proxies, `NO_PROXY` entries and patterns of settings files differ in the syntax they allow around a host.
//! The host itself, and its written form, are the same for all of them.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use idna::AsciiDenyList;

/// A host in normal form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host<'a> {
    Name(Cow<'a, str>),
    Ip(IpAddr),
}

impl Host<'_> {
    pub(crate) fn borrowed(&self) -> Host<'_> {
        match self {
            Self::Name(name) => Host::Name(Cow::Borrowed(name)),
            Self::Ip(ip) => Host::Ip(*ip),
        }
    }
}

/// Writes the host as in a URI: an IPv6 address is in brackets (RFC 3986 3.2.2).
impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// A host with its port, or alone if no port is known. `host:port` is the authority-form of CONNECT (RFC 9112 3.2.3).
pub(crate) struct HostPort<'a>(pub(crate) Host<'a>, pub(crate) Option<u16>);

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        host.fmt(f)?;
        match port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// Splits `scheme://rest` if the part before `://` can be a scheme (RFC 3986 3.1).
pub(crate) fn split_scheme(text: &str) -> (Option<&str>, &str) {
    match text.split_once("://") {
        Some((scheme, rest))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) =>
        {
            (Some(scheme), rest)
        }
        _ => (None, text),
    }
}

/// A port as it is written in a URL, where it can be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrittenPort {
    pub(crate) number: u16,
    /// The number of digits, zeros before the number included.
    pub(crate) digits: u8,
}

impl WrittenPort {
    /// Creates a port that is written without zeros before it.
    pub(crate) fn plain(number: u16) -> Self {
        Self {
            number,
            digits: number.checked_ilog10().map_or(1, |log| log as u8 + 1),
        }
    }

    /// Parses a port: a decimal number up to 65535, digits only.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        Ok(Self {
            number: number.ok_or("the port is not a number up to 65535")?,
            digits: u8::try_from(text.len()).unwrap_or(u8::MAX),
        })
    }
}

/// Splits a URI's authority into its host, with brackets, and its port. User information is dropped.
pub(crate) fn split_authority(authority: &str) -> Result<(&str, Option<WrittenPort>), &'static str> {
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
    let end = match split_brackets(host_port) {
        Some(Ok((_, rest))) => host_port.len() - rest.len(),
        Some(Err(_)) => host_port.len(),
        None => host_port.find(':').unwrap_or(host_port.len()),
    };
    let (host, rest) = host_port.split_at(end);
    let port = match rest.strip_prefix(':') {
        // An empty port is no port (RFC 3986 3.2.3).
        Some("") => None,
        Some(port) => Some(WrittenPort::parse(port)?),
        None if rest.is_empty() => None,
        None => return Err("only a port can follow the closing bracket"),
    };
    Ok((host, port))
}

/// Splits `[inner]rest`. Returns `None` if the text does not begin with a bracket.
#[inline]
pub(crate) fn split_brackets(text: &str) -> Option<Result<(&str, &str), &'static str>> {
    let inner = text.strip_prefix('[')?;
    Some(
        inner
            .split_once(']')
            .ok_or("the bracket around the IPv6 address is not closed"),
    )
}

/// Returns the text between brackets that surround all of it. `None` where they do not.
#[inline]
pub(crate) fn strip_brackets(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']')
}

/// Parses the IPv6 address between brackets.
pub(crate) fn parse_ipv6(inner: &str) -> Result<Ipv6Addr, &'static str> {
    inner.parse().map_err(|_| "the text in brackets is not an IPv6 address")
}

/// The reason why a quoted value cannot be used.
pub(crate) const QUOTED: &str = "there are quotation marks around the value (remove them)";

/// Returns true if the text begins or ends with a quotation mark. A shell removes the quotation marks around a value;
/// some readers of `.env` and unit files do not. No host has one.
#[inline]
pub(crate) fn is_quoted(text: &str) -> bool {
    text.starts_with(QUOTATION_MARKS) || text.ends_with(QUOTATION_MARKS)
}

pub(crate) const QUOTATION_MARKS: [char; 6] = ['"', '\'', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}'];

/// Parses a port: a decimal number from 1 to 65535, digits only.
#[inline]
pub(crate) fn parse_port(text: &str) -> Result<u16, &'static str> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port != 0);
    port.ok_or("the port is not a number from 1 to 65535")
}

/// The kinds of bytes in a string, found in one pass.
#[derive(Clone, Copy, Default)]
pub(crate) struct ByteKinds(u8);

impl ByteKinds {
    const LOWER: u8 = 1;
    pub(crate) const UPPER: u8 = 2;
    pub(crate) const DIGIT: u8 = 4;
    /// `-`, `_` and `.`
    const NAME: u8 = 8;
    /// The other characters of a `reg-name`.
    const SUB_DELIMITER: u8 = 16;
    const OTHER: u8 = 32;
    /// The characters of a `reg-name` without percent-encoding (RFC 3986 3.2.2).
    pub(crate) const REG_NAME: u8 = Self::DNS_NAME | Self::SUB_DELIMITER;
    /// The characters of a DNS name.
    const DNS_NAME: u8 = Self::LOWER | Self::UPPER | Self::DIGIT | Self::NAME;

    const KINDS: [u8; 256] = {
        let mut kinds = [Self::OTHER; 256];
        let mut b = 0;
        while b < 128u8 {
            kinds[b as usize] = match b {
                b'a'..=b'z' => Self::LOWER,
                b'A'..=b'Z' => Self::UPPER,
                b'0'..=b'9' => Self::DIGIT,
                b'-' | b'_' | b'.' => Self::NAME,
                b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => {
                    Self::SUB_DELIMITER
                }
                _ => Self::OTHER,
            };
            b += 1;
        }
        kinds
    };

    pub(crate) fn in_text(text: &str) -> Self {
        let mut seen = Self::default();
        text.bytes().for_each(|b| seen.add(b));
        seen
    }

    #[inline]
    fn add(&mut self, b: u8) {
        self.0 |= Self::KINDS[usize::from(b)];
    }

    pub(crate) fn has(self, kinds: u8) -> bool {
        self.0 & kinds != 0
    }

    pub(crate) fn is_within(self, kinds: u8) -> bool {
        self.0 & !kinds == 0
    }
}

/// Returns true if the host's last label is a number. Such a host can only be an IPv4 address (WHATWG URL, "ends in a
/// number").
pub(crate) fn ends_in_a_number(host: &str) -> bool {
    let host = host.as_bytes();
    let host = host.strip_suffix(b".").unwrap_or(host);
    let last = match host.iter().rposition(|b| *b == b'.') {
        Some(dot) => &host[dot + 1..],
        None => host,
    };
    match last {
        [b'0', b'x' | b'X', hex @ ..] => hex.iter().all(u8::is_ascii_hexdigit),
        _ => !last.is_empty() && last.iter().all(u8::is_ascii_digit),
    }
}

/// Parses an IPv4 address as a resolver does: one to four parts, each decimal, octal (`0…`) or hexadecimal (`0x…`).
pub(crate) fn parse_ipv4(host: &str) -> Option<Ipv4Addr> {
    if !ends_in_a_number(host) {
        return None;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if let Ok(ip) = host.parse() {
        return Some(ip);
    }
    let (mut address, mut left) = (0u32, 4u32);
    let mut parts = host.split('.').peekable();
    while let Some(part) = parts.next() {
        let value = ipv4_part(part)?;
        left = left.checked_sub(1)?;
        // The last part fills all remaining bytes.
        let shift = match parts.peek() {
            Some(_) => 8,
            None => (left + 1) * 8,
        };
        if value >> shift != 0 {
            return None;
        }
        address = ((u64::from(address) << shift) | value) as u32;
    }
    Some(address.into())
}

/// The text of an IPv4 address in its usual spelling, without allocation.
pub(crate) struct Ipv4Text {
    bytes: [u8; 15],
    len: usize,
}

impl Ipv4Text {
    pub(crate) fn new(ip: Ipv4Addr) -> Self {
        let mut this = Self { bytes: [0; 15], len: 0 };
        for (at, byte) in ip.octets().into_iter().enumerate() {
            if at > 0 {
                this.push(b'.');
            }
            for (unit, digit) in [(100, byte / 100), (10, byte / 10 % 10), (1, byte % 10)] {
                if byte >= unit || unit == 1 {
                    this.push(b'0' + digit);
                }
            }
        }
        this
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

/// Returns the text of an IPv6 address as the WHATWG's URL standard writes it: no part of it is an IPv4 address.
pub(crate) fn ipv6_text(ip: Ipv6Addr) -> String {
    match ip.segments() {
        // The standard library writes the last two of these as an IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, a, b] => format!("::ffff:{a:x}:{b:x}"),
        _ => ip.to_string(),
    }
}

fn ipv4_part(part: &str) -> Option<u64> {
    let (digits, radix) = match part.strip_prefix("0x").or(part.strip_prefix("0X")) {
        Some("") => return Some(0),
        Some(hex) => (hex, 16),
        None if part.len() > 1 && part.starts_with('0') => (part, 8),
        None => (part, 10),
    };
    // `from_str_radix` accepts a sign, which an address cannot have.
    match digits.starts_with('+') {
        true => None,
        false => u64::from_str_radix(digits, radix).ok(),
    }
}

/// Returns a name with A-labels in place of Unicode, in lower case.
pub(crate) fn to_ascii(name: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    idna::domain_to_ascii_cow(name, AsciiDenyList::URL).map_err(|_| "not a valid internationalized domain name (IDNA)")
}

/// Returns the host of a URL as it is sent: percent-decoded, with A-labels in place of Unicode.
pub(crate) fn url_host(host: &str) -> Result<String, &'static str> {
    if host.starts_with('[') || (host.is_ascii() && !host.contains('%')) {
        return Ok(host.to_owned());
    }
    let decoded = percent_encoding::percent_decode_str(host).collect::<Vec<u8>>();
    to_ascii(&decoded).map(Cow::into_owned)
}

/// Normalises a DNS name that an operator wrote: A-labels, lower case, no trailing dot.
///
/// A target's host is accepted as a client accepts it. A name in a setting, however, must be one that can exist.
pub(crate) fn dns_name(text: &str) -> Result<Cow<'_, str>, &'static str> {
    let name = match text.is_ascii() {
        true => Cow::Borrowed(text),
        false => to_ascii(text.as_bytes())?,
    };
    let end = name.len() - usize::from(name.ends_with('.'));
    if end == 0 {
        return Err("the host name is empty");
    }
    let (mut seen, mut empty_label, mut after_dot) = (ByteKinds::default(), false, true);
    for b in name[..end].bytes() {
        seen.add(b);
        empty_label |= after_dot & (b == b'.');
        after_dot = b == b'.';
    }
    if end > 253 || (end > 63 && name[..end].split('.').any(|label| label.len() > 63)) {
        return Err("the name is longer than DNS allows (63 for a label, 253 in all)");
    }
    if empty_label || after_dot {
        return Err("the name has an empty label");
    }
    if !seen.is_within(ByteKinds::DNS_NAME) {
        return Err("the name contains a character that is not allowed in a host name");
    }
    Ok(match name {
        _ if seen.has(ByteKinds::UPPER) => Cow::Owned(name[..end].to_ascii_lowercase()),
        Cow::Borrowed(name) => Cow::Borrowed(&name[..end]),
        Cow::Owned(mut name) => {
            name.truncate(end);
            Cow::Owned(name)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_ipv4_address_is_that_address() {
        for (spelling, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("127.0.1", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("0X7F.0x1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("017700000001", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("1.2.3.4.", "1.2.3.4"),
            ("010.0.0.1", "8.0.0.1"),
            ("1.2.65535", "1.2.255.255"),
            ("1.16777215", "1.255.255.255"),
            ("4294967295", "255.255.255.255"),
            ("0", "0.0.0.0"),
            ("0x", "0.0.0.0"),
        ] {
            assert_eq!(parse_ipv4(spelling), Some(address.parse().unwrap()), "{spelling}");
        }
        for name in [
            "example.com",
            "1.2.3.4.5",
            "1.2.3.256",
            "256.1",
            "1.2.65536",
            "4294967296",
            "1..2",
            "08",
            "0xg",
            "1.2.3.",
            "99999999999999999999",
            "a.1",
            "+1",
            "1.+1",
            "",
            ".",
            "1.example",
            "0x1.cafe",
        ] {
            let is_address = name == "1.2.3.";
            assert_eq!(parse_ipv4(name).is_some(), is_address, "{name}");
        }
    }
}
