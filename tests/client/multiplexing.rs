//! HTTP/2 under faults: a connection that is full, dead, going away, or has responses that nobody reads.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame};
use tokio::{
    io::copy_bidirectional,
    net::{TcpSocket, TcpStream},
    runtime::Builder,
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tower::ServiceExt;
use tower_outbound_proxy::Client;
use tower_outbound_proxy_lab::{Ca, Fault, Origin, ScriptedProxy, Step, connector, within};

use super::{
    TestClient, builder, client, eventually, fetch, fetch_at_once, get, http2::Server, now, opened, read, request,
    send, through, unproxied,
};

async fn server(ca: &Ca, streams: Option<u32>) -> Server {
    Server::start_with(ca.issue(&["a.test"]).server_config(&["h2"]), streams).await
}

/// If the peer allows no further stream, another connection is opened.
#[tokio::test]
async fn a_full_connection_gets_company() {
    let ca = Ca::new();
    for streams in [1, 10] {
        let server = server(&ca, Some(streams)).await;
        let client = client(unproxied(), &ca);
        let mut tasks = JoinSet::new();
        for _ in 0..50 {
            let (client, url) = (client.clone(), server.url());
            tasks.spawn(async move { fetch(&client, &url).await });
        }
        // All of them at the same time.
        server.asked(50).await;
        let opened = *server.opened.borrow();
        assert_eq!(opened, 50 / streams as usize);
        server.go.add_permits(50);
        within(tasks.join_all()).await;
        eventually(|| now(&client) == [opened, opened, 0, 0]).await;
    }
}

/// Requests that find the connection full are in the pool's line, in order.
#[tokio::test]
async fn a_full_connection_has_a_line_under_a_limit() {
    let ca = Ca::new();
    let server = server(&ca, Some(2)).await;
    let client: TestClient = builder(unproxied(), &ca).max_connections_per_key(1).build().unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (client, url) = (client.clone(), server.url());
        tasks.spawn(async move { fetch(&client, &url).await });
    }
    server.asked(2).await;
    eventually(|| now(&client) == [1, 0, 0, 18]).await;
    for asked in 3..=20 {
        server.go.add_permits(1);
        server.asked(asked).await;
    }
    server.go.add_permits(2);
    within(tasks.join_all()).await;
    assert_eq!((now(&client), *server.opened.borrow()), ([1, 1, 0, 0], 1));
}

/// A body that knows when it is dropped.
struct Kept(
    Option<Bytes>,
    #[expect(dead_code, reason = "it is only dropped")] Arc<()>,
);

impl Body for Kept {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }
}

/// Requests that are given up before they were sent leave nothing behind, though the connection stays full.
#[tokio::test]
async fn a_full_connection_keeps_nothing_of_who_has_left() {
    let ca = Ca::new();
    let server = server(&ca, Some(1)).await;
    let client: Client<Kept> = builder(unproxied(), &ca).max_connections_per_key(1).build().unwrap();
    let body = Arc::new(());
    let send = || {
        let body = Kept(Some(Bytes::from_static(&[0; 65536])), body.clone());
        client.clone().oneshot(Request::post(server.url()).body(body).unwrap())
    };
    let first = tokio::spawn(send());
    server.asked(1).await;
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        tasks.spawn(timeout(Duration::from_millis(20), send()));
    }
    assert!(within(tasks.join_all()).await.iter().all(Result::is_err));
    // This one, and the first request's.
    assert!(Arc::strong_count(&body) <= 2, "{}", Arc::strong_count(&body));
    server.go.add_permits(1);
    within(first).await.unwrap().unwrap();
}

/// Copies bytes to an address, and stops copying when it is told to, like a path through the network that is gone.
struct Path {
    port: u16,
    opened: watch::Receiver<usize>,
    stop: watch::Sender<usize>,
}

impl Path {
    async fn to(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // What is on its way when copying stops is little.
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(128).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (opening, opened) = watch::channel(0);
        let (stop, stopped) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                opening.send_modify(|count| *count += 1);
                let (number, mut stopped) = (*opening.borrow(), stopped.clone());
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(addr).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        // The sockets stay open.
                        () = async { drop(stopped.wait_for(|stopped| *stopped >= number).await) } => {
                            std::future::pending().await
                        }
                    }
                });
            }
        });
        Self { port, opened, stop }
    }

    /// Stops the connections that there are.
    fn stop(&self) {
        self.stop.send_replace(*self.opened.borrow());
    }

    fn url(&self) -> String {
        format!("https://a.test:{}/", self.port)
    }
}

/// A connection on which a request waited in vain, while nothing was heard of the peer, gets no further requests.
#[tokio::test]
async fn a_silent_connection_gets_no_further_request() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let path = Path::to(origin.addr()).await;
    let client = client(unproxied(), &ca);
    fetch(&client, &path.url()).await;
    path.stop();
    let impatient = |millis| timeout(Duration::from_millis(millis), send(&client, request(&path.url())));
    let later = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        impatient(100).await
    };
    let (first, second) = tokio::join!(impatient(1200), later);
    assert!(first.is_err() && second.is_err());
    let started = Instant::now();
    fetch(&client, &path.url()).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(*path.opened.borrow(), 2);
}

/// A connection on which a request waited in vain, while others had responses, goes on.
#[tokio::test]
async fn a_connection_that_serves_others_is_kept() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let client = client(unproxied(), &ca);
    let slow = origin.url("/slow/60000");
    let impatient = timeout(Duration::from_millis(1300), send(&client, request(&slow)));
    let other = async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        fetch(&client, &origin.url("/")).await;
    };
    let (result, ()) = tokio::join!(impatient, other);
    assert!(result.is_err());
    fetch(&client, &origin.url("/")).await;
    assert_eq!((now(&client), client.stats().opened), ([1, 1, 0, 0], 1));
}

/// A peer that takes no more bytes does not keep a connection that the pool is done with: one over the limit of idle
/// ones, and one of a client that is gone.
#[test]
fn a_peer_that_stops_reading_keeps_no_connection() {
    let servers = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let clients = Builder::new_current_thread().enable_all().build().unwrap();
    let ca = Ca::new();
    let origin = servers.block_on(Origin::https(&ca, &["a.test"], &["h2"]));
    for max_idle in [0, 1] {
        let path = servers.block_on(Path::to(origin.addr()));
        let mut connector = connector();
        connector.set_send_buffer_size(Some(4096));
        let builder = builder(unproxied(), &ca).connector(connector);
        let client: Client<Zeros> = builder.max_idle(max_idle).build().unwrap();
        let request = Request::post(path.url() + "echo").body(Zeros).unwrap();
        clients.block_on(async {
            let mut upload = client.clone().oneshot(request);
            assert!(timeout(Duration::from_millis(100), &mut upload).await.is_err());
            path.stop();
            // Until the system's buffers are full.
            assert!(timeout(Duration::from_millis(300), &mut upload).await.is_err());
            drop(upload);
            assert_eq!((client.stats().open(), client.stats().idle()), (1, max_idle));
            let kept = (max_idle == 0).then_some(client);
            let tasks = tokio::runtime::Handle::current().metrics();
            let ended = eventually(|| tasks.num_alive_tasks() == 0);
            timeout(Duration::from_secs(3), ended).await.unwrap();
            drop(kept);
        });
    }
}

/// A body without end.
struct Zeros;

impl Body for Zeros {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 16384])))))
    }
}

/// A connection is closed whose PING is not answered. Its requests are repeated if that is safe, and fail if not.
#[tokio::test]
async fn an_unanswered_ping_closes_a_connection() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
    for method in ["GET", "POST"] {
        let path = Path::to(origin.addr()).await;
        let client: TestClient = builder(unproxied(), &ca)
            .http2_keep_alive_interval(Duration::from_millis(300))
            .http2_keep_alive_timeout(Duration::from_millis(300))
            .build()
            .unwrap();
        fetch(&client, &path.url()).await;
        path.stop();
        let started = Instant::now();
        let mut request = request(&path.url());
        *request.method_mut() = method.parse().unwrap();
        let result = send(&client, request).await;
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        match method {
            "GET" => drop(read(result.unwrap()).await),
            _ => assert!(!result.unwrap_err().is_before_request()),
        }
        fetch(&client, &path.url()).await;
    }
}

/// Responses that nobody reads do not stop the others.
#[tokio::test]
async fn unread_responses_stop_no_other() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let client = client(unproxied(), &ca);
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(get(&client, &origin.url("/bytes/4194304")).await);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    fetch_at_once(&client, &origin.url("/bytes/100000"), 3).await;
    assert_eq!(origin.connections_opened(), 1);
    // The windows are settings.
    let client: TestClient = builder(unproxied(), &ca)
        .http2_initial_stream_window_size(70_000)
        .http2_initial_connection_window_size(70_000)
        .build()
        .unwrap();
    let unread = get(&client, &origin.url("/bytes/4194304")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stopped = timeout(Duration::from_millis(300), fetch(&client, &origin.url("/bytes/100000"))).await;
    assert!(stopped.is_err());
    drop(unread);
}

/// A connection that is going away counts until it is closed, for the limit and in the statistics.
#[tokio::test]
async fn a_connection_that_is_going_away_counts() {
    let ca = Ca::new();
    let server = server(&ca, None).await;
    let client: TestClient = builder(unproxied(), &ca).max_connections_per_key(1).build().unwrap();
    let under_way = tokio::spawn({
        let (client, url) = (client.clone(), server.url());
        async move { fetch(&client, &url).await }
    });
    server.asked(1).await;
    server.close.send_replace(());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let next = tokio::spawn({
        let (client, url) = (client.clone(), server.url());
        async move { fetch(&client, &url).await }
    });
    eventually(|| now(&client) == [1, 0, 0, 1]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((now(&client), *server.opened.borrow()), ([1, 0, 0, 1], 1));
    server.go.add_permits(2);
    within(under_way).await.unwrap();
    within(next).await.unwrap();
    assert_eq!((now(&client), *server.opened.borrow()), ([1, 1, 0, 0], 2));
}

/// After a failure, waiters make two attempts at once, and after a success one again, which they share.
#[tokio::test]
async fn a_failure_is_forgotten_after_a_success() {
    let ca = Ca::new();
    let server = server(&ca, None).await;
    let proxy = ScriptedProxy::builder()
        .script(Step::Close)
        .script([Step::established(), Step::Tunnel])
        .start()
        .await;
    let client = client(through(proxy.url()), &ca);
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        let (client, url) = (client.clone(), server.url());
        tasks.spawn(async move { send(&client, request(&url)).await.is_ok() });
    }
    server.asked(1).await;
    // The connection goes away, and its request goes on.
    server.close.send_replace(());
    tokio::time::sleep(Duration::from_millis(50)).await;
    for _ in 0..10 {
        let (client, url) = (client.clone(), server.url());
        tasks.spawn(async move { send(&client, request(&url)).await.is_ok() });
    }
    server.asked(11).await;
    assert_eq!(opened(&proxy), 3);
    server.go.add_permits(11);
    let served = within(tasks.join_all()).await;
    assert_eq!(served.into_iter().filter(|served| *served).count(), 11);
}

/// Each attempt that takes long doubles the attempts for those who wait.
#[tokio::test]
async fn attempts_at_a_silent_proxy_double() {
    let proxy = ScriptedProxy::start(Fault::Hang).await;
    let client = client(through(proxy.url()), &Ca::new());
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        tasks.spawn(client.clone().oneshot(request("https://a.test/")));
    }
    let company = within(proxy.until(|proxy| proxy.connections_opened() == 3));
    timeout(Duration::from_millis(1800), company).await.unwrap();
}

/// A connection that comes late, when another serves, is not kept.
#[tokio::test]
async fn a_connection_that_comes_late_is_not_kept() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let late = [
        Step::Wait(Duration::from_millis(1500)),
        Step::established(),
        Step::Tunnel,
    ];
    let quick = [Step::established(), Step::Tunnel];
    let proxy = ScriptedProxy::builder().script(late).script(quick).start().await;
    let client = client(through(proxy.url()), &ca);
    fetch(&client, &origin.url("/")).await;
    eventually(|| client.stats().opened == 2).await;
    eventually(|| now(&client) == [1, 1, 0, 0]).await;
    assert_eq!(opened(&proxy), 2);
}

/// A connection in use is not closed where another is one idle connection too many.
#[tokio::test]
async fn a_limit_on_idle_connections_spares_those_in_use() {
    let ca = Ca::new();
    let server = server(&ca, Some(2)).await;
    let client: TestClient = builder(unproxied(), &ca).max_idle_per_key(0).build().unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..3 {
        let (client, url) = (client.clone(), server.url());
        tasks.spawn(async move { fetch(&client, &url).await });
    }
    server.asked(3).await;
    assert_eq!(now(&client), [2, 0, 0, 0]);
    server.go.add_permits(2);
    eventually(|| now(&client) == [1, 0, 0, 0]).await;
    let (another, url) = (client.clone(), server.url());
    tasks.spawn(async move { fetch(&another, &url).await });
    server.asked(4).await;
    assert_eq!(*server.opened.borrow(), 2);
    server.go.add_permits(2);
    within(tasks.join_all()).await;
}

/// An upload that is given up ends at once, and is no more on its connection.
#[tokio::test]
async fn an_upload_given_up_leaves_its_connection() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let client: Client<Zeros> = builder(unproxied(), &ca).build().unwrap();
    let upload = client
        .clone()
        .oneshot(Request::post(origin.url("/echo")).body(Zeros).unwrap());
    assert!(timeout(Duration::from_millis(200), upload).await.is_err());
    assert_eq!((client.stats().open(), client.stats().idle()), (1, 1));
}
