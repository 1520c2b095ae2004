//! HTTP/2: all requests to an origin share one connection.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Origin, within};

use super::{
    TestClient, builder, client, eventually, fetch, fetch_at_once, get, now, opened, read, request, send, so_far,
    through, unproxied,
};

#[tokio::test]
async fn requests_share_one_connection() {
    let ca = Ca::new();
    for proxied in [false, true] {
        let origin = Origin::https(&ca, &["a.test"], &["h2", "http/1.1"]).await;
        let proxy = ForwardProxy::builder().start().await;
        let client = client(if proxied { through(proxy.url()) } else { unproxied() }, &ca);
        fetch_at_once(&client, &origin.url("/slow/20"), 50).await;
        assert_eq!((opened(&origin), opened(&proxy)), (1, usize::from(proxied)));
        assert_eq!((now(&client), client.stats().opened), ([1, 1, 0, 0], 1));
        // With bodies that nobody reads yet.
        let mut unread = Vec::new();
        for _ in 0..20 {
            let response = get(&client, &origin.url("/bytes/50000")).await;
            assert_eq!(response.version(), Version::HTTP_2);
            unread.push(response);
            assert_eq!(now(&client), [1, 0, 0, 0]);
        }
        for response in unread {
            read(response).await;
        }
        assert_eq!((opened(&origin), now(&client)), (1, [1, 1, 0, 0]));
        assert_eq!(origin.requests().len(), 70);
        let [heard, ..] = &origin.requests()[..] else {
            unreachable!()
        };
        assert_eq!((heard.version, heard.header("host")), (Version::HTTP_2, None));
    }
}

/// As gRPC does on `http` targets. Nothing is forwarded, since that is HTTP/1.1.
#[tokio::test]
async fn prior_knowledge_needs_no_tls() {
    let ca = Ca::new();
    for proxied in [false, true] {
        let plain = Origin::http().await;
        let tls = Origin::https(&ca, &["a.test"], &["h2"]).await;
        let proxy = ForwardProxy::builder().start().await;
        let config = if proxied { through(proxy.url()) } else { unproxied() };
        let client: TestClient = builder(config, &ca).http2_only(true).build().unwrap();
        for origin in [&plain, &tls] {
            let url = format!("{}://a.test:{}", origin.scheme(), origin.port());
            fetch_at_once(&client, &format!("{url}/slow/20"), 20).await;
            let response = get(&client, &url).await;
            assert_eq!(response.version(), Version::HTTP_2);
            read(response).await;
            assert_eq!(opened(origin), 1);
        }
        assert_eq!(opened(&proxy), if proxied { 2 } else { 0 });
        assert!(proxy.requests().iter().all(|request| request.method == "CONNECT"));
        assert_eq!(now(&client), [2, 2, 0, 0]);
        // An upgrade has no meaning in HTTP/2.
        let mut upgrade = request(&format!("http://a.test:{}/upgrade", plain.port()));
        upgrade
            .headers_mut()
            .insert("connection", HeaderValue::from_static("upgrade"));
        upgrade
            .headers_mut()
            .insert("upgrade", HeaderValue::from_static("echo"));
        let response = send(&client, upgrade).await.unwrap();
        assert_eq!(
            (response.version(), response.status().as_u16()),
            (Version::HTTP_11, 101)
        );
    }
}

/// Requests served by a connection that had served another: all but the first, as over HTTP/1.1.
#[tokio::test]
async fn statistics_count_the_first_request_as_the_connections_own() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let client = client(unproxied(), &ca);
    fetch_at_once(&client, &origin.url("/slow/20"), 10).await;
    assert_eq!(so_far(&client), (1, 9));
    fetch(&client, &origin.url("/")).await;
    assert_eq!(so_far(&client), (1, 10));
}

/// A target that does not choose HTTP/2 costs no connection: what was opened to find out is used.
#[tokio::test]
async fn a_target_without_http2_gets_connections_for_all_who_wait() {
    let ca = Ca::new();
    for alpn in [&["http/1.1"][..], &[]] {
        let origin = Origin::https(&ca, &["a.test"], alpn).await;
        let client = client(unproxied(), &ca);
        fetch_at_once(&client, &origin.url("/slow/100"), 10).await;
        assert_eq!((opened(&origin), now(&client)), (10, [10, 10, 0, 0]));
        assert!(
            origin
                .requests()
                .iter()
                .all(|request| request.version == Version::HTTP_11)
        );
    }
}

/// A server without ALPN ignores the offer of HTTP/2 alone, and would take HTTP/1.1 for what was asked.
#[tokio::test]
async fn http2_only_sends_nothing_in_another_version() {
    let ca = Ca::new();
    for alpn in [&["http/1.1"][..], &[]] {
        let origin = Origin::https(&ca, &["a.test"], alpn).await;
        let client: TestClient = builder(unproxied(), &ca).http2_only(true).build().unwrap();
        let error = send(&client, request(&origin.url("/"))).await.unwrap_err();
        assert!(error.is_before_request() && !error.is_transient(), "{error:?}");
        assert!(origin.requests().is_empty(), "{alpn:?}");
    }
}

/// A server that can be asked to close its connections gracefully (GOAWAY), and whose responses wait for `go`.
pub(super) struct Server {
    addr: SocketAddr,
    pub(super) close: watch::Sender<()>,
    pub(super) go: Arc<Semaphore>,
    pub(super) opened: watch::Receiver<usize>,
    asked: watch::Receiver<usize>,
}

impl Server {
    async fn start(tls: Arc<ServerConfig>) -> Self {
        Self::start_with(tls, None).await
    }

    /// Starts a server that allows this many streams at a time.
    pub(super) async fn start_with(tls: Arc<ServerConfig>, streams: Option<u32>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (close, closing) = watch::channel(());
        let (opening, opened) = watch::channel(0);
        let (asking, asked) = watch::channel(0);
        let go = Arc::new(Semaphore::new(0));
        let permits = go.clone();
        tokio::spawn(async move {
            loop {
                let (io, _) = listener.accept().await.unwrap();
                let mut closing = closing.clone();
                closing.mark_unchanged();
                opening.send_modify(|count| *count += 1);
                let (tls, permits, asking) = (TlsAcceptor::from(tls.clone()), permits.clone(), asking.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |_: Request<Incoming>| {
                        asking.send_modify(|count| *count += 1);
                        let permits = permits.clone();
                        async move {
                            permits.acquire().await.unwrap().forget();
                            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
                        }
                    });
                    let io = TokioIo::new(tls.accept(io).await.unwrap());
                    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    builder.max_concurrent_streams(streams);
                    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
                    tokio::select! {
                        _ = connection.as_mut() => return,
                        _ = closing.changed() => connection.as_mut().graceful_shutdown(),
                    }
                    let _ = connection.await;
                });
            }
        });
        Self {
            addr,
            close,
            go,
            opened,
            asked,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("https://a.test:{}/", self.addr.port())
    }

    pub(super) async fn asked(&self, count: usize) {
        within(self.asked.clone().wait_for(|asked| *asked == count))
            .await
            .unwrap();
    }
}

/// Requests that are under way end on the old connection. Later ones open a new connection.
#[tokio::test]
async fn a_connection_that_is_going_away_takes_no_new_request() {
    let ca = Ca::new();
    let server = Server::start(ca.issue(&["a.test"]).server_config(&["h2"])).await;
    let client = client(unproxied(), &ca);
    let fetching = || {
        let (client, url) = (client.clone(), server.url());
        tokio::spawn(async move { fetch(&client, &url).await })
    };
    for round in 1..=5 {
        let under_way = fetching();
        server.asked(2 * round - 1).await;
        server.close.send_replace(());
        // Until the client has heard of it, a request may still be sent there; from then on it is not.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let new = fetching();
        server.asked(2 * round).await;
        // The old one is counted no more, though it is still there: hyper has let go of it.
        assert_eq!(now(&client)[1..], [0, 0, 0]);
        assert_eq!(*server.opened.borrow(), 2 * round);
        server.go.add_permits(2);
        assert_eq!(within(under_way).await.unwrap(), "ok");
        assert_eq!(within(new).await.unwrap(), "ok");
        eventually(|| now(&client) == [1, 1, 0, 0]).await;
        server.close.send_replace(());
        eventually(|| client.stats().keys.is_empty()).await;
    }
}

/// While idle: whether it is known already or crosses with the next request, that one does not see it.
#[tokio::test]
async fn an_idle_connection_that_goes_away_is_replaced() {
    let ca = Ca::new();
    let server = Server::start(ca.issue(&["a.test"]).server_config(&["h2"])).await;
    let client = client(unproxied(), &ca);
    for round in 1..=10 {
        server.go.add_permits(1);
        fetch(&client, &server.url()).await;
        server.close.send_replace(());
        if round % 2 == 0 {
            eventually(|| client.stats().keys.is_empty()).await;
        }
    }
    assert!((5..=10).contains(&client.stats().opened), "{:?}", client.stats());
}

/// Giving up a request, before its response or within its body, resets its stream and nothing else.
#[tokio::test]
async fn a_request_given_up_costs_its_stream_only() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let client = client(unproxied(), &ca);
    let kept = get(&client, &origin.url("/bytes/3000000")).await;
    for _ in 0..20 {
        drop(get(&client, &origin.url("/bytes/3000000")).await);
        let short = Duration::from_millis(5);
        assert!(
            tokio::time::timeout(short, send(&client, request(&origin.url("/slow/5000"))))
                .await
                .is_err()
        );
    }
    assert_eq!(read(kept).await.len(), 3_000_000);
    eventually(|| now(&client) == [1, 1, 0, 0]).await;
    fetch(&client, &origin.url("/")).await;
    assert_eq!(
        (opened(&origin), origin.connections_open(), client.stats().opened),
        (1, 1, 1)
    );
}

/// User information is no part of `:authority` (RFC 9113 8.3.1).
#[tokio::test]
async fn user_information_is_not_sent() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let client = client(unproxied(), &ca);
    let url = format!("https://me:s3cret@A.test:{}/x?y=z", origin.port());
    fetch(&client, &url).await;
    let heard = &origin.requests()[0];
    assert_eq!(
        heard.target.to_lowercase(),
        format!("https://a.test:{}/x?y=z", origin.port())
    );
}
