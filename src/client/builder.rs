//! Builds a [`Client`].

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{
    Client, Inner,
    connect::{ClientConnector, TargetConnector},
    http2::TargetHttp2Settings,
    pool::{Limits, Pool},
};
use crate::{
    config::{ProxyConfig, ProxyConfigBuilder},
    connector::{HappyEyeballs, Split},
    dialect::Dialect,
    error::ConfigError,
    guard::{Guard, IpPolicy},
    http2::Connections,
    layer::{ProxyLayer, Shared},
    purpose::PurposePolicy,
    tls::TlsConfig,
    trace,
};

/// The default for idle connections in total. Go has 100; a process has 1,024 descriptors by default on Linux.
const MAX_IDLE: usize = 256;

/// Builds a [`Client`].
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ClientBuilder<C = HappyEyeballs> {
    proxies: Proxies,
    connector: C,
    guard: Option<IpPolicy>,
    target_tls: Option<TlsConfig>,
    limits: Limits,
    http2: TargetHttp2Settings,
    purposes: Option<PurposePolicy>,
    runtime: Option<Handle>,
}

/// The source of the settings.
#[derive(Clone)]
enum Proxies {
    Settings(Box<ProxyConfigBuilder>),
    Layer(ProxyLayer),
}

impl ClientBuilder {
    pub(super) fn new() -> Self {
        Self {
            proxies: Proxies::Settings(Box::new(ProxyConfig::builder().env())),
            connector: HappyEyeballs::default(),
            guard: None,
            target_tls: None,
            limits: Limits {
                idle_timeout: Some(Duration::from_secs(90)),
                max_idle_per_key: None,
                max_idle: Some(MAX_IDLE),
                max_per_key: None,
            },
            http2: TargetHttp2Settings::default(),
            purposes: None,
            runtime: None,
        }
    }

    /// Sets the time without traffic after which TCP probes a connection, and the time between two probes: 15 seconds
    /// by default, `None` for no probes.
    ///
    /// The probes keep the entry of a NAT or firewall alive while a request waits for a slow response, and end the
    /// request if the peer is gone (on Linux, after nine unanswered probes). A connector of your own has its own
    /// setting: `HttpConnector::set_keepalive`.
    pub fn tcp_keepalive(mut self, time: Option<Duration>) -> Self {
        self.connector.set_tcp_keepalive(time);
        self
    }
}

impl<C> ClientBuilder<C> {
    /// Sets the settings, instead of the process environment's.
    pub fn config(mut self, config: ProxyConfig) -> Self {
        self.proxies = Proxies::Layer(ProxyLayer::new(config));
        self
    }

    /// Sets the layer, with its settings, deadline and header fields for CONNECT.
    pub fn layer(mut self, layer: ProxyLayer) -> Self {
        self.proxies = Proxies::Layer(layer);
        self
    }

    /// Reads the process environment's settings in this dialect. Replaces those of [`config`](Self::config) and
    /// [`layer`](Self::layer).
    pub fn env_in_dialect(mut self, dialect: Dialect) -> Self {
        self.proxies = Proxies::Settings(Box::new(ProxyConfig::builder().dialect(dialect).env()));
        self
    }

    /// Sets the TLS settings for targets; by default, they trust the operating system's roots. If the ALPN list is
    /// empty, the client offers HTTP/2 and HTTP/1.1. [`ProxyConfigBuilder::proxy_tls`] sets TLS to proxies.
    pub fn target_tls(mut self, tls: impl Into<TlsConfig>) -> Self {
        self.target_tls = Some(tls.into());
        self
    }

    /// Sets the time after which an idle connection is closed: 90 seconds by default, `None` for no limit.
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.limits.idle_timeout = timeout;
        self
    }

    /// Sets the maximum number of idle connections for one key; no limit by default.
    pub fn max_idle_per_key(mut self, most: usize) -> Self {
        self.limits.max_idle_per_key = Some(most);
        self
    }

    /// Sets the maximum number of idle connections in total, including HTTP/2 ones: 256 by default, `usize::MAX` for no
    /// limit. The longest idle connection is closed first. If the system has no more file descriptors, idle connections
    /// are closed as well.
    pub fn max_idle(mut self, most: usize) -> Self {
        self.limits.max_idle = Some(most);
        self
    }

    /// Sets the maximum number of connections for one key, in use or idle; no limit by default, and at least one.
    /// Further requests wait in order, each for as long as the layer's
    /// [`connect_timeout`](crate::ProxyLayer::with_connect_timeout) allows. Connections to a proxy over HTTP/2, and
    /// those that find out if it speaks HTTP/2, have [a limit of their
    /// own](crate::connector::Http2Settings::max_connections).
    pub fn max_connections_per_key(mut self, most: usize) -> Self {
        self.limits.max_per_key = Some(most.max(1));
        self
    }

    /// Sets the time after which a PING is sent on an HTTP/2 connection if requests are on it and nothing was read: 15
    /// seconds by default, `None` for never.
    ///
    /// A gRPC server by default allows one PING in 5 minutes, and closes a connection that has more
    /// (`ENHANCE_YOUR_CALM`). Set a longer time if calls are silent for long.
    pub fn http2_keep_alive_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.http2.keep_alive_interval = interval.into();
        self
    }

    /// Sets the time after which an HTTP/2 connection is closed if its PING is not answered: 10 seconds by default.
    pub fn http2_keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.http2.keep_alive_timeout = timeout;
        self
    }

    /// Sets the number of bytes that the peer of an HTTP/2 connection may send for one response before they are read:
    /// 2 MiB by default.
    pub fn http2_initial_stream_window_size(mut self, size: u32) -> Self {
        self.http2.stream_window = size;
        self
    }

    /// Sets the number of bytes that the peer of an HTTP/2 connection may send for all responses together before they
    /// are read: 1 GiB by default, so that unread responses do not stop the others.
    pub fn http2_initial_connection_window_size(mut self, size: u32) -> Self {
        self.http2.connection_window = size;
        self
    }

    /// Sets HTTP/2 for all requests: with prior knowledge where there is no TLS (RFC 9113 3.3), as gRPC uses it, and as
    /// the only offer in TLS. A request that would be forwarded goes through a tunnel instead, as with
    /// [`always_tunnel`](crate::config::ProxyConfigBuilder::always_tunnel), because a proxy that forwards chooses the
    /// version for the target itself. An `Upgrade` request still uses HTTP/1.1. Off by default.
    pub fn http2_only(mut self, only: bool) -> Self {
        self.http2.is_only = only;
        self
    }

    /// Sets the runtime of connections and timers; by default, it is the one in which a request is made.
    ///
    /// Set it for callers outside of tokio, such as tasks of another executor or of `futures::executor::block_on`. Its
    /// timer and its I/O have to be enabled.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Sets a policy for the purposes of requests. It takes precedence over the settings, and a
    /// [`Destination`](crate::route::Destination) in a request's extensions takes precedence over it.
    pub fn purposes(mut self, policy: PurposePolicy) -> Self {
        self.purposes = Some(policy);
        self
    }

    /// Sets the connector that dials targets on direct routes and proxies on the others;
    /// [`HappyEyeballs::default`] by default. An `HttpConnector` of your own needs `enforce_http(false)`,
    /// `set_nodelay(true)`, and a [`HappyEyeballs`] around it to try all addresses of a name soon. A
    /// [`Split`](crate::connector::Split) uses a different connector for each.
    pub fn connector<D>(self, connector: D) -> ClientBuilder<D> {
        ClientBuilder {
            proxies: self.proxies,
            connector,
            guard: self.guard,
            target_tls: self.target_tls,
            limits: self.limits,
            http2: self.http2,
            purposes: self.purposes,
            runtime: self.runtime,
        }
    }

    /// Sets the policy that denies addresses to direct connections; by default, nothing is denied. It does not apply to
    /// proxied connections.
    ///
    /// It is for servers that fetch URLs supplied by strangers; see [`IpPolicy::special_purpose`]. A refusal is a
    /// [`ConnectError`](crate::ConnectError) of the kind [`Denied`](crate::error::ConnectErrorKind::Denied). Requests
    /// to services in the application's own network need a second client without a guard: clients do not share pools.
    ///
    /// A connector set with [`connector`](Self::connector) gets only addresses, because the system's resolver resolves
    /// names first. To use another resolver, set a connector that already has a guard:
    /// [`IpPolicy::http_connector_with`], or [`GuardLayer::with_resolver`](crate::guard::GuardLayer::with_resolver).
    pub fn guard(mut self, policy: IpPolicy) -> Self {
        self.guard = Some(policy);
        self
    }

    /// Builds the client from the settings. The operating system's trust is read once per process, when the first
    /// target needs it. A system without root certificates can therefore still request `http` targets; only requests
    /// that need the certificates fail.
    ///
    /// # Errors
    ///
    /// A setting that cannot be used.
    pub fn build<B>(self) -> Result<Client<B>, ConfigError>
    where
        C: ClientConnector,
    {
        let layer = match self.proxies {
            Proxies::Settings(builder) => ProxyLayer::new(builder.build()?),
            Proxies::Layer(layer) => layer,
        };
        if self.target_tls.as_ref().is_some_and(|tls| !tls.verifies_certificates()) {
            trace::targets_not_verified();
        }
        let settings = Shared {
            purposes: self.purposes,
            ..Shared::clone(layer.shared())
        };
        let connections = Connections::new(settings.http2);
        let connector = match self.guard {
            None => TargetConnector::new(self.connector, self.target_tls, self.http2, connections.clone()),
            Some(policy) => {
                let (direct, proxy) = self.connector.split();
                let guarded = Split::new(Guard::new(policy, direct.clone()), proxy.clone());
                TargetConnector::new(guarded, self.target_tls, self.http2, connections.clone())
            }
        };
        Ok(Client {
            inner: Arc::new(Inner::new(
                settings,
                self.http2.is_only,
                Pool::new(connector, self.limits, self.runtime),
                connections,
            )),
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
            .field("http2", &self.http2)
            .finish_non_exhaustive()
    }
}
