//! The client that fetches what strangers name.

use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use tower::{Layer, Service};
use tower_outbound_proxy::{BoxError, Client, ClientBuilder, ConfigError, ConnectError, Guard, GuardLayer, IpPolicy};

use super::{
    Settings,
    preview::{Previews, previews},
};

/// Previews over the operating system's network.
///
/// # Errors
///
/// A setting that cannot be used.
pub(crate) fn over_the_network(settings: &Settings) -> Result<Previews, ConfigError> {
    build(settings, Client::builder().guard(guard(settings)?))
}

/// The same with another resolver and another connector, which is asked for addresses only (by the guard), and for
/// proxies.
///
/// # Errors
///
/// A setting that cannot be used.
pub(crate) fn over<R, C>(settings: &Settings, resolver: R, connector: C) -> Result<Previews, ConfigError>
where
    Guard<C, R>:
        Service<Uri, Response = C::Response, Error = ConnectError, Future: Send> + Clone + Send + Sync + 'static,
    C: Service<Uri, Response: Read + Write + Connection + Unpin + Send + 'static>,
    R: Clone,
{
    let guarded = GuardLayer::new(guard(settings)?)
        .with_resolver(resolver)
        .layer(connector);
    build(settings, Client::builder().connector(guarded))
}

/// What may be fetched without a proxy: addresses of the Internet, and those of the own network that an operator allows.
fn guard(settings: &Settings) -> Result<IpPolicy, ConfigError> {
    let policy = IpPolicy::builder().special_purpose();
    match &settings.allow_internal {
        Some(list) => policy.allow_hosts(list.clone()).build(),
        None => policy.build(),
    }
}

fn build<C>(settings: &Settings, builder: ClientBuilder<C>) -> Result<Previews, ConfigError>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    let config = settings.config()?;
    let mut builder = builder.config(config.clone());
    if let Some(tls) = &settings.target_tls {
        builder = builder.target_tls(tls.clone());
    }
    let client: Client<Empty<Bytes>> = builder.build()?;
    Ok(previews(client, config, settings.timeout))
}
