//! The text and the answers of a refusal, through every wrapper.

use std::io;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tower::{Layer, ServiceExt};
use tower_outbound_proxy::{
    ConnectError, IpPolicy, ProxyConfig, ProxyLayer, Target,
    error::{ConnectErrorKind, DeniedError, Stage},
    guard::{GuardLayer, GuardedResolver},
};
use tower_outbound_proxy_lab::{Log, within};
use tracing::Level;

use super::{Names, Recorder, denied, guarded, ip};
use crate::common;

const TEXT: &str =
    "x.test:80: the address 10.0.0.1 is denied for direct connections: 10.0.0.0/8 is private use (RFC 1918)";

fn direct() -> ProxyLayer {
    ProxyLayer::new(ProxyConfig::builder().build().unwrap())
}

fn uri() -> Uri {
    Uri::from_static("http://x.test/")
}

#[tokio::test]
async fn a_refusal_is_the_same_with_and_without_a_proxy_layer_around_it() {
    let policy = IpPolicy::special_purpose();
    let names = Names::new(["10.0.0.1"]);
    let pair = policy.http_connector_with(names.clone());
    let around = GuardLayer::new(policy).with_resolver(names).layer(Recorder::default());
    let errors = [
        within(guarded(pair.clone()).oneshot(uri())).await.unwrap_err(),
        within(guarded(around.clone()).oneshot(uri())).await.unwrap_err(),
        within(direct().layer(pair).oneshot(uri())).await.unwrap_err(),
        within(direct().layer(around).oneshot(uri())).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.to_string(), TEXT);
        assert!(std::error::Error::source(&error).is_none());
        assert!(error.kind() == ConnectErrorKind::Denied && error.is_before_request() && !error.is_transient());
        assert!(!error.is_timeout() && error.response().is_none());
        assert_eq!((error.stage(), error.proxy()), (Stage::Dial, None));
        assert_eq!(error.denied().map(DeniedError::address), Some(ip("10.0.0.1")));
        assert_eq!(error.denied().map(DeniedError::target), Some("x.test:80"));
    }
}

#[tokio::test]
async fn a_resolvers_refusal_is_found_without_a_guard_around_the_connector() {
    let resolver = GuardedResolver::with_resolver(IpPolicy::special_purpose(), Names::new(["10.0.0.1"]));
    let connector = direct().layer(HttpConnector::new_with_resolver(resolver));
    let error = within(connector.oneshot(uri())).await.unwrap_err();
    assert_eq!(error.to_string(), TEXT.replace(":80", ""));
    assert_eq!(denied(&error), ip("10.0.0.1"));
}

#[tokio::test]
async fn a_refusal_by_another_dialler_is_found_in_what_it_returns() {
    let refused = || {
        let target: Target<'_> = "http://x.test".parse().unwrap();
        IpPolicy::special_purpose().check(&target, ip("10.0.0.1")).unwrap_err()
    };
    let dialler = tower::service_fn(move |_: Uri| async move {
        Err::<hyper_util::rt::TokioIo<tokio::io::DuplexStream>, _>(io::Error::other(io::Error::other(refused())))
    });
    let error = within(direct().layer(dialler).oneshot(uri())).await.unwrap_err();
    assert_eq!(error.to_string(), TEXT);
    let error = within(common::layer("http://proxy.test").layer(dialler).oneshot(uri()))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("proxy http://proxy.test:1080, to x.test:80: {TEXT}")
    );
    assert!(error.kind() == ConnectErrorKind::Denied && !error.is_transient());
}

#[tokio::test]
async fn a_failure_to_dial_below_a_guard_is_told_once() {
    let unreachable = || Recorder {
        unreachable: &["proxy.test", "1.1.1.1"],
        ..Recorder::default()
    };
    let guard = GuardLayer::new(IpPolicy::special_purpose()).with_resolver(Names::new(["1.1.1.1"]));
    for (layer, text) in [
        (direct(), "x.test:80: connecting failed"),
        (
            common::layer("http://proxy.test"),
            "proxy http://proxy.test:1080, to x.test:80: connecting to the proxy failed",
        ),
    ] {
        let error = within(layer.layer(guard.layer(unreachable())).oneshot(uri()))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), text);
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(
            source.downcast_ref::<io::Error>().unwrap().kind(),
            io::ErrorKind::HostUnreachable
        );
        assert!(error.is_transient());
        assert!(ConnectError::find(&error).is_some_and(|error| error.kind() != ConnectErrorKind::Denied));
    }
}

#[tokio::test]
async fn each_refusal_is_an_event() {
    let log = Log::of_thread(Level::DEBUG);
    let layer = GuardLayer::new(IpPolicy::special_purpose()).with_resolver(Names::new(["10.0.0.1 1.1.1.1"]));
    let guard = guarded(layer.layer(Recorder::default()));
    within(guard.clone().oneshot(uri())).await.unwrap();
    let literal = Uri::from_static("http://user:s3cret@127.1/?s3cret");
    within(guard.oneshot(literal)).await.unwrap_err();
    let log = log.text();
    for event in [
        TEXT,
        "127.0.0.1:80: the address 127.0.0.1 is denied for direct connections",
    ] {
        assert_eq!(log.matches(event).count(), 1, "{log}");
    }
    assert!(!log.contains("s3cret"), "{log}");
}
