//! The client that fetches URLs named by strangers.

use bytes::Bytes;
use http_body_util::Empty;
use tower::Layer;
use tower_outbound_proxy::{
    Client, ConfigError, IpPolicy,
    client::{ClientBuilder, ClientConnector},
    connector::Split,
    guard::{Guard, GuardLayer},
};

use super::{
    Settings,
    preview::{Previews, previews},
};

/// Creates a preview service over the operating system's network.
///
/// # Errors
///
/// A setting that cannot be used.
pub fn over_the_network(settings: &Settings) -> Result<Previews, ConfigError> {
    build(settings, Client::builder().guard(guard(settings)?))
}

/// Creates a preview service with another resolver and another connector. The guard asks the connector for addresses
/// only; the connector also dials proxies.
///
/// # Errors
///
/// A setting that cannot be used.
pub fn over<R, C>(settings: &Settings, resolver: R, connector: C) -> Result<Previews, ConfigError>
where
    Split<Guard<C, R>, C>: ClientConnector,
    C: Clone,
    R: Clone,
{
    let guarded = GuardLayer::new(guard(settings)?)
        .with_resolver(resolver)
        .layer(connector);
    build(settings, Client::builder().connector(guarded))
}

/// Returns the policy for direct connections: addresses on the Internet, and internal ones that an operator allows.
fn guard(settings: &Settings) -> Result<IpPolicy, ConfigError> {
    let policy = IpPolicy::builder().special_purpose();
    match &settings.allow_internal {
        Some(list) => policy.allow_hosts(list.clone()).build(),
        None => policy.build(),
    }
}

fn build<C>(settings: &Settings, builder: ClientBuilder<C>) -> Result<Previews, ConfigError>
where
    C: ClientConnector,
{
    let config = settings.config()?;
    let mut builder = builder.config(config.clone());
    if let Some(tls) = &settings.target_tls {
        builder = builder.target_tls(tls.clone());
    }
    let client: Client<Empty<Bytes>> = builder.build()?;
    Ok(previews(client, config, settings.timeout))
}
