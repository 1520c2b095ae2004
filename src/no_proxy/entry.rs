//! The strict grammar of an entry, that of the Standard dialect: parses a string into a rule, or returns the reason why
//! it matches nothing.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::IpNet;

use super::port::Port;
use crate::{
    cidr,
    dialect::{Rules, Separator},
    host::{QUOTED, dns_name, ends_in_a_number, is_quoted, parse_ipv6, parse_port, split_brackets},
};

/// The targets that an entry matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule<'l> {
    All {
        port: Option<Port>,
        /// True if it matches names alone, and none that ends in `*`.
        names_only: bool,
    },
    /// A network. Its host bits are masked, and an IPv4-mapped network becomes its IPv4 network.
    Network(IpNet),
    Address {
        ip: IpAddr,
        port: Port,
    },
    /// A name in normal form, or a text that the dialect compares like one.
    Name {
        name: Cow<'l, str>,
        /// The name's offset in the entry, if the entry contains it in normal form.
        offset: usize,
        scope: Scope,
        port: Option<Port>,
    },
}

impl Rule<'_> {
    /// `*` in the usual form.
    pub(crate) const ALL: Self = Self::All {
        port: None,
        names_only: false,
    };
}

/// The hosts that a name matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Itself,
    /// The name's subdomains.
    Below,
    ItselfAndBelow,
    /// The IPv6 address with this text.
    V6,
    /// The IPv6 address with this text before the last `:`, if the rest is decimal digits.
    V6BeforeDigits,
}

/// An entry's span in its list's string.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn of<'l>(&self, list: &'l str) -> &'l str {
        &list[self.start as usize..self.end as usize]
    }
}

/// Returns the spans of a list's entries. Skips empty entries.
pub(super) fn split(list: &str, rules: &Rules) -> impl Iterator<Item = Span> {
    let is_blank = |c| rules.blanks.has(c);
    // Checked once, because only a search for commas alone is fast.
    let has_blanks = list.bytes().fold(false, |found, b| found | (b <= b' ') | !b.is_ascii());
    let by_space = has_blanks && rules.separator == Separator::CommaOrBlank;
    let mut next = 0;
    std::iter::from_fn(move || {
        while next < list.len() {
            let (start, rest) = (next, &list[next..]);
            let end = match by_space {
                true => rest.find(|c| c == ',' || is_blank(c)),
                false => rest.find(','),
            };
            let end = end.map_or(list.len(), |end| start + end);
            next = end + list[end..].chars().next().map_or(0, char::len_utf8);
            let entry = match has_blanks {
                true => list[start..end].trim_start_matches(is_blank),
                false => &list[start..end],
            };
            let start = end - entry.len();
            let end = start + entry.trim_end_matches(is_blank).len();
            if start < end {
                return Some(Span {
                    start: start as u32,
                    end: end as u32,
                });
            }
        }
        None
    })
}

/// Splits a list at the first white space within an entry, for the dialect where such white space ends the list.
pub(super) fn cut<'l>(list: &'l str, rules: &Rules) -> (&'l str, &'l str) {
    if rules.separator == Separator::CommaUntilBlank {
        for span in split(list, rules) {
            if let Some(space) = span.of(list).find(|c| rules.blanks.has(c)) {
                return list.split_at(span.start as usize + space);
            }
        }
    }
    (list, "")
}

/// Parses one entry, which is trimmed and not empty.
pub(super) fn parse(entry: &str) -> Result<Rule<'_>, &'static str> {
    if entry == "*" {
        return Ok(Rule::ALL);
    }
    if is_quoted(entry) {
        return Err(QUOTED);
    }
    // Fast path: most entries are plain names, and a valid name cannot be anything else.
    if !entry.starts_with(|c: char| c.is_ascii_digit()) {
        if let Ok(name) = name(entry, None) {
            return Ok(name);
        }
    }
    if entry.contains('/') {
        return match network(entry) {
            Ok(network) => Ok(Rule::Network(cidr::to_canonical(network))),
            Err(_) if entry.contains("://") => Err("expected a host, found a URL"),
            Err(reason) => Err(reason),
        };
    }
    let (host, port) = split_port(entry)?;
    if let Some(split) = split_brackets(host) {
        return match split? {
            (inner, "") => Ok(address(parse_ipv6(inner)?.to_canonical(), port)),
            _ => Err("only a port can follow the closing bracket"),
        };
    }
    match host.parse::<IpAddr>() {
        Ok(ip) => Ok(address(ip.to_canonical(), port)),
        Err(_) => name(host, port),
    }
}

/// Splits `host:port`. An unbracketed IPv6 address has no port.
fn split_port(entry: &str) -> Result<(&str, Option<Port>), &'static str> {
    if entry.parse::<Ipv6Addr>().is_ok() {
        return Ok((entry, None));
    }
    match entry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            if host.is_empty() {
                return Err("there is no host before the port");
            }
            if host.contains(':') && !host.starts_with('[') {
                return Err("neither an IPv6 address nor a host with a port");
            }
            Ok((host, Some(Port::number(parse_port(port)?))))
        }
        _ => Ok((entry, None)),
    }
}

pub(super) fn address(ip: IpAddr, port: Option<Port>) -> Rule<'static> {
    match port {
        Some(port) => Rule::Address { ip, port },
        None => Rule::Network(ip.into()),
    }
}

/// Parses a network in CIDR notation, with its host bits.
pub(super) fn network(entry: &str) -> Result<IpNet, &'static str> {
    let (address, length) = entry.split_once('/').unwrap_or((entry, ""));
    let ip = address
        .parse::<IpAddr>()
        .map_err(|_| "the part before the `/` is not an IP address")?;
    let digits = length.bytes().all(|b| b.is_ascii_digit());
    let length = match length.parse::<u8>() {
        Ok(length) if digits => length,
        _ if length.contains(':') => return Err("a network cannot have a port"),
        _ => return Err("the prefix length is not a number"),
    };
    IpNet::new(ip, length).map_err(|_| "the prefix is longer than the address")
}

fn name(host: &str, port: Option<Port>) -> Result<Rule<'_>, &'static str> {
    let (name, scope) = match host.strip_prefix("*.").or(host.strip_prefix('.')) {
        Some(name) => (name, Scope::Below),
        None => (host, Scope::ItselfAndBelow),
    };
    let text = dns_name(name).map_err(|reason| match name.contains('*') {
        true => STAR_IN_NAME,
        false => reason,
    })?;
    if ends_in_a_number(&text) {
        return Err("not a valid IPv4 address");
    }
    Ok(Rule::Name {
        offset: host.len() - name.len(),
        name: text,
        scope,
        port,
    })
}

pub(super) const STAR_IN_NAME: &str = "`*` can only stand alone or as the first label (`*.example.com`)";
