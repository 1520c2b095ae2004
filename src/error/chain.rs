//! The chain of an error's causes: searched and written.

use std::{error::Error as StdError, fmt, io};

#[cfg(feature = "tls")]
use super::ConnectError;

/// Writes an error's text and those of its causes.
pub(crate) fn write_chain(f: &mut fmt::Formatter<'_>, name: &str, error: &dyn StdError) -> fmt::Result {
    write!(f, "{name}({error}")?;
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.try_for_each(|cause| write!(f, ": {cause}"))?;
    f.write_str(")")
}

/// Finds an error of this type in the chain of sources, including the error itself.
pub(crate) fn find<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = carried(error).or_else(|| error.source());
    }
    None
}

/// Returns the error that another carries and that its `source` skips.
fn carried<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    #[cfg(feature = "tls")]
    if let Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) = error.downcast_ref() {
        return Some(&*other.0);
    }
    #[cfg(feature = "tls")]
    if let Some(certificate) = error.downcast_ref().and_then(ConnectError::certificate) {
        return Some(certificate);
    }
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(inner)
}
