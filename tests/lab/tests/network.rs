//! Names and addresses whose servers are on loopback.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

mod common;

use std::io::{self, ErrorKind};

use common::{ask, get};
use http::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::net::TcpStream;
use tower_outbound_proxy_lab::{Network, Origin, within};
use tower_service::Service;

async fn connect(network: &Network, uri: &str) -> io::Result<TcpStream> {
    let uri: Uri = uri.parse().unwrap();
    within(network.clone().call(uri)).await.map(|io| io.into_inner())
}

#[tokio::test]
async fn a_host_is_reached_by_name_and_by_address() {
    let (clear, other) = (Origin::http().await, Origin::http().await);
    let network = Network::new([
        ("a.test", ([93, 184, 0, 1], 80), clear.addr()),
        ("a.test", ([93, 184, 0, 1], 443), other.addr()),
        ("b.test", ([10, 0, 0, 1], 6379), other.addr()),
    ]);
    for (uri, server) in [
        ("http://a.test/", &clear),
        ("https://A.test/", &other),
        ("redis://b.test:6379/", &other),
        ("http://93.184.0.1/", &clear),
        ("https://93.184.0.1/", &other),
    ] {
        let before = server.requests().len();
        let answer = ask(connect(&network, uri).await.unwrap(), get("/", "x")).await;
        assert_eq!(
            (answer.status().as_u16(), server.requests().len()),
            (200, before + 1),
            "{uri}"
        );
    }
    // An address needs no look-up.
    assert_eq!(network.resolved(), ["a.test", "a.test", "b.test"]);
}

#[tokio::test]
async fn a_resolver_gives_the_address_in_the_network() {
    let network = Network::new([("a.test", ([10, 0, 0, 1], 80), ([127, 0, 0, 1], 1).into())]);
    let resolve = |name: &str| network.clone().call(name.parse::<Name>().unwrap());
    let found: Vec<_> = within(resolve("a.test")).await.unwrap().collect();
    assert_eq!(found, [([10, 0, 0, 1], 0).into()]);
    let error = within(resolve("nowhere.test")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(network.resolved(), ["a.test", "nowhere.test"]);
}

#[tokio::test]
async fn beside_its_hosts_only_127_0_0_1_is_reached() {
    let origin = Origin::http().await;
    let network = Network::new([("a.test", ([10, 0, 0, 1], 80), origin.addr())]);
    connect(&network, &origin.url("/")).await.unwrap();
    for (uri, kind) in [
        ("http://nowhere.test/", ErrorKind::NotFound),
        ("http://a.test:81/", ErrorKind::ConnectionRefused),
        ("http://10.0.0.2/", ErrorKind::ConnectionRefused),
        ("redis://a.test/", ErrorKind::InvalidInput),
        ("/", ErrorKind::InvalidInput),
    ] {
        assert_eq!(connect(&network, uri).await.unwrap_err().kind(), kind, "{uri}");
    }
    // Nor by another of this machine's names and addresses.
    for host in ["localhost", "127.0.0.2", "[::1]"] {
        let uri = format!("http://{host}:{}/", origin.port());
        connect(&network, &uri).await.unwrap_err();
    }
}
