//! A tower layer that makes HTTP clients obey `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
//!
//! Servers run behind corporate proxies, and their operators set three variables. [`ProxyLayer`] makes a tower client
//! stack obey them. Around a connector, it dials proxies and opens CONNECT tunnels. Around an HTTP client, it owns
//! `Proxy-Authorization`, and writes the [request-target](ProxyLayer::with_request_target_form) for one that does not.
//! It works with hyper-util's client, with tonic, and with any other client that takes a connector or is an HTTP
//! service.
//!
//! With hyper-util's client, and the feature `hyper-rustls` for TLS to targets:
//!
//! ```
//! # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! # use tower::{BoxError, Layer, ServiceExt};
//! # use tower_outbound_proxy::ProxyLayer;
//! # async fn run() -> Result<(), BoxError> {
//! let proxy = ProxyLayer::from_env()?;
//! let client = proxy.layer(Client::builder(TokioExecutor::new()).build(proxy.https_connector()?));
//! let request = http::Request::get("https://example.com/").body(http_body_util::Empty::<bytes::Bytes>::new())?;
//! let response = client.oneshot(request).await?;
//! # Ok(())
//! # }
//! ```
//!
//! `Client` (feature `client`) is a complete client with a pool of its own.
//!
//! # Routes, and the reasons for them
//!
//! A [`ProxyConfig`] holds the operator's settings, read once. [`ProxyConfig::route`] returns the [`Route`] to a
//! [`Target`]. [`ProxyConfig::decide`] also returns the reason: the variable, the `NO_PROXY` entry or the built-in
//! rule. The page [`settings`] defines the meaning of each setting, and a [`Check`](check::Check) reports what other
//! programs make of it.
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
//! # Any other protocol
//!
//! [`Proxy::tunnel`] opens a stream for a protocol that is not HTTP, such as Postgres, redis or SMTP. `ALL_PROXY` names
//! its proxy, and `NO_PROXY` its exceptions.
//!
//! ```
//! # use tower::{BoxError, Layer};
//! # use tower_outbound_proxy::{ProxyLayer, connector::HappyEyeballs};
//! # async fn run() -> Result<(), BoxError> {
//! let mut proxy = ProxyLayer::from_env()?.layer(HappyEyeballs::default());
//! let stream = proxy.tunnel("db.example", 5432).await?;
//! println!("{}", stream.route());
//! # Ok(())
//! # }
//! ```
//!
//! # Servers that fetch URLs supplied by strangers
//!
//! An [`IpPolicy`] keeps *direct* connections away from the server's own network: the [`guard`] checks each address
//! when it is dialled. It does not check what a proxy dials, because a proxy resolves names under its own policy.
//!
//! ```
//! # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! # use tower_outbound_proxy::{IpPolicy, ProxyLayer, TlsConfig};
//! # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
//! let policy = IpPolicy::builder().special_purpose().allow_hosts("jira.internal.example").build()?;
//! let proxy = ProxyLayer::from_env()?;
//! let connector = proxy.https_connector_with(policy.http_connector(), TlsConfig::builder().build()?);
//! let client = Client::builder(TokioExecutor::new()).build(connector);
//! # let _: Client<_, http_body_util::Empty<bytes::Bytes>> = client;
//! # Ok(())
//! # }
//! ```
//!
//! A request's [purpose] can decide its route. With the feature `client`, settings can be replaced while a
//! client runs. With `serde`, they can come from files.
//!
//! # Refusals
//!
//! A proxy that cannot be used is a [`ConfigError`] that names the variable, the redacted value and the reason. (Of an
//! `ALL_PROXY` that only other schemes need, it is a warning, and a [`ConnectError`] where it is needed.) A tunnel that
//! cannot be opened is a [`ConnectError`] with the proxy's response. The crate never falls back to a direct connection
//! or to cleartext, and no error, log or `Debug` output shows a password.
//!
//! # Examples
//!
//! The repository has programs that run on loopback, each with a proxy and servers of its own:
//!
//! | program, in `examples/` | shows |
//! |---|---|
//! | `quickstart` | every route |
//! | `fetch`, `explain` | a small curl; the route of a URL and the reason |
//! | `retry`, `decide` | retries that are safe; a decision that takes time |
//! | `stacks/tonic`, `stacks/gateway` | gRPC; an axum server that forwards |
//! | `adapters/` | this crate under another library: `aws_s3`, `kube`, `octocrab`, `opentelemetry`, `redis`, `reqwest`, `tonic_balanced`, `websocket`; and `metrics` for a dashboard |
//! | `mattermost/`, `palpo/` | whole systems, set up as their documentation says |
//!
//! A library that takes a concrete client (hyper-util's with an `HttpConnector`, for instance) has no place for the
//! layer. Its own proxy settings can take this crate's decision: see
//! [`ProxyServer::url_with_password`](config::ProxyServer::url_with_password).
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `http2` | yes | HTTP/2 to proxies that choose it: tunnels share one connection (see [`connector`]) |
//! | `ring` | yes | TLS to `https://` proxies, with the `ring` provider |
//! | `aws-lc-rs` | | TLS to `https://` proxies, with the `aws-lc-rs` provider (preferred if both are enabled) |
//! | `tls` | | TLS with a provider that the application installs as the process's default |
//! | `hyper-rustls` | | `ProxyLayer::https_connector`: TLS to targets, in the right order |
//! | `client` | | `Client`: the layer over a pool keyed by route |
//! | `filter` | | a predicate as a `tower::filter::Predicate` |
//! | `serde` | | `ProxySettings`: settings read from a file, and effective settings written out |
//! | `tracing` | | `tracing` events for settings' warnings, decisions (`DEBUG`), failed connections and refusals; spans for requests of a `Client` and for the phases of a connection; figures for dashboards |
//!
//! Without a TLS feature an `https://` proxy is a [`ConfigError`].
//!
//! # Modules
//!
//! The items on this page are at the crate's root. Each module has its own page:
//!
//! | module | content |
//! |---|---|
//! | [`settings`] | the meaning of each setting |
//! | [`config`], [`no_proxy`], [`tls`], [`auth`] | settings, read into values |
//! | [`route`], [`purpose`] | routes, and the reasons for them |
//! | [`service`], [`connector`] | the two halves of the layer |
//! | [`check`] | settings that other programs read differently, and what is wrong in them |
//! | [`guard`] | policies for the addresses of direct connections |
//! | `client` | an HTTP client with a pool keyed by route |
//! | [`error`] | errors |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod accounts;
pub mod auth;
pub mod check;
mod cidr;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
pub mod connector;
mod decide;
mod dialect;
pub mod error;
pub mod guard;
mod host;
#[cfg(feature = "http2")]
mod http2;
mod layer;
pub mod no_proxy;
pub mod purpose;
mod redact;
mod request_target;
pub mod route;
mod scheme;
mod secret;
pub mod service;
pub mod settings;
mod target;
#[cfg(feature = "tls")]
pub mod tls;
mod trace;

#[cfg(feature = "client")]
pub use self::client::{Client, ClientError};
#[cfg(feature = "serde")]
pub use self::config::ProxySettings;
#[cfg(feature = "tls")]
pub use self::tls::TlsConfig;
pub use self::{
    config::{ProxyConfig, ProxyServer},
    dialect::Dialect,
    error::{ConfigError, ConnectError},
    guard::IpPolicy,
    layer::{Proxy, ProxyLayer},
    no_proxy::{Bypass, NoProxy},
    purpose::PurposePolicy,
    route::{Decision, Route},
    scheme::Scheme,
    target::{Target, TargetError},
};
