//! How hosts are read and normalised: authorities, IPv4 in every spelling, DNS names.

use std::net::Ipv4Addr;

use idna::AsciiDenyList;

use crate::error::TargetError;

/// Splits an authority into its host, with brackets, and its port. User information is dropped.
pub(super) fn split_authority(authority: &str) -> Result<(&str, Option<u16>), TargetError> {
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
    let end = match host_port.starts_with('[') {
        true => host_port.find(']').map_or(host_port.len(), |end| end + 1),
        false => host_port.find(':').unwrap_or(host_port.len()),
    };
    let (host, rest) = host_port.split_at(end);
    let port = match rest.strip_prefix(':') {
        // An empty port is no port (RFC 3986 3.2.3).
        Some("") => None,
        Some(port) => Some(parse_port(port).ok_or(TargetError::new("its port is not a number from 1 to 65535"))?),
        None if rest.is_empty() => None,
        None => return Err(TargetError::new("what stands in brackets is not the whole host")),
    };
    Ok((host, port))
}

pub(super) fn strip_brackets(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

/// The characters of a `reg-name` without percent-encoding (RFC 3986 3.2.2).
pub(super) fn is_reg_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&b)
}

/// A decimal number from 1 to 65535, digits only.
pub(crate) fn parse_port(text: &str) -> Option<u16> {
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().ok().filter(|port| *port != 0),
        false => None,
    }
}

/// Whether the last label is a number, so that the host can only be an IPv4 address (WHATWG URL, "ends in a number").
pub(crate) fn ends_in_a_number(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    match last.strip_prefix("0x").or(last.strip_prefix("0X")) {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// The IPv4 address that a resolver would read, in one to four parts, each decimal, octal (`0…`) or hexadecimal (`0x…`).
pub(crate) fn ipv4(host: &str) -> Option<Ipv4Addr> {
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
        // The last part fills all bytes that are left.
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

fn ipv4_part(part: &str) -> Option<u64> {
    let (digits, radix) = match part.strip_prefix("0x").or(part.strip_prefix("0X")) {
        Some("") => return Some(0),
        Some(hex) => (hex, 16),
        None if part.len() > 1 && part.starts_with('0') => (part, 8),
        None => (part, 10),
    };
    // `from_str_radix` takes a sign, an address does not.
    match digits.starts_with('+') {
        true => None,
        false => u64::from_str_radix(digits, radix).ok(),
    }
}

/// Normalises a DNS name that an operator wrote: A-labels, lower case, no trailing dot.
///
/// Unlike a target's host, which is taken as a client would take it, a setting's name has to be one that can exist.
pub(crate) fn dns_name(text: &str) -> Result<String, &'static str> {
    let mut name = match text.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => idna::domain_to_ascii_cow(text.as_bytes(), AsciiDenyList::URL)
            .map_err(|_| "the name has no form that DNS can hold (IDNA)")?
            .into_owned(),
    };
    if name.ends_with('.') {
        name.pop();
    }
    if name.is_empty() {
        return Err("there is no host name");
    }
    if name.len() > 253 || name.split('.').any(|label| label.len() > 63) {
        return Err("the name is longer than DNS allows (63 for a label, 253 in all)");
    }
    if name.split('.').any(str::is_empty) {
        return Err("the name has an empty label");
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err("the name has a character that no host name can have");
    }
    Ok(name)
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
            assert_eq!(ipv4(spelling), Some(address.parse().unwrap()), "{spelling}");
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
            assert_eq!(ipv4(name).is_some(), is_address, "{name}");
        }
    }
}
