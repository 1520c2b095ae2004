//! What went wrong, in words that tell an operator what to do about it.

use std::{error::Error, io};

use tower_outbound_proxy::ConnectError;

/// The error with its causes, and advice, if there is any.
pub(crate) fn report(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<_> = chain(error).map(ToString::to_string).collect();
    // Some errors of others say what their cause says.
    texts.dedup_by(|cause, text| text.ends_with(&*cause));
    let mut report = texts.join(": ");
    if let Some(advice) = advice(error) {
        report.push_str("\n    ");
        report.push_str(&advice);
    }
    report
}

/// Whether a certificate, the proxy's or the target's, does not verify.
pub(crate) fn is_certificate(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

/// The document: if a proxy is used with TLS and no connections come about, it is most likely due to its certificate.
fn advice(error: &(dyn Error + 'static)) -> Option<String> {
    let connect = ConnectError::find(error);
    match connect.and_then(ConnectError::proxy) {
        Some(proxy) if connect.is_some_and(ConnectError::is_certificate) => Some(format!(
            "the certificate that the proxy {proxy} shows does not verify. If the proxy is the right one, give the root \
             certificate that vouches for it with --proxy-ca FILE, or install it in the operating system. To see whether \
             there is nothing else wrong, and for testing only, validation can be switched off in the settings file \
             (--config FILE): use_insecure_ssl_client_just_for_testing_do_not_use: true"
        )),
        _ if is_certificate(error) => Some(
            "the certificate of the target does not verify. Is a proxy on the way intercepting? Its root certificate is \
             given with --ca FILE"
                .to_owned(),
        ),
        _ => None,
    }
}

/// The error and its causes. An `io::Error` hides the error it carries from `source`, so that one is asked for itself.
pub(crate) fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}
