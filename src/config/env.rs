//! Reads environment variables and chooses between their spellings. No other file reads the process environment.

use std::ffi::OsStr;

use super::Warning;
use crate::{
    dialect::{Cgi, Dialect, Spelling},
    error::{ConfigError, Problem, SettingName},
    secret::{SecretOs, SecretText},
};

/// The proxy variables, as they were found.
#[derive(Clone, Default)]
pub(super) struct Vars {
    /// The variables with one of the four names, in any spelling.
    found: Vec<(String, SecretOs)>,
    /// The name, as spelled, of a `NO_PROXY` that is set and blank. It is an empty list.
    empty_no_proxy: Option<String>,
    cgi: bool,
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

impl Vars {
    pub(super) fn of_process() -> Self {
        Self::new(std::env::vars_os().map(|(name, value)| (name, SecretOs::from(value))))
    }

    pub(super) fn new(vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Self {
        let mut this = Self::default();
        for (name, value) in vars {
            let (Some(name), value) = (name.as_ref().to_str(), value.as_ref()) else {
                continue;
            };
            if is_blank(value) {
                if name.eq_ignore_ascii_case(NO) {
                    this.empty_no_proxy = Some(name.to_owned());
                }
                continue;
            }
            if name == "REQUEST_METHOD" {
                this.cgi = true;
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

    /// Returns `NO_PROXY` if it is set and blank. It overrides a settings file's list, but no other spelling of the
    /// variable.
    pub(super) fn empty_no_proxy(&self) -> Option<Variable> {
        self.empty_no_proxy.clone().map(|name| Variable {
            name: SettingName::variable(name),
            value: SecretText::default(),
        })
    }

    /// Returns the variable in the spelling that is used.
    pub(super) fn get(
        &self,
        wanted: &str,
        dialect: Dialect,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<Variable>, ConfigError> {
        let rules = dialect.rules();
        if wanted == ALL && !rules.all_proxy {
            return Ok(None);
        }
        let mut spellings: Vec<_> = self
            .found
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .collect();
        spellings.sort_by_key(|(name, _)| (rank(name, rules.spelling), name));
        if wanted == HTTP {
            let mut readable = Vec::new();
            for spelling in spellings {
                let ignored = spelling.0.clone();
                if self.cgi && rules.cgi == Cgi::Error {
                    return Err(ConfigError::text(
                        "refused because REQUEST_METHOD is set: in CGI a client can set it with a `Proxy:` header \
                         (CVE-2016-5385); unset it, or use another dialect",
                    )
                    .in_setting(&SettingName::variable(ignored)));
                } else if ignored == HTTP {
                    readable.push(spelling);
                } else if rules.spelling == Spelling::LowerFirstHttpLowerOnly {
                    warnings.push(Warning::NotReadInDialect { ignored });
                } else if self.cgi {
                    warnings.push(Warning::IgnoredInCgi { ignored });
                } else {
                    readable.push(spelling);
                }
            }
            spellings = readable;
        }
        let Some(((name, value), others)) = spellings.split_first() else {
            return Ok(None);
        };
        for (ignored, _) in others.iter().filter(|(_, other)| other != value) {
            warnings.push(Warning::Shadowed {
                used: name.clone(),
                ignored: ignored.clone(),
            });
        }
        match value.as_ref().to_str() {
            Some(value) => Ok(Some(Variable {
                name: SettingName::variable(name.clone()),
                value: value.to_owned().into(),
            })),
            None => Err(ConfigError::new(Problem::NotUnicode).in_setting(&SettingName::variable(name.clone()))),
        }
    }
}

/// Returns true if the value is empty or blank, and so counts as unset. A value that is not Unicode is not blank.
fn is_blank(value: &OsStr) -> bool {
    value.to_str().is_some_and(|value| value.trim().is_empty())
}

fn rank(name: &str, spelling: Spelling) -> u8 {
    let upper = name.bytes().all(|b| !b.is_ascii_lowercase());
    let lower = name.bytes().all(|b| !b.is_ascii_uppercase());
    let (first, second) = match spelling {
        Spelling::UpperFirst => (upper, lower),
        Spelling::LowerFirst | Spelling::LowerFirstHttpLowerOnly => (lower, upper),
    };
    match (first, second) {
        (true, _) => 0,
        (_, true) => 1,
        _ => 2,
    }
}
