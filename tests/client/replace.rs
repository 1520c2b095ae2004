//! Settings that are replaced while the client runs.

use std::sync::Arc;

use http_body_util::BodyExt;
use tower::Service;
use tower_outbound_proxy::{ProxyConfig, ProxyLayer, Route, Target, TlsConfig, client::ConfigHandle};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Listening, Origin, connector, within};

use crate::common::decide;

use super::{
    TestClient, builder, client, eventually, fetch, fetch_at_once, forward, get, now, opened, read, request, send,
    through, trusting, tunnel, unproxied,
};

struct Lab {
    ca: Ca,
    plain: Origin,
    tls: Origin,
    old: ForwardProxy,
    new: ForwardProxy,
}

impl Lab {
    async fn start(alpn: &[&str]) -> Self {
        let ca = Ca::new();
        Self {
            plain: Origin::builder().host("a.test").start().await,
            tls: Origin::https(&ca, &["a.test"], alpn).await,
            old: ForwardProxy::builder().basic("old", "secret-of-old").start().await,
            new: ForwardProxy::builder().basic("new", "secret-of-new").start().await,
            ca,
        }
    }

    fn through_old(&self) -> ProxyConfig {
        through(self.old.url_with("old:secret-of-old@"))
    }

    fn through_new(&self) -> ProxyConfig {
        through(self.new.url_with("new:secret-of-new@"))
    }

    /// Returns a client through the old proxy, with an idle connection to it for each origin.
    async fn client(&self) -> (TestClient, ConfigHandle) {
        let client = client(self.through_old(), &self.ca);
        fetch(&client, &self.plain.url("/")).await;
        fetch(&client, &self.tls.url("/")).await;
        assert_eq!((now(&client), opened(&self.old)), ([2, 2, 0, 0], 2));
        let handle = client.config_handle();
        (client, handle)
    }
}

#[tokio::test]
async fn new_requests_go_by_the_new_settings_and_idle_connections_to_the_old_proxy_are_closed() {
    for alpn in [&["http/1.1"][..], &["h2"]] {
        let lab = Lab::start(alpn).await;
        let (client, handle) = lab.client().await;
        handle.replace(lab.through_new());
        eventually(|| now(&client) == [0, 0, 0, 0]).await;
        within(lab.old.until(|old| old.connections_open() == 0)).await;

        fetch(&client, &lab.plain.url("/")).await;
        fetch(&client, &lab.tls.url("/")).await;
        assert_eq!((opened(&lab.old), opened(&lab.new)), (2, 2));
        assert!(lab.new.requests().iter().all(|request| {
            request.header("proxy-authorization") != lab.old.requests()[0].header("proxy-authorization")
        }));

        // Back again: the old proxy is no longer gone, so its connections are kept as ever.
        handle.replace(lab.through_old());
        fetch(&client, &lab.plain.url("/")).await;
        fetch(&client, &lab.plain.url("/")).await;
        assert_eq!((opened(&lab.old), now(&client)[1]), (3, 1));
    }
}

#[tokio::test]
async fn clones_see_the_new_settings_too() {
    let lab = Lab::start(&["http/1.1"]).await;
    let (client, handle) = lab.client().await;
    let clone = client.clone();
    handle.clone().replace(unproxied());
    let response = get(&clone, &lab.plain.url("/")).await;
    assert_eq!(response.extensions().get(), Some(&Route::Direct));
    read(response).await;
    assert_eq!((handle.config().unwrap().http(), clone.config().http()), (None, None));
}

#[tokio::test]
async fn running_requests_finish_through_the_old_proxy_and_their_connections_are_not_kept() {
    for alpn in [&["http/1.1"][..], &["h2"]] {
        let lab = Lab::start(alpn).await;
        let (client, handle) = lab.client().await;
        // One whose response is being read, and one that has no response yet, on each connection.
        let plain = get(&client, &lab.plain.url("/bytes/3000000")).await;
        let tls = get(&client, &lab.tls.url("/bytes/3000000")).await;
        let slow = [lab.plain.url("/slow/300"), lab.tls.url("/slow/300")].map(|url| {
            let client = client.clone();
            tokio::spawn(async move { fetch(&client, &url).await })
        });
        for origin in [&lab.plain, &lab.tls] {
            let asked = |origin: &Listening| {
                let requests = origin.requests();
                requests.iter().any(|request| request.target.ends_with("/slow/300"))
            };
            within(origin.until(asked)).await;
        }

        handle.replace(unproxied());
        assert_eq!(read(plain).await.len(), 3_000_000);
        assert_eq!(read(tls).await.len(), 3_000_000);
        for slow in slow {
            assert_eq!(within(slow).await.unwrap(), "slow\n");
        }
        eventually(|| now(&client) == [0, 0, 0, 0]).await;
        within(lab.old.until(|old| old.connections_open() == 0)).await;
    }
}

/// A request may have been decided by the old settings and have no connection yet.
#[tokio::test]
async fn a_connection_that_comes_too_late_serves_its_request_and_is_not_kept() {
    let lab = Lab::start(&["h2"]).await;
    for url in [lab.plain.url("/"), lab.tls.url("/")] {
        let mut client = client(lab.through_old(), &lab.ca);
        // The decision is made in `call`; nothing is polled before the settings change.
        let decided = client.call(request(&url));
        client.config_handle().replace(unproxied());
        let response = within(decided).await.unwrap();
        assert!(response.extensions().get::<Route>().unwrap().proxy().is_some());
        read(response).await;
        eventually(|| now(&client) == [0, 0, 0, 0]).await;
        within(lab.old.until(|old| old.connections_open() == 0)).await;
        let response = get(&client, &url).await;
        assert_eq!(response.extensions().get(), Some(&Route::Direct));
    }
}

#[tokio::test]
async fn connections_to_a_proxy_that_stays_stay() {
    let lab = Lab::start(&["http/1.1"]).await;
    let (client, handle) = lab.client().await;
    handle.replace(
        ProxyConfig::builder()
            .all(lab.old.url_with("old:secret-of-old@"))
            .no_proxy("elsewhere.test")
            .build()
            .unwrap(),
    );
    fetch(&client, &lab.plain.url("/")).await;
    fetch(&client, &lab.tls.url("/")).await;
    assert_eq!((opened(&lab.old), now(&client)), (2, [2, 2, 0, 0]));
}

/// The same proxy with another password is another proxy.
#[tokio::test]
async fn connections_with_credentials_that_are_gone_are_closed() {
    let ca = Ca::new();
    let origin = Origin::builder().host("a.test").start().await;
    let proxy = ForwardProxy::builder().start().await;
    let client = client(through(proxy.url_with("user:one@")), &ca);
    fetch(&client, &origin.url("/")).await;
    client.config_handle().replace(through(proxy.url_with("user:two@")));
    eventually(|| now(&client) == [0, 0, 0, 0]).await;
    fetch(&client, &origin.url("/")).await;
    assert_eq!(opened(&proxy), 2);
}

#[tokio::test]
async fn connections_under_other_tls_settings_are_closed() {
    let ca = Ca::new();
    let origin = Origin::builder().host("a.test").start().await;
    let identity = ca.issue(&["localhost", "127.0.0.1"]);
    let proxy = ForwardProxy::builder()
        .tls(identity.server_config(&["http/1.1"]))
        .start()
        .await;
    let config = |tls: &TlsConfig| {
        let builder = ProxyConfig::builder().all(proxy.url()).proxy_tls(tls.clone());
        builder.build().unwrap()
    };
    let any = TlsConfig::builder().dangerous_accept_any_certificate_for_testing();
    let (any, ca_only) = (any.build().unwrap(), trusting(&ca));
    let client = client(config(&any), &ca);
    fetch(&client, &origin.url("/")).await;

    // The same settings once more change nothing.
    client.config_handle().replace(config(&any));
    fetch(&client, &origin.url("/")).await;
    assert_eq!(opened(&proxy), 1);

    // What was not verified is not used by settings that verify.
    client.config_handle().replace(config(&ca_only));
    eventually(|| now(&client) == [0, 0, 0, 0]).await;
    fetch(&client, &origin.url("/")).await;
    assert_eq!(opened(&proxy), 2);

    let other = trusting(&Ca::new());
    client.config_handle().replace(config(&other));
    send(&client, request(&origin.url("/"))).await.unwrap_err();
}

/// A route that the request itself names is none of the settings' business.
#[tokio::test]
async fn a_proxy_that_only_a_request_names_is_never_gone() {
    let lab = Lab::start(&["http/1.1"]).await;
    let client = client(unproxied(), &lab.ca);
    let by_hand = || {
        let mut request = request(&lab.plain.url("/"));
        let route = forward(&lab.old.url_with("old:secret-of-old@"));
        decide(&mut request, route);
        request
    };
    read(send(&client, by_hand()).await.unwrap()).await;
    client.config_handle().replace(lab.through_new());
    read(send(&client, by_hand()).await.unwrap()).await;
    assert_eq!((opened(&lab.old), now(&client)[1]), (1, 1));
}

#[tokio::test]
async fn a_broken_setting_is_refused_and_the_old_one_stays() {
    let lab = Lab::start(&["http/1.1"]).await;
    let (client, handle) = lab.client().await;
    let error = handle
        .reload(|| ProxyConfig::from_vars([("HTTP_PROXY", "socks5://user:secret@proxy.test")]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "HTTP_PROXY=`socks5://user:***@proxy.test`: unsupported proxy scheme `socks5` (http and https are supported)"
    );
    fetch(&client, &lab.plain.url("/")).await;
    fetch(&client, &lab.tls.url("/")).await;
    assert_eq!((opened(&lab.old), now(&client)), (2, [2, 2, 0, 0]));

    handle.reload(|| Ok(lab.through_new())).unwrap();
    fetch(&client, &lab.plain.url("/")).await;
    assert_eq!(opened(&lab.new), 1);
}

#[tokio::test]
async fn a_handle_does_not_keep_the_client_alive() {
    let lab = Lab::start(&["http/1.1"]).await;
    let (client, handle) = lab.client().await;
    drop(client);
    within(lab.old.until(|old| old.connections_open() == 0)).await;
    assert!(handle.config().is_none());
    handle.replace(unproxied());
}

/// Whatever is replaced whenever, each request succeeds, and goes by one of the settings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_replacements_at_once_lose_nothing() {
    let lab = Lab::start(&["h2", "http/1.1"]).await;
    let client: TestClient = builder(lab.through_old(), &lab.ca)
        .connector(connector())
        .build()
        .unwrap();
    let handle = client.config_handle();
    let settings = Arc::new([lab.through_old(), lab.through_new(), unproxied()]);
    let replacing = tokio::spawn({
        let handle = handle.clone();
        async move {
            for turn in 0..300 {
                handle.replace(settings[turn % 3].clone());
                tokio::task::yield_now().await;
            }
        }
    });
    for _ in 0..10 {
        fetch_at_once(&client, &lab.plain.url("/"), 20).await;
        fetch_at_once(&client, &lab.tls.url("/"), 20).await;
    }
    replacing.await.unwrap();
    handle.replace(unproxied());
    eventually(|| client.stats().keys.iter().all(|key| key.route == Route::Direct) && now(&client)[2..] == [0, 0])
        .await;
    within(lab.old.until(|old| old.connections_open() == 0)).await;
    within(lab.new.until(|new| new.connections_open() == 0)).await;
    let refused = |proxy: &ForwardProxy| proxy.connections().iter().any(|one| one.sent_text().contains(" 407 "));
    assert!(
        !refused(&lab.old) && !refused(&lab.new),
        "one proxy's password went to the other"
    );
    let body = get(&client, &lab.plain.url("/")).await.into_body();
    body.collect().await.unwrap();
}

/// A proxy that only the replaced settings named stays for requests that name it themselves.
#[tokio::test]
async fn a_proxy_that_is_gone_from_the_settings_is_kept_where_a_request_names_it_still() {
    for alpn in [&["http/1.1"][..], &["h2"]] {
        let lab = Lab::start(alpn).await;
        let (client, handle) = lab.client().await;
        // A request that was under way does not change that.
        let running = get(&client, &lab.plain.url("/bytes/3000000")).await;
        handle.replace(lab.through_new());
        eventually(|| now(&client) == [1, 0, 0, 0]).await;

        let old = lab.old.url_with("old:secret-of-old@");
        for (url, route) in [(lab.plain.url("/"), forward(&old)), (lab.tls.url("/"), tunnel(&old))] {
            let before = opened(&lab.old);
            for _ in 0..5 {
                let mut by_hand = request(&url);
                decide(&mut by_hand, route.clone());
                read(send(&client, by_hand).await.unwrap()).await;
            }
            assert_eq!(opened(&lab.old), before + 1, "{url}");
        }
        assert_eq!(read(running).await.len(), 3_000_000);
        // What the old settings opened is closed, and what the requests' own routes did is kept.
        eventually(|| now(&client) == [2, 2, 0, 0]).await;
    }
}

/// A request that the old settings decided does not make a connection theirs that the new ones have opened.
#[tokio::test]
async fn a_late_request_leaves_a_connection_to_the_new_settings() {
    let lab = Lab::start(&["h2"]).await;
    let old = lab.old.url_with("old:secret-of-old@");
    for (url, route) in [(lab.plain.url("/"), forward(&old)), (lab.tls.url("/"), tunnel(&old))] {
        let client = client(lab.through_old(), &lab.ca);
        let late = client.clone().call(request(&url));
        client.config_handle().replace(lab.through_new());
        let mut by_hand = request(&url);
        decide(&mut by_hand, route);
        read(send(&client, by_hand).await.unwrap()).await;
        eventually(|| now(&client) == [1, 1, 0, 0]).await;
        read(within(late).await.unwrap()).await;
        eventually(|| now(&client) == [1, 1, 0, 0]).await;
        assert_eq!(client.stats().opened, 1, "{url}");
    }
}

/// A client whose proxy gets another password each hour does not keep them all.
#[tokio::test]
async fn settings_that_are_replaced_are_forgotten() {
    let client = client(unproxied(), &Ca::new());
    let handle = client.config_handle();
    let replace = |password: u32| handle.replace(through(format!("http://user:secret-{password}@proxy.test")));
    replace(0);
    let kept = allocation_counter::measure(|| (1..=1000).for_each(replace));
    assert!(kept.bytes_current < 1000, "{kept:?}");
}

/// An HTTP/2 connection in use counts for the limit, so it has to go on taking requests.
#[tokio::test]
async fn a_stream_under_way_does_not_shut_others_out_when_settings_come_back() {
    let lab = Lab::start(&["h2"]).await;
    let client: TestClient = builder(lab.through_old(), &lab.ca)
        .max_connections_per_key(1)
        .build()
        .unwrap();
    let (handle, url) = (client.config_handle(), lab.tls.url("/"));
    let running = get(&client, &lab.tls.url("/bytes/3000000")).await;
    let mut late = client.clone();
    let late = late.call(request(&url));
    handle.replace(lab.through_new());
    // One that was decided before, and one by the settings that have come back.
    read(within(late).await.unwrap()).await;
    handle.replace(lab.through_old());
    fetch(&client, &url).await;
    assert_eq!((opened(&lab.old), now(&client)), (1, [1, 0, 0, 0]));

    // When its last request has ended it is closed all the same.
    handle.replace(lab.through_new());
    assert_eq!(now(&client), [1, 0, 0, 0]);
    assert_eq!(read(running).await.len(), 3_000_000);
    eventually(|| now(&client) == [0, 0, 0, 0]).await;
    within(lab.old.until(|old| old.connections_open() == 0)).await;
}

#[tokio::test]
async fn a_predicate_and_always_tunnel_are_settings_and_go_with_the_others() {
    let lab = Lab::start(&["http/1.1"]).await;
    let layer = ProxyLayer::new(lab.through_old()).with_always_tunnel(true);
    let layer = layer.with_bypass(|target: &Target<'_>| target.name() == Some("exempt.test"));
    let client: TestClient = builder(unproxied(), &lab.ca).layer(layer).build().unwrap();
    let exempt = format!("http://exempt.test:{}/", lab.plain.port());
    let old = lab.old.url_with("old:secret-of-old@");
    for (url, before, after) in [
        (lab.plain.url("/"), tunnel(&old), forward(&old)),
        (exempt, Route::Direct, forward(&old)),
    ] {
        for route in [before, after] {
            let config = match &route {
                Route::Forward(_) => lab.through_old(),
                _ => client.config_handle().config().unwrap(),
            };
            client.config_handle().replace(config);
            assert_eq!(get(&client, &url).await.extensions().get(), Some(&route), "{url}");
        }
        let with_both = ProxyConfig::builder()
            .all(lab.old.url_with("old:secret-of-old@"))
            .always_tunnel(true);
        let with_both = with_both.bypass(|target: &Target<'_>| target.name() == Some("exempt.test"));
        client.config_handle().replace(with_both.build().unwrap());
    }
}
