//! Palpo's `by_domain`: a list of proxies, each with the names it is for and the names it is not for.
//!
//! Of all patterns that match a target the most specific one decides: an exact name or address, then `*.` with the longest
//! name, then `*`. A look-up allocates nothing, and its time depends on the target and the number of proxies, not on the
//! number of their patterns.

use std::{borrow::Cow, cmp::Reverse, net::IpAddr, sync::Arc};

use super::ProxyServer;
use crate::{
    dialect::Dialect,
    host::{dns_name, ends_in_a_number, parse_ipv6, split_brackets},
    no_proxy::{Index, Rule, Scope, seen_by},
    target::Target,
};

/// The proxies of a `by_domain`. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByDomain(Arc<[DomainProxy]>);

#[derive(Debug)]
pub(crate) struct DomainProxy {
    pub(crate) proxy: ProxyServer,
    /// An empty list is for every target.
    pub(crate) include: Patterns,
    pub(crate) exclude: Patterns,
}

/// The proxy for a target, and the reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'d> {
    pub(crate) proxy: &'d ProxyServer,
    /// The proxy's place in the list, from 0.
    pub(crate) index: usize,
    /// The pattern that matches, with its place, from 0. `None` where the proxy has no `include`.
    pub(crate) include: Option<(usize, &'d str)>,
}

impl ByDomain {
    pub(crate) fn new(proxies: Vec<DomainProxy>) -> Self {
        Self(proxies.into())
    }

    pub(crate) fn proxies(&self) -> &[DomainProxy] {
        &self.0
    }

    /// The proxy whose pattern for the target is the most specific; of equals the first.
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
            let pattern = include.at.map(|at| (at, &*patterns.texts()[at]));
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
    /// The patterns as they were written.
    texts: Vec<String>,
    /// The most specific one first.
    ranked: Vec<Match>,
    index: Index,
    /// The text that the index points into.
    names: String,
}

#[derive(Clone, Copy, Debug)]
struct Match {
    /// The length of the name that is compared: of two patterns that match one target, the longer is more specific.
    specificity: usize,
    /// The pattern's place.
    at: Option<usize>,
}

impl Patterns {
    /// Reads patterns.
    ///
    /// # Errors
    ///
    /// The place of the first pattern that can match nothing, and the reason.
    pub(crate) fn new(texts: Vec<String>) -> Result<Self, (usize, &'static str)> {
        let parse = |(at, text): (usize, &String)| {
            let (rule, specificity) = parse(text.trim()).map_err(|reason| (at, reason))?;
            Ok((
                Match {
                    specificity,
                    at: Some(at),
                },
                rule,
            ))
        };
        let mut rules = texts.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        // Of patterns that are equally specific, the first in the list comes first.
        rules.sort_by_key(|(found, _)| Reverse(found.specificity));
        let ranked = rules.iter().map(|(found, _)| *found).collect();
        let mut names = String::new();
        let index = Index::new((0..).zip(rules).map(|(rank, (_, rule))| (rank, 0, rule)), &mut names);
        Ok(Self {
            texts,
            ranked,
            index,
            names,
        })
    }

    pub(crate) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// The most specific pattern that matches.
    fn find(&self, target: &Target<'_>) -> Option<Match> {
        let host = seen_by(target, Dialect::Standard);
        let rank = self.index.find(&self.names, host, target.port())?;
        Some(self.ranked[rank as usize])
    }
}

/// Reads a pattern as a rule, with its specificity.
fn parse(pattern: &str) -> Result<(Rule<'static>, usize), &'static str> {
    if pattern.is_empty() {
        return Err("the pattern is empty");
    }
    if pattern == "*" {
        return Ok((Rule::All, 0));
    }
    if pattern.contains("://") {
        return Err("it is a URL; only its host belongs here");
    }
    if pattern.contains('/') {
        return Err("a network is not a pattern (`no_proxy` can have one)");
    }
    if let Ok(ip) = pattern.parse() {
        return Ok(address(ip));
    }
    if let Some(split) = split_brackets(pattern) {
        let (inner, rest) = split?;
        let ip = parse_ipv6(inner)?;
        return match rest {
            "" => Ok(address(ip.into())),
            _ => Err("a pattern cannot have a port"),
        };
    }
    if pattern.contains(':') {
        return Err("a pattern cannot have a port");
    }
    let (name, scope) = match pattern.strip_prefix("*.") {
        Some(name) => (name, Scope::Below),
        None => (pattern, Scope::Itself),
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
    let specificity = name.len();
    let name = Cow::Owned(name.into_owned());
    Ok((
        Rule::Name {
            name,
            offset: 0,
            scope,
            port: None,
        },
        specificity,
    ))
}

fn address(ip: IpAddr) -> (Rule<'static>, usize) {
    (Rule::Network(ip.to_canonical().into()), usize::MAX)
}
