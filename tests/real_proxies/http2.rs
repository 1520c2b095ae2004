//! The cases for servers that take CONNECT over HTTP/2: tunnels and requests that share a connection. And those for
//! servers that choose HTTP/2 and then do not serve all of it.

use std::time::{Duration, Instant};

use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
    time::timeout,
};
use tower::{Layer, ServiceExt};
use tower_outbound_proxy::{
    ConnectError, ProxyLayer,
    config::ProxyConfigBuilder,
    connector::{ConnectResponse, Http2Settings, ProxyConnection, ProxyVersion},
    error::ConnectErrorKind,
};
use tower_outbound_proxy_lab::{
    Log, Origin, Resolver, connector_with, pattern,
    servers::{Http2, Setup},
    within,
};
use tracing::Level;

use super::{
    lab::{Client, DENIED, Lab, PASSWORD, PROXY, Sharing, USER},
    server::Server,
};
use crate::common::connect;

pub use super::restart::nothing_is_lost_or_sent_twice_over_a_restart;

/// Ends a conversation with [`echoing`].
const END: u32 = u32::MAX;

/// Starts a server that returns each number, and closes after [`END`].
async fn echoing() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(number) = client.read_u32().await {
                    if client.write_u32(number).await.is_err() || number == END {
                        break;
                    }
                }
            });
        }
    });
    port
}

/// Opens tunnels that are all open at the same time, so many of them at a time, and returns the number of connections to
/// the proxy and the time that it took.
async fn open_at_once(lab: &Lab, count: u32, at_a_time: u32, warm: usize) -> (usize, Duration) {
    let port = echoing().await;
    let resolver = Resolver::new();
    let layer = ProxyLayer::new(lab.config().build().unwrap());
    let mut connector = layer.layer(connector_with(resolver.clone()));
    let host = lab.server.names[0];
    for _ in 0..warm {
        let mut tunnel = within(connector.tunnel(host, port)).await.unwrap();
        tunnel.write_u32(END).await.unwrap();
        assert_eq!(within(tunnel.read_u32()).await.unwrap(), END);
        tunnel.shutdown().await.unwrap();
        assert_eq!(within(tunnel.read(&mut [0])).await.unwrap(), 0);
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    let (before, started) = (resolver.names().len(), Instant::now());
    let mut open = Vec::new();
    for first in (0..count).step_by(at_a_time as usize) {
        let mut opening = JoinSet::new();
        for number in first..(first + at_a_time).min(count) {
            let mut connector = connector.clone();
            opening.spawn(async move {
                let mut tunnel = connector.tunnel(host, port).await.unwrap();
                tunnel.write_u32(number).await.unwrap();
                assert_eq!(tunnel.read_u32().await.unwrap(), number);
                (number, tunnel)
            });
        }
        open.extend(within(opening.join_all()).await);
    }
    let (took, connections) = (started.elapsed(), resolver.names().len());
    let fresh = open.iter().filter(|(_, tunnel)| {
        let response = tunnel.connect_response().unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        !response.is_connection_reused()
    });
    // A connection that was opened beside a late answer may come too late itself.
    assert!(fresh.count() <= connections - before);
    // They are still open, each for itself.
    for (number, tunnel) in &mut open {
        tunnel.write_u32(!*number).await.unwrap();
    }
    for (number, mut tunnel) in open {
        assert_eq!(within(tunnel.read_u32()).await.unwrap(), !number);
    }
    (connections, took)
}

pub async fn two_hundred_tunnels_at_once(server: Server) {
    let mut setup = Setup::new(USER, PASSWORD);
    setup.streams = Some(250);
    let warm = server.tunnels_before_more_at_a_time();
    best_of_three(1, async || {
        let lab = Lab::with_setup(server, setup.clone()).await;
        open_at_once(&lab, 200, 25, warm).await
    })
    .await;
}

/// A server that serves few tunnels of a connection at a time leaves the others without an answer.
pub async fn thirty_tunnels_within_the_servers_own_limits(server: Server) {
    let needed = server.tunnels_at_a_time().map_or(1, |most| 30_usize.div_ceil(most));
    best_of_three(needed, async || {
        let lab = Lab::start(server).await;
        open_at_once(&lab, 30, 30, 0).await
    })
    .await;
}

/// Opens tunnels until they need no more connections than the server's limit requires, and three more for each second.
///
/// Where other tests keep the machine busy, answers take a second, and the client takes the tunnels that are open by then
/// for the server's limit.
async fn best_of_three(needed: usize, open: impl AsyncFn() -> (usize, Duration)) {
    let mut runs = Vec::new();
    for _ in 0..3 {
        let (opened, took) = open().await;
        assert!(opened >= needed, "{opened}, of {needed}");
        if opened <= needed + 3 * took.as_secs() as usize {
            return;
        }
        runs.push((opened, took));
    }
    panic!("{needed} are enough: {runs:?}");
}

/// Requests to several origins and tunnels to others go over one connection.
pub async fn requests_and_tunnels_share_a_connection(server: Server) {
    let lab = Lab::start(server).await;
    let [one, other] = server.names;
    let plain = [lab.http_named(one).await, lab.http_named(other).await];
    let secure = [lab.https_named(one).await, lab.https_named(other).await];
    let sharing = Sharing::new(&lab);

    for round in 0..3 {
        for (index, origin) in plain.iter().chain(&secure).enumerate() {
            let response = sharing.get(&origin.url("/")).await;
            let greeting = format!("hello from origin, asked for {}\n", origin.authority());
            assert_eq!(response.body(), greeting.as_bytes());
            let is_first = index == 0 && round == 0;
            let used = response.extensions();
            match used.get::<ConnectResponse>() {
                Some(tunnel) => {
                    assert_eq!(
                        (tunnel.version(), tunnel.is_connection_reused()),
                        (Version::HTTP_2, true)
                    );
                }
                None => {
                    let connection: &ProxyConnection = used.get().unwrap();
                    assert_eq!(
                        (connection.version(), connection.is_reused()),
                        (Version::HTTP_2, !is_first)
                    );
                }
            }
        }
    }
    let body = pattern(5 << 20);
    let mut posting = JoinSet::new();
    for origin in &plain {
        let request = Request::post(origin.url("/echo"))
            .body(Full::new(body.clone()))
            .unwrap();
        let client = sharing.client.clone();
        posting.spawn(async move {
            client
                .oneshot(request)
                .await
                .unwrap()
                .into_body()
                .collect()
                .await
                .unwrap()
        });
    }
    for echo in within(posting.join_all()).await {
        assert!(echo.to_bytes() == body, "the body has changed on its way");
    }
    assert_eq!(sharing.dialled(), 1);
    for origin in plain.iter().chain(&secure) {
        for received in origin.raw() {
            let received = String::from_utf8_lossy(&received).to_ascii_lowercase();
            assert!(!received.contains("proxy-authorization"), "{received}");
        }
    }
}

/// Tunnels that stay open do not stop requests to other targets, whatever the server's limit is.
pub async fn open_tunnels_do_not_stop_requests(server: Server) {
    let lab = Lab::start(server).await;
    let (plain, secure) = (lab.http().await, lab.https().await);
    let sharing = Sharing::new(&lab);
    let mut held = JoinSet::new();
    for _ in 0..server.tunnels_at_a_time().unwrap_or(20) {
        let request = Request::get(secure.url("/slow/6000")).body(Full::default()).unwrap();
        let client = sharing.client.clone();
        held.spawn(async move { client.oneshot(request).await.unwrap() });
    }
    within(secure.until(|origin| origin.requests().len() == held.len())).await;

    let url = plain.url("/");
    let response = tokio::select! {
        response = sharing.get(&url) => response,
        _ = held.join_next() => panic!("it has waited for the tunnels"),
    };

    assert_eq!(response.status(), StatusCode::OK);
}

/// Bytes that are sent before the answer to CONNECT arrive once, and the answer decides.
pub async fn first_bytes_before_the_answer(server: Server) {
    // The header of a handshake record, and its content.
    let hello = [&[22, 3, 1, 2, 0][..], &[7; 512]].concat();
    let lab = Lab::start(server).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let open = async |config: ProxyConfigBuilder, host: &str| {
        let layer = ProxyLayer::new(config.build().unwrap());
        let uri = format!("https://{host}:{port}/");
        within(connect(&layer, connector_with(Resolver::new()), &uri))
            .await
            .unwrap()
    };
    for _ in 0..2 {
        let mut tunnel = open(lab.config(), server.names[0]).await;
        assert!(tunnel.connect_response().is_none(), "the connector has waited");
        within(tunnel.write_all(&hello)).await.unwrap();
        let (mut target, _) = within(listener.accept()).await.unwrap();
        let mut received = vec![0; hello.len()];
        within(target.read_exact(&mut received)).await.unwrap();
        assert_eq!(received, hello);
        target.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        within(tunnel.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"answer");
        within(tunnel.write_all(b"more")).await.unwrap();
        let mut more = [0; 4];
        within(target.read_exact(&mut more)).await.unwrap();
        assert_eq!(&more, b"more");
        let response = tunnel.connect_response().unwrap();
        assert_eq!(
            (response.version(), response.status()),
            (Version::HTTP_2, StatusCode::OK)
        );
    }
    let refused = [
        (
            lab.config().all(lab.bare_url(PROXY)),
            server.names[0],
            server.no_password,
        ),
        (
            lab.config().all(lab.url_with("wrong")),
            server.names[0],
            server.wrong_password,
        ),
        (lab.config(), DENIED, StatusCode::FORBIDDEN),
    ];
    for (config, host, status) in refused {
        let mut tunnel = open(config, host).await;
        within(tunnel.write_all(&hello)).await.unwrap();
        let error = within(tunnel.read(&mut [0])).await.unwrap_err();
        let error = ConnectError::find(&error).unwrap();
        assert_eq!(error.response().unwrap().status(), status, "{error}");
        assert_eq!(
            error.kind() == ConnectErrorKind::AuthenticationRequired,
            status != StatusCode::FORBIDDEN,
            "{error}"
        );
    }
    let accepted = timeout(Duration::from_millis(200), listener.accept()).await;
    assert!(accepted.is_err(), "a refused CONNECT reached the target");
}

/// A refusal is the same error, whether bytes were sent before it or not.
pub async fn refusals_are_the_same_without_first_bytes(server: Server) {
    let lab = Lab::start(server).await;
    let origin = lab.https().await;
    for (config, url, status) in [
        (
            lab.config().all(lab.url_with("wrong")),
            origin.url("/"),
            server.wrong_password,
        ),
        (
            lab.config().all(lab.bare_url(PROXY)),
            origin.url("/"),
            server.no_password,
        ),
        (lab.config(), format!("https://{DENIED}/"), StatusCode::FORBIDDEN),
    ] {
        let errors = [true, false].map(async |is_optimistic| {
            let settings = Http2Settings::default().optimistic(is_optimistic);
            let client = Client::with_http2(config.clone(), &lab.target_root(), settings);
            let error = client.try_get(&url).await.unwrap_err();
            let error = ConnectError::find(&*error).unwrap();
            assert_eq!(error.response().unwrap().status(), status);
            assert_eq!(error.response().unwrap().version(), Version::HTTP_2);
            (
                error.to_string(),
                error.kind(),
                error.challenges().len(),
                error.response().unwrap().body().is_empty(),
            )
        });
        let [early, late] = errors;
        assert_eq!(early.await, late.await);
    }
    assert_eq!(origin.connections_opened(), 0);
}

/// An end that one side says arrives at the other one, and the other direction goes on, unless the server keeps it.
pub async fn each_direction_ends_alone(server: Server) {
    let lab = Lab::start(server).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let layer = ProxyLayer::new(lab.config().build().unwrap());
    let mut connector = layer.layer(connector_with(Resolver::new()));
    for is_by_client in [true, false] {
        let mut near = within(connector.tunnel(server.names[0], port)).await.unwrap();
        let (mut far, _) = within(listener.accept()).await.unwrap();
        let (first, second): (&mut dyn Stream, &mut dyn Stream) = match is_by_client {
            true => (&mut near, &mut far),
            false => (&mut far, &mut near),
        };
        first.write_all(b"last words").await.unwrap();
        first.shutdown().await.unwrap();
        let mut received = Vec::new();
        match server.passes_end_on(is_by_client) {
            true => assert_eq!(within(second.read_to_end(&mut received)).await.unwrap(), 10),
            false => {
                let read = timeout(Duration::from_millis(300), second.read_to_end(&mut received)).await;
                assert!(read.is_err(), "the server passes it on: {received:?}");
            }
        }
        assert_eq!(received, b"last words");
        // Envoy and nghttpx end a tunnel whose target has said all.
        if is_by_client {
            second.write_all(b"answer").await.unwrap();
        }
        let _ = second.shutdown().await;
        let mut received = Vec::new();
        let read = within(first.read_to_end(&mut received)).await;
        if is_by_client {
            read.unwrap();
            assert_eq!(received, b"answer");
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A server that chooses HTTP/2 in TLS and then does not tunnel over it is asked in HTTP/1.1. That is remembered, and
/// logged once.
pub async fn tunnels_over_http1_where_http2_has_none(server: Server) {
    let log = Log::of_thread(Level::DEBUG);
    let lab = Lab::start(server).await;
    let [one, other] = server.names;
    let origins = [lab.https_named(one).await, lab.https_named(other).await];
    let sharing = Sharing::new(&lab);

    for origin in &origins {
        let before = sharing.dialled();
        let response = sharing.get(&origin.url("/")).await;
        let connect: &ConnectResponse = response.extensions().get().unwrap();
        assert_eq!(
            (connect.version(), connect.is_connection_reused()),
            (server.connect_version, false)
        );
        match before {
            // A server that is slow is asked once more in between.
            0 => assert!((2..=3).contains(&sharing.dialled()), "{}", sharing.dialled()),
            before => assert_eq!(sharing.dialled(), before + 1),
        }
        let text = log.text();
        let warned: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
        assert_eq!(warned.len(), 1, "{text}");
        assert!(
            warned[0].contains("the proxy takes no CONNECT over HTTP/2, which it chose: using HTTP/1.1"),
            "{text}"
        );
        assert!(warned[0].contains("user:***@proxy.test"), "{text}");
    }
}

/// Apache httpd takes CONNECT in HTTP/2 without further ado. It forwards requests if `H2ProxyRequests` is on, and takes
/// them for its own site's if not. No answer tells one from the other, so such a server is to be asked in HTTP/1.1.
pub async fn forwarding_needs_the_servers_consent(server: Server) {
    let mut setup = Setup::new(USER, PASSWORD);
    setup.http2 = Http2::WithoutForwarding;
    let lab = Lab::with_setup(server, setup).await;
    let (plain, secure) = (lab.http().await, lab.https().await);
    let sharing = Sharing::new(&lab);
    let response = sharing.get(&secure.url("/")).await;
    let connect: &ConnectResponse = response.extensions().get().unwrap();
    assert_eq!(
        (connect.version(), response.status()),
        (Version::HTTP_2, StatusCode::OK)
    );

    let response = sharing.get(&plain.url("/")).await;
    let connection: &ProxyConnection = response.extensions().get().unwrap();
    assert_eq!(
        (connection.version(), response.status()),
        (Version::HTTP_2, StatusCode::NOT_FOUND)
    );
    assert_eq!(plain.connections_opened(), 0);

    let sharing = Sharing::in_version(&lab, ProxyVersion::Http1);
    assert_eq!(sharing.get(&plain.url("/")).await.status(), StatusCode::OK);
    assert_eq!(plain.requests().len(), 1);
}

/// Without ALPN there is HTTP/1.1, and nothing to warn of.
pub async fn http1_without_alpn(server: Server) {
    let log = Log::of_thread(Level::DEBUG);
    let lab = Lab::start(server).await;
    let origins: [Origin; 2] = [lab.https().await, lab.http().await];
    let sharing = Sharing::new(&lab);

    for origin in &origins {
        let response = sharing.get(&origin.url("/")).await;
        if let Some(connect) = response.extensions().get::<ConnectResponse>() {
            assert_eq!(
                (connect.version(), connect.is_connection_reused()),
                (Version::HTTP_11, false)
            );
        }
    }
    assert_eq!(sharing.dialled(), 2);
    assert!(!log.text().contains("WARN"), "{}", log.text());
}
