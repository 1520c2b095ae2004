//! Fetches a page for its title, under the tower layers that a server needs for URLs named by strangers.

use std::{error::Error, fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Empty};
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt, load_shed::error::Overloaded, service_fn, timeout::error::Elapsed,
    util::BoxCloneSyncService,
};
use tower_http::follow_redirect::{
    FollowRedirectLayer, RequestUri,
    policy::{Action, Attempt, Limited, PolicyExt, redirect_fn},
};
use tower_outbound_proxy::{
    Client, ClientError, ConnectError, ProxyConfig, Route, Target, client::ClientBody, error::ConnectErrorKind,
};

use super::{
    causes::{chain, is_certificate},
    title::title,
};

/// The number of bytes of a page that are read. A title after them is not found.
const MAX_PAGE: usize = 512 << 10;
const MAX_REDIRECTS: usize = 5;
/// The maximum number of previews at once. Further requests get 503.
const MAX_PREVIEWS: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(10);

/// The preview of a page.
#[derive(Debug)]
pub struct Preview {
    /// The page's URL, which a redirect may have changed.
    pub url: Uri,
    pub title: Option<String>,
    /// The route of the last request.
    pub route: Route,
}

impl Preview {
    /// Returns the route in one word. Only the log names the proxy.
    pub fn route_name(&self) -> &'static str {
        match self.route {
            Route::Direct => "direct",
            Route::Forward(_) => "forward",
            Route::Tunnel(_) => "tunnel",
            _ => "unknown",
        }
    }
}

/// Makes a preview of a URL.
pub type Previews = BoxCloneSyncService<Uri, Preview, BoxError>;

/// Builds the layers around the client. Redirects are inside the time-out and outside the client, so the client decides
/// each hop anew.
pub fn previews(client: Client<Empty<Bytes>>, config: ProxyConfig, timeout: Option<Duration>) -> Previews {
    let may_follow = redirect_fn(|attempt: &Attempt<'_>| match is_fetchable(attempt.location()) {
        true => Ok::<_, ClientError>(Action::Follow),
        false => Ok(Action::Stop),
    });
    let hops = ServiceBuilder::new()
        .layer(FollowRedirectLayer::with_policy(
            Limited::new(MAX_REDIRECTS).and::<_, Empty<Bytes>, ClientError>(may_follow),
        ))
        .map_request(move |request: Request<Empty<Bytes>>| {
            if let Ok(target) = Target::try_from(request.uri()) {
                tracing::info!("{target}: {}", config.decide(&target));
            }
            request
        })
        .service(client);
    BoxCloneSyncService::new(
        ServiceBuilder::new()
            .load_shed()
            .concurrency_limit(MAX_PREVIEWS)
            .timeout(timeout.unwrap_or(TIMEOUT))
            .service(service_fn(move |url| fetch(hops.clone(), url))),
    )
}

/// Returns true if a URL, posted or from a redirect, may be fetched at all.
pub fn is_fetchable(uri: &Uri) -> bool {
    let is_http = |scheme| scheme == &Scheme::HTTP || scheme == &Scheme::HTTPS;
    uri.scheme().is_some_and(is_http)
        && uri
            .authority()
            .is_some_and(|authority| !authority.as_str().contains('@'))
}

async fn fetch<S>(hops: S, url: Uri) -> Result<Preview, BoxError>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<ClientBody>, Error = ClientError>,
{
    let request = Request::get(url)
        .header(header::USER_AGENT, concat!("preview/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "text/html")
        .body(Empty::new())?;
    let response = hops.oneshot(request).await?;
    let route = response.extensions().get::<Route>().cloned().ok_or("no route")?;
    let RequestUri(url) = response.extensions().get().cloned().ok_or("no URL")?;
    if !response.status().is_success() {
        return Err(Answered(response.status(), route).into());
    }
    let title = match is_html(&response) {
        true => title(&beginning(response.into_body()).await?),
        false => None,
    };
    Ok(Preview { url, title, route })
}

fn is_html(response: &Response<ClientBody>) -> bool {
    let value = response.headers().get(header::CONTENT_TYPE);
    let media_type = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    ["text/html", "application/xhtml+xml"]
        .iter()
        .any(|html| media_type.eq_ignore_ascii_case(html))
}

async fn beginning(mut body: ClientBody) -> Result<Bytes, BoxError> {
    let mut page = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            page.extend_from_slice(&data[..data.len().min(MAX_PAGE - page.len())]);
        }
        if page.len() == MAX_PAGE {
            break;
        }
    }
    Ok(page.freeze())
}

/// A response that is not a page. It comes from the target, or from the proxy that forwarded the request.
#[derive(Debug)]
struct Answered(StatusCode, Route);

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status, route) = self;
        match (status, route) {
            (_, Route::Forward(_)) => write!(f, "the target, or the proxy for it, answered {status}"),
            _ if status.is_redirection() => write!(
                f,
                "the target answered {status}, which is not followed: over {MAX_REDIRECTS} in a row, or not to a page"
            ),
            _ => write!(f, "the target answered {status}"),
        }
    }
}

impl Error for Answered {}

/// Returns the status for a kind of failure: 403 for an address that the guard denies, 503 for too many previews at
/// once, 504 for one that took too long, 502 for every other failure to fetch.
pub fn status(error: &(dyn Error + 'static)) -> StatusCode {
    let connect = ConnectError::find(error);
    match connect {
        Some(error) if error.kind() == ConnectErrorKind::Denied => StatusCode::FORBIDDEN,
        _ if took_too_long(error) => StatusCode::GATEWAY_TIMEOUT,
        _ if chain(error).any(|cause| cause.is::<Overloaded>()) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn took_too_long(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| cause.is::<Elapsed>())
        || ConnectError::find(error).is_some_and(ConnectError::is_timeout)
        || chain(error).any(|cause| cause.downcast_ref().is_some_and(ClientError::is_timeout))
}

/// Returns the text for a stranger. It tells only the kind of failure: no internal address, no proxy, and no text from
/// a proxy. The log has all of these.
pub fn told(error: &(dyn Error + 'static)) -> String {
    if let Some(answered) = chain(error).find_map(|cause| cause.downcast_ref::<Answered>()) {
        return answered.to_string();
    }
    let connect = ConnectError::find(error);
    let text = match connect {
        Some(error) if error.kind() == ConnectErrorKind::Denied => "its address is none that is fetched",
        _ if took_too_long(error) => "it timed out",
        _ if chain(error).any(|cause| cause.is::<Overloaded>()) => "overloaded; try again later",
        _ if is_certificate(error) => match connect {
            Some(_) => "the proxy's certificate does not verify",
            None => "the target's certificate does not verify",
        },
        _ => match connect.and_then(ConnectError::response) {
            Some(response) => return format!("the proxy refused the tunnel: {}", response.status()),
            None => "it cannot be reached",
        },
    };
    text.to_owned()
}

/// Returns advice for an operator.
pub fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if !is_certificate(error) {
        return None;
    }
    Some(match ConnectError::find(error) {
        Some(_) => "the root certificate of a proxy that is reached over TLS is set with --proxy-ca",
        None => "is a proxy intercepting? its root certificate is set with --ca",
    })
}
