//! Authentication in several rounds that are bound to one connection, as NTLM's are.

use std::collections::HashSet;

use http::Version;
use tower::{BoxError, service_fn};
use tower_outbound_proxy::{
    ProxyConfig, ProxyLayer,
    auth::{CredentialsProvider, CredentialsRequest},
    connector::ProxyVersion,
};
use tower_outbound_proxy_lab::{Auth, Ending, Http2Proxy, Kind};

use super::{Questions, World, ok, once, post, proxy, refused, sent, settings, text};
use crate::client::{self, read, send};

/// Returns a provider that goes through the rounds for a user.
fn rounds(questions: &Questions, user: &'static str) -> impl CredentialsProvider {
    let questions = questions.clone();
    service_fn(move |request: CredentialsRequest| {
        questions.note(&request);
        let token = request
            .challenges()
            .iter()
            .find_map(|one| one.token68().map(str::to_owned));
        async move {
            let value = match token {
                Some(token) => once(&format!("Rounds {token}==")),
                None => once(&format!("Rounds hello-{user}")),
            };
            Ok::<_, BoxError>(value.identity(user))
        }
    })
}

fn exchanges(questions: &Questions) -> Vec<(u64, u32)> {
    questions
        .all()
        .iter()
        .map(|asked| (asked.exchange, asked.round))
        .collect()
}

#[tokio::test]
async fn all_rounds_arrive_on_one_connection() {
    let world = World::new().await;
    for page in [0, 6_000, 60_000] {
        let [http, https] = world.urls();
        let proxy = proxy(Version::HTTP_11, Auth::rounds(&["alice"]).page(page)).await;
        let questions = Questions::default();
        let client = world.provided(&proxy, Version::HTTP_11, rounds(&questions, "alice"));

        ok(&client, &https).await;
        let connections: HashSet<_> = proxy.requests().iter().map(|request| request.connection).collect();
        assert_eq!((connections.len(), proxy.requests().len()), (1, 2), "{page}");

        ok(&client, &http).await;
        let forwarded: Vec<_> = proxy
            .requests()
            .into_iter()
            .filter(|one| one.kind() == Kind::Forward)
            .collect();
        let connections: HashSet<_> = forwarded.iter().map(|request| request.connection).collect();
        assert_eq!((connections.len(), forwarded.len()), (1, 2), "{page}");

        let asked = exchanges(&questions);
        assert_eq!(asked.iter().map(|(_, round)| *round).collect::<Vec<_>>(), [0, 1, 0, 1]);
        assert_eq!((asked[0].0, asked[2].0), (asked[1].0, asked[3].0));
        assert_ne!(asked[0].0, asked[2].0);
    }
}

#[tokio::test]
async fn a_post_with_a_body_goes_through_the_rounds() {
    let world = World::new().await;
    for size in [4, 1 << 20] {
        let proxy = proxy(Version::HTTP_11, Auth::rounds(&["alice"])).await;
        let client = world.provided(&proxy, Version::HTTP_11, rounds(&Questions::default(), "alice"));
        let body = tower_outbound_proxy_lab::pattern(size);
        let response = send(&client, post(&world.http.url("/echo"), body.clone())).await;
        let response = response.unwrap_or_else(|error| panic!("{size}: {}", text(&error)));
        assert!(read(response).await == body);
        assert_eq!(proxy.connections_opened(), 1);
    }
}

/// Starts a proxy over TLS with these protocols, and returns it with the settings for it.
async fn over_tls(world: &World, alpn: &[&str], auth: Auth) -> (Http2Proxy, ProxyConfig) {
    let tls = world.ca.issue(&["localhost"]).server_config(alpn);
    let proxy = Http2Proxy::builder().tls(tls).with_http1().auth(auth).start().await;
    let config = ProxyConfig::builder()
        .all(proxy.url_with("").as_str())
        .proxy_tls(client::trusting(&world.ca))
        .loopback_direct(false)
        .build()
        .unwrap();
    (proxy, config)
}

/// Over HTTP/2, the next round would be another stream, which others may overtake.
#[tokio::test]
async fn tunnels_fall_back_to_http1() {
    let world = World::new().await;
    let (proxy, config) = over_tls(&world, &["h2", "http/1.1"], Auth::rounds(&["alice"])).await;
    let questions = Questions::default();
    let layer = ProxyLayer::new(config)
        .with_proxy_version(ProxyVersion::Negotiated)
        .with_credentials(rounds(&questions, "alice"));
    let builder = client::builder(client::unproxied(), &world.ca).layer(layer);
    let client = builder.build().unwrap();
    ok(&client, &world.https.url("/")).await;
    let versions: Vec<_> = proxy.requests().iter().map(|request| request.version).collect();
    assert_eq!(versions, [Version::HTTP_2, Version::HTTP_11, Version::HTTP_11]);

    // From then on it is asked in HTTP/1.1 at once, with one exchange for each tunnel.
    let before = questions.count();
    let other = tower_outbound_proxy_lab::Origin::https(&world.ca, &["other.test"], &["http/1.1"]).await;
    ok(&client, &other.url("/")).await;
    let asked = exchanges(&questions)[before..].to_vec();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[0].0, asked[1].0);
}

/// A proxy that speaks HTTP/1.1 where HTTP/2 was offered gets the token that was asked for.
#[tokio::test]
async fn a_proxy_without_http2_causes_no_second_question() {
    let world = World::new().await;
    let (_proxy, config) = over_tls(&world, &["http/1.1"], super::bearers(&["token"])).await;
    let questions = Questions::default();
    let layer = ProxyLayer::new(config).with_credentials(questions.answered([once("Bearer token")]));
    let client = client::builder(client::unproxied(), &world.ca)
        .layer(layer)
        .build()
        .unwrap();
    ok(&client, &world.https.url("/")).await;
    assert_eq!(questions.count(), 1, "{:?}", questions.all());
}

/// The next round has no meaning on another connection.
#[tokio::test]
async fn rounds_end_with_their_connection() {
    let world = World::new().await;
    for ending in [Ending::Close, Ending::ProxyConnection, Ending::Silent] {
        for url in world.urls() {
            let proxy = proxy(Version::HTTP_11, Auth::rounds(&["alice"]).ending(ending)).await;
            let client = world.provided(&proxy, Version::HTTP_11, rounds(&Questions::default(), "alice"));
            let error = refused(&client, &url).await;
            for connection in proxy.connections().iter().skip(1) {
                assert!(
                    !connection.received_text().contains("for-alice"),
                    "{ending:?} {}",
                    text(&error)
                );
            }
        }
    }
}

/// A proxy that never ends its rounds.
#[tokio::test]
async fn rounds_are_limited() {
    let world = World::new().await;
    for url in world.urls() {
        let auth = Auth::new(|_| Err(vec!["Rounds again".to_owned()]));
        let proxy = proxy(Version::HTTP_11, auth).await;
        let questions = Questions::default();
        let client = world.provided(&proxy, Version::HTTP_11, questions.answered([once("Rounds more==")]));
        refused(&client, &url).await;
        assert!((2..=10).contains(&sent(&proxy).len()), "{}", sent(&proxy).len());
        assert_eq!(proxy.connections_opened(), 1);
    }
}

/// A connection that was opened for one user is not used for another one.
#[tokio::test]
async fn a_connection_that_is_bound_serves_its_user_alone() {
    let world = World::new().await;
    let proxy = proxy(Version::HTTP_11, Auth::rounds(&["alice", "bob"])).await;
    let questions = Questions::default();
    let provider = {
        let questions = questions.clone();
        service_fn(move |request: CredentialsRequest| {
            let number = questions.note(&request);
            // Two questions for each request: alice, alice, bob, bob.
            let user = if number < 2 { "alice" } else { "bob" };
            let token = request
                .challenges()
                .iter()
                .find_map(|one| one.token68().map(str::to_owned));
            async move {
                // Nobody says who they are.
                Ok::<_, BoxError>(match token {
                    Some(token) => once(&format!("Rounds {token}==")),
                    None => once(&format!("Rounds hello-{user}")),
                })
            }
        })
    };
    let client = world.provided(&proxy, Version::HTTP_11, provider);
    for _ in 0..2 {
        ok(&client, &world.http.url("/")).await;
    }
    let connection = |user: &str| {
        let of = format!("for-{user}");
        let with: Vec<_> = proxy
            .requests()
            .into_iter()
            .filter(|one| {
                one.header("proxy-authorization")
                    .is_some_and(|value| value.contains(&of))
            })
            .map(|one| one.connection)
            .collect();
        assert_eq!(with.len(), 1, "{user}");
        with[0]
    };
    assert_ne!(connection("alice"), connection("bob"));
    let _ = settings(&proxy, "");
}
