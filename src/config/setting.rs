//! What the builder takes for a setting: a text, or a value that was read before.

use std::fmt;

#[cfg(feature = "serde")]
use super::by_domain::Patterns;
use super::{env, server::ProxyServer};
use crate::{
    dialect::Dialect,
    error::{ConfigError, EntryError},
    no_proxy::NoProxy,
};

/// A proxy's address, as text or read already. An empty or blank text means no proxy.
#[derive(Clone)]
pub struct ProxySetting(pub(super) Given<ProxyServer>);

/// A `NO_PROXY` list, as text (read strictly) or read already.
#[derive(Clone)]
pub struct NoProxySetting(pub(super) Given<NoProxy>);

#[derive(Clone)]
pub(super) enum Given<T> {
    Text(String),
    Read(T),
}

/// What a settings file says, its kinds checked and its values not read yet. Without the feature `serde` that is nothing.
#[derive(Default)]
pub(super) struct OfFile {
    /// Whether it goes over the environment, and not the environment over it.
    pub(super) over_env: bool,
    pub(super) http: Option<String>,
    pub(super) https: Option<String>,
    pub(super) all: Option<String>,
    /// With the key that it is under.
    pub(super) no_proxy: Option<(&'static str, Result<String, EntryError>)>,
    #[cfg(feature = "serde")]
    pub(super) by_domain: Vec<DomainsOfFile>,
    #[cfg(feature = "serde")]
    pub(super) accept_any_certificate: bool,
}

/// One proxy of a settings file's `by_domain`.
#[cfg(feature = "serde")]
pub(super) struct DomainsOfFile {
    /// The way to its `url`.
    pub(super) name: String,
    pub(super) url: String,
    pub(super) include: Patterns,
    pub(super) exclude: Patterns,
}

impl OfFile {
    /// The key that is named like the variable.
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
        Self(Given::Text(address))
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
        Self(Given::Text(list))
    }
}

impl From<NoProxy> for NoProxySetting {
    fn from(list: NoProxy) -> Self {
        Self(Given::Read(list))
    }
}

impl NoProxySetting {
    /// The list; a text is read strictly, and an error names this setting.
    pub(crate) fn read(&self, dialect: Dialect, setting: &str) -> Result<NoProxy, ConfigError> {
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
