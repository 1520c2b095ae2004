//! Connections that replaced settings have left over.

use std::collections::HashSet;

use super::key::Key;
use crate::{
    config::{ProxyConfig, ProxyServer},
    tls::TlsConfig,
};

/// Which connections are not kept any longer than the requests on them. Nothing is gone until settings are replaced.
#[derive(Default)]
pub(super) struct Gone {
    proxies: HashSet<ProxyServer>,
    /// TLS to proxies, since settings were replaced.
    tls: Option<Option<TlsConfig>>,
}

impl Gone {
    /// Proxies that only a request's own route or purpose names are never gone.
    pub(super) fn update(&mut self, old: &ProxyConfig, new: &ProxyConfig) {
        self.proxies.extend(old.proxies().cloned());
        for proxy in new.proxies() {
            self.proxies.remove(proxy);
        }
        self.tls = Some(new.tls().cloned());
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        let other_tls = || match &self.tls {
            Some(tls) => key.proxy_tls() != tls.as_ref(),
            None => false,
        };
        key.route
            .proxy()
            .is_some_and(|proxy| self.proxies.contains(proxy) || (proxy.is_tls() && other_tls()))
    }
}
