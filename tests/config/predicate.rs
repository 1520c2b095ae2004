//! Promise: the `NO_PROXY` decision is a composable predicate, a service, and, where it takes time, a layer.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use std::{convert::Infallible, net::IpAddr};

use crate::common;
use http::{Request, Response, Uri};
use tower::{
    BoxError, Layer, ServiceBuilder, ServiceExt,
    filter::{AsyncFilterLayer, FilterLayer},
    service_fn,
};
use tower_outbound_proxy::{
    Bypass, NoProxy, ProxyConfig, ProxyLayer, ProxyServer, Route, Target, TargetError,
    connector::Destination,
    no_proxy::{BypassService, Exemption, NotDirectError},
    route::Reason,
};

fn target(url: &str) -> Target<'static> {
    url.parse().unwrap()
}

fn list(list: &str) -> NoProxy {
    list.parse().unwrap()
}

#[test]
fn predicates_combine() {
    let a = || list("a.test");
    let tls = |target: &Target<'_>| target.port() == Some(443);
    let yes = |_: &Target<'_>| true;
    let table: [(&str, &dyn Bypass, [bool; 4]); 8] = [
        // https a, http a, https b, http b
        ("list", &a(), [true, true, false, false]),
        ("closure", &tls, [true, false, true, false]),
        ("and", &a().and(tls), [true, false, false, false]),
        ("or", &a().or(tls), [true, true, true, false]),
        ("not", &a().not(), [false, false, true, true]),
        (
            "nested",
            &a().and(tls.not()).or(a().not().and(tls)),
            [false, true, true, false],
        ),
        ("boxed", &std::sync::Arc::new(yes), [true; 4]),
        ("shared", &std::sync::Arc::new(a()), [true, true, false, false]),
    ];
    for (name, predicate, expected) in table {
        let urls = ["https://a.test", "http://a.test", "https://b.test", "http://b.test"];
        assert_eq!(urls.map(|url| predicate.bypass(&target(url))), expected, "{name}");
        assert_eq!(
            urls.map(|url| predicate.explain(&target(url)).is_some()),
            expected,
            "{name}"
        );
    }
}

/// The other predicate is asked only where its answer matters.
#[test]
fn and_and_or_stop_early() {
    let never = |_: &Target<'_>| -> bool { panic!("asked") };
    let (yes, no) = (|_: &Target<'_>| true, |_: &Target<'_>| false);
    let x = target("http://x.test");
    assert!(yes.or(never).bypass(&x) && yes.or(never).explain(&x).is_some());
    assert!(!no.and(never).bypass(&x) && no.and(never).explain(&x).is_none());
}

#[test]
fn a_combination_still_names_the_entry() {
    let x = target("http://x.test");
    let yes = |_: &Target<'_>| true;
    let entry = |predicate: &dyn Bypass| match predicate.explain(&x) {
        Some(Exemption::Entry(entry)) => Some(entry.to_string()),
        _ => None,
    };
    let named = Some("entry 2 `x.test`".to_owned());
    assert_eq!(entry(&list("a.test,x.test")), named);
    assert_eq!(entry(&list("a.test,x.test").and(yes)), named);
    assert_eq!(entry(&yes.and(list("a.test,x.test"))), named);
    assert_eq!(entry(&list("a.test").or(list("b.test x.test"))), named);
    assert_eq!((entry(&yes), entry(&list("a.test").not())), (None, None));
}

#[test]
fn a_predicate_takes_the_place_of_no_proxy() {
    let vars = [("ALL_PROXY", "http://p"), ("NO_PROXY", "a.test")];
    let decide = |config: &ProxyConfig, url| config.decide(&target(url)).to_string();
    let through = "forward through http://p:1080: ALL_PROXY is set, and nothing exempts the target";

    let only = ProxyConfig::builder()
        .vars(vars)
        .bypass(|target: &Target<'_>| target.name() == Some("b.test"));
    let only = only.build().unwrap();
    assert_eq!(decide(&only, "http://a.test"), through);
    assert_eq!(
        decide(&only, "http://b.test"),
        "direct: a predicate of the application exempts the target"
    );
    assert!(decide(&only, "http://localhost").starts_with("direct: the target is this machine"));

    // Combined with what the environment says, on a layer too.
    let config = ProxyConfig::from_vars(vars).unwrap();
    let both = config.no_proxy().clone().or(list("c.test"));
    let layer = ProxyLayer::new(config).with_bypass(both);
    let decide = |url| decide(layer.config(), url);
    assert_eq!(
        decide("http://a.test"),
        "direct: entry 1 `a.test` of the application's predicate matches"
    );
    assert_eq!(
        decide("http://c.test"),
        "direct: entry 1 `c.test` of the application's predicate matches"
    );
    assert_eq!(decide("http://b.test"), through);
}

#[test]
fn different_targets_can_have_different_proxies() {
    let config = ProxyConfig::builder()
        .http("http://common")
        .no_proxy("exempt.one.test")
        .proxy_for("one.test, 10.0.0.0/8", "https://user:secret@one:3129")
        .proxy_when(|target: &Target<'_>| target.port() == Some(8448), "http://two:3128")
        .proxy_for("direct.test", "")
        .proxy_for("one.test", "http://never")
        .build()
        .unwrap();
    let one = "https://user:***@one:3129: rule 1 of the application applies";
    for (url, expected) in [
        (
            "http://a.one.test",
            &*format!("forward through {one} (entry 1 `one.test` matches)"),
        ),
        (
            "https://10.0.0.1",
            &format!("tunnel through {one} (entry 2 `10.0.0.0/8` matches)"),
        ),
        (
            "https://one.test:8448",
            &format!("tunnel through {one} (entry 1 `one.test` matches)"),
        ),
        (
            "https://x.test:8448",
            "tunnel through http://two:3128: rule 2 of the application applies",
        ),
        (
            "http://direct.test",
            "direct: rule 3 of the application applies (entry 1 `direct.test` matches)",
        ),
        (
            "http://exempt.one.test",
            "direct: entry 1 `exempt.one.test` of no_proxy matches",
        ),
        (
            "http://x.test",
            "forward through http://common:1080: http is set, and nothing exempts the target",
        ),
        ("https://x.test", "direct: no proxy is set for https targets"),
    ] {
        assert_eq!(config.decide(&target(url)).to_string(), expected, "{url}");
    }
    let decision = config.decide(&target("https://x.test:8448"));
    assert!(matches!(
        decision.reason(),
        Reason::Rule {
            position: 2,
            entry: None,
            ..
        }
    ));

    let error = |builder: tower_outbound_proxy::config::ProxyConfigBuilder| builder.build().unwrap_err().to_string();
    assert!(
        error(ProxyConfig::builder().proxy_for("x.test", "socks5://u:secret@p"))
            .starts_with("proxy_for=`socks5://u:***@p`:")
    );
    assert_eq!(
        error(ProxyConfig::builder().proxy_for("x.test,:1", "p")),
        "proxy_for: entry 2 `:1` matches nothing: there is no host before the port"
    );
}

#[tokio::test]
async fn a_predicate_is_a_service() {
    let service = BypassService::new(list("a.test"));
    for (url, direct) in [("http://a.test/", true), ("http://b.test/", false)] {
        assert_eq!(service.clone().oneshot(target(url)).await, Ok::<_, Infallible>(direct));
        let request = Request::get(url).body(()).unwrap();
        assert_eq!(service.clone().oneshot(&request).await, Ok(direct));
        let (parts, ()) = request.into_parts();
        assert_eq!(service.clone().oneshot(&parts).await, Ok(direct));
    }
    let no_host = Request::get("/path").body(()).unwrap();
    assert!(service.oneshot(&no_host).await.is_err());
}

#[tokio::test]
async fn a_predicate_is_a_filter() {
    let inner = service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(())) });
    let service = FilterLayer::new(BypassService::new(list("a.test"))).layer(inner);
    let send = |url: &str| service.clone().oneshot(Request::get(url).body(()).unwrap());
    assert!(send("http://a.test/").await.is_ok());
    let rejected = send("http://b.test/").await.unwrap_err();
    assert!(rejected.is::<NotDirectError>());
    assert_eq!(rejected.to_string(), "the target is not reached directly");
    assert!(send("/path").await.unwrap_err().is::<TargetError>());
}

fn proxy(address: &str) -> ProxyServer {
    address.parse().unwrap()
}

#[tokio::test]
async fn a_route_that_was_decided_outside_is_honoured() {
    let inner = service_fn(|request: Request<()>| async {
        let (parts, ()) = request.into_parts();
        Ok::<_, Infallible>(Response::new(parts))
    });
    let config = ProxyConfig::builder()
        .all("http://settings:secret@settings")
        .build()
        .unwrap();
    let decided = [
        ("http://direct.test/", Route::Direct, None),
        (
            "http://one.test/",
            Route::Forward(proxy("http://one:pass@one")),
            Some("Basic b25lOnBhc3M="),
        ),
        ("https://two.test/", Route::Tunnel(proxy("http://two:pass@two")), None),
    ];
    let routes = decided.clone();
    let decide = move |mut request: Request<()>| {
        let target = Target::try_from(request.uri()).unwrap();
        let decided = routes.iter().find(|(url, ..)| url.contains(target.name().unwrap()));
        let route = decided.unwrap().1.clone();
        async move {
            common::decide(&mut request, route);
            Ok::<_, Infallible>(request)
        }
    };
    let service = ServiceBuilder::new()
        .layer(AsyncFilterLayer::new(decide))
        .layer(ProxyLayer::new(config.clone()))
        .service(inner);
    for (url, route, authorization) in decided {
        let response = service
            .clone()
            .oneshot(Request::get(url).body(()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.extensions().get(), Some(&route));
        let sent = response
            .body()
            .headers
            .get("proxy-authorization")
            .map(|value| value.to_str().unwrap());
        assert_eq!(sent, authorization, "{url}");
    }
    // What TLS is to hide is never forwarded, whoever decided so.
    let mut request = Request::get("https://x.test/").body(()).unwrap();
    common::decide(&mut request, Route::Forward(proxy("http://one:pass@one")));
    let response = ProxyLayer::new(config).layer(inner).oneshot(request).await.unwrap();
    assert!(matches!(response.extensions().get(), Some(Route::Tunnel(_))));
    assert!(!response.body().headers.contains_key("proxy-authorization"));
}

#[tokio::test]
async fn a_destination_carries_its_route_to_the_connector() {
    let dialled = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let record = dialled.clone();
    let connector = service_fn(move |uri: Uri| {
        record.lock().unwrap().push(uri.to_string());
        async { Ok::<_, Infallible>(hyper_util::rt::TokioIo::new(tokio_test::io::Builder::new().build())) }
    });
    let config = ProxyConfig::builder().all("http://settings").build().unwrap();
    let connector = ProxyLayer::new(config).layer(connector);
    for (route, uri) in [
        (Route::Direct, "http://x.test/"),
        (Route::Forward(proxy("http://one")), "http://x.test/"),
    ] {
        let destination = Destination {
            uri: uri.parse().unwrap(),
            route: route.clone(),
        };
        assert_eq!(*connector.clone().oneshot(destination).await.unwrap().route(), route);
    }
    assert_eq!(*dialled.lock().unwrap(), ["http://x.test/", "http://one:1080/"]);
    // There is no port to ask a tunnel for.
    let destination = Destination {
        uri: "ftp://x.test/".parse().unwrap(),
        route: Route::Tunnel(proxy("one")),
    };
    assert!(
        connector
            .oneshot(destination)
            .await
            .unwrap_err()
            .target_error()
            .is_some()
    );
    assert_eq!(dialled.lock().unwrap().len(), 2);
}

#[test]
fn a_target_can_be_looked_at_by_its_address() {
    let named = target("https://Wiki.test:8443/");
    let ip: IpAddr = "10.1.2.3".parse().unwrap();
    assert_eq!(named.at(ip), target("https://10.1.2.3:8443"));
    assert!(list("10.0.0.0/8").matches(&named.at(ip)) && !list("10.0.0.0/8").matches(&named));
    assert_eq!(
        named.at("2001:db8::1".parse().unwrap()),
        target("https://[2001:db8::1]:8443")
    );
}
