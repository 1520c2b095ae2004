//! One entry's grammar: text in, rule out, or the reason why it matches nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::{
    dialect::{Rules, Separator},
    target::{dns_name, ends_in_a_number, parse_port},
};

/// What an entry matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    All,
    /// Host bits are masked, an IPv4-mapped network is its IPv4 network.
    Network(IpNet),
    Address {
        ip: IpAddr,
        port: u16,
    },
    Name(NameRule),
}

/// A name in normal form, and which of itself and its subdomains it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameRule {
    pub(super) name: Box<str>,
    pub(super) apex: bool,
    pub(super) port: Option<u16>,
}

impl NameRule {
    /// Whether `host` is the name or below it; whole labels only.
    pub(super) fn matches(&self, host: &str, port: Option<u16>) -> bool {
        let name = self.name.as_bytes();
        let host = host.as_bytes();
        let at_boundary = match host.len().checked_sub(name.len()) {
            None => false,
            Some(0) => self.apex,
            Some(before) => host[before - 1] == b'.',
        };
        at_boundary && host.ends_with(name) && self.port_matches(port)
    }

    /// Whether the rule holds for this port.
    pub(super) fn port_matches(&self, port: Option<u16>) -> bool {
        self.port.is_none() || self.port == port
    }
}

/// An entry's place in the text of its list.
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

/// Where the entries of a list are. Empty entries are skipped.
pub(super) fn split(list: &str, rules: &Rules) -> impl Iterator<Item = Span> {
    let by_space = rules.separator == Separator::CommaOrSpace;
    let is_blank = |c| rules.separator.is_blank(c);
    list.split_inclusive(move |c| c == ',' || (by_space && is_blank(c)))
        .scan(0, move |next, piece| {
            let start = *next + piece.len() - piece.trim_start_matches(is_blank).len();
            *next += piece.len();
            let text = piece.trim_end_matches(',').trim_matches(is_blank);
            Some(Span {
                start: start as u32,
                end: (start + text.len()) as u32,
            })
        })
        .filter(|span| span.start < span.end)
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

/// Reads one entry, which is trimmed and not empty. `whole_list` says whether the list has nothing else in it, neither
/// blanks nor commas.
pub(super) fn parse(entry: &str, whole_list: bool, rules: &Rules) -> Result<Rule, &'static str> {
    if entry == "*" {
        return match rules.star_anywhere || whole_list {
            true => Ok(Rule::All),
            false => Err("in this dialect `*` has to be the whole list, without a blank or comma"),
        };
    }
    if entry.contains("://") {
        return Err("it is a URL; only its host belongs here");
    }
    if entry.contains('/') {
        return network(entry, rules).map(Rule::Network);
    }
    let (host, port) = split_port(entry)?;
    if port.is_some() && !rules.ports {
        return Err("in this dialect an entry with a port matches nothing");
    }
    if let Some(inner) = host.strip_prefix('[') {
        let ip = inner
            .strip_suffix(']')
            .and_then(|inner| inner.parse::<Ipv6Addr>().ok())
            .ok_or("what stands in brackets is not an IPv6 address")?;
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
    name(host, port, rules).map(Rule::Name)
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
                return Err("it is neither an IPv6 address nor a host with a port");
            }
            match parse_port(port) {
                Some(port) => Ok((host, Some(port))),
                None => Err("its port is not a number from 1 to 65535"),
            }
        }
        _ => Ok((entry, None)),
    }
}

fn address(ip: IpAddr, port: Option<u16>, rules: &Rules) -> Rule {
    let ip = canonical(ip, rules);
    match port {
        Some(port) => Rule::Address { ip, port },
        None => Rule::Network(ip.into()),
    }
}

fn network(entry: &str, rules: &Rules) -> Result<IpNet, &'static str> {
    let (address, length) = entry.split_once('/').unwrap_or((entry, ""));
    let ip = address
        .parse::<IpAddr>()
        .map_err(|_| "what stands before the `/` is not an IP address")?;
    let digits = length.bytes().all(|b| b.is_ascii_digit());
    let length = match length.parse::<u8>() {
        Ok(length) if digits => length,
        _ => return Err("the prefix length is not a number"),
    };
    let net = IpNet::new(ip, length)
        .map_err(|_| "the prefix is longer than the address")?
        .trunc();
    if length == 0 && !rules.prefix_zero_is_all {
        // There, a length of 0 compares the whole address.
        return Ok(ip.into());
    }
    Ok(match net {
        IpNet::V6(v6) if rules.mapped_is_ipv4 && length >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(v4) => Ipv4Net::new_assert(v4, length - 96).into(),
            None => net,
        },
        _ => net,
    })
}

fn name(host: &str, port: Option<u16>, rules: &Rules) -> Result<NameRule, &'static str> {
    if !host.is_ascii() && !rules.idna {
        return Err("in this dialect a Unicode name is compared as written and matches nothing");
    }
    let (name, apex) = if let Some(name) = host.strip_prefix("*.") {
        if !rules.star_dot_is_subdomains {
            return Err("in this dialect `*.` is no wildcard");
        }
        (name, false)
    } else if let Some(name) = host.strip_prefix('.') {
        (name, rules.leading_dot_matches_apex)
    } else {
        (host, true)
    };
    if name.contains('*') {
        return Err("`*` can only stand alone or as the first label (`*.example.com`)");
    }
    let mut text = dns_name(name)?;
    if rules.odd_ipv4_is_address && ends_in_a_number(&text) {
        return Err("it ends in a number, but is not an IPv4 address");
    }
    // IDNA knows four dots (UTS #46 2.3).
    if !rules.trailing_dots_ignored && name.ends_with(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}']) {
        text.push('.');
    }
    Ok(NameRule {
        name: text.into(),
        apex,
        port,
    })
}

/// An IPv4-mapped IPv6 address is its IPv4 address, where the dialect sees it so.
pub(super) fn canonical(ip: IpAddr, rules: &Rules) -> IpAddr {
    match ip {
        IpAddr::V6(v6) if rules.mapped_is_ipv4 => v6.to_ipv4_mapped().map_or(ip, |v4: Ipv4Addr| v4.into()),
        _ => ip,
    }
}
