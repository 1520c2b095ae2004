//! The operator's settings, parsed once into validated values.
//!
//! A [`ProxyConfig`] comes from the environment ([`ProxyConfig::from_env`]), from pairs of names and values
//! ([`ProxyConfig::from_vars`]), from a settings file and the environment (`ProxyConfig::from_settings`, feature
//! `serde`; see `ProxySettings`), or from code ([`ProxyConfig::builder`]). Code overrides the other sources:
//!
//! ```
//! # use tower_outbound_proxy::ProxyConfig;
//! let config = ProxyConfig::builder()
//!     .vars([("HTTP_PROXY", "http://proxy.example:3128"), ("NO_PROXY", "internal.example")])
//!     .https("http://other-proxy.example:3128")
//!     .build()?;
//! # Ok::<_, tower_outbound_proxy::ConfigError>(())
//! ```
//!
//! The page [`settings`](crate::settings) defines the meaning of each setting.

mod builder;
#[cfg(feature = "serde")]
mod by_domain;
mod env;
#[cfg(feature = "serde")]
mod file;
mod given;
mod server;
mod warning;

use std::{ffi::OsStr, fmt, sync::Arc};

#[cfg(feature = "serde")]
use self::by_domain::ByDomain;
#[cfg(feature = "serde")]
pub(crate) use self::by_domain::Found;
pub(crate) use self::env::process_vars;
#[cfg(feature = "serde")]
pub use self::file::{Precedence, ProxySettings};
pub use self::{
    builder::ProxyConfigBuilder,
    given::{NoProxySetting, ProxySetting},
    server::ProxyServer,
    warning::Warning,
};
use crate::no_proxy::{Bypass, NoProxy};
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;
pub use crate::{
    dialect::{DefaultPort, Dialect},
    error::{ConfigError, SettingName, UnusableProxyError},
};

/// The proxies, and the targets that are reached directly.
///
/// [`route`](Self::route) returns the route to a target. [`decide`](Self::decide) also returns the reason.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    pub(crate) http: Option<Setting<ProxyServer>>,
    pub(crate) https: Option<Setting<ProxyServer>>,
    /// The proxy for targets of other schemes. A value that cannot be used is kept as such if `http` and `https`
    /// targets do not need it.
    pub(crate) all: Option<Result<Setting<ProxyServer>, UnusableProxyError>>,
    pub(crate) no_proxy: Setting<NoProxy>,
    pub(crate) bypass: Option<Predicate>,
    pub(crate) rules: Vec<Rule>,
    #[cfg(feature = "serde")]
    pub(crate) by_domain: ByDomain,
    pub(crate) dialect: Dialect,
    pub(crate) loopback_direct: bool,
    pub(crate) always_tunnel: bool,
    warnings: Vec<Warning>,
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
}

/// The setting name of rules added in code.
pub(crate) static PROXY_FOR: SettingName = SettingName::code("proxy_for");

/// A proxy for the targets that a predicate matches. `None` means a direct connection.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) when: Predicate,
    pub(crate) proxy: Option<ProxyServer>,
}

/// A predicate of any type.
#[derive(Clone)]
pub(crate) struct Predicate(pub(crate) Arc<dyn Bypass + Send + Sync>);

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Predicate(..)")
    }
}

/// A value and the name of the setting that it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Setting<T> {
    pub(crate) name: SettingName,
    pub(crate) value: T,
}

impl ProxyConfig {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` from the process environment.
    ///
    /// Names are case-insensitive. If several spellings are set, all-lowercase wins, then all-uppercase. An empty or
    /// blank value counts as unset. In CGI (`REQUEST_METHOD` is set), `HTTP_PROXY` is read only in the spelling
    /// `http_proxy`.
    ///
    /// # Errors
    ///
    /// Returns an error if a proxy cannot be used, a value is not valid Unicode, or TLS cannot be set up for an
    /// `https://` proxy. A wrong setting never becomes a direct connection.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::builder().env().build()
    }

    /// Reads the same variables from any pairs of names and values.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`from_env`](Self::from_env).
    pub fn from_vars<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> Result<Self, ConfigError>
    where
        N: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        Self::builder().vars(vars).build()
    }

    /// Reads a settings file and the process environment.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`from_env`](Self::from_env). An unknown key, a value of the wrong type, and an entry
    /// or pattern that matches nothing are also errors.
    #[cfg(feature = "serde")]
    pub fn from_settings(settings: ProxySettings, precedence: Precedence) -> Result<Self, ConfigError> {
        Self::builder().env().settings(settings, precedence).build()
    }

    /// Creates a builder with no proxy set.
    pub fn builder() -> ProxyConfigBuilder {
        ProxyConfigBuilder::default()
    }

    /// Returns the proxy for `http` and `ws` targets.
    #[must_use]
    pub fn http(&self) -> Option<&ProxyServer> {
        self.http.as_ref().map(|setting| &setting.value)
    }

    /// Returns the proxy for `https` and `wss` targets.
    #[must_use]
    pub fn https(&self) -> Option<&ProxyServer> {
        self.https.as_ref().map(|setting| &setting.value)
    }

    /// Returns the proxy for targets of all other schemes (`postgres`, `tcp`), and for `http` and `https` if these have
    /// none of their own. `None` if it is not set or cannot be used.
    #[must_use]
    pub fn all(&self) -> Option<&ProxyServer> {
        let setting = self.all.as_ref()?.as_ref().ok();
        setting.map(|setting| &setting.value)
    }

    /// Returns the list of targets that are reached directly.
    #[must_use]
    pub fn no_proxy(&self) -> &NoProxy {
        &self.no_proxy.value
    }

    /// Returns the dialect in which the settings were read.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns the warnings: problems in the settings that are not errors.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Returns the settings with this predicate in place of the `NO_PROXY` list; see [`ProxyConfigBuilder::bypass`].
    #[must_use]
    pub fn with_bypass(mut self, bypass: impl Bypass + Send + Sync + 'static) -> Self {
        self.bypass = Some(Predicate(Arc::new(bypass)));
        self
    }

    /// Returns the settings with `always_tunnel` set to this value; see [`ProxyConfigBuilder::always_tunnel`].
    #[must_use]
    pub fn with_always_tunnel(mut self, always: bool) -> Self {
        self.always_tunnel = always;
        self
    }

    /// Returns every proxy that the settings name.
    #[cfg(feature = "http2")]
    pub(crate) fn proxies(&self) -> impl Iterator<Item = &ProxyServer> {
        let settings = [self.http(), self.https(), self.all()].into_iter().flatten();
        let proxies = settings.chain(self.rules.iter().filter_map(|rule| rule.proxy.as_ref()));
        #[cfg(feature = "serde")]
        let proxies = proxies.chain(self.by_domain.proxies().iter().map(|domains| &domains.proxy));
        proxies
    }

    /// Returns true if the proxies' certificates are not verified.
    #[cfg(feature = "serde")]
    fn accepts_any_certificate(&self) -> bool {
        self.warnings.contains(&Warning::CertificatesNotVerified)
    }

    /// Returns the TLS settings for `https://` proxies. They are present if there is such a proxy.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<&TlsConfig> {
        self.tls.as_ref()
    }
}

#[cfg(feature = "tls")]
impl ProxyConfig {
    /// Reads the operating system's trusted roots if a proxy needs them. A system without any fails here, not at the
    /// first connection.
    fn with_tls(mut self) -> Result<Self, ConfigError> {
        if let Some(tls) = &self.tls {
            if !tls.verifies_certificates() {
                self.warnings.push(Warning::CertificatesNotVerified);
            }
            return Ok(self);
        }
        if let Some(name) = self.first_tls_proxy() {
            let tls = TlsConfig::platform().map_err(|error| error.in_setting(&name))?;
            self.tls = Some(tls);
        }
        Ok(self)
    }

    /// Returns the setting that names the first `https://` proxy. One that is for other schemes alone does not count:
    /// its trust is read when it is used, since most programs never use it.
    fn first_tls_proxy(&self) -> Option<SettingName> {
        let mut of_schemes = [&self.http, &self.https].into_iter().flatten();
        if let Some(setting) = of_schemes.find(|setting| setting.value.is_tls()) {
            return Some(setting.name.clone());
        }
        if self
            .rules
            .iter()
            .filter_map(|rule| rule.proxy.as_ref())
            .any(ProxyServer::is_tls)
        {
            return Some(PROXY_FOR.clone());
        }
        #[cfg(feature = "serde")]
        if let Some(index) = self
            .by_domain
            .proxies()
            .iter()
            .position(|domains| domains.proxy.is_tls())
        {
            return Some(SettingName::key(format!("by_domain[{index}].url")));
        }
        None
    }
}
