//! [`ConfigHandle`]: replaces a client's settings while it runs.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
};

use super::{Inner, pool::Pool};
use crate::{config::ProxyConfig, error::ConfigError, http2::Connections, layer::Shared, trace};

/// The settings for new requests.
pub(super) struct Settings {
    current: RwLock<Arc<Shared>>,
    /// Held while settings are replaced, so that the pool learns of replacements in the same order.
    replacing: Mutex<()>,
}

impl Settings {
    pub(super) fn new(settings: Shared) -> Self {
        Self {
            current: RwLock::new(Arc::new(settings)),
            replacing: Mutex::default(),
        }
    }

    pub(super) fn current(&self) -> Arc<Shared> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, config: ProxyConfig, pool: &Pool, connections: &Connections) {
        let _turn = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        config.warnings().iter().for_each(trace::warning);
        let old = self.current();
        let new = Arc::new(Shared {
            config,
            ..Shared::clone(&old)
        });
        // The pool comes first, so that connections opened with the new settings do not count as retired.
        pool.retire(&new);
        let present = new.clone();
        connections.retain(move |key, was_named| {
            let is_named = || present.config.proxies().any(|proxy| *proxy == key.proxy);
            let is_same_tls = !key.proxy.is_tls() || key.tls.as_ref() == present.config.tls();
            is_same_tls && (!was_named || is_named())
        });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
    }
}

/// Replaces the settings of a running [`Client`](crate::Client) and its clones; from
/// [`Client::config_handle`](crate::Client::config_handle).
///
/// New requests use the new settings, and running requests finish with the old ones. A connection to a proxy is closed
/// if the new settings no longer name the proxy, or reach it with other TLS settings. Idle connections are closed at
/// once, others after their last request.
///
/// The builder's other settings (limits, deadlines, TLS to targets, purposes) stay. A predicate and `always_tunnel`
/// belong to the replaced settings, even if [`ProxyLayer::with_bypass`](crate::ProxyLayer::with_bypass) or
/// [`ProxyLayer::with_always_tunnel`](crate::ProxyLayer::with_always_tunnel) set them. The new settings must include
/// them. Only a `Client` can replace settings: the pools of other clients do not know which proxy a connection leads
/// to, and could send one proxy's password to another.
///
/// The handle does not keep the client alive.
///
/// ```
/// # use tower_outbound_proxy::{Client, ProxyConfig};
/// # fn run(client: Client<String>) -> Result<(), tower_outbound_proxy::ConfigError> {
/// let handle = client.config_handle();
/// // … on SIGHUP, for instance:
/// if let Err(error) = handle.reload(ProxyConfig::from_env) {
///     eprintln!("the proxy settings stay as they were: {error}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ConfigHandle {
    client: Weak<Inner>,
}

impl ConfigHandle {
    pub(super) fn new(client: &Arc<Inner>) -> Self {
        Self {
            client: Arc::downgrade(client),
        }
    }

    /// Replaces all settings with these.
    pub fn replace(&self, config: ProxyConfig) {
        if let Some(client) = self.client.upgrade() {
            client.settings.replace(config, &client.pool, &client.connections);
        }
    }

    /// Reads new settings. If they can be used, they replace the current ones.
    ///
    /// # Errors
    ///
    /// The error of `read`. The current settings stay.
    pub fn reload(&self, read: impl FnOnce() -> Result<ProxyConfig, ConfigError>) -> Result<(), ConfigError> {
        match read() {
            Ok(config) => {
                self.replace(config);
                Ok(())
            }
            Err(error) => {
                trace::settings_rejected(&error);
                Err(error)
            }
        }
    }

    /// Returns the current settings; `None` if the client has been dropped.
    #[must_use]
    pub fn config(&self) -> Option<ProxyConfig> {
        Some(self.client.upgrade()?.settings.current().config.clone())
    }
}

impl fmt::Debug for ConfigHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigHandle").finish_non_exhaustive()
    }
}
