//! A `NO_PROXY` list that means the same to all programs, or to most.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{
    Programs, Targets,
    list::{Lists, entries},
    probe::{Below, Meaning, Probe, loopback},
    programs::{Panel, Votes},
};
use crate::{
    host::{Host, HostPort},
    target::Target,
};

/// The largest network whose addresses are listed one by one.
const LISTED: usize = 8;

/// A `NO_PROXY` list that means the same to these programs.
///
/// It was found by trying other spellings of each entry, and it is returned only after each of these programs has
/// decided the same for every target that shows how the entries, before and after, are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    list: String,
    programs: Programs,
    blocking: Vec<String>,
    widened: Targets,
}

impl Suggestion {
    /// Returns the list.
    #[must_use]
    pub fn list(&self) -> &str {
        &self.list
    }

    /// Returns the programs to which it means the same. If these are [not all](Programs::is_all), no list was found
    /// that means the same to all.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Returns the entries of which no spelling means the same to all programs.
    #[must_use]
    pub fn blocking(&self) -> &[String] {
        &self.blocking
    }

    /// Returns targets that this list exempts, and that the list that is set is not meant to: one for each entry that
    /// became wider, such as `example.com` in place of `.example.com`. Some programs exempt them anyway.
    #[must_use]
    pub fn widened(&self) -> &Targets {
        &self.widened
    }
}

/// Returns a list with the same entries that means the same to as many programs as possible.
pub(super) fn suggest(panel: &Panel, list: &str) -> Option<Suggestion> {
    // An entry that is not understood matches nothing that is known.
    let understood = entries(list)
        .into_iter()
        .filter_map(|entry| Some((entry, Meaning::of(entry)?)));
    let understood: Vec<_> = understood.collect();
    let best = |(entry, meaning): &(&str, Meaning)| {
        let rated = spellings(entry, meaning)
            .into_iter()
            .map(|text| rate(panel, text, meaning));
        rated.reduce(|best, next| {
            if next.votes.len() > best.votes.len() {
                next
            } else {
                best
            }
        })
    };
    let best: Vec<_> = understood.iter().filter_map(best).collect();
    let agreeing = best.iter().fold(panel.all(), |votes, best| votes.and(best.votes));
    let mut texts: Vec<&str> = Vec::new();
    for best in &best {
        if !texts.contains(&best.text.as_str()) {
            texts.push(&best.text);
        }
    }
    if texts.contains(&"*") {
        texts = vec!["*"];
    }
    let missing = ["localhost", "127.0.0.1"]
        .into_iter()
        .filter(|text| !texts.contains(text));
    let with_loopback = [&texts[..], &missing.collect::<Vec<_>>()].concat();
    let probes: Vec<_> = best
        .iter()
        .flat_map(|best| &best.probes)
        .cloned()
        .chain(usual(loopback()))
        .collect();
    let agreed = [texts, with_loopback].into_iter().find_map(|texts| {
        let list = texts.join(",");
        let lists = Lists::new(panel, &list);
        let agree = probes.iter().all(|target| is_same(lists.direct(target), agreeing));
        agree.then_some((list, lists))
    });
    // The same entries, read one by one.
    let before = Lists::new(panel, &entries(list).join(","));
    let (list, lists) = agreed.filter(|_| agreeing.len() > 1)?;
    let widened = understood.iter().zip(&best).filter_map(|((_, meaning), best)| {
        let meant: Vec<_> = meaning.probes().into_iter().filter(|probe| probe.wanted).collect();
        let is_meant = |target: &Target<'_>| meant.iter().any(|probe| probe.target == *target);
        let is_new =
            |target: &Target<'_>| lists.direct(target).contains(agreeing) && !before.direct(target).contains(agreeing);
        let mut targets = best.probes.iter();
        targets.find(|target| !is_meant(target) && is_new(target)).cloned()
    });
    Some(Suggestion {
        list,
        programs: panel.programs(agreeing),
        blocking: understood
            .iter()
            .zip(&best)
            .filter(|(_, best)| best.votes != panel.all())
            .map(|((entry, _), _)| (*entry).to_owned())
            .collect(),
        widened: Targets::new(widened.collect()),
    })
}

/// A spelling of an entry, and the programs to which it means the same.
struct Rated {
    text: String,
    votes: Votes,
    probes: Vec<Target<'static>>,
}

fn usual(probes: Vec<Probe>) -> Vec<Target<'static>> {
    let usual = probes.into_iter().filter(|probe| probe.unusual.is_none());
    usual.map(|probe| probe.target).collect()
}

/// Returns true if all these programs decide the same.
fn is_same(direct: Votes, programs: Votes) -> bool {
    let direct = direct.and(programs);
    direct.is_empty() || direct == programs
}

/// Finds the largest group of programs that read a spelling alike and as it is meant.
fn rate(panel: &Panel, text: String, meaning: &Meaning) -> Rated {
    let wanted: Vec<_> = meaning.probes().into_iter().filter(|probe| probe.wanted).collect();
    let mut probes = usual(meaning.probes());
    for entry in entries(&text) {
        probes.extend(
            Meaning::of(entry)
                .map(|meaning| usual(meaning.probes()))
                .unwrap_or_default(),
        );
    }
    let lists = Lists::new(panel, &text);
    let mut right = panel.all();
    for probe in wanted {
        right = right.and(lists.direct(&probe.target));
    }
    let decisions: Vec<_> = probes.iter().map(|target| lists.direct(target)).collect();
    let of = |place| decisions.iter().map(move |direct| direct.contains(panel.only(place)));
    let groups = panel.groups((0..panel.dialects().len()).map(|place| of(place).collect::<Vec<_>>()));
    let votes = groups.into_iter().map(|(_, votes)| votes.and(right));
    Rated {
        votes: votes.max_by_key(|votes| votes.len()).unwrap_or_default(),
        text,
        probes,
    }
}

/// Returns the spellings to try, the one that is nearest to the entry first.
fn spellings(entry: &str, meaning: &Meaning) -> Vec<String> {
    let mut spellings = vec![entry.to_owned()];
    match meaning {
        Meaning::All => spellings.push("*".to_owned()),
        Meaning::Name { name, below, port } => {
            let dotted = format!(".{name}");
            let hosts = match below {
                Below::No => vec![name.clone()],
                Below::Dot | Below::Star => vec![dotted, name.clone()],
            };
            let with_port = port.map(|port| hosts.iter().map(move |host| format!("{host}:{port}")).collect());
            spellings.extend(with_port.unwrap_or_else(Vec::new));
            spellings.extend(hosts);
        }
        Meaning::Address { ip, port } => {
            let with_port = port.map(|port| HostPort(Host::Ip(*ip), Some(port)).to_string());
            spellings.extend(with_port);
            spellings.extend(addresses(*ip));
        }
        Meaning::Network(net) => {
            let listed: Vec<_> = hosts(*net).into_iter().take(LISTED + 1).collect();
            if listed.len() <= LISTED {
                spellings.push(listed.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
            }
            spellings.push(net.trunc().to_string());
        }
    }
    spellings
}

fn addresses(ip: IpAddr) -> Vec<String> {
    let (bare, in_url) = (ip.to_string(), Host::Ip(ip).to_string());
    match bare == in_url {
        true => vec![bare],
        false => vec![bare.clone(), in_url.clone(), format!("{bare},{in_url}")],
    }
}

/// Returns the first addresses of a network, the network's own and its broadcast address included.
fn hosts(net: IpNet) -> Vec<IpAddr> {
    let most = LISTED as u128;
    match net {
        IpNet::V4(net) => {
            let first = net.network().to_bits();
            let last = net.broadcast().to_bits();
            (first..=last)
                .take(LISTED + 1)
                .map(|bits| Ipv4Addr::from_bits(bits).into())
                .collect()
        }
        IpNet::V6(net) => {
            let first = net.network().to_bits();
            let last = net.broadcast().to_bits().min(first.saturating_add(most));
            (first..=last).map(|bits| Ipv6Addr::from_bits(bits).into()).collect()
        }
    }
}
