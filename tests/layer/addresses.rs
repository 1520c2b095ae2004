//! Promise: every address of a name gets its chance soon, and an address is dialled as it was decided.

use std::{net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use tower::ServiceExt;
use tower_outbound_proxy::{
    Client, IpPolicy, ProxyConfig, ProxyLayer, TlsConfig, client::ClientConnector, connector::HappyEyeballs,
};
use tower_outbound_proxy_lab::{BlackHole, Ca, ForwardProxy, Listening, Origin, Resolver, connector_with, within};

use crate::common::{self, Handing, Wire};

const ANSWERS: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SILENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Far less than the 30 seconds in which everything has to be done.
const SOON: Duration = Duration::from_secs(3);

/// Makes the port of this server silent at another address, and returns a resolver for names with both. The silent one
/// is the first.
async fn behind_silence(server: &Listening) -> (BlackHole, Resolver) {
    let silent = BlackHole::start((SILENT, server.addr().port()).into()).await.unwrap();
    (silent, Resolver::to_all([SILENT.into(), ANSWERS.into()]))
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .expect("the second address is not tried soon")
}

fn through(proxy: Option<&str>) -> ProxyConfig {
    let builder = ProxyConfig::builder();
    match proxy {
        Some(proxy) => builder.all(proxy).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

/// Fetches with a [`Client`] over this connector, and returns the body.
async fn fetch(proxy: Option<&str>, connector: impl ClientConnector, ca: &Ca, url: &str) -> Bytes {
    let builder = Client::builder().config(through(proxy)).connector(connector);
    let tls = TlsConfig::builder().add_root_pem(ca.pem()).only_added_roots();
    let client = builder.target_tls(tls.build().unwrap()).build().unwrap();
    let request = Request::get(url).body(Full::<Bytes>::default()).unwrap();
    let response = soon(client.oneshot(request)).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_silent_address_of_a_target_does_not_hide_the_next() {
    let ca = Ca::new();
    for tls in [false, true] {
        let origin = match tls {
            true => Origin::https(&ca, &["x.test"], &["h2", "http/1.1"]).await,
            false => Origin::builder().host("x.test").start().await,
        };
        let (_silent, resolver) = behind_silence(&origin).await;
        let url = origin.url("/echo");
        let policy = IpPolicy::builder().allow_hosts("x.test").special_purpose();
        let guarded = policy.build().unwrap().http_connector_with(resolver.clone());
        fetch(None, HappyEyeballs::http(resolver.clone()), &ca, &url).await;
        fetch(None, guarded, &ca, &url).await;

        let stack = ProxyLayer::new(through(None))
            .https_connector_with(HappyEyeballs::http(resolver), ca.client_config(&["http/1.1"]));
        soon(common::get(&common::client(stack), &url)).await.unwrap();
        assert_eq!(origin.requests().len(), 3);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_silent_address_of_a_proxy_does_not_hide_the_next() {
    let ca = Ca::new();
    let plain = Origin::http().await;
    let secure = Origin::https(&ca, &["x.test"], &["h2", "http/1.1"]).await;
    let proxy = ForwardProxy::builder()
        .map("plain.test:80", plain.addr())
        .map("x.test:443", secure.addr())
        .start()
        .await;
    let (_silent, resolver) = behind_silence(&proxy).await;
    let address = format!("http://proxy.test:{}", proxy.port());
    for url in ["http://plain.test/echo", "https://x.test/echo"] {
        let guarded = || IpPolicy::special_purpose().http_connector_with(resolver.clone());
        fetch(Some(&address), HappyEyeballs::http(resolver.clone()), &ca, url).await;
        fetch(Some(&address), guarded(), &ca, url).await;

        let layer = ProxyLayer::new(through(Some(&address)));
        let stack = layer.https_connector_with(guarded(), ca.client_config(&["http/1.1"]));
        soon(common::get(&common::client(stack), url)).await.unwrap();
    }
    assert_eq!((plain.requests().len(), secure.requests().len()), (3, 3));
}

/// The types of the crate's own connectors show it.
#[test]
fn the_default_connectors_are_such_connectors() {
    let _: tower_outbound_proxy::client::ClientBuilder<HappyEyeballs> = Client::builder();
    let stack = ProxyLayer::new(through(None)).https_connector();
    let _: hyper_rustls::HttpsConnector<tower_outbound_proxy::Proxy<HappyEyeballs>> = stack.unwrap();
    let (_, _): (_, HappyEyeballs) = IpPolicy::special_purpose().http_connector().into_parts();
}

/// The error of a name names it, not one of its addresses.
#[tokio::test]
async fn the_error_names_the_name() {
    let closed = Origin::http().await.addr().port();
    let resolver = || Resolver::to_all([SILENT.into(), ANSWERS.into()]);
    let uri: Uri = format!("http://x.test:{closed}/").parse().unwrap();
    let policy = IpPolicy::builder()
        .special_purpose()
        .allow_hosts("x.test")
        .build()
        .unwrap();
    let (guarded, _) = policy.http_connector_with(resolver()).into_parts();
    let unguarded = HappyEyeballs::http(resolver());
    let nested = HappyEyeballs::with_resolver(unguarded.clone(), resolver());
    for error in [
        within(guarded.oneshot(uri.clone())).await.map(drop).unwrap_err(),
        within(unguarded.oneshot(uri.clone())).await.map(drop).unwrap_err(),
        within(nested.oneshot(uri)).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.to_string(), format!("x.test:{closed}: connecting failed"));
    }
}

/// A resolver may know no such name as `127.0.0.1.`, but the decision took it for an address.
#[tokio::test]
async fn an_address_is_dialled_in_its_usual_spelling() {
    let dialled = async |uri: &str| {
        let inner = Handing::new(Wire::saying([""]));
        common::connect(&ProxyLayer::new(through(None)), inner.clone(), uri)
            .await
            .unwrap();
        inner.asked().remove(0)
    };
    for (uri, expected) in [
        ("http://127.0.0.1.:8080/x?y", "http://127.0.0.1:8080/x?y"),
        ("http://127.0.0.1./", "http://127.0.0.1:80/"),
        ("http://0x/", "http://0.0.0.0:80/"),
        ("https://0X7f.1/", "https://127.0.0.1:443/"),
        ("http://user:secret@2130706433/", "http://127.0.0.1:80/"),
        ("wss://0x7f.1/", "wss://127.0.0.1:443/"),
        // Nothing to change.
        ("http://127.0.0.1/", "http://127.0.0.1/"),
        ("http://x.test./", "http://x.test./"),
        ("http://[0:0::1]/", "http://[0:0::1]/"),
    ] {
        assert_eq!(dialled(uri).await, expected);
    }

    let origin = Origin::http().await;
    let (ca, port) = (Ca::new(), origin.port());
    for host in ["127.0.0.1.", "0x7f.1", "0x", "0"] {
        let url = format!("http://{host}:{port}/echo");
        fetch(None, HappyEyeballs::http(Resolver::to_all([])), &ca, &url).await;
        fetch(None, unresolving(), &ca, &url).await;
        let stack = ProxyLayer::new(through(None)).https_connector_with(unresolving(), ca.client_config(&[]));
        within(common::get(&common::client(stack), &url)).await.unwrap();
    }
    assert_eq!(origin.requests().len(), 12);
}

/// Returns a connector for which no name exists.
fn unresolving() -> HttpConnector<Resolver> {
    connector_with(Resolver::to_all([]))
}
