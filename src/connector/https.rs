//! `HttpsConnector` around `Proxy`: the order that makes TLS to the target end to end.
//!
//! [`ProxyLayer`]'s documentation warns of the other order.

use std::sync::Arc;

use hyper_rustls::HttpsConnector;
use rustls::ClientConfig;
use tower_layer::Layer;

use super::HappyEyeballs;
use crate::{
    error::ConfigError,
    layer::{Proxy, ProxyLayer},
    tls::TlsConfig,
};

impl ProxyLayer {
    /// Creates a complete connector for hyper-util's client. It dials targets and proxies, opens tunnels, and speaks
    /// TLS to targets. It trusts the operating system's roots and offers HTTP/1.1.
    ///
    /// ```
    /// # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    /// # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
    /// let proxy = tower_outbound_proxy::ProxyLayer::from_env()?;
    /// let client = Client::builder(TokioExecutor::new()).build(proxy.https_connector()?);
    /// # let _: Client<_, http_body_util::Empty<bytes::Bytes>> = client;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The operating system's trust cannot be read, or the build has no cryptography provider.
    pub fn https_connector(&self) -> Result<HttpsConnector<Proxy<HappyEyeballs>>, ConfigError> {
        Ok(self.https_connector_with(HappyEyeballs::default(), TlsConfig::platform()?))
    }

    /// Creates the same connector from the caller's own connector and TLS settings. The settings apply to targets only,
    /// and offer the protocols of their ALPN list. [`ProxyLayer`](Self#the-connector-inside) says how the connector has
    /// to be.
    pub fn https_connector_with<C>(&self, connector: C, target_tls: impl Into<TlsConfig>) -> HttpsConnector<Proxy<C>> {
        let tls: Arc<ClientConfig> = target_tls.into().client_config().clone();
        HttpsConnector::from((self.layer(connector), tls))
    }
}
