//! Many requests that meet a refusal at once.

use std::time::Duration;

use http::Version;
use tokio::task::JoinSet;
use tower_outbound_proxy_lab::{DigestAuth, Ending, within};

use super::{PASSWORD, Questions, USER, USERINFO, VERSIONS, World, bearer, bearers, ok, once, proxy, sent};
use crate::client::TestClient;

const MANY: usize = 50;

async fn at_once(client: &TestClient, urls: &[String]) {
    let mut requests = JoinSet::new();
    for number in 0..MANY {
        let (client, url) = (client.clone(), urls[number % urls.len()].clone());
        requests.spawn(async move { ok(&client, &url).await });
    }
    within(requests.join_all()).await;
}

/// Returns the ways to send many requests: tunnelled, forwarded, and both.
fn mixes(world: &World) -> [Vec<String>; 3] {
    let [http, https] = world.urls();
    [vec![http.clone()], vec![https.clone()], vec![http, https]]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_succeed_with_digest() {
    let world = World::new().await;
    for version in VERSIONS {
        for urls in mixes(&world) {
            for ending in [Ending::Open, Ending::Close, Ending::Silent] {
                let digest = DigestAuth::new(USER, PASSWORD).algorithms(&["SHA-256", "MD5"]);
                let proxy = proxy(version, digest.auth().ending(ending)).await;
                let client = world.fixed(&proxy, USERINFO, version);
                // Once without a nonce, once with one that they share.
                at_once(&client, &urls).await;
                at_once(&client, &urls).await;
                let faults: Vec<_> = digest.answers().into_iter().filter_map(|answer| answer.fault).collect();
                assert!(faults.iter().all(|fault| fault == "late count"), "{faults:?}");
            }
        }
    }
}

/// The nonce is stale again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_succeed_while_nonces_go_stale() {
    let world = World::new().await;
    for version in VERSIONS {
        for most_uses in [1, 7] {
            for urls in mixes(&world) {
                let digest = DigestAuth::new(USER, PASSWORD).most_uses(most_uses);
                let proxy = proxy(version, digest.auth()).await;
                let client = world.fixed(&proxy, USERINFO, version);
                for _ in 0..3 {
                    at_once(&client, &urls).await;
                }
                let answers = digest.answers();
                assert!(
                    answers
                        .iter()
                        .all(|answer| answer.fault.as_deref() != Some("replayed count"))
                );
            }
        }
    }
}

/// One call for all that have nothing yet, and one for all that are refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_is_called_once() {
    let world = World::new().await;
    for version in VERSIONS {
        for urls in mixes(&world) {
            for ending in [Ending::Open, Ending::Close, Ending::Silent] {
                let proxy = proxy(version, bearers(&["new"]).ending(ending)).await;
                let questions = Questions::default();
                let client = world.provided(&proxy, version, questions.answered([bearer("old"), bearer("new")]));
                at_once(&client, &urls).await;
                assert_eq!(questions.count(), 2, "{:?}", questions.all());
            }
        }
    }
}

/// A value that was refused, and that the provider has no better one for, is sent once by each request that was on its
/// way, and the provider is called once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_was_refused_is_not_repeated() {
    let world = World::new().await;
    for version in VERSIONS {
        for urls in mixes(&world) {
            let proxy = proxy(version, bearers(&["none"])).await;
            let questions = Questions::default();
            let client = world.provided(&proxy, version, questions.answered([bearer("old")]));
            let mut requests = JoinSet::new();
            for number in 0..MANY {
                let (client, url) = (client.clone(), urls[number % urls.len()].clone());
                requests.spawn(async move { super::refused(&client, &url).await });
            }
            within(requests.join_all()).await;
            assert!(sent(&proxy).len() <= MANY, "{}", sent(&proxy).len());
        }
    }
}

/// Tokens that serve once are asked for by each request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_its_own_token_if_it_serves_once() {
    let world = World::new().await;
    for version in VERSIONS {
        for urls in mixes(&world) {
            let tokens: Vec<_> = (0..MANY).map(|number| format!("token-{number}")).collect();
            let names: Vec<_> = tokens.iter().map(String::as_str).collect();
            let proxy = proxy(version, bearers(&names)).await;
            let questions = Questions::default();
            let answers: Vec<_> = tokens.iter().map(|token| once(&format!("Bearer {token}"))).collect();
            let client = world.provided(&proxy, version, questions.answered(answers));
            let mut requests = JoinSet::new();
            for number in 0..MANY / 2 {
                let (client, url) = (client.clone(), urls[number % urls.len()].clone());
                requests.spawn(async move { ok(&client, &url).await });
            }
            within(requests.join_all()).await;
            let mut sent = sent(&proxy);
            let count = sent.len();
            sent.sort();
            sent.dedup();
            assert_eq!((sent.len(), count), (MANY / 2, MANY / 2));
        }
    }
    let _ = (Duration::ZERO, Version::HTTP_11);
}
