//! A table of CIDR blocks, for `NO_PROXY` and for the guard.
//!
//! Two blocks are nested or disjoint; they never overlap in part. The blocks are sorted by their first address. The
//! last block that begins at or before an address is therefore the innermost block that can contain it, and links lead
//! to the blocks around it. The time of a lookup depends on the nesting depth and the logarithm of the number of
//! blocks.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Blocks of addresses, each with a rank. A lookup returns the lowest rank of the blocks that contain the address.
#[derive(Debug, Clone, Default)]
pub(crate) struct NetTable {
    v4: Blocks<u32>,
    v6: Blocks<u128>,
}

impl NetTable {
    /// Adds a network. Look-ups need [`link`](Self::link) after the last one.
    #[inline]
    pub(crate) fn push(&mut self, network: IpNet, rank: u32) {
        match network {
            IpNet::V4(net) => self.v4.push(net.network().to_bits(), net.broadcast().to_bits(), rank),
            IpNet::V6(net) => self.v6.push(net.network().to_bits(), net.broadcast().to_bits(), rank),
        }
    }

    /// Sorts the networks, and links each to the one around it.
    pub(crate) fn link(&mut self) {
        self.v4.link();
        self.v6.link();
    }

    #[inline]
    pub(crate) fn find_v4(&self, bits: u32) -> Option<u32> {
        self.v4.find(bits)
    }

    #[inline]
    pub(crate) fn find_v6(&self, bits: u128) -> Option<u32> {
        self.v6.find(bits)
    }
}

/// Networks without ranks. A lookup returns the widest one that contains the address.
#[derive(Debug, Clone, Default)]
pub(crate) struct NetSet {
    networks: Vec<IpNet>,
    table: NetTable,
}

impl NetSet {
    /// Creates a set of networks, whose host bits may be set.
    pub(crate) fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let mut networks: Vec<_> = networks.into_iter().map(to_canonical).collect();
        networks.sort_unstable_by_key(|network| (network.prefix_len(), *network));
        networks.dedup();
        let mut table = NetTable::default();
        networks
            .iter()
            .zip(0..)
            .for_each(|(network, rank)| table.push(*network, rank));
        table.link();
        Self { networks, table }
    }

    /// Returns the widest network that contains the address, which must not be IPv4-mapped.
    pub(crate) fn find(&self, ip: IpAddr) -> Option<IpNet> {
        let rank = match ip {
            IpAddr::V4(ip) => self.table.find_v4(ip.to_bits()),
            IpAddr::V6(ip) => self.table.find_v6(ip.to_bits()),
        };
        Some(self.networks[rank? as usize])
    }
}

/// Returns the network without host bits. A network of IPv4-mapped IPv6 addresses becomes its IPv4 network.
#[inline]
pub(crate) fn to_canonical(network: IpNet) -> IpNet {
    let network = network.trunc();
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(ip) => Ipv4Net::new_assert(ip, v6.prefix_len() - 96).into(),
            None => network,
        },
        _ => network,
    }
}

/// Blocks of one family, sorted by their first address.
#[derive(Debug, Clone)]
struct Blocks<T>(Vec<Block<T>>);

#[derive(Debug, Clone)]
struct Block<T> {
    first: T,
    last: T,
    rank: u32,
    /// The index of the smallest kept block around this one.
    parent: Option<u32>,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy + Ord> Blocks<T> {
    fn push(&mut self, first: T, last: T, rank: u32) {
        self.0.push(Block {
            first,
            last,
            rank,
            parent: None,
        });
    }

    fn link(&mut self) {
        let mut blocks = std::mem::take(&mut self.0);
        // Outer blocks come before inner ones, and equal blocks are in order of rank.
        blocks.sort_unstable_by(|a, b| (a.first, b.last, a.rank).cmp(&(b.first, a.last, b.rank)));
        let mut kept: Vec<Block<T>> = Vec::with_capacity(blocks.len());
        for mut block in blocks {
            let mut around = kept.len().checked_sub(1);
            while let Some(at) = around.filter(|at| kept[*at].last < block.first) {
                around = kept[at].parent.map(|parent| parent as usize);
            }
            // A block inside one of lower rank is never the result.
            if around.is_some_and(|at| kept[at].rank < block.rank) {
                continue;
            }
            block.parent = around.map(|at| at as u32);
            kept.push(block);
        }
        self.0 = kept;
    }

    fn find(&self, address: T) -> Option<u32> {
        let after = self.0.partition_point(|block| block.first <= address);
        let mut around = after.checked_sub(1);
        while let Some(at) = around {
            let block = &self.0[at];
            // Inner blocks are kept only if their rank is lower.
            if address <= block.last {
                return Some(block.rank);
            }
            around = block.parent.map(|parent| parent as usize);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> NetSet {
        NetSet::new(list.iter().map(|network| network.parse().unwrap()))
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
