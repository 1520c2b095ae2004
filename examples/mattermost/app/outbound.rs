//! The client that fetches what strangers name.

use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use tower::Service;
use tower_outbound_proxy::{BoxError, Client, ClientBuilder, ConfigError};

use super::{
    Settings,
    preview::{Previews, previews},
    trust,
};

/// Previews over the operating system's network.
///
/// # Errors
///
/// A setting that cannot be used.
pub(crate) fn over_the_network(settings: &Settings) -> Result<Previews, ConfigError> {
    build(settings, Client::builder())
}

/// The same with another resolver and another connector.
///
/// # Errors
///
/// A setting that cannot be used.
pub(crate) fn over<R, C>(settings: &Settings, _resolver: R, connector: C) -> Result<Previews, ConfigError>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    build(settings, Client::builder().connector(connector))
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
    if let Some(roots) = &settings.target_roots {
        builder = builder.target_tls(trust(roots)?);
    }
    let client: Client<Empty<Bytes>> = builder.build()?;
    Ok(previews(client, config, settings.timeout))
}
