//! A proxy's refusal, of a tunnel or of a forwarded request, as a [`Failure`]. `connect/text.rs` writes its text.

use std::{borrow::Cow, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode, header};

use super::{ConnectResponse, Failure, ResponseParts, connect_response::X_SQUID_ERROR};
use crate::auth::{Authentication, parse_challenges};

/// The maximum number of bytes that are kept of a refusal's body.
pub(crate) const MAX_BODY: usize = 4 * 1024;
/// The maximum length of the body of a challenge that is read so that its connection can be used for the answer.
pub(crate) const MAX_REST: usize = 64 * 1024;
/// The maximum wait for a refusal's body. The refusal itself is already known.
pub(crate) const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// Returns the failure of a request that the proxy refused. The head has been [redacted](redact).
pub(crate) fn refusal(mut head: ResponseParts, body: &[u8], authentication: &Authentication) -> Failure {
    head.body = authentication.redact(body).into();
    let field = match head.status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => header::PROXY_AUTHENTICATE,
        _ => header::WWW_AUTHENTICATE,
    };
    Failure::Refused {
        challenges: parse_challenges(head.headers.get_all(field)),
        response: ConnectResponse::new(head),
        answered: authentication.answered(),
    }
}

/// The fields that this crate reads. Their names are no echo of a password, even if they contain it.
const READ: [HeaderName; 5] = [
    header::PROXY_AUTHENTICATE,
    header::WWW_AUTHENTICATE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    X_SQUID_ERROR,
];

/// Hides the credentials in a head, so that a proxy that echoes the request cannot put them into an error.
pub(crate) fn redact(head: &mut ResponseParts, authentication: &Authentication) {
    if !authentication.has_secrets() {
        return;
    }
    if let Cow::Owned(reason) = &mut head.reason {
        *reason = String::from_utf8_lossy(&authentication.redact(reason.as_bytes())).into_owned();
    }
    let hidden = || HeaderValue::from_static("***");
    let shown = head.headers.iter().map(|(name, value)| {
        let value = HeaderValue::from_bytes(&authentication.redact(value.as_bytes()));
        (redacted_name(name, authentication), value.unwrap_or_else(|_| hidden()))
    });
    head.headers = shown.collect();
}

fn redacted_name(name: &HeaderName, authentication: &Authentication) -> HeaderName {
    if READ.contains(name) {
        return name.clone();
    }
    let shown = HeaderName::from_bytes(&authentication.redact(name.as_str().as_bytes()));
    shown.unwrap_or(HeaderName::from_static("***"))
}
