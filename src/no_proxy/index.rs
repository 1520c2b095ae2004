//! Looks a host up in a list of rules, in time that does not grow with the list.
//!
//! The answer is the rule of the lowest rank that matches: in a `NO_PROXY` list the *first* entry, which a reader of the
//! list would point at, and in a settings file's `by_domain` the most specific pattern. Each table keeps the lowest rank
//! for what it matches, and [`Index::find`] takes the lowest of the tables.
//!
//! - Names: up to [`SCAN`] rules are compared one by one, which is faster than hashing. A longer list has a hash table of
//!   whole names; a look-up hashes the host once from its end and probes for each parent whose length some name has.
//! - Networks: a [`NetTable`].
//! - Addresses with a port: a sorted list.

use std::{borrow::Cow, net::IpAddr};

use super::entry::{Rule, Scope};
use crate::net::NetTable;

/// The largest number of name rules that are scanned.
const SCAN: usize = 8;

#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    /// The rank of `*`.
    all: Option<u32>,
    names: Names,
    networks: NetTable,
    v4_with_port: WithPort<u32>,
    v6_with_port: WithPort<u128>,
}

impl Index {
    /// `rules` come by ascending rank, each with its rank and the place in `text` where its entry begins. Names that are
    /// compared otherwise than they are written there are added to `text`.
    pub(crate) fn new<'l>(rules: impl IntoIterator<Item = (u32, u32, Rule<'l>)>, text: &mut String) -> Self {
        let mut index = Self::default();
        let mut networks = Vec::new();
        for (rank, begin, rule) in rules {
            match rule {
                Rule::All => index.all = index.all.or(Some(rank)),
                Rule::Name {
                    name,
                    offset,
                    scope,
                    port,
                } => {
                    let start = match name {
                        Cow::Borrowed(_) => begin as usize + offset,
                        Cow::Owned(_) => text.len(),
                    };
                    if let Cow::Owned(name) = &name {
                        text.push_str(name);
                    }
                    index.names.rules.push(Name {
                        start: start as u32,
                        end: (start + name.len()) as u32,
                        rank,
                        next: 0,
                        port,
                        scope,
                    });
                }
                Rule::Address {
                    ip: IpAddr::V4(ip),
                    port,
                } => index.v4_with_port.0.push((ip.to_bits(), port, rank)),
                Rule::Address {
                    ip: IpAddr::V6(ip),
                    port,
                } => index.v6_with_port.0.push((ip.to_bits(), port, rank)),
                Rule::Network(network) => networks.push((network, rank)),
            }
        }
        index.v4_with_port.sort();
        index.v6_with_port.sort();
        index.networks = NetTable::new(networks);
        index.names.index(text);
        index
    }

    /// The lowest rank of the rules that match. `text` is the one that [`new`](Self::new) returned with.
    pub(crate) fn find(&self, text: &str, host: SeenHost<'_>, port: Option<u16>) -> Option<u32> {
        let found = match host {
            SeenHost::Name(name) => self.names.find(text, name, port),
            SeenHost::V4(ip) => lowest(self.networks.find_v4(ip), self.v4_with_port.find(ip, port)),
            SeenHost::V6(ip) => lowest(self.networks.find_v6(ip), self.v6_with_port.find(ip, port)),
        };
        lowest(self.all, found)
    }
}

/// Addresses that are listed with a port, sorted.
#[derive(Debug, Clone)]
struct WithPort<T>(Vec<(T, u16, u32)>);

impl<T> Default for WithPort<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy + Ord> WithPort<T> {
    fn sort(&mut self) {
        self.0.sort_unstable();
        self.0.dedup_by_key(|(address, port, _)| (*address, *port));
    }

    fn find(&self, address: T, port: Option<u16>) -> Option<u32> {
        if self.0.is_empty() {
            return None;
        }
        let key = (address, port?);
        let at = self
            .0
            .binary_search_by_key(&key, |(address, port, _)| (*address, *port))
            .ok()?;
        Some(self.0[at].2)
    }
}

/// A target's host, as the dialect sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SeenHost<'a> {
    Name(&'a str),
    V4(u32),
    V6(u128),
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
    /// In list order.
    rules: Vec<Name>,
    /// For each value of a hash the first rule's place and 1. Empty where a scan is used.
    table: Vec<u32>,
    lengths: Lengths,
}

#[derive(Debug, Clone)]
struct Name {
    /// Where its name is in the list's text.
    start: u32,
    end: u32,
    rank: u32,
    /// The place and 1 of the next rule with the same value of the hash.
    next: u32,
    port: Option<u16>,
    scope: Scope,
}

impl Names {
    fn index(&mut self, text: &str) {
        if self.rules.len() <= SCAN {
            return;
        }
        self.table = vec![0; (2 * self.rules.len()).next_power_of_two()];
        // From the end, so that each chain is in list order.
        for (at, rule) in self.rules.iter_mut().enumerate().rev() {
            let name = &text.as_bytes()[rule.start as usize..rule.end as usize];
            self.lengths.insert(name.len());
            let slot = hash(name) as usize & (self.table.len() - 1);
            rule.next = std::mem::replace(&mut self.table[slot], at as u32 + 1);
        }
    }

    fn find(&self, text: &str, host: &str, port: Option<u16>) -> Option<u32> {
        let (text, host) = (text.as_bytes(), host.as_bytes());
        if self.table.is_empty() {
            let rule = self.rules.iter().find(|rule| rule.matches(text, host, port))?;
            return Some(rule.rank);
        }
        let mut found = None;
        for_each_parent(host, |length, hash| {
            if self.lengths.contains(length) {
                let mut at = self.table[hash() as usize & (self.table.len() - 1)];
                while let Some(rule) = self.rules.get((at as usize).wrapping_sub(1)) {
                    if (rule.end - rule.start) as usize == length && rule.matches(text, host, port) {
                        found = lowest(found, Some(rule.rank));
                        break;
                    }
                    at = rule.next;
                }
            }
        });
        found
    }
}

impl Name {
    /// Returns true if the rule is for `host`; whole labels only.
    fn matches(&self, text: &[u8], host: &[u8], port: Option<u16>) -> bool {
        let name = &text[self.start as usize..self.end as usize];
        let at_boundary = match host.len().checked_sub(name.len()) {
            None => false,
            Some(0) => self.scope != Scope::Below,
            Some(before) => self.scope != Scope::Itself && host[before - 1] == b'.',
        };
        at_boundary && host.ends_with(name) && (self.port.is_none() || self.port == port)
    }
}

/// The lengths that names have: most parents of a host need not be looked up.
#[derive(Debug, Clone, Copy, Default)]
struct Lengths([u64; 4]);

impl Lengths {
    fn insert(&mut self, length: usize) {
        if let Some(bits) = self.0.get_mut(length / 64) {
            *bits |= 1 << (length % 64);
        }
    }

    fn contains(self, length: usize) -> bool {
        self.0
            .get(length / 64)
            .is_some_and(|bits| bits & (1 << (length % 64)) != 0)
    }
}

/// A name is hashed from its end in words of eight bytes, so that one pass over a host meets all its parents. The table
/// holds only what the operator listed, so a crafted host can cost a comparison and nothing else.
const WORD: usize = 8;

/// The last eight bytes, the very last one lowest; zeros where there are fewer.
fn last_word(bytes: &[u8]) -> u64 {
    match bytes.last_chunk::<WORD>() {
        Some(word) => u64::from_be_bytes(*word),
        None => bytes.iter().fold(0, |word, b| word << 8 | u64::from(*b)),
    }
}

fn step(state: u64, word: u64) -> u64 {
    (state.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// The hash of what was stepped over and less than a word.
fn finish(state: u64, rest: u64) -> u64 {
    let hash = step(state, rest);
    hash ^ (hash >> 32)
}

fn hash(mut name: &[u8]) -> u64 {
    let mut state = 0;
    while let Some((before, word)) = name.split_last_chunk::<WORD>() {
        state = step(state, u64::from_be_bytes(*word));
        name = before;
    }
    finish(state, last_word(name))
}

/// Calls back for the host and each of its parents, shortest first, with its length and its hash.
fn for_each_parent(host: &[u8], mut with: impl FnMut(usize, &dyn Fn() -> u64)) {
    let (mut state, mut rest) = (0, host);
    loop {
        let word = last_word(rest);
        let mut dots = bytes_equal_to(b'.', word);
        while dots != 0 {
            let after = dots.trailing_zeros() / 8;
            let part = word & !(u64::MAX << (8 * after));
            with(host.len() - rest.len() + after as usize, &|| finish(state, part));
            dots &= dots - 1;
        }
        let Some(before) = rest.len().checked_sub(WORD) else {
            return with(host.len(), &|| finish(state, word));
        };
        state = step(state, word);
        rest = &rest[..before];
    }
}

/// The highest bit of each byte of the word that is this one. (It may be set above such a byte for one that differs in
/// its lowest bit only; whoever asks compares names in the end.)
fn bytes_equal_to(byte: u8, word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let zero_where_equal = word ^ (ONES * u64::from(byte));
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & (ONES << 7)
}
