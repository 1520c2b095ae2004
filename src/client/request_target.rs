//! The request-target and the `Host` of a request, in the form that the peer expects.

use http::{HeaderValue, Request, Uri, Version, header};

use crate::{
    route::Route,
    target::{Target, TargetError, with_authority},
};

/// Sets the request-target, in the form that the peer expects (RFC 9112 3.2), and `Host`.
pub(super) fn address<B>(
    request: &mut Request<B>,
    uri: &Uri,
    route: &Route,
    is_http2: bool,
) -> Result<(), TargetError> {
    if is_http2 {
        *request.uri_mut() = uri.clone();
        *request.version_mut() = Version::HTTP_2;
        return Ok(());
    }
    *request.version_mut() = Version::HTTP_11;
    if !request.headers().contains_key(header::HOST) {
        let host = host_field(uri)?;
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = match (route, uri.path_and_query()) {
        (Route::Forward(_), _) => uri.clone(),
        (_, Some(path)) => Uri::from(path.clone()),
        (_, None) => Uri::from_static("/"),
    };
    // The path of `http://host#fragment` is `/`, but on its own it is written as an empty string.
    if request.uri().path().is_empty() {
        *request.uri_mut() = Uri::from_static("/");
    }
    Ok(())
}

/// Returns the URI without user information, which a request must not carry (RFC 9110 4.2.4, RFC 9113 8.3.1).
pub(super) fn without_user_info(uri: &Uri) -> Result<Uri, TargetError> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    match authority.rsplit_once('@') {
        Some((_, host)) => with_authority(uri, host),
        None => Ok(uri.clone()),
    }
}

/// Returns the value of `Host` for a URI without user information: its authority, without the scheme's default port
/// (RFC 9110 7.2).
fn host_field(uri: &Uri) -> Result<HeaderValue, TargetError> {
    let target = Target::try_from(uri)?;
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let host = match host.rsplit_once(':') {
        Some((name, port))
            if target
                .scheme()
                .default_port()
                .is_some_and(|own| port.parse() == Ok(own)) =>
        {
            name
        }
        _ => host,
    };
    HeaderValue::from_str(host).map_err(|_| TargetError::new("the host is not valid in a header field"))
}
