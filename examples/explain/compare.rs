//! `--compare`: each URL's route in each program.

use std::error::Error;

use tower_outbound_proxy::{ConfigError, Dialect, ProxyConfig, Route, Target};

use crate::text::{legend, names, wrap};

/// Programs that go the same way for the same reason.
struct Group {
    to: String,
    why: String,
    dialects: Vec<Dialect>,
}

/// Returns one row for each way that programs go, with the reasons where the ways differ, and true if all settings can be
/// used.
pub(crate) fn compare(dialects: &[Dialect], urls: &[String]) -> Result<(String, bool), Box<dyn Error>> {
    let mut report = String::new();
    let targets = urls
        .iter()
        .map(|url| url.parse())
        .collect::<Result<Vec<Target<'_>>, _>>()?;
    let configs: Vec<_> = dialects
        .iter()
        .map(|dialect| (*dialect, ProxyConfig::builder().dialect(*dialect).env().build()))
        .collect();
    for target in &targets {
        report.push_str(&format!("{target}\n"));
        let groups = group(&configs, target);
        let width = groups.iter().map(|group| group.to.chars().count()).max().unwrap_or(0);
        // A longer one has a line of its own.
        let indent = 4 + width.min(36) + 2;
        let differ = groups.iter().any(|group| group.to != groups[0].to);
        if !differ && !groups[0].to.starts_with("error") {
            report.push_str(&wrap(&format!("    {}", groups[0].to), indent, "all programs"));
            continue;
        }
        let mut previous = None;
        for group in &groups {
            let to = if previous == Some(&group.to) { "" } else { &group.to };
            report.push_str(&wrap(&format!("    {to}"), indent, &names(&group.dialects)));
            report.push_str(&wrap("", indent, &group.why));
            previous = Some(&group.to);
        }
    }
    report.push_str(&format!("\n{}", legend(dialects)));
    Ok((report, configs.iter().all(|(_, config)| config.is_ok())))
}

/// Groups the programs by their ways, the most frequent first, then by their reasons.
fn group(configs: &[(Dialect, Result<ProxyConfig, ConfigError>)], target: &Target<'_>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (dialect, config) in configs {
        let (to, why) = match config {
            Ok(config) => {
                let decision = config.decide(target);
                (way(decision.route()), decision.reason().to_string())
            }
            Err(error) => ("error".to_owned(), error.to_string()),
        };
        match groups.iter_mut().find(|group| (&group.to, &group.why) == (&to, &why)) {
            Some(group) => group.dialects.push(*dialect),
            None => groups.push(Group {
                to,
                why,
                dialects: vec![*dialect],
            }),
        }
    }
    let size = |to: &str| -> usize {
        let same = groups.iter().filter(|group| group.to == to);
        same.map(|group| group.dialects.len()).sum()
    };
    let mut order: Vec<_> = groups.iter().map(|group| (size(&group.to), group.to.clone())).collect();
    order.sort_by(|one, other| other.cmp(one));
    groups.sort_by_key(|group| order.iter().position(|(_, to)| *to == group.to));
    groups
}

/// Returns `direct`, or the proxy's `host:port`. A proxy that speaks TLS has its scheme.
fn way(route: &Route) -> String {
    match route.proxy() {
        Some(proxy) => {
            let url = proxy.url();
            url.strip_prefix("http://").unwrap_or(&url).to_owned()
        }
        None if *route == Route::Direct => "direct".to_owned(),
        None => "error".to_owned(),
    }
}
