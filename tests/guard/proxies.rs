//! Every client that can have a guard reaches proxies at denied addresses, and nothing else at these addresses.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::{client::legacy, rt::TokioExecutor};
use tower::{BoxError, Layer, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_outbound_proxy::{
    Client, IpPolicy, ProxyConfig, ProxyLayer, TlsConfig, client::ClientBuilder, config::NoProxySetting,
    guard::GuardLayer,
};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Origin, Resolver, ScriptedProxy, Step, connector, within};

use super::{Names, denied, except, guarded, ip};
use crate::common;

type Answer = Pin<Box<dyn Future<Output = Result<StatusCode, BoxError>>>>;
type Get = Box<dyn Fn(&str) -> Answer>;

fn trusting(ca: &Ca) -> TlsConfig {
    let tls = TlsConfig::builder().add_root_pem(ca.pem()).only_added_roots();
    tls.build().unwrap()
}

fn legacy<C>(connector: C) -> Get
where
    C: legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let client = common::client(connector);
    Box::new(move |uri| {
        let (client, uri) = (client.clone(), uri.to_owned());
        Box::pin(async move { Ok(within(common::get(&client, &uri)).await?.status()) })
    })
}

fn pooled(client: Client<Full<Bytes>>) -> Get {
    Box::new(move |uri| {
        let request = Request::get(uri).body(Full::default()).unwrap();
        let answer = client.clone().oneshot(request);
        Box::pin(async move { Ok(within(answer).await?.status()) })
    })
}

/// Returns every stack that has a guard. Names are loopback: the lab's resolver serves the first four, and all resolve
/// `localhost`.
fn stacks(config: &ProxyConfig, policy: &IpPolicy, ca: &Ca) -> [(&'static str, Get); 6] {
    let (layer, tls) = (ProxyLayer::new(config.clone()), trusting(ca));
    let pair = || policy.http_connector_with(Resolver::new());
    let around = || {
        GuardLayer::new(policy.clone())
            .with_resolver(Resolver::new())
            .layer(connector())
    };
    let client = || -> ClientBuilder { Client::builder().config(config.clone()).target_tls(tls.clone()) };
    [
        ("legacy, pair", legacy(layer.https_connector_with(pair(), tls.clone()))),
        (
            "legacy, layer",
            legacy(layer.https_connector_with(around(), tls.clone())),
        ),
        ("client, pair", pooled(client().connector(pair()).build().unwrap())),
        ("client, layer", pooled(client().connector(around()).build().unwrap())),
        ("client, guard", pooled(client().guard(policy.clone()).build().unwrap())),
        ("client, guard and connector", {
            pooled(client().guard(policy.clone()).connector(connector()).build().unwrap())
        }),
    ]
}

fn through(proxy: &str, no_proxy: impl Into<NoProxySetting>) -> ProxyConfig {
    ProxyConfig::builder().all(proxy).no_proxy(no_proxy).build().unwrap()
}

#[tokio::test]
async fn a_proxy_at_a_denied_address_is_reached() {
    let ca = Ca::new();
    let (http, https) = (Origin::http().await, Origin::https(&ca, &["tls.test"], &[]).await);
    for host in ["127.0.0.1", "localhost"] {
        let proxy = ForwardProxy::builder()
            .host(host)
            .map("plain.test:80", http.addr())
            .map("10.0.0.1:80", http.addr())
            .map("tls.test:443", https.addr())
            .start()
            .await;
        for (stack, get) in stacks(&through(&proxy.url(), ""), &IpPolicy::special_purpose(), &ca) {
            // What an address means is the proxy's to say.
            for uri in [
                "http://plain.test/status/299",
                "https://tls.test/status/299",
                "http://10.0.0.1/status/299",
            ] {
                let before = (proxy.requests().len(), http.requests().len() + https.requests().len());
                let status = get(uri)
                    .await
                    .unwrap_or_else(|error| panic!("{stack}, {host}, {uri}: {error:?}"));
                assert_eq!(status, 299, "{stack}, {host}, {uri}");
                let after = (proxy.requests().len(), http.requests().len() + https.requests().len());
                assert_eq!(after, (before.0 + 1, before.1 + 1), "{stack}, {host}, {uri}");
            }
        }
    }
}

#[tokio::test]
async fn a_direct_target_at_the_same_address_or_of_the_same_name_is_refused() {
    let ca = Ca::new();
    let origin = Origin::http().await;
    for host in ["127.0.0.1", "localhost"] {
        let proxy = ForwardProxy::builder().host(host).start().await;
        let exempt = through(&proxy.url(), "exempt.test");
        let stacks = stacks(&exempt, &IpPolicy::special_purpose(), &ca).into_iter();
        for (at, (stack, get)) in stacks.enumerate() {
            let mut uris = vec![
                // Loopback is direct without being listed.
                proxy.url(),
                format!("https://{}/", proxy.authority()),
                format!("http://127.0.0.1:{}/", proxy.port()),
                format!("http://localhost:{}/", proxy.port()),
                format!("http://0x7f.1:{}/", origin.port()),
                format!("http://localhost:{}/", origin.port()),
            ];
            if at < 4 {
                uris.push(format!("http://exempt.test:{}/", proxy.port()));
                uris.push(format!("https://exempt.test:{}/", origin.port()));
            }
            for uri in uris {
                let error = get(&uri).await.expect_err(&uri);
                assert!(denied(&*error).is_loopback(), "{stack}, {uri}: {error:?}");
            }
        }
        assert_eq!(proxy.connections_opened(), 0);
    }
    assert_eq!(origin.connections_opened(), 0);
}

#[tokio::test]
async fn an_excepted_target_is_reached_directly() {
    let ca = Ca::new();
    let (http, https) = (Origin::http().await, Origin::https(&ca, &["localhost"], &[]).await);
    let policy = except(&format!("localhost:{}, 127.0.0.1:{}", https.port(), http.port()));
    for (stack, get) in stacks(&ProxyConfig::builder().build().unwrap(), &policy, &ca) {
        for uri in [
            format!("http://127.0.0.1:{}/status/299", http.port()),
            format!("http://localhost:{}/status/299", http.port()),
            format!("https://localhost:{}/status/299", https.port()),
        ] {
            let status = get(&uri)
                .await
                .unwrap_or_else(|error| panic!("{stack}, {uri}: {error:?}"));
            assert_eq!(status, 299, "{stack}, {uri}");
        }
        let error = get(&format!("http://127.0.0.1:{}/", https.port())).await.unwrap_err();
        assert_eq!(denied(&*error), ip("127.0.0.1"), "{stack}");
    }
}

#[tokio::test]
async fn a_guarded_clients_own_connector_is_asked_for_addresses_alone() {
    let origin = Origin::http().await;
    let resolver = Resolver::to(ip("127.0.0.2"));
    let connector = tower_outbound_proxy_lab::connector_with(resolver.clone());
    let client = Client::builder().config(ProxyConfig::builder().build().unwrap());
    let get = pooled(client.connector(connector).guard(except("localhost")).build().unwrap());
    assert_eq!(
        get(&format!("http://localhost:{}/status/299", origin.port()))
            .await
            .unwrap(),
        299
    );
    assert_eq!(resolver.lookups(), 0);
}

#[tokio::test]
async fn a_redirect_to_a_denied_address_is_refused() {
    let secret = Origin::http().await;
    for location in [
        format!("http://127.0.0.1:{}/", secret.port()),
        format!("http://[::ffff:7f00:1]:{}/", secret.port()),
        format!("http://rebound.test:{}/", secret.port()),
    ] {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let good = ScriptedProxy::start([Step::send(head), Step::Close]).await;
        let connector = guarded(except("good.test").http_connector_with(Names::new(["127.0.0.1"])));
        let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
        let service = FollowRedirectLayer::new().layer(client);
        let request = Request::get(format!("http://good.test:{}/", good.port()));
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let error = within(service.oneshot(request)).await.unwrap_err();
        assert_eq!(denied(&error), ip("127.0.0.1"), "{location}");
        assert_eq!(good.connections_opened(), 1);
    }
    assert_eq!(secret.connections_opened(), 0);
}
