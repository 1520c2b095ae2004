//! `HttpsConnector` around `Proxy`: the order in which TLS to the target is end to end.
//!
//! See [`ProxyLayer`]'s documentation for what the other order does.

use std::sync::Arc;

use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use tower_layer::Layer;

use crate::{
    error::ConfigError,
    layer::{Proxy, ProxyLayer},
    tls::TlsConfig,
};

impl ProxyLayer {
    /// A connector for hyper-util's client that does all of it: dials, through a proxy where the settings say so, with
    /// the operating system's trust in targets, offering HTTP/1.1.
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
    pub fn https_connector(&self) -> Result<HttpsConnector<Proxy<HttpConnector>>, ConfigError> {
        let mut http = HttpConnector::new();
        // What it is asked to dial on a direct route has the target's scheme.
        http.enforce_http(false);
        Ok(self.https_connector_with(http, TlsConfig::platform()?))
    }

    /// The same with a connector and TLS settings of the caller's. The settings are for targets only, and offer what
    /// their ALPN list says. An [`HttpConnector`] has to be told `enforce_http(false)`.
    pub fn https_connector_with<C>(&self, connector: C, target_tls: impl Into<TlsConfig>) -> HttpsConnector<Proxy<C>> {
        let tls: Arc<ClientConfig> = target_tls.into().client_config().clone();
        HttpsConnector::from((self.layer(connector), tls))
    }
}
