//! The HTTP half around another client: it cannot repeat a request, and learns for the next one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy, rt::TokioExecutor};
use tower::{BoxError, Layer, ServiceExt};
use tower_outbound_proxy::{ConnectError, ProxyLayer};
use tower_outbound_proxy_lab::{Auth, DigestAuth, connector, within};

use super::{PASSWORD, Questions, USER, USERINFO, World, basic, bearer, bearers, proxy, schemes, sent, settings};

/// Sends a GET through hyper-util's client with the layer in both places.
async fn get(layer: &ProxyLayer, url: &str) -> Result<Response<Bytes>, BoxError> {
    let inner = legacy::Client::builder(TokioExecutor::new()).build(layer.layer(connector()));
    let client = layer.layer(inner);
    let request = Request::get(url).body(Full::<Bytes>::default()).unwrap();
    let (head, body) = within(client.oneshot(request)).await?.into_parts();
    Ok(Response::from_parts(head, within(body.collect()).await?.to_bytes()))
}

#[tokio::test]
async fn digest_is_learned_for_the_next_request() {
    let world = World::new().await;
    for errors in [None, Some(false), Some(true)] {
        let digest = DigestAuth::new(USER, PASSWORD).most_uses(3);
        let proxy = proxy(Version::HTTP_11, digest.auth()).await;
        let mut layer = ProxyLayer::new(settings(&proxy, USERINFO));
        if let Some(errors) = errors {
            layer = layer.with_auth_errors(errors);
        }
        let first = get(&layer, &world.http.url("/")).await;
        match errors {
            Some(true) => assert!(ConnectError::find(&*first.unwrap_err()).is_some()),
            _ => assert_eq!(first.unwrap().status(), StatusCode::PROXY_AUTHENTICATION_REQUIRED),
        }
        for _ in 0..3 {
            assert_eq!(
                get(&layer, &world.http.url("/?a=b c".replace(' ', "%20").as_str()))
                    .await
                    .unwrap()
                    .status(),
                200
            );
        }
        // The nonce is stale now.
        let _ = get(&layer, &world.http.url("/")).await;
        assert_eq!(get(&layer, &world.http.url("/")).await.unwrap().status(), 200);
        assert_eq!(
            schemes(&proxy),
            ["Basic", "Digest", "Digest", "Digest", "Digest", "Digest"]
        );
    }
}

/// A proxy that has accepted Basic may be set up anew.
#[tokio::test]
async fn a_proxy_may_change_its_mind() {
    let world = World::new().await;
    let digest = DigestAuth::new(USER, PASSWORD);
    let is_digest = Arc::new(AtomicBool::new(false));
    let auth = {
        let (digest, is_digest) = (digest.clone(), is_digest.clone());
        Auth::new(move |request| match is_digest.load(Ordering::SeqCst) {
            true => digest.check(request),
            false if request.header("proxy-authorization") == Some(&basic()) => Ok(()),
            false => Err(vec!["Basic realm=\"lab\"".to_owned()]),
        })
    };
    let proxy = proxy(Version::HTTP_11, auth).await;
    let layer = ProxyLayer::new(settings(&proxy, USERINFO));
    let url = world.http.url("/");
    assert_eq!(get(&layer, &url).await.unwrap().status(), 200);
    for now in [true, false] {
        is_digest.store(now, Ordering::SeqCst);
        assert_eq!(get(&layer, &url).await.unwrap().status(), 407);
        assert_eq!(get(&layer, &url).await.unwrap().status(), 200);
    }
}

/// A nonce that a tunnel has learned serves forwarded requests, and the other way round.
#[tokio::test]
async fn both_halves_share_a_nonce() {
    let world = World::new().await;
    let digest = DigestAuth::new(USER, PASSWORD);
    let proxy = proxy(Version::HTTP_11, digest.auth()).await;
    let layer = ProxyLayer::new(settings(&proxy, USERINFO));
    let target: http::Uri = world.https.url("/").parse().unwrap();
    let stream = within(layer.layer(connector()).oneshot(target)).await.unwrap();
    drop(stream);
    assert_eq!(get(&layer, &world.http.url("/")).await.unwrap().status(), 200);
    let counts: Vec<_> = digest.accepted().iter().map(|one| one.count).collect();
    assert_eq!(counts, [1, 2]);
}

#[tokio::test]
async fn a_provider_is_asked_in_the_background() {
    let world = World::new().await;
    let proxy = proxy(Version::HTTP_11, bearers(&["new"])).await;
    let questions = Questions::default();
    let layer =
        ProxyLayer::new(settings(&proxy, "")).with_credentials(questions.answered([bearer("old"), bearer("new")]));
    let url = world.http.url("/");
    let get = async || get(&layer, &url).await.unwrap().status();
    let is_new = |sent: &[String]| sent.iter().any(|value| value == "Bearer new");
    within(async {
        while get().await != StatusCode::OK {
            assert!(!is_new(&sent(&proxy)));
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(questions.count(), 2, "{:?}", questions.all());
    assert_eq!(sent(&proxy)[0], "");
    assert_eq!(get().await, StatusCode::OK);
    assert_eq!(questions.count(), 2);
}

/// The provider's answer to a challenge is a password, which is sent in Digest.
#[tokio::test]
async fn a_provider_s_password_is_sent_in_digest() {
    use tower_outbound_proxy::auth::{Authorization, Credentials};
    let world = World::new().await;
    let digest = DigestAuth::new(USER, PASSWORD).with_basic(false);
    let proxy = proxy(Version::HTTP_11, digest.auth()).await;
    let questions = Questions::default();
    let password = Authorization::password(Credentials::new(USER, PASSWORD).unwrap());
    let layer =
        ProxyLayer::new(settings(&proxy, "")).with_credentials(questions.answered([Authorization::none(), password]));
    let url = world.http.url("/");
    within(async {
        while get(&layer, &url).await.unwrap().status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(questions.count(), 2);
    assert!(!schemes(&proxy).contains(&"Basic".to_owned()), "{:?}", schemes(&proxy));
}
