//! Tunnels share a connection, and wait for no others than they must.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::{
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cpu_time::ThreadTime;
use http::Uri;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_outbound_proxy::{
    ConnectError, ProxyConfig, ProxyLayer, Route,
    connector::{Destination, Http2Settings},
    error::ConnectErrorKind,
};
use tower_outbound_proxy_lab::{Ca, Http2Proxy, Origin, connector as tcp, within};

use super::{
    negotiating, over_tls,
    pipes::{Pipes, proxy},
    through,
};
use crate::common::{client, get};

const PROXY: &str = "http://proxy.test:3128";

/// Returns a connector whose dials go as told by their number, and that number.
macro_rules! dialling {
    ($pipes:expr, |$count:ident| $before:expr) => {{
        let (pipes, dials) = ($pipes, Arc::new(AtomicUsize::new(0)));
        let all = dials.clone();
        let connector = service_fn(move |uri: Uri| {
            let ($count, mut pipes): (usize, Pipes) = (dials.fetch_add(1, Ordering::SeqCst), pipes.clone());
            async move {
                $before;
                Ok::<_, io::Error>(pipes.call(uri).await.unwrap())
            }
        });
        (connector, all)
    }};
}

#[tokio::test]
async fn a_hundred_first_requests_make_one_handshake_of_tls() {
    let (ca, targets) = (Ca::new(), Ca::new());
    let origin = Origin::https(&targets, &["a.test"], &[]).await;
    let proxy = over_tls(Http2Proxy::builder(), &ca).map("a.test:443", origin.addr());
    let proxy = proxy.start().await;
    let layer = negotiating(&proxy.url_with(""), &ca);
    let client = client(layer.https_connector_with(tcp(), targets.client_config(&[])));
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        requests.spawn(async move { get(&client, "https://a.test/status/201").await.unwrap() });
    }
    let responses = within(requests.join_all()).await;
    assert!(responses.iter().all(|response| response.status() == 201));
    assert_eq!((proxy.requests().len(), proxy.connections_opened()), (100, 1));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_goes_on_without_the_one_that_began_it() {
    let (pipes, _) = proxy(100, 100);
    let (connector, dials) = dialling!(pipes, |_count| sleep(Duration::from_millis(900)).await);
    let connector = through(PROXY).layer(connector);
    let mut tunnels = JoinSet::new();
    for index in 0..10 {
        let mut connector = connector.clone();
        tunnels.spawn(async move {
            match index {
                0 => {
                    let given_up = timeout(Duration::from_millis(500), connector.tunnel("a.test", 7)).await;
                    assert!(given_up.is_err());
                }
                _ => drop(connector.tunnel("a.test", 7).await.unwrap()),
            }
        });
    }
    let begun = Instant::now();
    tunnels.join_all().await;
    assert_eq!(dials.load(Ordering::SeqCst), 1);
    let time = begun.elapsed();
    assert!(time < Duration::from_millis(950), "{time:?}");
}

/// Nobody waits: nothing is dialled for nobody.
#[tokio::test(start_paused = true)]
async fn an_attempt_of_use_to_nobody_is_given_up() {
    let (pipes, seen) = proxy(100, 100);
    let (connector, dials) = dialling!(pipes, |_count| sleep(Duration::from_secs(5)).await);
    let mut connector = through(PROXY).layer(connector);
    let mut other = connector.clone();
    let both = async {
        tokio::join!(
            timeout(Duration::from_millis(100), connector.tunnel("a.test", 7)),
            timeout(Duration::from_millis(200), other.tunnel("a.test", 7)),
        )
    };
    let (first, second) = both.await;
    assert!(first.is_err() && second.is_err());
    sleep(Duration::from_secs(60)).await;
    assert_eq!((dials.load(Ordering::SeqCst), seen.connections()), (1, 0));
}

/// Dials that hang are joined by as many others each second, for as long as somebody waits.
#[tokio::test(start_paused = true)]
async fn dials_that_hang_get_company_which_doubles() {
    let (pipes, _) = proxy(100_000, 100_000);
    let (connector, dials) = dialling!(pipes, |count| if count < 10 {
        pending::<()>().await;
    });
    let layer = through(PROXY).with_connect_timeout(Some(Duration::from_secs(20)));
    let connector = layer.layer(connector);
    let mut tunnels = JoinSet::new();
    for _ in 0..1000 {
        let mut connector = connector.clone();
        tunnels.spawn(async move { connector.tunnel("a.test", 7).await.is_ok() });
    }
    for expected in [1, 3, 7] {
        sleep(Duration::from_millis(1)).await;
        assert_eq!(dials.load(Ordering::SeqCst), expected);
        sleep(Duration::from_millis(999)).await;
    }
    let begun = Instant::now();
    let opened = tunnels.join_all().await.into_iter().filter(|is_open| *is_open).count();
    // Those who dialled have an own deadline.
    assert_eq!(opened, 990, "after {:?}", begun.elapsed());
    assert!((15..=16).contains(&dials.load(Ordering::SeqCst)), "{dials:?}");
}

/// Each failure is told to the one who dialled, and the others try for themselves.
#[tokio::test(start_paused = true)]
async fn a_dial_that_fails_does_not_fail_the_others() {
    let (pipes, _) = proxy(1000, 1000);
    let (connector, dials) = dialling!(pipes, |count| {
        sleep(Duration::from_millis(10)).await;
        if count < 5 {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
    });
    let connector = through(PROXY).layer(connector);
    let mut tunnels = JoinSet::new();
    for _ in 0..100 {
        let mut connector = connector.clone();
        tunnels.spawn(async move { connector.tunnel("a.test", 7).await.map(drop) });
    }
    let results = tunnels.join_all().await;
    let errors: Vec<ConnectError> = results.into_iter().filter_map(Result::err).collect();
    assert_eq!(errors.len(), 5);
    assert!(
        errors.iter().all(|error| error.kind() == ConnectErrorKind::Dial),
        "{errors:?}"
    );
    assert!(dials.load(Ordering::SeqCst) <= 12, "{dials:?}");
}

/// The connector's future panics, with the task that polls it, and leaves no attempt behind.
#[tokio::test(start_paused = true)]
async fn a_dial_that_panics_does_not_hold_the_others() {
    let (pipes, seen) = proxy(1000, 1000);
    let (connector, _) = dialling!(pipes, |count| {
        sleep(Duration::from_millis(10)).await;
        assert!(count > 0, "on purpose");
    });
    let connector = through(PROXY).layer(connector);
    let mut tunnels = JoinSet::new();
    for _ in 0..10 {
        let mut connector = connector.clone();
        tunnels.spawn(async move { connector.tunnel("a.test", 7).await.map(drop).unwrap() });
    }
    let begun = Instant::now();
    let mut panics = 0;
    while let Some(ended) = tunnels.join_next().await {
        panics += usize::from(ended.is_err());
    }
    assert_eq!((panics, seen.connections()), (1, 1));
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}

/// A dead proxy fails everybody within a few rounds.
#[tokio::test(start_paused = true)]
async fn a_proxy_that_refuses_connections_fails_all_of_them_soon() {
    let (pipes, _) = proxy(1000, 1000);
    let (connector, dials) = dialling!(pipes, |count| {
        sleep(Duration::from_millis(10)).await;
        if count < usize::MAX {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
    });
    let connector = through(PROXY).layer(connector);
    let mut tunnels = JoinSet::new();
    for _ in 0..1000 {
        let mut connector = connector.clone();
        tunnels.spawn(async move { connector.tunnel("a.test", 7).await.map(drop).unwrap_err() });
    }
    let begun = Instant::now();
    tunnels.join_all().await;
    let time = begun.elapsed();
    assert!(time < Duration::from_millis(150), "{time:?}");
    assert_eq!(dials.load(Ordering::SeqCst), 1000);
}

#[tokio::test(start_paused = true)]
async fn each_proxy_and_each_of_its_credentials_has_its_own_connection() {
    let (connector, seen) = proxy(100, 100);
    let connector = through(PROXY).layer(connector);
    let addresses = [
        "http://proxy.test:3128",
        "http://proxy.test:3129",
        "http://other.test:3128",
        "http://user:pass@proxy.test:3128",
        "http://user:word@proxy.test:3128",
    ];
    let mut open = Vec::new();
    for _ in 0..3 {
        for address in addresses {
            let config = ProxyConfig::builder().all(address).always_tunnel(true).build().unwrap();
            let uri: Uri = "tcp://a.test:7".parse().unwrap();
            let route = config.route(&tower_outbound_proxy::Target::try_from(&uri).unwrap());
            assert!(matches!(route, Route::Tunnel(_)));
            open.push(connector.clone().oneshot(Destination { uri, route }).await.unwrap());
        }
    }
    assert_eq!(seen.connections(), addresses.len());
    assert!(seen.connects().iter().all(|(_, target)| target == "a.test"));
}

/// At the limit, connecting waits for a stream, and in the end says so.
#[tokio::test(start_paused = true)]
async fn no_more_connections_are_opened_than_the_settings_allow() {
    let (connector, seen) = proxy(2, 100);
    let settings = Http2Settings::default().max_connections(2);
    let layer = through(PROXY).with_http2(settings);
    let layer = layer.with_connect_timeout(Some(Duration::from_secs(3)));
    let mut connector = layer.layer(connector);
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(connector.tunnel("a.test", 7).await.unwrap());
    }
    let error = connector.tunnel("a.test", 7).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Timeout);
    assert_eq!(
        error.to_string(),
        "proxy http://proxy.test:3128, to a.test:7: none of the 2 connections that `max_connections` allows had room \
         for another tunnel within 3s"
    );
    let mut other = connector.clone();
    let waiting = tokio::spawn(async move { other.tunnel("a.test", 7).await });
    sleep(Duration::from_secs(2)).await;
    open.pop();
    waiting.await.unwrap().unwrap();
    assert_eq!(seen.connections(), 2);
}

/// Asserts that ten times as many take much less than the square of the time.
async fn assert_cost_grows_slowly(of_crowd: impl AsyncFn(u32) -> Duration) {
    let (few, many) = (of_crowd(1_000).await, of_crowd(10_000).await);
    assert!(many < 35 * few, "{few:?} for 1,000, {many:?} for 10,000");
}

#[tokio::test(start_paused = true)]
async fn a_crowd_in_line_costs_little() {
    assert_cost_grows_slowly(cost_of_a_line).await;
}

async fn cost_of_a_line(crowd: u32) -> Duration {
    let (connector, seen) = proxy(10, 100);
    let settings = Http2Settings::default().max_connections(2);
    let layer = through(PROXY).with_http2(settings);
    let layer = layer.with_connect_timeout(Some(Duration::from_secs(600)));
    let connector = layer.layer(connector);
    let begun = ThreadTime::now();
    let mut tunnels = JoinSet::new();
    for _ in 0..crowd {
        let mut connector = connector.clone();
        tunnels.spawn(async move {
            let _tunnel = connector.tunnel("a.test", 7).await.unwrap();
            sleep(Duration::from_millis(10)).await;
        });
    }
    tunnels.join_all().await;
    assert_eq!(seen.connections(), 2);
    begun.elapsed()
}

/// The requests get no answer, and each waits for another way.
#[tokio::test(start_paused = true)]
async fn a_crowd_without_an_answer_costs_little() {
    assert_cost_grows_slowly(cost_without_an_answer).await;
}

async fn cost_without_an_answer(crowd: u32) -> Duration {
    let (connector, seen) = proxy(100_000, 0);
    let layer = through(PROXY).with_connect_timeout(Some(Duration::from_secs(5)));
    let connector: tower_outbound_proxy::Proxy<Pipes> = layer.layer(connector);
    let begun = ThreadTime::now();
    let mut tunnels = JoinSet::new();
    for _ in 0..crowd {
        let mut connector = connector.clone();
        tunnels.spawn(async move { connector.tunnel("a.test", 7).await.map(drop).unwrap_err() });
    }
    sleep(Duration::from_millis(4900)).await;
    // Each has room for 511 tunnels that are not read.
    let needed = crowd.div_ceil(511) as usize;
    let opened = seen.connections();
    assert!((needed..=needed + 1).contains(&opened), "{opened} for {crowd}");
    let errors = tunnels.join_all().await;
    assert!(errors.iter().all(|error| error.kind() == ConnectErrorKind::Timeout));
    begun.elapsed()
}

/// Not even the trust in a proxy's certificate is shared.
#[tokio::test]
async fn layers_share_nothing() {
    let (ca, targets) = (Ca::new(), Ca::new());
    let origin = Origin::https(&targets, &["a.test"], &[]).await;
    let proxy = over_tls(Http2Proxy::builder(), &ca).map("a.test:443", origin.addr());
    let proxy = proxy.start().await;
    let layer: ProxyLayer = negotiating(&proxy.url_with(""), &ca);
    for _ in 0..2 {
        let client = client(layer.https_connector_with(tcp(), targets.client_config(&[])));
        within(get(&client, "https://a.test/")).await.unwrap();
    }
    assert_eq!(proxy.connections_opened(), 2);
    let other = negotiating(&proxy.url_with(""), &Ca::new());
    let client = client(other.https_connector_with(tcp(), targets.client_config(&[])));
    let error = within(get(&client, "https://a.test/")).await.unwrap_err();
    assert_eq!(
        ConnectError::find(&error).unwrap().kind(),
        ConnectErrorKind::Certificate
    );
}
