//! Reads the proxy variables and chooses between their spellings. No other file reads them.

use std::{
    cmp::Reverse,
    ffi::{OsStr, OsString},
};

use super::Warning;
use crate::{
    dialect::{AllProxy, Cgi, Names, Rules, Spelling, Unset},
    error::{ConfigError, Problem, SettingName},
    secret::{SecretOs, SecretText},
};

/// The proxy variables, as they were found.
#[derive(Clone, Default)]
pub(super) struct Vars {
    /// The variables with one of the four names, in any spelling, in the order of the environment.
    found: Vec<(String, SecretOs)>,
    /// True if `REQUEST_METHOD` has a value that is not blank; `None` if it is not set.
    request_method: Option<bool>,
}

/// The variables' names in lower case. A settings file has keys of the same names.
pub(super) const HTTP: &str = "http_proxy";
pub(super) const HTTPS: &str = "https_proxy";
pub(super) const ALL: &str = "all_proxy";
pub(super) const NO: &str = "no_proxy";

/// A variable that is set: its name, as spelled, and its value.
pub(super) struct Variable {
    pub(super) name: SettingName,
    pub(super) value: SecretText,
}

/// Returns the process environment.
pub(crate) fn process_vars() -> impl Iterator<Item = (OsString, SecretOs)> {
    std::env::vars_os().map(|(name, value)| (name, value.into()))
}

impl Vars {
    pub(super) fn of_process() -> Self {
        Self::new(process_vars())
    }

    pub(super) fn new(vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Self {
        let mut this = Self::default();
        for (name, value) in vars {
            let (Some(name), value) = (name.as_ref().to_str(), value.as_ref()) else {
                continue;
            };
            if name == "REQUEST_METHOD" {
                this.request_method = Some(!is_blank(value));
            }
            let known = [HTTP, HTTPS, ALL, NO]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name));
            // If a name occurs twice, the first value is used, as by `getenv`.
            if known && !this.found.iter().any(|(other, _)| other == name) {
                this.found.push((name.to_owned(), value.to_owned().into()));
            }
        }
        this
    }

    /// Returns a proxy's variable in the spelling that is used.
    pub(super) fn proxy(
        &self,
        wanted: &str,
        rules: &Rules,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<Variable>, ConfigError> {
        if wanted == ALL && rules.all_proxy == AllProxy::NotRead {
            return Ok(None);
        }
        let names = if wanted == HTTP { rules.http_names } else { rules.names };
        let is_unset = |value: &OsStr| names.unset != Unset::Never && is_blank(value);
        let mut spellings = self.spellings(wanted, names, is_unset, warnings);
        if self.is_cgi(rules.cgi) {
            self.restrict(wanted, rules.cgi, &mut spellings, warnings)?;
        }
        Ok(chosen(&spellings, warnings)?.filter(|variable| !variable.value.trim().is_empty()))
    }

    /// Returns `NO_PROXY` in the spelling that is used. If it is set and blank, it is an empty list, which overrides a
    /// settings file's.
    pub(super) fn no_proxy(&self, rules: &Rules, warnings: &mut Vec<Warning>) -> Result<Option<Variable>, ConfigError> {
        let names = rules.no_proxy_names;
        let is_unset = |value: &OsStr| match names.unset {
            Unset::Blank => is_blank(value),
            Unset::Empty => value.is_empty(),
            Unset::Never => false,
        };
        let spellings = self.spellings(NO, names, is_unset, warnings);
        let variable = chosen(&spellings, warnings)?;
        Ok(variable.or_else(|| {
            let mut found = self.found.iter().rev();
            let (name, _) = found.find(|(name, value)| name.eq_ignore_ascii_case(NO) && is_blank(value))?;
            Some(Variable {
                name: SettingName::variable(name.clone()),
                value: SecretText::default(),
            })
        }))
    }

    /// Returns the variables with this name that are set, the one that is used first.
    fn spellings(
        &self,
        wanted: &str,
        names: Names,
        is_unset: impl Fn(&OsStr) -> bool,
        warnings: &mut Vec<Warning>,
    ) -> Vec<Candidate<'_>> {
        let mut spellings = Vec::new();
        for (place, (name, value)) in (0..).zip(&self.found) {
            let value: &OsStr = value;
            if !name.eq_ignore_ascii_case(wanted) || is_unset(value) {
                continue;
            }
            let Some(rank) = names.spellings.iter().position(|spelling| spelling.has(name)) else {
                if !is_blank(value) {
                    let ignored = name.clone();
                    warnings.push(Warning::NotReadInDialect { ignored });
                }
                continue;
            };
            match names.spellings[rank] {
                Spelling::AnyLast if value.is_empty() => {}
                Spelling::AnyLast | Spelling::LowerEnd => spellings.push((rank, Reverse(place), name, value)),
                _ => spellings.push((rank, Reverse(0), name, value)),
            }
        }
        spellings.sort();
        let spellings = spellings.into_iter();
        spellings.map(|(rank, _, name, value)| (rank, name, value)).collect()
    }

    fn is_cgi(&self, cgi: Cgi) -> bool {
        match cgi {
            Cgi::FirstSpelling | Cgi::Error => self.request_method == Some(true),
            Cgi::FirstSpellingIfBlank | Cgi::NothingRead => self.request_method.is_some(),
        }
    }

    /// Removes the spellings that are not read in CGI.
    fn restrict(
        &self,
        wanted: &str,
        cgi: Cgi,
        spellings: &mut Vec<Candidate<'_>>,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), ConfigError> {
        match (cgi, spellings.first()) {
            (Cgi::Error, Some((_, name, _))) if wanted == HTTP => Err(ConfigError::text(
                "refused because REQUEST_METHOD is set: in CGI a client can set it with a `Proxy:` header \
                 (CVE-2016-5385); unset it, or use another dialect",
            )
            .in_setting(&SettingName::variable((*name).clone()))),
            (Cgi::NothingRead, Some((_, name, _))) => {
                let ignored = (*name).clone();
                warnings.push(Warning::NothingReadInCgi { ignored });
                spellings.clear();
                Ok(())
            }
            (Cgi::FirstSpelling | Cgi::FirstSpellingIfBlank, _) if wanted == HTTP => {
                spellings.retain(|(rank, name, _)| {
                    if *rank > 0 {
                        let ignored = (*name).clone();
                        warnings.push(Warning::IgnoredInCgi { ignored });
                    }
                    *rank == 0
                });
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The rank of a spelling, the variable's name and its value.
type Candidate<'v> = (usize, &'v String, &'v OsStr);

/// Returns the first of the spellings.
fn chosen(spellings: &[Candidate<'_>], warnings: &mut Vec<Warning>) -> Result<Option<Variable>, ConfigError> {
    let Some(((_, name, value), others)) = spellings.split_first() else {
        return Ok(None);
    };
    let others = others.iter().filter(|(_, _, other)| other != value && !is_blank(other));
    for (_, ignored, _) in others {
        warnings.push(Warning::Shadowed {
            used: (*name).clone(),
            ignored: (*ignored).clone(),
        });
    }
    let name = SettingName::variable((*name).clone());
    match value.to_str() {
        Some(value) => Ok(Some(Variable {
            name,
            value: value.to_owned().into(),
        })),
        None => Err(ConfigError::new(Problem::NotUnicode).in_setting(&name)),
    }
}

/// Returns true if the value is empty or blank, and so counts as unset. A value that is not Unicode is not blank.
fn is_blank(value: &OsStr) -> bool {
    value.to_str().is_some_and(|value| value.trim().is_empty())
}
