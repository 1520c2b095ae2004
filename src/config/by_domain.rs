//! Palpo's `by_domain`: a list of proxies, each with the names it is for and the names it is not for.
//!
//! Of everything that matches a target the most specific pattern decides: an exact name or address, then `*.` with the
//! longest name, then `*`. A look-up allocates nothing and takes time by the target's labels and the number of proxies,
//! however many patterns they have.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use super::ProxyServer;
use crate::target::{Target, dns_name, ends_in_a_number};

/// The proxies of a `by_domain`. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByDomain(Arc<[DomainProxy]>);

#[derive(Debug)]
pub(crate) struct DomainProxy {
    pub(crate) proxy: ProxyServer,
    /// With none, it is for every target.
    pub(crate) include: Patterns,
    pub(crate) exclude: Patterns,
}

/// The proxy that is for a target, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'d> {
    pub(crate) proxy: &'d ProxyServer,
    /// Its place in the list, from 0.
    pub(crate) index: usize,
    /// The pattern that matches, with its place, from 0. `None` where no pattern is needed.
    pub(crate) include: Option<(usize, &'d str)>,
}

impl ByDomain {
    pub(crate) fn new(proxies: Vec<DomainProxy>) -> Self {
        Self(proxies.into())
    }

    pub(crate) fn proxies(&self) -> &[DomainProxy] {
        &self.0
    }

    /// Of the proxies that are for the target the one with the most specific pattern, of equals the first.
    pub(crate) fn find(&self, target: &Target<'_>) -> Option<Found<'_>> {
        let mut best: Option<(Match, usize)> = None;
        for (index, domains) in self.0.iter().enumerate() {
            let Some(include) = domains.include_of(target) else {
                continue;
            };
            let exclude = domains.exclude.find(target);
            let is_excluded = exclude.is_some_and(|exclude| exclude.specificity >= include.specificity);
            if !is_excluded && best.is_none_or(|(best, _)| include.specificity > best.specificity) {
                best = Some((include, index));
            }
        }
        best.map(|(include, index)| {
            let DomainProxy {
                proxy,
                include: patterns,
                ..
            } = &self.0[index];
            let pattern = include.at.map(|at| (at, &*patterns.texts[at]));
            Found {
                proxy,
                index,
                include: pattern,
            }
        })
    }
}

impl DomainProxy {
    fn include_of(&self, target: &Target<'_>) -> Option<Match> {
        match self.include.texts.is_empty() {
            true => Some(Match {
                specificity: 0,
                at: None,
            }),
            false => self.include.find(target),
        }
    }
}

/// A list of patterns.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    /// As they were written.
    texts: Vec<String>,
    every: Option<usize>,
    addresses: HashMap<IpAddr, usize>,
    names: HashMap<String, OfName>,
}

/// The first patterns with one name.
#[derive(Debug, Default)]
struct OfName {
    itself: Option<usize>,
    below: Option<usize>,
}

#[derive(Clone, Copy)]
struct Match {
    /// The length of the name that is compared: of two patterns that match one target, the longer says more.
    specificity: usize,
    /// The pattern's place.
    at: Option<usize>,
}

impl Patterns {
    /// Adds a pattern, or says why it can match nothing.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), &'static str> {
        let at = self.texts.len();
        match parse(text.trim())? {
            Pattern::Every => _ = self.every.get_or_insert(at),
            Pattern::Address(ip) => _ = self.addresses.entry(ip).or_insert(at),
            Pattern::Name(name) => _ = self.names.entry(name).or_default().itself.get_or_insert(at),
            Pattern::Below(name) => _ = self.names.entry(name).or_default().below.get_or_insert(at),
        }
        self.texts.push(text.to_owned());
        Ok(())
    }

    pub(crate) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// The most specific pattern that matches.
    fn find(&self, target: &Target<'_>) -> Option<Match> {
        let found = match (target.ip(), target.name()) {
            (Some(ip), _) => self.addresses.get(&canonical(ip)).map(|at| (usize::MAX, *at)),
            (None, Some(name)) => self.find_name(name),
            (None, None) => None,
        };
        let (specificity, at) = found.or(self.every.map(|at| (0, at)))?;
        Some(Match {
            specificity,
            at: Some(at),
        })
    }

    fn find_name(&self, host: &str) -> Option<(usize, usize)> {
        if self.names.is_empty() {
            return None;
        }
        if let Some(at) = self.names.get(host).and_then(|name| name.itself) {
            return Some((host.len(), at));
        }
        host.match_indices('.').find_map(|(dot, _)| {
            let parent = &host[dot + 1..];
            Some((parent.len(), self.names.get(parent)?.below?))
        })
    }
}

enum Pattern {
    Every,
    Address(IpAddr),
    Name(String),
    /// Its subdomains, not itself.
    Below(String),
}

fn parse(pattern: &str) -> Result<Pattern, &'static str> {
    if pattern.is_empty() {
        return Err("the pattern is empty");
    }
    if pattern == "*" {
        return Ok(Pattern::Every);
    }
    if pattern.contains("://") {
        return Err("it is a URL; only its host belongs here");
    }
    if pattern.contains('/') {
        return Err("a network is no pattern here (`no_proxy` can have one)");
    }
    if let Ok(ip) = pattern.parse::<IpAddr>() {
        return Ok(Pattern::Address(canonical(ip)));
    }
    if let Some(inner) = pattern.strip_prefix('[') {
        let (ip, rest) = inner
            .split_once(']')
            .ok_or("the bracket around the IPv6 address is not closed")?;
        let ip: Ipv6Addr = ip
            .parse()
            .map_err(|_| "what stands in brackets is not an IPv6 address")?;
        return match rest {
            "" => Ok(Pattern::Address(canonical(ip.into()))),
            _ => Err("a pattern has no port"),
        };
    }
    if pattern.contains(':') {
        return Err("a pattern has no port");
    }
    let (name, below) = match pattern.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (pattern, false),
    };
    if name.contains('*') {
        return Err("`*` can only stand alone or as the first label (`*.example.com`)");
    }
    if name.starts_with('.') {
        return Err("the name has an empty label (subdomains are `*.example.com`)");
    }
    let name = dns_name(name)?;
    if ends_in_a_number(&name) {
        return Err("it ends in a number, but is not an IPv4 address");
    }
    let name = name.into_owned();
    Ok(match below {
        true => Pattern::Below(name),
        false => Pattern::Name(name),
    })
}

/// An IPv4-mapped IPv6 address is its IPv4 address.
fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}
