//! Policies for the addresses of *direct* connections, for servers that fetch URLs supplied by strangers.
//!
//! Link previews, federation and push gateways must not reach their server's own network. The guard checks each address
//! when it is dialled, because names, redirects and odd spellings say little about the address. It does not check
//! connections to a proxy. The operator chose the proxy, and the proxy resolves the target's name under its own policy.
//!
//! - [`IpPolicy`] defines the denied addresses. [`IpPolicy::special_purpose`] denies all that are not globally
//!   reachable.
//! - [`GuardLayer`] guards any connector under [`Proxy`](crate::Proxy). [`IpPolicy::http_connector`] does this for
//!   hyper-util's connector, and `ClientBuilder::guard` for a `Client`.
//! - [`Guard`] is the guarded connector alone, for stacks without proxies.
//! - [`GuardedResolver`] guards the resolver of another client. It checks names only.
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

mod layer;
mod policy;
mod resolver;
mod special_purpose;

pub use self::{
    layer::{Guard, GuardLayer},
    policy::{IpPolicy, IpPolicyBuilder},
    resolver::{GuardedResolver, ResolveFuture},
};
pub use crate::error::DeniedError;
