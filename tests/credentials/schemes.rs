//! The choice of a scheme: Basic at once, Digest where it is asked for, and what a setting forbids.

use http::Version;
use tower_outbound_proxy::{
    ProxyConfig, ProxyLayer,
    auth::AuthScheme::{self, Basic, Digest},
    error::ConnectErrorKind,
};
use tower_outbound_proxy_lab::{Auth, DigestAuth, Http2Proxy};

use super::{PASSWORD, USER, USERINFO, VERSIONS, World, basic, ok, proxy, refused, schemes, sent, settings, text};
use crate::client::TestClient;

fn restricted(world: &World, proxy: &Http2Proxy, allowed: &[AuthScheme], version: Version) -> TestClient {
    let layer = ProxyLayer::new(settings(proxy, USERINFO)).with_auth_schemes(allowed.iter().copied());
    world.client(layer, version)
}

#[tokio::test]
async fn basic_is_sent_at_once() {
    let world = World::new().await;
    for version in VERSIONS {
        let proxy = proxy(version, Auth::basic(USER, PASSWORD)).await;
        let client = world.fixed(&proxy, USERINFO, version);
        for url in world.urls() {
            ok(&client, &url).await;
        }
        assert_eq!(sent(&proxy), [basic(), basic()]);
    }
}

/// One round trip is lost, once.
#[tokio::test]
async fn digest_is_answered_without_a_setting() {
    let world = World::new().await;
    for version in VERSIONS {
        for with_basic in [false, true] {
            let mut digest = DigestAuth::new(USER, PASSWORD);
            if with_basic {
                digest = digest.with_basic(false);
            }
            let proxy = proxy(version, digest.auth()).await;
            let client = world.fixed(&proxy, USERINFO, version);
            for url in world.urls() {
                ok(&client, &url).await;
            }
            assert_eq!(schemes(&proxy), ["Basic", "Digest", "Digest"]);
        }
    }
}

/// A proxy that takes both has had Basic before it could ask.
#[tokio::test]
async fn a_proxy_that_accepts_basic_is_not_asked_for_digest() {
    let world = World::new().await;
    let digest = DigestAuth::new(USER, PASSWORD).with_basic(true);
    let proxy = proxy(Version::HTTP_11, digest.auth()).await;
    let client = world.fixed(&proxy, USERINFO, Version::HTTP_11);
    for url in world.urls() {
        ok(&client, &url).await;
    }
    assert_eq!(schemes(&proxy), ["Basic", "Basic"]);
}

#[tokio::test]
async fn with_digest_alone_the_password_never_goes_out() {
    let world = World::new().await;
    for version in VERSIONS {
        let digest = DigestAuth::new(USER, PASSWORD).with_basic(true);
        let both = proxy(version, digest.auth()).await;
        let client = restricted(&world, &both, &[Digest], version);
        for url in world.urls() {
            ok(&client, &url).await;
        }
        assert_eq!(schemes(&both), ["", "Digest", "Digest"]);

        let only_basic = proxy(version, Auth::basic(USER, PASSWORD)).await;
        let client = restricted(&world, &only_basic, &[Digest], version);
        for url in world.urls() {
            let error = refused(&client, &url).await;
            let connect = error.connect_error().unwrap();
            assert_eq!(connect.kind(), ConnectErrorKind::AuthenticationRequired);
            for part in ["Basic (realm \"lab\")", "with_auth_schemes"] {
                assert!(connect.to_string().contains(part), "{connect}");
            }
        }
        assert_eq!(schemes(&only_basic), ["", ""]);
        for bytes in both.raw().into_iter().chain(only_basic.raw()) {
            let bytes = String::from_utf8_lossy(&bytes).into_owned();
            assert!(!bytes.contains(basic().strip_prefix("Basic ").unwrap()));
        }
    }
}

#[tokio::test]
async fn with_basic_alone_digest_is_not_answered() {
    let world = World::new().await;
    for version in VERSIONS {
        let digest = DigestAuth::new(USER, PASSWORD);
        let proxy = proxy(version, digest.auth()).await;
        let client = restricted(&world, &proxy, &[Basic], version);
        for url in world.urls() {
            let error = refused(&client, &url).await;
            assert!(text(&error).contains("Digest"), "{error}");
        }
        assert_eq!(schemes(&proxy), ["Basic", "Basic"]);
    }
}

#[tokio::test]
async fn with_no_scheme_nothing_is_sent() {
    let world = World::new().await;
    let proxy = proxy(Version::HTTP_11, Auth::basic(USER, PASSWORD)).await;
    let client = restricted(&world, &proxy, &[], Version::HTTP_11);
    for url in world.urls() {
        let error = refused(&client, &url).await;
        assert!(text(&error).contains("with_auth_schemes"), "{error}");
    }
    assert_eq!(schemes(&proxy), ["", ""]);
}

/// The error lists what the proxy offers, and names the way out.
#[tokio::test]
async fn a_scheme_that_nobody_can_answer_is_an_error() {
    let world = World::new().await;
    for version in VERSIONS {
        for unauthorized in [false, true] {
            let mut auth = Auth::new(|_| Err(vec!["Negotiate".to_owned(), "NTLM".to_owned()]));
            if unauthorized {
                auth = auth.unauthorized();
            }
            let proxy = proxy(version, auth).await;
            let client = world.fixed(&proxy, USERINFO, version);
            let error = refused(&client, &world.https.url("/")).await;
            let connect = error.connect_error().unwrap();
            let offered: Vec<_> = connect.challenges().iter().map(|one| one.scheme()).collect();
            assert_eq!(offered, ["Negotiate", "NTLM"]);
            for part in ["Negotiate or NTLM", "with_credentials"] {
                assert!(connect.to_string().contains(part), "{connect}");
            }
            // It is not worth a second try.
            assert_eq!(schemes(&proxy), ["Basic"]);
        }
    }
}

/// Envoy refuses CONNECT with 401 and `WWW-Authenticate`: no origin can have answered it.
#[tokio::test]
async fn a_401_for_connect_is_a_challenge() {
    let world = World::new().await;
    for version in VERSIONS {
        let digest = DigestAuth::new(USER, PASSWORD);
        let proxy = proxy(version, digest.auth().unauthorized()).await;
        ok(&world.fixed(&proxy, USERINFO, version), &world.https.url("/")).await;
        assert_eq!(schemes(&proxy), ["Basic", "Digest"]);
    }
}

/// It may be the origin's, which must not get an answer to its own challenge.
#[tokio::test]
async fn a_401_for_a_request_is_the_response() {
    let world = World::new().await;
    for version in VERSIONS {
        let digest = DigestAuth::new(USER, PASSWORD);
        let proxy = proxy(version, digest.auth().unauthorized()).await;
        let client = world.fixed(&proxy, USERINFO, version);
        let response = super::send(&client, crate::client::request(&world.http.url("/")))
            .await
            .unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(schemes(&proxy), ["Basic"]);
    }
}

/// It is not a proxy's, however it is written.
#[tokio::test]
async fn an_origins_challenge_is_the_response() {
    let world = World::new().await;
    for version in VERSIONS {
        let proxy = proxy(version, Auth::basic(USER, PASSWORD)).await;
        let around = ProxyConfig::builder()
            .all(proxy.url_with(USERINFO))
            .no_proxy("origin.test")
            .build()
            .unwrap();
        let (direct, tunnelled) = (&world.http, &world.https);
        let clients = [
            (world.client(ProxyLayer::new(around), version), direct),
            (world.fixed(&proxy, USERINFO, version), tunnelled),
        ];
        for (client, origin) in clients {
            for status in [401, 407] {
                let before = origin.requests().len();
                let url = origin.url(&format!("/status/{status}"));
                let response = super::send(&client, crate::client::request(&url)).await.unwrap();
                assert_eq!(response.status(), status);
                let requests = origin.requests().split_off(before);
                assert_eq!(requests.len(), 1);
                assert!(!requests[0].headers.contains_key("proxy-authorization"));
                assert!(!requests[0].headers.contains_key("authorization"));
            }
        }
    }
}

/// After a proxy has accepted Basic, it may be set up anew.
#[tokio::test]
async fn a_proxy_may_change_its_mind() {
    use std::sync::{Arc, Mutex};
    let world = World::new().await;
    for version in VERSIONS {
        let digest = DigestAuth::new(USER, PASSWORD);
        let is_digest = Arc::new(Mutex::new(false));
        let auth = {
            let (digest, is_digest) = (digest.clone(), is_digest.clone());
            Auth::new(move |request| match *is_digest.lock().unwrap() {
                true => digest.check(request),
                false => match request.header("proxy-authorization") {
                    Some(value) if value == basic() => Ok(()),
                    _ => Err(vec!["Basic realm=\"lab\"".to_owned()]),
                },
            })
        };
        let proxy = proxy(version, auth).await;
        let client = world.fixed(&proxy, USERINFO, version);
        let url = world.http.url("/echo");
        for now in [false, true, false] {
            *is_digest.lock().unwrap() = now;
            // This one was sent without a copy, because Basic had been accepted, and may fail.
            let _ = super::send(&client, super::post(&url, "data")).await;
            for _ in 0..2 {
                let response = super::send(&client, super::post(&url, "data")).await;
                let response = response.unwrap_or_else(|error| panic!("{}", text(&error)));
                assert_eq!(crate::client::read(response).await, "data");
            }
        }
    }
}
