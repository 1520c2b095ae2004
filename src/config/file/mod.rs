//! Settings from a file, in any format that serde supports (feature `serde`).
//!
//! [`ProxySettings`] holds the file's content, and
//! [`ProxyConfigBuilder::settings`](super::ProxyConfigBuilder::settings) reads it. The two steps make every error this
//! crate's own. A format's error quotes the value that it found, and a misplaced proxy address contains the password.

mod read;
mod value;
mod write;

use std::fmt;

use serde_core::{Deserialize, Deserializer};

pub(super) use self::read::INSECURE;
use self::{
    read::{Domains, List},
    value::{AnyValue, Key, Value},
};
use super::{
    by_domain::Patterns,
    given::{FileDomains, FileSettings},
};
use crate::{
    error::{ConfigError, EntryError, Problem, SettingName},
    redact::redacted_entry,
    secret::SecretText,
};

/// The proxy settings of a settings file, not yet checked.
///
/// It implements `Deserialize` for self-describing formats (TOML, JSON, YAML and the like). An application can embed it
/// in its own settings: as a section, or with `#[serde(flatten)]` among the other keys.
/// [`ProxyConfigBuilder::settings`](super::ProxyConfigBuilder::settings) and
/// [`ProxyConfig::from_settings`](crate::ProxyConfig::from_settings) turn it into a
/// [`ProxyConfig`](crate::ProxyConfig).
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
/// | `all_proxy` | the proxy for a scheme whose own proxy is unset, in the file and in the environment, and for every scheme without one of its own |
/// | `no_proxy`, or `no_proxy_hosts` | the targets that are reached directly: a string as in the variable, or a list with one entry per item |
/// | `by_domain` | proxies for some targets only: a list of tables with `url`, `include` and `exclude` |
/// | `use_insecure_ssl_client_just_for_testing_do_not_use` | if `true`, certificates of `https://` proxies are not verified, unless code sets [`proxy_tls`](super::ProxyConfigBuilder) |
///
/// Keys are in lower case. An unknown key is an error, except with `#[serde(flatten)]`, where serde passes on only the
/// known keys. A key without a value (`null`) and a blank proxy count as unset. An empty `no_proxy` (`""` or `[]`) is
/// set to an empty list.
///
/// A file is read strictly: an entry of `no_proxy` that matches nothing is an error. An item of a list is one entry.
/// Blank items, and items that contain white space or a comma, are errors. [`Dialect`](crate::Dialect) applies to
/// entries and to the default port, as it does for variables. Its rules for variable names and CGI do not apply to
/// keys.
///
/// # `by_domain`
///
/// | pattern | matches |
/// |---|---|
/// | `*` | every target, addresses included |
/// | `*.example.com` | the subdomains of `example.com`, not `example.com` itself |
/// | `example.com`, `192.0.2.1`, `2001:db8::1` | exactly that name or address |
///
/// A proxy applies to a target if its most specific matching `include` pattern is more specific than its most specific
/// matching `exclude` pattern. An exact pattern is the most specific, then `*.` with the longest name, then `*`. A
/// missing `include` counts as `*`. If several proxies apply, the one with the most specific `include` pattern is used,
/// and the first in the list wins a tie. (Palpo itself uses the first proxy in the list that applies. The two agree on
/// a list in which no two proxies apply to one target.) These rules are the same in every dialect.
///
/// Exempt targets (`no_proxy`, loopback) stay exempt, and rules added in code
/// ([`proxy_for`](super::ProxyConfigBuilder::proxy_for)) come first. If no proxy of the list applies to the target,
/// `http_proxy` and `https_proxy` do.
///
/// # Passwords
///
/// `Deserialize` accepts any value under any key, and [`build`](super::ProxyConfigBuilder::build) reports the wrong
/// ones. A format's error therefore never quotes these settings. For the same reason
/// [`ProxyConfig`](crate::ProxyConfig) and [`ProxyServer`](crate::ProxyServer) do not implement `Deserialize`.
///
/// This crate cannot control the *format's* own errors: a syntax error (in TOML and YAML, a duplicate key is one), or a
/// wrong value under another of the application's keys. Such an error may quote the line, the lines around it
/// (serde-saphyr), or in its `Debug` output the whole file (toml). Print `message()` of a toml error, and
/// `without_snippet()` of a serde-saphyr error. Print neither with `{:?}`: `unwrap` does so, and so does a `main` that
/// returns the error.
///
/// `Serialize` writes `***` for a password, and fails for settings with unknown keys or with values of the wrong type.
/// Reading `***` as a password is an error, so that nobody loses the credentials unnoticed by saving the settings. (A
/// password that really is `***` can be written as `%2A%2A%2A`.)
#[derive(Clone)]
pub struct ProxySettings(Value);

/// The precedence of a settings file and the environment if both set the same key.
///
/// Precedence applies key by key. With [`FileOverEnv`](Self::FileOverEnv), `http_proxy` can come from the file, and
/// `HTTPS_PROXY`, which the file does not set, from the environment. `all_proxy` applies only to a scheme whose proxy
/// neither of them sets, and to other schemes: `HTTP_PROXY` in the environment also overrides `all_proxy` in the file.
/// Code overrides both.
///
/// An overridden value is not read, so even a wrong value can be overridden. A blank variable counts as unset and
/// overrides nothing. A blank `NO_PROXY`, however, is an empty list and overrides like any other list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precedence {
    /// The file overrides the environment, which supplies the keys that the file does not set.
    FileOverEnv,
    /// The environment overrides the file, which supplies the keys that the environment does not set.
    EnvOverFile,
}

impl ProxySettings {
    /// Returns true if the file has `use_insecure_ssl_client_just_for_testing_do_not_use: true`.
    ///
    /// [`ProxyConfig`](crate::ProxyConfig) applies this setting to proxies only. An application that wants it for
    /// targets, as Palpo does, builds a `TlsConfig` that does the same.
    #[must_use]
    pub fn accepts_any_certificate_for_testing(&self) -> bool {
        let is_set =
            |(key, value): &(Key, Value)| key.as_deref() == Some(read::INSECURE) && matches!(value, Value::Bool(true));
        matches!(&self.0, Value::Table(entries) if entries.iter().any(is_set))
    }

    /// Checks the types, not the values.
    pub(super) fn of_file(&self, precedence: Precedence) -> Result<FileSettings, ConfigError> {
        let read = read::read(&self.0)?;
        Ok(FileSettings {
            over_env: precedence == Precedence::FileOverEnv,
            http: read.http.map(SecretText::from),
            https: read.https.map(SecretText::from),
            all: read.all.map(SecretText::from),
            no_proxy: match read.no_proxy {
                None => None,
                Some((key, List::Text(text))) => Some((key, Ok(text.into()))),
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

/// Joins the items into one string. Its entries have the same positions as the items.
fn one_text(items: &[&str]) -> Result<SecretText, EntryError> {
    for (item, position) in items.iter().zip(1..) {
        let reason = match item.trim() {
            "" => "the entry is blank",
            item if item.contains(|c: char| c == ',' || c.is_whitespace()) => {
                "an item is one entry, but this one contains a comma or white space"
            }
            _ => continue,
        };
        return Err(EntryError::new(position, item, reason));
    }
    Ok(items.join(",").into())
}

fn domains((index, domains): (usize, &Domains<'_>)) -> Result<FileDomains, ConfigError> {
    let read = |patterns: &Option<Vec<&str>>, key: &str| {
        let texts = patterns.iter().flatten().map(|text| (*text).to_owned()).collect();
        Patterns::new(texts).map_err(|(at, reason)| {
            let pattern = patterns.iter().flatten().nth(at).copied().unwrap_or_default();
            ConfigError::new(Problem::Pattern(reason))
                .with_redacted(redacted_entry(pattern))
                .in_setting(&SettingName::key(format!("{}[{index}].{key}[{at}]", read::BY_DOMAIN)))
        })
    };
    Ok(FileDomains {
        name: SettingName::key(format!("{}[{index}].{}", read::BY_DOMAIN, read::URL)),
        url: domains.url.into(),
        include: read(&domains.include, read::INCLUDE)?,
        exclude: read(&domains.exclude, read::EXCLUDE)?,
    })
}

/// Creates settings without any key.
impl Default for ProxySettings {
    fn default() -> Self {
        Self(Value::Table(Vec::new()))
    }
}

impl<'de> Deserialize<'de> for ProxySettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A format that is asked for a struct checks the type itself, and its error quotes the value. With `flatten`,
        // however, only a request for a struct yields the struct's own keys alone. The value is always a table there.
        let value = match std::any::type_name::<D>().contains("FlatMapDeserializer") {
            true => deserializer.deserialize_struct("ProxySettings", read::KEYS, AnyValue),
            false => deserializer.deserialize_any(AnyValue),
        };
        value.map(Self)
    }
}

impl fmt::Debug for ProxySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The strings are not parsed yet, so their secret parts are unknown.
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
