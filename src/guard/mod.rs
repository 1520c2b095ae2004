//! Addresses that *direct* connections may have: for servers that fetch URLs named by strangers.
//!
//! Link previews, federation and push gateways must not reach their server's own network. The guard checks the address
//! that is dialled, at the moment of connecting, since names, redirects and odd spellings say little about it. It does not
//! check connections to a proxy: the operator chose the proxy, which resolves the target's name itself and has a policy of
//! its own for it.
//!
//! - [`IpPolicy`] says which addresses are denied; [`IpPolicy::special_purpose`] denies all that are not globally
//!   reachable.
//! - [`GuardLayer`] puts it around any connector under [`Proxy`](crate::Proxy), and [`IpPolicy::http_connector`] around
//!   hyper-util's. `ClientBuilder::guard` does it for a `Client`.
//! - [`Guard`] is the guarded connector alone, for stacks without proxies.
//! - [`GuardedResolver`] guards the resolver of another client: names only.
//!
//! ```
//! # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! # use tower::ServiceBuilder;
//! # use tower_outbound_proxy::{IpPolicy, ProxyLayer};
//! # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
//! let policy = IpPolicy::builder().special_purpose().allow_hosts("jira.internal.example").build()?;
//! let connector = ServiceBuilder::new().layer(ProxyLayer::from_env()?).service(policy.http_connector());
//! let client = Client::builder(TokioExecutor::new()).build(connector);
//! # let _: Client<_, http_body_util::Empty<bytes::Bytes>> = client;
//! # Ok(())
//! # }
//! ```

mod by_name;
mod future;
mod layer;
mod policy;
mod resolver;
mod special_purpose;

pub use self::{
    future::GuardFuture,
    layer::{Guard, GuardLayer},
    policy::{IpPolicy, IpPolicyBuilder},
    resolver::{GuardedResolver, ResolveFuture},
};
pub use crate::error::DeniedError;
