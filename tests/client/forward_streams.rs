//! A forwarded request is a stream of a connection that it shares: bodies, their ends, and the connection's life.
//!
//! The proxy answers by itself here, frame by frame, over the `h2` crate.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::{BoxError, Service, ServiceExt};
use tower_outbound_proxy::{
    Client, ProxyConfig, ProxyLayer,
    connector::{Http2Settings, ProxyVersion},
};
use tower_outbound_proxy_lab::{Behaviour, Ca, ForwardProxy, Http2Proxy, Origin, Resolver, connector, within};

use super::{TestClient, eventually, fetch, get, read, request, send, so_far, through, trusting};

type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A proxy that speaks HTTP/2 in clear.
struct Proxy {
    url: String,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Proxy {
    /// Starts a proxy that answers each request by this function.
    async fn start<A>(answer: fn(Request<RecvStream>, SendResponse<Bytes>) -> A) -> Self
    where
        A: Future<Output = ()> + Send + 'static,
    {
        Self::with(Arc::new(move |request, respond| Box::pin(answer(request, respond)))).await
    }

    async fn with(answer: Arc<dyn Fn(Request<RecvStream>, SendResponse<Bytes>) -> Answering + Send + Sync>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            accepted: Arc::default(),
            open: Arc::default(),
        };
        let (accepted, open) = (proxy.accepted.clone(), proxy.open.clone());
        tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                open.fetch_add(1, Ordering::SeqCst);
                let (answer, open) = (answer.clone(), open.clone());
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(io).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(request, respond));
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        proxy
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    fn layer(&self) -> ProxyLayer {
        ProxyLayer::new(through(&*self.url)).with_proxy_version(ProxyVersion::Http2)
    }

    fn client<B>(&self) -> Client<B> {
        Client::builder()
            .layer(self.layer())
            .connector(connector())
            .build()
            .unwrap()
    }
}

fn ok() -> Response<()> {
    Response::new(())
}

async fn serve(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    drop(request);
    let mut body = respond.send_response(ok(), false).unwrap();
    body.send_data("served".into(), true).unwrap();
}

/// Returns the length of the rest of an upload; an error if it is not whole.
async fn upload(body: &mut RecvStream) -> Result<usize, h2::Error> {
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        length += data.len();
        let _ = body.flow_control().release_capacity(data.len());
    }
    Ok(length)
}

/// A body whose frames come from elsewhere.
struct Frames(mpsc::UnboundedReceiver<Result<Frame<Bytes>, BoxError>>);

type Sender = mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>;

impl Frames {
    fn new() -> (Sender, Self) {
        let (sender, frames) = mpsc::unbounded_channel();
        (sender, Self(frames))
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}

fn data(bytes: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(bytes.into()))
}

fn post(body: Frames) -> Request<Frames> {
    Request::post("http://a.test/").body(body).unwrap()
}

/// The end of an upload that was answered early, and the time of it.
type Ended = (Result<usize, Option<Reason>>, Instant);

/// Returns a proxy that answers before it has read the upload, and what comes of that.
async fn early(body: Option<&'static str>) -> (Proxy, mpsc::UnboundedReceiver<Ended>) {
    let (ended, ends) = mpsc::unbounded_channel();
    let proxy = Proxy::with(Arc::new(move |request: Request<RecvStream>, mut respond| {
        let ended = ended.clone();
        Box::pin(async move {
            let mut stream = respond.send_response(ok(), body.is_none()).unwrap();
            if let Some(body) = body {
                stream.send_data(body.into(), true).unwrap();
            }
            let result = upload(&mut request.into_body()).await;
            let _ = ended.send((result.map_err(|error| error.reason()), Instant::now()));
        })
    }));
    (proxy.await, ends)
}

/// The rest of the request has 50 ms, even if the response has no body to read.
#[tokio::test]
async fn an_early_response_leaves_time_for_the_rest_of_the_request() {
    for body in [Some("early"), None] {
        let (proxy, mut ends) = early(body).await;
        let client: Client<Frames> = proxy.client();
        let (sender, frames) = Frames::new();
        sender.send(data("first")).unwrap();
        let response = within(client.clone().oneshot(post(frames))).await.unwrap();
        assert_eq!(read(response).await, body.unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(10)).await;
        sender.send(data("second")).unwrap();
        drop(sender);
        let (result, _) = within(ends.recv()).await.unwrap();
        assert_eq!(result, Ok(11), "with the body {body:?}");

        let (sender, frames) = Frames::new();
        sender.send(data("first")).unwrap();
        let response = within(client.clone().oneshot(post(frames))).await.unwrap();
        let answered = Instant::now();
        read(response).await;
        let (result, at) = within(ends.recv()).await.unwrap();
        assert_eq!(result, Err(Some(Reason::CANCEL)), "with the body {body:?}");
        let took = at - answered;
        let most = Duration::from_secs(1);
        assert!(
            Duration::from_millis(45) < took && took < most,
            "with the body {body:?}: {took:?}"
        );
        eventually(|| client.stats().idle() == 1).await;
        assert_eq!(proxy.accepted(), 1);
    }
}

/// A server that wants no more of the request says so after its response (RFC 9113 8.1).
#[tokio::test]
async fn a_response_is_whole_though_the_request_is_not_wanted() {
    let proxy = Proxy::start(|_, mut respond: SendResponse<Bytes>| async move {
        let mut stream = respond.send_response(ok(), false).unwrap();
        // With the rest of the request unread, h2 resets the stream after this, with `NO_ERROR`.
        stream.send_data(vec![b'x'; 1000].into(), true).unwrap();
    });
    let proxy = proxy.await;
    let client: Client<Frames> = proxy.client();
    for _ in 0..20 {
        let (sender, frames) = Frames::new();
        sender.send(data("first")).unwrap();
        let response = within(client.clone().oneshot(post(frames))).await.unwrap();
        assert_eq!(read(response).await.len(), 1000);
        drop(sender);
    }
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let proxy = Proxy::start(
        |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
            let mut body = request.into_body();
            upload(&mut body).await.unwrap();
            let trailers = body.trailers().await.unwrap().unwrap_or_default();
            let mut stream = respond.send_response(ok(), false).unwrap();
            stream.send_data("body".into(), false).unwrap();
            stream.send_trailers(trailers).unwrap();
        },
    );
    let client: Client<Frames> = proxy.await.client();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "17".parse().unwrap());
    for first in [Some(data("first")), None] {
        let (sender, frames) = Frames::new();
        first.into_iter().for_each(|first| sender.send(first).unwrap());
        sender.send(Ok(Frame::trailers(trailers.clone()))).unwrap();
        let response = within(client.clone().oneshot(post(frames))).await.unwrap();
        let body = within(response.into_body().collect()).await.unwrap();
        assert_eq!(body.trailers(), Some(&trailers));
        assert_eq!(body.to_bytes(), "body");
    }
}

#[tokio::test]
async fn responses_without_a_body_have_none() {
    let proxy = Proxy::start(
        |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
            let status = request.uri().path()[1..].parse::<StatusCode>().unwrap();
            let mut response = ok();
            *response.status_mut() = status;
            if status != StatusCode::NO_CONTENT {
                response.headers_mut().insert(header::CONTENT_LENGTH, 1000.into());
            }
            respond.send_response(response, true).unwrap();
        },
    );
    let proxy = proxy.await;
    let client: TestClient = proxy.client();
    for (method, status) in [(Method::HEAD, 200), (Method::GET, 204), (Method::GET, 304)] {
        let mut request = request(&format!("http://a.test/{status}"));
        *request.method_mut() = method.clone();
        let response = send(&client, request).await.unwrap();
        assert!(response.body().is_end_stream(), "{method} {status}");
        assert_eq!(response.body().size_hint().exact(), Some(0));
        assert_eq!(read(response).await, "");
    }
    eventually(|| client.stats().idle() == 1).await;
    assert_eq!(proxy.accepted(), 1);
}

/// The same as for a response over HTTP/1.1 that ends before its `Content-Length`.
#[tokio::test]
async fn a_response_that_is_too_short_is_an_error() {
    let proxy = Proxy::start(|_, mut respond: SendResponse<Bytes>| async move {
        let mut response = ok();
        response.headers_mut().insert(header::CONTENT_LENGTH, 10.into());
        let mut stream = respond.send_response(response, false).unwrap();
        let _ = stream.send_data("short".into(), true);
    });
    let client: TestClient = proxy.await.client();
    let response = get(&client, "http://a.test/").await;
    within(response.into_body().collect()).await.unwrap_err();
}

#[tokio::test]
async fn interim_responses_are_not_the_response() {
    let proxy = Proxy::start(
        |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
            for status in [100, 103] {
                let interim = Response::builder().status(status).body(()).unwrap();
                respond.send_informational(interim).unwrap();
            }
            let length = upload(&mut request.into_body()).await.unwrap();
            let mut stream = respond.send_response(ok(), false).unwrap();
            stream.send_data(length.to_string().into(), true).unwrap();
        },
    );
    let client: TestClient = proxy.await.client();
    let mut request = Request::post("http://a.test/").body(Full::from("expected")).unwrap();
    request
        .headers_mut()
        .insert(header::EXPECT, "100-continue".parse().unwrap());
    let response = send(&client, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(read(response).await, "8");
}

/// Returns the head of a request as it was received: each of its fields in a line.
async fn tell(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut lines = vec![format!("{} {}", request.method(), request.uri())];
    let fields = request.headers().iter();
    lines.extend(fields.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
    lines[1..].sort();
    let mut body = respond.send_response(ok(), false).unwrap();
    body.send_data(lines.join("\n").into(), true).unwrap();
}

#[tokio::test]
async fn fields_of_a_connection_are_left_out() {
    let client: TestClient = Proxy::start(tell).await.client();
    let mut request = request("http://a.test/path?query");
    for (name, value) in [
        ("connection", "x-one, close"),
        ("connection", "X-Two"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("te", "trailers"),
        ("te", "deflate"),
        ("x-one", "1"),
        ("x-two", "2"),
        ("x-three", "3"),
    ] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let response = send(&client, request).await.unwrap();
    assert_eq!(read(response).await, "GET http://a.test/path?query\nx-three: 3");

    let mut request = super::request("http://a.test/");
    request.headers_mut().append("te", "trailers".parse().unwrap());
    let response = send(&client, request).await.unwrap();
    assert_eq!(read(response).await, "GET http://a.test/\nte: trailers");
}

/// As over HTTP/1.1, the proxy asks the host of the URI, whatever the caller's `Host` says (RFC 9112 3.2.2).
#[tokio::test]
async fn the_callers_host_does_not_lead_the_proxy_elsewhere() {
    let client: TestClient = Proxy::start(tell).await.client();
    let mut request = request("http://a.test:8080/");
    request
        .headers_mut()
        .insert(header::HOST, "elsewhere.test".parse().unwrap());
    let response = send(&client, request).await.unwrap();
    assert_eq!(read(response).await, "GET http://a.test:8080/");
}

#[tokio::test]
async fn the_length_of_a_request_is_told_if_it_is_known() {
    let proxy = Proxy::start(tell).await;
    let client: TestClient = proxy.client();
    for (method, body, told) in [
        (Method::GET, "", ""),
        (Method::POST, "", "\ncontent-length: 0"),
        (Method::PUT, "body", "\ncontent-length: 4"),
        (Method::GET, "body", "\ncontent-length: 4"),
    ] {
        let mut request = request("http://a.test/");
        *request.method_mut() = method.clone();
        *request.body_mut() = Full::from(body);
        let response = send(&client, request).await.unwrap();
        assert_eq!(read(response).await, format!("{method} http://a.test/{told}"));
    }
    let client: Client<Frames> = proxy.client();
    let (sender, frames) = Frames::new();
    drop(sender);
    let response = within(client.oneshot(post(frames))).await.unwrap();
    assert_eq!(read(response).await, "POST http://a.test/");
}

#[tokio::test]
async fn bytes_go_to_and_fro_on_one_stream() {
    let proxy = Proxy::start(
        |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
            let mut stream = respond.send_response(ok(), false).unwrap();
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
                stream.send_data(data, false).unwrap();
            }
            stream.send_data(Bytes::new(), true).unwrap();
        },
    );
    let client: Client<Frames> = proxy.await.client();
    let (sender, frames) = Frames::new();
    let response = within(client.oneshot(post(frames))).await.unwrap();
    let mut body = response.into_body();
    for word in ["one", "two", "three"] {
        sender.send(data(word)).unwrap();
        let frame = within(body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), word);
    }
    drop(sender);
    let rest = within(body.collect()).await.unwrap();
    assert_eq!(rest.to_bytes(), "");
}

/// A body that nobody reads fills its own window, and is given up with its stream.
#[tokio::test]
async fn a_slow_reader_stops_nobody_else() {
    let proxy = Proxy::start(
        |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
            let length = request.uri().path()[1..].parse::<usize>().unwrap();
            let mut stream = respond.send_response(ok(), false).unwrap();
            let _ = stream.send_data(vec![b'x'; length].into(), true);
            // Until all is sent or given up.
            let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
        },
    );
    let proxy = proxy.await;
    let client: TestClient = proxy.client();
    let unread: Vec<_> = [
        get(&client, "http://a.test/20000000").await,
        get(&client, "http://a.test/20000000").await,
    ]
    .into();
    assert_eq!(fetch(&client, "http://a.test/1000000").await.len(), 1_000_000);
    let [first, second] = <[_; 2]>::try_from(unread).unwrap();
    drop(first);
    assert_eq!(read(second).await.len(), 20_000_000);
    eventually(|| client.stats().idle() == 1).await;
    assert_eq!(proxy.accepted(), 1);
}

/// A connection whose last request ends after its settings were replaced is closed then, even if it was opened after
/// they were replaced.
#[tokio::test]
async fn no_connection_outlives_the_settings_that_name_its_proxy() {
    let (old, new) = (Proxy::start(serve).await, Proxy::start(serve).await);
    let client: TestClient = old.client();
    let early = client.send(request("http://a.test/"));
    client.config_handle().replace(through(&*new.url));
    assert_eq!(fetch(&client, "http://a.test/").await, "served");
    assert_eq!((old.accepted(), new.accepted()), (0, 1));
    // It has the settings of its start.
    let response = within(early).await.unwrap();
    assert_eq!((old.open(), new.open()), (1, 1));
    assert_eq!(read(response).await, "served");
    eventually(|| old.open() == 0).await;
    eventually(|| client.stats().open() == 1).await;
    assert_eq!(new.open(), 1);

    // Settings that were replaced before are no reason to keep a connection.
    let late = client.send(request("http://a.test/"));
    client.config_handle().replace(through(&*old.url));
    client.config_handle().replace(ProxyConfig::builder().build().unwrap());
    read(within(late).await.unwrap()).await;
    eventually(|| new.open() == 0).await;
}

#[tokio::test]
async fn counters_do_not_forget_connections_that_are_closed() {
    let proxy = Proxy::start(serve).await;
    let layer = proxy
        .layer()
        .with_http2(Http2Settings::default().idle_timeout(Duration::from_millis(20)));
    let client: TestClient = Client::builder().layer(layer).connector(connector()).build().unwrap();
    for _ in 0..3 {
        fetch(&client, "http://a.test/").await;
    }
    eventually(|| client.stats().open() == 0).await;
    assert_eq!(so_far(&client), (1, 2));
    fetch(&client, "http://a.test/").await;
    assert_eq!(so_far(&client), (2, 2));
}

/// The peer counts streams as they come on the wire, and may hear of a request that was given up later than of the next.
#[tokio::test]
async fn no_second_stream_comes_before_settings() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let settings = Http2Settings::default().max_connections(1);
    let layer = ProxyLayer::new(through(&*url))
        .with_proxy_version(ProxyVersion::Http2)
        .with_http2(settings);
    let client: TestClient = Client::builder().layer(layer).connector(connector()).build().unwrap();
    let first = client.clone().oneshot(request("http://a.test/first"));
    assert!(tokio::time::timeout(Duration::from_millis(50), first).await.is_err());
    let second = tokio::spawn(client.clone().oneshot(request("http://a.test/second")));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (io, _) = within(listener.accept()).await.unwrap();
    // What has come by now came without SETTINGS.
    let mut received = vec![0; 4096];
    io.readable().await.unwrap();
    let count = io.try_read(&mut received).unwrap();
    let (mut at, mut heads) = (24, 0);
    while let Some(frame) = received[..count].get(at..at + 9) {
        heads += usize::from(frame[3] == 1);
        at += 9 + u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
    }
    assert!(heads <= 1, "{heads} requests came before SETTINGS");
    second.abort();
}

/// A connection whose peer never says that it speaks HTTP/2 does not keep others from being opened for ever.
#[tokio::test]
async fn a_connection_without_settings_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let _mute = listener.accept().await.unwrap();
        while let Ok((io, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(io).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(serve(request, respond));
                }
            });
        }
    });
    let settings = Http2Settings::default()
        .max_connections(1)
        .idle_timeout(None)
        .keep_alive_timeout(Duration::from_millis(200));
    let layer = ProxyLayer::new(through(&*url))
        .with_proxy_version(ProxyVersion::Http2)
        .with_http2(settings);
    let client: TestClient = Client::builder().layer(layer).connector(connector()).build().unwrap();
    let first = client.clone().oneshot(request("http://a.test/"));
    assert!(tokio::time::timeout(Duration::from_millis(50), first).await.is_err());
    assert_eq!(fetch(&client, "http://a.test/").await, "served");
}

/// A connector whose first dial leads to one port, and whose others lead to another.
#[derive(Clone)]
struct Switching {
    inner: HttpConnector<Resolver>,
    dials: Arc<AtomicUsize>,
    ports: [u16; 2],
}

impl Service<Uri> for Switching {
    type Response = <HttpConnector<Resolver> as Service<Uri>>::Response;
    type Error = <HttpConnector<Resolver> as Service<Uri>>::Error;
    type Future = <HttpConnector<Resolver> as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Uri>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let port = self.ports[self.dials.fetch_add(1, Ordering::SeqCst).min(1)];
        let uri = format!("http://{}:{port}", uri.host().unwrap());
        self.inner.call(uri.parse().unwrap())
    }
}

/// A proxy that forwards over HTTP/2 may still not take CONNECT over it.
#[tokio::test]
async fn connect_is_made_over_http1_even_after_requests_were_forwarded() {
    let (ca, targets) = (Ca::new(), Ca::new());
    let origin = Origin::http().await;
    let target = Origin::https(&targets, &["b.test"], &[]).await;
    for reason in [Reason::PROTOCOL_ERROR, Reason::HTTP_1_1_REQUIRED] {
        let identity = ca.issue(&["proxy.test"]);
        let over_http2 = Http2Proxy::builder()
            .host("proxy.test")
            .map("a.test:80", origin.addr())
            .tls(identity.server_config(&["h2", "http/1.1"]))
            .behave(move |request, _| match request.target.ends_with(":443") {
                true => Behaviour::Reset(reason),
                false => Behaviour::Serve,
            });
        let over_http1 = ForwardProxy::builder()
            .host("proxy.test")
            .map("b.test:443", target.addr())
            .tls(identity.server_config(&["http/1.1"]));
        let (over_http2, over_http1) = (over_http2.start().await, over_http1.start().await);
        let connector = Switching {
            inner: connector(),
            dials: Arc::default(),
            ports: [over_http2.addr().port(), over_http1.addr().port()],
        };
        let config = ProxyConfig::builder()
            .all(&*over_http2.url_with(""))
            .proxy_tls(trusting(&ca));
        let client: TestClient = Client::builder()
            .config(config.build().unwrap())
            .target_tls(trusting(&targets))
            .connector(connector)
            .build()
            .unwrap();
        fetch(&client, "http://a.test/").await;
        fetch(&client, "https://b.test/").await;
        assert_eq!(
            (over_http2.connections_opened(), over_http1.connections_opened()),
            (1, 1)
        );
    }
}

/// The first connection hangs, and the request does not wait for it.
#[tokio::test]
async fn an_attempt_that_hangs_gets_company() {
    let ca = Ca::new();
    let origin = Origin::http().await;
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Http2Proxy::builder()
        .host("proxy.test")
        .map("a.test:80", origin.addr())
        .tls(ca.issue(&["proxy.test"]).server_config(&["h2"]));
    let proxy = proxy.start().await;
    let connector = Switching {
        inner: connector(),
        dials: Arc::default(),
        ports: [mute.local_addr().unwrap().port(), proxy.addr().port()],
    };
    let config = ProxyConfig::builder()
        .all(&*proxy.url_with(""))
        .proxy_tls(trusting(&ca));
    let client: TestClient = Client::builder()
        .config(config.build().unwrap())
        .connector(connector)
        .build()
        .unwrap();
    fetch(&client, "http://a.test/").await;
    assert_eq!(proxy.connections_opened(), 1);
}
