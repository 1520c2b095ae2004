//! Verifiers of certificates: one that tells why a certificate does not verify, and one that accepts any.

use std::sync::Arc;

use rustls::{
    CertificateError as Cause, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::issuer::Names;
use crate::error::{CertificateError, Fault, Trust};

/// The most bytes that are shown of an algorithm's identifier. Known ones have 15 at most, and RSA-PSS with its
/// parameters has 67.
const MAX_IDENTIFIER: usize = 80;

/// Verifies as another verifier does, and puts a [`CertificateError`] into the error.
#[derive(Debug)]
pub(super) struct ExplainingVerifier {
    pub(super) verifier: Arc<dyn ServerCertVerifier>,
    pub(super) trust: Trust,
}

impl ExplainingVerifier {
    #[cold]
    fn tell(&self, cause: Cause, names: Names, asked: &ServerName<'_>) -> Error {
        let fault = match &cause {
            Cause::UnknownIssuer if names.is_self_signed => Fault::SelfSigned,
            Cause::UnknownIssuer => Fault::UnknownIssuer { top: names.top },
            Cause::BadSignature => Fault::OtherKey,
            Cause::InvalidPurpose | Cause::InvalidPurposeContext { .. } => Fault::Purpose,
            Cause::Revoked => Fault::Revoked,
            Cause::Expired | Cause::ExpiredContext { .. } => Fault::Expired,
            Cause::NotValidYet | Cause::NotValidYetContext { .. } => Fault::NotYetValid,
            Cause::NotValidForName | Cause::NotValidForNameContext { .. } => Fault::Name {
                asked: asked.to_str().into_owned(),
                names: names.hosts,
                more: names.more_hosts,
            },
            Cause::Other(OtherError(other)) if is_authority(&**other) => Fault::Authority,
            _ => Fault::Other,
        };
        let error = CertificateError::new(fault, names.issuer, self.trust.clone(), short(cause).into());
        Cause::Other(OtherError(Arc::new(error))).into()
    }
}

/// Leaves out of a cause what the peer can make long: thousands of names or purposes, or an identifier.
fn short(cause: Cause) -> Cause {
    match cause {
        Cause::NotValidForNameContext { .. } => Cause::NotValidForName,
        Cause::InvalidPurposeContext { .. } => Cause::InvalidPurpose,
        Cause::UnsupportedSignatureAlgorithmContext {
            mut signature_algorithm_id,
            supported_algorithms,
        } => {
            signature_algorithm_id.truncate(MAX_IDENTIFIER);
            Cause::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id,
                supported_algorithms,
            }
        }
        Cause::UnsupportedSignatureAlgorithmForPublicKeyContext {
            mut signature_algorithm_id,
            mut public_key_algorithm_id,
        } => {
            signature_algorithm_id.truncate(MAX_IDENTIFIER);
            public_key_algorithm_id.truncate(MAX_IDENTIFIER);
            Cause::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id,
                public_key_algorithm_id,
            }
        }
        cause => cause,
    }
}

fn is_authority(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

impl ServerCertVerifier for ExplainingVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(certificate, chain, name, ocsp, now);
        verified.map_err(|error| match error {
            Error::InvalidCertificate(cause) => self.tell(cause, Names::read(certificate, chain), name),
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.verifier.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.verifier.root_hint_subjects()
    }
}

/// Verifies only that the peer has the key of the certificate that it presents.
#[derive(Debug)]
pub(super) struct AcceptAny(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, short};

    #[test]
    fn no_cause_is_as_long_as_the_peer_likes() {
        let long = || vec![1; 60_000];
        for cause in [
            Cause::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: long(),
                supported_algorithms: Vec::new(),
            },
            Cause::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: long(),
                public_key_algorithm_id: long(),
            },
        ] {
            assert!(cause.to_string().len() > 60_000);
            assert!(short(cause).to_string().len() < 2000);
        }
    }
}
