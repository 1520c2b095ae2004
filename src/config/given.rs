//! Settings as the builder accepts them: a string, or a value that is already parsed.

use std::fmt;

#[cfg(feature = "serde")]
use super::by_domain::Patterns;
use super::{env, server::ProxyServer};
use crate::{
    dialect::Dialect,
    error::{ConfigError, EntryError, SettingName},
    no_proxy::NoProxy,
    secret::SecretText,
};

/// A proxy's address: a string, or a [`ProxyServer`]. An empty or blank string means no proxy.
#[derive(Clone)]
pub struct ProxySetting(pub(super) Given<ProxyServer>);

/// A `NO_PROXY` list: a string, which is read strictly, or a [`NoProxy`].
#[derive(Clone)]
pub struct NoProxySetting(pub(super) Given<NoProxy>);

#[derive(Clone)]
pub(super) enum Given<T> {
    Text(SecretText),
    Read(T),
}

/// The content of a settings file, with checked types and unparsed values. Without the feature `serde` it is empty.
#[derive(Default)]
pub(super) struct FileSettings {
    /// True if the file overrides the environment, false if the environment overrides the file.
    pub(super) over_env: bool,
    pub(super) http: Option<SecretText>,
    pub(super) https: Option<SecretText>,
    pub(super) all: Option<SecretText>,
    /// The list and its key.
    pub(super) no_proxy: Option<(&'static str, Result<SecretText, EntryError>)>,
    #[cfg(feature = "serde")]
    pub(super) by_domain: Vec<FileDomains>,
    #[cfg(feature = "serde")]
    pub(super) accept_any_certificate: bool,
}

/// One proxy in a settings file's `by_domain`.
#[cfg(feature = "serde")]
pub(super) struct FileDomains {
    /// The setting name of its `url`.
    pub(super) name: SettingName,
    pub(super) url: SecretText,
    pub(super) include: Patterns,
    pub(super) exclude: Patterns,
}

impl FileSettings {
    /// Returns the value of the key that has the variable's name.
    pub(super) fn proxy(&self, variable: &str) -> Option<&str> {
        let proxy = match variable {
            env::HTTP => &self.http,
            env::HTTPS => &self.https,
            env::ALL => &self.all,
            _ => &None,
        };
        proxy.as_deref()
    }
}

impl From<&str> for ProxySetting {
    fn from(address: &str) -> Self {
        address.to_owned().into()
    }
}

impl From<String> for ProxySetting {
    fn from(address: String) -> Self {
        Self(Given::Text(address.into()))
    }
}

impl From<ProxyServer> for ProxySetting {
    fn from(proxy: ProxyServer) -> Self {
        Self(Given::Read(proxy))
    }
}

impl From<&str> for NoProxySetting {
    fn from(list: &str) -> Self {
        list.to_owned().into()
    }
}

impl From<String> for NoProxySetting {
    fn from(list: String) -> Self {
        Self(Given::Text(list.into()))
    }
}

impl From<NoProxy> for NoProxySetting {
    fn from(list: NoProxy) -> Self {
        Self(Given::Read(list))
    }
}

impl NoProxySetting {
    /// Returns the list. A string is read strictly, and an error names `setting`.
    pub(crate) fn read(&self, dialect: Dialect, setting: &SettingName) -> Result<NoProxy, ConfigError> {
        match &self.0 {
            Given::Read(list) => Ok(list.clone()),
            Given::Text(list) => NoProxy::strict(list, dialect).map_err(|error| error.in_setting(setting)),
        }
    }
}

impl fmt::Debug for ProxySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxySetting(..)")
    }
}

impl fmt::Debug for NoProxySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoProxySetting(..)")
    }
}
