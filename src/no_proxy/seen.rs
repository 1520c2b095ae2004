//! A target's host as a dialect compares it with entries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    dialect::{Ipv4Host, Ipv6Host, Loopback, Rules},
    target::Target,
};

/// A target's host as a dialect compares it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SeenHost<'a> {
    Name(&'a str),
    V4(u32),
    V6(u128),
    /// An IPv4 address: networks are compared with its value, names with its text, and neither has a port.
    V4AsWritten(u32, &'a str),
    /// An IPv4 address whose text in the usual spelling is compared with names.
    V4AsText(u32),
    /// The text of an IPv6 address.
    V6AsWritten(&'a str),
    /// An address with a zone, to which only `*` applies, as to a name.
    Other,
}

/// Returns the target's host as the dialect compares it.
#[inline]
pub(crate) fn seen_by<'t>(target: &'t Target<'_>, rules: &Rules) -> SeenHost<'t> {
    match target.ip() {
        None => name(target, rules),
        Some(IpAddr::V4(ip)) if rules.ipv4 == Ipv4Host::Value => SeenHost::V4(ip.to_bits()),
        Some(IpAddr::V4(ip)) => ipv4(ip, target, rules),
        Some(IpAddr::V6(ip)) if rules.ipv6 == Ipv6Host::Value => match ip.to_ipv4_mapped() {
            Some(ip) if rules.mapped_is_ipv4 => SeenHost::V4(ip.to_bits()),
            _ => SeenHost::V6(ip.to_bits()),
        },
        Some(IpAddr::V6(ip)) => ipv6(ip, target, rules),
    }
}

#[inline]
fn name<'t>(target: &'t Target<'_>, rules: &Rules) -> SeenHost<'t> {
    let name = target.written();
    match rules.trailing_dot_ignored {
        true => SeenHost::Name(name.strip_suffix('.').unwrap_or(name)),
        false => SeenHost::Name(name),
    }
}

fn ipv4<'t>(ip: Ipv4Addr, target: &'t Target<'_>, rules: &Rules) -> SeenHost<'t> {
    let (bits, text) = (ip.to_bits(), target.written());
    let has_digits = || !text.split('.').any(|part| part == "0x");
    match rules.ipv4 {
        Ipv4Host::ValueWithDigits if !has_digits() => name(target, rules),
        Ipv4Host::UsualValue if text.parse::<Ipv4Addr>().is_err() => name(target, rules),
        Ipv4Host::NetworkOrText if text.ends_with('.') || !has_digits() => name(target, rules),
        Ipv4Host::Value | Ipv4Host::ValueWithDigits | Ipv4Host::UsualValue => SeenHost::V4(bits),
        Ipv4Host::NetworkOrText => SeenHost::V4AsWritten(bits, text),
        Ipv4Host::Text => name(target, rules),
        Ipv4Host::UsualText => SeenHost::V4AsText(bits),
    }
}

fn ipv6<'t>(ip: Ipv6Addr, target: &'t Target<'_>, rules: &Rules) -> SeenHost<'t> {
    match rules.ipv6 {
        Ipv6Host::Value => SeenHost::V6(ip.to_bits()),
        _ if target.had_zone() => SeenHost::Other,
        Ipv6Host::ValueWithoutZone => SeenHost::V6(ip.to_bits()),
        Ipv6Host::Text => SeenHost::V6AsWritten(target.written()),
    }
}

/// Returns true if the dialect reaches the target directly because the target is this machine.
pub(crate) fn is_loopback(target: &Target<'_>, rules: &Rules) -> bool {
    let by_name: fn(&Target<'_>, &str) -> bool = match rules.loopback {
        Loopback::AsListed => return false,
        Loopback::Direct => |_, name| {
            name.strip_suffix("localhost")
                .is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
        },
        Loopback::DirectLocalhostAsSpelled => |target, name| name == "localhost" && !target.had_upper_case(),
    };
    match seen_by(target, rules) {
        SeenHost::V4(ip) | SeenHost::V4AsWritten(ip, _) | SeenHost::V4AsText(ip) => {
            Ipv4Addr::from_bits(ip).is_loopback()
        }
        SeenHost::V6(ip) => Ipv6Addr::from_bits(ip).is_loopback(),
        SeenHost::Name(name) => by_name(target, name),
        SeenHost::V6AsWritten(_) | SeenHost::Other => false,
    }
}
