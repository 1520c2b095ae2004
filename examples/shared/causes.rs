//! The causes of an error.

use std::{error::Error, io};

/// Returns the error and its causes. `io::Error::source` skips the error that it carries, so that error is taken out of
/// it.
pub fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}

/// Returns the texts of the error and its causes. An error that repeats the text of its cause, as `io::Error` does, is
/// left out.
pub fn text(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<_> = chain(error).map(ToString::to_string).collect();
    texts.dedup_by(|cause, text| text.ends_with(&*cause));
    texts.join(": ")
}

/// Returns true if a certificate, the proxy's or the target's, does not verify.
pub fn is_certificate(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}
