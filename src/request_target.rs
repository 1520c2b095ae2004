//! [`RequestTarget`]: the request-target of a request, and `Host` or `:authority`, in the form that the peer expects.
//!
//! `Client` writes the target of every request, and [`Proxy`](crate::Proxy) around an HTTP service does so on request.

#[cfg(feature = "client")]
use http::Version;
use http::{HeaderValue, Method, Request, Uri, header, uri::Authority};

use crate::{
    route::Route,
    target::{Target, TargetError, with_authority},
};

/// A proxy turns absolute-form with an empty path into `*` (RFC 9112 3.2.4). A `Uri` is always written with a path.
const STAR_FORWARDED: TargetError =
    TargetError::new("`OPTIONS *` cannot be forwarded (set `always_tunnel` to reach http targets through a tunnel)");
/// Other methods would ask for another host with it: as absolute-form, `http://host*`.
const STAR: TargetError = TargetError::new("the path is `*`, which is for `OPTIONS` only");
const NOT_IN_FIELD: TargetError = TargetError::new("the host is not valid in a header field");

/// The target of a request, which may be sent several times, over HTTP/1.1 and over HTTP/2.
pub(crate) struct RequestTarget {
    /// The URI as a request names it.
    uri: Uri,
    /// The caller's own `Host`, for instance of a virtual host.
    host: Option<Authority>,
}

impl RequestTarget {
    /// Reads a request that has not been addressed yet.
    pub(crate) fn new<B>(request: &Request<B>) -> Result<Self, TargetError> {
        let uri = request.uri();
        let target = Target::try_from(uri)?;
        if target.port() == Some(0) {
            return Err(TargetError::PORT_ZERO);
        }
        if uri.path() == "*" && request.method() != Method::OPTIONS {
            return Err(STAR);
        }
        let authority = target.authority_in_request(uri);
        let uri = match uri.authority() {
            Some(given) if given.as_str() != authority => with_authority(uri, authority)?,
            _ => uri.clone(),
        };
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts.next().map(own_host).transpose()?;
        match hosts.next() {
            Some(_) => Err(TargetError::new("the request has more than one Host field")),
            None => Ok(Self { uri, host }),
        }
    }

    #[cfg(feature = "client")]
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Writes the target for a connection that speaks one of the two versions. The request may have been addressed
    /// before.
    #[cfg(feature = "client")]
    pub(crate) fn address<B>(
        &self,
        request: &mut Request<B>,
        route: &Route,
        is_http2: bool,
    ) -> Result<(), TargetError> {
        if !is_http2 {
            *request.version_mut() = Version::HTTP_11;
            return self.address_http1(request, route);
        }
        // Beside `:authority`, the field is an error to some servers even if it is equal (RFC 9113 8.3.1).
        request.headers_mut().remove(header::HOST);
        *request.uri_mut() = match &self.host {
            // A proxy asks the host that it is told of, which over HTTP/1.1 is that of the URI (RFC 9112 3.2.2).
            _ if matches!(route, Route::Forward(_)) => self.uri.clone(),
            Some(host) => with_authority(&self.uri, host.as_str())?,
            None => self.uri.clone(),
        };
        *request.version_mut() = Version::HTTP_2;
        Ok(())
    }

    /// Writes the request-target for HTTP/1 in the form that the route requires (RFC 9112 3.2), and `Host` if it is
    /// missing.
    pub(crate) fn address_http1<B>(&self, request: &mut Request<B>, route: &Route) -> Result<(), TargetError> {
        let uri = match (request.method(), route, self.uri.path_and_query()) {
            (&Method::CONNECT, ..) => self.authority_form()?,
            (&Method::OPTIONS, Route::Forward(_), Some(path)) if path.as_str() == "*" => return Err(STAR_FORWARDED),
            (_, Route::Forward(_), _) => self.uri.clone(),
            (_, _, Some(path)) => Uri::from(path.clone()),
            (_, _, None) => Uri::from_static("/"),
        };
        // The path of `http://host#fragment` is `/`, but on its own it is written as an empty string.
        let is_empty = uri.authority().is_none() && uri.path().is_empty();
        let uri = if is_empty { Uri::from_static("/") } else { uri };
        if !request.headers().contains_key(header::HOST) {
            let of_uri = match request.method() {
                &Method::CONNECT => uri.authority(),
                _ => self.uri.authority(),
            };
            let host = self.host.as_ref().or(of_uri).map_or("", Authority::as_str);
            let host = HeaderValue::from_str(host).map_err(|_| NOT_IN_FIELD)?;
            request.headers_mut().insert(header::HOST, host);
        }
        *request.uri_mut() = uri;
        Ok(())
    }

    /// Returns `host:port`, the target of a CONNECT (RFC 9112 3.2.3).
    fn authority_form(&self) -> Result<Uri, TargetError> {
        let target = Target::try_from(&self.uri)?;
        let authority = target.authority().to_string().parse::<Authority>();
        authority.map(Uri::from).map_err(|_| TargetError::HOST_NOT_IN_URI)
    }
}

/// Reads the caller's own `Host`, which has to be a host with or without a port (RFC 9110 7.2).
fn own_host(value: &HeaderValue) -> Result<Authority, TargetError> {
    let host = Authority::try_from(value.as_bytes()).ok();
    host.filter(|host| !host.as_str().contains('@') && !host.host().is_empty())
        .ok_or(TargetError::new(
            "the request's Host field is not a host with or without a port",
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the URI and the hosts of a request that is sent over one connection after the other.
    fn sent(url: &str, host: Option<&str>, over_http2: &[bool]) -> Vec<(String, Vec<String>)> {
        let mut request = Request::get(url).body(()).unwrap();
        if let Some(host) = host {
            request.headers_mut().insert(header::HOST, host.parse().unwrap());
        }
        let target = RequestTarget::new(&request).unwrap();
        let address = |is_http2: &bool| {
            target.address(&mut request, &Route::Direct, *is_http2).unwrap();
            let hosts = request.headers().get_all(header::HOST).iter();
            let hosts = hosts.map(|host| host.to_str().unwrap().to_owned());
            (request.uri().to_string(), hosts.collect())
        };
        over_http2.iter().map(address).collect()
    }

    #[test]
    fn a_request_that_is_repeated_over_the_other_version_names_the_same_host() {
        for (url, host, named) in [
            ("https://a.test:8443/x", None, "a.test:8443"),
            ("https://me@a.test:443/x", None, "a.test"),
            ("https://a.test:8443/x", Some("virtual.test"), "virtual.test"),
            ("https://a.test/x", Some("a.test"), "a.test"),
        ] {
            let http1 = ("/x".to_owned(), vec![named.to_owned()]);
            let http2 = (format!("https://{named}/x"), vec![]);
            for over_http2 in [
                [false, true, false],
                [true, false, true],
                [true, true, false],
                [false, false, true],
            ] {
                let expected = over_http2.map(|is_http2| if is_http2 { http2.clone() } else { http1.clone() });
                assert_eq!(sent(url, host, &over_http2), expected, "{url} {host:?}");
            }
        }
    }
}
