//! Promise: an account's credentials go out for whom they stand, as the proxy asks for them, and nothing in their place.

use std::{
    convert::Infallible,
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_outbound_proxy::{
    Client, ProxyConfig, ProxyLayer, ProxyServer,
    auth::{AuthScheme, Authorization, CredentialsRequest},
    connector::ProxyVersion,
};
use tower_outbound_proxy_lab::{Auth, ForwardProxy, Http2Proxy, Origin, connector, within};

use super::lab::Trust;

fn layer(proxy: impl Into<tower_outbound_proxy::config::ProxySetting>) -> ProxyLayer {
    ProxyLayer::new(ProxyConfig::builder().all(proxy).build().unwrap())
}

fn client(layer: ProxyLayer, trust: &Trust) -> Client<Full<Bytes>> {
    let client = Client::builder().layer(layer).target_tls(trust.tls());
    client.connector(connector()).build().unwrap()
}

async fn get(client: &Client<Full<Bytes>>, url: &str) {
    let request = Request::get(url).header(header::PROXY_AUTHORIZATION, "Own of-the-caller");
    let response = within(client.send(request.body(Full::default()).unwrap()))
        .await
        .unwrap();
    assert_eq!(response.status(), 200, "{url}");
    within(response.into_body().collect()).await.unwrap();
}

/// Returns the values of `Proxy-Authorization` in a request that this layer forwards.
async fn forwarded(layer: ProxyLayer) -> Vec<HeaderValue> {
    let inner = service_fn(async |request: Request<()>| {
        let values = request.headers().get_all(header::PROXY_AUTHORIZATION);
        Ok::<_, Infallible>(Response::new(values.iter().cloned().collect()))
    });
    let request = Request::get("http://x.test/")
        .header(header::PROXY_AUTHORIZATION, "Own first")
        .header(header::PROXY_AUTHORIZATION, "Own second");
    let response = within(layer.layer(inner).oneshot(request.body(()).unwrap())).await;
    response.unwrap().into_body()
}

/// Credentials that are yet to come do not let the caller's own through: the proxy has an account.
#[tokio::test]
async fn the_callers_own_goes_to_no_proxy_that_has_an_account() {
    let asked = layer("http://user:s3cret@proxy.test").with_auth_schemes([AuthScheme::Digest]);
    assert_eq!(forwarded(asked).await, [""; 0]);
    let unanswered = service_fn(|_: CredentialsRequest| pending::<Result<_, Infallible>>());
    assert_eq!(
        forwarded(layer("http://proxy.test").with_credentials(unanswered)).await,
        [""; 0]
    );
    let once = service_fn(async |_: CredentialsRequest| {
        Ok::<_, Infallible>(Authorization::once(HeaderValue::from_static("Bearer s3cret")))
    });
    let once = layer("http://proxy.test").with_credentials(once);
    for _ in 0..3 {
        assert_eq!(forwarded(once.clone()).await, [""; 0]);
        tokio::task::yield_now().await;
    }

    // A `Client` as well, in the request that the proxy answers with a challenge.
    let origin = Origin::http().await;
    let wanted = |request: &tower_outbound_proxy_lab::Request| match request.header("proxy-authorization") {
        Some(sent) if sent.starts_with("Digest ") => Ok(()),
        _ => Err(vec!["Digest realm=\"x\", nonce=\"n\", qop=\"auth\"".to_owned()]),
    };
    let proxy = ForwardProxy::builder().auth(Auth::new(wanted)).start().await;
    let layer = layer(proxy.url_with("user:s3cret@")).with_auth_schemes([AuthScheme::Digest]);
    get(
        &client(layer, &Trust::new()),
        &format!("http://x.test:{}/", origin.port()),
    )
    .await;
    let requests = proxy.requests();
    let sent: Vec<_> = requests.iter().map(|one| one.header("proxy-authorization")).collect();
    assert!(sent.len() == 2 && sent[0].is_none(), "{sent:?}");
}

/// To a proxy without credentials, it goes as it is, and no library shows any of it.
#[tokio::test]
async fn each_field_of_the_callers_own_is_sensitive() {
    let values = forwarded(layer("http://proxy.test")).await;
    assert_eq!(values, ["Own first", "Own second"]);
    assert!(values.iter().all(HeaderValue::is_sensitive), "{values:?}");
}

/// Errors hide the password wherever the proxy says it. What is answered is the challenge itself.
#[tokio::test]
async fn a_challenge_with_the_password_in_it_is_answered_as_it_is() {
    let origin = Origin::http().await;
    let wanted = |request: &tower_outbound_proxy_lab::Request| match request.header("proxy-authorization") {
        Some(sent) if sent.contains("realm=\"Squid proxy\"") && sent.contains("nonce=\"of-proxy-1\"") => Ok(()),
        _ => Err(vec![
            "Digest realm=\"Squid proxy\", nonce=\"of-proxy-1\", qop=\"auth\"".to_owned(),
        ]),
    };
    let http1 = ForwardProxy::builder().auth(Auth::new(wanted)).start().await;
    let http2 = Http2Proxy::builder().auth(Auth::new(wanted)).start().await;
    for (address, version) in [
        (http1.url_with("proxy:proxy@"), ProxyVersion::Http1),
        (http2.url_with("proxy:proxy@"), ProxyVersion::Http2),
    ] {
        let mut half = layer(address).with_proxy_version(version).layer(connector());
        within(half.tunnel("x.test", origin.port())).await.unwrap();
    }
}

/// A proxy that takes both schemes has accepted Basic for one client. Another client, with the same address, may send
/// Digest alone.
#[tokio::test]
async fn clients_with_other_schemes_share_an_address() {
    let origin = Origin::http().await;
    let wanted = |request: &tower_outbound_proxy_lab::Request| match request.header("proxy-authorization") {
        Some(_) => Ok(()),
        None => Err(vec![
            "Digest realm=\"x\", nonce=\"n\", qop=\"auth\"".to_owned(),
            "Basic realm=\"x\"".to_owned(),
        ]),
    };
    let proxy = ForwardProxy::builder().auth(Auth::new(wanted)).start().await;
    let server: ProxyServer = proxy.url_with("user:s3cret@").parse().unwrap();
    let url = format!("http://x.test:{}/", origin.port());
    get(&client(layer(server.clone()), &Trust::new()), &url).await;
    let digest = layer(server).with_auth_schemes([AuthScheme::Digest]);
    get(&client(digest, &Trust::new()), &url).await;
    let requests = proxy.requests();
    let sent: Vec<_> = requests.iter().map(|one| one.header("proxy-authorization")).collect();
    assert!(
        matches!(sent[..], [Some(basic), None, Some(digest)] if basic.starts_with("Basic ") && digest.starts_with("Digest ")),
        "{sent:?}"
    );
}

/// A tunnel that is open would need no credentials; the provider says whose it is.
#[tokio::test]
async fn a_tunnel_is_used_for_whom_the_provider_answers_now() {
    let trust = Trust::new();
    let origin = trust.origin().await;
    for version in [ProxyVersion::Http1, ProxyVersion::Http2] {
        for is_same in [false, true] {
            let http1 = ForwardProxy::builder().start().await;
            let http2 = Http2Proxy::builder().start().await;
            let (proxy, address) = match version {
                ProxyVersion::Http1 => (&*http1, http1.url()),
                _ => (&*http2, http2.url_with("")),
            };
            let asked = Arc::new(AtomicU64::new(0));
            let number = asked.clone();
            let provider = service_fn(move |_: CredentialsRequest| {
                let number = number.fetch_add(1, Ordering::SeqCst);
                let name = if is_same { 0 } else { number };
                let answer = Authorization::value(format!("Bearer {number}").parse().unwrap());
                let answer = answer.identity(name.to_string()).expires_after(Duration::ZERO);
                ready(Ok::<_, Infallible>(answer))
            });
            let layer = layer(address).with_proxy_version(version).with_credentials(provider);
            let client = client(layer, &trust);
            for _ in 0..3 {
                get(&client, &format!("https://x.test:{}/", origin.port())).await;
            }
            assert!(asked.load(Ordering::SeqCst) >= 3, "{version:?}");
            let tunnels = if is_same { 1 } else { 3 };
            assert_eq!(proxy.requests().len(), tunnels, "{version:?}");
        }
    }
}

/// Nobody answers for those who come after an error of the provider.
#[tokio::test]
async fn a_tunnel_is_not_used_while_nobody_says_for_whom() {
    let trust = Trust::new();
    let origin = trust.origin().await;
    let proxy = ForwardProxy::builder().start().await;
    let asked = AtomicU64::new(0);
    let asked = Arc::new(asked);
    let provider = service_fn(move |_: CredentialsRequest| {
        ready(match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(Authorization::value(HeaderValue::from_static("Bearer x")).expires_after(Duration::ZERO)),
            _ => Err(BoxError::from("the token service is down")),
        })
    });
    let client = client(layer(proxy.url()).with_credentials(provider), &trust);
    let url = format!("https://x.test:{}/", origin.port());
    get(&client, &url).await;
    let request = Request::get(&url).body(Full::default()).unwrap();
    let error = within(client.send(request)).await.unwrap_err();
    assert!(format!("{error:?}").contains("the token service is down"), "{error:?}");
    assert_eq!(origin.requests().len(), 1);
}
