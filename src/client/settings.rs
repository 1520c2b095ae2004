//! A client's settings, which can be replaced while it runs.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
};

use super::{Inner, pool::Pool};
use crate::{
    config::ProxyConfig,
    error::ConfigError,
    layer::{Shared, log_warnings},
};

/// What holds for new requests.
pub(super) struct Settings {
    current: RwLock<Arc<Shared>>,
    /// Held while settings are replaced, so that the pool hears of it in the same order.
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

    fn replace(&self, config: ProxyConfig, pool: &Pool) {
        let _turn = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        log_warnings(&config);
        let old = self.current();
        let new = Arc::new(Shared {
            config,
            ..Shared::clone(&old)
        });
        // First, so that what requests by the new settings open is not taken for left over.
        pool.retire(&new);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
    }
}

/// Replaces the settings of a running [`Client`](crate::Client) and its clones; from [`Client::config_handle`](crate::Client::config_handle).
///
/// New requests see the new settings, and running ones finish by those they began with. Connections to proxies that the new
/// settings no longer have, or that are now reached with other TLS settings, are closed: at once where they are idle, and
/// when their last request has ended where they are not.
///
/// What else was given to the builder (limits, deadlines, TLS to targets, purposes) stays. A predicate and `always_tunnel`
/// are settings: those that a [`ProxyLayer`](crate::ProxyLayer) was given by
/// [`with_bypass`](crate::ProxyLayer::with_bypass) and [`with_always_tunnel`](crate::ProxyLayer::with_always_tunnel) go with
/// the settings they were given over, and have to be in the new ones. Only a `Client` can do this: other
/// clients' pools do not know which proxy a connection leads to, and could send one proxy's password to another.
///
/// It does not keep the client alive.
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

    /// Puts these settings in the place of the present ones, as a whole.
    pub fn replace(&self, config: ProxyConfig) {
        if let Some(client) = self.client.upgrade() {
            client.settings.replace(config, &client.pool);
        }
    }

    /// Reads new settings, and puts them in the place of the present ones if they can be used.
    ///
    /// # Errors
    ///
    /// What `read` returns. The present settings stay.
    pub fn reload(&self, read: impl FnOnce() -> Result<ProxyConfig, ConfigError>) -> Result<(), ConfigError> {
        match read() {
            Ok(config) => {
                self.replace(config);
                Ok(())
            }
            Err(error) => {
                #[cfg(feature = "tracing")]
                tracing::error!(%error, "new proxy settings cannot be used; those before stay");
                Err(error)
            }
        }
    }

    /// The present settings; `None` when the client is gone.
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
