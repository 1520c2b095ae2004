//! What the operator wrote, read once into values that cannot be wrong.
//!
//! [`ProxyConfig`] comes from the environment ([`ProxyConfig::from_env`]), from any pairs of names and values
//! ([`ProxyConfig::from_vars`]), or from code ([`ProxyConfig::builder`]), or from both, code over environment:
//!
//! ```
//! # use tower_outbound_proxy::ProxyConfig;
//! let config = ProxyConfig::builder()
//!     .vars([("HTTP_PROXY", "http://proxy.example:3128"), ("NO_PROXY", "internal.example")])
//!     .https("http://other-proxy.example:3128")
//!     .build()?;
//! # Ok::<_, tower_outbound_proxy::ConfigError>(())
//! ```

mod env;
mod server;
mod warning;

use std::{ffi::OsStr, fmt, sync::Arc};

use self::env::Vars;
#[cfg(feature = "tls")]
pub(crate) use self::server::ProxyHost;
pub use self::{
    server::{Credentials, ProxyServer},
    warning::Warning,
};
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;
use crate::{
    dialect::{DefaultPort, Dialect},
    error::ConfigError,
    no_proxy::{Bypass, NoProxy},
};

/// Which proxies there are, and which targets are reached without them.
///
/// What it decides for a target is [`route`](Self::route), and why is [`decide`](Self::decide).
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    pub(crate) http: Option<Setting<ProxyServer>>,
    pub(crate) https: Option<Setting<ProxyServer>>,
    pub(crate) no_proxy: Setting<NoProxy>,
    pub(crate) bypass: Option<Predicate>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) dialect: Dialect,
    pub(crate) loopback_direct: bool,
    pub(crate) always_tunnel: bool,
    warnings: Vec<Warning>,
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
}

/// A proxy for the targets that a predicate picks; `None` is a direct connection.
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

/// A value and the name under which the operator knows it.
#[derive(Clone, Debug)]
pub(crate) struct Setting<T> {
    pub(crate) name: String,
    pub(crate) value: T,
}

impl ProxyConfig {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` from the process environment.
    ///
    /// Names are case-insensitive; of several spellings all-lowercase wins, then all-uppercase. An empty or blank value
    /// counts as unset. In CGI (`REQUEST_METHOD` is set) only `http_proxy` is read for `http` targets.
    ///
    /// # Errors
    ///
    /// A proxy that cannot be used, a value that is not Unicode, or an `https://` proxy where TLS cannot be set up. There
    /// is never a silent direct connection in its place.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::builder().env().build()
    }

    /// Reads the same from any pairs of names and values.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_vars<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> Result<Self, ConfigError>
    where
        N: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        Self::builder().vars(vars).build()
    }

    /// Starts with no proxy at all.
    pub fn builder() -> ProxyConfigBuilder {
        ProxyConfigBuilder::default()
    }

    /// The proxy for `http` and `ws` targets.
    #[must_use]
    pub fn http(&self) -> Option<&ProxyServer> {
        self.http.as_ref().map(|setting| &setting.value)
    }

    /// The proxy for `https` and `wss` targets.
    #[must_use]
    pub fn https(&self) -> Option<&ProxyServer> {
        self.https.as_ref().map(|setting| &setting.value)
    }

    /// The targets that are reached directly.
    #[must_use]
    pub fn no_proxy(&self) -> &NoProxy {
        &self.no_proxy.value
    }

    /// The dialect in which the settings were read.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What is odd in the settings and yet no error.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The same settings, with this predicate in place of the `NO_PROXY` list; see [`ProxyConfigBuilder::bypass`].
    #[must_use]
    pub fn with_bypass(mut self, bypass: impl Bypass + Send + Sync + 'static) -> Self {
        self.bypass = Some(Predicate(Arc::new(bypass)));
        self
    }

    /// The same settings, with `http` targets tunnelled too; see [`ProxyConfigBuilder::always_tunnel`].
    #[must_use]
    pub fn with_always_tunnel(mut self, always: bool) -> Self {
        self.always_tunnel = always;
        self
    }

    /// TLS to `https://` proxies; present wherever there is such a proxy.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<&TlsConfig> {
        self.tls.as_ref()
    }
}

/// Builds a [`ProxyConfig`]. What is not set is: no proxy, nothing listed in `NO_PROXY`, loopback direct, Standard.
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ProxyConfigBuilder {
    vars: Vars,
    http: Option<ProxySetting>,
    https: Option<ProxySetting>,
    all: Option<ProxySetting>,
    no_proxy: Option<NoProxySetting>,
    bypass: Option<Predicate>,
    rules: Vec<(When, ProxySetting)>,
    dialect: Dialect,
    default_port: Option<DefaultPort>,
    loopback_proxied: bool,
    always_tunnel: bool,
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
}

/// A proxy's address, as text or read already. An empty or blank text means no proxy.
#[derive(Clone)]
pub struct ProxySetting(Given<ProxyServer>);

/// A `NO_PROXY` list, as text (read strictly) or read already.
#[derive(Clone)]
pub struct NoProxySetting(Given<NoProxy>);

/// When a rule applies.
#[derive(Clone)]
enum When {
    Listed(NoProxySetting),
    Predicate(Predicate),
}

#[derive(Clone)]
enum Given<T> {
    Text(String),
    Read(T),
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

impl ProxyConfigBuilder {
    /// Takes what is not set otherwise from the process environment.
    pub fn env(mut self) -> Self {
        self.vars = Vars::of_process();
        self
    }

    /// Takes what is not set otherwise from these variables.
    pub fn vars<N, V>(mut self, vars: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.vars = Vars::new(vars);
        self
    }

    /// The proxy for `http` and `ws` targets.
    pub fn http(mut self, proxy: impl Into<ProxySetting>) -> Self {
        self.http = Some(proxy.into());
        self
    }

    /// The proxy for `https` and `wss` targets. Never falls back to the one for `http`.
    pub fn https(mut self, proxy: impl Into<ProxySetting>) -> Self {
        self.https = Some(proxy.into());
        self
    }

    /// The proxy for targets whose own is not set.
    pub fn all(mut self, proxy: impl Into<ProxySetting>) -> Self {
        self.all = Some(proxy.into());
        self
    }

    /// The targets that are reached directly. A text is read strictly: an entry that can match nothing is an error.
    /// For the environment's lenient reading, give a [`NoProxy::lenient`].
    pub fn no_proxy(mut self, list: impl Into<NoProxySetting>) -> Self {
        self.no_proxy = Some(list.into());
        self
    }

    /// A predicate in place of the `NO_PROXY` list. To combine it with a list, make one predicate of both:
    /// `list.or(predicate)`, `list.and(predicate.not())`; see [`Bypass`].
    pub fn bypass(mut self, bypass: impl Bypass + Send + Sync + 'static) -> Self {
        self.bypass = Some(Predicate(Arc::new(bypass)));
        self
    }

    /// A proxy for the targets on a list, which is written and read like a `NO_PROXY` list. A blank proxy means: directly.
    ///
    /// Can be called again. Of all rules, these and [`proxy_when`](Self::proxy_when), the first that matches wins, and it
    /// goes over [`http`](Self::http), [`https`](Self::https) and [`all`](Self::all). What is exempt (`NO_PROXY`, loopback)
    /// stays exempt.
    pub fn proxy_for(mut self, targets: impl Into<NoProxySetting>, proxy: impl Into<ProxySetting>) -> Self {
        self.rules.push((When::Listed(targets.into()), proxy.into()));
        self
    }

    /// A proxy for the targets that a predicate picks; otherwise like [`proxy_for`](Self::proxy_for).
    pub fn proxy_when(
        mut self,
        predicate: impl Bypass + Send + Sync + 'static,
        proxy: impl Into<ProxySetting>,
    ) -> Self {
        let predicate = When::Predicate(Predicate(Arc::new(predicate)));
        self.rules.push((predicate, proxy.into()));
        self
    }

    /// How the settings are read; [`Dialect::Standard`] unless set.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// The port of a proxy whose address names none; the dialect's unless set (Standard: 1080).
    pub fn default_port(mut self, port: DefaultPort) -> Self {
        self.default_port = Some(port);
        self
    }

    /// Whether `localhost`, `*.localhost`, `127.0.0.0/8` and `::1` are reached directly without being listed; true unless
    /// set. (What exactly is loopback is the dialect's: curl knows no such rule.)
    pub fn loopback_direct(mut self, direct: bool) -> Self {
        self.loopback_proxied = !direct;
        self
    }

    /// Whether `http` targets are reached through a CONNECT tunnel too, in place of forwarding; false unless set.
    /// HTTP/2 in clear, which gRPC speaks to `http://` endpoints, needs it: a proxy forwards HTTP/1 requests only.
    pub fn always_tunnel(mut self, always: bool) -> Self {
        self.always_tunnel = always;
        self
    }

    /// TLS to `https://` proxies; the operating system's trust unless set. TLS to targets has nothing to do with it.
    #[cfg(feature = "tls")]
    pub fn proxy_tls(mut self, tls: impl Into<TlsConfig>) -> Self {
        self.tls = Some(tls.into());
        self
    }

    /// Reads all that was given.
    ///
    /// # Errors
    ///
    /// A proxy that cannot be used, a value that is not Unicode, an entry given to [`no_proxy`](Self::no_proxy) that
    /// matches nothing, or an `https://` proxy where TLS cannot be set up.
    pub fn build(self) -> Result<ProxyConfig, ConfigError> {
        let mut warnings = Vec::new();
        let http = self.proxy(&self.http, "http", env::HTTP, &mut warnings)?;
        let https = self.proxy(&self.https, "https", env::HTTPS, &mut warnings)?;
        // A proxy that is set in code, be it to none, leaves nothing to fall back to.
        let http_falls_back = http.is_none() && self.http.is_none();
        let https_falls_back = https.is_none() && self.https.is_none();
        let all = match http_falls_back || https_falls_back {
            true => self.proxy(&self.all, "all", env::ALL, &mut warnings)?,
            false => None,
        };
        let no_proxy = self.read_no_proxy(&mut warnings)?;
        let rules = self.read_rules(&mut warnings)?;
        let config = ProxyConfig {
            http: if http_falls_back { all.clone() } else { http },
            https: if https_falls_back { all } else { https },
            no_proxy,
            bypass: self.bypass,
            rules,
            dialect: self.dialect,
            loopback_direct: !self.loopback_proxied,
            always_tunnel: self.always_tunnel,
            warnings,
            #[cfg(feature = "tls")]
            tls: self.tls,
        };
        #[cfg(feature = "tls")]
        let config = config.with_tls()?;
        Ok(config)
    }

    /// One proxy: what was given in code, otherwise the variable.
    fn proxy(
        &self,
        given: &Option<ProxySetting>,
        method: &str,
        variable: &str,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<Setting<ProxyServer>>, ConfigError> {
        if let Some(given) = given {
            return self.given(given, method);
        }
        match self.vars.get(variable, self.dialect, warnings)? {
            Some(variable) => self.parse(&variable.value, &variable.name).map(Some),
            None => Ok(None),
        }
    }

    fn given(&self, given: &ProxySetting, method: &str) -> Result<Option<Setting<ProxyServer>>, ConfigError> {
        match &given.0 {
            Given::Text(blank) if blank.trim().is_empty() => Ok(None),
            Given::Text(text) => self.parse(text, method).map(Some),
            Given::Read(server) => Ok(Some(Setting {
                name: method.to_owned(),
                value: server.clone(),
            })),
        }
    }

    fn parse(&self, text: &str, name: &str) -> Result<Setting<ProxyServer>, ConfigError> {
        let default_port = self.default_port.unwrap_or(self.dialect.rules().default_port);
        match ProxyServer::parse(text, default_port) {
            Ok(value) => Ok(Setting {
                name: name.to_owned(),
                value,
            }),
            Err(error) => Err(error.in_setting(name)),
        }
    }

    fn read_no_proxy(&self, warnings: &mut Vec<Warning>) -> Result<Setting<NoProxy>, ConfigError> {
        let (name, value) = match &self.no_proxy {
            Some(given) => ("no_proxy".to_owned(), self.list(given, "no_proxy")?),
            None => match self.vars.get(env::NO, self.dialect, warnings)? {
                Some(variable) => (variable.name, NoProxy::lenient(&variable.value, self.dialect)),
                None => ("NO_PROXY".to_owned(), NoProxy::lenient("", self.dialect)),
            },
        };
        warn_of_rejected(&value, &name, warnings);
        Ok(Setting { name, value })
    }

    fn read_rules(&self, warnings: &mut Vec<Warning>) -> Result<Vec<Rule>, ConfigError> {
        let rule = |(when, proxy): &(When, ProxySetting)| {
            let when = match when {
                When::Predicate(predicate) => predicate.clone(),
                When::Listed(given) => {
                    let list = self.list(given, "proxy_for")?;
                    warn_of_rejected(&list, "proxy_for", warnings);
                    Predicate(Arc::new(list))
                }
            };
            let proxy = self.given(proxy, "proxy_for")?.map(|setting| setting.value);
            Ok(Rule { when, proxy })
        };
        self.rules.iter().map(rule).collect()
    }

    fn list(&self, given: &NoProxySetting, method: &str) -> Result<NoProxy, ConfigError> {
        match &given.0 {
            Given::Read(list) => Ok(list.clone()),
            Given::Text(list) => NoProxy::strict(list, self.dialect).map_err(|error| error.in_setting(method)),
        }
    }
}

fn warn_of_rejected(list: &NoProxy, setting: &str, warnings: &mut Vec<Warning>) {
    warnings.extend(list.rejected().iter().map(|error| Warning::Entry {
        setting: setting.to_owned(),
        error: error.clone(),
    }));
}

#[cfg(feature = "tls")]
impl ProxyConfig {
    /// Reads the operating system's trust if a proxy needs it, so that a system without any is found out here and not
    /// at the first connection.
    fn with_tls(mut self) -> Result<Self, ConfigError> {
        if let Some(tls) = &self.tls {
            if !tls.verifies_certificates() {
                self.warnings.push(Warning::CertificatesNotVerified);
            }
            return Ok(self);
        }
        let settings = [&self.http, &self.https].into_iter().flatten();
        let named = settings.map(|setting| (&*setting.name, &setting.value));
        let of_rules = self
            .rules
            .iter()
            .filter_map(|rule| Some(("proxy_for", rule.proxy.as_ref()?)));
        if let Some((name, _)) = named.chain(of_rules).find(|(_, proxy)| proxy.is_tls()) {
            self.tls = Some(TlsConfig::platform().map_err(|error| error.in_setting(name))?);
        }
        Ok(self)
    }
}

impl fmt::Debug for ProxyConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The texts are not parsed yet, so what of them is secret is not known yet either.
        f.debug_struct("ProxyConfigBuilder")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("all", &self.all.is_some())
            .field("no_proxy", &self.no_proxy.is_some())
            .field("dialect", &self.dialect)
            .finish_non_exhaustive()
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
