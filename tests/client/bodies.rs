//! A response's body returns its connection or closes it, and a request's body is sent or dropped with its connection.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes, buf::Chain};
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Collected, Empty, Full, combinators::BoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tower_outbound_proxy::{Client, ClientError};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Origin, ScriptedProxy, Step, pattern, within};

use super::{
    TestClient, builder, client, eventually, fetch, get, now, opened, read, request, send, so_far, through, unproxied,
};

fn plain() -> TestClient {
    client(unproxied(), &Ca::new())
}

#[tokio::test]
async fn a_body_dropped_early_closes_its_connection() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().start().await;
    for (client, url, wire) in [
        (plain(), origin.url("/bytes/9000000"), &*origin),
        (
            client(through(proxy.url()), &Ca::new()),
            format!("http://a.test:{}/bytes/9000000", origin.port()),
            &*proxy,
        ),
        (
            client(through(proxy.url()).with_always_tunnel(true), &Ca::new()),
            format!("http://a.test:{}/bytes/9000000", origin.port()),
            &*proxy,
        ),
    ] {
        let so_many = opened(wire);
        // Not a byte of it, or some.
        for some in [false, true] {
            let mut response = get(&client, &url).await;
            if some {
                within(response.body_mut().frame()).await.unwrap().unwrap();
            }
            drop(response);
            eventually(|| client.stats().keys.is_empty()).await;
            within(wire.idle()).await;
        }
        fetch(&client, &url.replace("9000000", "9")).await;
        assert_eq!((opened(wire) - so_many, now(&client)), (3, [1, 1, 0, 0]));
    }
}

#[tokio::test]
async fn a_response_given_up_closes_its_connection() {
    let origin = Origin::http().await;
    let client = plain();
    for n in 1..=5 {
        let url = origin.url("/slow/60000");
        let short = Duration::from_millis(10);
        assert!(tokio::time::timeout(short, send(&client, request(&url))).await.is_err());
        eventually(|| client.stats().keys.is_empty()).await;
        assert_eq!(opened(&origin), n);
    }
}

/// Read to the end is read to the last byte: nobody has to ask for what comes after it.
#[tokio::test]
async fn the_last_byte_gives_the_connection_back() {
    let origin = Origin::http().await;
    let client = plain();
    let mut response = get(&client, &origin.url("/bytes/100")).await;
    assert_eq!(response.body().size_hint().exact(), Some(100));
    let mut held = Vec::new();
    while held.iter().map(Bytes::len).sum::<usize>() < 100 {
        held.push(
            within(response.body_mut().frame())
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap(),
        );
    }
    assert_eq!(held.concat(), pattern(100));
    assert!(response.body().is_end_stream());
    eventually(|| now(&client) == [1, 1, 0, 0]).await;
    fetch(&client, &origin.url("/")).await;
    assert!(within(response.body_mut().frame()).await.is_none());
    assert_eq!((opened(&origin), so_far(&client)), (1, (1, 1)));
}

/// In turn, each at once after the other.
#[tokio::test]
async fn responses_without_a_body_give_the_connection_back() {
    let origin = Origin::http().await;
    let client = plain();
    for _ in 0..10 {
        for (method, path, status) in [
            (Method::HEAD, "/bytes/1000", 200),
            (Method::GET, "/status/204", 204),
            (Method::GET, "/status/304", 304),
            (Method::POST, "/echo", 200),
        ] {
            let mut request = request(&origin.url(path));
            *request.method_mut() = method;
            let response = send(&client, request).await.unwrap();
            assert_eq!(response.status(), status);
            assert!(response.body().is_end_stream());
            // Kept, and unread: there is nothing to read.
            eventually(|| now(&client) == [1, 1, 0, 0]).await;
            drop(response);
        }
    }
    assert_eq!((opened(&origin), so_far(&client)), (1, (1, 39)));
}

/// `Connection: close`, and HTTP/1.0 without a length.
#[tokio::test]
async fn a_connection_that_is_to_be_closed_is_not_kept() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\n\r\nok",
        "HTTP/1.1 200 OK\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    ] {
        let server = ScriptedProxy::start([Step::send(answer), Step::Close]).await;
        let client = plain();
        for n in 1..=3 {
            assert!(answer.ends_with(std::str::from_utf8(&fetch(&client, &server.url()).await).unwrap()));
            eventually(|| client.stats().keys.is_empty()).await;
            assert_eq!(opened(&server), n, "{answer}");
        }
    }
    // The caller's wish counts as well.
    let (origin, client) = (Origin::http().await, plain());
    for n in 1..=3 {
        let mut request = request(&origin.url("/"));
        request
            .headers_mut()
            .insert(header::CONNECTION, "close".parse().unwrap());
        read(send(&client, request).await.unwrap()).await;
        eventually(|| client.stats().keys.is_empty()).await;
        assert_eq!(opened(&origin), n);
    }
}

/// Half-closed or reset within the body: an error of the body, and no connection to keep.
#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    for end in [Step::Close, Step::Reset] {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ] {
            let wait = Step::Wait(Duration::from_millis(20));
            let server = ScriptedProxy::start([Step::send(head), wait, end.clone()]).await;
            let client = plain();
            let mut response = get(&client, &server.url()).await;
            let first = within(response.body_mut().frame()).await.unwrap().unwrap();
            assert_eq!(first.into_data().unwrap(), "half");
            within(response.body_mut().frame()).await.unwrap().unwrap_err();
            // Even while the broken body is still there.
            eventually(|| client.stats().keys.is_empty()).await;
            drop(response);
            assert_eq!(so_far(&client), (1, 0));
        }
    }
}

/// A server that closes its half after a whole response, which hyper's origin does at a restart.
#[tokio::test]
async fn a_whole_response_is_read_whatever_comes_after() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfull";
    for steps in [
        vec![Step::send(answer), Step::Close],
        vec![Step::send(format!("{answer}garbage")), Step::Close],
        vec![Step::send(format!("{answer}{answer}")), Step::Hang],
    ] {
        let server = ScriptedProxy::start(steps).await;
        let client = plain();
        for n in 1..=3 {
            assert_eq!(fetch(&client, &server.url()).await, "full");
            // What was not asked for is never the answer to the next.
            eventually(|| client.stats().keys.is_empty()).await;
            assert_eq!(opened(&server), n);
        }
    }
}

type Frames = mpsc::Receiver<Result<Frame<Bytes>, io::Error>>;

/// A body whose frames come from a channel.
struct Channel(Frames);

impl Body for Channel {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx)
    }
}

fn data(text: &'static str) -> Result<Frame<Bytes>, io::Error> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// The connection is given back when both are done, the response and the request.
#[tokio::test]
async fn a_response_may_come_before_the_requests_end() {
    let answer = Step::send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
    let server = ScriptedProxy::start([answer.clone(), Step::ReadHead, Step::ReadHead, answer]).await;
    let client: Client<Channel> = builder(unproxied(), &Ca::new()).build().unwrap();
    let (body, frames) = mpsc::channel(1);
    let post = |frames| Request::post(server.url()).body(Channel(frames)).unwrap();
    body.send(data("begin")).await.unwrap();
    let response = within(client.clone().oneshot(post(frames))).await.unwrap();
    assert_eq!(read(response).await, "early");
    assert_eq!((client.stats().open(), client.stats().idle()), (1, 0));
    body.send(data("end")).await.unwrap();
    drop(body);
    eventually(|| client.stats().idle() == 1).await;
    let (_, frames) = mpsc::channel(1);
    assert_eq!(
        read(within(client.clone().oneshot(post(frames))).await.unwrap()).await,
        "early"
    );
    assert_eq!((opened(&server), client.stats().reused), (1, 1));
    let heard = server.connection(0).received_text();
    assert!(heard.contains("5\r\nbegin\r\n3\r\nend\r\n0\r\n\r\nPOST "), "{heard}");
}

/// A server that speaks HTTP/2 and answers at once. It reads each request's body meanwhile.
struct Early {
    port: u16,
    /// True if a request ended with its head; and its body, unless that broke off.
    heard: mpsc::UnboundedReceiver<(bool, Option<Bytes>)>,
}

impl Early {
    async fn start(ca: &Ca) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = TlsAcceptor::from(ca.issue(&["a.test"]).server_config(&["h2"]));
        let (hear, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (io, _) = listener.accept().await.unwrap();
            let service = service_fn(move |request: Request<Incoming>| {
                let (hear, body) = (hear.clone(), request.into_body());
                tokio::spawn(async move {
                    let is_end = body.is_end_stream();
                    let body = body.collect().await.ok().map(Collected::to_bytes);
                    let _ = hear.send((is_end, body));
                });
                std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(
                    b"early",
                )))))
            });
            let io = TokioIo::new(tls.accept(io).await.unwrap());
            let _ = http2::Builder::new(TokioExecutor::new())
                .serve_connection(io, service)
                .await;
        });
        Self { port, heard }
    }

    async fn heard(&mut self) -> (bool, Option<Bytes>) {
        within(self.heard.recv()).await.unwrap()
    }
}

/// Over HTTP/2, the rest of a request arrives if it comes soon after the response, and ends if it does not.
#[tokio::test]
async fn an_early_response_ends_its_request_soon() {
    let ca = Ca::new();
    let mut server = Early::start(&ca).await;
    let client: Client<Channel> = builder(unproxied(), &ca).build().unwrap();
    let url = format!("https://a.test:{}/", server.port);
    let post = |frames| {
        let request = Request::post(&url).body(Channel(frames)).unwrap();
        within(client.clone().oneshot(request))
    };
    for (is_soon, expected) in [(true, Some(Bytes::from_static(b"beginend"))), (false, None)] {
        let (body, frames) = mpsc::channel(1);
        body.send(data("begin")).await.unwrap();
        assert_eq!(read(post(frames).await.unwrap()).await, "early");
        if is_soon {
            body.send(data("end")).await.unwrap();
            drop(body);
            assert_eq!(server.heard().await, (false, expected));
        } else {
            assert_eq!(server.heard().await, (false, expected));
            within(body.closed()).await;
        }
        eventually(|| client.stats().idle() == 1).await;
    }
    assert_eq!(client.stats().opened, 1);
}

/// A request without a body ends with its head.
#[tokio::test]
async fn a_request_without_a_body_has_no_data() {
    let ca = Ca::new();
    let mut server = Early::start(&ca).await;
    fetch(&client(unproxied(), &ca), &format!("https://a.test:{}/", server.port)).await;
    assert_eq!(server.heard().await, (true, Some(Bytes::new())));
}

/// The rest of such a request keeps its own connection, but not the pool of a client that is gone.
#[tokio::test]
async fn an_unfinished_request_does_not_keep_the_pool() {
    let answer = Step::send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
    let server = ScriptedProxy::start([answer, Step::Hang]).await;
    let origin = Origin::http().await;
    let client: Client<Channel> = builder(unproxied(), &Ca::new()).build().unwrap();
    let post = |url: &str, frames| {
        client
            .clone()
            .oneshot(Request::post(url).body(Channel(frames)).unwrap())
    };
    let (body, frames) = mpsc::channel(1);
    assert_eq!(read(within(post(&server.url(), frames)).await.unwrap()).await, "early");
    let (_, frames) = mpsc::channel(1);
    read(within(post(&origin.url("/"), frames)).await.unwrap()).await;
    assert_eq!((client.stats().open(), client.stats().idle()), (2, 1));
    drop(client);
    within(origin.idle()).await;
    assert_eq!(server.connections_open(), 1);
    drop(body);
    within(server.idle()).await;
}

/// Before anything of a response came, and after its head.
#[tokio::test]
async fn a_request_body_that_fails_is_an_error_that_may_have_been_acted_on() {
    let early = [
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nearly"),
        Step::ReadAll,
    ];
    for (server, answers) in [
        (ScriptedProxy::start(Step::ReadAll).await, false),
        (ScriptedProxy::start(early).await, true),
    ] {
        let client: Client<Channel> = builder(unproxied(), &Ca::new()).build().unwrap();
        let (body, frames) = mpsc::channel(1);
        let sending = client
            .clone()
            .oneshot(Request::post(server.url()).body(Channel(frames)).unwrap());
        let sending = tokio::spawn(within(sending));
        body.send(data("begin")).await.unwrap();
        match answers {
            false => {
                within(server.until(|server| server.raw().concat().ends_with(b"begin\r\n"))).await;
                body.send(Err(io::Error::other("the disk is gone"))).await.unwrap();
                let error: ClientError = sending.await.unwrap().unwrap_err();
                assert!(!error.is_before_request() && !error.is_connect(), "{error:?}");
                let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
                let texts: Vec<_> = chain.map(ToString::to_string).collect();
                assert_eq!(texts.last().unwrap(), "the disk is gone", "{texts:?}");
            }
            true => {
                let response = sending.await.unwrap().unwrap();
                body.send(Err(io::Error::other("the disk is gone"))).await.unwrap();
                within(response.into_body().collect()).await.unwrap_err();
            }
        }
        eventually(|| client.stats().keys.is_empty()).await;
        assert!(
            !server.connection(0).received().ends_with(b"0\r\n\r\n"),
            "it did not end as if it were whole"
        );
    }
}

/// Any body, on every route and protocol: sized, streamed, empty, boxed, with trailers.
#[tokio::test]
async fn bodies_of_any_type_arrive_whole() {
    let ca = Ca::new();
    let plain = Origin::http().await;
    let http1 = Origin::https(&ca, &["a.test"], &["http/1.1"]).await;
    let http2 = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let proxy = ForwardProxy::builder().start().await;
    for config in [
        unproxied(),
        through(proxy.url()),
        through(proxy.url()).with_always_tunnel(true),
    ] {
        let client: Client<BoxBody<Bytes, io::Error>> = builder(config, &ca).build().unwrap();
        for origin in [&plain, &http1, &http2] {
            let whole = pattern(1_000_000);
            let pieces: Vec<_> = whole
                .chunks(70_001)
                .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
                .collect();
            let (sender, frames) = mpsc::channel(32);
            for piece in pieces {
                sender.try_send(piece).unwrap();
            }
            drop(sender);
            for (body, expected) in [
                (
                    Full::new(whole.clone()).map_err(|never| match never {}).boxed(),
                    whole.clone(),
                ),
                (Channel(frames).boxed(), whole.clone()),
                (Empty::new().map_err(|never| match never {}).boxed(), Bytes::new()),
            ] {
                let url = format!("{}://a.test:{}/echo", origin.scheme(), origin.port());
                let request = Request::post(url).body(body).unwrap();
                let response = within(client.clone().oneshot(request)).await.unwrap();
                assert!(read(response).await == expected, "{} bytes", expected.len());
            }
        }
        assert_eq!(client.stats().open(), 3);
    }
}

/// `Data` that is not `Bytes` and not contiguous.
struct Chained(Vec<&'static str>);

impl Body for Chained {
    type Data = Chain<Bytes, Bytes>;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        Poll::Ready(self.0.pop().map(|text| Ok(Frame::data(bytes(text).chain(bytes("!"))))))
    }
}

#[tokio::test]
async fn the_data_of_a_body_may_be_of_any_type() {
    let origin = Origin::http().await;
    let client = builder(unproxied(), &Ca::new()).build().unwrap();
    let request = Request::post(origin.url("/echo"))
        .body(Chained(vec!["two", "one"]))
        .unwrap();
    assert_eq!(read(within(client.oneshot(request)).await.unwrap()).await, "one!two!");
}
