//! What tells a dial to a proxy from a direct one: never seen by another dial, and never missing where it counts.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    sync::{Arc, Mutex},
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name},
    rt::TokioIo,
};
use tokio::io::DuplexStream;
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit, service_fn};
use tower_outbound_proxy::{
    ConnectError, Destination, GuardLayer, GuardedResolver, IpPolicy, Proxy, ProxyConfig, ProxyLayer, Route,
};
use tower_outbound_proxy_lab::{ForwardProxy, Resolver, within};

use super::{Names, Recorder, denied, ip};
use crate::common;

const PROXY: &str = "http://127.0.0.1:3128/";

fn direct() -> ProxyLayer {
    ProxyLayer::new(ProxyConfig::builder().build().unwrap())
}

/// A guard that lets nothing of loopback through; every name is loopback.
fn guard() -> GuardLayer<Names> {
    guard_to("127.0.0.1")
}

/// The same; every name is this address.
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
    let text = "proxy http://127.0.0.1:3128, to stranger.test:80: 127.0.0.1:3128: the address 127.0.0.1 is refused";
    assert!(error.to_string().starts_with(text), "{error}");

    // The same with a guard between the two, which lets it through.
    let inner = direct().layer(guard().layer(recorder.clone()));
    let outer = common::layer(PROXY).layer(guard().layer(inner));
    assert_eq!(
        denied(&dial(outer, "http://stranger.test/").await.unwrap_err()),
        ip("127.0.0.1")
    );
    assert_eq!(recorder.asked(), [""; 0]);

    // And by name, which is looked up later than the connector is called.
    let proxy = ForwardProxy::builder().host("proxy.test").start().await;
    let resolver = GuardedResolver::with_resolver(IpPolicy::special_purpose(), Names::new(["127.0.0.1"]));
    let http = HttpConnector::new_with_resolver(resolver);
    let layer = common::layer(&proxy.url());
    dial(layer.layer(http.clone()), "http://stranger.test/").await.unwrap();
    let error = dial(layer.layer(direct().layer(http)), "http://stranger.test/")
        .await
        .unwrap_err();
    assert_eq!(denied(&error), ip("127.0.0.1"));
}

#[tokio::test]
async fn only_the_proxys_own_address_is_exempt_while_it_is_dialled() {
    let recorder = Recorder::default();
    let guarded = guard().layer(recorder.clone());
    for (uri, is_proxy) in [
        ("http://127.0.0.1:3128/", true),
        ("http://127.0.0.1:3129/", false),
        ("http://127.0.0.2:3128/", false),
        ("http://0x7f.1:3128/", false),
        ("http://proxy.test:3128/", false),
    ] {
        // A connector that dials what it likes, in place of what it was asked for.
        let guarded = guarded.clone();
        let other = service_fn(move |_: Uri| guarded.clone().oneshot(uri.parse().unwrap()));
        let dialled = dial(common::layer(PROXY).layer(other), "http://stranger.test/").await;
        assert_eq!(dialled.is_ok(), is_proxy, "{uri}: {dialled:?}");
        assert!(is_proxy || dialled.unwrap_err().is_denied());
    }
    assert_eq!(recorder.asked(), [PROXY]);
}

#[tokio::test]
async fn only_the_proxys_own_name_is_exempt_while_it_is_dialled() {
    for (name, is_proxy) in [
        ("proxy.test", true),
        ("Proxy.Test.", true),
        ("x.proxy.test", false),
        ("other.test", false),
    ] {
        let resolver = GuardedResolver::with_resolver(IpPolicy::special_purpose(), Names::new(["127.0.0.1"]));
        let resolved = Arc::new(Mutex::new(None));
        let outcome = resolved.clone();
        let looking_up = service_fn(move |_: Uri| {
            let (resolver, outcome) = (resolver.clone(), outcome.clone());
            async move {
                let answer = resolver.oneshot(name.parse::<Name>().unwrap()).await;
                *outcome.lock().unwrap() = Some(answer.is_ok());
                Err::<TokioIo<DuplexStream>, _>(io::Error::other("enough"))
            }
        });
        let connector = common::layer("http://proxy.test:3128").layer(looking_up.clone());
        dial(connector, "http://stranger.test/").await.unwrap_err();
        assert_eq!(*resolved.lock().unwrap(), Some(is_proxy), "{name}");
        // A direct target is not the proxy, whatever its name.
        dial(direct().layer(looking_up), "http://proxy.test:3128/")
            .await
            .unwrap_err();
        assert_eq!(*resolved.lock().unwrap(), Some(false), "{name}");
    }
}

/// The same for a connector that looks up while it is called, not later.
#[tokio::test]
async fn a_guarded_dial_within_a_dial_to_a_proxy_is_not_the_proxys() {
    let looking_up = service_fn(|_: Uri| {
        let mut resolver = GuardedResolver::with_resolver(IpPolicy::special_purpose(), Names::new(["127.0.0.1"]));
        let looked_up = resolver.call("proxy.test".parse::<Name>().unwrap());
        async move { looked_up.await.map(|_| TokioIo::new(tokio::io::duplex(64).0)) }
    });
    let proxy = || common::layer("http://proxy.test:3128");
    dial(proxy().layer(looking_up), "http://stranger.test/").await.unwrap();
    let other = service_fn(move |_: Uri| guard().layer(looking_up).oneshot(Uri::from_static("http://1.1.1.1/")));
    let error = dial(proxy().layer(other), "http://stranger.test/").await.unwrap_err();
    assert_eq!(denied(&error), ip("127.0.0.1"));
}

#[tokio::test]
async fn an_exception_for_the_target_is_none_for_what_else_is_looked_up_meanwhile() {
    let policy = super::except("allowed.test");
    for (name, allowed) in [("allowed.test", true), ("other.test", false)] {
        let resolver = GuardedResolver::with_resolver(policy.clone(), Names::new(["127.0.0.1"]));
        let looking_up = service_fn(move |_: Uri| {
            let resolver = resolver.clone();
            async move { resolver.oneshot(name.parse::<Name>().unwrap()).await.map(drop) }
        });
        let guard = GuardLayer::new(policy.clone()).with_resolver(Names::new(["127.0.0.1"]));
        let dialled = dial(guard.layer(looking_up), "http://allowed.test/").await;
        assert_eq!(dialled.is_ok(), allowed, "{name}");
    }
}

#[tokio::test]
async fn behind_a_buffer_a_proxy_at_a_denied_address_is_not_reached() {
    let proxy = ForwardProxy::builder().start().await;
    for host in ["127.0.0.1", "proxy.test"] {
        for pair in [true, false] {
            let policy = IpPolicy::special_purpose();
            let around = GuardLayer::new(policy.clone()).with_resolver(Resolver::new());
            let layer = common::layer(&format!("http://{host}:{}", proxy.port()));
            let dialled = match pair {
                true => {
                    let guarded = policy.http_connector_with(Resolver::new());
                    dial(layer.layer(Buffer::new(guarded, 1)), "http://stranger.test/")
                        .await
                        .map(drop)
                }
                false => {
                    let guarded = around.layer(tower_outbound_proxy_lab::connector());
                    dial(layer.layer(Buffer::new(guarded, 1)), "http://stranger.test/")
                        .await
                        .map(drop)
                }
            };
            assert_eq!(denied(&dialled.unwrap_err()), ip("127.0.0.1"), "{host}");
        }
    }
    assert_eq!(proxy.connections_opened(), 0);
}

/// Each dial gives way to the others at every poll, so that marks of all kinds follow each other on every thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dials_at_the_same_time_do_not_see_each_others_marks() {
    let dialled = Arc::new(AtomicUsize::new(0));
    let counter = dialled.clone();
    let slow = service_fn(move |uri: Uri| {
        let counter = counter.clone();
        async move {
            give_way().await;
            // A second look at the mark, in the middle of the dial.
            let resolver = GuardedResolver::with_resolver(IpPolicy::special_purpose(), Names::new(["127.0.0.1"]));
            let name = uri.host().unwrap().parse::<Name>().unwrap();
            let allowed = resolver.oneshot(name).await.is_ok();
            give_way().await;
            counter.fetch_add(1, Relaxed);
            match allowed {
                true => Ok(TokioIo::new(tokio::io::duplex(64).0)),
                false => Err(io::Error::other("looked up as a direct target")),
            }
        }
    });
    let config = ProxyConfig::builder()
        .all("http://proxy.test:3128")
        .no_proxy("direct.test, proxy.test")
        .build();
    let layer = ProxyLayer::new(config.unwrap());
    let handing_on = layer.layer(guard().layer(slow.clone()));
    let unguarded = layer.layer(slow);

    let mut dials = JoinSet::new();
    for index in 0..100 {
        let (uri, reached) = match index % 4 {
            0 => ("http://stranger.test/", true),
            1 => ("http://direct.test/", false),
            2 => ("http://proxy.test:3128/", false),
            _ => ("http://stranger.test/status/299", true),
        };
        let (guarded, unguarded) = (handing_on.clone(), unguarded.clone());
        dials.spawn(async move {
            let dialled = dial(guarded, uri).await;
            assert_eq!(dialled.is_ok(), reached, "{uri}: {dialled:?}");
            assert!(reached || dialled.unwrap_err().is_denied());
            assert_eq!(dial(unguarded, uri).await.is_ok(), reached, "{uri}");
        });
    }
    within(dials.join_all()).await;
    // Of the guarded ones those to the proxy, and all of the others.
    assert_eq!(dialled.load(Relaxed), 50 + 100);
}

async fn give_way() {
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_guards_readiness_is_the_inner_connectors() {
    let layer = tower::layer::layer_fn(|inner| guard_to("1.1.1.1").layer(inner));
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
    let mut connector = guard_to("1.1.1.1").layer(limited);
    for uri in ["http://1.1.1.1/", "http://stranger.test/"] {
        within(connector.ready()).await.unwrap();
        within(connector.call(uri.parse().unwrap())).await.unwrap();
    }
}
