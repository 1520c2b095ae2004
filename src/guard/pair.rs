//! hyper-util's `HttpConnector` with a guard on both of its sides: its resolver, for names, and around it, for addresses.

use hyper_util::client::legacy::connect::{HttpConnector, dns::GaiResolver};

use super::{layer::Guard, policy::IpPolicy, resolver::GuardedResolver};

impl IpPolicy {
    /// A connector for `http` and `https` targets that dials no address that is denied, and tries the others as
    /// hyper-util's [`HttpConnector`] does (happy eyeballs, RFC 6555).
    ///
    /// The `HttpConnector` has `enforce_http(false)` and `nodelay` set; the rest can be set through [`Guard::get_mut`].
    ///
    /// ```
    /// # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    /// # use tower::ServiceBuilder;
    /// # use tower_outbound_proxy::{IpPolicy, ProxyLayer};
    /// # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
    /// let mut guarded = IpPolicy::special_purpose().http_connector();
    /// guarded.get_mut().set_connect_timeout(Some(std::time::Duration::from_secs(10)));
    /// let connector = ServiceBuilder::new().layer(ProxyLayer::from_env()?).service(guarded);
    /// let client = Client::builder(TokioExecutor::new()).build(connector);
    /// # let _: Client<_, http_body_util::Empty<bytes::Bytes>> = client;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn http_connector(&self) -> Guard<HttpConnector<GuardedResolver>> {
        self.http_connector_with(GaiResolver::new())
    }

    /// The same with a resolver of the caller's.
    #[must_use]
    pub fn http_connector_with<R>(&self, resolver: R) -> Guard<HttpConnector<GuardedResolver<R>>> {
        let resolver = GuardedResolver::with_resolver(self.clone(), resolver);
        let mut http = HttpConnector::new_with_resolver(resolver);
        http.enforce_http(false);
        http.set_nodelay(true);
        Guard::over_guarded_resolver(self.clone(), http)
    }
}
