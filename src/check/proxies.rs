//! The proxy that each program uses for `http` and for `https` targets.

use std::ffi::OsString;

use super::{
    finding::Finding,
    programs::{Panel, Votes},
};
use crate::{
    config::{ProxyConfig, ProxyServer, Warning},
    dialect::Dialect,
    error::ConfigError,
    scheme::Scheme,
};

/// The ports on which proxies usually speak plain HTTP.
const PLAIN_PORTS: [u16; 6] = [80, 3128, 8000, 8080, 8118, 8888];

/// Variables: names as spelled, and values.
pub(super) type Vars = Vec<(String, OsString)>;

/// The settings as each program of the panel reads them.
pub(super) struct Readings(Vec<Result<ProxyConfig, ConfigError>>);

/// A proxy, and the variable that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Use {
    variable: String,
    proxy: ProxyServer,
}

impl Readings {
    pub(super) fn new(panel: &Panel, vars: &Vars) -> Self {
        let read = |dialect: &Dialect| {
            let vars = vars.iter().map(|(name, value)| (name, value));
            ProxyConfig::builder().dialect(*dialect).vars(vars).read()
        };
        Self(panel.dialects().iter().map(read).collect())
    }

    /// Returns the proxy that each program uses for a scheme, `NO_PROXY` aside.
    fn uses(&self, scheme: Scheme) -> Vec<Option<Use>> {
        let used = |config: &Result<ProxyConfig, ConfigError>| {
            let config = config.as_ref().ok()?;
            let setting = match scheme {
                Scheme::Https => config.https.as_ref()?,
                _ => config.http.as_ref()?,
            };
            Some(Use {
                variable: setting.name.as_str().to_owned(),
                proxy: setting.value.clone(),
            })
        };
        self.0.iter().map(used).collect()
    }

    /// Returns the programs that can use the settings at all.
    fn usable(&self, panel: &Panel) -> Votes {
        panel.votes(self.0.iter().map(Result::is_ok))
    }

    /// Returns true if any program uses a proxy for `http`, `https` or other targets.
    pub(super) fn any_proxy(&self) -> bool {
        let configs = self.0.iter().flatten();
        configs
            .into_iter()
            .any(|config| config.http().or(config.https()).or(config.all()).is_some())
    }

    pub(super) fn any_error(&self) -> bool {
        self.0.iter().any(Result::is_err)
    }
}

/// Reports everything that is odd about the proxies.
pub(super) fn check(panel: &Panel, vars: &Vars, readings: &Readings, findings: &mut Vec<Finding>) {
    let errors = readings.0.iter().map(|config| {
        let error = config.as_ref().err()?;
        Some((error.setting().unwrap_or_default().to_owned(), error.to_string()))
    });
    for (error, votes) in panel.groups(errors) {
        if let Some((variable, error)) = error {
            findings.push(Finding::Unusable {
                variable,
                error,
                programs: panel.programs(votes),
            });
        }
    }
    warnings(readings, findings);
    for scheme in [Scheme::Http, Scheme::Https] {
        compare(panel, vars, scheme, readings, findings);
    }
    one_scheme(readings, findings);
    tls(readings, findings);
}

/// Reports warnings of the configurations that no other finding is about.
fn warnings(readings: &Readings, findings: &mut Vec<Finding>) {
    let mut unlikely: Vec<&str> = Vec::new();
    for warning in readings.0.iter().flatten().flat_map(ProxyConfig::warnings) {
        match warning {
            // Dialects differ in the proxy's port.
            Warning::UnlikelyProxy { setting, .. } if unlikely.contains(&setting.as_str()) => {}
            Warning::UnlikelyProxy { setting, .. } => {
                unlikely.push(setting);
                push(findings, Finding::Warning(warning.clone()));
            }
            Warning::UnusableProxy { .. } | Warning::IgnoredInCgi { .. } => {
                push(findings, Finding::Warning(warning.clone()));
            }
            _ => {}
        }
    }
}

/// Reports the differences between the proxies for one scheme, by their causes.
fn compare(panel: &Panel, vars: &Vars, scheme: Scheme, readings: &Readings, findings: &mut Vec<Finding>) {
    let uses = readings.uses(scheme);
    let usable = readings.usable(panel);
    let groups = panel.groups(uses.iter().map(|used| used.as_ref().map(|used| used.variable.as_str())));
    let groups: Vec<_> = groups
        .into_iter()
        .map(|(variable, votes)| (variable, votes.and(usable)))
        .filter(|(_, votes)| !votes.is_empty())
        .collect();
    let used: Vec<_> = groups
        .iter()
        .filter_map(|(variable, votes)| Some((variable.as_deref()?.to_owned(), *votes)))
        .collect();
    let unread = groups.iter().find(|(variable, _)| variable.is_none());
    if let (Some((_, votes)), Some((variable, _))) = (unread, used.first()) {
        push_unread(panel, vars, (scheme, variable, *votes), findings);
    }
    let of = |votes: Votes| {
        let mut members = panel.members(votes);
        members
            .find_map(|(place, _)| uses[place].as_ref())
            .map(|used| &used.proxy)
    };
    if let [(_, first), others @ ..] = &used[..] {
        // The address without its port: a default port is another finding.
        let same = |votes: &Votes| match (of(*first), of(*votes)) {
            (Some(one), Some(other)) => one.host() == other.host() && one.credentials() == other.credentials(),
            _ => true,
        };
        if others.iter().any(|(_, votes)| !same(votes)) {
            push(
                findings,
                Finding::Spellings {
                    used: used
                        .iter()
                        .map(|(name, votes)| (name.clone(), panel.programs(*votes)))
                        .collect(),
                },
            );
        }
    }
    for (variable, votes) in used {
        let port = |place: usize| uses[place].as_ref().map(|used| used.proxy.port());
        let ports = panel.groups((0..panel.dialects().len()).map(port));
        let ports: Vec<_> = ports
            .into_iter()
            .filter_map(|(port, of)| Some((port?, of.and(votes))))
            .filter(|(_, votes)| !votes.is_empty())
            .map(|(port, votes)| (port, panel.programs(votes)))
            .collect();
        if ports.len() > 1 {
            push(findings, Finding::DefaultPort { variable, ports });
        }
    }
}

/// Reports a variable that some programs do not read, once for both schemes.
fn push_unread(panel: &Panel, vars: &Vars, (scheme, name, votes): (Scheme, &str, Votes), findings: &mut Vec<Finding>) {
    let all_agree = |vars: &Vars| {
        let readings = Readings::new(panel, vars);
        let usable = panel.members(readings.usable(panel));
        let uses = readings.uses(scheme);
        let mut hosts = usable.map(|(place, _)| Some(uses[place].as_ref()?.proxy.host()));
        let first = hosts.next().flatten();
        first.is_some() && hosts.all(|host| host == first)
    };
    let lower = format!("{}_proxy", scheme.as_str());
    let enough = enough(vars, name, [lower.to_ascii_uppercase(), lower], all_agree);
    let of = panel.programs(votes);
    for finding in findings.iter_mut() {
        match finding {
            Finding::Unread {
                variable,
                schemes,
                programs,
                set,
            } if variable == name && *programs == of => {
                schemes.push(scheme);
                return set.extend(enough);
            }
            _ => {}
        }
    }
    findings.push(Finding::Unread {
        variable: name.to_owned(),
        schemes: vec![scheme],
        programs: of,
        set: enough.into_iter().collect(),
    });
}

/// Returns the last of these names that, set to the value of `variable`, makes all programs agree.
fn enough(vars: &Vars, variable: &str, names: [String; 2], all_agree: impl Fn(&Vars) -> bool) -> Option<String> {
    let (_, value) = vars.iter().find(|(name, _)| name == variable)?;
    let is_enough = |name: &String| {
        let others = vars.iter().filter(|(other, _)| other != name).cloned();
        all_agree(&others.chain([(name.clone(), value.clone())]).collect())
    };
    names.into_iter().rev().find(is_enough)
}

/// Reports a proxy for `http` alone, or for `https` alone.
fn one_scheme(readings: &Readings, findings: &mut Vec<Finding>) {
    let used = |scheme| readings.uses(scheme).into_iter().flatten().next();
    let (variable, direct) = match (used(Scheme::Http), used(Scheme::Https)) {
        (Some(http), None) => (http.variable, Scheme::Https),
        (None, Some(https)) => (https.variable, Scheme::Http),
        _ => return,
    };
    findings.push(Finding::OneScheme { variable, direct });
}

/// Reports `https://` where the proxy probably speaks plain HTTP.
fn tls(readings: &Readings, findings: &mut Vec<Finding>) {
    let uses = [Scheme::Http, Scheme::Https].map(|scheme| readings.uses(scheme).into_iter().flatten().next());
    let [http, https] = &uses;
    if let (Some(http), Some(https)) = (http, https) {
        let (one, other) = (&http.proxy, &https.proxy);
        if (one.host(), one.port()) == (other.host(), other.port()) && one.is_tls() != other.is_tls() {
            let (tls, plain) = match one.is_tls() {
                true => (http, https),
                false => (https, http),
            };
            findings.push(Finding::TlsAndPlain {
                tls: tls.variable.clone(),
                plain: plain.variable.clone(),
                proxy: format!("{}:{}", one.host(), one.port()),
            });
            return;
        }
    }
    for used in uses.into_iter().flatten() {
        if used.proxy.is_tls() && PLAIN_PORTS.contains(&used.proxy.port()) {
            push(
                findings,
                Finding::TlsPort {
                    variable: used.variable,
                    proxy: used.proxy.url(),
                },
            );
        }
    }
}

/// Reports spellings of `NO_PROXY` that differ. Returns the list that the first program uses, with its variable.
pub(super) fn list(panel: &Panel, vars: &Vars, findings: &mut Vec<Finding>) -> Option<(String, String)> {
    // A proxy that cannot be used must not hide the list.
    let is_list = |(name, _): &&(String, OsString)| name.eq_ignore_ascii_case("no_proxy");
    let lists: Vars = vars.iter().filter(is_list).cloned().collect();
    let used = |vars: &Vars| {
        let of = |config: &Result<ProxyConfig, ConfigError>| {
            let name = config.as_ref().ok()?.no_proxy.name.as_str();
            vars.iter().find(|(other, _)| other == name).cloned()
        };
        Readings::new(panel, vars).0.iter().map(of).collect::<Vec<_>>()
    };
    let groups = panel.groups(used(&lists));
    let (name, value) = groups.iter().find_map(|(variable, _)| variable.clone())?;
    let is_same = |used: &Option<(String, OsString)>| used.as_ref().is_some_and(|(_, other)| *other == value);
    if let Some((_, unread)) = groups.iter().find(|(variable, _)| variable.is_none()) {
        let all_agree = |vars: &Vars| used(vars).iter().all(is_same);
        let names = ["NO_PROXY", "no_proxy"].map(str::to_owned);
        findings.push(Finding::Unread {
            variable: name.clone(),
            schemes: Vec::new(),
            programs: panel.programs(*unread),
            set: enough(&lists, &name, names, all_agree).into_iter().collect(),
        });
    }
    if groups.iter().any(|(used, _)| used.is_some() && !is_same(used)) {
        let names = groups
            .iter()
            .filter_map(|(used, votes)| Some((used.as_ref()?.0.clone(), *votes)));
        findings.push(Finding::Spellings {
            used: names.map(|(name, votes)| (name, panel.programs(votes))).collect(),
        });
    }
    Some((name, value.into_string().ok()?))
}

fn push(findings: &mut Vec<Finding>, finding: Finding) {
    if !findings.contains(&finding) {
        findings.push(finding);
    }
}
