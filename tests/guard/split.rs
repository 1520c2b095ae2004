//! Two connectors under one `Proxy`: the guarded one dials targets, the plain one dials proxies, and they are never
//! mixed up.

use std::{
    io,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name},
    rt::TokioIo,
};
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit, service_fn};
use tower_outbound_proxy::{
    ConnectError, IpPolicy, Proxy, ProxyConfig, ProxyLayer, Route,
    connector::Destination,
    error::ConnectErrorKind,
    guard::{GuardLayer, GuardedResolver},
};
use tower_outbound_proxy_lab::{ForwardProxy, Origin, Resolver, within};

use super::{Names, Recorder, denied, except, guarded, ip};
use crate::common;

const PROXY: &str = "http://127.0.0.1:3128/";

fn direct() -> ProxyLayer {
    ProxyLayer::new(ProxyConfig::builder().build().unwrap())
}

/// Returns a guard that denies loopback. Every name is loopback.
fn guard() -> GuardLayer<Names> {
    guard_to("127.0.0.1")
}

/// Returns such a guard. Every name is this address.
fn guard_to(answer: &str) -> GuardLayer<Names> {
    GuardLayer::new(IpPolicy::special_purpose()).with_resolver(Names::new([answer]))
}

async fn dial<S>(connector: S, uri: &str) -> Result<S::Response, ConnectError>
where
    S: Service<Uri, Error = ConnectError>,
{
    within(connector.oneshot(uri.parse().unwrap())).await
}

#[tokio::test]
async fn the_proxys_own_address_is_handed_on_as_it_is() {
    let recorder = Recorder::default();
    for proxy in ["http://127.0.0.1:3128/", "http://proxy.test:1080/", "http://[::1]:80/"] {
        let connector = common::layer(proxy).layer(guard().layer(recorder.clone()));
        dial(connector, "http://stranger.test/").await.unwrap();
        assert_eq!(recorder.asked().last().unwrap(), proxy);
    }
}

#[tokio::test]
async fn a_route_that_comes_with_the_request_is_guarded_by_what_it_is() {
    let recorder = Recorder::default();
    let mut connector = direct().layer(guard().layer(recorder.clone()));
    for (route, uri, asked) in [
        (Route::Forward(PROXY.parse().unwrap()), "http://127.0.0.1/", Some(PROXY)),
        (Route::Direct, "http://127.0.0.1:3128/", None),
    ] {
        let uri = uri.parse().unwrap();
        let connected = within(connector.call(Destination { uri, route })).await;
        match asked {
            Some(asked) => {
                connected.unwrap();
                assert_eq!(recorder.asked(), [asked]);
            }
            None => assert_eq!(denied(&connected.unwrap_err()), ip("127.0.0.1")),
        }
    }
    assert_eq!(recorder.asked().len(), 1);
}

#[tokio::test]
async fn a_direct_dial_within_a_dial_to_a_proxy_is_guarded() {
    // To the outer one it is the proxy's address, to the inner one a direct target as any other.
    let recorder = Recorder::default();
    let inner = direct().layer(guard().layer(recorder.clone()));
    let outer: Proxy<Proxy<_>> = common::layer(PROXY).layer(inner);
    let error = dial(outer, "http://stranger.test/").await.unwrap_err();
    assert_eq!(denied(&error), ip("127.0.0.1"));
    let text = "proxy http://127.0.0.1:3128, to stranger.test:80: 127.0.0.1:3128: the address 127.0.0.1 is denied";
    assert!(error.to_string().starts_with(text), "{error}");

    // The same with a guard between the two, which lets it through.
    let inner = direct().layer(guard().layer(recorder.clone()));
    let outer = common::layer(PROXY).layer(guard().layer(inner));
    assert_eq!(
        denied(&dial(outer, "http://stranger.test/").await.unwrap_err()),
        ip("127.0.0.1")
    );
    assert_eq!(recorder.asked(), [""; 0]);
}

#[tokio::test]
async fn a_guard_alone_exempts_no_proxy() {
    // A connector under `Proxy` that dials what it likes, through a guard of its own.
    let recorder = Recorder::default();
    let guard = guarded(guard().layer(recorder.clone()));
    for uri in [
        "http://127.0.0.1:3128/",
        "http://127.0.0.1:3129/",
        "http://0x7f.1:3128/",
        "http://proxy.test:3128/",
    ] {
        let guard = guard.clone();
        let other = service_fn(move |_: Uri| guard.clone().oneshot(uri.parse().unwrap()));
        let error = dial(common::layer(PROXY).layer(other), "http://stranger.test/")
            .await
            .unwrap_err();
        assert_eq!(denied(&error), ip("127.0.0.1"), "{uri}");
    }
    assert_eq!(recorder.asked(), [""; 0]);
}

#[tokio::test]
async fn a_guarded_resolver_exempts_no_proxy() {
    // To a resolver a proxy's name is a name like any other.
    let proxy = ForwardProxy::builder().host("proxy.test").start().await;
    for (policy, reached) in [(IpPolicy::special_purpose(), false), (except("proxy.test"), true)] {
        let resolver = GuardedResolver::with_resolver(policy, Names::new(["127.0.0.1"]));
        let http = HttpConnector::new_with_resolver(resolver);
        let dialled = dial(common::layer(&proxy.url()).layer(http), "http://stranger.test/").await;
        match reached {
            true => drop(dialled.unwrap()),
            false => assert_eq!(denied(&dialled.unwrap_err()), ip("127.0.0.1")),
        }
    }
}

#[tokio::test]
async fn an_exception_for_the_target_is_none_for_what_else_is_looked_up_meanwhile() {
    let policy = except("allowed.test");
    for (name, allowed) in [("allowed.test", true), ("other.test", false)] {
        let resolver = GuardedResolver::with_resolver(policy.clone(), Names::new(["127.0.0.1"]));
        let looking_up = service_fn(move |_: Uri| {
            let resolver = resolver.clone();
            async move { resolver.oneshot(name.parse::<Name>().unwrap()).await.map(drop) }
        });
        let guard = GuardLayer::new(policy.clone()).with_resolver(Names::new(["127.0.0.1"]));
        let dialled = dial(guarded(guard.layer(looking_up)), "http://allowed.test/").await;
        assert_eq!(dialled.is_ok(), allowed, "{name}");
    }
}

/// Nothing that stands between the guard and a connector hides which of the two is dialled.
#[tokio::test]
async fn over_a_buffer_proxies_are_reached_and_targets_guarded() {
    let proxy = ForwardProxy::builder().start().await;
    let origin = Origin::http().await;
    for host in ["127.0.0.1", "proxy.test"] {
        let buffered = Buffer::new(tower_outbound_proxy_lab::connector(), 1);
        let around = GuardLayer::new(IpPolicy::special_purpose()).with_resolver(Resolver::new());
        let config = ProxyConfig::builder()
            .all(format!("http://{host}:{}", proxy.port()))
            .no_proxy("direct.test")
            .build();
        let connector = ProxyLayer::new(config.unwrap()).layer(around.layer(buffered));
        let to_proxy = dial(connector.clone(), "http://stranger.test/").await.unwrap();
        assert!(matches!(to_proxy.route(), Route::Forward(_)));
        let direct = format!("http://direct.test:{}/", origin.port());
        assert_eq!(denied(&dial(connector, &direct).await.unwrap_err()), ip("127.0.0.1"));
    }
    assert_eq!(origin.connections_opened(), 0);
}

/// Each dial gives way to the others at every poll, so that dials of both kinds follow each other on every thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dials_at_the_same_time_are_not_mixed_up() {
    let dialled = Arc::new(AtomicUsize::new(0));
    let counter = dialled.clone();
    let slow = service_fn(move |uri: Uri| {
        let counter = counter.clone();
        async move {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            counter.fetch_add(1, Relaxed);
            assert_eq!(uri.host(), Some("proxy.test"));
            Ok::<_, io::Error>(TokioIo::new(tokio::io::duplex(64).0))
        }
    });
    let config = ProxyConfig::builder()
        .all("http://proxy.test:3128")
        .no_proxy("direct.test, proxy.test")
        .build();
    let connector = ProxyLayer::new(config.unwrap()).layer(guard().layer(slow));

    let mut dials = JoinSet::new();
    for index in 0..100 {
        let (uri, reached) = match index % 4 {
            0 => ("http://stranger.test/", true),
            1 => ("http://direct.test/", false),
            2 => ("http://proxy.test:3128/", false),
            _ => ("http://stranger.test/status/299", true),
        };
        let connector = connector.clone();
        dials.spawn(async move {
            let dialled = dial(connector, uri).await;
            assert_eq!(dialled.is_ok(), reached, "{uri}: {dialled:?}");
            assert!(reached || dialled.unwrap_err().kind() == ConnectErrorKind::Denied);
        });
    }
    within(dials.join_all()).await;
    assert_eq!(dialled.load(Relaxed), 50);
}

#[tokio::test]
async fn a_guards_readiness_is_the_inner_connectors() {
    let layer = tower::layer::layer_fn(|inner| guarded(guard_to("1.1.1.1").layer(inner)));
    let (mut connector, mut handle) = tower_test::mock::spawn_layer::<Uri, (), _>(layer);
    handle.allow(0);
    assert!(connector.poll_ready().is_pending());
    for uri in ["http://1.1.1.1/", "http://stranger.test/"] {
        handle.allow(1);
        assert!(connector.poll_ready().is_ready());
        let call = connector.call(uri.parse().unwrap());
        let answer = async {
            let (asked, respond) = handle.next_request().await.unwrap();
            assert_eq!(asked, "http://1.1.1.1:80/");
            respond.send_response(());
        };
        let (connected, ()) = within(async { tokio::join!(call, answer) }).await;
        connected.unwrap();
    }
}

#[tokio::test]
async fn the_connector_that_was_ready_is_the_one_that_is_called() {
    // A clone of it would never become ready.
    let limited = ConcurrencyLimit::new(Recorder::default(), 1);
    let mut connector = guarded(guard_to("1.1.1.1").layer(limited));
    for uri in ["http://1.1.1.1/", "http://stranger.test/"] {
        within(connector.ready()).await.unwrap();
        within(connector.call(uri.parse().unwrap())).await.unwrap();
    }
}
