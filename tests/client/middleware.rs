//! The client under the middleware of tower and tower-http, which relies on its readiness and cancellation.

use std::{
    future::Ready,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::task::JoinSet;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, retry::Policy};
use tower_http::{decompression::DecompressionLayer, follow_redirect::FollowRedirectLayer, trace::TraceLayer};
use tower_outbound_proxy::{ClientError, Route, client::ClientBody};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Log, Origin, ScriptedProxy, Step, within};
use tracing::Level;

use crate::common::decide;

use super::{
    TestClient, builder, client, eventually, fetch, get, now, opened, read, request, so_far, through, unproxied,
};

type Outcome = Result<Response<ClientBody>, ClientError>;

/// Returns a client with at most one connection, so that a connection that is not returned is missed.
fn of_one_connection() -> TestClient {
    builder(unproxied(), &Ca::new())
        .max_connections_per_key(1)
        .build()
        .unwrap()
}

#[tokio::test]
async fn timeout_gives_up_what_is_under_way_and_what_waits() {
    let origin = Origin::http().await;
    let client = of_one_connection();
    let service = ServiceBuilder::new()
        .timeout(Duration::from_millis(50))
        .service(client.clone());
    for _ in 0..3 {
        let mut tasks = JoinSet::new();
        for _ in 0..5 {
            tasks.spawn(service.clone().oneshot(request(&origin.url("/slow/60000"))));
        }
        for outcome in within(tasks.join_all()).await {
            assert!(outcome.unwrap_err().is::<tower::timeout::error::Elapsed>());
        }
        eventually(|| client.stats().keys.is_empty()).await;
        // The place is free again at once.
        read(
            within(service.clone().oneshot(request(&origin.url("/"))))
                .await
                .unwrap(),
        )
        .await;
        assert_eq!(now(&client), [1, 1, 0, 0]);
    }
}

/// Retries requests that are known not to have been sent, including a POST. The proxy is up by then.
#[derive(Clone)]
struct Persist {
    proxy: Arc<ForwardProxy>,
    attempts: usize,
}

impl Policy<Request<Full<Bytes>>, Response<ClientBody>, ClientError> for Persist {
    type Future = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(&mut self, _: &mut Request<Full<Bytes>>, outcome: &mut Outcome) -> Option<Self::Future> {
        outcome.as_ref().err().filter(|error| error.is_before_request())?;
        self.attempts = self.attempts.checked_sub(1)?;
        let (proxy, left) = (self.proxy.clone(), self.attempts);
        Some(Box::pin(async move {
            if left == 0 {
                proxy.restart().await;
            }
        }))
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

#[tokio::test]
async fn retry_repeats_what_was_not_sent() {
    let origin = Origin::http().await;
    let proxy = Arc::new(ForwardProxy::builder().start().await);
    let client: TestClient = builder(through(proxy.url()), &Ca::new())
        .max_connections_per_key(1)
        .build()
        .unwrap();
    let persist = Persist {
        proxy: proxy.clone(),
        attempts: 3,
    };
    for round in 1..=3 {
        proxy.stop().await;
        let service = ServiceBuilder::new().retry(persist.clone()).service(client.clone());
        let url = format!("http://a.test:{}/echo", origin.port());
        let post = Request::post(url).body(Full::from("once")).unwrap();
        assert_eq!(read(within(service.oneshot(post)).await.unwrap()).await, "once");
        assert_eq!((origin.requests().len(), now(&client)), (round, [1, 1, 0, 0]));
    }
    // And what was sent is not.
    let server = ScriptedProxy::start(Step::Close).await;
    let service = ServiceBuilder::new()
        .retry(persist)
        .service(self::client(unproxied(), &Ca::new()));
    within(service.oneshot(request(&server.url()))).await.unwrap_err();
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn concurrency_limit_gets_its_permits_back() {
    let origin = Origin::http().await;
    let client = client(unproxied(), &Ca::new());
    let service = ServiceBuilder::new().concurrency_limit(2).service(client.clone());
    let mut tasks = JoinSet::new();
    for n in 0..30 {
        let (service, url) = (service.clone(), origin.url("/slow/5"));
        tasks.spawn(async move {
            let sending = service.oneshot(request(&url));
            match n % 3 {
                0 => drop(tokio::time::timeout(Duration::from_millis(n), sending).await),
                _ => drop(read(sending.await.unwrap()).await),
            }
        });
    }
    within(tasks.join_all()).await;
    // Two at a time, besides bodies that are still read and connections of what was given up.
    eventually(|| matches!(now(&client), [open, idle, 0, 0] if open == idle && open <= 4)).await;
    let mut service = service;
    for _ in 0..2 {
        let sending = within(service.ready()).await.unwrap().call(request(&origin.url("/")));
        drop(sending);
    }
    read(within(service.oneshot(request(&origin.url("/")))).await.unwrap()).await;
}

/// A buffer calls the client from a task of its own, one request after the other, each as soon as the client is ready.
#[tokio::test]
async fn buffer_is_not_held_up_by_a_request_that_waits() {
    let origin = Origin::http().await;
    let client = of_one_connection();
    let held = get(&client, &origin.url("/bytes/100000")).await;
    let buffer = tower::buffer::Buffer::new(client.clone(), 1);
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        tasks.spawn(buffer.clone().oneshot(request(&origin.url("/status/204"))));
    }
    // All are with the client, though none can be sent: it was ready for each.
    eventually(|| now(&client) == [1, 0, 0, 20]).await;
    // Given up in the buffer and in the client's line.
    for _ in 0..10 {
        let given_up = buffer.clone().oneshot(request(&origin.url("/slow/60000")));
        drop(tokio::time::timeout(Duration::from_millis(1), given_up).await);
    }
    eventually(|| now(&client) == [1, 0, 0, 20]).await;
    read(held).await;
    for outcome in within(tasks.join_all()).await {
        assert_eq!(outcome.unwrap().status(), StatusCode::NO_CONTENT);
    }
    eventually(|| now(&client) == [1, 1, 0, 0]).await;
    assert_eq!((opened(&origin), origin.requests().len()), (1, 21));
}

#[tokio::test]
async fn load_shed_sheds_for_the_limit_and_never_for_the_client() {
    let origin = Origin::http().await;
    // The client is always ready: a request that must wait does so in its future.
    let client = of_one_connection();
    let shed = ServiceBuilder::new().load_shed().service(client.clone());
    let held = get(&client, &origin.url("/bytes/100000")).await;
    let waiting = tokio::spawn(shed.oneshot(request(&origin.url("/"))));
    eventually(|| now(&client) == [1, 0, 0, 1]).await;
    read(held).await;
    read(within(waiting).await.unwrap().unwrap()).await;

    let shed = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .service(client.clone());
    let slow = tokio::spawn(shed.clone().oneshot(request(&origin.url("/slow/100"))));
    eventually(|| now(&client) == [1, 0, 0, 0]).await;
    let error = within(shed.clone().oneshot(request(&origin.url("/"))))
        .await
        .unwrap_err();
    assert!(error.is::<tower::load_shed::error::Overloaded>(), "{error:?}");
    slow.abort();
    let _ = slow.await;
    // What was given up has given its permit back.
    read(within(shed.oneshot(request(&origin.url("/")))).await.unwrap()).await;
    assert_eq!(now(&client), [1, 1, 0, 0]);
}

/// From an origin behind the authenticated proxy to another, to TLS, to one that is reached directly, and back.
#[tokio::test]
async fn follow_redirect_is_routed_anew_at_each_hop() {
    const PASSWORD: &str = "me:s3cret@";
    let ca = Ca::new();
    let to = |location: &str, body: &str| {
        let length = body.len();
        Step::send(format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    };
    let plain = Origin::http().await;
    let tls = Origin::https(&ca, &["tls.test"], &["h2"]).await;
    for body in ["", "moved"] {
        for (hop, last) in [
            ("http://plain.test/headers".to_owned(), &plain),
            ("https://tls.test/headers".to_owned(), &tls),
            (format!("http://direct.test:{}/headers", plain.port()), &plain),
        ] {
            let [third, second] = [to(&hop, body), to("http://third.test/x", body)];
            let third = ScriptedProxy::start([third, Step::Hang]).await;
            let second = ScriptedProxy::start([second, Step::Hang]).await;
            let first = to(&format!("http://direct.test:{}/", second.port()), body);
            let first = ScriptedProxy::start([first, Step::Hang]).await;
            let proxy = ForwardProxy::builder()
                .basic("me", "s3cret")
                .map("first.test:80", first.addr())
                .map("third.test:80", third.addr())
                .map("plain.test:80", plain.addr())
                .map("tls.test:443", tls.addr())
                .start()
                .await;
            let config = tower_outbound_proxy::ProxyConfig::builder()
                .all(proxy.url_with(PASSWORD))
                .no_proxy("direct.test")
                .build()
                .unwrap();
            let client = client(config, &ca);
            let service = FollowRedirectLayer::new().layer(client.clone());
            let response = within(service.oneshot(request("http://first.test/"))).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{hop}");
            let answer = String::from_utf8(read(response).await.to_vec()).unwrap();
            assert!(!answer.to_lowercase().contains("proxy-authorization"), "{answer}");
            for server in [&*first, &*second, &*third, &**last] {
                let heard = String::from_utf8_lossy(&server.raw().concat()).to_lowercase();
                assert!(
                    !heard.contains("proxy-authorization") && !heard.contains("s3cret"),
                    "{heard}"
                );
                assert!(
                    server
                        .requests()
                        .iter()
                        .all(|request| request.header("proxy-authorization").is_none())
                );
            }
            // The proxy asked for them on every request it got, and got them.
            let forwarded = proxy.requests();
            assert!(
                forwarded
                    .iter()
                    .all(|request| request.header("proxy-authorization") == Some("Basic bWU6czNjcmV0"))
            );
            assert_eq!(forwarded.len(), if hop.contains("direct") { 2 } else { 3 });
            eventually(|| matches!(now(&client), [open, idle, 0, 0] if open == idle)).await;
            if body.is_empty() {
                // A redirect that has nothing to read costs no connection.
                let tunnels = usize::from(hop.contains("https"));
                assert_eq!(opened(&proxy), 1 + tunnels, "{hop}");
            }
        }
    }
}

/// `hello, gzip`
const GZIP: [u8; 31] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 72, 205, 201, 201, 215, 81, 72, 175, 202, 44, 0, 0, 74, 155, 177, 92, 11, 0,
    0, 0,
];

/// The end of what was compressed need not be the end of the body; the connection is given back all the same.
#[tokio::test]
async fn decompression_reads_to_the_end() {
    let sized = format!("Content-Length: {}\r\n\r\n", GZIP.len()).into_bytes();
    let chunked = [
        b"Transfer-Encoding: chunked\r\n\r\n1f\r\n".as_slice(),
        &GZIP,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    for rest in [[sized, GZIP.to_vec()].concat(), chunked] {
        let answer = [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n".as_slice(), &rest].concat();
        let server = ScriptedProxy::start([
            Step::send(answer.clone()),
            Step::ReadHead,
            Step::pieces(answer.clone(), 1),
            Step::ReadHead,
            Step::send(answer),
        ])
        .await;
        let client = of_one_connection();
        let service = DecompressionLayer::new().layer(client.clone());
        for _ in 0..3 {
            let response = within(service.clone().oneshot(request(&server.url()))).await.unwrap();
            let text = within(response.into_body().collect()).await.unwrap().to_bytes();
            assert_eq!(text, "hello, gzip");
        }
        assert_eq!((opened(&server), so_far(&client)), (1, (1, 2)));
        assert_eq!(server.requests()[0].header("accept-encoding"), Some("gzip"));
    }
}

/// It wraps the body as well; what it logs, with all else that is logged, has no secret.
#[tokio::test]
async fn trace_sees_the_end_of_the_body_and_no_secret() {
    let log = Log::of_thread(Level::TRACE);
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().basic("me", "s3cret").start().await;
    let client: TestClient = builder(through(proxy.url_with("me:s3cret@")), &Ca::new())
        .max_connections_per_key(1)
        .build()
        .unwrap();
    let service = TraceLayer::new_for_http().layer(client.clone());
    for path in ["/bytes/100000", "/status/204", "/"] {
        let url = format!("http://a.test:{}{path}", origin.port());
        let response = within(service.clone().oneshot(request(&url))).await.unwrap();
        within(response.into_body().collect()).await.unwrap();
        // Dropped under way.
        let given_up = service
            .clone()
            .oneshot(request(&format!("http://a.test:{}/slow/60000", origin.port())));
        assert!(tokio::time::timeout(Duration::from_millis(20), given_up).await.is_err());
    }
    eventually(|| client.stats().keys.is_empty()).await;
    let log = log.text();
    assert!(
        log.contains("finished processing request") && log.contains("end of stream"),
        "{log}"
    );
    for secret in ["s3cret", "bWU6czNjcmV0"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[derive(Clone)]
struct Never;

impl<R, E> Policy<Request<Full<Bytes>>, R, E> for Never {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request<Full<Bytes>>, _: &mut Result<R, E>) -> Option<Self::Future> {
        None
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

/// All of them at once, over all routes, with many requests at once.
#[tokio::test]
async fn the_whole_stack() {
    let ca = Ca::new();
    let origins = [Origin::http().await, Origin::https(&ca, &["a.test"], &["h2"]).await];
    let proxy = ForwardProxy::builder().start().await;
    let client = client(through(proxy.url()), &ca);
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .buffer(16)
        .load_shed()
        .concurrency_limit(64)
        .timeout(Duration::from_secs(10))
        .layer(FollowRedirectLayer::new())
        .retry(Never)
        .layer(DecompressionLayer::new())
        .service(client.clone());
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for n in 0..60 {
        let origin = &origins[n % 2];
        let mut request = request(&format!("{}://a.test:{}/slow/20", origin.scheme(), origin.port()));
        if n % 3 == 0 {
            decide(&mut request, Route::Direct);
        }
        let service = service.clone();
        tasks.spawn(async move {
            let response: Response<_> = service.oneshot(request).await?;
            Ok::<_, BoxError>(response.into_body().collect().await?.to_bytes())
        });
    }
    for outcome in within(tasks.join_all()).await {
        assert_eq!(outcome.unwrap(), "slow\n");
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    eventually(|| matches!(now(&client), [open, idle, 0, 0] if open == idle)).await;
    fetch(&client, &format!("http://a.test:{}/", origins[0].port())).await;
}
