//! The pool gives connections to requests in order, within its limits, and closes them in time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::task::JoinSet;
use tower::{BoxError, Service, ServiceExt};
use tower_outbound_proxy::{ConnectError, ProxyLayer, error::Stage};
use tower_outbound_proxy_lab::{
    Ca, Fault, ForwardProxy, Listening, Origin, Resolver, ScriptedProxy, Step, connector, within,
};

use super::{
    TestClient, builder, client, eventually, fetch, fetch_at_once, get, now, opened, read, request, send, so_far,
    through, unproxied,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Returns a client of plain origins, without a proxy.
fn plain() -> TestClient {
    client(unproxied(), &Ca::new())
}

#[tokio::test]
async fn a_connection_with_an_unread_body_is_nobody_elses() {
    let origin = Origin::http().await;
    let client = plain();
    let url = origin.url("/bytes/100000");
    assert_eq!((now(&client), so_far(&client)), ([0, 0, 0, 0], (0, 0)));
    let first = get(&client, &url).await;
    assert_eq!((now(&client), so_far(&client)), ([1, 0, 0, 0], (1, 0)));
    let second = get(&client, &url).await;
    assert_eq!((now(&client), so_far(&client)), ([2, 0, 0, 0], (2, 0)));
    read(first).await;
    assert_eq!((now(&client), so_far(&client)), ([2, 1, 0, 0], (2, 0)));
    let third = get(&client, &url).await;
    assert_eq!((now(&client), so_far(&client)), ([2, 0, 0, 0], (2, 1)));
    read(second).await;
    read(third).await;
    assert_eq!((now(&client), so_far(&client)), ([2, 2, 0, 0], (2, 1)));
    assert_eq!(opened(&origin), 2);
}

/// One request takes one idle connection, and leaves the others alone.
#[tokio::test]
async fn taking_an_idle_connection_leaves_the_others() {
    let origin = Origin::http().await;
    let client = plain();
    fetch_at_once(&client, &origin.url("/slow/50"), 5).await;
    assert_eq!(now(&client), [5, 5, 0, 0]);
    for _ in 0..5 {
        let response = get(&client, &origin.url("/")).await;
        assert_eq!(now(&client), [5, 4, 0, 0]);
        read(response).await;
        assert_eq!(now(&client), [5, 5, 0, 0]);
    }
    fetch_at_once(&client, &origin.url("/slow/50"), 5).await;
    assert_eq!((opened(&origin), origin.connections_open()), (5, 5));
    assert_eq!(so_far(&client), (5, 10));
}

/// The one used last is used first, so that the others come to their time-out.
#[tokio::test]
async fn the_connection_used_last_is_used_first() {
    let origin = Origin::http().await;
    let client = plain();
    let [first, second] = [
        get(&client, &origin.url("/bytes/9")).await,
        get(&client, &origin.url("/bytes/9")).await,
    ];
    read(second).await;
    read(first).await;
    fetch(&client, &origin.url("/")).await;
    let on: Vec<_> = origin.requests().iter().map(|request| request.connection).collect();
    assert_eq!(on, [0, 1, 0]);
}

#[tokio::test]
async fn never_more_connections_than_requests() {
    let ca = Ca::new();
    let plain = Origin::http().await;
    let tls = Origin::https(&ca, &["a.test"], &["http/1.1"]).await;
    for url in [format!("http://a.test:{}/slow/100", plain.port()), tls.url("/slow/100")] {
        let proxy = ForwardProxy::builder().start().await;
        let client = client(through(proxy.url()), &ca);
        fetch_at_once(&client, &url, 50).await;
        assert_eq!(opened(&proxy), 50, "{url}");
        eventually(|| now(&client) == [50, 50, 0, 0]).await;
        for _ in 0..3 {
            fetch_at_once(&client, &url, 50).await;
        }
        assert_eq!(opened(&proxy), 50, "{url}");
        assert_eq!(so_far(&client), (50, 150));
    }
    // Quick answers leave connections for others before theirs is open.
    let proxy = ForwardProxy::builder().start().await;
    let client = client(through(proxy.url()), &ca);
    for _ in 0..10 {
        fetch_at_once(&client, &format!("http://a.test:{}/", plain.port()), 50).await;
    }
    assert!(opened(&proxy) <= 50, "{}", opened(&proxy));
}

/// Advances the paused clock.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// A proxy with HTTP/1.1 and an origin with HTTP/2. Neither closes an idle connection itself.
struct Patient {
    ca: Ca,
    plain: Origin,
    http2: Origin,
    proxy: ForwardProxy,
}

impl Patient {
    async fn start() -> Self {
        let ca = Ca::new();
        Self {
            plain: Origin::http().await,
            http2: Origin::https(&ca, &["a.test"], &["h2"]).await,
            proxy: ForwardProxy::builder().start().await,
            ca,
        }
    }

    /// Returns a client with this time-out for each server, its URL, and the server.
    fn clients(&self, timeout: Option<Option<Duration>>) -> [(TestClient, String, &Listening); 2] {
        let build = |config| {
            let builder = builder(config, &self.ca);
            let builder = match timeout {
                Some(timeout) => builder.idle_timeout(timeout),
                None => builder,
            };
            builder.build().unwrap()
        };
        [
            (
                build(through(self.proxy.url())),
                format!("http://a.test:{}", self.plain.port()),
                &self.proxy,
            ),
            (build(unproxied()), self.http2.url(""), &self.http2),
        ]
    }
}

#[tokio::test]
async fn idle_connections_are_closed_in_time_without_a_request() {
    let servers = Patient::start().await;
    for (timeout, limit) in [(None, 90), (Some(Some(Duration::from_secs(20))), 20)] {
        for (client, url, wire) in servers.clients(timeout) {
            // Of two connections (or one, if it is HTTP/2) the one that is idle for longer goes first.
            let held = get(&client, &format!("{url}/bytes/100000")).await;
            fetch(&client, &url).await;
            let open = client.stats().open();
            pass(limit / 2).await;
            assert_eq!(client.stats().open(), open);
            read(held).await;
            assert_eq!(client.stats().idle(), open);
            pass(limit / 2 + 1).await;
            eventually(|| now(&client) == [1, 1, 0, 0]).await;
            pass(limit / 2 - 3).await;
            assert_eq!(now(&client), [1, 1, 0, 0]);
            pass(3).await;
            within(wire.idle()).await;
            eventually(|| client.stats().keys.is_empty()).await;
            // And again, after there was nothing to watch.
            fetch(&client, &url).await;
            assert_eq!(now(&client), [1, 1, 0, 0]);
            pass(limit + 1).await;
            within(wire.idle()).await;
        }
    }
}

/// Neither the shortest nor the longest of durations makes it fail, and none is for ever.
#[tokio::test]
async fn any_idle_timeout_will_do() {
    let servers = Patient::start().await;
    for (timeout, kept) in [
        (Some(Duration::ZERO), 0),
        (Some(Duration::from_nanos(1)), 0),
        (Some(Duration::MAX), 1),
        (None, 1),
    ] {
        for (client, url, _) in servers.clients(Some(timeout)) {
            for _ in 0..2 {
                fetch(&client, &format!("{url}/slow/20")).await;
            }
            pass(100_000).await;
            eventually(|| now(&client) == [kept, kept, 0, 0]).await;
        }
    }
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_may_be() {
    let ca = Ca::new();
    let origins = [Origin::http().await, Origin::http().await];
    let client: TestClient = builder(unproxied(), &ca).max_idle_per_key(2).build().unwrap();
    for (origin, all) in origins.iter().zip([2, 4]) {
        fetch_at_once(&client, &origin.url("/slow/50"), 5).await;
        eventually(|| now(&client) == [all, all, 0, 0]).await;
        within(origin.until(|origin| origin.connections_open() == 2)).await;
    }
    let client: TestClient = builder(unproxied(), &ca).max_idle(3).build().unwrap();
    fetch_at_once(&client, &origins[0].url("/slow/50"), 3).await;
    assert_eq!(now(&client), [3, 3, 0, 0]);
    // The longest idle of any key makes room.
    let held = [
        get(&client, &origins[1].url("/bytes/9")).await,
        get(&client, &origins[1].url("/bytes/9")).await,
    ];
    for (response, [left, right]) in held.into_iter().zip([[2, 1], [1, 2]]) {
        read(response).await;
        assert_eq!(client.stats().idle(), 3);
        let port = origins[0].port().to_string();
        let idle = |first: bool| {
            let stats = client.stats();
            let keys = stats.keys.iter();
            keys.filter(|key| key.origin.as_ref().unwrap().ends_with(&port) == first)
                .map(|key| key.idle)
                .sum::<usize>()
        };
        assert_eq!([idle(true), idle(false)], [left, right]);
    }
    eventually(|| now(&client) == [3, 3, 0, 0]).await;
    // Taking one and giving it back changes nothing.
    for _ in 0..3 {
        fetch(&client, &origins[0].url("/")).await;
    }
    assert_eq!(now(&client), [3, 3, 0, 0]);
}

/// HTTP/2 connections are idle when no request uses them, and count as any other.
#[tokio::test]
async fn limits_on_idle_connections_hold_for_http2() {
    let ca = Ca::new();
    let origins = [
        Origin::https(&ca, &["a.test"], &["h2"]).await,
        Origin::https(&ca, &["a.test"], &["h2"]).await,
        Origin::https(&ca, &["a.test"], &["h2"]).await,
    ];
    let client: TestClient = builder(unproxied(), &ca).max_idle_per_key(0).build().unwrap();
    for _ in 0..2 {
        fetch(&client, &origins[0].url("/")).await;
        eventually(|| now(&client) == [0, 0, 0, 0]).await;
    }
    assert_eq!(opened(&origins[0]), 2);
    let client: TestClient = builder(unproxied(), &ca).max_idle(2).build().unwrap();
    for origin in &origins {
        fetch(&client, &origin.url("/")).await;
    }
    eventually(|| now(&client) == [2, 2, 0, 0]).await;
    within(origins[0].idle()).await;
    for origin in [&origins[1], &origins[2]] {
        fetch(&client, &origin.url("/")).await;
    }
    assert_eq!(so_far(&client), (3, 2));
}

#[tokio::test]
async fn requests_over_the_limit_wait_in_order() {
    let origin = Origin::http().await;
    for limit in [0, 1] {
        // Zero would be a client that can do nothing, and is one.
        let client: TestClient = builder(unproxied(), &Ca::new())
            .max_connections_per_key(limit)
            .build()
            .unwrap();
        let before = (opened(&origin), origin.requests().len());
        let held = get(&client, &origin.url("/bytes/100000")).await;
        let mut tasks = JoinSet::new();
        for n in 1..=20 {
            let mut future = client
                .clone()
                .oneshot(request(&origin.url(&format!("/status/{}", 200 + n))));
            assert!(poll_once(&mut future).await.is_none());
            match n % 5 {
                // Some are given up in line.
                0 => drop(future),
                _ => drop(tasks.spawn(async move { read(within(future).await.unwrap()).await })),
            }
            assert_eq!(now(&client), [1, 0, 0, n - n / 5]);
        }
        read(held).await;
        within(tasks.join_all()).await;
        let heard = origin.requests().split_off(before.1 + 1);
        let order: Vec<usize> = heard
            .iter()
            .map(|request| request.target[8..].parse().unwrap())
            .collect();
        let expected: Vec<_> = (1..=20).filter(|n| n % 5 != 0).map(|n| 200 + n).collect();
        assert_eq!(order, expected);
        assert_eq!(opened(&origin), before.0 + 1);
        eventually(|| now(&client) == [1, 1, 0, 0]).await;
        assert_eq!(so_far(&client), (1, 16));
    }
}

/// A request that is given up when its connection has come, and before it was sent, has reused nothing.
#[tokio::test]
async fn a_connection_that_was_not_used_is_not_reused() {
    let origin = Origin::http().await;
    let client: TestClient = builder(unproxied(), &Ca::new())
        .max_connections_per_key(1)
        .build()
        .unwrap();
    let reused = || (client.stats().reused, client.stats().keys[0].reused);
    let held = get(&client, &origin.url("/bytes/100000")).await;
    let mut given_up = client.clone().oneshot(request(&origin.url("/")));
    assert!(poll_once(&mut given_up).await.is_none());
    assert_eq!(now(&client), [1, 0, 0, 1]);
    read(held).await;
    eventually(|| now(&client) == [1, 0, 0, 0]).await;
    assert_eq!(reused(), (1, 1));
    drop(given_up);
    assert_eq!((now(&client), reused()), ([1, 1, 0, 0], (0, 0)));
    fetch(&client, &origin.url("/")).await;
    assert_eq!((origin.requests().len(), reused()), (2, (1, 1)));
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// The limit is one key's, counts connections in use and idle, and a connection that closes makes room.
#[tokio::test]
async fn the_limit_is_per_key() {
    let origins = [Origin::http().await, Origin::http().await];
    let client: TestClient = builder(unproxied(), &Ca::new())
        .max_connections_per_key(3)
        .build()
        .unwrap();
    let mut tasks = JoinSet::new();
    for origin in &origins {
        for _ in 0..30 {
            let (client, url) = (client.clone(), origin.url("/slow/10"));
            tasks.spawn(async move { fetch(&client, &url).await });
        }
    }
    within(tasks.join_all()).await;
    for origin in &origins {
        assert_eq!((opened(origin), origin.requests().len()), (3, 30));
    }
    // One is given up under way, and its place is another's.
    let held = [
        get(&client, &origins[0].url("/bytes/99999")).await,
        get(&client, &origins[0].url("/bytes/99999")).await,
    ];
    let given_up = get(&client, &origins[0].url("/bytes/9999999")).await;
    let mut waiting = client.clone().oneshot(request(&origins[0].url("/")));
    assert!(poll_once(&mut waiting).await.is_none());
    drop(given_up);
    read(within(waiting).await.unwrap()).await;
    assert_eq!(opened(&origins[0]), 4);
    drop(held);
}

/// With a body, too, and whatever the method: nothing of it had been sent.
#[tokio::test]
async fn an_idle_connection_found_dead_is_replaced() {
    let ca = Ca::new();
    let http1 = Origin::https(&ca, &["a.test"], &["http/1.1"]).await;
    let http2 = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let plain = Origin::http().await;
    let proxy = ForwardProxy::builder().start().await;
    let (direct, proxied) = (client(unproxied(), &ca), client(through(proxy.url()), &ca));
    for origin in [&plain, &http1, &http2] {
        for client in [&direct, &proxied] {
            for at_once in [1, 5] {
                let url = origin.url("/slow/20").replace("127.0.0.1", "a.test");
                fetch_at_once(client, &url, at_once).await;
                let wire: &Listening = if std::ptr::eq(client, &direct) { origin } else { &proxy };
                wire.restart().await;
                for _ in 0..2 {
                    let url = origin.url("/echo").replace("127.0.0.1", "a.test");
                    let request = Request::post(&url).body(Full::from("once")).unwrap();
                    assert_eq!(read(send(client, request).await.unwrap()).await, "once");
                }
                eventually(|| now(client) == [1, 1, 0, 0]).await;
                wire.restart().await;
                eventually(|| client.stats().keys.is_empty()).await;
            }
        }
    }
}

/// The other end closes without a word while nobody looks.
#[tokio::test]
async fn an_idle_connection_that_is_closed_is_not_kept() {
    for end in [Step::Close, Step::Reset] {
        let server = ScriptedProxy::start([Step::send(OK), end]).await;
        let client = plain();
        for n in 1..=5 {
            assert_eq!(fetch(&client, &server.url()).await, "ok");
            eventually(|| client.stats().keys.is_empty()).await;
            assert_eq!((opened(&server), so_far(&client)), (n, (n as u64, 0)));
        }
    }
}

/// It may have been acted on: it is not sent again, and the error says so.
#[tokio::test]
async fn a_request_that_was_sent_is_not_repeated() {
    for end in [Step::Close, Step::Reset] {
        let fresh = ScriptedProxy::start(end.clone()).await;
        let kept = ScriptedProxy::start([Step::send(OK), Step::ReadHead, end.clone()]).await;
        let half = ScriptedProxy::start([Step::send(OK), Step::ReadHead, Step::send("HTTP/1.1 200"), end]).await;
        for (server, before) in [(fresh, 0), (kept, 1), (half, 1)] {
            for proxied in [false, true] {
                let client = match proxied {
                    false => plain(),
                    true => client(through(server.url()), &Ca::new()),
                };
                let url = if proxied {
                    "http://a.test/".to_owned()
                } else {
                    server.url()
                };
                let so_many = server.requests().len();
                for _ in 0..before {
                    assert_eq!(fetch(&client, &url).await, "ok");
                }
                let post = Request::post(&url).body(Full::from("once")).unwrap();
                let error = send(&client, post).await.unwrap_err();
                assert!(
                    !error.is_before_request() && !error.is_connect() && !error.is_timeout(),
                    "{error:?}"
                );
                assert!(ConnectError::find(&error).is_none());
                assert_eq!(error.to_string(), "the connection broke after the request was sent");
                assert_eq!(server.requests().len(), so_many + before + 1);
                eventually(|| client.stats().keys.is_empty()).await;
            }
        }
    }
}

/// A second request finds a tunnel that takes long to open, and then the first one's connection.
#[tokio::test]
async fn a_waiting_request_takes_what_comes_first() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["http/1.1"]).await;
    let quick = [Step::established(), Step::Tunnel];
    let slow = [
        Step::Wait(Duration::from_millis(300)),
        Step::established(),
        Step::Tunnel,
    ];
    let proxy = ScriptedProxy::builder().script(quick).script(slow).start().await;
    let client = client(through(proxy.url()), &ca);
    let held = get(&client, &origin.url("/bytes/100000")).await;
    let started = Instant::now();
    let (url, second) = (origin.url("/"), client.clone());
    let second = tokio::spawn(async move { fetch(&second, &url).await });
    eventually(|| now(&client) == [1, 0, 1, 1]).await;
    read(held).await;
    within(second).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(300));
    assert_eq!((now(&client), so_far(&client)), ([1, 1, 1, 0], (1, 1)));
    // The surplus one is kept, and serves.
    eventually(|| now(&client) == [2, 2, 0, 0]).await;
    assert_eq!(so_far(&client), (2, 1));
    fetch_at_once(&client, &origin.url("/slow/20"), 2).await;
    assert_eq!((opened(&proxy), opened(&origin)), (2, 2));
    assert_eq!(client.stats().opened, 2);
}

/// The other way round: the new connection is there before the first one's body has been read.
#[tokio::test]
async fn a_waiting_request_takes_a_new_connection() {
    let origin = Origin::http().await;
    let client = plain();
    let held = get(&client, &origin.url("/bytes/100000")).await;
    fetch(&client, &origin.url("/")).await;
    assert_eq!((now(&client), so_far(&client)), ([2, 1, 0, 0], (2, 0)));
    drop(held);
    eventually(|| now(&client) == [1, 1, 0, 0]).await;
}

/// A connection that nobody waits for any more is there for the next request, not thrown away and not waited for in vain.
#[tokio::test]
async fn a_connection_whose_request_was_given_up_is_kept() {
    let origin = Origin::http().await;
    for _ in 0..50 {
        let client = plain();
        let before = opened(&origin);
        let mut given_up = client.clone().oneshot(request(&origin.url("/")));
        assert!(poll_once(&mut given_up).await.is_none());
        assert_eq!(now(&client), [0, 0, 1, 1]);
        drop(given_up);
        assert_eq!(now(&client), [0, 0, 1, 0]);
        // Takes it whether it is open already or not.
        while before % 2 == 0 && now(&client)[1] == 0 {
            tokio::task::yield_now().await;
        }
        fetch(&client, &origin.url("/")).await;
        assert_eq!((opened(&origin), so_far(&client).0), (before + 1, 1));
    }
}

#[tokio::test]
async fn each_request_hears_of_a_failed_connect() {
    let ca = Ca::new();
    let proxy = ForwardProxy::builder().start().await;
    proxy.stop().await;
    let client = client(through(proxy.url()), &ca);
    for url in ["http://a.test/", "https://a.test/"] {
        let mut tasks = JoinSet::new();
        for _ in 0..20 {
            let client = client.clone();
            tasks.spawn(async move { send(&client, request(url)).await.unwrap_err() });
        }
        for error in within(tasks.join_all()).await {
            assert!(
                error.is_before_request() && error.is_connect() && !error.is_timeout(),
                "{error:?}"
            );
            let cause = ConnectError::find(&error).unwrap();
            assert!(cause.is_before_request() && cause.is_transient() && cause.stage() == Stage::Dial);
        }
        assert_eq!((now(&client), client.stats().keys.len()), ([0, 0, 0, 0], 0), "{url}");
    }
    assert_eq!(so_far(&client), (0, 0));
    // And there is nothing that keeps the next from working.
    proxy.restart().await;
    let origin = Origin::http().await;
    fetch(&client, &format!("http://a.test:{}/", origin.port())).await;
}

/// One that hangs is not waited for by one after the other.
#[tokio::test]
async fn requests_that_wait_for_a_connect_that_hangs_fail_together() {
    let limit = Duration::from_millis(300);
    let proxy = ScriptedProxy::start(Fault::Hang).await;
    let layer = ProxyLayer::new(through(proxy.url())).with_connect_timeout(Some(limit));
    for url in ["https://a.test/", "ws://a.test/"] {
        let client: TestClient = builder(unproxied(), &Ca::new()).layer(layer.clone()).build().unwrap();
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..20 {
            let client = client.clone();
            tasks.spawn(async move { send(&client, request(url)).await.unwrap_err() });
        }
        for error in within(tasks.join_all()).await {
            assert!(
                error.is_before_request() && error.is_connect() && error.is_timeout(),
                "{error:?}"
            );
            // What the proxy did, not just that it took too long.
            assert_eq!(
                ConnectError::find(&error).map(ConnectError::stage),
                Some(Stage::Tunnel),
                "{error:?}"
            );
        }
        assert!(started.elapsed() < 3 * limit, "{:?}", started.elapsed());
        eventually(|| client.stats().keys.is_empty()).await;
    }
}

/// A target that does not go on with TLS is the time-out's as well, on every route.
#[tokio::test]
async fn the_connect_timeout_covers_tls_with_the_target() {
    let limit = Duration::from_millis(100);
    let silent = ScriptedProxy::start(Step::Hang).await;
    let proxy = ForwardProxy::builder().start().await;
    for config in [unproxied(), through(proxy.url())] {
        let layer = ProxyLayer::new(config).with_connect_timeout(Some(limit));
        let client: TestClient = builder(unproxied(), &Ca::new()).layer(layer).build().unwrap();
        let url = format!("https://a.test:{}/", silent.port());
        let error = send(&client, request(&url)).await.unwrap_err();
        assert!(
            error.is_timeout() && error.is_connect() && error.is_before_request(),
            "{error:?}"
        );
        assert_eq!(error.to_string(), "no connection: connecting timed out");
        eventually(|| client.stats().keys.is_empty()).await;
    }
}

/// The failure of an attempt whose request was given up is not told to one whose own attempt is under way.
#[tokio::test]
async fn a_given_up_requests_failure_is_not_anothers() {
    let refusing = [
        Step::Wait(Duration::from_millis(100)),
        Step::send("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"),
    ];
    let good = [
        Step::Wait(Duration::from_millis(200)),
        Step::established(),
        Step::Tunnel,
    ];
    let origin = Origin::http().await;
    let proxy = ScriptedProxy::builder().script(refusing).script(good).start().await;
    let client = client(through(proxy.url()).with_always_tunnel(true), &Ca::new());
    let url = format!("http://a.test:{}/", origin.port());
    let mut first = client.clone().oneshot(request(&url));
    assert!(poll_once(&mut first).await.is_none());
    within(proxy.until(|proxy| proxy.requests().len() == 1)).await;
    let mut second = client.clone().oneshot(request(&url));
    assert!(poll_once(&mut second).await.is_none());
    drop(first);
    read(within(second).await.unwrap()).await;
    assert_eq!(opened(&proxy), 2);
}

/// A connector that panics as often as it is told.
#[derive(Clone)]
struct Panics(Arc<AtomicUsize>, HttpConnector<Resolver>);
impl Service<Uri> for Panics {
    type Response = <HttpConnector<Resolver> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;
    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }
    fn call(&mut self, uri: Uri) -> Self::Future {
        let (left, dial) = (self.0.clone(), self.1.clone().oneshot(uri));
        Box::pin(async move {
            tokio::task::yield_now().await;
            let panics = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            assert!(panics.is_err(), "as it was told to");
            dial.await.map_err(Into::into)
        })
    }
}

/// A connector that panics, which is a mistake, is an error and not a request that hangs.
#[tokio::test]
async fn a_connector_that_panics_is_an_error() {
    let ca = Ca::new();
    let plain = Origin::http().await;
    let tls = Origin::https(&ca, &["a.test"], &["h2"]).await;
    for url in [plain.url("/"), tls.url("/")] {
        let left = Arc::new(AtomicUsize::new(1));
        let panics = Panics(left, connector());
        let client: TestClient = builder(unproxied(), &ca)
            .connector(panics)
            .max_connections_per_key(1)
            .build()
            .unwrap();
        let error = send(&client, request(&url)).await.unwrap_err();
        assert!(error.is_before_request() && error.is_connect(), "{error:?}");
        eventually(|| client.stats().keys.is_empty()).await;
        fetch(&client, &url).await;
    }
}

/// An attempt that panics fails one request, whose attempt it is, where others have theirs.
#[tokio::test]
async fn an_attempt_that_panics_is_one_requests_failure() {
    let origin = Origin::http().await;
    for is_given_up in [false, true] {
        let left = Arc::new(AtomicUsize::new(0));
        let builder = builder(unproxied(), &Ca::new()).connector(Panics(left.clone(), connector()));
        let client: TestClient = builder.build().unwrap();
        // As many connections as attempts that go on.
        let _held = [
            get(&client, &origin.url("/bytes/100000")).await,
            get(&client, &origin.url("/bytes/100000")).await,
        ];
        left.store(1, Ordering::SeqCst);
        let mut requests: Vec<_> = (0..3)
            .map(|_| client.clone().oneshot(request(&origin.url("/slow/20"))))
            .collect();
        for request in &mut requests {
            assert!(poll_once(request).await.is_none());
        }
        assert_eq!(now(&client), [2, 0, 3, 3]);
        if is_given_up {
            drop(requests.remove(0));
        }
        let mut tasks: JoinSet<_> = requests.into_iter().collect();
        let mut failed = 0;
        while let Some(result) = within(tasks.join_next()).await {
            failed += usize::from(result.unwrap().is_err());
        }
        assert_eq!(failed, usize::from(!is_given_up));
    }
}
