//! Settings from a file, in any format that serde knows (feature `serde`).
//!
//! [`ProxySettings`] takes what the file says, [`ProxyConfigBuilder::settings`](super::ProxyConfigBuilder::settings)
//! reads it. Two steps, so that every error is this crate's own: the formats' errors quote what they found, and of a
//! misplaced proxy address that is the password.

mod read;
mod value;
mod write;

use std::fmt;

use serde_core::{Deserialize, Deserializer};

pub(super) use self::read::INSECURE;
use self::{
    read::{Domains, List},
    value::{AnyValue, Value},
};
use super::{
    by_domain::Patterns,
    setting::{DomainsOfFile, OfFile},
};
use crate::{
    error::{ConfigError, EntryError, Problem, SettingName},
    redact::redacted_pattern,
};

/// What a settings file says about proxies, not read yet.
///
/// It implements `Deserialize` for formats that say what kind a value is of (TOML, JSON, YAML and the like), and so takes
/// part in an application's own settings: as a section, or with
/// `#[serde(flatten)]` among the other keys. [`ProxyConfigBuilder::settings`](crate::ProxyConfigBuilder::settings) and
/// [`ProxyConfig::from_settings`](crate::ProxyConfig::from_settings) make a [`ProxyConfig`](crate::ProxyConfig) of it.
///
/// ```
/// # use tower_outbound_proxy::{ProxyConfig, ProxySettings, config::Precedence};
/// #[derive(serde::Deserialize)]
/// struct Settings {
///     #[serde(default)]
///     proxy: ProxySettings,
/// }
///
/// let settings: Settings = toml::from_str(
///     r#"
///     [proxy]
///     https_proxy = "http://user:secret@proxy.example:3128"
///     no_proxy = ["internal.example", "10.0.0.0/8"]
///
///     [[proxy.by_domain]]
///     url = "http://onion-proxy.example:9080"
///     include = ["*.onion"]
///     "#,
/// )?;
/// let config = ProxyConfig::builder().settings(settings.proxy, Precedence::FileOverEnv).build()?;
///
/// for (url, decision) in [
///     ("https://a.onion/", "tunnel through http://onion-proxy.example:9080: by_domain[0] applies (include[0] `*.onion` matches)"),
///     ("https://10.1.2.3/", "direct: entry 2 `10.0.0.0/8` of no_proxy in the settings file matches"),
///     ("https://example.com/", "tunnel through http://user:***@proxy.example:3128: https_proxy in the settings file is set, and nothing exempts the target"),
/// ] {
///     assert_eq!(config.decide(&url.parse()?).to_string(), decision);
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Keys
///
/// | key | value |
/// |---|---|
/// | `http_proxy` | the proxy for `http` and `ws` targets |
/// | `https_proxy` | the proxy for `https` and `wss` targets |
/// | `all_proxy` | the proxy where the specific one is unset, in the file and in the environment |
/// | `no_proxy`, or `no_proxy_hosts` | the targets that are reached directly: a text as in the variable, or a list with one entry an item |
/// | `by_domain` | proxies for some targets only: a list of tables with `url`, `include` and `exclude` |
/// | `use_insecure_ssl_client_just_for_testing_do_not_use` | `true`: certificates of `https://` proxies are not verified, unless [`proxy_tls`](crate::ProxyConfigBuilder) is given in code |
///
/// Keys are in lower case, and one that is not known is an error (with `#[serde(flatten)]` it is not seen: serde hands
/// over the known ones only). A key without a value (`null`) and a proxy that is a blank text are unset; a `no_proxy`
/// that is empty (`""` or `[]`) is set, and empty.
///
/// A file is read strictly: an entry of `no_proxy` that matches nothing is an error. An item of a list is one entry, and
/// an error if it is blank or has a blank or a comma in it. [`Dialect`](crate::Dialect) applies to entries and to the
/// default port as it does to variables; rules on names of variables and on CGI do not apply to keys.
///
/// # `by_domain`
///
/// | pattern | matches |
/// |---|---|
/// | `*` | every target, addresses too |
/// | `*.example.com` | the subdomains of `example.com`, not itself |
/// | `example.com`, `192.0.2.1`, `2001:db8::1` | exactly that name or address |
///
/// A proxy is for a target if the most specific pattern of its `include` that matches is more specific than the most
/// specific one of its `exclude` that matches. An exact pattern is the most specific, then `*.` with the longest name,
/// then `*`; without `include` it is `*`. Of several proxies for a target the one with the most specific `include` is
/// taken, of equals the first. (Palpo itself takes the first in the list that is for the target; lists in which no two
/// proxies are for one target read the same in both.) It is the same in every dialect.
///
/// What is exempt (`no_proxy`, loopback) stays exempt, and rules that are given in code
/// ([`proxy_for`](crate::ProxyConfigBuilder::proxy_for)) come first. Where no proxy of the list is for the target,
/// `http_proxy` and `https_proxy` are.
///
/// # Passwords
///
/// `Deserialize` takes any value under any key and leaves it to [`build`](crate::ProxyConfigBuilder::build) to find it
/// wrong, so that these settings are never what a format's error quotes. That is also why
/// [`ProxyConfig`](crate::ProxyConfig) and [`ProxyServer`](crate::ProxyServer) have no `Deserialize`.
///
/// An error of the *format* is beyond that, be it one of syntax (to TOML and YAML a key that is there twice is one) or a
/// value of another key of the application's: it may quote the line, the lines around it (serde-saphyr), or in its
/// `Debug` the whole file (toml). So print `message()` of toml's, and `without_snippet()` of serde-saphyr's, and none
/// with `{:?}`, which is also what `unwrap`, and a `main` that returns the error, do.
///
/// `Serialize` writes `***` for a password, and fails for settings with unknown keys or with values of the wrong kind.
/// Reading `***` as a password is an error, so that nobody saves the settings without credentials in silence. (A
/// password that really is `***` can be written `%2A%2A%2A`.)
#[derive(Clone)]
pub struct ProxySettings(Value);

/// Which of a settings file and the environment holds where both set the same.
///
/// It is decided key by key: with [`FileOverEnv`](Self::FileOverEnv), `http_proxy` can come from the file and
/// `HTTPS_PROXY`, which the file does not have, from the environment. `all_proxy` fills what neither sets:
/// `HTTP_PROXY` in the environment goes over `all_proxy` in the file, too. What is set in code goes over both.
///
/// A value that does not hold is not read, so that it can be overridden even if it is wrong. A blank variable is unset and
/// overrides nothing; but `NO_PROXY` that is set to nothing is an empty list, and overrides like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precedence {
    /// What the file does not set is taken from the environment.
    FileOverEnv,
    /// What the environment does not set is taken from the file.
    EnvOverFile,
}

impl ProxySettings {
    /// Whether the file has `use_insecure_ssl_client_just_for_testing_do_not_use: true`.
    ///
    /// [`ProxyConfig`](crate::ProxyConfig) obeys it for proxies only. An application that wants the same for targets, as
    /// Palpo does, builds a `TlsConfig` that does the same.
    #[must_use]
    pub fn accepts_any_certificate_for_testing(&self) -> bool {
        let is_set = |(key, value): &(Option<String>, Value)| {
            key.as_deref() == Some(read::INSECURE) && matches!(value, Value::Bool(true))
        };
        matches!(&self.0, Value::Table(entries) if entries.iter().any(is_set))
    }

    /// Checks the types, not the values.
    pub(super) fn of_file(&self, precedence: Precedence) -> Result<OfFile, ConfigError> {
        let read = read::read(&self.0)?;
        Ok(OfFile {
            over_env: precedence == Precedence::FileOverEnv,
            http: read.http.map(str::to_owned),
            https: read.https.map(str::to_owned),
            all: read.all.map(str::to_owned),
            no_proxy: match read.no_proxy {
                None => None,
                Some((key, List::Text(text))) => Some((key, Ok(text.to_owned()))),
                Some((key, List::Items(items))) => Some((key, one_text(&items))),
            },
            by_domain: read
                .by_domain
                .unwrap_or_default()
                .iter()
                .enumerate()
                .map(domains)
                .collect::<Result<_, _>>()?,
            accept_any_certificate: read.insecure.unwrap_or_default(),
        })
    }
}

/// A list as the text that says the same. Its entries have the places that the items have.
fn one_text(items: &[&str]) -> Result<String, EntryError> {
    for (item, position) in items.iter().zip(1..) {
        let reason = match item.trim() {
            "" => "the entry is blank",
            item if item.contains(|c: char| c == ',' || c.is_whitespace()) => {
                "an item of a list is one entry, and this one contains a comma or a blank"
            }
            _ => continue,
        };
        return Err(EntryError::new(position, item, reason));
    }
    Ok(items.join(","))
}

fn domains((index, domains): (usize, &Domains<'_>)) -> Result<DomainsOfFile, ConfigError> {
    let read = |patterns: &Option<Vec<&str>>, key: &str| {
        let texts = patterns.iter().flatten().map(|text| (*text).to_owned()).collect();
        Patterns::new(texts).map_err(|(at, reason)| {
            let pattern = patterns.iter().flatten().nth(at).copied().unwrap_or_default();
            ConfigError::new(Problem::Pattern(reason))
                .with_redacted(redacted_pattern(pattern))
                .in_setting(&SettingName::key(format!("{}[{index}].{key}[{at}]", read::BY_DOMAIN)))
        })
    };
    Ok(DomainsOfFile {
        name: SettingName::key(format!("{}[{index}].{}", read::BY_DOMAIN, read::URL)),
        url: domains.url.to_owned(),
        include: read(&domains.include, read::INCLUDE)?,
        exclude: read(&domains.exclude, read::EXCLUDE)?,
    })
}

/// No key is set.
impl Default for ProxySettings {
    fn default() -> Self {
        Self(Value::Table(Vec::new()))
    }
}

impl<'de> Deserialize<'de> for ProxySettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for a struct, formats judge the kind themselves, and quote what they find instead. But of an application's
        // flattened keys only a struct's own are handed over to one who asks for it; there, it is a table anyway.
        let value = match std::any::type_name::<D>().contains("FlatMapDeserializer") {
            true => deserializer.deserialize_struct("ProxySettings", read::KEYS, AnyValue),
            false => deserializer.deserialize_any(AnyValue),
        };
        value.map(Self)
    }
}

impl fmt::Debug for ProxySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The texts are not parsed yet, so what of them is secret is not known yet either.
        let mut debug = f.debug_struct("ProxySettings");
        match &self.0 {
            Value::Table(entries) => {
                for (key, value) in entries {
                    debug.field(read::shown(key), &format_args!("{}", value.type_name()));
                }
            }
            other => drop(debug.field("type", &other.type_name())),
        }
        debug.finish()
    }
}
