//! The grammar of an entry: parses a string into a rule, or returns the reason why it matches nothing.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::{
    cidr,
    dialect::{Rules, Separator},
    host::{QUOTED, dns_name, ends_in_a_number, is_quoted, parse_ipv6, parse_port, split_brackets},
};

/// The targets that an entry matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule<'l> {
    All,
    /// A network. Its host bits are masked, and an IPv4-mapped network becomes its IPv4 network.
    Network(IpNet),
    Address {
        ip: IpAddr,
        port: u16,
    },
    /// A name in normal form.
    Name {
        name: Cow<'l, str>,
        /// The name's offset in the entry, if the entry contains it in normal form.
        offset: usize,
        scope: Scope,
        port: Option<u16>,
    },
}

/// The hosts that a name matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Itself,
    /// The name's subdomains.
    Below,
    ItselfAndBelow,
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
    let is_blank = |c| rules.separator.is_blank(c);
    // Checked once, because only a search for commas alone is fast.
    let has_blanks = list.bytes().fold(false, |found, b| found | (b <= b' ') | !b.is_ascii());
    let by_space = has_blanks && rules.separator == Separator::CommaOrSpace;
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
    if rules.separator == Separator::CommaUntilSpace {
        for span in split(list, rules) {
            if let Some(space) = span.of(list).find(|c| rules.separator.is_blank(c)) {
                return list.split_at(span.start as usize + space);
            }
        }
    }
    (list, "")
}

/// Parses one entry, which is trimmed and not empty. `whole_list` is true if the list contains nothing else, not even
/// blanks or commas.
pub(super) fn parse<'l>(entry: &'l str, whole_list: bool, rules: &Rules) -> Result<Rule<'l>, &'static str> {
    if entry == "*" {
        return match rules.star_anywhere || whole_list {
            true => Ok(Rule::All),
            false => Err("in this dialect `*` must be the whole list, without white space or commas"),
        };
    }
    if is_quoted(entry) {
        return Err(QUOTED);
    }
    // Fast path: most entries are plain names, and a valid name cannot be anything else.
    if !entry.starts_with(|c: char| c.is_ascii_digit()) {
        if let Ok(name) = name(entry, None, rules) {
            return Ok(name);
        }
    }
    if entry.contains('/') {
        return network(entry, rules)
            .map(Rule::Network)
            .map_err(|reason| match entry.contains("://") {
                true => "expected a host, found a URL",
                false => reason,
            });
    }
    let (host, port) = split_port(entry)?;
    if port.is_some() && !rules.ports {
        return Err("in this dialect an entry with a port matches nothing");
    }
    if let Some(split) = split_brackets(host) {
        let ip = match split? {
            (inner, "") => parse_ipv6(inner)?,
            _ => return Err("only a port can follow the closing bracket"),
        };
        if port.is_none() && !rules.brackets_without_port {
            return Err(match rules.ports {
                true => "in this dialect an address in brackets needs a port",
                false => "in this dialect an address in brackets matches nothing",
            });
        }
        return Ok(address(ip.into(), port, rules));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(address(ip, port, rules));
    }
    name(host, port, rules)
}

/// Splits `host:port`. An unbracketed IPv6 address has no port.
fn split_port(entry: &str) -> Result<(&str, Option<u16>), &'static str> {
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
            Ok((host, Some(parse_port(port)?)))
        }
        _ => Ok((entry, None)),
    }
}

fn address(ip: IpAddr, port: Option<u16>, rules: &Rules) -> Rule<'static> {
    let ip = match rules.mapped_is_ipv4 {
        true => ip.to_canonical(),
        false => ip,
    };
    match port {
        Some(port) => Rule::Address { ip, port },
        None => Rule::Network(ip.into()),
    }
}

fn network(entry: &str, rules: &Rules) -> Result<IpNet, &'static str> {
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
    let net = IpNet::new(ip, length).map_err(|_| "the prefix is longer than the address")?;
    if length == 0 && !rules.prefix_zero_is_all {
        // In this dialect, a length of 0 compares the whole address.
        return Ok(ip.into());
    }
    Ok(match rules.mapped_is_ipv4 {
        true => cidr::to_canonical(net),
        false => net.trunc(),
    })
}

fn name<'l>(host: &'l str, port: Option<u16>, rules: &Rules) -> Result<Rule<'l>, &'static str> {
    if !host.is_ascii() && !rules.idna {
        return Err("in this dialect a Unicode name is compared as written and matches nothing");
    }
    let (name, scope) = if let Some(name) = host.strip_prefix("*.") {
        if !rules.star_dot_is_subdomains {
            return Err("in this dialect `*.` is not a wildcard");
        }
        (name, Scope::Below)
    } else if let Some(name) = host.strip_prefix('.') {
        match rules.leading_dot_matches_apex {
            true => (name, Scope::ItselfAndBelow),
            false => (name, Scope::Below),
        }
    } else {
        (host, Scope::ItselfAndBelow)
    };
    let mut text = dns_name(name).map_err(|reason| match name.contains('*') {
        true => "`*` can only stand alone or as the first label (`*.example.com`)",
        false => reason,
    })?;
    if rules.odd_ipv4_is_address && ends_in_a_number(&text) {
        return Err("not a valid IPv4 address");
    }
    // IDNA has four characters for the dot (UTS #46 2.3).
    if !rules.trailing_dots_ignored && name.ends_with(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}']) {
        text.to_mut().push('.');
    }
    Ok(Rule::Name {
        offset: host.len() - name.len(),
        name: text,
        scope,
        port,
    })
}
