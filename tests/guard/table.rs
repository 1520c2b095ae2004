//! The addresses that the preset denies, against a second copy of the registries' rows.

use std::net::IpAddr;

use ipnet::IpNet;
use tower_outbound_proxy::{IpPolicy, Target};

use super::ip;

/// Network and "Globally Reachable", of IANA's IPv4 and IPv6 Special-Purpose Address Registries of 2025-10-09. `v4`
/// marks a network that is judged by the IPv4 address at its end. Rows from other documents are below the line.
const REGISTRIES: &str = "
    0.0.0.0/8 no            0.0.0.0/32 no           10.0.0.0/8 no           100.64.0.0/10 no
    127.0.0.0/8 no          169.254.0.0/16 no       172.16.0.0/12 no        192.0.0.0/24 no
    192.0.0.0/29 no         192.0.0.8/32 no         192.0.0.9/32 yes        192.0.0.10/32 yes
    192.0.0.170/32 no       192.0.0.171/32 no       192.0.2.0/24 no         192.31.196.0/24 yes
    192.52.193.0/24 yes     192.88.99.0/24 no       192.88.99.2/32 no       192.168.0.0/16 no
    192.175.48.0/24 yes     198.18.0.0/15 no        198.51.100.0/24 no      203.0.113.0/24 no
    240.0.0.0/4 no          255.255.255.255/32 no
    ::1/128 no              ::/128 no               ::ffff:0:0/96 v4        64:ff9b::/96 v4
    64:ff9b:1::/48 no       100::/64 no             100:0:0:1::/64 no       2001::/23 no
    2001::/32 no            2001:1::1/128 yes       2001:1::2/128 yes       2001:1::3/128 yes
    2001:2::/48 no          2001:3::/32 yes         2001:4:112::/48 yes     2001:10::/28 no
    2001:20::/28 yes        2001:30::/28 yes        2001:db8::/32 no        2002::/16 no
    2620:4f:8000::/48 yes   3fff::/20 no            5f00::/16 no            fc00::/7 no
    fe80::/10 no
    224.0.0.0/4 no          ff00::/8 no             fec0::/10 no            ::/96 no
";

fn rows() -> Vec<(IpNet, &'static str)> {
    let words: Vec<_> = REGISTRIES.split_whitespace().collect();
    words.chunks(2).map(|row| (row[0].parse().unwrap(), row[1])).collect()
}

/// Returns true if an address is reachable. The most specific row decides; an address in no row is reachable.
fn is_reachable(ip: IpAddr) -> bool {
    let rows = rows();
    let matching = rows.iter().filter(|(network, _)| network.contains(&ip));
    match matching.max_by_key(|(network, _)| network.prefix_len()) {
        None | Some((_, "yes")) => true,
        Some((_, "no")) => false,
        Some(_) => {
            let IpAddr::V6(ip) = ip else { panic!("{ip}") };
            is_reachable(IpAddr::V4((ip.to_bits() as u32).into()))
        }
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn from_bits(bits: u128, like: IpAddr) -> Option<IpAddr> {
    match like {
        IpAddr::V4(_) => Some(IpAddr::V4(u32::try_from(bits).ok()?.into())),
        IpAddr::V6(_) => Some(IpAddr::V6(bits.into())),
    }
}

/// Returns both ends of each row, and the addresses on both sides of each.
fn edges() -> impl Iterator<Item = IpAddr> {
    rows().into_iter().flat_map(|(network, _)| {
        let around = |end: IpAddr| {
            let steps = [bits(end).checked_sub(1), Some(bits(end)), bits(end).checked_add(1)];
            steps.into_iter().flatten().filter_map(move |bits| from_bits(bits, end))
        };
        around(network.network()).chain(around(network.broadcast()))
    })
}

fn allows(policy: &IpPolicy, address: IpAddr) -> bool {
    let target: Target<'_> = "http://stranger.test".parse().unwrap();
    policy.check(&target, address).is_ok()
}

#[test]
fn every_row_of_the_registries_decides_up_to_its_edges() {
    assert_eq!(rows().len(), 55);
    let policy = IpPolicy::special_purpose();
    let same = IpPolicy::builder().special_purpose().build().unwrap();
    for ip in edges() {
        assert_eq!(allows(&policy, ip), is_reachable(ip), "{ip}");
        assert_eq!(allows(&same, ip), is_reachable(ip), "{ip}");
    }
}

#[test]
fn an_address_in_an_ipv6_address_is_judged_too() {
    let policy = IpPolicy::special_purpose();
    for edge in edges() {
        let IpAddr::V4(v4) = edge else { continue };
        let low = u128::from(v4.to_bits());
        let [mapped, nat64] = [0xffff_u128 << 32 | low, 0x64_ff9b << 96 | low].map(|bits| IpAddr::V6(bits.into()));
        assert_eq!(allows(&policy, mapped), is_reachable(edge), "{mapped}");
        assert_eq!(allows(&policy, nat64), is_reachable(edge), "{nat64}");
    }
}

#[test]
fn the_internet_is_allowed() {
    let policy = IpPolicy::special_purpose();
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "93.184.215.14",
        "2606:4700:4700::1111",
        "2a00:1450::1",
        "64:ff9b::808:808",
    ] {
        assert!(allows(&policy, ip(address)), "{address}");
    }
}

#[test]
fn a_refusal_says_what_the_network_is_for() {
    let policy = IpPolicy::special_purpose();
    let target: Target<'_> = "https://stranger.test".parse().unwrap();
    for (address, shown, network, purpose, source) in [
        ("10.1.2.3", "10.1.2.3", "10.0.0.0/8", "private use", "RFC 1918"),
        (
            "169.254.169.254",
            "169.254.169.254",
            "169.254.0.0/16",
            "link local",
            "RFC 3927",
        ),
        (
            "192.0.0.171",
            "192.0.0.171",
            "192.0.0.171/32",
            "NAT64/DNS64 discovery",
            "RFC 8880",
        ),
        ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.0/8", "loopback", "RFC 1122"),
        ("::1", "::1", "::1/128", "loopback", "RFC 4291"),
        ("239.1.1.1", "239.1.1.1", "224.0.0.0/4", "multicast", "RFC 5771"),
    ] {
        let denied = policy.check(&target, ip(address)).unwrap_err();
        let text = format!(
            "stranger.test:443: the address {shown} is denied for direct connections: {network} is {purpose} ({source})"
        );
        assert_eq!(denied.to_string(), text);
        assert_eq!(denied.target(), "stranger.test:443");
        assert_eq!(denied.address(), ip(shown));
        assert_eq!(denied.network(), network.parse().unwrap());
        assert_eq!(denied.purpose(), Some(purpose));
    }
    let denied = policy.check(&target, ip("64:ff9b::a00:1")).unwrap_err().to_string();
    assert!(
        denied.ends_with("it leads to 10.0.0.1, and 10.0.0.0/8 is private use (RFC 1918)"),
        "{denied}"
    );
}
