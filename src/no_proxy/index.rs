//! Look-up in time that does not grow with the list.
//!
//! The answer is always the *first* entry of the list that matches, the one a reader of the list would point at. Every
//! table therefore keeps, for what it matches, the lowest position, and [`Index::find`] takes the lowest of the tables.
//!
//! - Names: up to [`SCAN`] rules are compared one after the other, which is faster than hashing. A longer list is a hash
//!   table of whole names; a look-up hashes the host once from its end and asks at each label's beginning.
//! - Networks: CIDR blocks are nested or disjoint, never overlapping. Sorted by their first address, the last block that
//!   begins at or before an address is the innermost one that can hold it, and its parents follow by links.
//! - Addresses with a port: a sorted list.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    net::IpAddr,
};

use ipnet::IpNet;

use super::entry::{NameRule, Rule};

/// Up to so many name rules a scan is used.
const SCAN: usize = 8;

#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// The position of `*`.
    all: Option<u32>,
    names: Names,
    v4: Networks<u32>,
    v6: Networks<u128>,
    addresses: Vec<(IpAddr, u16, u32)>,
}

impl Index {
    /// `rules` come in the list's order.
    pub(super) fn new(rules: impl Iterator<Item = (u32, Rule)>) -> Self {
        let mut index = Self::default();
        let (mut v4, mut v6, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for (position, rule) in rules {
            match rule {
                Rule::All => index.all = index.all.or(Some(position)),
                Rule::Name(rule) => names.push((position, rule)),
                Rule::Address { ip, port } => index.addresses.push((ip, port, position)),
                Rule::Network(IpNet::V4(net)) => {
                    v4.push(Block::new(net.network().to_bits(), net.broadcast().to_bits(), position));
                }
                Rule::Network(IpNet::V6(net)) => {
                    v6.push(Block::new(net.network().to_bits(), net.broadcast().to_bits(), position));
                }
            }
        }
        index.addresses.sort_unstable();
        index.addresses.dedup_by_key(|(ip, port, _)| (*ip, *port));
        index.v4 = Networks::new(v4);
        index.v6 = Networks::new(v6);
        index.names = Names::new(names);
        index
    }

    /// The position of the first entry that matches.
    pub(super) fn find(&self, host: Host<'_>, port: Option<u16>) -> Option<u32> {
        let found = match host {
            Host::Name(name) => self.names.find(name, port),
            Host::Ip(ip) => {
                let network = match ip {
                    IpAddr::V4(ip) => self.v4.find(ip.to_bits()),
                    IpAddr::V6(ip) => self.v6.find(ip.to_bits()),
                };
                lowest(network, port.and_then(|port| self.find_address(ip, port)))
            }
        };
        lowest(self.all, found)
    }

    fn find_address(&self, ip: IpAddr, port: u16) -> Option<u32> {
        let at = self
            .addresses
            .binary_search_by_key(&(ip, port), |(ip, port, _)| (*ip, *port))
            .ok()?;
        Some(self.addresses[at].2)
    }
}

/// A target's host, as the dialect sees it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Host<'a> {
    Name(&'a str),
    Ip(IpAddr),
}

fn lowest(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// The name rules, and where they are many a table over them.
#[derive(Debug, Clone, Default)]
struct Names {
    /// In list order for a scan; otherwise grouped by the hash of their name, in list order within a group.
    rules: Vec<(u32, NameRule)>,
    /// From a name's hash to its group's place in `rules`.
    groups: HashMap<u64, (u32, u32), BuildHasherDefault<Hashed>>,
}

impl Names {
    fn new(mut rules: Vec<(u32, NameRule)>) -> Self {
        let mut groups = HashMap::default();
        if rules.len() > SCAN {
            rules.sort_by_cached_key(|(position, rule)| (hash(&rule.name), *position));
            let mut start = 0;
            for group in rules.chunk_by(|(_, a), (_, b)| hash(&a.name) == hash(&b.name)) {
                let end = start + group.len();
                groups.insert(hash(&group[0].1.name), (start as u32, end as u32));
                start = end;
            }
        }
        Self { rules, groups }
    }

    fn find(&self, host: &str, port: Option<u16>) -> Option<u32> {
        if self.groups.is_empty() {
            let mut rules = self.rules.iter();
            return rules
                .find(|(_, rule)| rule.matches(host, port))
                .map(|(position, _)| *position);
        }
        let mut found = None;
        let mut hash = SEED;
        for (at, byte) in host.bytes().enumerate().rev() {
            hash = step(hash, byte);
            if at == 0 || host.as_bytes()[at - 1] == b'.' {
                if let Some(&(start, end)) = self.groups.get(&hash) {
                    let group = &self.rules[start as usize..end as usize];
                    let first = group.iter().find(|(_, rule)| rule.matches(host, port));
                    found = lowest(found, first.map(|(position, _)| *position));
                }
            }
        }
        found
    }
}

/// FNV-1a's constants; from the name's end, so that one pass over a host hashes all its parents. The table holds only
/// what the operator listed, so a crafted host can cost a comparison and nothing else.
const SEED: u64 = 0xcbf2_9ce4_8422_2325;

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

fn hash(name: &str) -> u64 {
    name.bytes().rev().fold(SEED, step)
}

/// The keys are hashes already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        // The table takes its bucket from the low and its tag from the high bits; FNV's high bits are the better ones.
        self.0 = hash.rotate_left(26);
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("the keys are u64");
    }
}

/// Blocks of addresses, sorted by their first one.
#[derive(Debug, Clone)]
struct Networks<T>(Vec<Block<T>>);

#[derive(Debug, Clone)]
struct Block<T> {
    first: T,
    last: T,
    position: u32,
    /// The smallest block around this one that is kept.
    parent: Option<u32>,
}

impl<T> Default for Networks<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Block<T> {
    fn new(first: T, last: T, position: u32) -> Self {
        Self {
            first,
            last,
            position,
            parent: None,
        }
    }
}

impl<T: Copy + Ord> Networks<T> {
    fn new(mut blocks: Vec<Block<T>>) -> Self {
        // Outer blocks before inner ones, and of equal blocks the first in the list.
        blocks.sort_unstable_by(|a, b| (a.first, b.last, a.position).cmp(&(b.first, a.last, b.position)));
        let mut kept: Vec<Block<T>> = Vec::with_capacity(blocks.len());
        for mut block in blocks {
            let mut around = kept.len().checked_sub(1);
            while let Some(at) = around.filter(|at| kept[*at].last < block.first) {
                around = kept[at].parent.map(|parent| parent as usize);
            }
            // A block within an earlier entry's is never the first match.
            if around.is_some_and(|at| kept[at].position < block.position) {
                continue;
            }
            block.parent = around.map(|at| at as u32);
            kept.push(block);
        }
        Self(kept)
    }

    fn find(&self, address: T) -> Option<u32> {
        let after = self.0.partition_point(|block| block.first <= address);
        let mut around = after.checked_sub(1);
        while let Some(at) = around {
            let block = &self.0[at];
            // Inner blocks are kept only where they come first in the list.
            if address <= block.last {
                return Some(block.position);
            }
            around = block.parent.map(|parent| parent as usize);
        }
        None
    }
}
