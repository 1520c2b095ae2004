//! A set of networks, asked for the one that has an address.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Sorted, and none within another, so that only one can have an address, and it is found by bisection.
#[derive(Debug, Clone, Default)]
pub(super) struct Networks(Vec<IpNet>);

impl Networks {
    pub(super) fn new(mut networks: Vec<IpNet>) -> Self {
        networks.iter_mut().for_each(|network| *network = normal(*network));
        // By address and then by length: a network comes before those within it.
        networks.sort_unstable();
        networks.dedup_by(|next, kept| kept.contains(&*next));
        Self(networks)
    }

    /// The network that has this address, which is not an IPv4-mapped one.
    pub(super) fn find(&self, ip: IpAddr) -> Option<IpNet> {
        let after = self.0.partition_point(|network| network.network() <= ip);
        self.0[..after].last().filter(|network| network.contains(&ip)).copied()
    }
}

/// Without host bits, and a network of IPv4-mapped IPv6 addresses as the IPv4 network it is.
fn normal(network: IpNet) -> IpNet {
    let network = network.trunc();
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped();
    match (mapped, v6.prefix_len().checked_sub(96)) {
        (Some(ip), Some(length)) => Ipv4Net::new(ip, length).map_or(network, IpNet::V4),
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Networks {
        Networks::new(list.iter().map(|network| network.parse().unwrap()).collect())
    }

    #[test]
    fn the_widest_network_that_has_the_address_is_found() {
        let set = networks(&[
            "10.1.0.0/16",
            "10.0.0.0/8",
            "10.1.2.0/24",
            "9.0.0.0/8",
            "11.1.1.1/32",
            "fd00::/8",
            "10.200.0.0/16",
            "::ffff:12.0.0.0/104",
            "13.1.2.3/8",
        ]);
        for (ip, found) in [
            ("9.255.255.255", Some("9.0.0.0/8")),
            ("10.0.0.0", Some("10.0.0.0/8")),
            ("10.1.2.3", Some("10.0.0.0/8")),
            ("10.255.255.255", Some("10.0.0.0/8")),
            ("11.1.1.0", None),
            ("11.1.1.1", Some("11.1.1.1/32")),
            ("11.1.1.2", None),
            ("12.34.56.78", Some("12.0.0.0/8")),
            ("13.0.0.0", Some("13.0.0.0/8")),
            ("14.0.0.0", None),
            ("0.0.0.0", None),
            ("255.255.255.255", None),
            ("::", None),
            ("fcff::", None),
            ("fd12::1", Some("fd00::/8")),
            ("fe00::", None),
        ] {
            let expected = found.map(|network| network.parse().unwrap());
            assert_eq!(set.find(ip.parse().unwrap()), expected, "{ip}");
        }
        assert_eq!(networks(&[]).find([10, 0, 0, 1].into()), None);
    }

    #[test]
    fn a_network_of_one_family_has_no_address_of_the_other() {
        let all_v6 = networks(&["::/0"]);
        assert_eq!(all_v6.find([10, 0, 0, 1].into()), None);
        let all_v4 = networks(&["0.0.0.0/0"]);
        assert_eq!(all_v4.find("2000::".parse().unwrap()), None);
        assert_eq!(
            networks(&["::ffff:0:0/96"]).find([1, 2, 3, 4].into()),
            Some("0.0.0.0/0".parse().unwrap())
        );
    }
}
