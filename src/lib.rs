//! A tower layer that makes HTTP clients obey `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.

mod config;
mod connect;
mod dialect;
mod error;
#[cfg(feature = "hyper-rustls")]
mod https;
mod layer;
mod no_proxy;
mod request;
mod route;
mod target;
#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "tls")]
pub use self::tls::{TlsConfig, TlsConfigBuilder};
pub use self::{
    config::{Credentials, NoProxySetting, ProxyConfig, ProxyConfigBuilder, ProxyServer, ProxySetting, Warning},
    connect::{Connecting, ProxyStream},
    dialect::{DefaultPort, Dialect},
    error::{BoxError, Challenge, ConfigError, ConnectError, ConnectResponse, EntryError, Stage, TargetError},
    layer::{Proxy, ProxyLayer},
    no_proxy::{Entry, NoProxy},
    request::ResponseFuture,
    route::{Decision, Reason, Route},
    target::{Scheme, Target},
};
