//! The `NO_PROXY` list, entry by entry, as each program reads it.

use super::{
    finding::{Finding, ListEntry},
    probe::{Meaning, Probe, Targets, loopback},
    programs::{Panel, Votes},
};
use crate::{
    config::{ProxyConfig, ProxyServer},
    dialect::Dialect,
    no_proxy::NoProxy,
    redact::redacted_entry,
    target::Target,
};

/// A list as each program of the panel reads it, in front of a proxy for every target.
pub(super) struct Lists<'p> {
    panel: &'p Panel,
    configs: Vec<Option<ProxyConfig>>,
}

impl<'p> Lists<'p> {
    pub(super) fn new(panel: &'p Panel, list: &str) -> Self {
        let read = |dialect: &Dialect| {
            let proxy = "http://proxy.invalid:3128".parse::<ProxyServer>().ok()?;
            let list = NoProxy::lenient(list, *dialect);
            let builder = ProxyConfig::builder().dialect(*dialect).no_proxy(list);
            builder.http(proxy.clone()).https(proxy).build().ok()
        };
        Self {
            panel,
            configs: panel.dialects().iter().map(read).collect(),
        }
    }

    /// Returns the programs that reach the target directly.
    pub(super) fn direct(&self, target: &Target<'_>) -> Votes {
        let is_direct = |config: &Option<ProxyConfig>| {
            let config = config.as_ref();
            config.is_some_and(|config| config.route(target).proxy().is_none())
        };
        self.panel.votes(self.configs.iter().map(is_direct))
    }

    /// Returns the reason why the first of these programs that rejects the entry does so.
    fn rejection(&self, programs: Votes, entry: &str) -> Option<&'static str> {
        self.panel.members(programs).find_map(|(place, _)| {
            let mut rejected = self.configs[place].as_ref()?.no_proxy().rejected().iter();
            rejected
                .find(|error| error.entry() == entry)
                .map(|error| error.reason())
        })
    }

    /// Returns the programs that reject the entry.
    fn rejecting(&self, entry: &str) -> Votes {
        let mut votes = Votes::default();
        for (place, _) in self.panel.members(self.panel.all()) {
            let vote = self.panel.only(place);
            if self.rejection(vote, entry).is_some() {
                votes = votes.or(vote);
            }
        }
        votes
    }
}

/// Splits a list as its author may have meant it.
pub(super) fn entries(list: &str) -> Vec<&str> {
    let separators = |c: char| matches!(c, ',' | ';' | '|') || c.is_whitespace();
    list.split(separators).filter(|entry| !entry.is_empty()).collect()
}

/// Reports the differences between the programs in their readings of a list.
pub(super) fn check(panel: &Panel, setting: &str, list: &str, findings: &mut Vec<Finding>) {
    let mut differences = Differences {
        panel,
        whole: Lists::new(panel, list),
        commas: Lists::new(panel, &entries(list).join(",")),
        seen: Vec::new(),
        named: Vec::new(),
        rare: Vec::new(),
        network: None,
        findings,
    };
    for (text, position) in entries(list).into_iter().zip(1..) {
        differences.of_entry(
            text,
            &ListEntry {
                setting: setting.to_owned(),
                position,
                text: redacted_entry(text),
            },
        );
    }
    differences.of_loopback();
    let network = differences.network.map(|entry| Finding::AddressesAlone { entry });
    let notes: Vec<_> = network.into_iter().chain(differences.rare).collect();
    findings.extend(notes);
}

struct Differences<'p, 'f> {
    panel: &'p Panel,
    whole: Lists<'p>,
    /// The same entries, separated by commas alone.
    commas: Lists<'p>,
    /// The targets that a finding already names.
    seen: Vec<Target<'static>>,
    /// The targets that entries are for.
    named: Vec<Target<'static>>,
    rare: Vec<Finding>,
    /// The first entry that is a network.
    network: Option<ListEntry>,
    findings: &'f mut Vec<Finding>,
}

impl Differences<'_, '_> {
    fn of_entry(&mut self, text: &str, entry: &ListEntry) {
        let alone = Lists::new(self.panel, text);
        let Some(meaning) = Meaning::of(text) else {
            let never = alone.rejecting(&entry.text);
            return self.never(entry, never, alone.rejection(never, &entry.text));
        };
        if matches!(meaning, Meaning::Network(_)) {
            self.network.get_or_insert_with(|| entry.clone());
        }
        let probes = meaning.probes();
        let usual: Vec<_> = probes.iter().filter(|probe| probe.unusual.is_none()).collect();
        let wanted: Vec<_> = usual.iter().filter(|probe| probe.wanted).collect();
        let of = |lists: &Lists<'_>, probe: &Probe| lists.direct(&probe.target);
        self.named.extend(wanted.iter().map(|probe| probe.target.clone()));
        let all = self.panel.all();
        let mut matched = Votes::default();
        let (mut missed, mut lost, mut mended) = (Votes::default(), Votes::default(), Votes::default());
        for probe in wanted {
            let (alone, whole) = (of(&alone, probe), of(&self.whole, probe));
            matched = matched.or(alone);
            missed = missed.or(all.without(whole));
            lost = lost.or(alone.without(whole));
            mended = mended.or(of(&self.commas, probe).without(whole));
        }
        let never = all.without(matched).and(missed);
        let separated = lost.and(mended);
        let lost = lost.without(separated);
        self.never(entry, never, alone.rejection(never, &entry.text));
        self.never(entry, lost, self.whole.rejection(lost, &entry.text));
        if !separated.is_empty() {
            self.findings.push(Finding::Separator {
                entry: entry.clone(),
                programs: self.panel.programs(separated),
            });
        }
        let rest = all.without(never).without(lost).without(separated);
        let groups = self.groups(usual.into_iter().map(|probe| &probe.target), rest);
        for (targets, direct, proxied) in groups {
            self.findings.push(Finding::Differs {
                entry: entry.clone(),
                targets: Targets::new(targets),
                direct: self.panel.programs(direct),
                proxied: self.panel.programs(proxied),
            });
        }
        self.of_unusual(&probes);
    }

    fn never(&mut self, entry: &ListEntry, programs: Votes, reason: Option<&'static str>) {
        if !programs.is_empty() {
            self.findings.push(Finding::Never {
                entry: entry.clone(),
                programs: self.panel.programs(programs),
                // The finding names the programs.
                reason: reason.map(|reason| reason.strip_prefix("in this dialect ").unwrap_or(reason)),
            });
        }
    }

    fn of_loopback(&mut self) {
        let probes = loopback();
        let named = std::mem::take(&mut self.named);
        let usual = probes
            .iter()
            .filter(|probe| probe.unusual.is_none() && !named.contains(&probe.target));
        for (targets, direct, proxied) in self.groups(usual.map(|probe| &probe.target), self.panel.all()) {
            self.findings.push(Finding::Loopback {
                targets: Targets::new(targets),
                direct: self.panel.programs(direct),
                proxied: self.panel.programs(proxied),
            });
        }
        self.of_unusual(&probes);
    }

    /// Groups the targets on which these programs differ. Each target is in one group of one call alone.
    fn groups<'t>(
        &mut self,
        targets: impl Iterator<Item = &'t Target<'static>>,
        programs: Votes,
    ) -> Vec<(Vec<Target<'static>>, Votes, Votes)> {
        let mut groups: Vec<(Vec<Target<'static>>, Votes, Votes)> = Vec::new();
        for target in targets {
            let direct = self.whole.direct(target).and(programs);
            let proxied = programs.without(direct);
            if direct.is_empty() || proxied.is_empty() || self.seen.contains(target) {
                continue;
            }
            self.seen.push(target.clone());
            match groups.iter_mut().find(|(_, other, _)| *other == direct) {
                Some((targets, ..)) => targets.push(target.clone()),
                None => groups.push((vec![target.clone()], direct, proxied)),
            }
        }
        groups
    }

    /// Notes the first example of each peculiarity on which programs differ.
    fn of_unusual(&mut self, probes: &[Probe]) {
        for probe in probes {
            let Some(unusual) = probe.unusual else { continue };
            let direct = self.whole.direct(&probe.target);
            let proxied = self.panel.all().without(direct);
            let is_noted =
                |finding: &Finding| matches!(finding, Finding::Rare { unusual: noted, .. } if *noted == unusual);
            if direct.is_empty() || proxied.is_empty() || self.rare.iter().any(is_noted) {
                continue;
            }
            self.rare.push(Finding::Rare {
                unusual,
                example: Targets::new(vec![probe.target.clone()]),
                direct: self.panel.programs(direct),
                proxied: self.panel.programs(proxied),
            });
        }
    }
}
