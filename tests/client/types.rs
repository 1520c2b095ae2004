//! The visible output of the client's types shows no secret, and the types can be sent to and shared with any task.

use std::{
    error::Error,
    fmt::{Debug, Display, Write},
    rc::Rc,
};

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{Empty, Full};
use hyper::body::Body;
use static_assertions::{assert_impl_all, assert_not_impl_any};
use tower::{BoxError, Service, ServiceExt, util::BoxCloneSyncService};
use tower_outbound_proxy::{
    Client, ClientError, ProxyLayer, PurposePolicy, TlsConfig,
    client::{BodyError, ClientBody, ClientBuilder, ConfigHandle, KeyStats, PoolStats, ResponseFuture},
    purpose::{ProxyUse, PurposeError},
};
use tower_outbound_proxy_lab::{Ca, Fault, ForwardProxy, Origin, ScriptedProxy, Step, connector, within};

use super::{TestClient, get, read, request, send, through, unproxied};

struct NotSend(#[allow(dead_code)] Rc<u8>);

assert_impl_all!(Client<Full<Bytes>>: Clone, Send, Sync, Unpin, Debug, Service<Request<Full<Bytes>>>);
// Whatever the body is.
assert_impl_all!(Client<NotSend>: Clone, Send, Sync, Unpin, Debug);
assert_not_impl_any!(Client<NotSend>: Service<Request<NotSend>>);
assert_impl_all!(ClientBuilder: Clone, Send, Sync, Unpin, Debug);
assert_impl_all!(ClientBody: Send, Sync, Unpin, Debug, Body<Data = Bytes, Error = BodyError>);
assert_impl_all!(ResponseFuture: Send, Unpin, Debug, Future<Output = Result<http::Response<ClientBody>, ClientError>>);
assert_impl_all!(ClientError: Send, Sync, Unpin, Debug, Display, Error, Into<BoxError>);
assert_impl_all!(ConfigHandle: Clone, Send, Sync, Unpin, Debug);
assert_impl_all!(PurposePolicy: Clone, Send, Sync, Unpin, Debug);
assert_impl_all!(ProxyUse: Clone, Eq, Default, Send, Sync, Unpin, Debug);
assert_impl_all!(PurposeError: Clone, Eq, Send, Sync, Unpin, Debug, Display, Error, Into<BoxError>);
assert_impl_all!(PoolStats: Clone, Eq, Send, Sync, Unpin, Debug);
assert_impl_all!(KeyStats: Clone, Eq, Send, Sync, Unpin, Debug);

#[tokio::test]
async fn a_client_can_be_boxed() {
    let origin = Origin::http().await;
    let client: TestClient = super::client(unproxied(), &Ca::new());
    let boxed: BoxCloneSyncService<Request<Full<Bytes>>, _, ClientError> = BoxCloneSyncService::new(client);
    let response = within(boxed.oneshot(request(&origin.url("/")))).await.unwrap();
    read(response).await;
}

/// One pool, whatever the bodies are.
#[tokio::test]
async fn clients_for_other_bodies_share_the_pool() {
    let origin = Origin::http().await;
    let client: TestClient = super::client(unproxied(), &Ca::new());
    let url = origin.url("/");
    read(within(client.send(request(&url))).await.unwrap()).await;
    let empty: Client<Empty<Bytes>> = client.with_body_type();
    let get = Request::get(&url).body(Empty::new()).unwrap();
    read(within(empty.send(get)).await.unwrap()).await;
    assert_eq!((origin.connections_opened(), empty.stats()), (1, client.stats()));
}

const PASSWORD: &str = "s3cret/w@rd";
const ENCODED: &str = "s3cret%2Fw%40rd";
/// `user:s3cret/w@rd`
const TOKEN: &str = "dXNlcjpzM2NyZXQvd0ByZA==";

fn assert_clean(text: &str, of: &str) {
    for secret in ["s3cret", "w@rd", TOKEN] {
        assert!(!text.contains(secret), "{secret} in {of}:\n{text}");
    }
}

fn shown(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for error in std::iter::successors(Some(error), |&error| error.source()) {
        write!(text, "{error} {error:?} {error:#?} ").unwrap();
    }
    text
}

/// Used and unused, with secrets of every kind: the proxy's password, a header field of CONNECT, a client certificate's
/// key, user information in the target.
#[tokio::test]
async fn nothing_that_can_be_seen_shows_a_secret() {
    let ca = Ca::new();
    let me = ca.issue_client("me");
    let plain = Origin::http().await;
    let tls = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let proxy = ForwardProxy::builder()
        .basic("user", PASSWORD)
        .deny("denied.test")
        .start()
        .await;
    let layer = ProxyLayer::new(through(proxy.url_with(&format!("user:{ENCODED}@"))))
        .with_connect_header(header::COOKIE, HeaderValue::from_static("s3cret"))
        .unwrap();
    let target_tls = TlsConfig::builder()
        .add_root_pem(ca.pem())
        .only_added_roots()
        .client_certificate_pem(me.cert_pem.clone(), me.key_pem.clone())
        .build()
        .unwrap();
    let builder = Client::builder()
        .layer(layer)
        .target_tls(target_tls)
        .connector(connector());
    let key_line = me.key_pem.lines().nth(1).unwrap();
    let mut seen = format!("{builder:?} {builder:#?}");
    let client: TestClient = builder.clone().build().unwrap();
    for url in [
        format!("http://me:{ENCODED}@a.test:{}/", plain.port()),
        format!("https://me:{ENCODED}@a.test:{}/", tls.port()),
    ] {
        let response = get(&client, &url).await;
        write!(
            seen,
            "{:?} {:#?} {client:?} {client:#?}",
            response.body(),
            response.extensions()
        )
        .unwrap();
        read(response).await;
        write!(seen, "{:?} {:?}", client.stats(), client.clone().call(request(&url))).unwrap();
    }
    assert!(seen.contains("***"), "there was something to hide: {seen}");
    assert_clean(&seen, "what a client shows");
    assert!(!seen.contains(key_line));

    let down = ForwardProxy::builder().start().await;
    down.stop().await;
    let echo = format!("HTTP/1.1 403 {TOKEN} {PASSWORD}\r\nX-Echo: {TOKEN}\r\nContent-Length: 0\r\n\r\n");
    let mut failures = 0;
    for address in [
        proxy.url_with(&format!("user:{ENCODED}@")),
        down.url_with(&format!("user:{ENCODED}@")),
        ScriptedProxy::start(Step::send(echo))
            .await
            .url_with(&format!("user:{ENCODED}@")),
        ScriptedProxy::start(Fault::Close)
            .await
            .url_with(&format!("user:{ENCODED}@")),
        ScriptedProxy::start(Fault::Garbage)
            .await
            .url_with(&format!("user:{ENCODED}@")),
    ] {
        let layer = ProxyLayer::new(through(address));
        let client: TestClient = builder.clone().layer(layer).build().unwrap();
        for url in [
            format!("https://me:{ENCODED}@denied.test:{}/", tls.port()),
            format!("http://me:{ENCODED}@a.test:{}/", plain.port()),
            format!("https://me:{ENCODED}@wrong.test:{}/", tls.port()),
            format!("x://me:{ENCODED}@a.test/"),
        ] {
            if let Err(error) = send(&client, request(&url)).await {
                failures += 1;
                assert_clean(&shown(&error), &url);
            }
        }
    }
    assert!(failures >= 15, "{failures}");
    // What was sent where it does not belong.
    for origin in [&plain, &tls] {
        let mut heard = String::from_utf8_lossy(&origin.raw().concat()).into_owned();
        write!(heard, "{:?}", origin.requests()).unwrap();
        assert_clean(&heard, "an origin");
    }
}

/// `from_env` needs nothing but the environment, and what it cannot use is an error.
#[test]
fn a_client_of_the_environment() {
    match Client::<Empty<Bytes>>::from_env() {
        Ok(client) => assert_eq!(client.stats().keys, []),
        // Whatever machine this is, it says which setting.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
