//! Identities: a connection that was opened for one is not used for another one.

use std::time::Duration;

use http::Version;
use tower_outbound_proxy::auth::{Authorization, Credentials};
use tower_outbound_proxy_lab::{Auth, Http2Proxy};

use super::{Questions, VERSIONS, World, bearer, bearers, ok, once, proxy, sent};
use crate::client::TestClient;

/// Shorter than any server's patience.
const LIFETIME: Duration = Duration::from_secs(10);

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Returns, for each credentials in the order of arrival, the connections on which they were sent.
fn connections(proxy: &Http2Proxy) -> Vec<(String, Vec<usize>)> {
    let mut seen: Vec<(String, Vec<usize>)> = Vec::new();
    for request in proxy.requests() {
        let value = request.header("proxy-authorization").unwrap_or_default().to_owned();
        match seen.iter_mut().find(|(one, _)| *one == value) {
            Some((_, on)) => on.push(request.connection),
            None => seen.push((value, vec![request.connection])),
        }
    }
    seen
}

fn shares(proxy: &Http2Proxy) -> bool {
    let seen = connections(proxy);
    let (_, first) = &seen[0];
    seen[1..]
        .iter()
        .any(|(_, others)| others.iter().any(|one| first.contains(one)))
}

/// Sends requests to one URL, before and after the provider's answer has changed.
async fn change(world: &World, version: Version, url: usize, answers: [Authorization; 2]) -> Http2Proxy {
    let proxy = proxy(version, bearers(&["one", "two"])).await;
    let answers = answers.map(|answer| answer.expires_after(LIFETIME));
    let questions = Questions::default();
    let client: TestClient = world.provided(&proxy, version, questions.answered(answers));
    let url = &world.urls()[url];
    for _ in 0..2 {
        ok(&client, url).await;
    }
    // The idle connections stay.
    pass(LIFETIME + Duration::from_secs(1)).await;
    for _ in 0..2 {
        ok(&client, url).await;
    }
    assert_eq!(questions.count(), 2, "{version:?} {url}");
    proxy
}

#[tokio::test]
async fn other_credentials_have_other_connections() {
    let world = World::new().await;
    for version in VERSIONS {
        for url in [0, 1] {
            for answers in [
                [bearer("one"), bearer("two")],
                [bearer("one").identity("a"), bearer("two").identity("b")],
                [bearer("one"), bearer("two").identity("b")],
                [bearer("one").identity("a"), bearer("two")],
                [bearer("one").identity("a"), bearer("one").identity("b")],
            ] {
                let proxy = change(&world, version, url, answers).await;
                assert_eq!(proxy.connections_opened(), 2, "{version:?} {url}");
                let sent = sent(&proxy);
                if sent.contains(&"Bearer two".to_owned()) {
                    assert!(!shares(&proxy), "{version:?} {url} {:?}", connections(&proxy));
                }
            }
        }
    }
}

/// A renewed token of the same user shares the connections.
#[tokio::test]
async fn a_name_joins_renewed_tokens() {
    let world = World::new().await;
    for version in VERSIONS {
        for url in [0, 1] {
            for answers in [
                [bearer("one").identity("a"), bearer("two").identity("a")],
                [bearer("one"), bearer("one")],
            ] {
                let proxy = change(&world, version, url, answers).await;
                assert_eq!(proxy.connections_opened(), 1, "{version:?} {url}");
            }
        }
    }
}

/// The refusal of one identity's request is answered with another one's credentials, on another connection.
#[tokio::test]
async fn another_identity_answers_a_refusal_on_another_connection() {
    let world = World::new().await;
    for version in VERSIONS {
        for url in world.urls() {
            let proxy = proxy(version, bearers(&["two"])).await;
            let answers = [bearer("one").identity("a"), bearer("two").identity("b")];
            let client = world.provided(&proxy, version, Questions::default().answered(answers));
            ok(&client, &url).await;
            let is_tunnel_over_http1 = version == Version::HTTP_11 && url.starts_with("https");
            // A connection that has not become a tunnel has served nobody yet.
            assert!(
                is_tunnel_over_http1 || !shares(&proxy),
                "{version:?} {url} {:?}",
                connections(&proxy)
            );
        }
    }
}

/// Values that serve once stand for somebody else each time, unless they are named.
#[tokio::test]
async fn values_that_serve_once_do_not_share() {
    let world = World::new().await;
    for version in VERSIONS {
        for (name, expected) in [(None, 3), (Some("a"), 1)] {
            let proxy = proxy(version, Auth::new(|_| Ok(()))).await;
            let answers = ["one", "two", "three"].map(|token| {
                let answer = once(&format!("Bearer {token}"));
                match name {
                    Some(name) => answer.identity(name),
                    None => answer,
                }
            });
            let client = world.provided(&proxy, version, Questions::default().answered(answers));
            for _ in 0..3 {
                ok(&client, &world.http.url("/")).await;
            }
            assert_eq!(sent(&proxy), ["Bearer one", "Bearer two", "Bearer three"]);
            assert_eq!(proxy.connections_opened(), expected, "{version:?} {name:?}");
        }
    }
}

/// Passwords are identities as well.
#[tokio::test]
async fn other_users_have_other_connections() {
    let world = World::new().await;
    for version in VERSIONS {
        for url in world.urls() {
            let proxy = proxy(version, Auth::new(|_| Ok(()))).await;
            let answers = ["alice", "bob"].map(|user| {
                Authorization::password(Credentials::new(user, "password").unwrap()).expires_after(LIFETIME)
            });
            let client = world.provided(&proxy, version, Questions::default().answered(answers));
            ok(&client, &url).await;
            pass(LIFETIME + Duration::from_secs(1)).await;
            ok(&client, &url).await;
            assert_eq!(proxy.connections_opened(), 2, "{version:?} {url}");
        }
    }
}
