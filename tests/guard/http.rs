//! hyper-util's `HttpConnector` under a guard, on real sockets, and the guarded resolver on its own.

use std::{io, net::TcpListener};

use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use tower::{Service, ServiceExt};
use tower_outbound_proxy::{IpPolicy, Target, error::DeniedError, guard::GuardedResolver};
use tower_outbound_proxy_lab::{Origin, Resolver, within};

use super::{Names, denied, except, guarded, ip};
use crate::common;

/// Returns a listener on this address and this origin's port. Nothing may connect to it.
fn trap(address: &str, origin: &Origin) -> TcpListener {
    let trap = TcpListener::bind((address, origin.port())).unwrap();
    trap.set_nonblocking(true).unwrap();
    trap
}

fn assert_untouched(trap: &TcpListener) {
    assert_eq!(trap.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

async fn get<R>(policy: &IpPolicy, resolver: R, uri: &str) -> Result<u16, hyper_util::client::legacy::Error>
where
    R: Service<Name, Error = io::Error> + Clone + Send + Sync + 'static,
    R::Response: Iterator<Item = std::net::SocketAddr> + Send,
    R::Future: Send,
{
    let client = common::client(guarded(policy.http_connector_with(resolver)));
    within(common::get(&client, uri))
        .await
        .map(|response| response.status().as_u16())
}

#[tokio::test]
async fn a_name_is_connected_to_at_an_allowed_address() {
    let origin = Origin::http().await;
    let trap = trap("127.0.0.2", &origin);
    let uri = format!("http://x.test:{}/status/299", origin.port());
    for answer in [
        "127.0.0.2 127.0.0.1",
        "127.0.0.1 127.0.0.2",
        "::ffff:127.0.0.2 127.0.0.1",
    ] {
        let names = Names::new([answer]);
        assert_eq!(
            get(&except("127.0.0.1"), names.clone(), &uri).await.unwrap(),
            299,
            "{answer}"
        );
        assert_eq!(names.asked(), ["x.test"]);
    }
    assert_eq!(origin.connections_opened(), 3);
    assert_untouched(&trap);
}

#[tokio::test]
async fn nothing_leaves_for_a_denied_address() {
    let origin = Origin::http().await;
    let port = origin.port();
    let policy = IpPolicy::special_purpose();
    for host in [
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "127.1",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "x.test",
        "localhost",
    ] {
        let error = get(&policy, Resolver::new(), &format!("http://{host}:{port}/"))
            .await
            .unwrap_err();
        assert_eq!(denied(&error), ip("127.0.0.1"), "{host}");
    }
    let error = get(&policy, Resolver::new(), &format!("http://[64:ff9b::7f00:1]:{port}/"))
        .await
        .unwrap_err();
    assert_eq!(denied(&error), ip("64:ff9b::7f00:1"));
    assert_eq!(origin.connections_opened(), 0);
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_connected_to() {
    let origin = Origin::http().await;
    let trap = trap("127.0.0.2", &origin);
    let names = Names::new(["127.0.0.1", "127.0.0.2"]);
    let uri = format!("http://x.test:{}/status/299", origin.port());
    let policy = except("127.0.0.1");
    assert_eq!(get(&policy, names.clone(), &uri).await.unwrap(), 299);
    assert_eq!(names.asked(), ["x.test"]);
    assert_eq!(denied(&get(&policy, names, &uri).await.unwrap_err()), ip("127.0.0.2"));
    assert_untouched(&trap);
}

#[tokio::test]
async fn exceptions_know_the_name_and_the_port() {
    let origin = Origin::http().await;
    let port = origin.port();
    for (list, allowed) in [
        ("x.test".to_owned(), true),
        (format!("x.test:{port}"), true),
        (format!("127.0.0.1:{port}"), true),
        ("x.test:1".to_owned(), false),
        ("127.0.0.1:1".to_owned(), false),
        ("y.test".to_owned(), false),
    ] {
        for host in ["x.test", "X.Test."] {
            let got = get(
                &except(&list),
                Resolver::new(),
                &format!("http://{host}:{port}/status/299"),
            )
            .await;
            match allowed {
                true => assert_eq!(got.unwrap(), 299, "{list}"),
                false => assert_eq!(denied(&got.unwrap_err()), ip("127.0.0.1"), "{list}"),
            }
        }
    }
}

#[tokio::test]
async fn the_port_that_is_checked_is_the_one_connected_to() {
    let names = Names::new(["127.0.0.1"]);
    // To an `HttpConnector` everything but `https` is port 80.
    let dial = async |list| {
        let connector = guarded(except(list).http_connector_with(names.clone()));
        within(connector.oneshot("wss://x.test/".parse().unwrap())).await
    };
    assert_eq!(denied(&dial("x.test:80").await.unwrap_err()), ip("127.0.0.1"));
    match dial("x.test:443").await {
        Ok(stream) => assert_eq!(stream.inner().peer_addr().unwrap().port(), 443),
        Err(error) => assert!(common::everything(&error).contains("127.0.0.1:443"), "{error:?}"),
    }
}

/// Whatever a resolver says of ports, and however the scheme is spelled: `HttpConnector` takes 80 for all but `https`.
#[tokio::test]
async fn an_exception_for_one_port_opens_no_other() {
    for (scheme, list, answer, allowed) in [
        ("HTTPS", "x.test:443", "127.0.0.1", Some(443)),
        ("HTTPS", "x.test:80", "127.0.0.1", None),
        ("wss", "x.test:443", "127.0.0.1:8443", Some(443)),
        ("wss", "x.test:8443", "127.0.0.1:8443", None),
        ("https", "x.test:8443", "127.0.0.1:8443", Some(8443)),
    ] {
        let uri = http::Uri::builder()
            .scheme(scheme)
            .authority("x.test")
            .path_and_query("/");
        let connector = guarded(except(list).http_connector_with(Names::new([answer])));
        let dialled = within(connector.oneshot(uri.build().unwrap())).await;
        let case = format!("{scheme} {list} {answer}");
        match (dialled, allowed) {
            (Ok(stream), Some(port)) => assert_eq!(stream.inner().peer_addr().unwrap().port(), port, "{case}"),
            (Err(error), Some(port)) => {
                let everything = common::everything(&error);
                assert!(everything.contains(&format!("127.0.0.1:{port}")), "{case}: {error:?}");
            }
            (Err(error), None) => assert_eq!(denied(&error), ip("127.0.0.1"), "{case}"),
            (Ok(stream), None) => panic!("{case}: {:?}", stream.inner().peer_addr()),
        }
    }
}

#[tokio::test]
async fn the_systems_resolver_is_guarded_too() {
    let origin = Origin::http().await;
    let uri = format!("http://localhost:{}/status/299", origin.port());
    let client = common::client(guarded(IpPolicy::special_purpose().http_connector()));
    let error = within(common::get(&client, &uri)).await.unwrap_err();
    assert!(denied(&error).is_loopback(), "{error:?}");
    assert_eq!(origin.connections_opened(), 0);
    let client = common::client(guarded(except("localhost").http_connector()));
    assert_eq!(within(common::get(&client, &uri)).await.unwrap().status(), 299);
}

async fn resolve(resolver: GuardedResolver<Names>, name: &str) -> Result<Vec<String>, DeniedError> {
    match within(resolver.oneshot(name.parse::<Name>().unwrap())).await {
        Ok(addresses) => Ok(addresses.map(|address| address.to_string()).collect()),
        Err(error) => Err(*error.downcast::<DeniedError>().unwrap()),
    }
}

#[tokio::test]
async fn a_guarded_resolver_takes_out_what_is_denied() {
    let resolver = |list: &str, answer: &str| GuardedResolver::with_resolver(except(list), Names::new([answer]));
    for (list, answer, expected) in [
        ("", "10.0.0.1 1.1.1.1:81 ::1", Some(&["1.1.1.1:81"][..])),
        ("x.test", "10.0.0.1 ::1", Some(&["10.0.0.1:0", "[::1]:0"])),
        ("10.0.0.1", "10.0.0.1 ::1", Some(&["10.0.0.1:0"])),
        ("", "10.0.0.1 ::1", None),
        // It knows of no port but one that is answered.
        ("x.test:80", "10.0.0.1", None),
        ("x.test:80", "10.0.0.1:80", Some(&["10.0.0.1:80"])),
        // An empty answer is not a refusal.
        ("", "", Some(&[])),
    ] {
        match (resolve(resolver(list, answer), "X.test.").await, expected) {
            (Ok(addresses), Some(expected)) => assert_eq!(addresses, expected, "{list} {answer}"),
            (Err(denied), None) => assert_eq!(denied.address(), ip("10.0.0.1"), "{list} {answer}"),
            (resolved, _) => panic!("{list} {answer}: {resolved:?}"),
        }
    }
    let denied = resolve(resolver("", "10.0.0.1"), "x.test").await.unwrap_err();
    let text = "x.test: the address 10.0.0.1 is denied for direct connections: 10.0.0.0/8 is private use (RFC 1918)";
    assert_eq!(denied.to_string(), text);
}

/// CVE-2025-22870: with the brackets off, this would be a name on the list.
#[tokio::test]
async fn a_zone_is_not_a_name() {
    let names = Names::new(["::1"]);
    let resolver = GuardedResolver::with_resolver(except("x.test"), names.clone());
    let name = "::1%25.x.test".parse::<Name>().unwrap();
    let error = within(resolver.clone().oneshot(name)).await.unwrap_err();
    assert!(error.to_string().starts_with("invalid target: "), "{error}");
    assert_eq!(names.asked(), [""; 0]);
    // Alone, below a connector, it is what is reached without a guard around it.
    let error =
        within(HttpConnector::new_with_resolver(resolver).oneshot("http://[::1%25.x.test]:1/".parse().unwrap()));
    assert!(common::everything(&error.await.unwrap_err()).contains("invalid target: "));
    assert!(
        "http://[::1%25.x.test]:1/"
            .parse::<Target<'_>>()
            .unwrap()
            .ip()
            .is_some()
    );
}

/// `connect` takes the unspecified address for this machine.
#[tokio::test]
async fn who_denies_loopback_denies_what_reaches_it() {
    let origin = Origin::http().await;
    let loopback = ["127.0.0.0/8", "::1/128"].map(|network| network.parse::<ipnet::IpNet>().unwrap());
    let policy = IpPolicy::builder().deny(loopback).build().unwrap();
    for (host, address, other) in [
        ("0.0.0.0", "0.0.0.0", "127.0.0.1"),
        ("0", "0.0.0.0", "127.0.0.1"),
        ("[::ffff:0:0]", "0.0.0.0", "127.0.0.1"),
        ("[::]", "::", "::1"),
    ] {
        let uri = format!("http://{host}:{}/", origin.port());
        let error = get(&policy, Resolver::new(), &uri).await.unwrap_err();
        assert_eq!(denied(&error), ip(address), "{host}");
        let text = common::everything(&error);
        assert!(text.contains(&format!("it leads to {other}, and ")), "{text}");
    }
    let uri = format!("http://x.test:{}/", origin.port());
    let names = Names::new(["0.0.0.0 ::"]);
    assert_eq!(denied(&get(&policy, names, &uri).await.unwrap_err()), ip("0.0.0.0"));
    assert_eq!(origin.connections_opened(), 0);

    let allows = |policy: &IpPolicy, address| policy.check(&"http://x.test".parse().unwrap(), ip(address)).is_ok();
    let allowed = IpPolicy::builder().deny(loopback).allow([ip("0.0.0.0")]);
    assert!(allows(&allowed.build().unwrap(), "0.0.0.0"));
    let elsewhere = IpPolicy::builder().deny(["10.0.0.0/8".parse::<ipnet::IpNet>().unwrap()]);
    assert!(allows(&elsewhere.build().unwrap(), "0.0.0.0"));
}
