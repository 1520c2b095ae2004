//! Builds a [`ProxyConfig`] from code, variables and a settings file.

use std::{ffi::OsStr, fmt, sync::Arc};

#[cfg(feature = "tls")]
use crate::tls::TlsConfig;
use crate::{
    dialect::{AllProxy, DefaultPort, Dialect},
    error::{ConfigError, Problem, SettingName, UnusableProxyError},
    host::split_scheme,
    no_proxy::{Bypass, NoProxy},
    scheme::Scheme,
};

use super::{
    PROXY_FOR, Predicate, ProxyConfig, Rule, Setting, Warning,
    env::{self, Vars},
    given::{FileSettings, Given, NoProxySetting, ProxySetting},
    server::ProxyServer,
};
#[cfg(feature = "serde")]
use super::{
    by_domain::{ByDomain, DomainProxy},
    file::{Precedence, ProxySettings},
    given::FileDomains,
};

/// Builds a [`ProxyConfig`].
///
/// Defaults: no proxy, an empty `NO_PROXY` list, direct loopback connections, the Standard dialect.
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ProxyConfigBuilder {
    vars: Vars,
    #[cfg(feature = "serde")]
    file: Option<(ProxySettings, Precedence)>,
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

/// The condition of a rule.
#[derive(Clone)]
enum When {
    Listed(NoProxySetting),
    Predicate(Predicate),
}

impl ProxyConfigBuilder {
    /// Reads the process environment for everything that is not set in code.
    pub fn env(mut self) -> Self {
        self.vars = Vars::of_process();
        self
    }

    /// Reads these variables for everything that is not set in code.
    pub fn vars<N, V>(mut self, vars: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.vars = Vars::new(vars);
        self
    }

    /// Reads a settings file for everything that is not set in code. Its `by_domain` always applies. If the environment
    /// ([`env`](Self::env), [`vars`](Self::vars)) sets the same key, `precedence` decides.
    #[cfg(feature = "serde")]
    pub fn settings(mut self, settings: ProxySettings, precedence: Precedence) -> Self {
        self.file = Some((settings, precedence));
        self
    }

    /// Sets the proxy for `http` and `ws` targets.
    pub fn http(mut self, proxy: impl Into<ProxySetting>) -> Self {
        self.http = Some(proxy.into());
        self
    }

    /// Sets the proxy for `https` and `wss` targets. It never falls back to the proxy for `http`.
    pub fn https(mut self, proxy: impl Into<ProxySetting>) -> Self {
        self.https = Some(proxy.into());
        self
    }

    /// Sets the proxy for targets whose scheme has no proxy of its own: for `http` and `https` if it is not set
    /// otherwise, and for every other scheme (`postgres`, `tcp`, …), whose targets are always reached through a tunnel.
    ///
    /// An address that cannot be used is an error. If both [`http`](Self::http) and [`https`](Self::https) are set as
    /// well, it is a [`Warning`], and an error of each connection to a target of another scheme.
    pub fn all(mut self, proxy: impl Into<ProxySetting>) -> Self {
        self.all = Some(proxy.into());
        self
    }

    /// Sets the targets that are reached directly. A string is read strictly: an entry that can match nothing is an
    /// error. To read a string as leniently as the environment, pass a [`NoProxy::lenient`].
    pub fn no_proxy(mut self, list: impl Into<NoProxySetting>) -> Self {
        self.no_proxy = Some(list.into());
        self
    }

    /// Sets a predicate in place of the `NO_PROXY` list. To combine a predicate with a list, build one predicate from
    /// both: `list.or(predicate)`, `list.and(predicate.not())`; see [`Bypass`].
    pub fn bypass(mut self, bypass: impl Bypass + Send + Sync + 'static) -> Self {
        self.bypass = Some(Predicate(Arc::new(bypass)));
        self
    }

    /// Adds a rule: a proxy for the targets on a list. The list is written and read like a `NO_PROXY` list. A blank
    /// proxy means a direct connection.
    ///
    /// Each call adds another rule. The first rule that matches wins, rules of [`proxy_when`](Self::proxy_when)
    /// included. It overrides [`http`](Self::http), [`https`](Self::https) and [`all`](Self::all). Exempt targets
    /// (`NO_PROXY`, loopback) stay exempt.
    pub fn proxy_for(mut self, targets: impl Into<NoProxySetting>, proxy: impl Into<ProxySetting>) -> Self {
        self.rules.push((When::Listed(targets.into()), proxy.into()));
        self
    }

    /// Adds a rule: a proxy for the targets that a predicate matches. Otherwise like [`proxy_for`](Self::proxy_for).
    pub fn proxy_when(
        mut self,
        predicate: impl Bypass + Send + Sync + 'static,
        proxy: impl Into<ProxySetting>,
    ) -> Self {
        let predicate = When::Predicate(Predicate(Arc::new(predicate)));
        self.rules.push((predicate, proxy.into()));
        self
    }

    /// Sets the dialect in which the settings are read; [`Dialect::Standard`] by default.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Sets the port of a proxy whose address has none; the dialect's port by default (Standard: 1080).
    pub fn default_port(mut self, port: DefaultPort) -> Self {
        self.default_port = Some(port);
        self
    }

    /// Sets whether `localhost`, `*.localhost`, `127.0.0.0/8` and `::1` are reached directly without being listed; true
    /// by default. The dialect defines loopback, and curl's has no such rule.
    pub fn loopback_direct(mut self, direct: bool) -> Self {
        self.loopback_proxied = !direct;
        self
    }

    /// Sets whether `http` targets are reached through a CONNECT tunnel instead of by forwarding; false by default.
    /// Cleartext HTTP/2, which gRPC uses for `http://` endpoints, needs a tunnel, because a proxy that forwards chooses
    /// the version of HTTP for the target itself.
    pub fn always_tunnel(mut self, always: bool) -> Self {
        self.always_tunnel = always;
        self
    }

    /// Sets the TLS settings for `https://` proxies; the operating system's trusted roots by default. TLS to targets is
    /// set elsewhere.
    #[cfg(feature = "tls")]
    pub fn proxy_tls(mut self, tls: impl Into<TlsConfig>) -> Self {
        self.tls = Some(tls.into());
        self
    }

    /// Reads the settings and builds the configuration.
    ///
    /// # Errors
    ///
    /// Returns an error if a proxy cannot be used (for [`all`](Self::all), see there), a value is not valid Unicode, an
    /// entry given to [`no_proxy`](Self::no_proxy) matches nothing, or TLS cannot be set up for an `https://` proxy. In
    /// a settings file, an unknown key, a value of the wrong type, and an entry or pattern that matches nothing are
    /// also errors.
    pub fn build(self) -> Result<ProxyConfig, ConfigError> {
        let config = self.read()?;
        #[cfg(feature = "tls")]
        let config = config.with_tls()?;
        Ok(config)
    }

    /// Reads the settings, and not the operating system's trusted roots.
    pub(crate) fn read(self) -> Result<ProxyConfig, ConfigError> {
        let mut warnings = Vec::new();
        let file = self.of_file()?;
        let rules = self.dialect.rules();
        let http = self.proxy(&self.http, "http", env::HTTP, &file, &mut warnings)?;
        let https = self.proxy(&self.https, "https", env::HTTPS, &file, &mut warnings)?;
        // A proxy that is set in code, even to none, does not fall back to `all`.
        let http_falls_back = http.is_none() && self.http.is_none();
        let https_falls_back = https.is_none() && self.https.is_none();
        let of_variable = self.all.is_none() && file.all.is_none();
        let all_is_for_others = !of_variable || rules.all_proxy == AllProxy::EveryScheme;
        let all = match self.proxy(&self.all, "all", env::ALL, &file, &mut warnings) {
            Err(error) if http_falls_back || https_falls_back => return Err(error),
            Err(_) if !all_is_for_others => None,
            // Only targets of other schemes need it, and most programs have none.
            Err(error) => {
                let error = UnusableProxyError::new(&error);
                warnings.push(Warning::UnusableProxy { error: error.clone() });
                Some(Err(error))
            }
            Ok(all) => all.map(Ok),
        };
        let http = if http_falls_back { usable(&all) } else { http };
        let https = match rules.http_proxy_for_https {
            true if https_falls_back => http.clone(),
            false if https_falls_back => usable(&all),
            _ => https,
        };
        let all = all.filter(|_| all_is_for_others);
        let no_proxy = self.read_no_proxy(&file, &mut warnings)?;
        #[cfg(feature = "serde")]
        let by_domain = self.read_domains(file.by_domain, &mut warnings)?;
        let rules = self.read_rules(&mut warnings)?;
        let config = ProxyConfig {
            http,
            https,
            all,
            no_proxy,
            bypass: self.bypass,
            rules,
            #[cfg(feature = "serde")]
            by_domain,
            dialect: self.dialect,
            loopback_direct: !self.loopback_proxied,
            always_tunnel: self.always_tunnel,
            warnings,
            #[cfg(feature = "tls")]
            tls: match self.tls {
                #[cfg(feature = "serde")]
                None if file.accept_any_certificate => Some(accept_any_certificate()?),
                tls => tls,
            },
        };
        #[cfg(all(feature = "serde", not(feature = "tls")))]
        if file.accept_any_certificate {
            return Err(ConfigError::new(Problem::TlsNotBuilt).in_setting(&SettingName::key(super::file::INSECURE)));
        }
        Ok(config)
    }

    fn of_file(&self) -> Result<FileSettings, ConfigError> {
        #[cfg(feature = "serde")]
        if let Some((settings, precedence)) = &self.file {
            return settings.of_file(*precedence);
        }
        Ok(FileSettings::default())
    }

    /// Returns one proxy: the one given in code, otherwise that of the variable or of the file's key with the same
    /// name.
    fn proxy(
        &self,
        given: &Option<ProxySetting>,
        method: &'static str,
        variable: &'static str,
        file: &FileSettings,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<Setting<ProxyServer>>, ConfigError> {
        let target = match variable {
            env::HTTP => Some(Scheme::Http),
            env::HTTPS => Some(Scheme::Https),
            _ => None,
        };
        if let Some(given) = given {
            return self.given(given, target, SettingName::code(method), warnings);
        }
        let of_file = file.proxy(variable);
        if let Some(text) = of_file.filter(|_| file.over_env) {
            return self.parse(text, target, SettingName::key(variable), warnings).map(Some);
        }
        match (self.vars.proxy(variable, self.dialect.rules(), warnings)?, of_file) {
            (Some(variable), _) => self.parse(&variable.value, target, variable.name, warnings).map(Some),
            (None, Some(text)) => self.parse(text, target, SettingName::key(variable), warnings).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn given(
        &self,
        given: &ProxySetting,
        target: Option<Scheme>,
        name: SettingName,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<Setting<ProxyServer>>, ConfigError> {
        match &given.0 {
            Given::Text(blank) if blank.trim().is_empty() => Ok(None),
            Given::Text(text) => self.parse(text, target, name, warnings).map(Some),
            Given::Read(server) => Ok(Some(Setting {
                name,
                value: server.clone(),
            })),
        }
    }

    /// Parses a proxy's address. `target` is the scheme of the targets that it is for, if they have one in common.
    fn parse(
        &self,
        text: &str,
        target: Option<Scheme>,
        name: SettingName,
        warnings: &mut Vec<Warning>,
    ) -> Result<Setting<ProxyServer>, ConfigError> {
        let rules = self.dialect.rules();
        let default_port = |scheme| self.default_port.unwrap_or(rules.default_port).of(scheme, target);
        let proxy = match name.is_in_settings_file() {
            _ if rules.scheme_required && split_scheme(text.trim()).0.is_none() => {
                let reason = "in this dialect a proxy's address must begin with `http://` or `https://`";
                Err(ConfigError::text(reason).with_value(text.trim()))
            }
            true => ProxyServer::parse_in_file(text, default_port),
            false => ProxyServer::parse(text, default_port),
        };
        let value = proxy.map_err(|error| error.in_setting(&name))?;
        if ProxyServer::is_unlikely(text) {
            warnings.push(Warning::UnlikelyProxy {
                setting: name.as_str().to_owned(),
                value: text.trim().to_owned(),
                proxy: value.url(),
            });
        }
        Ok(Setting { name, value })
    }

    fn read_no_proxy(&self, file: &FileSettings, warnings: &mut Vec<Warning>) -> Result<Setting<NoProxy>, ConfigError> {
        let setting = if let Some(given) = &self.no_proxy {
            let name = SettingName::code("no_proxy");
            Setting {
                value: given.read(self.dialect, &name)?,
                name,
            }
        } else if let Some(of_file) = file.over_env.then(|| self.no_proxy_of(file)).flatten() {
            of_file?
        } else if let Some(variable) = self.vars.no_proxy(self.dialect.rules(), warnings)? {
            Setting {
                name: variable.name,
                value: NoProxy::lenient(&variable.value, self.dialect),
            }
        } else if let Some(of_file) = self.no_proxy_of(file) {
            of_file?
        } else {
            Setting {
                name: SettingName::variable("NO_PROXY"),
                value: NoProxy::lenient("", self.dialect),
            }
        };
        warn_of_entries(&setting.value, &setting.name, warnings);
        Ok(setting)
    }

    fn no_proxy_of(&self, file: &FileSettings) -> Option<Result<Setting<NoProxy>, ConfigError>> {
        let (key, text) = file.no_proxy.as_ref()?;
        let name = SettingName::key(*key);
        let list = match text {
            Ok(text) => NoProxy::strict(text, self.dialect),
            Err(entry) => Err(ConfigError::new(Problem::Entry(entry.clone()))),
        };
        Some(match list {
            Ok(value) => Ok(Setting { name, value }),
            Err(error) => Err(error.in_setting(&name)),
        })
    }

    #[cfg(feature = "serde")]
    fn read_domains(&self, domains: Vec<FileDomains>, warnings: &mut Vec<Warning>) -> Result<ByDomain, ConfigError> {
        let read = |domains: FileDomains| {
            Ok(DomainProxy {
                proxy: self.parse(&domains.url, None, domains.name, warnings)?.value,
                include: domains.include,
                exclude: domains.exclude,
            })
        };
        domains
            .into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(ByDomain::new)
    }

    fn read_rules(&self, warnings: &mut Vec<Warning>) -> Result<Vec<Rule>, ConfigError> {
        let rule = |(when, proxy): &(When, ProxySetting)| {
            let when = match when {
                When::Predicate(predicate) => predicate.clone(),
                When::Listed(given) => {
                    let list = given.read(self.dialect, &PROXY_FOR)?;
                    warn_of_entries(&list, &PROXY_FOR, warnings);
                    Predicate(Arc::new(list))
                }
            };
            let proxy = self.given(proxy, None, PROXY_FOR.clone(), warnings)?;
            let proxy = proxy.map(|setting| setting.value);
            Ok(Rule { when, proxy })
        };
        self.rules.iter().map(rule).collect()
    }
}

#[cfg(all(feature = "serde", feature = "tls"))]
fn accept_any_certificate() -> Result<TlsConfig, ConfigError> {
    TlsConfig::builder()
        .dangerous_accept_any_certificate_for_testing()
        .build()
        .map_err(|error| error.in_setting(&SettingName::key(super::file::INSECURE)))
}

fn usable(proxy: &Option<Result<Setting<ProxyServer>, UnusableProxyError>>) -> Option<Setting<ProxyServer>> {
    proxy.as_ref().and_then(|proxy| proxy.as_ref().ok()).cloned()
}

fn warn_of_entries(list: &NoProxy, setting: &SettingName, warnings: &mut Vec<Warning>) {
    let mut reported: Vec<_> = list.rejected().iter().chain(list.malformed()).collect();
    reported.sort_by_key(|error| error.position());
    warnings.extend(reported.into_iter().map(|error| Warning::Entry {
        setting: setting.as_str().to_owned(),
        error: error.clone(),
    }));
}

impl fmt::Debug for ProxyConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The strings are not parsed yet, so their secret parts are unknown.
        let mut debug = f.debug_struct("ProxyConfigBuilder");
        #[cfg(feature = "serde")]
        debug.field("file", &self.file);
        debug
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("all", &self.all.is_some())
            .field("no_proxy", &self.no_proxy.is_some())
            .field("dialect", &self.dialect)
            .finish_non_exhaustive()
    }
}
