//! Checks the keys of a settings file, and the types of their values.
//!
//! Every error names the key with its path. No error shows a value: any part of a misplaced value may be secret.

use super::value::{Key, Value};
pub(super) use crate::config::env::{ALL, HTTP, HTTPS, NO};
use crate::error::{ConfigError, Problem, SettingName};

pub(super) const NO_HOSTS: &str = "no_proxy_hosts";
pub(super) const BY_DOMAIN: &str = "by_domain";
pub(in crate::config) const INSECURE: &str = "use_insecure_ssl_client_just_for_testing_do_not_use";

/// All known keys.
pub(super) const KEYS: &[&str; 7] = &[HTTP, HTTPS, ALL, NO, NO_HOSTS, BY_DOMAIN, INSECURE];
const KNOWN: &str = "http_proxy, https_proxy, all_proxy, no_proxy, no_proxy_hosts, by_domain, \
                     use_insecure_ssl_client_just_for_testing_do_not_use";

pub(super) const URL: &str = "url";
pub(super) const INCLUDE: &str = "include";
pub(super) const EXCLUDE: &str = "exclude";

/// The content of the file, with unparsed values. A blank proxy is unset.
pub(super) struct Read<'v> {
    pub(super) http: Option<&'v str>,
    pub(super) https: Option<&'v str>,
    pub(super) all: Option<&'v str>,
    pub(super) no_proxy: Option<(&'static str, List<'v>)>,
    pub(super) by_domain: Option<Vec<Domains<'v>>>,
    pub(super) insecure: Option<bool>,
}

/// A list of hosts.
pub(super) enum List<'v> {
    Text(&'v str),
    Items(Vec<&'v str>),
}

/// One proxy in `by_domain`.
pub(super) struct Domains<'v> {
    pub(super) url: &'v str,
    pub(super) include: Option<Vec<&'v str>>,
    pub(super) exclude: Option<Vec<&'v str>>,
}

pub(super) fn read(settings: &Value) -> Result<Read<'_>, ConfigError> {
    let [http, https, all, no_proxy, no_proxy_hosts, by_domain, insecure] = table(settings, "", KEYS, KNOWN)?;
    Ok(Read {
        http: text(http, HTTP)?,
        https: text(https, HTTPS)?,
        all: text(all, ALL)?,
        no_proxy: match (no_proxy, no_proxy_hosts) {
            (Value::Null, Value::Null) => None,
            (list, Value::Null) => Some((NO, hosts(list, NO)?)),
            (Value::Null, list) => Some((NO_HOSTS, hosts(list, NO_HOSTS)?)),
            _ => {
                let both = ConfigError::text("set either `no_proxy` or `no_proxy_hosts`, not both");
                return Err(in_file(both, NO_HOSTS));
            }
        },
        by_domain: proxies(by_domain)?,
        insecure: match insecure {
            Value::Null => None,
            Value::Bool(insecure) => Some(*insecure),
            other => return Err(wrong_type(other, "a boolean", INSECURE)),
        },
    })
}

fn proxies(value: &Value) -> Result<Option<Vec<Domains<'_>>>, ConfigError> {
    let proxies = match value {
        Value::Null => return Ok(None),
        Value::List(proxies) => proxies,
        other => return Err(wrong_type(other, "a list of proxies", BY_DOMAIN)),
    };
    let read = |(index, proxy)| {
        let path = format!("{BY_DOMAIN}[{index}]");
        let [url, include, exclude] = table(proxy, &path, &[URL, INCLUDE, EXCLUDE], "url, include, exclude")?;
        let at = |key| join(&path, key);
        let unset = || {
            in_file(
                ConfigError::text("missing (every proxy in `by_domain` needs a `url`)"),
                &at(URL),
            )
        };
        Ok(Domains {
            url: text(url, &at(URL))?.ok_or_else(unset)?,
            include: patterns(include, &at(INCLUDE))?,
            exclude: patterns(exclude, &at(EXCLUDE))?,
        })
    };
    proxies.iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
}

/// Returns the values of these keys, `Null` for a missing key.
fn table<'v, const N: usize>(
    value: &'v Value,
    path: &str,
    keys: &[&str; N],
    known: &'static str,
) -> Result<[&'v Value; N], ConfigError> {
    let entries = match value {
        Value::Table(entries) => entries,
        // A section with every line commented out.
        Value::Null if path.is_empty() => return Ok([&Value::Null; N]),
        other => return Err(wrong_type(other, "a table", path)),
    };
    let mut values = [None; N];
    for (key, value) in entries {
        let at = join(path, shown(key));
        let Some(slot) = keys.iter().position(|known| Some(*known) == key.as_deref()) else {
            return Err(in_file(ConfigError::new(Problem::UnknownKey { known }), &at));
        };
        if values[slot].replace(value).is_some() {
            return Err(in_file(ConfigError::text("duplicate key"), &at));
        }
    }
    Ok(values.map(|value| value.unwrap_or(&Value::Null)))
}

fn text<'v>(value: &'v Value, path: &str) -> Result<Option<&'v str>, ConfigError> {
    match value {
        Value::Null => Ok(None),
        Value::Text(text) => Ok(Some(&**text).filter(|text| !text.trim().is_empty())),
        other => Err(wrong_type(other, "a string", path)),
    }
}

fn hosts<'v>(value: &'v Value, path: &str) -> Result<List<'v>, ConfigError> {
    match value {
        Value::Text(text) => Ok(List::Text(text)),
        Value::List(list) => items(list, path).map(List::Items),
        other => Err(wrong_type(other, "a string or a list of strings", path)),
    }
}

fn patterns<'v>(value: &'v Value, path: &str) -> Result<Option<Vec<&'v str>>, ConfigError> {
    match value {
        Value::Null => Ok(None),
        Value::List(list) => items(list, path).map(Some),
        other => Err(wrong_type(other, "a list of strings", path)),
    }
}

fn items<'v>(list: &'v [Value], path: &str) -> Result<Vec<&'v str>, ConfigError> {
    let item = |(index, value): (usize, &'v Value)| match value {
        Value::Text(text) => Ok(&**text),
        other => Err(wrong_type(other, "a string", &format!("{path}[{index}]"))),
    };
    list.iter().enumerate().map(item).collect()
}

fn wrong_type(value: &Value, expected: &'static str, path: &str) -> ConfigError {
    let found = value.type_name();
    in_file(ConfigError::new(Problem::Type { expected, found }), path)
}

/// Names the key in the error. An empty path means the whole file.
fn in_file(error: ConfigError, path: &str) -> ConfigError {
    error.in_setting(&SettingName::key(path.to_owned()))
}

fn join(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

/// Returns the key, or `***` if it does not look like one: it may be a misplaced address with its password.
pub(super) fn shown(key: &Key) -> &str {
    let looks_like_one =
        |key: &&str| key.len() <= 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    key.as_deref().filter(looks_like_one).unwrap_or("***")
}
