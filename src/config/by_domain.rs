//! Palpo's `by_domain`: a list of proxies, each with the patterns of hosts that it includes and excludes.
//!
//! The most specific pattern that matches a target decides: an exact name or address, then `*.` with the longest name,
//! then `*`. A lookup does not allocate. Its time depends on the target and the number of proxies, not on the number of
//! patterns.

use std::{borrow::Cow, cmp::Reverse, net::IpAddr, sync::Arc};

use super::ProxyServer;
use crate::{
    dialect::Dialect,
    host::{QUOTED, dns_name, ends_in_a_number, is_quoted, parse_ipv6, split_brackets},
    no_proxy::{Index, Rule, Scope, seen_by},
    target::Target,
};

/// The proxies of a `by_domain` list. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByDomain(Arc<[DomainProxy]>);

#[derive(Debug)]
pub(crate) struct DomainProxy {
    pub(crate) proxy: ProxyServer,
    /// An empty list includes every target.
    pub(crate) include: Patterns,
    pub(crate) exclude: Patterns,
}

/// The proxy for a target and the reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'d> {
    pub(crate) proxy: &'d ProxyServer,
    /// The proxy's index in the list, counted from 0.
    pub(crate) index: usize,
    /// The pattern that matches and its index, counted from 0. `None` if the proxy has no `include`.
    pub(crate) include: Option<(usize, &'d str)>,
}

impl ByDomain {
    pub(crate) fn new(proxies: Vec<DomainProxy>) -> Self {
        Self(proxies.into())
    }

    pub(crate) fn proxies(&self) -> &[DomainProxy] {
        &self.0
    }

    /// Returns the proxy with the most specific pattern that matches the target. The first proxy wins a tie.
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
    /// The patterns' matches, the most specific first.
    ranked: Vec<Match>,
    index: Index,
    /// The string that the index points into.
    names: String,
}

#[derive(Clone, Copy, Debug)]
struct Match {
    /// The length of the compared name. If two patterns match one target, the longer is more specific.
    specificity: usize,
    /// The pattern's index in the list.
    at: Option<usize>,
}

impl Patterns {
    /// Parses patterns.
    ///
    /// # Errors
    ///
    /// Returns the index of the first pattern that can match nothing, and the reason.
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
        // The sort is stable: equally specific patterns stay in list order.
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

    /// Returns the most specific pattern that matches.
    fn find(&self, target: &Target<'_>) -> Option<Match> {
        let host = seen_by(target, Dialect::Standard.rules());
        // No pattern has a port.
        let rank = self.index.find(&self.names, host, None)?;
        Some(self.ranked[rank as usize])
    }
}

/// Parses a pattern into a rule and its specificity.
fn parse(pattern: &str) -> Result<(Rule<'static>, usize), &'static str> {
    if pattern.is_empty() {
        return Err("the pattern is empty");
    }
    if pattern == "*" {
        return Ok((Rule::ALL, 0));
    }
    if is_quoted(pattern) {
        return Err(QUOTED);
    }
    if pattern.contains("://") {
        return Err("expected a host, found a URL");
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
        return Err("not a valid IPv4 address");
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
