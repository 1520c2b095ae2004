//! The events after which a request goes another way than the one before.

use std::future::{Ready, ready};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Body,
    client::conn::http1,
    rt::{Read, Write},
};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo},
};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tower::{BoxError, Layer, Service, ServiceExt, retry::RetryLayer, service_fn};
use tower_http::follow_redirect::{FollowRedirectLayer, policy::Limited};
use tower_outbound_proxy::{
    Client, ProxyConfig, ProxyLayer, PurposePolicy, Route, Target, purpose::ProxyUse, route::Destination,
};
use tower_outbound_proxy_lab::{connector, within};

use super::lab::{CALLERS, Identity, Lab, Way};

type Outgoing = Request<Full<Bytes>>;

/// The reason why the second request goes another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Redirect,
    Retry,
    PerRequest,
    SettingsReplaced,
    Purpose,
    /// In the settings.
    CredentialsReplaced,
    /// Request by request.
    CredentialsChanged,
    ConnectionReused,
}

/// A pair of ways, and the reason why a request goes by the other.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub event: Event,
    pub before: Way,
    pub after: Way,
}

/// The stack that sends the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// This crate's client.
    Client,
    /// hyper-util's client, or a single connection where its pool cannot tell routes apart, with the two halves of the
    /// layer.
    Halves,
}

impl Stack {
    /// Returns the events that can happen.
    pub fn events(self) -> &'static [Event] {
        match self {
            Self::Client => &[
                Event::Redirect,
                Event::Retry,
                Event::PerRequest,
                Event::SettingsReplaced,
                Event::Purpose,
                Event::CredentialsReplaced,
                Event::CredentialsChanged,
                Event::ConnectionReused,
            ],
            // A layer's settings cannot be replaced, and only `Client` has purposes.
            Self::Halves => &[
                Event::Redirect,
                Event::Retry,
                Event::PerRequest,
                Event::CredentialsChanged,
                Event::ConnectionReused,
            ],
        }
    }
}

/// Returns a request with credentials of the caller's own, which a careless caller adds for a proxy.
fn request(url: &str) -> Outgoing {
    let own = format!("Basic {}", BASE64_STANDARD.encode(format!("caller:{CALLERS}")));
    let request = Request::get(url).header(header::PROXY_AUTHORIZATION, own);
    request.body(Full::default()).unwrap()
}

fn decided(url: &str, route: Route) -> Outgoing {
    let mut request = request(url);
    let uri = request.uri().clone();
    request.extensions_mut().insert(Destination { uri, route });
    request
}

/// Sends a request, and once more after a 407: the layer around another client learns from it for the next request.
async fn send<S, R>(service: S, request: Outgoing)
where
    S: Service<Outgoing, Response = Response<R>, Error: Into<BoxError>> + Clone,
    R: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    within(async {
        while !is_answered(service.clone(), request.clone()).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Sends a request. Returns false if the answer is a 407.
async fn is_answered<S, R>(service: S, request: Outgoing) -> bool
where
    S: Service<Outgoing, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let url = request.uri().to_string();
    let response = within(service.oneshot(request)).await.map_err(Into::into);
    let response = response.unwrap_or_else(|error: BoxError| panic!("{url}: {error:?}"));
    let status = response.status();
    within(response.into_body().collect()).await.unwrap();
    assert!(
        [StatusCode::OK, StatusCode::PROXY_AUTHENTICATION_REQUIRED].contains(&status),
        "{url}: {status}"
    );
    status == StatusCode::OK
}

/// Repeats a request that failed at another target.
#[derive(Clone)]
struct Elsewhere(String);

impl<R, E> tower::retry::Policy<Outgoing, Response<R>, E> for Elsewhere {
    type Future = Ready<()>;

    fn retry(&mut self, request: &mut Outgoing, result: &mut Result<Response<R>, E>) -> Option<Ready<()>> {
        let failed = result.as_ref().is_ok_and(|response| response.status() == 503);
        *request.uri_mut() = self.0.parse().unwrap();
        failed.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Outgoing) -> Option<Outgoing> {
        Some(request.clone())
    }
}

impl Cell {
    fn has_other_credentials(self) -> bool {
        matches!(self.event, Event::CredentialsReplaced | Event::CredentialsChanged)
    }

    /// Returns the credentials that the proxies on the way have to receive.
    pub fn expected(self) -> Vec<Identity> {
        let is_new = |way: Way, is_new| way.proxy().map(|proxy| Identity { proxy, is_new });
        let after = self.has_other_credentials();
        [is_new(self.before, false), is_new(self.after, after)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Sends the requests of this cell.
    pub async fn run(self, stack: Stack, lab: &Lab) {
        match stack {
            Stack::Client => self.run_client(lab).await,
            Stack::Halves => self.run_halves(lab).await,
        }
    }

    async fn run_client(self, lab: &Lab) {
        let build = |config: ProxyConfig| {
            let builder = Client::builder().layer(lab.layer(config)).target_tls(lab.trust.clone());
            builder.connector(connector())
        };
        let client = |config| -> Client<Full<Bytes>> { build(config).build().unwrap() };
        let Self { before, after, .. } = self;
        let [url_before, url_after] = [before, after].map(|way| lab.common_url(way, "/"));
        match self.event {
            Event::Redirect | Event::Retry | Event::ConnectionReused => {
                self.by_host(client(lab.by_host()), lab).await;
            }
            Event::PerRequest | Event::CredentialsChanged => {
                let is_new = self.has_other_credentials();
                let client = client(ProxyConfig::builder().proxy_tls(lab.trust.clone()).build().unwrap());
                for _ in 0..2 {
                    send(client.clone(), decided(&url_before, lab.route(before, false))).await;
                    send(client.clone(), decided(&url_after, lab.route(after, is_new))).await;
                }
            }
            Event::SettingsReplaced | Event::CredentialsReplaced => {
                let is_new = self.has_other_credentials();
                let client = client(lab.settings(before, false));
                send(client.clone(), request(&url_before)).await;
                client.config_handle().replace(lab.settings(after, is_new));
                send(client.clone(), request(&url_after)).await;
                client.config_handle().replace(lab.settings(before, false));
                send(client, request(&url_before)).await;
            }
            Event::Purpose => {
                let [use_before, use_after] = [before, after].map(|way| match way.proxy() {
                    Some(proxy) => ProxyUse::Proxy(lab.server(proxy, false)),
                    None => ProxyUse::Never,
                });
                let policy = PurposePolicy::new(move |is_after: &bool, _: &Target<'_>| match is_after {
                    true => use_after.clone(),
                    false => use_before.clone(),
                });
                // Without a purpose, everything would go the first way.
                let client: Client<Full<Bytes>> = build(lab.settings(before, false)).purposes(policy).build().unwrap();
                for (is_after, url) in [
                    (false, &url_before),
                    (true, &url_after),
                    (false, &url_before),
                    (true, &url_after),
                ] {
                    let mut request = request(url);
                    request.extensions_mut().insert(is_after);
                    send(client.clone(), request).await;
                }
            }
        }
    }

    async fn run_halves(self, lab: &Lab) {
        let Self { before, after, .. } = self;
        match self.event {
            Event::Redirect | Event::Retry | Event::ConnectionReused => {
                let layer = lab.layer(lab.by_host());
                let connector = layer.https_connector_with(connector(), lab.trust.clone());
                let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
                self.by_host(layer.layer(client), lab).await;
            }
            Event::PerRequest | Event::CredentialsChanged => {
                let is_new = self.has_other_credentials();
                let settings = ProxyConfig::builder().proxy_tls(lab.trust.clone()).build().unwrap();
                let layer = lab.layer(settings).with_request_target_form(true);
                let half = layer.layer(connector());
                for _ in 0..2 {
                    for (way, is_new) in [(before, false), (after, is_new)] {
                        let request = decided(&lab.common_url(way, "/"), lab.route(way, is_new));
                        within(async {
                            while !on_a_connection_of_its_own(&layer, half.clone(), lab, request.clone()).await {}
                        })
                        .await;
                    }
                }
            }
            event => unreachable!("{event:?} is not an event of the halves"),
        }
    }

    /// Sends requests to targets whose hosts decide the way.
    async fn by_host<S, R>(self, service: S, lab: &Lab)
    where
        S: Service<Outgoing, Response = Response<R>, Error: Into<BoxError>> + Clone,
        R: Body<Data = Bytes, Error: std::fmt::Debug>,
    {
        let Self { before, after, .. } = self;
        let target = lab.url(after, "/");
        match self.event {
            Event::Redirect => {
                // This policy keeps every header field.
                let follow = FollowRedirectLayer::with_policy(Limited::new(3));
                let url = lab.url(before, &format!("/redirect?{target}"));
                send(follow.layer(service), request(&url)).await;
            }
            Event::Retry => {
                let retry = RetryLayer::new(Elsewhere(target));
                send(retry.layer(service), request(&lab.url(before, "/status/503"))).await;
            }
            _ => {
                for _ in 0..3 {
                    send(service.clone(), request(&lab.url(before, "/"))).await;
                    send(service.clone(), request(&target)).await;
                }
            }
        }
    }
}

/// Sends a request as a client does that connects with a [`Destination`].
async fn on_a_connection_of_its_own<C>(
    layer: &ProxyLayer,
    mut half: tower_outbound_proxy::Proxy<C>,
    lab: &Lab,
    request: Outgoing,
) -> bool
where
    tower_outbound_proxy::Proxy<C>:
        Service<Destination, Response: Read + Write + Unpin + Send + 'static, Error: Into<BoxError>>,
{
    let destination = request.extensions().get::<Destination>().unwrap().clone();
    let uri = destination.uri.clone();
    let opened = within(half.ready())
        .await
        .map_err(Into::into)
        .unwrap()
        .call(destination);
    let stream = within(opened).await.map_err(Into::into).unwrap();
    match uri.scheme_str() {
        Some("https") => {
            let name = ServerName::try_from(uri.host().unwrap().to_owned()).unwrap();
            let tls = TlsConnector::from(lab.trust.client_config().clone());
            let stream = within(tls.connect(name, TokioIo::new(stream))).await.unwrap();
            over(layer, TokioIo::new(stream), request).await
        }
        _ => over(layer, stream, request).await,
    }
}

async fn over(layer: &ProxyLayer, stream: impl Read + Write + Unpin + Send + 'static, request: Outgoing) -> bool {
    let (mut sender, connection) = within(http1::handshake(stream)).await.unwrap();
    tokio::spawn(connection);
    is_answered(layer.layer(service_fn(|request| sender.send_request(request))), request).await
}
