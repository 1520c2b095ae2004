//! The parts of an entry, as programs split it and read them.

use ipnet::{IpNet, Ipv4Net};

use super::port::Port;
use crate::{
    dialect::Blanks,
    host::{WrittenPort, parse_ipv4},
};

/// Splits `text:digits`.
pub(super) fn split_digits(text: &str) -> Option<(&str, WrittenPort)> {
    let (host, digits) = text.rsplit_once(':')?;
    match digits.is_empty() {
        true => None,
        false => Some((host, WrittenPort::parse(digits).ok()?)),
    }
}

/// Splits a host and a port as Go's `net.SplitHostPort` does. A text that it rejects is a host as a whole.
pub(super) fn split_host_port(text: &str) -> Result<(&str, Option<Port>), &'static str> {
    let Some((before, port)) = text.rsplit_once(':') else {
        return Ok((text, None));
    };
    let (host, is_split) = match before.strip_prefix('[') {
        Some(inner) => match inner.strip_suffix(']') {
            Some(host) => (host, !host.contains(['[', ']'])),
            None => (text, false),
        },
        None => (before, !before.contains([':', '[', ']'])),
    };
    if !is_split || port.contains(['[', ']']) {
        return Ok((text, None));
    }
    if host.is_empty() {
        return Err("there is no host before the port");
    }
    match port {
        "" => Ok((host, None)),
        port => Ok((host, Some(Port::text(WrittenPort::parse(port)?)))),
    }
}

/// Splits a host and a port as undici does: brackets are dropped around any text.
pub(super) fn split_brackets_and_number(text: &str) -> Result<(&str, Option<Port>), &'static str> {
    let inner = |text: &'_ str| -> Option<usize> {
        let is_in_brackets = text.len() > 2 && text.starts_with('[') && text.ends_with(']');
        is_in_brackets.then_some(text.len() - 1)
    };
    let split = text
        .rsplit_once(':')
        .filter(|(host, port)| !host.is_empty() && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let (host, port) = match split {
        Some((host, port)) if inner(host).is_some() => (&host[1..host.len() - 1], port),
        Some((host, port)) if !host.contains(':') => (host, port),
        _ => return Ok((inner(text).map_or(text, |end| &text[1..end]), None)),
    };
    match WrittenPort::parse(port)?.number {
        0 => Ok((host, None)),
        number => Ok((host, Some(Port::number(number)))),
    }
}

/// Reads an IPv4 network as requests does: by C's `inet_aton` and Python's `int`.
pub(super) fn aton_network(text: &str) -> Option<IpNet> {
    let (ip, length) = text.split_once('/')?;
    let ip = ip.split(|c: char| c.is_ascii_whitespace() || c == '\x0b').next()?;
    let is_aton = !ip.ends_with('.') && !ip.split('.').any(|part| part.eq_ignore_ascii_case("0x"));
    let ip = parse_ipv4(ip).filter(|_| is_aton)?;
    let length = length.trim_matches(|c| Blanks::Python.has(c));
    let length = length.strip_prefix('+').unwrap_or(length);
    let digits = length
        .split('_')
        .all(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    let length = length.replace('_', "").parse().ok().filter(|_| digits)?;
    let network = Ipv4Net::new(ip, length).ok().filter(|_| length > 0)?;
    Some(network.into())
}
