//! Connections that replaced settings have left over.

use std::sync::Arc;

use super::key::Key;
use crate::{config::ProxyServer, layer::Shared};

/// Which connections are not kept any longer than the requests on them. Nothing is gone until settings are replaced.
///
/// Of replaced settings nothing is remembered but by the keys of what they have left over.
#[derive(Default)]
pub(super) struct Gone {
    /// The present settings, since settings were replaced.
    present: Option<Arc<Shared>>,
}

impl Gone {
    pub(super) fn update(&mut self, present: &Arc<Shared>) {
        self.present = Some(present.clone());
    }

    /// Whether these settings are the present ones, which others were before.
    pub(super) fn is_present(&self, settings: &Arc<Shared>) -> bool {
        self.present
            .as_ref()
            .is_some_and(|present| Arc::ptr_eq(present, settings))
    }

    /// Whether the key is of settings that were replaced by some without its proxy, or with other TLS to it. Proxies that
    /// only a request's own route or purpose names are never gone.
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
