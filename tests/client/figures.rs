//! Figures of requests and connections, as events that `tracing_opentelemetry::MetricsLayer` understands.

use std::time::Duration;

use tower_outbound_proxy::Client;
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Log, Origin};
use tracing::Level;

use super::{
    TestClient, builder, eventually, fetch, fetch_at_once, forward, now, request, send, through, trusting, unproxied,
};

/// Returns each figure of this name in the log: its value in seconds, and its attributes as they are written.
fn figures(log: &Log, name: &str) -> Vec<(f64, String)> {
    let field = format!("histogram.{name}=");
    let figure = |line: &str| {
        let (_, figure) = line.split_once("tower_outbound_proxy::metrics: ")?;
        let (value, attributes) = figure.strip_prefix(&field)?.split_once(' ')?;
        Some((value.parse().unwrap(), attributes.to_owned()))
    };
    log.text().lines().filter_map(figure).collect()
}

#[tokio::test]
async fn a_request_and_its_connection_are_measured_on_every_route() {
    let ca = Ca::new();
    let origin = Origin::http().await;
    let secure = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let proxy = ForwardProxy::builder().basic("user", "s3cret").start().await;
    let url = proxy.url_with("user:s3cret@");
    let (port, secure_port, proxy_port) = (origin.port(), secure.port(), proxy.port());
    let peer = format!("network.peer.address=\"127.0.0.1\" network.peer.port={proxy_port} ");
    for (config, url, target, peer, route, version, served_by) in [
        (
            unproxied(),
            format!("http://a.test:{port}/slow/30"),
            format!("url.scheme=\"http\" server.address=\"a.test\" server.port={port} "),
            "",
            "direct",
            "1.1",
            None,
        ),
        (
            through(url.as_str()),
            format!("http://a.test:{port}/slow/30"),
            format!("url.scheme=\"http\" server.address=\"a.test\" server.port={port} "),
            &*peer,
            "forward",
            "1.1",
            // Its connection serves any target.
            Some(format!("server.address=\"127.0.0.1\" server.port={proxy_port} ")),
        ),
        (
            through(url.as_str()),
            format!("https://a.test:{secure_port}/slow/30"),
            format!("url.scheme=\"https\" server.address=\"a.test\" server.port={secure_port} "),
            &*peer,
            "tunnel",
            "2",
            None,
        ),
    ] {
        let log = Log::of_thread(Level::TRACE);
        let client: TestClient = builder(config, &ca)
            .idle_timeout(Some(Duration::from_millis(20)))
            .build()
            .unwrap();
        fetch(&client, &url).await;
        eventually(|| now(&client) == [0; 4]).await;
        let of_peer = format!("{target}{peer}proxy.route=\"{route}\" ");
        let [(seconds, attributes)] = &figures(&log, "http.client.request.duration")[..] else {
            panic!("{}", log.text());
        };
        assert!((0.03..5.0).contains(seconds));
        let of_response =
            format!("http.request.method=\"GET\" http.response.status_code=200 network.protocol.version=\"{version}\"");
        assert_eq!(attributes.trim(), format!("{of_peer}{of_response}"));
        let [(queued, attributes)] = &figures(&log, "http.client.request.time_in_queue")[..] else {
            panic!("{}", log.text());
        };
        assert!(queued < seconds && *queued > 0.0);
        assert_eq!(attributes.trim(), format!("{of_peer}http.request.method=\"GET\""));
        let [(open, attributes)] = &figures(&log, "http.client.connection.duration")[..] else {
            panic!("{}", log.text());
        };
        assert!((0.03..5.0).contains(open));
        let target = served_by.unwrap_or(target);
        assert_eq!(
            attributes.trim(),
            format!("{target}{peer}proxy.route=\"{route}\" network.protocol.version=\"{version}\"")
        );
        assert!(!log.text().contains("s3cret"));
    }
}

/// Statuses and errors by name. A request that is given up has ended, too.
#[tokio::test]
async fn failures_are_measured_by_kind() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().basic("user", "s3cret").start().await;
    for (config, path, error) in [
        (
            unproxied(),
            "/status/404",
            "http.response.status_code=404 network.protocol.version=\"1.1\" error.type=\"404\"",
        ),
        (unproxied(), "/slow/60000", "error.type=\"cancelled\""),
        (through(proxy.url()), "/", "error.type=\"AuthenticationRequired\""),
    ] {
        let log = Log::of_thread(Level::TRACE);
        let client: TestClient = builder(config, &Ca::new()).build().unwrap();
        let sending = send(&client, request(&format!("http://a.test:{}{path}", origin.port())));
        let _ = tokio::time::timeout(Duration::from_millis(300), sending).await;
        let figures = figures(&log, "http.client.request.duration");
        assert!(
            figures.len() == 1 && figures[0].1.trim().ends_with(error),
            "{figures:?}"
        );
    }
}

/// The time that a proxied connection took, by phase: each once, in order, and as a span.
#[tokio::test]
async fn the_phases_of_a_connection_are_measured() {
    let ca = Ca::new();
    let secure = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let proxy = ForwardProxy::builder()
        .tls(ca.issue(&["localhost"]).server_config(&["http/1.1"]))
        .start()
        .await;
    let config = tower_outbound_proxy::ProxyConfig::builder()
        .all(format!("https://localhost:{}", proxy.port()))
        .proxy_tls(trusting(&ca))
        .build()
        .unwrap();
    let log = Log::of_thread(Level::TRACE);
    let client: TestClient = Client::builder()
        .config(config)
        .target_tls(trusting(&ca))
        .build()
        .unwrap();
    fetch(&client, &format!("https://a.test:{}/", secure.port())).await;
    let phases: Vec<_> = figures(&log, "http.client.connection.setup.duration")
        .into_iter()
        .map(|(_, attributes)| attributes)
        // The first address that localhost has may be one on which nobody listens.
        .filter(|attributes| !attributes.contains("error.type"))
        .collect();
    let phase = |phase: &str, peer: String| format!("http.connection.phase=\"{phase}\" peer=\"{peer}\"");
    let (proxy, target) = (proxy.port(), format!("a.test:{}", secure.port()));
    assert_eq!(
        phases.iter().map(|phase| phase.trim()).collect::<Vec<_>>(),
        [
            phase("dns", "localhost".to_owned()),
            phase("tcp", format!("127.0.0.1:{proxy}")),
            phase("tls to the proxy", format!("localhost:{proxy}")),
            phase("connect", target.clone()),
            phase("tls to the target", target),
        ]
    );
    assert!(
        log.text().contains("connecting{phase=\"connect\" peer=a.test:"),
        "{}",
        log.text()
    );
}

/// The gauge `http.client.open_connections`, active and idle, is read from the statistics.
#[tokio::test]
async fn open_connections_are_counted_by_state() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().start().await;
    let client: TestClient = builder(through(proxy.url()), &Ca::new()).build().unwrap();
    let url = format!("http://a.test:{}", origin.port());
    fetch_at_once(&client, &format!("{url}/slow/20"), 3).await;
    let response = send(&client, request(&format!("{url}/bytes/9000000"))).await.unwrap();
    let stats = client.stats();
    let [key] = &stats.keys[..] else { panic!("{stats:?}") };
    assert_eq!(
        (key.open - key.idle, key.idle, &key.route),
        (1, 2, &forward(&proxy.url()))
    );
    drop(response);
}
