//! Proxies that close the connection with their refusal: they say so, say so in their own way, or say nothing.

use http::Version;
use tower_outbound_proxy::{ProxyLayer, auth::AuthScheme};
use tower_outbound_proxy_lab::{Auth, DigestAuth, Ending};

use super::{PASSWORD, Questions, USER, USERINFO, World, bearer, bearers, ok, once, post, proxy, schemes, settings};
use crate::client::{read, send};

const ENDINGS: [Ending; 4] = [Ending::Open, Ending::Close, Ending::ProxyConnection, Ending::Silent];

#[tokio::test]
async fn each_ending_of_a_refusal_leads_to_the_answer() {
    let world = World::new().await;
    for ending in ENDINGS {
        // The loss of a race would be seen in some of them.
        for _ in 0..10 {
            for url in world.urls() {
                let digest = DigestAuth::new(USER, PASSWORD);
                let proxy = proxy(Version::HTTP_11, digest.auth().ending(ending)).await;
                let client = world.fixed(&proxy, USERINFO, Version::HTTP_11);
                ok(&client, &url).await;
                assert_eq!(schemes(&proxy), ["Basic", "Digest"], "{ending:?} {url}");
                let expected = if ending == Ending::Open { 1 } else { 2 };
                assert_eq!(proxy.connections_opened(), expected, "{ending:?} {url}");
            }
        }
    }
}

/// A POST cannot be repeated on a connection that ends before its response.
#[tokio::test]
async fn each_ending_leads_to_the_answer_for_a_post() {
    let world = World::new().await;
    let url = world.http.url("/echo");
    for ending in ENDINGS {
        for _ in 0..20 {
            let digest = DigestAuth::new(USER, PASSWORD).most_uses(1);
            let proxy = proxy(Version::HTTP_11, digest.auth().ending(ending)).await;
            let client = world.fixed(&proxy, USERINFO, Version::HTTP_11);
            for _ in 0..2 {
                let response = send(&client, post(&url, "data")).await;
                let response = response.unwrap_or_else(|error| panic!("{ending:?}: {}", super::text(&error)));
                assert_eq!(read(response).await, "data");
            }
        }
    }
}

/// The end of the connection comes after the next request was sent.
#[tokio::test]
async fn a_late_end_loses_no_request() {
    use tower_outbound_proxy_lab::{ScriptedProxy, Step};
    let world = World::new().await;
    let refusal = "HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n\
                   Content-Length: 2\r\n\r\nno";
    for (method, url) in [
        ("GET", "http://a.test/"),
        ("POST", "http://a.test/"),
        ("GET", "https://origin.test/"),
    ] {
        for end in [Step::Close, Step::Reset] {
            let after = match url.starts_with("https") {
                true => vec![Step::established(), Step::Tunnel],
                false => vec![Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")],
            };
            let scripted = ScriptedProxy::builder()
                .script([Step::send(refusal), Step::ReadHead, end])
                .script(after)
                .map("origin.test:443", world.https.addr())
                .start()
                .await;
            let config = crate::client::through(scripted.url_with(USERINFO).as_str());
            let client = world.client(ProxyLayer::new(config), Version::HTTP_11);
            let mut request = post(url, "");
            *request.method_mut() = method.parse().unwrap();
            let response = send(&client, request).await;
            let response = response.unwrap_or_else(|error| panic!("{method} {url}: {}", super::text(&error)));
            assert_eq!(response.status(), 200);
        }
    }
}

/// Envoy's 401, and then the end of the connection.
#[tokio::test]
async fn a_401_that_closes_is_answered() {
    let world = World::new().await;
    for ending in ENDINGS {
        let digest = DigestAuth::new(USER, PASSWORD);
        let proxy = proxy(Version::HTTP_11, digest.auth().unauthorized().ending(ending)).await;
        let client = world.fixed(&proxy, USERINFO, Version::HTTP_11);
        ok(&client, &world.https.url("/")).await;
        assert_eq!(schemes(&proxy), ["Basic", "Digest"], "{ending:?}");
    }
}

/// A page that is longer than what an error keeps of it.
#[tokio::test]
async fn a_long_page_does_not_matter() {
    let world = World::new().await;
    for ending in ENDINGS {
        for page in [5_000, 50_000, 500_000] {
            for url in world.urls() {
                let digest = DigestAuth::new(USER, PASSWORD);
                let proxy = proxy(Version::HTTP_11, digest.auth().ending(ending).page(page)).await;
                ok(&world.fixed(&proxy, USERINFO, Version::HTTP_11), &url).await;
                assert_eq!(schemes(&proxy), ["Basic", "Digest"], "{ending:?} {page}");
            }
        }
    }
}

/// With Digest alone, the first request has no credentials.
#[tokio::test]
async fn a_request_without_credentials_is_refused_in_each_way() {
    let world = World::new().await;
    for ending in ENDINGS {
        for url in world.urls() {
            let digest = DigestAuth::new(USER, PASSWORD);
            let proxy = proxy(Version::HTTP_11, digest.auth().ending(ending)).await;
            let layer = ProxyLayer::new(settings(&proxy, USERINFO)).with_auth_schemes([AuthScheme::Digest]);
            ok(&world.client(layer, Version::HTTP_11), &url).await;
            assert_eq!(schemes(&proxy), ["", "Digest"], "{ending:?} {url}");
        }
    }
}

/// Tokens that serve once and that no round preceded are not bound to the connection of the refusal.
#[tokio::test]
async fn a_provider_answers_on_a_new_connection() {
    let world = World::new().await;
    for ending in ENDINGS {
        for url in world.urls() {
            for answer in [bearer("new"), once("Bearer new")] {
                let proxy = proxy(Version::HTTP_11, bearers(&["new"]).ending(ending)).await;
                let questions = Questions::default();
                let provider = questions.answered([bearer("old"), answer]);
                ok(&world.provided(&proxy, Version::HTTP_11, provider), &url).await;
                assert_eq!(questions.count(), 2, "{ending:?} {url}");
                assert_eq!(schemes(&proxy), ["Bearer", "Bearer"]);
            }
        }
    }
}

/// A refusal without a length ends with its connection.
#[tokio::test]
async fn a_refusal_in_http_1_0_is_answered() {
    use tower_outbound_proxy_lab::{ScriptedProxy, Step};
    let world = World::new().await;
    for connection in ["", "Connection: close\r\n", "Proxy-Connection: close\r\n"] {
        let refusal = format!(
            "HTTP/1.0 407 Proxy Authentication Required\r\n{connection}Proxy-Authenticate: Digest realm=\"r\", \
             nonce=\"n\", qop=\"auth\"\r\n\r\nno"
        );
        let scripted = ScriptedProxy::builder()
            .script([Step::send(refusal)])
            .script([Step::established(), Step::Tunnel])
            .map("origin.test:443", world.https.addr())
            .start()
            .await;
        let config = crate::client::through(scripted.url_with(USERINFO).as_str());
        let client = world.client(ProxyLayer::new(config), Version::HTTP_11);
        ok(&client, "https://origin.test/").await;
        assert!(
            scripted.requests()[1]
                .header("proxy-authorization")
                .unwrap()
                .starts_with("Digest ")
        );
    }
    let _ = Auth::basic("", "");
}
