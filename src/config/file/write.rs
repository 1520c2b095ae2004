//! Writes settings with the keys of a settings file and without passwords.

use std::fmt;

use serde_core::{
    Serialize, Serializer,
    ser::{Error, SerializeStruct},
};

use super::{
    ProxySettings,
    read::{self, Domains, List, read},
};
use crate::{
    config::{
        ProxyConfig, ProxyServer,
        by_domain::{ByDomain, DomainProxy},
    },
    no_proxy::NoProxy,
    redact::{is_entry_without_secret, written_address},
};

/// Writes the keys that are set, as they were given, with `***` for passwords. An entry or pattern that is not a host
/// and may contain a password becomes `***` as a whole.
///
/// # Errors
///
/// Fails for unknown keys and values of the wrong type, which cannot be written and must not get lost.
impl Serialize for ProxySettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let settings = read(&self.0).map_err(S::Error::custom)?;
        let (no_proxy, no_proxy_hosts) = match &settings.no_proxy {
            Some((read::NO_HOSTS, list)) => (None, Some(list)),
            other => (other.as_ref().map(|(_, list)| list), None),
        };
        let mut out = serializer.serialize_struct("ProxySettings", read::KEYS.len())?;
        field(&mut out, read::HTTP, settings.http.map(written_address))?;
        field(&mut out, read::HTTPS, settings.https.map(written_address))?;
        field(&mut out, read::ALL, settings.all.map(written_address))?;
        field(&mut out, read::NO, no_proxy)?;
        field(&mut out, read::NO_HOSTS, no_proxy_hosts)?;
        field(&mut out, read::INSECURE, settings.insecure)?;
        field(&mut out, read::BY_DOMAIN, settings.by_domain)?;
        out.end()
    }
}

/// Writes the settings that apply, with the keys of a settings file and `***` for passwords.
///
/// Entries of `NO_PROXY` that match nothing are omitted, and so is an `all_proxy` that cannot be used. Settings without
/// a key (predicates, rules added in code, dialect, loopback, always tunnel) are not written. Neither is `no_proxy` if
/// a predicate replaces it, nor `all_proxy` if code gives `http` or `https` targets no proxy.
impl Serialize for ProxyConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("ProxySettings", read::KEYS.len())?;
        field(&mut out, read::HTTP, self.http())?;
        field(&mut out, read::HTTPS, self.https())?;
        // In a file, it would also be the proxy of a scheme that code gives none.
        let all = self.all().filter(|_| self.http.is_some() && self.https.is_some());
        field(&mut out, read::ALL, all)?;
        field(&mut out, read::NO, self.bypass.is_none().then_some(self.no_proxy()))?;
        field(&mut out, read::INSECURE, self.accepts_any_certificate().then_some(true))?;
        let has_domains = !self.by_domain.proxies().is_empty();
        field(&mut out, read::BY_DOMAIN, has_domains.then_some(&self.by_domain))?;
        out.end()
    }
}

/// Writes the value if it is set. Not every format can express a null.
fn field<S: SerializeStruct>(out: &mut S, key: &'static str, value: Option<impl Serialize>) -> Result<(), S::Error> {
    match value {
        Some(value) => out.serialize_field(key, &value),
        None => out.skip_field(key),
    }
}

/// Writes the address as a string, always with its port, and with `***` for a password.
impl Serialize for ProxyServer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Written(self))
    }
}

struct Written<'a>(&'a ProxyServer);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(server) = self;
        let scheme = if server.is_tls() { "https" } else { "http" };
        write!(f, "{scheme}://")?;
        if let Some(credentials) = server.credentials() {
            write!(f, "{}", credentials.encoded_user())?;
            f.write_str(if credentials.has_password() { ":***@" } else { "@" })?;
        }
        write!(f, "{}:{}", server.host(), server.port())
    }
}

/// Writes the list of entries as they were written, without those that match nothing.
impl Serialize for NoProxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.entries())
    }
}

impl Serialize for ByDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.proxies())
    }
}

impl Serialize for DomainProxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let patterns = |texts: &'_ [String]| (!texts.is_empty()).then(|| texts.to_vec());
        let mut out = serializer.serialize_struct("DomainProxy", 3)?;
        field(&mut out, read::URL, Some(&self.proxy))?;
        field(&mut out, read::INCLUDE, patterns(self.include.texts()))?;
        field(&mut out, read::EXCLUDE, patterns(self.exclude.texts()))?;
        out.end()
    }
}

impl Serialize for Domains<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let patterns = |list: &Option<Vec<&'_ str>>| list.as_ref().map(|list| hidden_items(list));
        let mut out = serializer.serialize_struct("DomainProxy", 3)?;
        field(&mut out, read::URL, Some(written_address(self.url)))?;
        field(&mut out, read::INCLUDE, patterns(&self.include))?;
        field(&mut out, read::EXCLUDE, patterns(&self.exclude))?;
        out.end()
    }
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(hidden(text)),
            Self::Items(items) => hidden_items(items).serialize(serializer),
        }
    }
}

fn hidden_items(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| hidden(item).to_owned()).collect()
}

fn hidden(list: &str) -> &str {
    match is_entry_without_secret(list) {
        true => list,
        false => "***",
    }
}
