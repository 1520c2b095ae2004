//! The version that is spoken to a proxy, and the form of CONNECT in it.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use h2::Reason;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
    time::{Duration, sleep},
};
use tower::Layer;
use tower_outbound_proxy::{
    ConnectError,
    connector::{ConnectResponse, ProxyVersion},
    error::ConnectErrorKind,
};
use tower_outbound_proxy_lab::{
    Behaviour, Ca, ForwardProxy, Http2Proxy, Listening, Log, Origin, ScriptedProxy, connector as tcp, within,
};
use tracing::Level;

use super::{
    negotiating, over_tls,
    pipes::{HEADERS, Peer, pipes},
    through,
};
use crate::common::{client, connect, everything, get};

/// Returns the version of an answer through a proxy, and its status.
async fn version(
    layer: &tower_outbound_proxy::ProxyLayer,
    targets: &Ca,
) -> Result<Version, hyper_util::client::legacy::Error> {
    let client = client(layer.https_connector_with(tcp(), targets.client_config(&[])));
    let response = within(get(&client, "https://a.test/status/201")).await?;
    assert_eq!(response.status(), 201);
    Ok(response.extensions().get::<ConnectResponse>().unwrap().version())
}

#[tokio::test]
async fn the_version_is_the_one_that_the_settings_and_the_proxy_choose() {
    let (ca, targets) = (Ca::new(), Ca::new());
    let origin = Origin::https(&targets, &["a.test"], &[]).await;
    let identity = |alpn: &[&str]| ca.issue(&["proxy.test"]).server_config(alpn);
    let both = over_tls(Http2Proxy::builder(), &ca).map("a.test:443", origin.addr());
    let both = both.start().await;
    let mut old = Vec::new();
    // Squid's TLS listener knows no ALPN.
    for alpn in [&[][..], &["http/1.1"]] {
        let proxy = ForwardProxy::builder().host("proxy.test").tls(identity(alpn));
        old.push(proxy.map("a.test:443", origin.addr()).start().await);
    }
    let alpn = |proxy: &Listening| proxy.connections().last().unwrap().tls().unwrap().alpn;

    for (settings, expected) in [
        (ProxyVersion::Negotiated, Version::HTTP_2),
        (ProxyVersion::Http2, Version::HTTP_2),
    ] {
        let layer = negotiating(&both.url_with(""), &ca).with_proxy_version(settings);
        assert_eq!(version(&layer, &targets).await.unwrap(), expected, "{settings:?}");
        assert_eq!(alpn(&both).as_deref(), Some("h2"));
    }
    for (proxy, chosen) in old.iter().zip([None, Some("http/1.1")]) {
        for settings in [ProxyVersion::Negotiated, ProxyVersion::Http1] {
            let layer = negotiating(&proxy.url_with(""), &ca).with_proxy_version(settings);
            let found = version(&layer, &targets).await.unwrap();
            assert_eq!(found, Version::HTTP_11, "{settings:?}, {chosen:?}");
            assert_eq!(alpn(proxy).as_deref(), chosen);
        }
    }
    let layer = negotiating(&old[0].url_with(""), &ca).with_proxy_version(ProxyVersion::Http2);
    let error = version(&layer, &targets).await.unwrap_err();
    let error = ConnectError::find(&error).unwrap();
    let text = "the proxy did not choose HTTP/2 in TLS (ALPN), and `ProxyVersion::Http2` allows nothing else";
    assert!(error.to_string().ends_with(text), "{error}");
}

/// With prior knowledge, in clear, the proxy turns out to speak HTTP/1.1 alone.
#[tokio::test]
async fn an_answer_in_http1_is_told_as_such() {
    let proxy = ScriptedProxy::start(tower_outbound_proxy_lab::Fault::Status(400)).await;
    let error = within(connect(&through(&proxy.url()), tcp(), "tcp://a.test:7"))
        .await
        .unwrap_err();
    assert!(everything(&error).contains("HTTP/1"), "{error:?}");
    assert_eq!(proxy.connections_opened(), 1, "it is not asked again");
}

#[tokio::test]
async fn connect_has_an_authority_and_the_fields_that_are_set() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Http2Proxy::builder().map("a.test:7", listener.local_addr().unwrap());
    let proxy = proxy.basic("user", "pass").start().await;
    let mut layer = through(&proxy.url_with("user:pass@"));
    for (name, value) in [
        ("x-extra", "1"),
        ("te", "trailers"),
        ("keep-alive", "5"),
        ("user-agent", "u/1"),
    ] {
        let name: HeaderName = name.parse().unwrap();
        layer = layer
            .with_connect_header(name, HeaderValue::from_static(value))
            .unwrap();
    }
    let mut connector = layer.layer(tcp());
    for _ in 0..2 {
        within(connector.tunnel("a.test", 7)).await.unwrap();
    }
    let [request, _] = &proxy.requests()[..] else { panic!() };
    assert_eq!((&request.method, &*request.target), (&Method::CONNECT, "a.test:7"));
    let mut names: Vec<_> = request.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["proxy-authorization", "user-agent", "x-extra"]);
    // Each time as a literal that is never indexed (RFC 7541, section 6.2.3), by its name's index, 49.
    let received = proxy.connection(0).received();
    let literals = received.windows(2).filter(|bytes| *bytes == [0x1f, 49 - 15]);
    assert_eq!(literals.count(), 2);
}

/// A header block of which only the pseudo-header fields can be there.
#[tokio::test(start_paused = true)]
async fn connect_has_no_scheme_and_no_path() {
    let (connector, mut connections) = pipes();
    let mut connector = through("http://proxy.test:3128").layer(connector);
    let tunnel = tokio::spawn(async move { connector.tunnel("a.test", 7).await });
    let mut peer = Peer::accept(&mut connections).await;
    let frame = peer.next_of(HEADERS).await;
    // `:method` and `:authority`, each a literal with a name from the static table, in so many bytes.
    let [0x42, 0x87, _, _, _, _, _, _, _, 0x41, 0x86, authority @ ..] = &frame.payload[..] else {
        panic!("{:x?}", frame.payload)
    };
    assert_eq!(authority.len(), 6);
    tunnel.abort();
}

/// A proxy that speaks HTTP/1.1, and HTTP/2 of a kind.
struct Both {
    proxy: Http2Proxy,
    connections: Arc<AtomicUsize>,
}

impl Both {
    /// Starts a proxy with this behaviour over HTTP/2, by the number of the request.
    async fn start(ca: &Ca, origin: &Origin, choose: fn(usize) -> Behaviour) -> Self {
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let proxy = over_tls(Http2Proxy::builder(), ca).map("a.test:443", origin.addr());
        let proxy = proxy.behave(move |_, _| choose(count.fetch_add(1, Ordering::SeqCst)));
        Self {
            proxy: proxy.start().await,
            connections,
        }
    }

    fn alpns(&self) -> Vec<String> {
        let connections = self.proxy.connections();
        connections.iter().map(|one| one.tls().unwrap().alpn.unwrap()).collect()
    }
}

#[tokio::test]
async fn a_proxy_that_drops_connect_over_http2_is_asked_in_http1_for_a_while() {
    let (ca, targets) = (Ca::new(), Ca::new());
    let origin = Origin::https(&targets, &["a.test"], &[]).await;
    let drops: [fn(usize) -> Behaviour; 5] = [
        |_| Behaviour::Reset(Reason::PROTOCOL_ERROR),
        |_| Behaviour::Reset(Reason::CANCEL),
        |_| Behaviour::HangUp,
        |_| Behaviour::Refuse(StatusCode::METHOD_NOT_ALLOWED),
        |_| Behaviour::Refuse(StatusCode::NOT_IMPLEMENTED),
    ];
    for (index, choose) in drops.into_iter().enumerate() {
        let log = Log::of_thread(Level::WARN);
        let both = Both::start(&ca, &origin, choose).await;
        let layer = negotiating(&both.proxy.url_with("user:s3cret@"), &ca);
        let client = client(layer.https_connector_with(tcp(), targets.client_config(&[])));
        let mut requests = JoinSet::new();
        for _ in 0..5 {
            let client = client.clone();
            requests.spawn(async move { get(&client, "https://a.test/status/201").await.unwrap() });
        }
        for response in within(requests.join_all()).await {
            let connect: &ConnectResponse = response.extensions().get().unwrap();
            assert_eq!(
                (response.status().as_u16(), connect.version()),
                (201, Version::HTTP_11),
                "{index}"
            );
        }
        let asked = both.connections.load(Ordering::SeqCst);
        within(get(&client, "https://a.test/status/201")).await.unwrap();
        assert_eq!(
            both.connections.load(Ordering::SeqCst),
            asked,
            "{index}: asked again over HTTP/2"
        );
        assert_eq!(both.alpns().last().unwrap(), "http/1.1");
        let text = log.text();
        let warnings = text.matches("the proxy takes no CONNECT over HTTP/2").count();
        assert_eq!(warnings, 1, "{index}: {text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn a_refusal_over_http2_is_no_reason_for_http1() {
    let (ca, targets) = (Ca::new(), Ca::new());
    let origin = Origin::https(&targets, &["a.test"], &[]).await;
    let refusals: [fn(usize) -> Behaviour; 3] = [
        |_| Behaviour::Refuse(StatusCode::FORBIDDEN),
        |_| Behaviour::Refuse(StatusCode::PROXY_AUTHENTICATION_REQUIRED),
        |_| Behaviour::Refuse(StatusCode::BAD_GATEWAY),
    ];
    for choose in refusals {
        let both = Both::start(&ca, &origin, choose).await;
        let layer = negotiating(&both.proxy.url_with(""), &ca);
        version(&layer, &targets).await.unwrap_err();
        assert_eq!(both.alpns(), ["h2"]);
    }
}

/// Its connections may still break, as when it restarts.
#[tokio::test]
async fn a_proxy_that_has_answered_is_asked_over_http2_again() {
    let (ca, targets) = (Ca::new(), Ca::new());
    let origin = Origin::https(&targets, &["a.test"], &[]).await;
    let both = Both::start(&ca, &origin, |count| match count {
        1 | 2 => Behaviour::HangUp,
        _ => Behaviour::Serve,
    })
    .await;
    let layer = negotiating(&both.proxy.url_with(""), &ca);
    let client = client(layer.https_connector_with(tcp(), targets.client_config(&[])));
    for _ in 0..2 {
        let response = within(get(&client, "https://a.test/status/201")).await.unwrap();
        let connect: &ConnectResponse = response.extensions().get().unwrap();
        assert_eq!(connect.version(), Version::HTTP_2);
    }
    assert_eq!(both.alpns(), ["h2"; 3]);
}

#[tokio::test]
async fn http2_alone_is_http2_alone() {
    let (ca, targets) = (Ca::new(), Ca::new());
    let origin = Origin::https(&targets, &["a.test"], &[]).await;
    let both = Both::start(&ca, &origin, |_| Behaviour::Reset(Reason::PROTOCOL_ERROR)).await;
    let layer = negotiating(&both.proxy.url_with(""), &ca).with_proxy_version(ProxyVersion::Http2);
    version(&layer, &targets).await.unwrap_err();
    assert_eq!(both.alpns(), ["h2"]);
}

/// A proxy may offer HTTP/2 alone, and then the first error says more than that of HTTP/1.1.
#[tokio::test]
async fn an_error_of_http2_is_not_hidden_by_one_of_http1() {
    let (ca, targets) = (Ca::new(), Ca::new());
    let proxy = Http2Proxy::builder()
        .host("proxy.test")
        .tls(ca.issue(&["proxy.test"]).server_config(&["h2"]))
        .behave(|_, _| Behaviour::Reset(Reason::CONNECT_ERROR))
        .start()
        .await;
    let error = version(&negotiating(&proxy.url_with(""), &ca), &targets)
        .await
        .unwrap_err();
    let error = ConnectError::find(&error).unwrap();
    assert_eq!(error.kind(), ConnectErrorKind::Io, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn interim_heads_are_passed_over() {
    let (connector, mut connections) = pipes();
    let mut connector = through("http://proxy.test:3128").layer(connector);
    let tunnel = tokio::spawn(async move { connector.tunnel("a.test", 7).await.unwrap() });
    let mut peer = Peer::accept(&mut connections).await;
    peer.allow(100).await;
    peer.next_of(HEADERS).await;
    for interim in [&b"100"[..], b"103"] {
        peer.send(HEADERS, super::pipes::END_HEADERS, 1, &[&[0x08, 3], interim].concat())
            .await;
    }
    sleep(Duration::from_millis(100)).await;
    assert!(!tunnel.is_finished());
    peer.establish(1).await;
    let mut tunnel = tunnel.await.unwrap();
    peer.send(0, 0, 1, b"x").await;
    assert_eq!(tunnel.read_u8().await.unwrap(), b'x');
    tunnel.write_all(b"y").await.unwrap();
}
