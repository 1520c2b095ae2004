//! Cases in which the proxy learns who its clients are.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::{client::legacy, rt::TokioExecutor};
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt, service_fn};
use tower_outbound_proxy::{
    auth::{CredentialsRequest, Negotiate},
    connector::ProxyVersion,
};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Kind, Origin, connector, pattern, servers::Realm, within};

use super::realm::{Lab, client, client_of, get, layer};
use crate::{
    client::eventually,
    real_proxies::lab::{PASSWORD, PROXY, USER, trust},
};

pub async fn whoever_is_logged_in_is_known_to_the_proxy(realm: Realm) {
    let lab = Lab::start(&realm).await;
    for url in [lab.url(), lab.tls_url()] {
        let client = lab.client(&url, Negotiate::new());
        for origin in [&lab.https, &lab.http] {
            // A second request needs a token of its own, or uses the tunnel again.
            for _ in 0..2 {
                let response = get(&client, &origin.url("/")).await;
                assert_eq!(response.status(), StatusCode::OK);
                // The next request finds the connection idle, and opens no other beside it.
                eventually(|| client.stats().idle() as u64 == client.stats().opened).await;
            }
        }
    }
    let (https, http) = (lab.https.authority(), lab.http.url("/"));
    let requests = lab.logged(6).await;
    let tunnel = format!("CONNECT {https} HTTP/1.1 200 alice@LAB.TEST ");
    let forwarded = format!("GET {http} HTTP/1.1 200 alice@LAB.TEST ");
    let count = |start: &str| requests.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((count(&tunnel), count(&forwarded)), (2, 4), "{requests:#?}");
    for origin in [&lab.https, &lab.http] {
        assert!(
            origin
                .requests()
                .iter()
                .all(|one| one.header("proxy-authorization").is_none())
        );
    }
}

pub async fn a_principal_is_chosen_among_those_logged_in(realm: Realm) {
    let lab = Lab::start(&realm).await;
    let client = lab.client(&lab.url(), Negotiate::new().principal("alice@LAB.TEST"));
    get(&client, &lab.http.url("/")).await;
    assert!(
        lab.logged(1).await[0].contains(" 200 alice@LAB.TEST "),
        "{:?}",
        lab.logged(1).await
    );
}

pub async fn two_identities_share_no_connection(realm: Realm) {
    let lab = Lab::start(&realm).await;
    // Each question is another user's, whatever the requests are.
    let asked = Arc::new(AtomicUsize::new(0));
    let provider = service_fn({
        let asked = asked.clone();
        move |request: CredentialsRequest| {
            let user = ["alice@LAB.TEST", "bob@LAB.TEST"][asked.fetch_add(1, Relaxed) % 2];
            Negotiate::new().principal(user).oneshot(request)
        }
    });
    let client = lab.client(&lab.url(), provider);
    for _ in 0..4 {
        let mut at_once = JoinSet::new();
        for url in [lab.http.url("/"), lab.https.url("/"), lab.http.url("/")] {
            let client = client.clone();
            at_once.spawn(async move { get(&client, &url).await.status() });
        }
        within(at_once.join_all()).await;
    }
    drop(client);
    assert!(asked.load(Relaxed) >= 9);
    let requests = lab.logged(asked.load(Relaxed)).await;
    let mut users = BTreeMap::new();
    for line in &requests {
        let words: Vec<_> = line.split(' ').collect();
        let [.., user, port] = words[..] else { panic!("{line}") };
        assert!(user.ends_with("@LAB.TEST"), "{line}");
        assert_eq!(*users.entry(port).or_insert(user), user, "{requests:#?}");
    }
}

pub async fn each_token_serves_once_and_for_one_proxy(_: Realm) {
    let (origin_ca, http) = (Ca::new(), Origin::builder().host("origin.test").start().await);
    let https = Origin::https(&origin_ca, &["origin.test"], &["http/1.1"]).await;
    let start = || async {
        let proxy = ForwardProxy::builder().map(&https.authority(), https.addr());
        proxy.map(&http.authority(), http.addr()).start().await
    };
    let (proxy, other) = (start().await, start().await);
    for (proxy, name) in [(&proxy, PROXY), (&other, "other.test")] {
        let url = format!("http://{name}:{}", proxy.port());
        let tls = || trust(origin_ca.pem());
        let client = client(&url, tls(), tls(), Negotiate::new());
        for origin in [&http, &http, &https] {
            get(&client, &origin.url("/")).await;
        }
    }
    let (one, two) = (proxy.requests(), other.requests());
    let tokens: Vec<_> = one
        .iter()
        .chain(&two)
        .map(|one| one.header("proxy-authorization").unwrap())
        .collect();
    assert_eq!(one.iter().filter(|request| request.kind() == Kind::Connect).count(), 1);
    assert_eq!(tokens.len(), 6);
    for (at, token) in tokens.iter().enumerate() {
        // SPNEGO, not Kerberos alone (RFC 4559 4.1): an application tag with SPNEGO's object identifier.
        assert!(token.starts_with("Negotiate YII"), "{token}");
        assert!(!tokens[..at].contains(token), "sent twice: {token}");
    }
}

/// Each token goes out unasked, so no body is sent in vain.
pub async fn a_body_goes_out_once(realm: Realm) {
    let lab = Lab::start(&realm).await;
    let client = lab.client(&lab.url(), Negotiate::new());
    let body = pattern(1 << 20);
    for origin in [&lab.http, &lab.https] {
        let request = Request::post(origin.url("/")).body(Full::new(body.clone())).unwrap();
        let response = within(client.clone().oneshot(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let requests = origin.requests();
        assert_eq!(requests.len(), 1);
        assert!(requests[0].body == body);
    }
    drop(client);
    let requests = lab.logged(2).await;
    assert!(
        requests.iter().all(|line| line.contains(" 200 alice@LAB.TEST ")),
        "{requests:#?}"
    );
}

pub async fn the_layer_around_a_connector_opens_tunnels(realm: Realm) {
    let lab = Lab::start(&realm).await;
    for url in [lab.url(), lab.tls_url()] {
        let layer = layer(&url, trust(lab.proxy_ca.pem())).with_always_tunnel(true);
        let layer = layer.with_credentials(Negotiate::new());
        let connector = layer.https_connector_with(connector(), trust(lab.origin_ca.pem()));
        let client = legacy::Client::builder(TokioExecutor::new()).build::<_, Full<_>>(connector);
        let client = layer.layer(client);
        for origin in [&lab.http, &lab.https] {
            for request in [Request::get(origin.url("/")), Request::post(origin.url("/"))] {
                let request = request.body(Full::new(pattern(1000))).unwrap();
                let response = within(client.clone().oneshot(request)).await.unwrap();
                assert_eq!(response.status(), StatusCode::OK);
            }
        }
    }
    let requests = lab.logged(4).await;
    let is_tunnel = |line: &String| line.starts_with("CONNECT ") && line.contains(" 200 alice@LAB.TEST ");
    assert!(requests.iter().all(is_tunnel), "{requests:#?}");
}

pub async fn the_layer_around_another_client_cannot_wait(realm: Realm) {
    let lab = Lab::start(&realm).await;
    let layer = layer(&lab.url(), trust(lab.proxy_ca.pem())).with_credentials(Negotiate::new());
    let client = layer.layer(legacy::Client::builder(TokioExecutor::new()).build(layer.layer(connector())));
    for _ in 0..2 {
        let request = Request::get(lab.http.url("/"))
            .body(Full::<bytes::Bytes>::default())
            .unwrap();
        let response = within(client.clone().oneshot(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    }
    assert_eq!(lab.http.connections_opened(), 0);
}

pub async fn twenty_requests_at_once(realm: Realm) {
    let lab = Lab::start(&realm).await;
    let client = lab.client(&lab.url(), Negotiate::new());
    let mut at_once = JoinSet::new();
    for at in 0..20 {
        let (client, url) = (client.clone(), [&lab.http, &lab.https][at % 2].url("/"));
        at_once.spawn(async move { get(&client, &url).await });
    }
    assert_eq!(within(at_once.join_all()).await.len(), 20);
    drop(client);
    let requests = lab.logged(20).await;
    assert!(
        requests.iter().all(|line| line.contains(" 200 alice@LAB.TEST ")),
        "{requests:#?}"
    );
}

/// nghttpx hands each tunnel on to Squid, with its token.
pub async fn tunnels_share_a_connection_over_http2(realm: Realm) {
    const TUNNELS: usize = 8;
    let lab = Lab::with_http2(&realm).await;
    let layer = layer(&lab.tls_url(), trust(lab.proxy_ca.pem())).with_credentials(Negotiate::new());
    let client = client_of(
        layer.with_proxy_version(ProxyVersion::Http2),
        trust(lab.origin_ca.pem()),
    );
    let mut at_once = JoinSet::new();
    for _ in 0..TUNNELS {
        let (client, url) = (client.clone(), lab.https.url("/slow/300"));
        at_once.spawn(async move { get(&client, &url).await });
    }
    within(at_once.join_all()).await;
    get(&client, &lab.http.url("/")).await;
    drop(client);
    let requests = lab.logged(TUNNELS + 1).await;
    let tunnels = requests.iter().filter(|line| line.starts_with("CONNECT "));
    let ports: Vec<_> = tunnels
        .map(|line| line.split_once(" HTTP/2 200 - ").unwrap().1)
        .collect();
    assert_eq!(ports, [ports[0]; TUNNELS], "{requests:#?}");
    within(async {
        while lab.squid.log().matches(" 200 alice@LAB.TEST ").count() < TUNNELS + 1 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Squid offers Negotiate first. A password answers the other scheme.
pub async fn a_password_serves_beside_negotiate(realm: Realm) {
    let lab = Lab::start(&realm).await;
    let url = lab.url().replace("http://", &format!("http://{USER}:{PASSWORD}@"));
    let client = client_of(layer(&url, trust(lab.proxy_ca.pem())), trust(lab.origin_ca.pem()));
    get(&client, &lab.http.url("/")).await;
    get(&client, &lab.https.url("/")).await;
    drop(client);
    let requests = lab.logged(2).await;
    assert!(
        requests.iter().all(|line| line.contains(&format!(" 200 {USER} "))),
        "{requests:#?}"
    );
}
