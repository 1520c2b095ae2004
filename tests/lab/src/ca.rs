//! A certificate authority that lives as long as a test.
//!
//! [`Ca`] is a self-signed root. It [issues](Ca::issue) an [`Identity`]: one certificate, its key, and the rustls
//! configurations that use them. Every configuration names the `ring` provider. So nothing here depends on, or
//! installs, the process-wide default: a test binary may have two providers compiled in, and then there is no default.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ConfigBuilder, ConfigSide, RootCertStore, ServerConfig, WantsVerifier};

/// Returns the provider of every configuration of the lab: `ring`, never the process default.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A certificate authority.
#[derive(Debug)]
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
    /// The certificates that a server sends with its own.
    chain: Vec<CertificateDer<'static>>,
}

impl Ca {
    /// Creates a new root that nobody trusts yet.
    ///
    /// # Panics
    ///
    /// If `ring` cannot make a key.
    #[must_use]
    #[allow(clippy::new_without_default)] // every call makes another root
    pub fn new() -> Self {
        // Roots of one name would be taken for one root, and fail for another reason.
        static MADE: AtomicUsize = AtomicUsize::new(1);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Self::named(&format!("lab root {number}"))
    }

    /// Creates a new root with this common name.
    ///
    /// # Panics
    ///
    /// If `ring` cannot make a key.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let key = new_key();
        let params = authority_params(name);
        let root = params.self_signed(&key).expect("the root signs itself");
        Self {
            der: root.der().clone(),
            pem: root.pem(),
            issuer: Issuer::new(params, key),
            chain: Vec::new(),
        }
    }

    /// Creates an intermediate authority, which this one certifies. Servers send its certificate with theirs.
    ///
    /// # Panics
    ///
    /// If `ring` cannot make a key.
    #[must_use]
    pub fn subordinate(&self, name: &str) -> Self {
        let key = new_key();
        let params = authority_params(name);
        let signed = params.signed_by(&key, &self.issuer).expect("the root signs");
        Self {
            der: signed.der().clone(),
            pem: signed.pem(),
            issuer: Issuer::new(params, key),
            chain: [vec![signed.der().clone()], self.chain.clone()].concat(),
        }
    }

    /// Returns the root certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns the root certificate in DER.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'static> {
        self.der.clone()
    }

    /// Returns a store that trusts only this root.
    ///
    /// # Panics
    ///
    /// Never: the root is well formed.
    #[must_use]
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).expect("the root is well formed");
        roots
    }

    /// Issues a server certificate for these names. A name that is an IP address (without brackets) becomes an IP
    /// subject alternative name.
    ///
    /// # Panics
    ///
    /// If a name is not ASCII.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.sign(server_params(names))
    }

    /// Issues a server certificate that expired in 2001.
    ///
    /// # Panics
    ///
    /// If a name is not ASCII.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Identity {
        self.issue_from(names, 2000, 2001)
    }

    /// Issues a server certificate that is valid between these years.
    ///
    /// # Panics
    ///
    /// If a name is not ASCII.
    #[must_use]
    pub fn issue_from(&self, names: &[&str], first: i32, end: i32) -> Identity {
        let mut params = server_params(names);
        params.not_before = date_time_ymd(first, 1, 1);
        params.not_after = date_time_ymd(end, 1, 1);
        self.sign(params)
    }

    /// Issues a client certificate whose common name is `name`.
    ///
    /// # Panics
    ///
    /// Never: any `name` will do.
    #[must_use]
    pub fn issue_client(&self, name: &str) -> Identity {
        let mut params = params(&[], name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// Issues a certificate for this many purposes, none of which is to be a server.
    ///
    /// # Panics
    ///
    /// Never: any number will do.
    #[must_use]
    pub fn issue_for_purposes(&self, count: u64) -> Identity {
        let mut params = params(&[], "purposes");
        let purposes = (0..count).map(|n| ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, n]));
        params.extended_key_usages = purposes.collect();
        self.sign(params)
    }

    /// Returns a client configuration that trusts only this root and offers these ALPN protocols.
    #[must_use]
    pub fn client_config(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut config = safe(ClientConfig::builder_with_provider(provider()))
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = new_key();
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("the root signs a certificate");
        Identity::new(&certificate, &key, self.chain.clone())
    }
}

/// A certificate, without its root, and the key that belongs to it.
pub struct Identity {
    /// The certificate in PEM, without a chain, because the peer trusts the root.
    pub cert_pem: String,
    /// The key in PEM (PKCS #8).
    pub key_pem: String,
    cert: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("cert_pem", &self.cert_pem)
            .finish_non_exhaustive()
    }
}

impl Identity {
    fn new(certificate: &Certificate, key: &KeyPair, chain: Vec<CertificateDer<'static>>) -> Self {
        Self {
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            cert: certificate.der().clone(),
            chain,
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
        }
    }

    /// Creates a server certificate that signs itself: as an authority's, or not.
    ///
    /// # Panics
    ///
    /// If a name is not ASCII.
    #[must_use]
    pub fn self_signed(names: &[&str], is_authority: bool) -> Self {
        let (key, mut params) = (new_key(), server_params(names));
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let certificate = params.self_signed(&key).expect("the key signs its certificate");
        Self::new(&certificate, &key, Vec::new())
    }

    /// Returns the certificate in DER.
    #[must_use]
    pub fn cert_der(&self) -> CertificateDer<'static> {
        self.cert.clone()
    }

    /// Returns the key in DER.
    #[must_use]
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key().into()
    }

    /// Returns the configuration of a server that shows this certificate, asks for none, and speaks these ALPN
    /// protocols.
    ///
    /// # Panics
    ///
    /// Never: the key belongs to the certificate.
    #[must_use]
    pub fn server_config(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let builder = safe(ServerConfig::builder_with_provider(provider())).with_no_client_auth();
        self.finish(builder, alpn)
    }

    /// Returns such a configuration, which also requires a client certificate that `clients` issued.
    ///
    /// # Panics
    ///
    /// Never: the key belongs to the certificate.
    #[must_use]
    pub fn server_config_with_client_auth(&self, clients: &Ca, alpn: &[&str]) -> Arc<ServerConfig> {
        let roots = Arc::new(clients.roots());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .build()
            .expect("there is a root");
        let builder = safe(ServerConfig::builder_with_provider(provider())).with_client_cert_verifier(verifier);
        self.finish(builder, alpn)
    }

    /// Returns the configuration of a client that shows this certificate and trusts only `ca`.
    ///
    /// # Panics
    ///
    /// Never: the key belongs to the certificate.
    #[must_use]
    pub fn client_config(&self, ca: &Ca, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut config = safe(ClientConfig::builder_with_provider(provider()))
            .with_root_certificates(ca.roots())
            .with_client_auth_cert(vec![self.cert_der()], self.key_der())
            .expect("the key belongs to the certificate");
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }

    fn finish(
        &self,
        builder: ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
        alpn: &[&str],
    ) -> Arc<ServerConfig> {
        let mut config = builder
            .with_single_cert([vec![self.cert_der()], self.chain.clone()].concat(), self.key_der())
            .expect("the key belongs to the certificate");
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("ring makes a key")
}

fn params(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names are ASCII");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    params
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(&[], name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server_params(names: &[&str]) -> CertificateParams {
    let mut params = params(names, names.first().copied().unwrap_or("nameless"));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

fn safe<Side: ConfigSide>(builder: ConfigBuilder<Side, rustls::WantsVersions>) -> ConfigBuilder<Side, WantsVerifier> {
    builder
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}
