//! TLS settings: trusted roots and a client certificate, for proxies and for targets (feature `tls`).
//!
//! The same type configures TLS to `https://` proxies ([`proxy_tls`](crate::config::ProxyConfigBuilder::proxy_tls)) and
//! to targets (`ProxyLayer::https_connector_with`, `ClientBuilder::target_tls`). Settings for one never apply to the
//! other: a root that is installed for an intercepting proxy need not be trusted to identify the proxy itself.
//!
//! ```no_run
//! # use tower_outbound_proxy::{ProxyConfig, TlsConfig};
//! let tls = TlsConfig::builder()
//!     .add_root_pem(std::fs::read("/etc/ssl/company-root.pem")?)
//!     .build()?;
//! let config = ProxyConfig::builder().https("https://proxy.example:3129").proxy_tls(tls).build()?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! The error of a certificate that does not verify is a [`CertificateError`](crate::error::CertificateError). It names
//! the certificate's issuer, the roots that were used, and where to add one.

mod issuer;
mod verify;

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use self::verify::{AcceptAny, ExplainingVerifier};
use crate::{
    error::{ConfigError, Trust},
    secret::Secret,
};

/// TLS settings of a client: its trusted roots and its certificate.
///
/// [`TlsConfig::builder`] builds one. A whole `rustls::ClientConfig` converts to one. Cloning is cheap.
#[derive(Clone)]
pub struct TlsConfig {
    config: Arc<ClientConfig>,
    verifies: bool,
}

impl TlsConfig {
    /// Creates a builder with the operating system's trust and no client certificate.
    pub fn builder() -> TlsConfigBuilder {
        TlsConfigBuilder {
            roots: Vec::new(),
            platform: true,
            identity: None,
            alpn: Vec::new(),
            verifies: true,
        }
    }

    /// Returns settings with the operating system's trust, which is read once per process.
    pub(crate) fn platform() -> Result<Self, ConfigError> {
        static PLATFORM: OnceLock<TlsConfig> = OnceLock::new();
        match PLATFORM.get() {
            Some(tls) => Ok(tls.clone()),
            None => {
                let tls = Self::builder().build()?;
                Ok(PLATFORM.get_or_init(|| tls).clone())
            }
        }
    }

    /// Returns the settings as a rustls configuration.
    #[must_use]
    pub fn client_config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Returns true if certificates are verified; false only after
    /// [`dangerous_accept_any_certificate_for_testing`](TlsConfigBuilder::dangerous_accept_any_certificate_for_testing).
    #[must_use]
    pub fn verifies_certificates(&self) -> bool {
        self.verifies
    }
}

/// Converts an application's own configuration. Connections to proxies ignore its ALPN list. Its
/// verifier's errors stay as they are, so they do not name the issuer.
impl From<Arc<ClientConfig>> for TlsConfig {
    fn from(config: Arc<ClientConfig>) -> Self {
        Self { config, verifies: true }
    }
}

impl From<ClientConfig> for TlsConfig {
    fn from(config: ClientConfig) -> Self {
        Arc::new(config).into()
    }
}

/// Two values are equal if one is a clone of the other.
impl PartialEq for TlsConfig {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }
}

impl Eq for TlsConfig {}

impl Hash for TlsConfig {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.config).hash(state);
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("verifies_certificates", &self.verifies)
            .finish_non_exhaustive()
    }
}

/// Builds a [`TlsConfig`].
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct TlsConfigBuilder {
    roots: Vec<Vec<u8>>,
    platform: bool,
    identity: Option<(Vec<u8>, Secret)>,
    alpn: Vec<Vec<u8>>,
    verifies: bool,
}

impl TlsConfigBuilder {
    /// Adds all certificates in a PEM text to the trusted roots. Can be called repeatedly.
    pub fn add_root_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// Trusts only the added roots, not the operating system's.
    pub fn only_added_roots(mut self) -> Self {
        self.platform = false;
        self
    }

    /// Sets the client certificate, which is sent when the peer asks for one: a PEM chain, and the PEM key of its first
    /// certificate.
    pub fn client_certificate_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((chain.into(), Secret::from(key.into())));
        self
    }

    /// Sets the protocols that are offered to targets (ALPN, RFC 7301), in order of preference: `["http/1.1"]` for no
    /// HTTP/2. An empty list, the default, leaves the choice to the client. Connections to proxies ignore it.
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Accepts any certificate, from anyone. **For testing only**: anyone on the network path can then read and change
    /// everything, including the proxy's credentials. Settings that use it have a [`Warning`](crate::config::Warning).
    ///
    /// In settings files, the key is `use_insecure_ssl_client_just_for_testing_do_not_use`, as in Palpo.
    pub fn dangerous_accept_any_certificate_for_testing(mut self) -> Self {
        self.verifies = false;
        self
    }

    /// Reads the certificates and the system's trust.
    ///
    /// The cryptography provider is the process's default if the application has installed one, otherwise `aws-lc-rs`
    /// if that feature is on, otherwise `ring`.
    ///
    /// # Errors
    ///
    /// A PEM text contains no certificate or key, a key does not match its certificate, the system has no root
    /// certificates and none were added, or the build has no provider.
    pub fn build(self) -> Result<TlsConfig, ConfigError> {
        let provider = provider()?;
        let roots = self.read_roots()?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| ConfigError::tls("the cryptography provider lacks a TLS version", e))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(roots, provider)?);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(&chain, "the client certificate is not a PEM certificate")?;
                // The parser's own error is left out: it could quote the key.
                let key = PrivateKeyDer::from_pem_slice(&key)
                    .map_err(|_| ConfigError::text("the client certificate's key is not a PEM private key"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| ConfigError::tls("the client certificate and its key do not match", e))?
            }
        };
        config.alpn_protocols = self.alpn;
        Ok(TlsConfig {
            config: Arc::new(config),
            verifies: self.verifies,
        })
    }

    fn read_roots(&self) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let mut roots = Vec::new();
        for pem in &self.roots {
            roots.extend(certificates(pem, "the root certificate is not a PEM certificate")?);
        }
        Ok(roots)
    }

    fn verifier(
        &self,
        roots: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
        const UNUSABLE: &str = "the root certificates cannot be used";
        if !self.verifies {
            return Ok(Arc::new(AcceptAny(provider)));
        }
        let trust = Trust::read(self.platform, roots.len());
        if self.platform {
            return match rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider) {
                Ok(verifier) => Ok(Arc::new(ExplainingVerifier {
                    verifier: Arc::new(verifier),
                    trust,
                })),
                Err(error) if trust.is_of_variables() => Err(ConfigError::tls(
                    "the root certificates that SSL_CERT_FILE and SSL_CERT_DIR name cannot be used (no other roots of the \
                     operating system are, while they are set)",
                    error,
                )),
                Err(error) => Err(ConfigError::tls(
                    "the operating system's root certificates cannot be used (is `ca-certificates` installed?)",
                    error,
                )),
            };
        }
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root).map_err(|e| ConfigError::tls(UNUSABLE, e))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(store.into(), provider)
            .build()
            .map_err(|e| ConfigError::tls(UNUSABLE, e))?;
        Ok(Arc::new(ExplainingVerifier { verifier, trust }))
    }
}

impl fmt::Debug for TlsConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfigBuilder")
            .field("added_roots", &self.roots.len())
            .field("platform", &self.platform)
            .field("client_certificate", &self.identity.is_some())
            .field("verifies_certificates", &self.verifies)
            .finish()
    }
}

fn certificates(pem: &[u8], none: &'static str) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| ConfigError::tls(none, e))?;
    match certificates.is_empty() {
        true => Err(ConfigError::text(none)),
        false => Ok(certificates),
    }
}

fn provider() -> Result<Arc<CryptoProvider>, ConfigError> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Ok(installed.clone());
    }
    #[cfg(feature = "aws-lc-rs")]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    Err(ConfigError::no_provider())
}
