//! Tokens by the system's GSSAPI library. Each call makes credentials and a context of its own: a token serves for one
//! proxy, once.

use base64::{Engine, encoded_len, prelude::BASE64_STANDARD};
use http::HeaderValue;
use libgssapi::{
    context::{ClientCtx, CtxFlags},
    credential::{Cred, CredUsage},
    error::{Error, MajorFlags},
    name::Name,
    oid::{GSS_MECH_KRB5, GSS_MECH_SPNEGO, GSS_NT_HOSTBASED_SERVICE, GSS_NT_KRB5_PRINCIPAL, OidSet},
};

use super::{Authorization, Cause, NegotiateError, Problem};
use crate::auth::credentials::secret_value;

/// Makes the first token for a proxy.
pub(super) fn initiate(principal: Option<&str>, host: &str) -> Result<Authorization, NegotiateError> {
    let failed = |problem| {
        move |cause: Error| NegotiateError {
            problem: match cause.major.bits() == MajorFlags::GSS_S_CREDENTIALS_EXPIRED.bits() {
                true => Problem::Expired,
                false => problem,
            },
            host: host.to_owned(),
            principal: principal.map(str::to_owned),
            // The library keeps the text for this thread only.
            cause: Cause(cause.to_string()),
        }
    };
    // The default credentials may be another user's a moment later, so they are taken by name.
    let user = match principal {
        Some(principal) => Name::new(principal.as_bytes(), Some(GSS_NT_KRB5_PRINCIPAL)),
        None => credentials(None).and_then(|credentials| credentials.name()),
    };
    let credentials = user
        .and_then(|user| credentials(Some(&user)))
        .map_err(failed(Problem::NoTicket))?;
    let name = credentials.name().and_then(|name| name.display_name());
    let name = name.map_err(failed(Problem::NoTicket))?;
    let service = format!("HTTP@{}", host.trim_matches(['[', ']']));
    let service = Name::new(service.as_bytes(), Some(GSS_NT_HOSTBASED_SERVICE)).map_err(failed(Problem::NoService))?;
    let mut context = ClientCtx::new(
        Some(credentials),
        service,
        CtxFlags::GSS_C_MUTUAL_FLAG,
        Some(GSS_MECH_SPNEGO),
    );
    let token = context.step(None, None).map_err(failed(Problem::NoService))?;
    Ok(Authorization::once(value(token.as_deref().unwrap_or_default())).identity(&*String::from_utf8_lossy(&name)))
}

/// Returns the credentials of a user, or of the default one.
///
/// SPNEGO's are asked for explicitly. With those of Kerberos alone, SPNEGO takes the default user's instead. Kerberos'
/// are asked for first, because its errors say what is missing.
fn credentials(user: Option<&Name>) -> Result<Cred, Error> {
    let mut mechanisms = OidSet::singleton(GSS_MECH_KRB5)?;
    mechanisms.add(GSS_MECH_SPNEGO)?;
    Cred::acquire(user, None, CredUsage::Initiate, Some(&mechanisms))
}

fn value(token: &[u8]) -> HeaderValue {
    const SCHEME: &str = "Negotiate ";
    // At its full length, so that it leaves no copy behind.
    let length = SCHEME.len() + encoded_len(token.len(), true).unwrap_or_default();
    let mut value = String::with_capacity(length);
    value.push_str(SCHEME);
    BASE64_STANDARD.encode_string(token, &mut value);
    match secret_value(value.into_bytes()) {
        Some(value) => value,
        None => unreachable!("base64 is visible ASCII"),
    }
}
