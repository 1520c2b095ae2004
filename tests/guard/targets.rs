//! A guard around any connector: the requests to that connector, spelling by spelling and name by name.

use http::Uri;
use tower::{Layer, ServiceExt, service_fn};
use tower_outbound_proxy::{
    ConnectError, IpPolicy,
    error::ConnectErrorKind,
    error::Stage,
    guard::{Guard, GuardLayer},
};
use tower_outbound_proxy_lab::within;

use super::{Names, Recorder, denied, except, guarded, ip};

fn guard(policy: IpPolicy, names: &Names, connector: &Recorder) -> Guard<Recorder, Names> {
    let layer = GuardLayer::new(policy).with_resolver(names.clone());
    guarded(layer.layer(connector.clone()))
}

/// Connects, and returns the URIs that the inner connector got.
async fn dial(policy: IpPolicy, names: &Names, uri: &str) -> Result<Vec<String>, ConnectError> {
    let connector = Recorder::default();
    let dialled = within(guard(policy, names, &connector).oneshot(uri.parse().unwrap())).await;
    match dialled {
        Ok(_) => Ok(connector.asked()),
        Err(error) => {
            assert_eq!(connector.asked(), [""; 0], "{uri}");
            Err(error)
        }
    }
}

#[tokio::test]
async fn no_spelling_of_a_denied_address_is_dialled() {
    let names = Names::new([""]);
    for (uri, address) in [
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://127.0.0.1./", "127.0.0.1"),
        ("http://127.1", "127.0.0.1"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://017700000001/", "127.0.0.1"),
        ("http://0/", "0.0.0.0"),
        ("https://user:secret@127.0.0.1:8443/", "127.0.0.1"),
        ("http://example.com@127.0.0.1/", "127.0.0.1"),
        ("http://[::1]/", "::1"),
        ("http://[::]/", "::"),
        ("http://[::ffff:127.0.0.1]/", "127.0.0.1"),
        ("http://[::ffff:7f00:1]/", "127.0.0.1"),
        ("http://[0:0:0:0:0:FFFF:7F00:1]/", "127.0.0.1"),
        ("http://[::127.0.0.1]/", "::127.0.0.1"),
        ("http://[64:ff9b::7f00:1]/", "64:ff9b::7f00:1"),
        ("http://[2002:7f00:1::]/", "2002:7f00:1::"),
        ("http://[fe80::1]/", "fe80::1"),
        ("ws://169.254.169.254/", "169.254.169.254"),
        ("ftp://127.0.0.1/", "127.0.0.1"),
    ] {
        let error = dial(IpPolicy::special_purpose(), &names, uri).await.unwrap_err();
        assert_eq!(denied(&error), ip(address), "{uri}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert_eq!(names.asked(), [""; 0]);
}

#[tokio::test]
async fn an_address_is_dialled_in_its_usual_spelling_on_the_port_that_was_checked() {
    let names = Names::new([""]);
    for (uri, asked) in [
        ("http://0x7f.1/path?q", "http://127.0.0.1:80/path?q"),
        ("https://2130706433/", "https://127.0.0.1:443/"),
        ("wss://127.0.0.1./", "wss://127.0.0.1:443/"),
        ("http://[::ffff:7f00:1]:8080/", "http://127.0.0.1:8080/"),
        ("http://user:secret@127.1:8080/", "http://127.0.0.1:8080/"),
        ("https://[2606:4700:0:0::1]/", "https://[2606:4700::1]:443/"),
        ("ftp://1.1.1.1/", "ftp://1.1.1.1/"),
    ] {
        assert_eq!(dial(except("127.0.0.1"), &names, uri).await.unwrap(), [asked]);
    }
    assert_eq!(names.asked(), [""; 0]);
}

#[tokio::test]
async fn a_name_is_dialled_at_the_allowed_one_of_its_addresses() {
    for answer in [
        "10.0.0.1 1.1.1.1 ::1",
        "1.1.1.1 10.0.0.1",
        "::ffff:10.0.0.1 ::ffff:1.1.1.1",
        "64:ff9b::a00:1 fe80::1 1.1.1.1 127.0.0.1",
    ] {
        let names = Names::new([answer]);
        let asked = dial(IpPolicy::special_purpose(), &names, "https://x.test/p")
            .await
            .unwrap();
        assert_eq!(asked, ["https://1.1.1.1:443/p"], "{answer}");
        assert_eq!(names.asked(), ["x.test"]);
    }
}

#[tokio::test]
async fn a_name_with_denied_addresses_alone_is_not_dialled() {
    for answer in ["10.0.0.1", "10.0.0.1 127.0.0.1 ::1", "::ffff:10.0.0.1"] {
        let names = Names::new([answer]);
        let error = dial(IpPolicy::special_purpose(), &names, "http://x.test/")
            .await
            .unwrap_err();
        assert_eq!(denied(&error), ip("10.0.0.1"), "{answer}");
        let text =
            "x.test:80: the address 10.0.0.1 is denied for direct connections: 10.0.0.0/8 is private use (RFC 1918)";
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test]
async fn a_name_that_is_answered_otherwise_the_next_time_is_asked_for_once() {
    let names = Names::new(["1.1.1.1", "127.0.0.1"]);
    let policy = IpPolicy::special_purpose;
    assert_eq!(
        dial(policy(), &names, "http://x.test/").await.unwrap(),
        ["http://1.1.1.1:80/"]
    );
    assert_eq!(names.asked(), ["x.test"]);
    // Each connection is judged by the answer it was made with.
    assert_eq!(
        denied(&dial(policy(), &names, "http://x.test/").await.unwrap_err()),
        ip("127.0.0.1")
    );
}

#[tokio::test]
async fn exceptions_hold_for_the_name_the_address_and_the_port_that_are_dialled() {
    for (list, uri, answer, dialled) in [
        ("x.test", "http://x.test/", "10.0.0.1", Some("http://10.0.0.1:80/")),
        ("x.test", "http://X.TEST./", "10.0.0.1", Some("http://10.0.0.1:80/")),
        ("x.test:443", "wss://x.test/", "10.0.0.1", Some("wss://10.0.0.1:443/")),
        ("x.test:443", "http://x.test/", "10.0.0.1", None),
        ("10.0.0.1:80", "http://x.test/", "10.0.0.1", Some("http://10.0.0.1:80/")),
        ("10.0.0.1:80", "http://x.test:81/", "10.0.0.1", None),
        // A port that the resolver gives is the port, unless the URI names one.
        (
            "x.test:8080",
            "http://x.test/",
            "10.0.0.1:8080",
            Some("http://10.0.0.1:8080/"),
        ),
        ("x.test:80", "http://x.test/", "10.0.0.1:8080", None),
        (
            "x.test:80",
            "http://x.test:80/",
            "10.0.0.1:8080",
            Some("http://10.0.0.1:80/"),
        ),
        ("x.test:8080", "http://x.test:80/", "10.0.0.1:8080", None),
    ] {
        let dial = dial(except(list), &Names::new([answer]), uri).await;
        match dialled {
            Some(dialled) => assert_eq!(dial.unwrap(), [dialled], "{list} {uri}"),
            None => assert_eq!(denied(&dial.unwrap_err()), ip("10.0.0.1"), "{list} {uri}"),
        }
    }
}

/// RFC 8305: addresses that do not answer hold the next one up for a moment only.
#[tokio::test(start_paused = true)]
async fn addresses_that_hang_do_not_keep_the_next_from_connecting() {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let record = asked.clone();
    let connector = service_fn(move |uri: Uri| {
        record.lock().unwrap().push(uri.host().unwrap().to_owned());
        async move {
            match uri.host().unwrap() {
                "1.1.1.3" | "[2606:4700::4]" => Ok::<_, std::io::Error>(()),
                "1.1.1.2" => Err(std::io::ErrorKind::HostUnreachable.into()),
                _ => std::future::pending().await,
            }
        }
    });
    for (answer, dialled, millis) in [
        ("1.1.1.3 1.1.1.1", "1.1.1.3", 0),
        ("1.1.1.1 1.1.1.3", "1.1.1.1 1.1.1.3", 250),
        ("1.1.1.1 10.0.0.1 1.1.1.2 1.1.1.3", "1.1.1.1 1.1.1.2 1.1.1.3", 250),
        (
            "1.1.1.1 1.1.1.4 1.1.1.5 1.1.1.3",
            "1.1.1.1 1.1.1.4 1.1.1.5 1.1.1.3",
            750,
        ),
        ("1.1.1.1 1.0.0.1 2606:4700::4", "1.1.1.1 [2606:4700::4]", 250),
        (
            "2606:4700::1 2606:4700::2 2606:4700::4 1.1.1.1",
            "[2606:4700::1] 1.1.1.1 [2606:4700::2] [2606:4700::4]",
            750,
        ),
    ] {
        let layer = GuardLayer::new(IpPolicy::special_purpose()).with_resolver(Names::new([answer]));
        let started = tokio::time::Instant::now();
        within(guarded(layer.layer(connector.clone())).oneshot(Uri::from_static("http://x.test/")))
            .await
            .unwrap();
        assert_eq!(std::mem::take(&mut *asked.lock().unwrap()).join(" "), dialled);
        assert_eq!(started.elapsed().as_millis(), millis, "{answer}");
    }
}

#[tokio::test]
async fn one_address_after_the_other_is_tried_until_one_connects() {
    let connector = Recorder {
        unreachable: &["1.1.1.1", "[2606:4700::1]"],
        ..Recorder::default()
    };
    let names = Names::new(["1.1.1.1 10.0.0.1 1.0.0.1 2606:4700::1 8.8.8.8", "1.1.1.1 2606:4700::1"]);
    let guard = guard(IpPolicy::special_purpose(), &names, &connector);
    within(guard.clone().oneshot(Uri::from_static("http://x.test/")))
        .await
        .unwrap();
    // The families take turns.
    assert_eq!(
        connector.asked(),
        ["http://1.1.1.1:80/", "http://[2606:4700::1]:80/", "http://1.0.0.1:80/"]
    );

    let error = within(guard.oneshot(Uri::from_static("http://x.test/")))
        .await
        .unwrap_err();
    assert_eq!(connector.asked().len(), 5);
    assert_eq!(error.to_string(), "x.test:80: connecting failed");
    assert_eq!(
        (
            error.stage(),
            error.kind() == ConnectErrorKind::Denied,
            error.is_transient()
        ),
        (Stage::Dial, false, true)
    );
}

#[tokio::test]
async fn a_name_without_addresses_is_no_refusal() {
    let error = dial(IpPolicy::special_purpose(), &Names::new([""]), "http://x.test/")
        .await
        .unwrap_err();
    assert_ne!(error.kind(), ConnectErrorKind::Denied, "{error:?}");
    assert!(
        crate::common::everything(&error).contains("the name has no address"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_uri_without_a_host_is_dialled_nowhere() {
    for uri in ["/path", "x.test:80"] {
        let error = dial(IpPolicy::special_purpose(), &Names::new(["1.1.1.1"]), uri)
            .await
            .unwrap_err();
        assert_eq!(error.stage(), Stage::Target, "{uri}");
    }
}
