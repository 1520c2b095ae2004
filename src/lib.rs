//! A tower layer that makes HTTP clients obey `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
//!
//! Servers run behind corporate proxies, and their operators set three variables. [`ProxyLayer`] makes a tower client
//! stack obey them: around a connector it dials proxies and opens CONNECT tunnels, around an HTTP client it owns
//! `Proxy-Authorization`. It works with hyper-util's client, tonic, and whatever else is built of
//! `tower_service::Service`.
//!
//! ```
//! # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! # use tower_layer::Layer;
//! # use tower_outbound_proxy::ProxyLayer;
//! # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
//! let proxy = ProxyLayer::from_env()?;
//! let client = proxy.layer(Client::builder(TokioExecutor::new()).build(proxy.https_connector()?));
//! # let _: tower_outbound_proxy::Proxy<Client<_, http_body_util::Empty<bytes::Bytes>>> = client;
//! # Ok(())
//! # }
//! ```
//!
//! # What is decided, and how to see why
//!
//! [`ProxyConfig`] is what the operator wrote, read once. For a [`Target`] it gives a [`Route`], and with
//! [`ProxyConfig::decide`] the reason: which variable, which `NO_PROXY` entry, which built-in rule.
//!
//! ```
//! # use tower_outbound_proxy::ProxyConfig;
//! let config = ProxyConfig::from_vars([
//!     ("HTTPS_PROXY", "http://user:secret@proxy.example:3128"),
//!     ("NO_PROXY", ".internal.example, 10.0.0.0/8"),
//! ])?;
//! for (url, decision) in [
//!     ("https://example.com/", "tunnel through http://user:***@proxy.example:3128: HTTPS_PROXY is set, and nothing exempts the target"),
//!     ("https://10.1.2.3/", "direct: entry 2 `10.0.0.0/8` of NO_PROXY matches"),
//!     ("https://localhost/", "direct: the target is this machine (built-in rule for localhost, 127.0.0.0/8 and ::1)"),
//!     ("http://example.com/", "direct: no proxy is set for http targets"),
//! ] {
//!     assert_eq!(config.decide(&url.parse()?).to_string(), decision);
//! }
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # For servers that fetch what strangers name
//!
//! [`IpPolicy`] keeps *direct* connections from the server's own network, at the moment of dialling. What a request is for
//! can have a say in how it goes ([`PurposePolicy`]). With the feature `client`, settings can be replaced while a client
//! runs (`ConfigHandle`), and with `serde` they come from files (`ProxySettings`).
//!
//! # What it refuses
//!
//! A proxy that cannot be used is a [`ConfigError`] that names the variable, the redacted value and the reason; a tunnel
//! that does not come about is a [`ConnectError`] with what the proxy said. Neither is ever a direct connection instead,
//! and no error, log or `Debug` output shows a password.
//!
//! Servers that fetch what strangers name refuse their own network with an [`IpPolicy`]: on direct routes, at the moment
//! of connecting, by the address that is dialled. A proxy resolves and judges for itself.
//!
//! ```
//! # use tower_outbound_proxy::{ConfigError, IpPolicy, ProxyLayer};
//! # fn build() -> Result<(), ConfigError> {
//! # use tower_layer::Layer;
//! let policy = IpPolicy::builder().special_purpose().allow_hosts("jira.internal.example").build()?;
//! let connector = ProxyLayer::from_env()?.layer(policy.http_connector());
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `ring` | yes | TLS to `https://` proxies, with the `ring` provider |
//! | `aws-lc-rs` | | TLS to `https://` proxies, with the `aws-lc-rs` provider (which wins where both are on) |
//! | `tls` | | TLS with a provider that the application installs as the process's default |
//! | `hyper-rustls` | | `ProxyLayer::https_connector`: TLS to targets, in the right order |
//! | `client` | | `Client`: the layer over a pool keyed by route |
//! | `filter` | | a predicate as a `tower::filter::Predicate` |
//! | `serde` | | `ProxySettings`: settings from a file, and the settings that hold written out |
//! | `tracing` | | settings' warnings, each decision (`DEBUG`), failed connects and refusals as `tracing` events; a span for each request of a `Client` |
//!
//! Without a TLS feature an `https://` proxy is a [`ConfigError`].
//!
//! # Rooms
//!
//! Ground floor first; a module uses only those before it: `error`, `target`, `dialect`, `no_proxy`, `tls`, `config`,
//! `guard`, `route`, `purpose`, `decide`, `layer`, `request` (the HTTP service), `connect` (the connector), and on
//! the top floor `https` and `client`.

#[cfg(feature = "client")]
mod client;
mod config;
mod connect;
mod decide;
mod dialect;
mod error;
mod guard;
#[cfg(feature = "hyper-rustls")]
mod https;
mod layer;
mod no_proxy;
mod purpose;
mod request;
mod route;
mod target;
#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "client")]
pub use self::client::{
    Client, ClientBody, ClientBuilder, ClientError, ClientFuture, ConfigHandle, KeyStats, PoolStats,
};
#[cfg(feature = "serde")]
pub use self::config::{Precedence, ProxySettings};
#[cfg(feature = "filter")]
pub use self::no_proxy::NotDirect;
#[cfg(feature = "tls")]
pub use self::tls::{TlsConfig, TlsConfigBuilder};
pub use self::{
    config::{Credentials, NoProxySetting, ProxyConfig, ProxyConfigBuilder, ProxyServer, ProxySetting, Warning},
    connect::{Connecting, Destination, ProxyStream},
    decide::{Decide, DecideFuture, DecideLayer},
    dialect::{DefaultPort, Dialect},
    error::{
        BoxError, Challenge, ConfigError, ConnectError, ConnectResponse, Denied, EntryError, PurposeError, Stage,
        TargetError,
    },
    guard::{Guard, GuardLayer, GuardedResolver, Guarding, IpPolicy, IpPolicyBuilder, Resolving},
    layer::{Proxy, ProxyLayer},
    no_proxy::{And, Bypass, BypassService, Entry, Exemption, NoProxy, Not, Or},
    purpose::{ProxyUse, PurposePolicy},
    request::ResponseFuture,
    route::{Decision, Reason, Route},
    target::{Scheme, Target},
};

/// The README's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
