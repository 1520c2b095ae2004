//! One request's trouble is no other request's: attempts, deadlines, waiting, descriptors.

use std::{
    convert::Infallible,
    pin::Pin,
    process::Command,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tower_outbound_proxy::{Client, ConnectError, ProxyLayer};
use tower_outbound_proxy_lab::{Ca, Fault, ForwardProxy, Origin, Script, ScriptedProxy, Step, within};

use super::{
    TestClient, builder, client, eventually, fetch, fetch_at_once, get, now, opened, read, request, send, through,
    unproxied,
};

const NO: &str = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";

fn tunnel() -> Script {
    [Step::established(), Step::Tunnel].into()
}

/// Starts a proxy that never answers its first CONNECT, and then all others.
async fn silent_at_first() -> ScriptedProxy {
    let builder = ScriptedProxy::builder().script(Fault::Hang).script(tunnel());
    builder.start().await
}

/// Two origins whose requests go through a tunnel, one where HTTP/2 is possible and one where it is not.
struct Origins(Origin, Origin);

impl Origins {
    async fn start(ca: &Ca) -> Self {
        Self(
            Origin::https(ca, &["a.test"], &["h2", "http/1.1"]).await,
            Origin::http().await,
        )
    }

    fn urls(&self) -> [String; 2] {
        [self.0.url("/"), format!("ws://a.test:{}/", self.1.port())]
    }
}

/// An attempt that nobody answers gets company, which serves those who wait. Under a limit, it is replaced.
#[tokio::test]
async fn an_unanswered_connect_costs_little_time() {
    let ca = Ca::new();
    let origins = Origins::start(&ca).await;
    for limit in [usize::MAX, 1] {
        for url in origins.urls() {
            let proxy = silent_at_first().await;
            let client: TestClient = builder(through(proxy.url()), &ca)
                .max_connections_per_key(limit)
                .build()
                .unwrap();
            let started = Instant::now();
            fetch(&client, &url).await;
            let took = started.elapsed();
            assert!(
                (Duration::from_millis(900)..Duration::from_secs(3)).contains(&took),
                "{took:?}"
            );
            fetch(&client, &url).await;
            assert_eq!(opened(&proxy), 2);
            // What nobody answered is ended as well.
            within(proxy.until(|proxy| proxy.connections_open() == 1)).await;
            eventually(|| now(&client) == [1, 1, 0, 0]).await;
        }
    }
}

/// The caller has given up. The next one does not wait for what is left of the first one's attempt.
#[tokio::test]
async fn a_given_up_connect_is_not_waited_for() {
    let ca = Ca::new();
    let origins = Origins::start(&ca).await;
    for url in origins.urls() {
        let proxy = silent_at_first().await;
        let client = client(through(proxy.url()), &ca);
        let short = Duration::from_millis(300);
        assert!(timeout(short, send(&client, request(&url))).await.is_err());
        let started = Instant::now();
        fetch(&client, &url).await;
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
}

/// A proxy that does answer in the end is heard, though others have been asked meanwhile.
#[tokio::test]
async fn a_late_answer_is_heard() {
    let ca = Ca::new();
    let late: Script = [
        Step::Wait(Duration::from_millis(3500)),
        Step::established(),
        Step::Tunnel,
    ]
    .into();
    let origins = Origins::start(&ca).await;
    for url in origins.urls() {
        let proxy = ScriptedProxy::start(late.clone()).await;
        let client = client(through(proxy.url()), &ca);
        let started = Instant::now();
        fetch(&client, &url).await;
        assert!(
            started.elapsed() < Duration::from_millis(4500),
            "{:?}",
            started.elapsed()
        );
    }
}

/// One of fifty fails.
#[tokio::test]
async fn a_refused_connect_is_one_requests_failure() {
    let ca = Ca::new();
    let origins = Origins::start(&ca).await;
    for first in [Script::from(Step::Close), Step::Reset.into(), Step::send(NO).into()] {
        for url in origins.urls() {
            let proxy = ScriptedProxy::builder()
                .script(first.clone())
                .script(tunnel())
                .start()
                .await;
            let client = client(through(proxy.url()), &ca);
            let mut tasks = JoinSet::new();
            for _ in 0..50 {
                let (client, url) = (client.clone(), url.clone());
                tasks.spawn(async move { send(&client, request(&url)).await.is_err() });
            }
            let failed = within(tasks.join_all())
                .await
                .into_iter()
                .filter(|failed| *failed)
                .count();
            assert_eq!(failed, 1, "{url}");
        }
    }
}

/// A proxy that refuses everybody tells each request so, and is not asked more often than that.
#[tokio::test]
async fn a_refusal_is_asked_for_once_a_request() {
    let ca = Ca::new();
    let proxy = ScriptedProxy::start(Step::send(NO)).await;
    let client = client(through(proxy.url()), &ca);
    for url in ["https://a.test/", "ws://a.test/"] {
        let before = opened(&proxy);
        let mut tasks = JoinSet::new();
        for _ in 0..50 {
            let client = client.clone();
            tasks.spawn(async move { send(&client, request(url)).await.unwrap_err() });
        }
        for error in within(tasks.join_all()).await {
            assert_eq!(ConnectError::find(&error).unwrap().response().unwrap().status(), 403);
        }
        let asked = opened(&proxy) - before;
        assert!(asked <= 50, "{url}: {asked}");
        assert!(client.stats().keys.is_empty());
    }
}

/// Each request has its own deadline, wherever it waits.
#[tokio::test]
async fn nobody_inherits_a_deadline() {
    let ca = Ca::new();
    let origins = Origins::start(&ca).await;
    for url in origins.urls() {
        let proxy = silent_at_first().await;
        let layer = ProxyLayer::new(through(proxy.url())).with_connect_timeout(Some(Duration::from_millis(800)));
        let client: TestClient = builder(unproxied(), &ca).layer(layer).build().unwrap();
        let first = tokio::spawn({
            let (client, url) = (client.clone(), url.clone());
            async move { send(&client, request(&url)).await }
        });
        tokio::time::sleep(Duration::from_millis(700)).await;
        fetch(&client, &url).await;
        // Unless the second one's connection was there first.
        assert!(
            within(first)
                .await
                .unwrap()
                .err()
                .is_none_or(|error| error.is_timeout())
        );
    }
}

/// The deadline covers the line behind a limit, and the error tells what was waited for.
#[tokio::test]
async fn waiting_behind_a_limit_has_a_deadline() {
    let origin = Origin::http().await;
    let limit = Duration::from_millis(300);
    let layer = ProxyLayer::new(unproxied()).with_connect_timeout(Some(limit));
    let client: TestClient = builder(unproxied(), &Ca::new())
        .layer(layer)
        .max_connections_per_key(1)
        .build()
        .unwrap();
    let held = get(&client, &origin.url("/bytes/100000")).await;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..6 {
        let (client, url) = (client.clone(), origin.url("/"));
        tasks.spawn(async move { send(&client, request(&url)).await.unwrap_err() });
    }
    for error in within(tasks.join_all()).await {
        assert!(error.is_timeout() && error.is_before_request() && error.is_connect());
        assert_eq!(
            error.to_string(),
            "no connection: none of the 1 that `max_connections_per_key` allows became free within 300ms"
        );
    }
    assert!(started.elapsed() < 3 * limit, "{:?}", started.elapsed());
    read(held).await;
    fetch(&client, &origin.url("/")).await;
}

/// A limit that leaves room is not to blame for a time-out.
#[tokio::test]
async fn a_silent_proxy_is_no_matter_of_the_limit() {
    let proxy = ScriptedProxy::start(Fault::Hang).await;
    let layer = ProxyLayer::new(through(proxy.url())).with_connect_timeout(Some(Duration::from_millis(1300)));
    let client: TestClient = builder(unproxied(), &Ca::new())
        .layer(layer)
        .max_connections_per_key(1)
        .build()
        .unwrap();
    // The first attempt has made room for another, which has time left.
    let error = send(&client, request("ws://a.test/")).await.unwrap_err();
    assert_eq!(error.to_string(), "no connection: connecting timed out");
}

/// An attempt ends soon after the last one who waited for it.
#[tokio::test]
async fn given_up_requests_hold_no_sockets() {
    for limit in [Some(Duration::from_secs(30)), None] {
        let proxy = ScriptedProxy::start(Fault::Hang).await;
        let layer = ProxyLayer::new(through(proxy.url())).with_connect_timeout(limit);
        let client: TestClient = builder(unproxied(), &Ca::new()).layer(layer).build().unwrap();
        let mut tasks = JoinSet::new();
        for n in 0..50 {
            let (client, url) = (client.clone(), format!("https://o{n}.test/"));
            tasks.spawn(async move {
                timeout(Duration::from_millis(200), send(&client, request(&url)))
                    .await
                    .is_err()
            });
        }
        assert!(within(tasks.join_all()).await.into_iter().all(|given_up| given_up));
        assert_eq!(opened(&proxy), 50);
        timeout(Duration::from_secs(2), proxy.idle()).await.unwrap();
        assert!(client.stats().keys.is_empty());
    }
}

/// Attempts in trouble get more time, unless nobody waits for them any more.
#[tokio::test]
async fn an_attempt_in_trouble_has_no_time_without_a_waiter() {
    let proxy = ScriptedProxy::start(Fault::Hang).await;
    let client = client(through(proxy.url()), &Ca::new());
    tokio::time::pause();
    let given_up = timeout(
        Duration::from_millis(4500),
        client.clone().oneshot(request("ws://a.test/")),
    );
    assert!(given_up.await.is_err());
    assert_eq!(now(&client), [0, 0, 2, 0]);
    // The second of them began after four seconds, and would have as many.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(client.stats().keys.is_empty(), "{:?}", client.stats());
}

/// Under a limit, an attempt that takes long goes on while a new connection's limit is not known yet.
#[tokio::test]
async fn a_new_connection_ends_no_slow_attempt() {
    let ca = Ca::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://a.test:{}/", listener.local_addr().unwrap().port());
    let tls = TlsAcceptor::from(ca.issue(&["a.test"]).server_config(&["h2"]));
    tokio::spawn(async move {
        let _silent = tls.accept(listener.accept().await.unwrap().0).await.unwrap();
        std::future::pending::<()>().await;
    });
    let proxy = silent_at_first().await;
    let client: TestClient = builder(through(proxy.url()), &ca)
        .max_connections_per_key(2)
        .build()
        .unwrap();
    let _requests: JoinSet<_> = [(); 2]
        .into_iter()
        .map(|()| client.clone().oneshot(request(&url)))
        .collect();
    eventually(|| client.stats().open() == 1).await;
    assert_eq!(now(&client), [1, 0, 1, 1]);
}

/// The final response comes early, and the upload never ends: its connection is closed, and makes room.
#[tokio::test]
async fn an_unfinished_upload_holds_no_connection() {
    const EARLY: &str = "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno";
    let server = ScriptedProxy::start([Step::send(EARLY), Step::Hang]).await;
    let client: Client<Endless> = builder(unproxied(), &Ca::new())
        .max_connections_per_key(1)
        .build()
        .unwrap();
    for _ in 0..3 {
        let request = Request::post(server.url()).body(Endless).unwrap();
        let response = within(client.clone().oneshot(request)).await.unwrap();
        assert_eq!(read(response).await, "no");
    }
    timeout(Duration::from_secs(1), server.idle()).await.unwrap();
}

/// A body that never ends and has nothing to send.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// An attempt on a runtime that nobody drives any more is not waited for by another one.
#[test]
fn a_runtime_that_stands_still_stops_no_other() {
    let runtime = |threads| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap()
    };
    let servers = runtime(1);
    let ca = Ca::new();
    let origins = servers.block_on(Origins::start(&ca));
    for url in origins.urls() {
        let slow: Script = [
            Step::Wait(Duration::from_millis(500)),
            Step::established(),
            Step::Tunnel,
        ]
        .into();
        let proxy = ScriptedProxy::builder().script(slow).script(tunnel());
        let proxy = servers.block_on(proxy.start());
        let client = client(through(proxy.url()), &ca);
        let still = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let given_up =
            still.block_on(async { timeout(Duration::from_millis(100), send(&client, request(&url))).await });
        assert!(given_up.is_err());
        let other = runtime(1);
        let started = Instant::now();
        other.block_on(fetch(&client, &url));
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        drop(still);
    }
}

/// With no descriptors left, idle connections make room for new ones.
#[tokio::test]
async fn idle_connections_give_up_their_descriptors() {
    const ORIGIN: &str = "TEST_ORIGIN_URL";
    const DESCRIPTORS: usize = 80;
    let Ok(origin) = std::env::var(ORIGIN) else {
        // The limit is a process's, so the client is one of its own.
        let origin = Origin::http().await;
        let test = "client::isolation::idle_connections_give_up_their_descriptors";
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new("sh");
        child
            .args([
                "-c",
                &format!("ulimit -n {DESCRIPTORS} && exec \"$0\" --exact {test} --nocapture"),
            ])
            .arg(program)
            .env(ORIGIN, origin.url("").replace("127.0.0.1", "NAME.test"));
        let output = tokio::task::spawn_blocking(move || child.output())
            .await
            .unwrap()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(origin.requests().len(), 2 * DESCRIPTORS);
        return;
    };
    let client: TestClient = builder(unproxied(), &Ca::new()).max_idle(usize::MAX).build().unwrap();
    for n in 0..2 * DESCRIPTORS {
        fetch(&client, &origin.replace("NAME", &format!("o{n}"))).await;
    }
    assert!(client.stats().idle() > DESCRIPTORS / 4, "{:?}", client.stats().idle());
}

/// Idle connections have a limit without a setting.
#[tokio::test]
async fn idle_connections_are_limited_by_default() {
    let origin = Origin::http().await;
    let client: TestClient = client(unproxied(), &Ca::new());
    for n in 0..300 {
        fetch(&client, &origin.url("/").replace("127.0.0.1", &format!("o{n}.test"))).await;
    }
    eventually(|| now(&client) == [256, 256, 0, 0]).await;
}

/// Many in line behind a limit, of which most give up: the others are served in order, and nothing is left.
#[tokio::test]
async fn a_long_line_is_served() {
    let origin = Origin::http().await;
    let client: TestClient = builder(unproxied(), &Ca::new())
        .max_connections_per_key(1)
        .build()
        .unwrap();
    let held = get(&client, &origin.url("/bytes/100000")).await;
    let mut tasks = JoinSet::new();
    for n in 0..2000 {
        let (client, url) = (client.clone(), origin.url(&format!("/status/{}", 200 + n / 20)));
        tasks.spawn(async move {
            let patience = Duration::from_secs(if n % 20 == 0 { 60 } else { 0 });
            timeout(patience, send(&client, request(&url))).await.is_ok()
        });
    }
    eventually(|| now(&client)[3] == 100).await;
    read(held).await;
    let served = within(tasks.join_all())
        .await
        .into_iter()
        .filter(|served| *served)
        .count();
    assert_eq!(served, 100);
    let heard: Vec<_> = origin
        .requests()
        .iter()
        .skip(1)
        .map(|request| request.target.clone())
        .collect();
    assert!(heard.is_sorted(), "{heard:?}");
    assert_eq!((opened(&origin), now(&client)), (1, [1, 1, 0, 0]));
}

/// One slow origin behind a forward proxy leaves room for the others.
#[tokio::test]
async fn a_slow_origin_leaves_a_forward_proxy_to_others() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().start().await;
    let client: TestClient = builder(through(proxy.url()), &Ca::new())
        .max_connections_per_key(4)
        .build()
        .unwrap();
    let slow = format!("http://slow.test:{}/slow/4000", origin.port());
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (client, url) = (client.clone(), slow.clone());
        tasks.spawn(async move { fetch(&client, &url).await });
    }
    within(origin.until(|origin| origin.requests().len() >= 2)).await;
    let started = Instant::now();
    fetch_at_once(&client, &format!("http://quick.test:{}/", origin.port()), 20).await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(opened(&proxy) <= 4);
    drop(tasks);
}
