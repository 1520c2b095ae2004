//! Settings that programs read differently, and settings that are wrong for all of them.
//!
//! An operator sets four variables once, for every program on the machine, and each program reads them in its own way.
//! A [`Check`] reads them in every [`Dialect`] and reports where the answers differ. It asks the same rules that decide
//! requests: from each entry of `NO_PROXY` it derives targets (the name, its subdomains, addresses inside and outside
//! of a network, another port), decides each of them in every dialect, and names the difference by what came out.
//!
//! A server can log its findings at start:
//!
//! ```
//! # use tower_outbound_proxy::check::Check;
//! for finding in Check::from_env().findings() {
//!     eprintln!("proxy settings: {finding}");
//! }
//! ```
//!
//! The example `explain --check` prints the same as a table, with an exit code for start scripts.
//!
//! ```
//! # use tower_outbound_proxy::{Dialect, check::Check};
//! let check = Check::among(&[Dialect::Standard, Dialect::Go, Dialect::Curl], [
//!     ("http_proxy", "http://proxy.example:3128"),
//!     ("https_proxy", "http://proxy.example:3128"),
//!     ("no_proxy", "localhost,127.0.0.1,.internal.example"),
//! ]);
//! assert!(check.is_odd());
//! assert_eq!(
//!     check.findings()[0].to_string(),
//!     "entry 3 `.internal.example` of no_proxy: internal.example is reached directly by curl, and through the proxy by \
//!      standard and go",
//! );
//! let suggestion = check.suggestion().unwrap();
//! assert_eq!(suggestion.list(), "localhost,127.0.0.1,internal.example");
//! assert!(suggestion.programs().is_all());
//! ```
//!
//! Some differences remain whatever the list is. They concern targets that few requests have, such as
//! `http://example.com./`, and are [notes](Finding::is_note).

mod finding;
mod list;
mod probe;
mod programs;
mod proxies;
mod suggest;
mod variables;

use std::ffi::{OsStr, OsString};

pub use self::{
    finding::{Finding, Leftover, ListEntry},
    probe::{Targets, Unusual},
    programs::Programs,
    suggest::Suggestion,
};
use self::{
    programs::Panel,
    proxies::{Readings, Vars},
};
use crate::{
    config::{Warning, process_vars},
    dialect::Dialect,
};

/// The findings about one set of variables.
///
/// Neither `Debug` nor `Display` of anything in it shows a password.
#[derive(Clone, Debug)]
pub struct Check {
    findings: Vec<Finding>,
    suggestion: Option<Suggestion>,
    is_list_common: bool,
    has_proxy: bool,
}

impl Check {
    /// Checks the process environment, as every dialect reads it.
    #[must_use]
    pub fn from_env() -> Self {
        Self::among(Dialect::ALL, process_vars())
    }

    /// Checks these variables, as every dialect reads them.
    #[must_use]
    pub fn from_vars<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        Self::among(Dialect::ALL, vars)
    }

    /// Checks these variables, as these dialects read them. Name those whose programs run on the machine.
    #[must_use]
    pub fn among<N, V>(dialects: &[Dialect], vars: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let panel = Panel::new(dialects);
        let mut findings = Vec::new();
        let vars = read(vars, &mut findings);
        let readings = Readings::new(&panel, &vars);
        proxies::check(&panel, &vars, &readings, &mut findings);
        drop_repeated(&mut findings);
        let list = proxies::list(&panel, &vars, &mut findings);
        let mut check = Self {
            suggestion: None,
            is_list_common: true,
            has_proxy: readings.any_proxy() || readings.any_error(),
            findings,
        };
        if !check.has_proxy {
            let alone = list.filter(|(_, list)| !list.trim().is_empty());
            let alone = alone.map(|(variable, _)| Finding::NoProxyAlone { variable });
            check.findings.extend(alone);
            return check;
        }
        let (setting, list) = list.unwrap_or_else(|| ("NO_PROXY".to_owned(), String::new()));
        let others = check.findings.len();
        list::check(&panel, &setting, &list, &mut check.findings);
        check.is_list_common = check.findings[others..].iter().all(Finding::is_note);
        if !check.is_list_common {
            check.suggestion = suggest::suggest(&panel, &list);
        }
        // Notes come last. Otherwise, the order is that of the checks.
        check.findings.sort_by_key(Finding::is_note);
        check
    }

    /// Returns the findings, the most important first.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns true if there is any finding but [notes](Finding::is_note).
    #[must_use]
    pub fn is_odd(&self) -> bool {
        self.findings.iter().any(|finding| !finding.is_note())
    }

    /// Returns true if any program uses a proxy, or would if its address could be used.
    #[must_use]
    pub fn has_proxy(&self) -> bool {
        self.has_proxy
    }

    /// Returns true if the list means the same to all programs, or if no proxy is set, which makes it meaningless.
    #[must_use]
    pub fn is_list_common(&self) -> bool {
        self.is_list_common
    }

    /// Returns a list to set in place of the one that is set. `None` if that one [means the same to all
    /// programs](Self::is_list_common), or if no list means the same to two or more of them.
    #[must_use]
    pub fn suggestion(&self) -> Option<&Suggestion> {
        self.suggestion.as_ref()
    }
}

/// Drops the less helpful of two findings about the same fault.
fn drop_repeated(findings: &mut Vec<Finding>) {
    let all = findings.clone();
    findings.retain(|finding| {
        all.iter().all(|other| match (finding, other) {
            // The error says which characters.
            (Finding::Password { variable }, Finding::Unusable { variable: other, .. }) => variable != other,
            (
                Finding::Unusable { variable, .. },
                Finding::Leftover {
                    variable: other,
                    leftover,
                },
            ) => variable != other || *leftover != Leftover::Several,
            (Finding::DefaultPort { variable, .. }, Finding::Warning(Warning::UnlikelyProxy { setting, .. })) => {
                variable != setting
            }
            _ => true,
        })
    });
}

/// Reports what is odd about names and values as they are written. Returns the proxy variables without leftovers.
fn read<N, V>(vars: impl IntoIterator<Item = (N, V)>, findings: &mut Vec<Finding>) -> Vars
where
    N: AsRef<OsStr>,
    V: AsRef<OsStr>,
{
    let mut read = Vars::new();
    let mut vars: Vec<_> = vars
        .into_iter()
        .filter_map(|(name, value)| Some((name.as_ref().to_str()?.to_owned(), value.as_ref().to_owned())))
        .collect();
    // The environment has no order of its own.
    vars.sort_by_key(|(name, _)| {
        variables::NAMES
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))
    });
    for (name, value) in vars {
        let Some(known) = variables::known(&name) else {
            if let Some(meant) = variables::misspelled(&name) {
                findings.push(Finding::Misspelled { variable: name, meant });
            } else if name == "REQUEST_METHOD" {
                read.push((name, value));
            }
            continue;
        };
        let value = match value.to_str() {
            Some(text) => {
                let text = variables::clean(&name, text, findings);
                if known != "no_proxy" && variables::needs_encoding(text) {
                    findings.push(Finding::Password { variable: name.clone() });
                }
                OsString::from(text)
            }
            None => value,
        };
        read.push((name, value));
    }
    read
}
