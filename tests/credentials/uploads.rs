//! Bodies: a request is repeated if its body can be sent again, and what was learned serves the next one otherwise.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Body, Frame};
use tower::ServiceExt;
use tower_outbound_proxy::{Client, ClientError, ProxyLayer};
use tower_outbound_proxy_lab::{Auth, DigestAuth, Ending, Http2Proxy, ScriptedProxy, Step, pattern, within};

use super::{
    PASSWORD, Questions, USER, USERINFO, VERSIONS, World, bearer, bearers, post, proxy, schemes, settings, spoken, text,
};
use crate::client::{self, read, send};

const REFUSAL: &str = "HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n\
                       Content-Length: 2\r\n\r\nno";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

type AnyBody = BoxBody<Bytes, Infallible>;

/// Returns a client for bodies of all kinds.
fn any_client(world: &World, layer: ProxyLayer, version: Version) -> Client<AnyBody> {
    let layer = layer.with_proxy_version(spoken(version));
    client::builder(client::unproxied(), &world.ca)
        .layer(layer)
        .build()
        .unwrap()
}

/// A body of several frames, which cannot be sent again once it has begun.
struct Streamed(&'static [&'static str]);

impl Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((first, rest)) = self.0.split_first() else {
            return Poll::Ready(None);
        };
        self.0 = rest;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(first.as_bytes())))))
    }
}

fn streamed() -> AnyBody {
    Streamed(&["some ", "parts"]).boxed()
}

async fn upload(client: &Client<AnyBody>, url: &str, body: AnyBody) -> Result<Bytes, ClientError> {
    let request = Request::builder().method(Method::POST).uri(url).body(body).unwrap();
    Ok(read(within(client.clone().oneshot(request)).await?).await)
}

#[tokio::test]
async fn a_body_in_memory_is_sent_again() {
    let world = World::new().await;
    for version in VERSIONS {
        let digest = DigestAuth::new(USER, PASSWORD).most_uses(2);
        let proxy = proxy(version, digest.auth()).await;
        let client = any_client(&world, ProxyLayer::new(settings(&proxy, USERINFO)), version);
        for _ in 0..5 {
            let echoed = upload(&client, &world.http.url("/echo"), Full::from("data").boxed()).await;
            assert_eq!(echoed.unwrap(), "data");
        }
    }
}

/// A body that streams waits for the proxy's consent, and so all of it is there for the answer to the challenge.
#[tokio::test]
async fn a_body_that_streams_waits_for_the_challenge() {
    let world = World::new().await;
    let scripted = ScriptedProxy::builder()
        .script([Step::send(REFUSAL), Step::Close])
        .script([
            Step::send("HTTP/1.1 100 \r\n\r\n"),
            Step::Wait(Duration::from_millis(100)),
            Step::send(OK),
            Step::Hang,
        ])
        .start()
        .await;
    let config = client::through(scripted.url_with(USERINFO).as_str());
    let client = any_client(&world, ProxyLayer::new(config), Version::HTTP_11);
    let response = upload(&client, "http://a.test/", streamed()).await;
    assert_eq!(response.unwrap_or_else(|error| panic!("{}", text(&error))), "ok");
    assert!(scripted.raw()[1].ends_with(b"5\r\nsome \r\n5\r\nparts\r\n0\r\n\r\n"));
}

/// Over HTTP/2 it does not: the 407 is the error, and the next request knows the nonce.
#[tokio::test]
async fn a_body_that_streams_fails_once_over_http2() {
    let world = World::new().await;
    for errors in [true, false] {
        let digest = DigestAuth::new(USER, PASSWORD);
        let proxy = proxy(Version::HTTP_2, digest.auth()).await;
        let layer = ProxyLayer::new(settings(&proxy, USERINFO)).with_auth_errors(errors);
        let client = any_client(&world, layer, Version::HTTP_2);
        let first = upload(&client, &world.http.url("/echo"), streamed()).await;
        match errors {
            true => assert!(text(&first.unwrap_err()).contains("407")),
            false => assert_ne!(first.unwrap(), "some parts"),
        }
        for _ in 0..3 {
            let echoed = upload(&client, &world.http.url("/echo"), streamed()).await;
            assert_eq!(echoed.unwrap_or_else(|error| panic!("{}", text(&error))), "some parts");
        }
        assert_eq!(schemes(&proxy), ["Basic", "Digest", "Digest", "Digest"]);
    }
}

/// The same with a provider: its answer to the refusal is for the next request.
#[tokio::test]
async fn a_body_that_streams_fails_once_with_a_provider() {
    let world = World::new().await;
    for version in VERSIONS {
        let proxy = proxy(version, bearers(&["new"])).await;
        let questions = Questions::default();
        let layer =
            ProxyLayer::new(settings(&proxy, "")).with_credentials(questions.answered([bearer("old"), bearer("new")]));
        let client = any_client(&world, layer, version);
        upload(&client, &world.http.url("/echo"), streamed()).await.unwrap_err();
        assert_eq!(questions.count(), 2);
        let echoed = upload(&client, &world.http.url("/echo"), streamed()).await;
        assert_eq!(echoed.unwrap(), "some parts");
        assert_eq!(questions.count(), 2);
    }
}

/// The proxy refuses before it has read the body, and closes.
#[tokio::test]
async fn a_long_body_gets_past_an_early_refusal() {
    let world = World::new().await;
    let body = pattern(10 << 20);
    for version in VERSIONS {
        for ending in [Ending::Open, Ending::Close, Ending::Silent] {
            let digest = DigestAuth::new(USER, PASSWORD);
            let proxy: Http2Proxy = proxy(version, digest.auth().ending(ending)).await;
            let client = world.fixed(&proxy, USERINFO, version);
            let response = send(&client, post(&world.http.url("/echo"), body.clone())).await;
            let response = response.unwrap_or_else(|error| panic!("{version:?} {ending:?}: {}", text(&error)));
            let echoed = within(response.into_body().collect()).await.unwrap().to_bytes();
            assert!(echoed == body, "{version:?} {ending:?}");
        }
    }
}

/// The proxy refuses when it has the head, and ends the connection in order or with a reset. The body is not on its way
/// yet, so that no reset can come before the refusal.
#[tokio::test]
async fn a_long_body_waits_for_an_early_refusal() {
    let world = World::new().await;
    for end in [Step::Close, Step::Reset] {
        for _ in 0..20 {
            let scripted = ScriptedProxy::builder()
                .script([Step::send(REFUSAL), end.clone()])
                .script([Step::Wait(Duration::from_millis(20)), Step::send(OK), Step::Hang])
                .start()
                .await;
            let config = client::through(scripted.url_with(USERINFO).as_str());
            let client = world.client(ProxyLayer::new(config), Version::HTTP_11);
            let response = send(&client, post("http://a.test/", pattern(10 << 20))).await;
            assert_eq!(
                response.unwrap_or_else(|error| panic!("{}", text(&error))).status(),
                200
            );
            assert_eq!(scripted.requests().iter().filter(|request| expects(request)).count(), 2);
        }
    }
}

fn expects(request: &tower_outbound_proxy_lab::Request) -> bool {
    request
        .headers
        .get("expect")
        .is_some_and(|value| value == "100-continue")
}

/// Many servers never answer `Expect`.
#[tokio::test]
async fn a_long_body_waits_for_a_second_at_most() {
    let world = World::new().await;
    let body = pattern(100_000);
    let scripted = ScriptedProxy::start([Step::Wait(Duration::from_millis(1500)), Step::send(OK)]).await;
    let config = client::through(scripted.url_with(USERINFO).as_str());
    let client = world.client(ProxyLayer::new(config), Version::HTTP_11);
    let response = send(&client, post("http://a.test/", body.clone())).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(scripted.raw()[0].ends_with(&body));
}

/// A body that fits into the connection does not wait, nor does one where no challenge is likely.
#[tokio::test]
async fn other_bodies_do_not_wait() {
    let world = World::new().await;
    let proxy = proxy(Version::HTTP_11, Auth::basic(USER, PASSWORD)).await;
    let client = world.fixed(&proxy, USERINFO, Version::HTTP_11);
    for length in [60_000, 100_000] {
        let url = world.http.url("/echo");
        send(&client, post(&url, pattern(length))).await.unwrap();
    }
    assert!(!proxy.requests().iter().any(expects));
}
