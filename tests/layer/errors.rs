//! An error of this crate is found under every wrapper. Its text says in one line what happened, and its source says
//! why. It answers whether a retry is safe and may help, and never shows a credential.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{CONNECT, Handing, Then, Wire, client, connect, everything, get, layer, tunnel};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use tower::retry::Policy;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_outbound_proxy::connector::HappyEyeballs;
use tower_outbound_proxy::{ConnectError, ProxyLayer, TargetError, error::ConnectErrorKind, error::Stage};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Origin, Resolver, ScriptedProxy, Step, connector, within};

const PROXY: &str = "http://user:pass%20word@proxy.test:3128";
/// `user:pass word`
const TOKEN: &str = "dXNlcjpwYXNzIHdvcmQ=";

/// The behaviour behind the inner connector.
enum Far {
    Says(&'static str, Then),
    /// It cannot be dialled.
    Refuses,
    /// It cannot be dialled in time.
    Hangs,
}

impl Far {
    async fn attempt(self, proxy: &str, uri: &str) -> ConnectError {
        let far = Arc::new(Mutex::new(Some(self)));
        let inner = tower::service_fn(move |_: Uri| {
            let far = far.lock().unwrap().take().unwrap();
            async move {
                match far {
                    Far::Says(answer, then) => Ok(Wire::saying([answer]).then(then)),
                    Far::Refuses => Err(BoxError::from("nobody is listening")),
                    Far::Hangs => std::future::pending().await,
                }
            }
        });
        let layer = layer(proxy).with_connect_timeout(Some(Duration::from_secs(5)));
        within(connect(&layer, inner, uri)).await.unwrap_err()
    }
}

/// Per failure: its text without the part that all have in common, the text of its source, and whether it may pass.
#[tokio::test(start_paused = true)]
async fn each_failure_has_its_text_source_and_prospects() {
    use Far::{Hangs, Refuses, Says};
    use Then::{Close, Hang, Reset};
    let large: &'static str = format!("HTTP/1.1 200 {}", "x".repeat(70_000)).leak();
    let fields: &'static str = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101)).leak();
    #[rustfmt::skip] // one row a line
    let cases = [
        (Refuses, Stage::Dial, "connecting to the proxy failed", Some("nobody is listening"), true),
        (Hangs, Stage::Dial, "connecting to the proxy took longer than 5s", None, true),
        (Says("", Hang), Stage::Tunnel, "waiting for the response to CONNECT took longer than 5s", None, true),
        (Says("", Reset), Stage::Tunnel, "the connection broke during CONNECT", Some("connection reset"), true),
        (Says("", Close), Stage::Tunnel, "the proxy closed the connection without a response to CONNECT", None, true),
        (Says("HTTP/1.1 200", Close), Stage::Tunnel, "the proxy closed the connection before its response to CONNECT was complete", None, true),
        (Says(large, Hang), Stage::Tunnel, "the head of the response to CONNECT is longer than 64 KiB", None, false),
        (Says(fields, Hang), Stage::Tunnel, "the response to CONNECT has more than 100 header fields", None, false),
        (Says("SSH-2.0", Hang), Stage::Tunnel, "the response to CONNECT is not HTTP/1", None, false),
        (Says("\x15\x03", Hang), Stage::Tunnel, "the response to CONNECT is TLS, not HTTP/1 (is it an `https://` proxy?)", None, false),
        (Says("HTTP/1.1 403 No Way\r\n\r\n", Close), Stage::Tunnel, "the tunnel was refused: 403 No Way", None, false),
        (Says("HTTP/1.0 503\r\nX-Squid-Error: ERR_DNS 0\r\n\r\n", Close), Stage::Tunnel, "the tunnel was refused: 503 (ERR_DNS 0)", None, true),
        (
            Says("HTTP/1.1 407 Log In\r\nProxy-Authenticate: Negotiate, Basic realm=\"l\\\"ab\"\r\n\r\n", Close), Stage::Tunnel,
            "the tunnel was refused: 407 Log In; the proxy asks for Negotiate or Basic (realm \"l\\\"ab\"), and rejected the \
             configured credentials", None, false,
        ),
        (
            Says("HTTP/1.1 401 \r\n\r\n", Close), Stage::Tunnel,
            "the tunnel was refused: 401; the proxy offers no authentication scheme, and rejected the configured credentials",
            None, false,
        ),
    ];
    for (far, stage, text, source, transient) in cases {
        let error = far.attempt(PROXY, "https://who:what@Origin.test/path?query").await;
        let expected = format!("proxy http://user:***@proxy.test:3128, to origin.test:443: {text}");
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.source().map(ToString::to_string).as_deref(), source, "{text}");
        assert_eq!(error.proxy(), Some("http://user:***@proxy.test:3128"));
        assert_eq!(error.stage(), stage, "{text}");
        assert_eq!(error.is_transient(), transient, "{text}");
        assert!(error.is_before_request(), "{text}");
        let seen = everything(&error);
        for secret in ["pass word", "pass%20word", TOKEN, "what", "query"] {
            assert!(!seen.contains(secret), "{secret} in {seen:.500}");
        }
    }
}

#[tokio::test]
async fn what_is_not_the_proxys_fault_does_not_name_it() {
    let direct = Far::Refuses.attempt(PROXY, "http://127.0.0.1/").await;
    assert_eq!(direct.to_string(), "127.0.0.1:80: connecting failed");
    assert_eq!((direct.proxy(), direct.stage()), (None, Stage::Dial));
    assert!(direct.is_before_request() && direct.is_transient());

    let target = Far::Refuses.attempt(PROXY, "/path").await;
    assert_eq!(
        target.to_string(),
        "invalid target: no scheme (expected an absolute URI)"
    );
    assert_eq!((target.proxy(), target.stage()), (None, Stage::Target));
    assert!(target.is_before_request() && !target.is_transient() && target.source().is_none());

    let none = "HTTP/1.1 407 \r\nProxy-Authenticate: Basic\r\n\r\n";
    let asked = Far::Says(none, Then::Close)
        .attempt("proxy.test", "https://[2001:db8::1]/")
        .await;
    let text = "proxy http://proxy.test:1080, to [2001:db8::1]:443: the tunnel was refused: 407; the proxy asks for Basic, and no \
                credentials are configured for it (`user:password@` in its address)";
    assert_eq!(asked.to_string(), text);

    let other = "HTTP/1.1 407 \r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\n\r\n";
    for proxy in ["proxy.test", "user:password@proxy.test"] {
        let asked = Far::Says(other, Then::Close).attempt(proxy, "https://a.test/").await;
        let text = "the proxy asks for NTLM or Negotiate, which a user name and password do not answer (a provider can: \
                    `ProxyLayer::with_credentials`)";
        assert!(asked.to_string().ends_with(text), "{asked}");
    }
}

/// The status alone decides whether a refusal may pass.
#[tokio::test]
async fn which_refusals_may_pass() {
    for status in [
        400, 401, 402, 403, 404, 405, 407, 408, 421, 425, 429, 451, 500, 501, 502, 503, 504, 505, 511,
    ] {
        let answer: &'static str = format!("HTTP/1.1 {status} Odd\r\nContent-Length: 0\r\n\r\n").leak();
        let error = Far::Says(answer, Then::Hang)
            .attempt(PROXY, "https://origin.test/")
            .await;
        let may_pass = [408, 425, 429, 500, 502, 503, 504].contains(&status);
        assert_eq!(error.is_transient(), may_pass, "{status}");
        assert!(error.is_before_request());
    }
}

/// A certificate that does not verify is the same finding wherever TLS was made.
#[tokio::test]
async fn a_certificate_found_by_an_inner_connector_is_not_transient() {
    let (ca, other) = (Ca::new(), Ca::new());
    let origin = Origin::https(&ca, &["localhost"], &[]).await;
    let unproxied = ProxyLayer::new(tower_outbound_proxy::ProxyConfig::builder().build().unwrap());
    let inner = unproxied.https_connector_with(connector(), other.client_config(&[]));
    let error = within(connect(&unproxied, inner, &origin.url("/"))).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Certificate, "{error:?}");
    assert!(!error.is_transient(), "{error:?}");
}

/// An `HttpConnector` as it is made refuses all but `http`, and only a direct connection asks it for that.
#[tokio::test]
async fn a_connector_for_http_alone_is_told_with_the_cure() {
    let origin = Origin::http().await;
    let unproxied = ProxyLayer::new(tower_outbound_proxy::ProxyConfig::builder().build().unwrap());
    let port = origin.port();
    for scheme in ["https", "wss", "ws"] {
        let http = HttpConnector::new_with_resolver(Resolver::new());
        let raced = HappyEyeballs::with_resolver(http.clone(), Resolver::new());
        let uri = format!("{scheme}://localhost:{port}/");
        for error in [
            within(connect(&unproxied, http, &uri)).await.unwrap_err(),
            within(connect(&unproxied, raced, &uri)).await.unwrap_err(),
        ] {
            assert_eq!(
                error.to_string(),
                format!(
                    "localhost:{port}: the connector under the layer connects to `http` targets only: use \
                     `connector::HappyEyeballs::default()` in its place, or call `enforce_http(false)` on the \
                     `HttpConnector`"
                )
            );
            assert_eq!((error.stage(), error.kind()), (Stage::Dial, ConnectErrorKind::Dial));
            assert!(error.is_before_request() && !error.is_transient());
            let source = error.source().unwrap().to_string();
            assert_eq!(source, "invalid URL, scheme is not http");
        }
    }
    assert!(origin.connections().is_empty());
    // What the text advises connects.
    let cure = HappyEyeballs::http(Resolver::new());
    within(connect(&unproxied, cure, &format!("https://localhost:{port}/")))
        .await
        .unwrap();
}

/// A proxy, hostile or helpful, that says the credentials back. What stands at the end of what is kept counts as well.
#[tokio::test]
async fn credentials_said_back_are_hidden() {
    let pad = "x".repeat(4096 - 10);
    #[rustfmt::skip] // one row a line
    let cases = [
        ("password in the reason", "403 for pass word\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("token in the reason", format!("403 for {TOKEN}\r\nContent-Length: 0\r\n\r\n")),
        ("token in a field", format!("403 No\r\nX-Echo: Basic {TOKEN}\r\nContent-Length: 0\r\n\r\n")),
        ("password in a field", "403 No\r\nX-Echo: user:pass word\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("password in the realm", "407 No\r\nProxy-Authenticate: Basic realm=\"pass word\"\r\n\r\n".to_owned()),
        ("in X-Squid-Error", format!("403 No\r\nX-Squid-Error: {TOKEN}\r\n\r\n")),
        ("in the body", format!("403 No\r\n\r\nproxy-authorization: Basic {TOKEN}, that is pass word")),
        ("in two chunks", "403 No\r\nTransfer-Encoding: chunked\r\n\r\n6\r\npass w\r\n3\r\nord\r\n0\r\n\r\n".to_owned()),
        ("in a 200", format!("200 OK\r\nX-Echo: {TOKEN} pass word\r\n\r\n")),
        ("in the reason of a 200", "200 pass word\r\n\r\n".to_owned()),
        ("token in a field's name", format!("403 No\r\nX-{}: 1\r\n\r\n", TOKEN.trim_end_matches('='))),
        ("password in a folded field", "403 No\r\nX-Echo: pass\r\n word\r\n\r\n".to_owned()),
        ("password percent-encoded", "403 No\r\nLocation: /?p=pass%20word&q=pass+word\r\n\r\n".to_owned()),
        ("password in HTML", "403 No\r\n\r\n<b>pass&#32;word</b>".to_owned()),
        ("token in lower case", format!("403 No\r\nX-Echo: {}\r\n\r\n", TOKEN.to_lowercase())),
        ("at the end of the 4 KiB", format!("403 No\r\n\r\n{pad}{TOKEN}")),
        ("at the end of a body cut off", format!("403 No\r\n\r\n{}", &TOKEN[..10])),
    ];
    for (place, answer) in cases {
        let wire = Wire::saying([format!("HTTP/1.1 {answer}")]).then(Then::Close);
        let (response, mut seen) = match within(tunnel(&layer(PROXY), wire)).await {
            Ok(stream) => (stream.connect_response().unwrap().clone(), format!("{stream:?}")),
            Err(error) => {
                let seen = format!("{}{:?}", everything(&error), error.challenges());
                (error.response().unwrap().clone(), seen)
            }
        };
        let fields = response.headers().iter();
        let fields = fields.flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        for bytes in fields.chain([response.reason().as_bytes(), response.body()]) {
            seen.push_str(&String::from_utf8_lossy(bytes));
        }
        seen.push_str(&format!("{response} {response:?}"));
        let lower = seen.to_lowercase();
        for secret in [
            &*TOKEN[..8].to_lowercase(),
            "pass word",
            "pass%20word",
            "pass+word",
            "pass&#32;word",
        ] {
            assert!(!lower.contains(secret), "{place}: {secret} in {seen:.400}");
        }
        assert!(seen.contains("***"), "{place}: {seen:.400}");
    }
}

/// The name of a field says a password back as well as its value, in lower case. The names that this crate reads do
/// not, even where a password is a part of them.
#[tokio::test]
async fn a_fields_name_says_no_password_back() {
    let answer = "HTTP/1.1 407 No\r\nX-S3cret-Proxy: 1\r\ns3crEt: 2\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\
                  X-Squid-Error: ERR_X 0\r\nContent-Length: 3\r\n\r\nabcdef";
    for (password, shown) in [
        ("S3cret", "x-***-proxy"),
        ("proxy", "x-s3cret-***"),
        ("authenticate", "x-s3cret-proxy"),
    ] {
        let wire = Wire::saying([answer]);
        let layer = layer(&format!("http://user:{password}@proxy.test:3128"));
        let error = within(tunnel(&layer, wire)).await.unwrap_err();
        let response = error.response().unwrap();
        assert_eq!(response.headers()[shown], "1", "{password}: {response:?}");
        assert_eq!(
            response.headers().contains_key("***"),
            password == "S3cret",
            "{response:?}"
        );
        assert_eq!(error.challenges()[0].realm(), Some("x"), "{password}");
        assert_eq!(response.body(), b"abc", "{password}");
        assert!(error.to_string().contains("(ERR_X 0)"), "{error}");
        let seen = format!("{}{response:?}", everything(&error)).to_lowercase();
        assert_eq!(seen.contains("s3cret"), password != "S3cret", "{seen}");
    }
}

/// Wraps an error as tonic's transport error does.
#[derive(Debug)]
struct Transport(Option<BoxError>);

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("transport error")
    }
}

impl Error for Transport {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_deref().map(|error| error as _)
    }
}

async fn forbidden() -> ConnectError {
    let answer = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
    Far::Says(answer, Then::Hang)
        .attempt(PROXY, "https://origin.test/")
        .await
}

#[tokio::test]
async fn it_is_found_under_what_wraps_it() {
    let status = |error: &(dyn Error + 'static)| ConnectError::find(error)?.response().map(|r| r.status().as_u16());
    let io = |error: BoxError| -> BoxError { io::Error::other(error).into() };
    let transport = |error: BoxError| -> BoxError { Transport(Some(error)).into() };
    let bare = || async { BoxError::from(forbidden().await) };
    for (wrapped, found) in [
        (bare().await, true),
        (io(bare().await), true),
        (io(io(bare().await)), true),
        (transport(bare().await), true),
        (transport(io(transport(transport(io(bare().await))))), true),
        (Transport(None).into(), false),
        (io(transport("other".into())), false),
        (io::Error::from(io::ErrorKind::ConnectionRefused).into(), false),
        (io::Error::from_raw_os_error(111).into(), false),
    ] {
        assert_eq!(status(&*wrapped), found.then_some(403), "{wrapped:?}");
    }
}

#[tokio::test]
async fn it_is_found_under_clients_and_middlewares() {
    const URL: &str = "https://origin.test/";
    let proxy = ForwardProxy::builder().deny("origin.test").start().await;
    let connector = layer(&proxy.url()).https_connector_with(connector(), Ca::new().client_config(&[]));
    let client = client(connector);
    let hyper: BoxError = within(get(&client, URL)).await.unwrap_err().into();

    let stack = ServiceBuilder::new().buffer(1).timeout(Duration::from_secs(60));
    let stack = stack.retry(Persist { proxy: None, left: 1 }).service(client);
    let request = Request::get(URL).body(Full::new(Bytes::new())).unwrap();
    let tower = within(stack.oneshot(request)).await.unwrap_err();

    // A service that failed while not in use tells every caller, through tower's shared wrapper.
    let (inner, mut handle) = tower_test::mock::pair::<(), ()>();
    handle.send_error(forbidden().await);
    let buffer = within(tower::buffer::Buffer::new(inner, 1).oneshot(()))
        .await
        .unwrap_err();

    for (wrapper, error) in [("hyper", hyper), ("tower", tower), ("buffer", buffer)] {
        let found = ConnectError::find(&*error).unwrap_or_else(|| panic!("{wrapper}: {error:?}"));
        assert_eq!(found.response().unwrap().status(), 403, "{wrapper}");
        assert!(found.is_before_request() && !found.is_transient(), "{wrapper}");
    }
}

/// Past the connection there is no promise: the origin may have acted on what it was sent.
#[tokio::test]
async fn a_request_that_fails_after_it_was_sent_is_not_ours() {
    const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    for (step, established) in [(Step::Close, false), (Step::Reset, false), (Step::send(HALF), true)] {
        let steps = vec![step, Step::Close];
        let forward = ScriptedProxy::start(steps.clone()).await;
        let tunnelled = [vec![Step::established(), Step::ReadHead], steps].concat();
        let tunnel = ScriptedProxy::start(tunnelled).await;
        for (proxy, always) in [(&forward, false), (&tunnel, true)] {
            let client = client(tower::Layer::layer(
                &layer(&proxy.url()).with_always_tunnel(always),
                connector(),
            ));
            let error: BoxError = match within(client.get("http://origin.test/".parse().unwrap())).await {
                Ok(response) => {
                    assert!(established);
                    within(response.into_body().collect()).await.unwrap_err().into()
                }
                Err(error) => error.into(),
            };
            assert!(ConnectError::find(&*error).is_none(), "{error:?}");
            let sent = proxy.connection(0).received_text();
            assert!(sent.contains("GET ") && sent.ends_with("\r\n\r\n"), "{sent}");
        }
    }
    let relative: TargetError = "/path".parse::<tower_outbound_proxy::Target<'_>>().unwrap_err();
    assert!(ConnectError::find(&relative).is_none());
}

/// The retry policy that the documentation of `ConnectError` suggests. Between attempts it starts the proxy again.
#[derive(Clone)]
struct Persist {
    proxy: Option<Arc<ForwardProxy>>,
    left: usize,
}

impl<R, E: Into<BoxError> + Error + 'static> Policy<Request<Full<Bytes>>, R, E> for Persist {
    type Future = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(&mut self, _: &mut Request<Full<Bytes>>, outcome: &mut Result<R, E>) -> Option<Self::Future> {
        let error = ConnectError::find(outcome.as_ref().err()?)?;
        self.left = self.left.checked_sub(1)?;
        (error.is_before_request() && error.is_transient()).then_some(())?;
        let proxy = self.proxy.clone();
        Some(Box::pin(async move {
            if let Some(proxy) = proxy {
                proxy.restart().await;
            }
        }))
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

/// A POST: what is known not to have been sent can be sent again, whatever the method is.
#[tokio::test]
async fn a_retry_outlives_a_proxy_that_was_down() {
    let (ca, body) = (Ca::new(), "once");
    for (deny, attempts) in [("other.test", 1), ("origin.test", 0)] {
        let origin = Origin::https(&ca, &["origin.test"], &[]).await;
        let proxy = ForwardProxy::builder()
            .map("origin.test:443", origin.addr())
            .deny(deny)
            .start()
            .await;
        let (proxy, left) = (Arc::new(proxy), 1);
        let connector = layer(&proxy.url()).https_connector_with(connector(), ca.client_config(&[]));
        let persist = Persist {
            proxy: Some(proxy.clone()),
            left,
        };
        let service = ServiceBuilder::new().retry(persist).service(client(connector));
        // Down before the first attempt, unless it is to be a refusal, which no new attempt would change.
        if attempts > 0 {
            proxy.stop().await;
        }
        let request = Request::post("https://origin.test/echo")
            .body(Full::from(body))
            .unwrap();
        match within(service.oneshot(request)).await {
            Ok(response) => {
                assert_eq!(within(response.into_body().collect()).await.unwrap().to_bytes(), body);
                assert_eq!((attempts, origin.requests().len()), (1, 1));
            }
            Err(error) => {
                assert_eq!(attempts, 0, "{error:?}");
                assert_eq!(ConnectError::find(&error).unwrap().response().unwrap().status(), 403);
            }
        }
        assert_eq!(proxy.connections_opened(), 1, "one connection, refused or not");
        assert!(proxy.connection(0).received().starts_with(CONNECT.as_bytes()));
    }
}

/// The layer asks a connector of one stream only once, even if the failure may pass: the application decides on retries.
#[tokio::test]
async fn a_failed_attempt_is_not_repeated_by_the_layer() {
    let inner = Handing::new(Wire::saying(["HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n"]));
    let error = within(connect(&layer(PROXY), inner.clone(), "https://origin.test/"))
        .await
        .unwrap_err();
    assert!(error.is_transient());
    assert_eq!(inner.asked().len(), 1);
}
