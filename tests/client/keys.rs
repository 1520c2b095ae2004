//! The properties that two requests must have in common to share a connection.

use std::collections::HashMap;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_outbound_proxy::{Route, TlsConfig};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Listening, Origin, Resolver, connector_with, within};

use crate::common::decide;

use super::{
    TestClient, builder, client, eventually, fetch, forward, now, opened, read, request, send, so_far, through, tunnel,
    unproxied,
};

/// A request's URL, and the route that is chosen for it alone.
type Asked = (String, Option<Route>);

fn asked((url, route): &Asked, who: &str) -> Request<Full<Bytes>> {
    let mut request = request(url);
    request.headers_mut().insert("x-who", who.parse().unwrap());
    if let Some(route) = route {
        decide(&mut request, route.clone());
    }
    request
}

async fn in_turn(client: &TestClient, one: &Asked, other: &Asked) {
    for _ in 0..3 {
        for (asked_for, who) in [(one, "one"), (other, "other")] {
            let response = send(client, asked(asked_for, who)).await.unwrap();
            assert!(response.status().is_success(), "{asked_for:?}");
            if let Some(route) = &asked_for.1 {
                assert_eq!(response.extensions().get(), Some(route));
            }
            read(response).await;
        }
    }
}

async fn at_once(client: &TestClient, one: &Asked, other: &Asked) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        for (asked_for, who) in [(one, "one"), (other, "other")] {
            let (client, request) = (client.clone(), asked(asked_for, who));
            tasks.spawn(async move { read(send(&client, request).await.unwrap()).await });
        }
    }
    within(tasks.join_all()).await;
}

/// Returns true if no connection that a server saw carried requests of both.
fn unmixed(listening: &Listening) -> bool {
    let mut carried = HashMap::new();
    listening
        .requests()
        .iter()
        .all(|request| match request.header("x-who") {
            Some(who) => carried.entry(request.connection).or_insert(who.to_owned()) == who,
            None => true,
        })
}

struct Lab {
    ca: Ca,
    proxies: [ForwardProxy; 2],
    plain: [Origin; 2],
    tls: [Origin; 2],
}

impl Lab {
    async fn start(alpn: &str) -> Self {
        let ca = Ca::new();
        let names = ["a.test", "b.test"];
        Self {
            proxies: [
                ForwardProxy::builder().start().await,
                ForwardProxy::builder().start().await,
            ],
            plain: [Origin::http().await, Origin::http().await],
            tls: [
                Origin::https(&ca, &names, &[alpn]).await,
                Origin::https(&ca, &names, &[alpn]).await,
            ],
            ca,
        }
    }

    fn opened(&self) -> [usize; 2] {
        self.proxies.each_ref().map(|proxy| opened(proxy))
    }

    fn unmixed(&self) -> bool {
        self.proxies.iter().all(|proxy| unmixed(proxy))
            && self.plain.iter().chain(&self.tls).all(|origin| unmixed(origin))
    }
}

/// Returns pairs of requests that differ in one property. The numbers are the connections that each of the two proxies
/// may see.
fn different(lab: &Lab) -> Vec<(&'static str, Asked, Asked, [usize; 2])> {
    let [p, q] = &lab.proxies;
    let (http, https) = (lab.plain[0].port(), lab.tls[0].port());
    let other_https = lab.tls[1].port();
    let other_http = lab.plain[1].port();
    let plain = |route| (format!("http://a.test:{http}/"), route);
    let tls = |route| (format!("https://a.test:{https}/"), route);
    let ann = p.url_with("ann:1@");
    let bob = p.url_with("bob:1@");
    let ann2 = p.url_with("ann:2@");
    vec![
        (
            "user, forward",
            plain(Some(forward(&ann))),
            plain(Some(forward(&bob))),
            [2, 0],
        ),
        (
            "password, forward",
            plain(Some(forward(&ann))),
            plain(Some(forward(&ann2))),
            [2, 0],
        ),
        (
            "with and without credentials",
            plain(Some(forward(&ann))),
            plain(Some(forward(&p.url()))),
            [2, 0],
        ),
        ("user, tunnel", tls(Some(tunnel(&ann))), tls(Some(tunnel(&bob))), [2, 0]),
        (
            "password, tunnel",
            tls(Some(tunnel(&ann))),
            tls(Some(tunnel(&ann2))),
            [2, 0],
        ),
        (
            "proxy, forward",
            plain(Some(forward(&p.url()))),
            plain(Some(forward(&q.url()))),
            [1, 1],
        ),
        (
            "proxy, tunnel",
            tls(Some(tunnel(&p.url()))),
            tls(Some(tunnel(&q.url()))),
            [1, 1],
        ),
        (
            "forward and tunnel",
            plain(Some(forward(&p.url()))),
            plain(Some(tunnel(&p.url()))),
            [2, 0],
        ),
        (
            "forward and direct",
            plain(Some(forward(&p.url()))),
            plain(Some(Route::Direct)),
            [1, 0],
        ),
        (
            "tunnel and direct",
            plain(Some(tunnel(&p.url()))),
            plain(Some(Route::Direct)),
            [1, 0],
        ),
        (
            "tunnel and direct, TLS",
            tls(Some(tunnel(&p.url()))),
            tls(Some(Route::Direct)),
            [1, 0],
        ),
        ("settings and override", tls(None), tls(Some(Route::Direct)), [1, 0]),
        (
            "settings and another proxy",
            plain(None),
            plain(Some(forward(&q.url()))),
            [1, 1],
        ),
        (
            "port, tunnel",
            tls(None),
            (format!("https://a.test:{other_https}/"), None),
            [2, 0],
        ),
        (
            "port, direct",
            plain(Some(Route::Direct)),
            (format!("http://a.test:{other_http}/"), Some(Route::Direct)),
            [0, 0],
        ),
        (
            "host, tunnel",
            tls(None),
            (format!("https://b.test:{https}/"), None),
            [2, 0],
        ),
        (
            "host, direct",
            plain(Some(Route::Direct)),
            (format!("http://b.test:{http}/"), Some(Route::Direct)),
            [0, 0],
        ),
        (
            "scheme, tunnel",
            plain(Some(tunnel(&p.url()))),
            (format!("ws://a.test:{http}/"), Some(tunnel(&p.url()))),
            [2, 0],
        ),
        (
            "scheme, direct",
            plain(Some(Route::Direct)),
            (format!("ws://a.test:{http}/"), Some(Route::Direct)),
            [0, 0],
        ),
        (
            "scheme, tunnel with TLS",
            tls(None),
            (format!("wss://a.test:{https}/"), None),
            [2, 0],
        ),
    ]
}

/// The loop is over fresh servers, so that their records are of one pair.
#[tokio::test]
async fn requests_that_differ_share_no_connection() {
    for alpn in ["http/1.1", "h2"] {
        for pair in 0..different(&Lab::start(alpn).await).len() {
            let lab = Lab::start(alpn).await;
            let (name, one, other, expected) = different(&lab).swap_remove(pair);
            let client = client(through(lab.proxies[0].url()), &lab.ca);
            in_turn(&client, &one, &other).await;
            assert_eq!(so_far(&client), (2, 4), "{name}");
            assert_eq!(lab.opened(), expected, "{name}");
            at_once(&client, &one, &other).await;
            assert_eq!(client.stats().keys.len(), 2, "{name}");
            assert!(lab.unmixed(), "{name}");
        }
    }
}

#[tokio::test]
async fn requests_that_agree_share_a_connection() {
    let lab = Lab::start("h2").await;
    let [p, _] = &lab.proxies;
    let (http, https) = (lab.plain[0].port(), lab.tls[0].port());
    let pairs = [
        (
            "origins behind a forwarding proxy",
            format!("http://a.test:{http}/"),
            format!("http://b.test:{}/", lab.plain[1].port()),
            None,
        ),
        (
            "case, forward",
            format!("http://a.test:{http}/"),
            format!("http://A.Test:{http}/"),
            None,
        ),
        (
            "case, direct",
            format!("http://a.test:{http}/"),
            format!("HTTP://A.Test:{http}/"),
            Some(Route::Direct),
        ),
        (
            "case, tunnel",
            format!("https://a.test:{https}/"),
            format!("https://A.TEST:{https}/?q"),
            None,
        ),
        (
            "user information",
            format!("https://a.test:{https}/"),
            format!("https://me:s3cret@a.test:{https}/"),
            None,
        ),
        (
            "user information, direct",
            format!("http://a.test:{http}/"),
            format!("http://me@a.test:{http}/x"),
            Some(Route::Direct),
        ),
        (
            "path and query",
            format!("https://a.test:{https}"),
            format!("https://a.test:{https}/headers?a=b"),
            None,
        ),
        (
            "settings and the same by hand",
            format!("https://a.test:{https}"),
            format!("https://a.test:{https}/"),
            Some(tunnel(&p.url())),
        ),
    ];
    for (name, one, other, route) in pairs {
        // What the settings say for the first of the last pair is what the second is told.
        let first = (
            one.replace("/x", "/"),
            route.clone().filter(|route| matches!(route, Route::Direct)),
        );
        let second = (other.replace("/x", "/"), route);
        let client = client(through(p.url()), &lab.ca);
        in_turn(&client, &first, &second).await;
        assert_eq!(so_far(&client), (1, 5), "{name}");
        at_once(&client, &first, &second).await;
        let after = so_far(&client).0;
        at_once(&client, &first, &second).await;
        assert_eq!(so_far(&client).0, after, "{name}");
        assert_eq!(client.stats().keys.len(), 1, "{name}");
    }
}

/// The scheme's own port is the same written or not.
#[tokio::test]
async fn the_schemes_own_port_may_be_written() {
    let ca = Ca::new();
    let plain = Origin::http().await;
    let tls = Origin::https(&ca, &["a.test"], &["http/1.1"]).await;
    let proxy = ForwardProxy::builder()
        .map("a.test:80", plain.addr())
        .map("a.test:443", tls.addr())
        .start()
        .await;
    let client = client(through(proxy.url()).with_always_tunnel(true), &ca);
    for (with, without) in [
        ("http://a.test:80/", "http://a.test/"),
        ("https://a.test:443/", "https://a.test"),
    ] {
        let before = opened(&proxy);
        let answer = fetch(&client, with).await;
        assert_eq!(answer, "hello from origin, asked for a.test\n");
        assert_eq!(fetch(&client, without).await, answer);
        assert_eq!(opened(&proxy), before + 1);
    }
    let origins = client.stats().keys.into_iter().map(|key| key.origin.unwrap());
    let mut origins: Vec<_> = origins.collect();
    origins.sort();
    assert_eq!(origins, ["http://a.test:80", "https://a.test:443"]);
}

#[tokio::test]
async fn one_proxy_connection_serves_every_plain_origin() {
    let ca = Ca::new();
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().basic("user", "pass").start().await;
    let client = client(through(proxy.url_with("user:pass@")), &ca);
    for n in 0..20 {
        let response = send(&client, request(&format!("http://o{n}.test:{}/", origin.port())))
            .await
            .unwrap();
        assert!(matches!(response.extensions().get(), Some(Route::Forward(_))));
        assert!(read(response).await.starts_with(b"hello"));
    }
    assert_eq!((opened(&proxy), proxy.requests().len()), (1, 20));
    assert_eq!((so_far(&client), now(&client)), ((1, 19), [1, 1, 0, 0]));
    // At once, no more than there are requests.
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..100 {
        let (client, url) = (client.clone(), format!("http://o{n}.test:{}/slow/5", origin.port()));
        tasks.spawn(async move { fetch(&client, &url).await });
    }
    within(tasks.join_all()).await;
    assert!(opened(&proxy) <= 100);
    assert_eq!(client.stats().keys.len(), 1);
    assert_eq!(client.stats().keys[0].origin, None);
}

#[tokio::test]
async fn a_tunnel_serves_its_origin_only() {
    let ca = Ca::new();
    for alpn in ["http/1.1", "h2"] {
        let origin = Origin::https(&ca, &["a.test", "b.test"], &[alpn]).await;
        let proxy = ForwardProxy::builder().start().await;
        let client = client(through(proxy.url()), &ca);
        for host in ["a.test", "b.test", "a.test", "b.test"] {
            fetch(&client, &format!("https://{host}:{}/", origin.port())).await;
        }
        assert_eq!((opened(&proxy), origin.requests().len()), (2, 4), "{alpn}");
    }
}

/// Clones share the pool; clients that were built apart, with the same settings or with other TLS settings, do not.
#[tokio::test]
async fn the_pool_is_the_clients() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let one = client(unproxied(), &ca);
    let other: TestClient = builder(unproxied(), &ca)
        .target_tls(
            TlsConfig::builder()
                .dangerous_accept_any_certificate_for_testing()
                .build()
                .unwrap(),
        )
        .build()
        .unwrap();
    for client in [&one, &one.clone(), &other, &other.clone()] {
        fetch(client, &origin.url("/")).await;
    }
    assert_eq!(opened(&origin), 2);
}

/// Names are the proxy's to resolve; only the proxy's own is looked up, and once per connection.
#[tokio::test]
async fn a_targets_name_is_not_looked_up_but_on_a_direct_route() {
    let ca = Ca::new();
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().host("proxy.test").start().await;
    let resolver = Resolver::new();
    let client: TestClient = builder(through(proxy.url()), &ca)
        .connector(connector_with(resolver.clone()))
        .build()
        .unwrap();
    let url = format!("http://a.test:{}/", origin.port());
    for route in [None, Some(tunnel(&proxy.url())), Some(Route::Direct)] {
        for _ in 0..2 {
            read(send(&client, asked(&(url.clone(), route.clone()), "me")).await.unwrap()).await;
        }
    }
    assert_eq!(resolver.names(), ["proxy.test", "proxy.test", "a.test"]);
}

/// A route that would show a proxy what TLS is to hide is not taken as it is.
#[tokio::test]
async fn https_is_never_forwarded() {
    let lab = Lab::start("http/1.1").await;
    let client = client(unproxied(), &lab.ca);
    let url = format!("https://a.test:{}/", lab.tls[0].port());
    let route = Some(forward(&lab.proxies[0].url()));
    let response = send(&client, asked(&(url, route), "me")).await.unwrap();
    assert!(matches!(response.extensions().get(), Some(Route::Tunnel(_))));
    read(response).await;
    let heard = lab.proxies[0].requests();
    assert_eq!((heard.len(), heard[0].method.as_str()), (1, "CONNECT"));
    eventually(|| now(&client) == [1, 1, 0, 0]).await;
}
