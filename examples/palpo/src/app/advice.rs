//! Error reports that tell an operator how to fix the problem.

use std::error::Error;

use tower_outbound_proxy::{ConnectError, error::ConnectErrorKind};

use super::causes::{is_certificate, text};

/// Returns the error with its causes, and advice if there is any.
pub fn report(error: &(dyn Error + 'static)) -> String {
    let mut report = text(error);
    if let Some(advice) = advice(error) {
        report.push_str("\n    ");
        report.push_str(&advice);
    }
    report
}

/// Returns advice for the case in Palpo's "Using Forward/Outbound Proxies": if connections through a proxy with TLS
/// fail, its certificate is the most likely cause.
fn advice(error: &(dyn Error + 'static)) -> Option<String> {
    let connect = ConnectError::find(error);
    match connect.and_then(ConnectError::proxy) {
        Some(proxy) if connect.map(ConnectError::kind) == Some(ConnectErrorKind::Certificate) => Some(format!(
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
