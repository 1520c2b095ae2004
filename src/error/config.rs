//! Settings that cannot be used: which one, what it says, and why.

use std::fmt;

use super::{
    BoxError,
    redact::{Redacted, redacted_entry},
};

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
    setting: Option<String>,
    in_file: bool,
    value: Option<String>,
    problem: Problem,
}

/// Why a setting cannot be used.
#[derive(Debug)]
pub(crate) enum Problem {
    NotUnicode,
    Scheme(String),
    #[cfg_attr(feature = "tls", allow(dead_code))]
    TlsNotBuilt,
    Text(&'static str),
    /// A value of a settings file is of another kind than its key needs.
    #[cfg(feature = "serde")]
    Kind {
        found: &'static str,
        needed: &'static str,
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
            in_file: false,
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

    /// Names the setting, where no part nearer to the fault has done so.
    #[must_use]
    pub(crate) fn in_setting(mut self, setting: &str) -> Self {
        self.0.setting.get_or_insert_with(|| setting.to_owned());
        self
    }

    /// The same, and whether the setting is a key of a settings file.
    #[must_use]
    pub(crate) fn in_setting_of(mut self, setting: &str, in_file: bool) -> Self {
        self.0.in_file |= in_file && self.0.setting.is_none();
        self.in_setting(setting)
    }

    /// The fault is one of the settings file as a whole.
    #[cfg(feature = "serde")]
    #[must_use]
    pub(crate) fn in_whole_file(mut self) -> Self {
        self.0.in_file = true;
        self
    }

    /// Shows the value as it is: whoever calls this has redacted it.
    #[cfg(feature = "serde")]
    #[must_use]
    pub(crate) fn with_redacted(mut self, value: String) -> Self {
        self.0.value.get_or_insert(value);
        self
    }

    /// Shows the value, redacted.
    #[must_use]
    pub(crate) fn with_value(mut self, value: &str) -> Self {
        self.0.value.get_or_insert_with(|| Redacted(value).to_string());
        self
    }

    /// The setting that is wrong: an environment variable as it is spelled there, a method of the builder, or a key of a
    /// settings file with the way to it (`by_domain[1].include[0]`, counted from 0).
    /// `None` where a value was parsed by itself.
    #[must_use]
    pub fn setting(&self) -> Option<&str> {
        self.0.setting.as_deref()
    }

    /// Whether the fault is in a settings file (`ProxySettings`, feature `serde`): a key of the file and a variable can
    /// have the same name.
    #[must_use]
    pub fn is_in_settings_file(&self) -> bool {
        self.0.in_file
    }

    /// Whether the proxy's scheme is one that this crate does not speak, SOCKS for instance.
    #[must_use]
    pub fn is_unsupported_scheme(&self) -> bool {
        matches!(self.0.problem, Problem::Scheme(_))
    }

    /// Whether TLS is the trouble: not compiled in, no trust anchors, or a certificate or key that cannot be read.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.0.problem, Problem::TlsNotBuilt | Problem::Tls { .. })
    }

    /// The `NO_PROXY` entry that is wrong, if it is one.
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
        match (&self.0.setting, &self.0.value) {
            (Some(setting), Some(value)) => write!(f, "{setting}=`{value}`")?,
            (Some(setting), None) => f.write_str(setting)?,
            (None, Some(value)) => write!(f, "`{value}`")?,
            (None, None) => {}
        }
        let is_named = self.0.setting.is_some() || self.0.value.is_some();
        f.write_str(match (is_named, self.0.in_file) {
            (true, true) => " in the settings file: ",
            (true, false) => ": ",
            (false, true) => "the settings file: ",
            (false, false) => "",
        })?;
        match &self.0.problem {
            Problem::NotUnicode => f.write_str("the value is not valid Unicode"),
            Problem::Scheme(scheme) => write!(f, "unsupported proxy scheme `{scheme}` (http and https are supported)"),
            Problem::TlsNotBuilt => {
                f.write_str("TLS to the proxy is not part of this build (enable the feature `ring` or `aws-lc-rs`)")
            }
            Problem::Text(text) => f.write_str(text),
            #[cfg(feature = "serde")]
            Problem::Kind { found, needed } => write!(f, "{found}, where {needed} is needed"),
            #[cfg(feature = "serde")]
            Problem::UnknownKey { known } => write!(f, "unknown key ({known} are known)"),
            #[cfg(feature = "serde")]
            Problem::Pattern(reason) => write!(f, "it matches nothing: {reason}"),
            Problem::Entry(entry) => entry.fmt(f),
            Problem::Dialect => f.write_str("unknown dialect (standard, go and curl are known)"),
            Problem::Tls { what, .. } => f.write_str(what),
        }
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigError")
            .field("setting", &self.0.setting)
            .field("in_file", &self.0.in_file)
            .field("value", &self.0.value)
            .field("problem", &self.0.problem)
            .finish()
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

/// A `NO_PROXY` entry that fits no row of the grammar, and therefore matches nothing.
///
/// Read leniently (the environment) it becomes a [`Warning`](crate::Warning) and the rest of the list holds; read
/// strictly ([`NoProxy`](crate::NoProxy)'s `FromStr`, the builder) it is the reason of a [`ConfigError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryError {
    position: usize,
    entry: String,
    reason: &'static str,
}

impl EntryError {
    pub(crate) fn new(position: usize, entry: &str, reason: &'static str) -> Self {
        Self {
            position,
            entry: redacted_entry(entry),
            reason,
        }
    }

    /// The entry's place in the list, counted from 1; empty entries are not counted.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The entry as it was written (a password in it, which has no place there, is hidden).
    #[must_use]
    pub fn entry(&self) -> &str {
        &self.entry
    }

    /// Why it matches nothing.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "entry {} `{}` matches nothing: {}",
            self.position, self.entry, self.reason
        )
    }
}

impl std::error::Error for EntryError {}
