//! Digest: each algorithm and option, checked by the proxy; the nonce and its count.

use std::collections::HashSet;

use http::Version;
use tower_outbound_proxy::{ProxyLayer, config::ProxySetting};
use tower_outbound_proxy_lab::{DigestAnswer, DigestAuth, Http2Proxy, Origin};

use super::{PASSWORD, USER, USERINFO, VERSIONS, World, ok, proxy, refused, schemes, send, settings, text};
use crate::client::{self, fetch};

fn faults(digest: &DigestAuth) -> Vec<String> {
    digest.answers().into_iter().filter_map(|answer| answer.fault).collect()
}

fn counts(answers: &[DigestAnswer]) -> Vec<u32> {
    answers.iter().map(|answer| answer.count).collect()
}

#[tokio::test]
async fn each_algorithm_is_answered() {
    let world = World::new().await;
    for version in VERSIONS {
        for algorithm in [
            "MD5",
            "MD5-sess",
            "SHA-256",
            "SHA-256-sess",
            "SHA-512-256",
            "SHA-512-256-sess",
        ] {
            for userhash in [false, true] {
                let mut digest = DigestAuth::new(USER, PASSWORD).algorithms(&[algorithm]);
                if userhash {
                    digest = digest.userhash();
                }
                let proxy = proxy(version, digest.auth()).await;
                let client = world.fixed(&proxy, USERINFO, version);
                for url in world.urls() {
                    ok(&client, &url).await;
                }
                assert_eq!(faults(&digest), [""; 0], "{algorithm}");
                let used: HashSet<_> = digest.accepted().into_iter().map(|one| one.algorithm).collect();
                assert_eq!(used, HashSet::from([algorithm.to_owned()]));
                assert_eq!(digest.answers().iter().filter(|one| one.version == version).count(), 2);
            }
        }
    }
}

/// Some servers write names of algorithms in lower case.
#[tokio::test]
async fn names_of_algorithms_have_any_case() {
    let world = World::new().await;
    for algorithm in ["md5", "sha-256", "Sha-256-SESS"] {
        let digest = DigestAuth::new(USER, PASSWORD).algorithms(&[algorithm]);
        let proxy = proxy(Version::HTTP_11, digest.auth()).await;
        ok(&world.fixed(&proxy, USERINFO, Version::HTTP_11), &world.http.url("/")).await;
        assert_eq!(digest.accepted().len(), 1);
    }
}

#[tokio::test]
async fn the_strongest_of_several_challenges_is_answered() {
    let world = World::new().await;
    for (offered, strongest) in [
        (&["MD5", "SHA-256", "SHA-512-256"][..], "SHA-512-256"),
        (&["SHA-256", "MD5"], "SHA-256"),
        (&["MD5", "SHA-256-sess", "MD5-sess"], "SHA-256-sess"),
    ] {
        let digest = DigestAuth::new(USER, PASSWORD).algorithms(offered).with_basic(false);
        let proxy = proxy(Version::HTTP_11, digest.auth()).await;
        let client = world.fixed(&proxy, USERINFO, Version::HTTP_11);
        for url in world.urls() {
            ok(&client, &url).await;
        }
        let used: HashSet<_> = digest.answers().into_iter().map(|one| one.algorithm).collect();
        assert_eq!(used, HashSet::from([strongest.to_owned()]));
    }
}

/// RFC 2069: no `qop`, and no count.
#[tokio::test]
async fn servers_from_before_qop_are_answered() {
    let world = World::new().await;
    let digest = DigestAuth::new(USER, PASSWORD).qop(None);
    let proxy = proxy(Version::HTTP_11, digest.auth()).await;
    let client = world.fixed(&proxy, USERINFO, Version::HTTP_11);
    for url in world.urls() {
        ok(&client, &url).await;
    }
    assert_eq!(counts(&digest.accepted()), [0, 0]);
}

/// `auth-int` would need the body's hash before the body is sent.
#[tokio::test]
async fn auth_is_chosen_where_auth_int_is_offered_too() {
    let world = World::new().await;
    for (qop, is_answered) in [("auth,auth-int", true), ("auth-int, auth", true), ("auth-int", false)] {
        let digest = DigestAuth::new(USER, PASSWORD).qop(Some(qop));
        let proxy = proxy(Version::HTTP_11, digest.auth()).await;
        let client = world.fixed(&proxy, USERINFO, Version::HTTP_11);
        match is_answered {
            true => drop(ok(&client, &world.http.url("/")).await),
            false => drop(refused(&client, &world.http.url("/")).await),
        }
        assert_eq!(digest.answers().len(), usize::from(is_answered));
    }
}

/// The digest-uri of CONNECT is the authority; of a forwarded request, the request-target as it is on the wire.
#[tokio::test]
async fn the_digest_uri_is_the_request_target() {
    let world = World::new().await;
    let (http, https) = (world.http.port(), world.https.port());
    for version in VERSIONS {
        let digest = DigestAuth::new(USER, PASSWORD);
        let proxy = proxy(version, digest.auth()).await;
        let client = world.fixed(&proxy, USERINFO, version);
        for (url, uri) in [
            (
                format!("http://ORIGIN.test:{http}"),
                format!("http://origin.test:{http}/"),
            ),
            (
                format!("http://origin.test:{http}?q=a%20b,\"c"),
                format!("http://origin.test:{http}/?q=a%20b,\"c"),
            ),
            (
                format!("http://u:p@origin.test:{http}/x"),
                format!("http://origin.test:{http}/x"),
            ),
            (
                format!("https://origin.test:{https}/x?y"),
                format!("origin.test:{https}"),
            ),
        ] {
            let Ok(request) = http::Request::get(&url).body(http_body_util::Full::default()) else {
                continue;
            };
            let response = send(&client, request).await.unwrap();
            drop(client::read(response).await);
            let last = digest.accepted().pop().unwrap();
            assert_eq!((last.uri, last.version), (uri.clone(), version), "{url}");
            // That is also what the proxy saw.
            assert_eq!(proxy.requests().pop().unwrap().target, uri);
        }
        assert_eq!(faults(&digest), [""; 0]);
    }
}

/// One nonce serves tunnels and forwarded requests, connections and versions of HTTP, clients of the same settings.
#[tokio::test]
async fn a_nonce_serves_everywhere_with_a_growing_count() {
    let world = World::new().await;
    let digest = DigestAuth::new(USER, PASSWORD);
    let tls = world.ca.issue(&["localhost"]).server_config(&["h2", "http/1.1"]);
    let proxy = Http2Proxy::builder()
        .tls(tls)
        .with_http1()
        .auth(digest.auth())
        .start()
        .await;
    let setting = ProxySetting::from(proxy.url_with(USERINFO).as_str());
    let config = tower_outbound_proxy::ProxyConfig::builder()
        .all(setting)
        .proxy_tls(client::trusting(&world.ca))
        .loopback_direct(false)
        .build()
        .unwrap();
    let clients = VERSIONS.map(|version| world.client(ProxyLayer::new(config.clone()), version));

    for _ in 0..3 {
        for client in &clients {
            for url in world.urls() {
                ok(client, &url).await;
            }
        }
    }

    let answers = digest.accepted();
    assert_eq!(faults(&digest), [""; 0]);
    // Two tunnels, since each stays open, and six requests.
    assert_eq!(counts(&answers), [1, 2, 3, 4, 5, 6, 7, 8]);
    let nonces: HashSet<_> = answers.iter().map(|answer| &answer.nonce).collect();
    assert_eq!(nonces.len(), 1);
    for version in VERSIONS {
        assert_eq!(answers.iter().filter(|answer| answer.version == version).count(), 4);
    }
    // Only the first request of all went out in Basic.
    assert_eq!(schemes(&proxy).iter().filter(|scheme| *scheme == "Basic").count(), 1);
}

#[tokio::test]
async fn a_stale_nonce_is_replaced() {
    let world = World::new().await;
    for version in VERSIONS {
        for most_uses in [1, 2, 5] {
            let digest = DigestAuth::new(USER, PASSWORD).most_uses(most_uses);
            let proxy = proxy(version, digest.auth()).await;
            let client = world.fixed(&proxy, USERINFO, version);
            for _ in 0..6 {
                ok(&client, &world.http.url("/")).await;
            }
            assert_eq!(digest.accepted().len(), 6);
            assert!(faults(&digest).iter().all(|fault| fault == "used up"));
            assert_eq!(faults(&digest).len(), 5 / most_uses);
        }
        let digest = DigestAuth::new(USER, PASSWORD);
        let proxy = proxy(version, digest.auth()).await;
        let client = world.fixed(&proxy, USERINFO, version);
        for url in world.urls() {
            ok(&client, &url).await;
            digest.forget();
            ok(&client, &url).await;
        }
        assert!(faults(&digest).iter().all(|fault| fault == "unknown nonce"));
    }
}

/// A server that calls every nonce stale is not pleased for ever.
#[tokio::test]
async fn a_nonce_that_is_always_stale_is_an_error() {
    let world = World::new().await;
    for version in VERSIONS {
        let digest = DigestAuth::new(USER, PASSWORD).most_uses(0);
        let proxy = proxy(version, digest.auth()).await;
        for url in world.urls() {
            let error = refused(&world.fixed(&proxy, USERINFO, version), &url).await;
            assert!(text(&error).contains("rejected the configured credentials"), "{error}");
        }
        assert!(digest.answers().len() <= 6, "{}", digest.answers().len());
    }
}

/// A password that is wrong goes out once in Basic and once in Digest.
#[tokio::test]
async fn a_wrong_password_is_sent_once_in_each_scheme() {
    let world = World::new().await;
    for version in VERSIONS {
        for url in world.urls() {
            let digest = DigestAuth::new(USER, PASSWORD)
                .algorithms(&["MD5", "SHA-256"])
                .with_basic(false);
            let proxy = proxy(version, digest.auth()).await;
            let error = refused(&world.fixed(&proxy, "Jane:wr0ng-one@", version), &url).await;
            let said = text(&error);
            assert!(said.contains("rejected the configured credentials"), "{said}");
            assert!(!said.contains("wr0ng"), "{said}");
            for answer in digest.answers() {
                assert!(
                    !said.contains(answer.value.split("response=").nth(1).unwrap()),
                    "{said}"
                );
            }
            assert_eq!(schemes(&proxy), ["Basic", "Digest"], "{version:?} {url}");
        }
    }
}

#[tokio::test]
async fn names_and_passwords_of_all_kinds_are_sent() {
    let world = World::new().await;
    for (user, password) in [
        ("a \"b\" c", "x\"y\\z"),
        ("back\\slash", "pass"),
        ("Jäsøn Doe", "pässwörd €"),
        ("", "no name"),
        ("no password", ""),
        ("", ""),
        ("a,b=c;d", " spaces "),
    ] {
        for userhash in [false, true] {
            let mut digest = DigestAuth::new(user, password).algorithms(&["SHA-256"]);
            if userhash {
                digest = digest.userhash();
            }
            let proxy = proxy(Version::HTTP_11, digest.auth()).await;
            let encoded = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
            let userinfo = format!("{}:{}@", encoded(user), encoded(password));
            let client = world.fixed(&proxy, &userinfo, Version::HTTP_11);
            for url in world.urls() {
                ok(&client, &url).await;
            }
            assert_eq!(faults(&digest), [""; 0]);
            for answer in digest.accepted() {
                assert_eq!(
                    answer.value.contains("username*="),
                    !user.is_ascii() && !userhash,
                    "{}",
                    answer.value
                );
            }
        }
    }
}

/// Digest is written in Unicode. What is not, can be sent in Basic alone.
#[tokio::test]
async fn what_is_not_unicode_is_no_digest() {
    let world = World::new().await;
    for version in VERSIONS {
        for url in world.urls() {
            let digest = DigestAuth::new(USER, PASSWORD);
            let proxy = proxy(version, digest.auth()).await;
            let error = refused(&world.fixed(&proxy, "Jane:%ff%fe@", version), &url).await;
            assert_eq!(schemes(&proxy), ["Basic"], "{error}");
            assert_eq!(digest.answers().len(), 0);
        }
    }
}

#[tokio::test]
async fn realms_are_quoted() {
    let world = World::new().await;
    for realm in ["", "a\\b\"c", "a, b=c"] {
        let digest = DigestAuth::new(USER, PASSWORD).realm(realm);
        let proxy = proxy(Version::HTTP_11, digest.auth()).await;
        let client = world.fixed(&proxy, USERINFO, Version::HTTP_11);
        for url in world.urls() {
            ok(&client, &url).await;
        }
        assert_eq!(faults(&digest), [""; 0], "{realm}");
    }
}

/// A realm that is not ASCII is not answered (a limit of `http-auth`): no request is sent in vain, and Basic is next.
#[tokio::test]
async fn a_realm_that_is_not_ascii_is_not_answered() {
    let world = World::new().await;
    for url in world.urls() {
        let digest = DigestAuth::new(USER, PASSWORD).realm("Büro Zürich");
        let proxy = proxy(Version::HTTP_11, digest.auth()).await;
        let error = refused(&world.fixed(&proxy, USERINFO, Version::HTTP_11), &url).await;
        assert!(text(&error).contains("Digest (realm \"Büro Zürich\")"), "{error}");
        assert_eq!(schemes(&proxy), ["Basic"]);
    }
}

/// A nonce belongs to its proxy.
#[tokio::test]
async fn each_proxy_has_its_own_nonces() {
    let world = World::new().await;
    let (digest, other) = (
        DigestAuth::new(USER, PASSWORD),
        DigestAuth::new(USER, PASSWORD).realm("other"),
    );
    let near = proxy(Version::HTTP_11, digest.auth()).await;
    let far = proxy(Version::HTTP_11, other.auth()).await;
    let config = tower_outbound_proxy::ProxyConfig::builder()
        .http(near.url_with(USERINFO).as_str())
        .https(far.url_with(USERINFO).as_str())
        .build()
        .unwrap();
    let client = world.client(ProxyLayer::new(config), Version::HTTP_11);
    let other_origin = Origin::builder()
        .host("origin.test")
        .tls(world.ca.issue(&["origin.test"]).server_config(&["http/1.1"]))
        .start()
        .await;
    fetch(&client, &world.http.url("/")).await;
    fetch(&client, &world.https.url("/")).await;
    fetch(&client, &world.http.url("/")).await;
    fetch(&client, &other_origin.url("/")).await;
    for digest in [digest, other] {
        assert_eq!(faults(&digest), [""; 0]);
        assert_eq!(counts(&digest.accepted()), [1, 2]);
    }
    let _ = settings(&near, "");
}
