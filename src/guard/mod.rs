//! Which addresses a *direct* connection may have: for servers that fetch URLs named by strangers.
//!
//! Link previews, federation and push gateways must not be talked into reaching their own network. What is looked at is
//! the address that is dialled, at the moment of connecting, since names, redirects and odd spellings say little about
//! it. Connections to a proxy are never looked at: the operator chose the proxy, and it is the proxy that resolves the
//! target's name and has a policy of its own for what it reaches.
//!
//! - which addresses: [`policy`], with its preset in [`special_purpose`];
//! - around a resolver: [`resolver`]; around a connector: [`layer`], with [`by_name`] and [`future`]; both together: [`pair`];
//! - what tells a dial to a proxy from a direct one: [`dial`].

mod by_name;
mod dial;
mod future;
mod layer;
mod networks;
mod pair;
mod policy;
mod resolver;
mod special_purpose;

pub(crate) use self::dial::{Dial, Marked, direct};
pub use self::{
    future::Guarding,
    layer::{Guard, GuardLayer},
    policy::{IpPolicy, IpPolicyBuilder},
    resolver::{GuardedResolver, Resolving},
};

/// Tells of a refusal. Strangers choose how many there are, so it is no warning.
fn report(denied: &crate::error::Denied) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target = %denied.target(), address = %denied.address(), "{denied}");
    #[cfg(not(feature = "tracing"))]
    let _ = denied;
}
