//! Promise (the `settings` page, section 4): each target has one route, and the decision gives its true reason.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use http::Uri;
use tower_outbound_proxy::{Dialect, NoProxy, ProxyConfig, ProxyServer, Route, Target, route::Reason};

fn decide(config: &ProxyConfig, url: &str) -> String {
    config.decide(&url.parse().unwrap()).to_string()
}

const NOTHING_EXEMPTS: &str = "is set, and nothing exempts the target";

#[test]
fn every_row_of_the_table_of_routes() {
    let config = ProxyConfig::from_vars([
        ("HTTP_PROXY", "http://user:secret@h:1"),
        ("https_proxy", "https://s:2"),
        ("NO_PROXY", "10.0.0.0/8 *.internal.test,,api.test:8443"),
    ])
    .unwrap();
    let forward = format!("forward through http://user:***@h:1: HTTP_PROXY {NOTHING_EXEMPTS}");
    let ws = format!("tunnel through http://user:***@h:1: HTTP_PROXY {NOTHING_EXEMPTS}");
    let tunnel = format!("tunnel through https://s:2: https_proxy {NOTHING_EXEMPTS}");
    let loopback = "direct: the target is this machine (built-in rule for localhost, 127.0.0.0/8 and ::1)";
    for (url, expected) in [
        ("http://x.test/", &*forward),
        ("http://x.test:8080/path?query", &forward),
        ("ws://x.test/", &ws),
        ("https://x.test/", &tunnel),
        ("wss://x.test/", &tunnel),
        ("http://10.1.2.3/", "direct: entry 1 `10.0.0.0/8` of NO_PROXY matches"),
        (
            "https://a.internal.test",
            "direct: entry 2 `*.internal.test` of NO_PROXY matches",
        ),
        ("https://internal.test", &tunnel),
        (
            "https://api.test:8443",
            "direct: entry 3 `api.test:8443` of NO_PROXY matches",
        ),
        ("https://api.test", &tunnel),
        (
            "ftp://x.test/",
            "direct: no proxy is set for schemes other than http, https, ws and wss (ALL_PROXY sets one)",
        ),
        ("http://localhost:3000", loopback),
        ("https://LocalHost.", loopback),
        ("http://db.localhost", loopback),
        ("http://127.8.9.10", loopback),
        ("http://0x7f.1", loopback),
        ("http://[::1]", loopback),
        ("http://[::ffff:127.0.0.1]", loopback),
        ("http://[::1%25.x.test]", loopback),
        ("http://notlocalhost", &forward),
        ("http://localhost.test", &forward),
        ("http://128.0.0.1", &forward),
        ("http://0.0.0.0", &forward),
        ("http://[::]", &forward),
    ] {
        assert_eq!(decide(&config, url), expected, "{url}");
    }
}

#[test]
fn without_a_proxy_for_the_scheme_the_route_is_direct() {
    let config = ProxyConfig::from_vars([("HTTP_PROXY", "h"), ("NO_PROXY", "*")]).unwrap();
    assert_eq!(
        decide(&config, "https://x.test"),
        "direct: no proxy is set for https targets"
    );
    assert_eq!(
        decide(&config, "wss://x.test"),
        "direct: no proxy is set for wss targets"
    );
    assert_eq!(
        decide(&config, "http://x.test"),
        "direct: entry 1 `*` of NO_PROXY matches"
    );
}

/// `ALL_PROXY` alone is for any other scheme, and only through a tunnel.
#[test]
fn any_other_scheme_is_tunnelled_through_all_proxy() {
    let vars = [
        ("HTTP_PROXY", "http://h:1"),
        ("HTTPS_PROXY", "http://s:2"),
        ("all_proxy", "http://user:secret@a:3"),
        ("NO_PROXY", "10.0.0.0/8, cache.test, mail.test:25"),
    ];
    let builder = ProxyConfig::builder().vars(vars).proxy_for("*.onion", "http://o:4");
    let config = builder.proxy_for("lan.test", "").build().unwrap();
    let tunnel = format!("tunnel through http://user:***@a:3: all_proxy {NOTHING_EXEMPTS}");
    let loopback = "direct: the target is this machine (built-in rule for localhost, 127.0.0.0/8 and ::1)";
    for (url, expected) in [
        ("postgres://me:word@db.test:5432/db", &*tunnel),
        ("TCP://db.test:1", &tunnel),
        ("redis://db.test", &tunnel),
        ("ftp://x.test/", &tunnel),
        (
            "smtp://mail.test:25",
            "direct: entry 3 `mail.test:25` of NO_PROXY matches",
        ),
        ("smtp://mail.test:587", &tunnel),
        (
            "redis://a.cache.test:6379",
            "direct: entry 2 `cache.test` of NO_PROXY matches",
        ),
        ("ssh://10.1.2.3:22", "direct: entry 1 `10.0.0.0/8` of NO_PROXY matches"),
        ("redis://localhost:6379", loopback),
        ("redis://[::1]:6379", loopback),
        (
            "ssh://x.onion:22",
            "tunnel through http://o:4: rule 1 of the application applies (entry 1 `*.onion` matches)",
        ),
        (
            "ssh://lan.test:22",
            "direct: rule 2 of the application applies (entry 1 `lan.test` matches)",
        ),
    ] {
        assert_eq!(decide(&config, url), expected, "{url}");
    }
    assert_eq!(config.all().unwrap().url(), "http://a:3");
}

/// Go has no proxy for any other scheme, and curl has `ALL_PROXY`'s. Code sets proxies in every dialect.
#[test]
fn a_dialect_decides_if_the_variable_is_for_any_other_scheme() {
    let (target, all) = ("ftp://x.test:21", [("ALL_PROXY", "http://a:3")]);
    let in_dialect = |dialect| ProxyConfig::builder().dialect(dialect).vars(all);
    let go = in_dialect(Dialect::Go);
    assert_eq!(
        decide(&go.clone().build().unwrap(), target),
        "direct: in this dialect a proxy applies to http, https, ws and wss targets only"
    );
    for (config, setting) in [(in_dialect(Dialect::Curl), "ALL_PROXY"), (go.all("http://a:3"), "all")] {
        let expected = format!("tunnel through http://a:3: {setting} {NOTHING_EXEMPTS}");
        assert_eq!(decide(&config.build().unwrap(), target), expected);
    }
}

/// Beside `HTTP_PROXY` and `HTTPS_PROXY`, `ALL_PROXY` is for other schemes alone.
#[test]
fn an_unusable_proxy_for_any_other_scheme_makes_nothing_direct() {
    let (h, s) = (("HTTP_PROXY", "http://h:1"), ("HTTPS_PROXY", "http://s:2"));
    let socks = ("ALL_PROXY", "socks5://user:secret@socks:1080");
    let reason =
        "ALL_PROXY=`socks5://user:***@socks:1080`: unsupported proxy scheme `socks5` (http and https are supported)";
    let config = ProxyConfig::from_vars([h, s, socks, ("NO_PROXY", "direct.test")]).unwrap();
    for (url, expected) in [
        (
            "http://x.test",
            format!("forward through http://h:1: HTTP_PROXY {NOTHING_EXEMPTS}"),
        ),
        (
            "wss://x.test",
            format!("tunnel through http://s:2: HTTPS_PROXY {NOTHING_EXEMPTS}"),
        ),
        ("tcp://x.test:1", format!("none: {reason}: ALL_PROXY {NOTHING_EXEMPTS}")),
        (
            "tcp://direct.test:1",
            "direct: entry 1 `direct.test` of NO_PROXY matches".to_owned(),
        ),
    ] {
        assert_eq!(decide(&config, url), expected, "{url}");
    }
    assert!(config.all().is_none() && config.route(&"tcp://x.test:1".parse().unwrap()).proxy().is_none());
    let warnings: Vec<_> = config.warnings().iter().map(ToString::to_string).collect();
    let told =
        format!("{reason}; it is for targets of schemes other than http, https, ws and wss, which cannot be reached");
    assert_eq!(warnings, [told]);
    // If another scheme needs it, it is an error at once.
    for vars in [vec![socks], vec![h, socks], vec![s, socks]] {
        assert_eq!(ProxyConfig::from_vars(vars).unwrap_err().to_string(), reason);
    }
}

#[test]
fn loopback_can_go_through_the_proxy() {
    let config = ProxyConfig::builder()
        .all("h")
        .no_proxy("127.0.0.2")
        .loopback_direct(false)
        .build()
        .unwrap();
    for url in ["http://localhost", "http://127.0.0.1", "http://[::1]"] {
        assert_eq!(
            decide(&config, url),
            format!("forward through http://h:1080: all {NOTHING_EXEMPTS}")
        );
    }
    // What is listed stays listed, and comes before the built-in rule.
    assert_eq!(
        decide(&config, "http://127.0.0.2"),
        "direct: entry 1 `127.0.0.2` of no_proxy matches"
    );
}

#[test]
fn always_tunnel_is_for_http_targets() {
    let config = ProxyConfig::builder().all("h").always_tunnel(true).build().unwrap();
    for url in ["http://x.test", "https://x.test", "ws://x.test"] {
        assert_eq!(
            decide(&config, url),
            format!("tunnel through http://h:1080: all {NOTHING_EXEMPTS}")
        );
    }
    assert!(matches!(
        config
            .with_always_tunnel(false)
            .route(&"http://x.test".parse().unwrap()),
        Route::Forward(_)
    ));
}

#[test]
fn the_reason_is_data() {
    let config = ProxyConfig::from_vars([("ALL_PROXY", "h"), ("no_proxy", "a.test b.test")]).unwrap();
    let target: Target<'_> = "http://x.b.test".parse().unwrap();
    let decision = config.decide(&target);
    assert_eq!(*decision.route(), Route::Direct);
    let Reason::NoProxy { setting, entry, .. } = decision.reason() else {
        panic!("{decision}")
    };
    assert_eq!(
        (setting.as_str(), entry.position(), entry.as_str()),
        ("no_proxy", 2, "b.test")
    );
    let target: Target<'_> = "http://c.test".parse().unwrap();
    let Reason::Proxy { setting, .. } = *config.decide(&target).reason() else {
        panic!()
    };
    assert_eq!(setting.as_str(), "ALL_PROXY");
}

#[test]
fn an_entry_that_matches_nothing_is_reported_and_spoils_no_other() {
    let config = ProxyConfig::from_vars([("ALL_PROXY", "h"), ("No_Proxy", "a.test, 1.2.3.4/33 ,b.test")]).unwrap();
    let warnings: Vec<_> = config.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["No_Proxy: entry 2 `1.2.3.4/33` matches nothing: the prefix is longer than the address"]
    );
    assert_eq!(
        decide(&config, "http://b.test"),
        "direct: entry 3 `b.test` of No_Proxy matches"
    );
    let strict = "a.test, 1.2.3.4/33".parse::<NoProxy>().unwrap_err();
    assert_eq!(
        (strict.entry().unwrap().position(), strict.entry().unwrap().entry()),
        (2, "1.2.3.4/33")
    );
    // A whole proxy address among the hosts is a mistake that must not show the password.
    let url = ProxyConfig::from_vars([("NO_PROXY", "http://user:secret@proxy")]).unwrap();
    assert_eq!(
        url.warnings()[0].to_string(),
        "NO_PROXY: entry 1 `***@proxy` matches nothing: expected a host, found a URL"
    );
}

/// A `&Uri`, its text, and an owned copy are one target.
#[test]
fn targets_from_uris_and_texts_agree() {
    let config = ProxyConfig::from_vars([("ALL_PROXY", "h"), ("NO_PROXY", "a.test:8080,[2001:db8::1]:443")]).unwrap();
    for url in [
        "http://A.test:8080/x",
        "http://a.test",
        "https://[2001:db8:0::1]/",
        "http://[2001:db8::1]",
    ] {
        let uri: Uri = url.parse().unwrap();
        let borrowed = Target::try_from(&uri).unwrap();
        let parsed: Target<'_> = url.parse().unwrap();
        assert_eq!(config.decide(&borrowed), config.decide(&parsed), "{url}");
        assert_eq!(
            config.decide(&borrowed.clone().into_owned()),
            config.decide(&parsed),
            "{url}"
        );
    }
}

/// Routes are compared with credentials and all: a pool may take them as keys.
#[test]
fn routes_differ_where_their_proxies_do() {
    let server = |text: &str| text.parse::<ProxyServer>().unwrap();
    let one = Route::Tunnel(server("http://user:one@h"));
    assert_eq!(one, Route::Tunnel(server("user:on%65@H:1080/")));
    for other in [
        "http://user:two@h",
        "http://user@h",
        "http://h",
        "https://user:one@h",
        "http://user:one@h:1081",
    ] {
        assert_ne!(one, Route::Tunnel(server(other)), "{other}");
    }
    assert_ne!(one, Route::Forward(server("http://user:one@h")));
}
