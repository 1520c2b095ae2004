//! The addresses that are not globally reachable.
//!
//! Rows of IANA's IPv4 and IPv6 Special-Purpose Address Registries, both of 2025-10-09, in their order and with their
//! names, so that they can be compared with the source:
//!
//! - <https://www.iana.org/assignments/iana-ipv4-special-registry/>
//! - <https://www.iana.org/assignments/iana-ipv6-special-registry/>
//!
//! `Reachable` is the registries' column "Globally Reachable"; "N/A" and an empty field count as false. Rows from other
//! documents follow the registries' rows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use self::Reachable::{AsIpv4, No, Yes};
use crate::error::DenyReason;

/// Returns the reason why an address is not globally reachable. The address must not be IPv4-mapped. The most specific
/// row decides.
pub(super) fn deny_reason(ip: IpAddr) -> Option<DenyReason> {
    let rows = match ip {
        IpAddr::V4(_) => V4,
        IpAddr::V6(_) => V6,
    };
    let matching = rows.iter().filter(|row| row.network.contains(&ip));
    let row = matching.max_by_key(|row| row.network.prefix_len())?;
    match row.reachable {
        Yes | AsIpv4 => None,
        No => Some(DenyReason {
            network: row.network,
            purpose: Some((row.name, row.source)),
            stands_for: None,
        }),
    }
}

struct Row {
    network: IpNet,
    reachable: Reachable,
    name: &'static str,
    source: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reachable {
    Yes,
    No,
    /// Reachable if the IPv4 address in its last 32 bits is.
    AsIpv4,
}

const fn v4(address: [u8; 4], length: u8, reachable: Reachable, name: &'static str, source: &'static str) -> Row {
    let [a, b, c, d] = address;
    Row {
        network: IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length),
        reachable,
        name,
        source,
    }
}

const fn v6(address: [u16; 8], length: u8, reachable: Reachable, name: &'static str, source: &'static str) -> Row {
    let [a, b, c, d, e, f, g, h] = address;
    Row {
        network: IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), length),
        reachable,
        name,
        source,
    }
}

#[rustfmt::skip]
static V4: &[Row] = &[
    v4([0, 0, 0, 0], 8, No, "this network", "RFC 791"),
    v4([0, 0, 0, 0], 32, No, "this host on this network", "RFC 1122"),
    v4([10, 0, 0, 0], 8, No, "private use", "RFC 1918"),
    v4([100, 64, 0, 0], 10, No, "shared address space", "RFC 6598"),
    v4([127, 0, 0, 0], 8, No, "loopback", "RFC 1122"),
    v4([169, 254, 0, 0], 16, No, "link local", "RFC 3927"),
    v4([172, 16, 0, 0], 12, No, "private use", "RFC 1918"),
    v4([192, 0, 0, 0], 24, No, "IETF protocol assignments", "RFC 6890"),
    v4([192, 0, 0, 0], 29, No, "IPv4 service continuity prefix", "RFC 7335"),
    v4([192, 0, 0, 8], 32, No, "IPv4 dummy address", "RFC 7600"),
    v4([192, 0, 0, 9], 32, Yes, "port control protocol anycast", "RFC 7723"),
    v4([192, 0, 0, 10], 32, Yes, "traversal using relays around NAT anycast", "RFC 8155"),
    v4([192, 0, 0, 170], 32, No, "NAT64/DNS64 discovery", "RFC 8880"),
    v4([192, 0, 0, 171], 32, No, "NAT64/DNS64 discovery", "RFC 8880"),
    v4([192, 0, 2, 0], 24, No, "documentation, TEST-NET-1", "RFC 5737"),
    v4([192, 31, 196, 0], 24, Yes, "AS112-v4", "RFC 7535"),
    v4([192, 52, 193, 0], 24, Yes, "AMT", "RFC 7450"),
    v4([192, 88, 99, 0], 24, No, "deprecated 6to4 relay anycast", "RFC 7526"),
    v4([192, 88, 99, 2], 32, No, "6a44 relay anycast", "RFC 6751"),
    v4([192, 168, 0, 0], 16, No, "private use", "RFC 1918"),
    v4([192, 175, 48, 0], 24, Yes, "direct delegation AS112 service", "RFC 7534"),
    v4([198, 18, 0, 0], 15, No, "benchmarking", "RFC 2544"),
    v4([198, 51, 100, 0], 24, No, "documentation, TEST-NET-2", "RFC 5737"),
    v4([203, 0, 113, 0], 24, No, "documentation, TEST-NET-3", "RFC 5737"),
    v4([240, 0, 0, 0], 4, No, "reserved", "RFC 1112"),
    v4([255, 255, 255, 255], 32, No, "limited broadcast", "RFC 919"),

    v4([224, 0, 0, 0], 4, No, "multicast", "RFC 5771"),
];

#[rustfmt::skip]
static V6: &[Row] = &[
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, No, "loopback", "RFC 4291"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, No, "unspecified", "RFC 4291"),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, AsIpv4, "IPv4-mapped", "RFC 4291"),
    // The registry says reachable. By RFC 6052 3.1, it is not reachable here if it is not reachable in IPv4.
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, AsIpv4, "IPv4-IPv6 translation", "RFC 6052"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, No, "IPv4-IPv6 translation", "RFC 8215"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, No, "discard-only", "RFC 6666"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, No, "dummy IPv6 prefix", "RFC 9780"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, No, "IETF protocol assignments", "RFC 2928"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, No, "Teredo", "RFC 4380"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, Yes, "port control protocol anycast", "RFC 7723"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, Yes, "traversal using relays around NAT anycast", "RFC 8155"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, Yes, "DNS-SD service registration protocol anycast", "RFC 9665"),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, No, "benchmarking", "RFC 5180"),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, Yes, "AMT", "RFC 7450"),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, Yes, "AS112-v6", "RFC 7535"),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, No, "deprecated ORCHID", "RFC 4843"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, Yes, "ORCHIDv2", "RFC 7343"),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, Yes, "drone remote ID protocol entity tags", "RFC 9374"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, No, "documentation", "RFC 3849"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, No, "6to4", "RFC 3056"),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, Yes, "direct delegation AS112 service", "RFC 7534"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, No, "documentation", "RFC 9637"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, No, "segment routing (SRv6) SIDs", "RFC 9602"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, No, "unique-local", "RFC 4193"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, No, "link-local unicast", "RFC 4291"),

    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, No, "deprecated IPv4-compatible", "RFC 4291"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, No, "deprecated site-local", "RFC 3879"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, No, "multicast", "RFC 4291"),
];
