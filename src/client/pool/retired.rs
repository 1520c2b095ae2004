//! [`Retired`]: connections whose settings have been replaced.

use std::sync::Arc;

use super::key::Key;
use crate::{config::ProxyServer, layer::Shared};

/// Identifies retired connections: those to a proxy that the current settings no longer have. They are closed once no
/// request is on them. Nothing is retired until settings are replaced.
#[derive(Default)]
pub(super) struct Retired {
    /// The current settings; `None` until settings are replaced.
    present: Option<Arc<Shared>>,
}

impl Retired {
    pub(super) fn update(&mut self, present: &Arc<Shared>) {
        self.present = Some(present.clone());
    }

    /// Returns true if these are the current settings and replaced others.
    pub(super) fn is_present(&self, settings: &Arc<Shared>) -> bool {
        self.present
            .as_ref()
            .is_some_and(|present| Arc::ptr_eq(present, settings))
    }

    /// Returns true if the key's settings were replaced by others without its proxy, or with other TLS to it. Proxies
    /// that only a request's own route or purpose names are never retired.
    pub(super) fn has(&self, key: &Key) -> bool {
        let (Some(present), Some(proxy)) = (&self.present, key.route.proxy()) else {
            return false;
        };
        if Arc::ptr_eq(present, &key.settings) {
            return false;
        }
        let other_tls = proxy.is_tls() && key.proxy_tls() != present.config.tls();
        other_tls || (names(&key.settings, proxy) && !names(present, proxy))
    }
}

fn names(settings: &Shared, proxy: &ProxyServer) -> bool {
    settings.config.proxies().any(|one| one == proxy)
}
