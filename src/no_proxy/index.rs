//! Looks up a host in a list of rules, in time that does not grow with the list.
//!
//! The result is the matching rule with the lowest rank. In a `NO_PROXY` list this is the *first* entry that matches,
//! as a reader of the list expects. In a settings file's `by_domain` it is the most specific pattern. Each table
//! returns its lowest matching rank, and [`Index::find`] returns the lowest of all tables.
//!
//! - Names: up to [`SCAN`] rules are compared one by one, which is faster than hashing. A longer list has a hash table
//!   of whole names, each with its port. A lookup hashes the host once from its end, and probes for each parent domain
//!   that is as long as some name. It ends with the longest of the names, however long the host is.
//! - Networks: a [`NetTable`].
//! - Addresses with a port: a sorted list.
//! - `*`, which lists seldom have, in the order of the list.
//!
//! A dialect that compares an address as text looks it up among the names. The texts of IPv6 addresses have a table of
//! their own, since no name may match a host in brackets.

use std::{borrow::Cow, net::IpAddr};

use super::{
    entry::{Rule, Scope},
    port::Port,
    seen::SeenHost,
};
use crate::{cidr::NetTable, host::Ipv4Text};

/// The largest number of name rules that are compared one by one.
const SCAN: usize = 8;

#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    /// The entries like `*`.
    all: Vec<All>,
    names: Names,
    networks: NetTable,
    v4_with_port: WithPort<u32>,
    v6_with_port: WithPort<u128>,
    v6_texts: Option<Box<V6Texts>>,
}

#[derive(Debug, Clone)]
struct All {
    rank: u32,
    port: Option<Port>,
    /// True if it matches names alone, and none that ends in `*`.
    names_only: bool,
}

/// The texts of IPv6 addresses, for the dialects that compare these.
#[derive(Debug, Clone, Default)]
struct V6Texts {
    whole: Names,
    /// The texts without the last `:` and the decimal digits after it, if there are any.
    before_digits: Names,
}

impl Index {
    /// Creates an index. `rules` are in ascending order of rank, each with its rank and its entry's offset in `text`.
    /// Names that are not written in their compared form are appended to `text`.
    pub(crate) fn new<'l>(rules: impl IntoIterator<Item = (u32, u32, Rule<'l>)>, text: &mut String) -> Self {
        let mut index = Self::default();
        for (rank, begin, rule) in rules {
            match rule {
                Rule::All { port, names_only } => index.all.push(All { rank, port, names_only }),
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
                    let names = match scope {
                        Scope::V6 => &mut index.v6_texts.get_or_insert_default().whole,
                        Scope::V6BeforeDigits => &mut index.v6_texts.get_or_insert_default().before_digits,
                        _ => &mut index.names,
                    };
                    names.rules.push(Name {
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
                Rule::Network(network) => index.networks.push(network, rank),
            }
        }
        index.v4_with_port.sort();
        index.v6_with_port.sort();
        index.networks.link();
        index.names.index(text);
        if let Some(texts) = &mut index.v6_texts {
            texts.whole.index(text);
            texts.before_digits.index(text);
        }
        index
    }

    /// Returns the lowest rank of the rules that match. `text` is the string that was passed to [`new`](Self::new).
    #[inline]
    pub(crate) fn find(&self, text: &str, host: SeenHost<'_>, port: Option<Port>) -> Option<u32> {
        let found = match host {
            SeenHost::Name(name) => self.names.find(text, name, port),
            SeenHost::V4(ip) => lowest(self.networks.find_v4(ip), self.v4_with_port.find(ip, port)),
            SeenHost::V6(ip) => lowest(self.networks.find_v6(ip), self.v6_with_port.find(ip, port)),
            host => self.find_text(text, host, port),
        };
        match self.all.is_empty() {
            true => found,
            false => lowest(self.find_all(host, port), found),
        }
    }

    /// Returns the lowest rank of the rules for an address that is compared as text.
    #[inline(never)]
    fn find_text(&self, text: &str, host: SeenHost<'_>, port: Option<Port>) -> Option<u32> {
        match host {
            SeenHost::V4AsWritten(ip, written) => {
                lowest(self.networks.find_v4(ip), self.names.find(text, written, None))
            }
            SeenHost::V4AsText(ip) => self.names.find(text, Ipv4Text::new(ip.into()).as_str(), port),
            SeenHost::V6AsWritten(written) => {
                let texts = self.v6_texts.as_ref()?;
                let before_digits = match written.rsplit_once(':') {
                    Some((before, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                        texts.before_digits.find(text, before, None)
                    }
                    _ => None,
                };
                lowest(texts.whole.find(text, written, port), before_digits)
            }
            SeenHost::Name(_) | SeenHost::V4(_) | SeenHost::V6(_) | SeenHost::Other => None,
        }
    }

    fn find_all(&self, host: SeenHost<'_>, port: Option<Port>) -> Option<u32> {
        let is_name = match host {
            SeenHost::Name(name) => !name.ends_with('*'),
            SeenHost::Other => true,
            _ => false,
        };
        let mut all = self.all.iter();
        let found = all.find(|all| (is_name || !all.names_only) && (all.port.is_none() || all.port == port))?;
        Some(found.rank)
    }
}

/// Addresses with a port, sorted.
#[derive(Debug, Clone)]
struct WithPort<T>(Vec<(T, Port, u32)>);

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

    fn find(&self, address: T, port: Option<Port>) -> Option<u32> {
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

fn lowest(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// The name rules, and a hash table of them if there are many.
#[derive(Debug, Clone, Default)]
struct Names {
    /// The rules in ascending order of rank.
    rules: Vec<Name>,
    /// The index plus 1 of the first rule for each hash value. Empty if the rules are compared one by one.
    table: Vec<u32>,
    lengths: Lengths,
    /// True if a rule in the table has a port.
    with_ports: bool,
}

#[derive(Debug, Clone)]
struct Name {
    /// The start of the name in the index's string.
    start: u32,
    end: u32,
    rank: u32,
    /// The index plus 1 of the next rule with the same hash value.
    next: u32,
    port: Option<Port>,
    scope: Scope,
}

impl Names {
    fn index(&mut self, text: &str) {
        if self.rules.len() <= SCAN {
            return;
        }
        self.table = vec![0; (2 * self.rules.len()).next_power_of_two()];
        // Iterates from the end, so that each chain is in ascending order of rank.
        for at in (0..self.rules.len()).rev() {
            let Name { port, .. } = self.rules[at];
            let name = self.rules[at].name(text.as_bytes());
            self.lengths.insert(name.len());
            self.with_ports |= port.is_some();
            let slot = self.slot(hash(name), port);
            self.unlink_repeated(slot, at, text.as_bytes());
            self.rules[at].next = std::mem::replace(&mut self.table[slot], at as u32 + 1);
        }
    }

    /// Removes the rule from the chain that is the same as that at `at`, so that no list makes a chain long.
    fn unlink_repeated(&mut self, slot: usize, at: usize, text: &[u8]) {
        let (mut before, mut next): (Option<usize>, u32) = (None, self.table[slot]);
        while let Some(other) = self.rules.get((next as usize).wrapping_sub(1)) {
            let after = other.next;
            if other.is_same(&self.rules[at], text) {
                match before {
                    None => self.table[slot] = after,
                    Some(before) => self.rules[before].next = after,
                }
                return;
            }
            (before, next) = (Some(next as usize - 1), after);
        }
    }

    fn slot(&self, hash: u64, port: Option<Port>) -> usize {
        let hash = match port {
            Some(port) => finish(hash, port.bits()),
            None => hash,
        };
        hash as usize & (self.table.len() - 1)
    }

    // Always, since the few callers beside the usual one would otherwise cost it a call.
    #[inline(always)]
    fn find(&self, text: &str, host: &str, port: Option<Port>) -> Option<u32> {
        let (text, host) = (text.as_bytes(), host.as_bytes());
        if self.table.is_empty() {
            let rule = self.rules.iter().find(|rule| rule.matches(text, host, port))?;
            return Some(rule.rank);
        }
        self.find_in_table(text, host, port)
    }

    fn find_in_table(&self, text: &[u8], host: &[u8], port: Option<Port>) -> Option<u32> {
        let mut found = None;
        for_each_parent(host, self.lengths.longest, |length, hash| {
            if self.lengths.contains(length) {
                let hash = hash();
                let mut probe = |slot: usize| {
                    let mut at: u32 = self.table[slot];
                    while let Some(rule) = self.rules.get((at as usize).wrapping_sub(1)) {
                        if (rule.end - rule.start) as usize == length && rule.matches(text, host, port) {
                            found = lowest(found, Some(rule.rank));
                            break;
                        }
                        at = rule.next;
                    }
                };
                probe(self.slot(hash, None));
                if self.with_ports && port.is_some() {
                    probe(self.slot(hash, port));
                }
            }
        });
        found
    }
}

impl Name {
    fn name<'l>(&self, text: &'l [u8]) -> &'l [u8] {
        &text[self.start as usize..self.end as usize]
    }

    fn is_same(&self, other: &Self, text: &[u8]) -> bool {
        (self.port, self.scope) == (other.port, other.scope) && self.name(text) == other.name(text)
    }

    /// Returns true if the rule matches `host`. Compares whole labels only.
    #[inline]
    fn matches(&self, text: &[u8], host: &[u8], port: Option<Port>) -> bool {
        let name = self.name(text);
        let (at_boundary, excluded) = match host.len().checked_sub(name.len()) {
            None => (false, Scope::Itself),
            Some(0) => (true, Scope::Below),
            Some(before) => (host[before - 1] == b'.', Scope::Itself),
        };
        at_boundary && host.ends_with(name) && self.scope != excluded && (self.port.is_none() || self.port == port)
    }
}

/// The lengths of the names, so that most parents of a host need no lookup.
#[derive(Debug, Clone, Copy, Default)]
struct Lengths {
    bits: [u64; 4],
    longest: usize,
}

impl Lengths {
    fn insert(&mut self, length: usize) {
        if let Some(bits) = self.bits.get_mut(length / 64) {
            *bits |= 1 << (length % 64);
        }
        self.longest = self.longest.max(length);
    }

    fn contains(&self, length: usize) -> bool {
        self.bits
            .get(length / 64)
            .is_some_and(|bits| bits & (1 << (length % 64)) != 0)
    }
}

/// The word size of the hash. Names are hashed from the end, so that one pass over a host covers all its parents. The
/// table holds only the operator's names, so a crafted host can cause comparisons and nothing else.
const WORD: usize = 8;

/// Returns the last eight bytes, with the last byte in the lowest bits. Missing bytes are zero.
fn last_word(bytes: &[u8]) -> u64 {
    match bytes.last_chunk::<WORD>() {
        Some(word) => u64::from_be_bytes(*word),
        None => bytes.iter().fold(0, |word, b| word << 8 | u64::from(*b)),
    }
}

fn step(state: u64, word: u64) -> u64 {
    (state.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// Returns the hash after the steps so far and a last part shorter than a word.
fn finish(state: u64, rest: u64) -> u64 {
    // Only the highest bits of a product depend on all bits of its factors, and a slot is made of the lowest.
    step(state, rest).swap_bytes()
}

fn hash(mut name: &[u8]) -> u64 {
    let mut state = 0;
    while let Some((before, word)) = name.split_last_chunk::<WORD>() {
        state = step(state, u64::from_be_bytes(*word));
        name = before;
    }
    finish(state, last_word(name))
}

/// Calls `with` for each of the host's parents, shortest first, and for the host itself, with its length and hash. Ends
/// after the parents that have at most `longest` bytes.
fn for_each_parent(host: &[u8], longest: usize, mut with: impl FnMut(usize, &dyn Fn() -> u64)) {
    let (mut state, mut rest) = (0, host);
    while host.len() - rest.len() <= longest {
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

/// Returns a mask with the highest bit set in each byte of the word that equals `byte`. (The bit may also be set in the
/// next higher byte if that differs in its lowest bit only. The caller compares the names in the end.)
fn bytes_equal_to(byte: u8, word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let zero_where_equal = word ^ (ONES * u64::from(byte));
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & (ONES << 7)
}
