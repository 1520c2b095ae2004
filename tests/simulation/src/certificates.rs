//! TLS between the client, proxies and origins.
//!
//! Handshakes are real, but the same for every seed: keys, certificates and signatures have one length, nothing is
//! resumed, and so no chance decides how many bytes there are. A trace would otherwise change from run to run.

use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ED25519, SerialNumber, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::NoServerSessionStorage,
    version::TLS13,
};

/// The client's settings. They trust the one root, and leave the protocol to the client.
pub(crate) static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add(ROOT.certificate.clone()).expect("the root is well formed");
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
});

/// A server's settings for HTTP/1.1 alone.
pub(crate) static HTTP1: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| server(&[b"http/1.1"]));

/// A server's settings for both versions.
pub(crate) static HTTP2: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| server(&[b"h2", b"http/1.1"]));

static ROOT: LazyLock<Root> = LazyLock::new(Root::new);

struct Root {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Root {
    fn new() -> Self {
        let mut params = params(&[], 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key(1);
        let certificate = params.self_signed(&key).expect("the root signs itself").der().clone();
        let issuer = Issuer::new(params, key);
        Self { certificate, issuer }
    }
}

fn server(alpn: &[&[u8]]) -> Arc<ServerConfig> {
    let key = key(2);
    let certificate = params(&["o0.test", "o1.test", "o2.test", "p0.test", "p1.test"], 2)
        .signed_by(&key, &ROOT.issuer)
        .expect("the root signs");
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], pkcs8(2).into())
        .expect("the key belongs to the certificate");
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn params(names: &[&str], serial: u64) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names are ASCII");
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    params
}

fn key(number: u8) -> KeyPair {
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8(number), &PKCS_ED25519).expect("the key is well formed")
}

/// Returns an Ed25519 key whose secret is its number, in PKCS #8 (RFC 8410).
fn pkcs8(number: u8) -> PrivatePkcs8KeyDer<'static> {
    const PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let mut der = PREFIX.to_vec();
    der.extend([number; 32]);
    PrivatePkcs8KeyDer::from(der)
}
