//! Runtimes end before or after their clients: nothing hangs, and no task is left behind.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use http::Uri;
use http_body_util::BodyExt;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
};
use tower::{BoxError, Service, ServiceExt};
use tower_outbound_proxy::{ProxyLayer, client::ClientBuilder};
use tower_outbound_proxy_lab::{Ca, Fault, Origin, Resolver, ScriptedProxy, connector, within};

use super::{
    TestClient, builder, client, eventually, fetch, get, http2::Server, now, request, send, through, unproxied,
};

fn runtime(threads: usize) -> Runtime {
    let mut builder = match threads {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if threads > 0 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().unwrap()
}

fn alive(runtime: &Runtime) -> usize {
    runtime.handle().metrics().num_alive_tasks()
}

/// Runs `work` on a thread, and fails if it hangs.
pub(super) fn without_hanging(work: impl FnOnce() + Send + 'static) {
    let (done, doing) = mpsc::channel();
    let thread = thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    match doing.recv_timeout(Duration::from_secs(10)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => thread.join().unwrap(),
    }
}

/// With requests in line, under way, and connections that are being opened.
#[test]
fn a_runtime_ends_under_a_client_in_use() {
    for threads in [0, 1, 2] {
        without_hanging(move || {
            let servers = runtime(1);
            let ca = Ca::new();
            let (plain, http2, hanging) = servers.block_on(async {
                (
                    Origin::http().await,
                    Origin::https(&Ca::new(), &["a.test"], &["h2"]).await,
                    ScriptedProxy::start(Fault::Hang).await,
                )
            });
            let client: TestClient = builder(unproxied(), &ca).max_connections_per_key(1).build().unwrap();
            let proxied: TestClient = builder(through(hanging.url()), &ca).build().unwrap();
            let clients = runtime(threads);
            for (client, url, lined_up) in [
                (&client, plain.url("/slow/60000"), [1, 0, 0, 9]),
                (&client, http2.url("/slow/60000"), [1, 0, 0, 9]),
                (&proxied, "https://a.test/".to_owned(), [0, 0, 1, 10]),
                (&proxied, "ws://a.test/".to_owned(), [0, 0, 11, 20]),
            ] {
                for _ in 0..10 {
                    clients.spawn(client.clone().oneshot(request(&url)));
                }
                if !url.contains(&http2.port().to_string()) {
                    clients.block_on(eventually(|| now(client) == lined_up));
                }
            }
            drop(clients);
            // The client is as good as new on another one.
            let another = runtime(0);
            another.block_on(fetch(&client, &plain.url("/")));
            assert_eq!(another.block_on(async { now(&client) })[2..], [0, 0]);
        });
    }
}

/// A future that another thread polls is told, when the runtime that was opening its connection ends.
#[test]
fn a_request_whose_runtime_ends_is_told() {
    without_hanging(|| {
        let (servers, other) = (runtime(1), runtime(0));
        let hanging = servers.block_on(ScriptedProxy::start(Fault::Hang));
        for url in ["https://a.test/", "ws://a.test/"] {
            let clients = runtime(1);
            let client = client(through(hanging.url()), &Ca::new());
            let requests = [(); 3].map(|()| {
                let mut request = Box::pin(client.clone().oneshot(request(url)));
                let _guard = clients.enter();
                let mut cx = Context::from_waker(Waker::noop());
                assert!(request.as_mut().poll(&mut cx).is_pending());
                request
            });
            clients.shutdown_timeout(Duration::from_secs(1));
            for request in requests {
                let error = other.block_on(within(request)).unwrap_err();
                assert!(error.is_before_request() && error.is_connect(), "{error:?}");
                assert_eq!(error.to_string(), "no connection: the connection attempt was aborted");
            }
            assert_eq!((now(&client), client.stats().keys.len()), ([0, 0, 0, 0], 0));
        }
    });
}

/// A request that the server has may have been processed, though its runtime has ended: it is not sent on another.
#[test]
fn a_request_whose_runtime_ends_is_not_repeated() {
    without_hanging(|| {
        let (servers, clients, other) = (runtime(1), runtime(0), runtime(0));
        let ca = Ca::new();
        let server = servers.block_on(Server::start_with(ca.issue(&["a.test"]).server_config(&["h2"]), None));
        let client = client(unproxied(), &ca);
        let mut request = request(&server.url());
        *request.method_mut() = http::Method::POST;
        let mut request = Box::pin(client.clone().oneshot(request));
        clients.block_on(async {
            tokio::select! {
                _ = request.as_mut() => panic!("the server has not answered"),
                () = server.asked(1) => {}
            }
        });
        drop(clients);
        server.go.add_permits(2);
        let error = other.block_on(within(request)).unwrap_err();
        assert!(!error.is_before_request(), "{error:?}");
        assert_eq!(*server.opened.borrow(), 1);
    });
}

/// Idle connections come to their time-out on the runtime that is there, as when a test after another uses one client.
#[test]
fn idle_connections_time_out_on_a_second_runtime() {
    let servers = runtime(1);
    let origin = servers.block_on(Origin::http());
    let timeout = Duration::from_millis(50);
    let client: TestClient = builder(unproxied(), &Ca::new())
        .idle_timeout(Some(timeout))
        .build()
        .unwrap();
    for threads in [0, 1, 0] {
        let runtime = runtime(threads);
        runtime.block_on(async {
            fetch(&client, &origin.url("/")).await;
            eventually(|| now(&client) == [1, 1, 0, 0]).await;
            within(origin.idle()).await;
        });
        // And once more, so that it ends with a connection to watch.
        runtime.block_on(fetch(&client, &origin.url("/")));
    }
}

/// A client that is gone takes its connections and its tasks with it: idle, being opened, and watched.
#[test]
fn a_client_that_is_dropped_leaves_no_task() {
    let servers = runtime(1);
    let ca = Ca::new();
    let (plain, http1, http2, hanging) = servers.block_on(async {
        (
            Origin::http().await,
            Origin::https(&ca, &["a.test"], &["http/1.1"]).await,
            Origin::https(&ca, &["a.test"], &["h2"]).await,
            ScriptedProxy::start(Fault::Hang).await,
        )
    });
    let runtime = runtime(2);
    let before = alive(&runtime);
    for limit in [Some(Duration::from_secs(30)), None] {
        let client = client(unproxied(), &ca);
        let layer = ProxyLayer::new(through(hanging.url())).with_connect_timeout(limit);
        let proxied: TestClient = builder(unproxied(), &ca).layer(layer).build().unwrap();
        runtime.block_on(async {
            for origin in [&plain, &http1, &http2] {
                fetch(&client, &origin.url("/")).await;
                // Its body is not read, and outlives the client.
                let unread = get(&client, &origin.url("/bytes/9000000")).await;
                drop(get(&client, &origin.url("/bytes/9000000")).await);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    drop(unread);
                });
            }
            let given_up = proxied.clone().oneshot(request("https://a.test/"));
            assert!(tokio::time::timeout(Duration::from_millis(20), given_up).await.is_err());
            assert_eq!(now(&proxied), [0, 0, 1, 0]);
        });
        assert!(alive(&runtime) > before);
        drop((client, proxied));
        runtime.block_on(eventually(|| alive(&runtime) == before));
        for listening in [&*plain, &*http1, &*http2, &*hanging] {
            runtime.block_on(within(listening.idle()));
        }
    }
}

/// On an executor that is not tokio's: with a runtime of the client's own, and an error without.
#[test]
fn requests_from_elsewhere() {
    let servers = runtime(1);
    let ca = Ca::new();
    let (plain, http2, hanging) = servers.block_on(async {
        (
            Origin::http().await,
            Origin::https(&ca, &["a.test"], &["h2"]).await,
            ScriptedProxy::start(Fault::Hang).await,
        )
    });
    without_hanging(move || {
        let without = client(unproxied(), &ca);
        let error = futures_executor(without.send(request(&plain.url("/")))).unwrap_err();
        assert!(error.is_before_request() && error.is_connect() && !error.is_transient());
        assert_eq!(
            error.to_string(),
            "no connection: the request was made outside of a tokio runtime (`ClientBuilder::runtime` sets one)"
        );
        let connections = runtime(1);
        let layer = ProxyLayer::new(through(hanging.url())).with_connect_timeout(Some(Duration::from_millis(100)));
        let with = |builder: ClientBuilder<_>| builder.runtime(connections.handle().clone());
        let client: TestClient = with(builder(unproxied(), &ca))
            .max_connections_per_key(1)
            .build()
            .unwrap();
        let proxied: TestClient = with(builder(unproxied(), &ca).layer(layer)).build().unwrap();
        for origin in [&plain, &http2] {
            for path in ["/", "/slow/20", "/bytes/100000", "/"] {
                let response = futures_executor(client.send(request(&origin.url(path)))).unwrap();
                futures_executor(response.into_body().collect()).unwrap();
            }
            // Bodies and requests are given up elsewhere, too.
            drop(futures_executor(client.send(request(&origin.url("/bytes/9000000")))).unwrap());
            let mut given_up = client.send(request(&origin.url("/slow/60000")));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut given_up).poll(&mut cx).is_pending());
            drop(given_up);
            let response = futures_executor(client.send(request(&origin.url("/")))).unwrap();
            futures_executor(response.into_body().collect()).unwrap();
        }
        let error = futures_executor(proxied.send(request("https://a.test/"))).unwrap_err();
        assert!(error.is_timeout() && error.is_transient(), "{error:?}");
        drop((client, proxied));
        for origin in [&plain, &http2] {
            servers.block_on(within(origin.idle()));
        }
    });
}

/// The smallest executor: it knows nothing of tokio.
fn futures_executor<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// A connector whose first connection is there when it is asked for it a second time.
#[derive(Clone)]
struct Late(Arc<AtomicUsize>, HttpConnector<Resolver>);

impl Service<Uri> for Late {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if self.0.fetch_add(1, Ordering::SeqCst) > 0 {
            let dial = self.1.clone().oneshot(uri);
            return Box::pin(async move { dial.await.map_err(Into::into) });
        }
        let mut is_asked = false;
        Box::pin(std::future::poll_fn(move |_| {
            if !std::mem::replace(&mut is_asked, true) {
                return Poll::Pending;
            }
            let stream = std::net::TcpStream::connect(("127.0.0.1", uri.port_u16().unwrap()))?;
            stream.set_nonblocking(true)?;
            Poll::Ready(Ok(TokioIo::new(TcpStream::from_std(stream)?)))
        }))
    }
}

/// An attempt that another has replaced may have its connection all the same. It is kept if the limit has room for it.
#[test]
fn a_replaced_attempts_connection_obeys_the_limit() {
    let servers = runtime(1);
    let origin = servers.block_on(Origin::http());
    for (limit, kept) in [(1, 1), (2, 2)] {
        let connector = Late(Arc::default(), connector());
        let client: TestClient = builder(unproxied(), &Ca::new())
            .connector(connector)
            .max_connections_per_key(limit)
            .build()
            .unwrap();
        let (first, second) = (runtime(0), runtime(0));
        let url = origin.url("/");
        let given_up = async { tokio::time::timeout(Duration::from_millis(50), send(&client, request(&url))).await };
        assert!(first.block_on(given_up).is_err());
        // Nobody drives the first attempt, which is slow now.
        second.block_on(fetch(&client, &url));
        let opened = origin.connections_opened();
        first.block_on(eventually(|| origin.connections_opened() == opened + 1));
        first.block_on(eventually(|| now(&client) == [kept, kept, 0, 0]));
        first.block_on(within(origin.until(|origin| origin.connections_open() == kept)));
        assert_eq!(now(&client), [kept, kept, 0, 0]);
        drop(client);
        second.block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
        first.block_on(within(origin.idle()));
    }
}

/// One task watches all idle connections, however many requests there are.
#[test]
fn idle_connections_are_watched_by_one_task() {
    let (servers, clients) = (runtime(1), runtime(0));
    let origin = servers.block_on(Origin::http());
    let client = client(unproxied(), &Ca::new());
    let mut after = [0; 2];
    for (alive_after, requests) in after.iter_mut().zip([1, 20]) {
        clients.block_on(async {
            for _ in 0..requests {
                fetch(&client, &origin.url("/")).await;
            }
            eventually(|| now(&client) == [1, 1, 0, 0]).await;
        });
        *alive_after = alive(&clients);
    }
    assert_eq!(after[0], after[1]);
}
