//! Builds a [`Client`].

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Client, Inner,
    connect::Connector,
    pool::{Limits, Pool},
};
use crate::{
    config::{ProxyConfig, ProxyConfigBuilder},
    dialect::Dialect,
    error::{BoxError, ConfigError},
    guard::{GuardLayer, IpPolicy},
    layer::{ProxyLayer, Shared},
    purpose::PurposePolicy,
    tls::TlsConfig,
};

/// Builds a [`Client`].
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ClientBuilder<C = HttpConnector> {
    proxies: Proxies,
    connector: C,
    /// No other was given.
    default_connector: bool,
    guard: Option<IpPolicy>,
    target_tls: Option<TlsConfig>,
    limits: Limits,
    purposes: Option<PurposePolicy>,
}

/// Where the settings come from.
#[derive(Clone)]
enum Proxies {
    Settings(Box<ProxyConfigBuilder>),
    Layer(ProxyLayer),
}

impl ClientBuilder {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        Self {
            proxies: Proxies::Settings(Box::new(ProxyConfig::builder().env())),
            connector,
            default_connector: true,
            guard: None,
            target_tls: None,
            limits: Limits {
                idle_timeout: Some(Duration::from_secs(90)),
                max_idle_per_key: None,
                max_idle: None,
                max_per_key: None,
            },
            purposes: None,
        }
    }
}

impl<C> ClientBuilder<C> {
    /// These settings, in place of the process environment's.
    pub fn config(mut self, config: ProxyConfig) -> Self {
        self.proxies = Proxies::Layer(ProxyLayer::new(config));
        self
    }

    /// This layer, with its settings, deadline and header fields for CONNECT.
    pub fn layer(mut self, layer: ProxyLayer) -> Self {
        self.proxies = Proxies::Layer(layer);
        self
    }

    /// The process environment's settings, read in this dialect. Takes the place of what [`config`](Self::config) and
    /// [`layer`](Self::layer) were given.
    pub fn env_in_dialect(mut self, dialect: Dialect) -> Self {
        self.proxies = Proxies::Settings(Box::new(ProxyConfig::builder().dialect(dialect).env()));
        self
    }

    /// TLS to targets; the operating system's trust unless set. Offers HTTP/2 and HTTP/1.1 where its own ALPN list is
    /// empty. TLS to proxies is [`ProxyConfigBuilder::proxy_tls`].
    pub fn target_tls(mut self, tls: impl Into<TlsConfig>) -> Self {
        self.target_tls = Some(tls.into());
        self
    }

    /// How long a connection may be idle before it is closed: 90 seconds unless set, `None` for ever.
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.limits.idle_timeout = timeout;
        self
    }

    /// How many idle connections are kept for one key; no limit unless set.
    pub fn max_idle_per_key(mut self, most: usize) -> Self {
        self.limits.max_idle_per_key = Some(most);
        self
    }

    /// How many idle connections are kept in all, HTTP/2 ones included; no limit unless set. The longest idle are closed
    /// first.
    pub fn max_idle(mut self, most: usize) -> Self {
        self.limits.max_idle = Some(most);
        self
    }

    /// How many connections there may be for one key, in use or not; no limit unless set. At least one. Further requests
    /// wait in order.
    pub fn max_connections_per_key(mut self, most: usize) -> Self {
        self.limits.max_per_key = Some(most.max(1));
        self
    }

    /// A policy for what requests are for: whether and how those of a purpose use the proxy. It goes over the settings, and
    /// a [`Route`](crate::Route) in a request's extensions goes over it.
    pub fn purposes(mut self, policy: PurposePolicy) -> Self {
        self.purposes = Some(policy);
        self
    }

    /// What dials, targets on direct routes and proxies on the others: an [`HttpConnector`] unless set. One with a resolver
    /// of its own has to be told `enforce_http(false)`.
    pub fn connector<D>(self, connector: D) -> ClientBuilder<D> {
        ClientBuilder {
            proxies: self.proxies,
            connector,
            default_connector: false,
            guard: self.guard,
            target_tls: self.target_tls,
            limits: self.limits,
            purposes: self.purposes,
        }
    }

    /// Refuses to connect directly to an address that this policy denies; nothing is denied unless set. Proxies, and what
    /// is reached through them, it does not apply to.
    ///
    /// For servers that fetch URLs named by strangers; see [`IpPolicy::special_purpose`]. A refusal is a
    /// [`ConnectError`](crate::ConnectError) that [`is_denied`](crate::ConnectError::is_denied). Requests to services of
    /// the application's own network belong to a second client without a guard: pools are not shared.
    ///
    /// A connector that was given to [`connector`](Self::connector) is asked for addresses only, after the system's
    /// resolver was asked for the name. To resolve names otherwise, give a connector that has its guard already:
    /// [`IpPolicy::http_connector_with`], or [`GuardLayer::with_resolver`].
    pub fn guard(mut self, policy: IpPolicy) -> Self {
        self.guard = Some(policy);
        self
    }

    /// Reads the settings. The operating system's trust is read when the first target needs it, once per process: a
    /// system without root certificates can still request `http`, and fails where it would need them.
    ///
    /// # Errors
    ///
    /// A setting that cannot be used.
    pub fn build<B>(self) -> Result<Client<B>, ConfigError>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Connection + Unpin + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        let layer = match self.proxies {
            Proxies::Settings(builder) => ProxyLayer::new(builder.build()?),
            Proxies::Layer(layer) => layer,
        };
        #[cfg(feature = "tracing")]
        if self.target_tls.as_ref().is_some_and(|tls| !tls.verifies_certificates()) {
            tracing::warn!("targets' certificates are NOT verified; for testing only");
        }
        let settings = Shared {
            purposes: self.purposes,
            ..Shared::clone(layer.shared())
        };
        let connector = match self.guard {
            None => Connector::new(self.connector, self.target_tls),
            Some(policy) if self.default_connector => Connector::new(policy.http_connector(), self.target_tls),
            Some(policy) => {
                let guarded = GuardLayer::new(policy).layer(self.connector);
                Connector::new(guarded, self.target_tls)
            }
        };
        Ok(Client {
            inner: Arc::new(Inner::new(settings, Pool::new(connector, self.limits))),
            body: PhantomData,
        })
    }
}

impl<C> fmt::Debug for ClientBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("guard", &self.guard)
            .field("target_tls", &self.target_tls)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
