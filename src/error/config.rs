//! Settings that cannot be used.

use std::fmt;

use super::{BoxError, EntryError, SettingName};
use crate::redact::Redacted;

/// A setting that cannot be used.
///
/// Its text names the setting (the variable as it is spelled in the environment, the builder's method, or the settings
/// file's key), the value without its password, and the reason:
///
/// ```
/// # use tower_outbound_proxy::ProxyConfig;
/// let error = ProxyConfig::from_vars([("HTTPS_PROXY", "socks5://user:secret@proxy:1080")]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "HTTPS_PROXY=`socks5://user:***@proxy:1080`: unsupported proxy scheme `socks5` (http and https are supported)",
/// );
/// assert_eq!(error.setting(), Some("HTTPS_PROXY"));
/// ```
pub struct ConfigError(Box<Inner>);

struct Inner {
    setting: Option<SettingName>,
    value: Option<String>,
    problem: Problem,
}

/// The reason why a setting cannot be used.
#[derive(Debug)]
pub(crate) enum Problem {
    NotUnicode,
    Scheme(String),
    #[cfg_attr(feature = "tls", allow(dead_code))]
    TlsNotBuilt,
    Text(&'static str),
    /// The value of a settings file's key has the wrong type.
    #[cfg(feature = "serde")]
    Type {
        expected: &'static str,
        found: &'static str,
    },
    #[cfg(feature = "serde")]
    UnknownKey {
        known: &'static str,
    },
    /// A pattern of a settings file.
    #[cfg(feature = "serde")]
    Pattern(&'static str),
    Entry(EntryError),
    Dialect,
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    Tls {
        what: &'static str,
        source: Option<BoxError>,
    },
}

impl ConfigError {
    pub(crate) fn new(problem: Problem) -> Self {
        Self(Box::new(Inner {
            setting: None,
            value: None,
            problem,
        }))
    }

    pub(crate) fn text(reason: &'static str) -> Self {
        Self::new(Problem::Text(reason))
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self::new(Problem::Tls {
            what,
            source: Some(source.into()),
        })
    }

    #[cfg(all(feature = "tls", not(any(feature = "ring", feature = "aws-lc-rs"))))]
    pub(crate) fn no_provider() -> Self {
        Self::new(Problem::Tls {
            what: "TLS needs a cryptography provider (enable the feature `ring` or `aws-lc-rs`, or install a default)",
            source: None,
        })
    }

    /// Sets the name of the setting, unless it is already set.
    #[must_use]
    pub(crate) fn in_setting(mut self, setting: &SettingName) -> Self {
        self.0.setting.get_or_insert_with(|| setting.clone());
        self
    }

    /// Sets the value to show. The caller has redacted it.
    #[cfg(feature = "serde")]
    #[must_use]
    pub(crate) fn with_redacted(mut self, value: String) -> Self {
        self.0.value.get_or_insert(value);
        self
    }

    /// Sets the value to show, and redacts it.
    #[must_use]
    pub(crate) fn with_value(mut self, value: &str) -> Self {
        self.0.value.get_or_insert_with(|| Redacted(value).to_string());
        self
    }

    /// Returns the name of the invalid setting: an environment variable as it is spelled there, a method of the
    /// builder, or the path of a key in a settings file (`by_domain[1].include[0]`, counted from 0).
    ///
    /// Returns `None` if a value was parsed on its own, or if the settings file as a whole is at fault.
    #[must_use]
    pub fn setting(&self) -> Option<&str> {
        let setting = self.0.setting.as_ref().map(SettingName::as_str);
        setting.filter(|name| !name.is_empty())
    }

    /// Returns the setting with its source. A value that was parsed on its own has an empty name.
    pub(crate) fn setting_name(&self) -> SettingName {
        self.0.setting.clone().unwrap_or(SettingName::code(""))
    }

    /// Returns true if the fault is in a settings file (`ProxySettings`, feature `serde`). A key of the file and a
    /// variable can have the same name.
    #[must_use]
    pub fn is_in_settings_file(&self) -> bool {
        self.0.setting.as_ref().is_some_and(SettingName::is_in_settings_file)
    }

    /// Returns true if this crate does not support the proxy's scheme, for instance SOCKS.
    #[must_use]
    pub fn is_unsupported_scheme(&self) -> bool {
        matches!(self.0.problem, Problem::Scheme(_))
    }

    /// Returns true for a TLS fault: TLS is not part of the build, there are no trust anchors, or a certificate or key
    /// cannot be read.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.0.problem, Problem::TlsNotBuilt | Problem::Tls { .. })
    }

    /// Returns the invalid `NO_PROXY` entry, if an entry is at fault.
    #[must_use]
    pub fn entry(&self) -> Option<&EntryError> {
        match &self.0.problem {
            Problem::Entry(entry) => Some(entry),
            _ => None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.setting(), &self.0.value) {
            (Some(setting), Some(value)) => write!(f, "{setting}=`{value}`")?,
            (Some(setting), None) => f.write_str(setting)?,
            (None, Some(value)) => write!(f, "`{value}`")?,
            (None, None) if self.is_in_settings_file() => f.write_str("the settings file")?,
            (None, None) => {}
        }
        let is_named = self.setting().is_some() || self.0.value.is_some();
        if let Some(setting) = self.0.setting.as_ref().filter(|_| is_named) {
            f.write_str(setting.suffix())?;
        }
        if is_named || self.is_in_settings_file() {
            f.write_str(": ")?;
        }
        match &self.0.problem {
            Problem::NotUnicode => f.write_str("the value is not valid Unicode"),
            Problem::Scheme(scheme) => write!(f, "unsupported proxy scheme `{scheme}` (http and https are supported)"),
            Problem::TlsNotBuilt => {
                f.write_str("TLS to the proxy is not part of this build (enable the feature `ring` or `aws-lc-rs`)")
            }
            Problem::Text(text) => f.write_str(text),
            #[cfg(feature = "serde")]
            Problem::Type { expected, found } => write!(f, "expected {expected}, found {found}"),
            #[cfg(feature = "serde")]
            Problem::UnknownKey { known } => write!(f, "unknown key (expected one of {known})"),
            #[cfg(feature = "serde")]
            Problem::Pattern(reason) => write!(f, "the pattern matches nothing: {reason}"),
            Problem::Entry(entry) => entry.fmt(f),
            Problem::Dialect => {
                f.write_str("unknown dialect (expected standard, go, curl, hyper-util, requests, urllib or undici)")
            }
            Problem::Tls { what, .. } => f.write_str(what),
        }
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A `main` that returns the error shows this.
        f.debug_tuple("ConfigError").field(&format_args!("{self}")).finish()
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.problem {
            Problem::Tls { source, .. } => source.as_ref().map(|source| &**source as _),
            _ => None,
        }
    }
}
