//! Promise: of Palpo's `by_domain` list, the proxy with the most specific pattern for a target is used, whatever the
//! order. A pattern that can match nothing is an error.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use proptest::prelude::*;
use serde_json::json;
use tower_outbound_proxy::{
    Dialect, ProxyConfig, ProxySettings, Target,
    config::{Precedence, ProxyConfigBuilder},
    route::Reason,
};

fn builder(by_domain: serde_json::Value) -> ProxyConfigBuilder {
    let settings: ProxySettings = serde_json::from_value(json!({ "by_domain": by_domain })).unwrap();
    ProxyConfig::builder().settings(settings, Precedence::FileOverEnv)
}

fn config(by_domain: serde_json::Value) -> ProxyConfig {
    builder(by_domain).build().unwrap()
}

/// Returns the host of the proxy for a host, or `direct`.
fn proxy(config: &ProxyConfig, host: &str) -> String {
    let target: Target<'_> = format!("https://{host}").parse().unwrap();
    let route = config.route(&target);
    route.proxy().map_or("direct".to_owned(), |proxy| proxy.host())
}

#[track_caller]
fn assert_proxies(config: &ProxyConfig, proxies: &[(&str, &str)]) {
    for (host, expected) in proxies {
        assert_eq!(proxy(config, host), *expected, "{host}");
    }
}

/// Palpo's own example.
#[test]
fn the_most_specific_of_include_and_exclude_decides() {
    let config = config(json!([{
        "url": "onion",
        "include": ["*.onion", "matrix.myspecial.onion"],
        "exclude": ["*.myspecial.onion"],
    }]));
    assert_proxies(
        &config,
        &[
            ("ordinary.onion", "onion"),
            ("matrix.myspecial.onion", "onion"),
            ("hello.myspecial.onion", "direct"),
            ("a.matrix.myspecial.onion", "direct"),
            ("myspecial.onion", "onion"),
            ("onion", "direct"),
            ("onion.example", "direct"),
            ("xonion", "direct"),
        ],
    );
}

#[test]
fn a_pattern_matches_whole_labels_and_a_wildcard_not_its_own_name() {
    let config = config(json!([
        { "url": "below", "include": ["*.example.com"] },
        { "url": "exact", "include": ["Example.COM.", "bücher.test", "under_score.test"] },
        { "url": "address", "include": ["192.0.2.1", "2001:db8::1", "[2001:db8::2]", "::ffff:192.0.2.3"] },
    ]));
    assert_proxies(
        &config,
        &[
            ("example.com", "exact"),
            ("EXAMPLE.com.", "exact"),
            ("a.example.com", "below"),
            ("b.A.example.com.", "below"),
            ("anexample.com", "direct"),
            ("com", "direct"),
            ("xn--bcher-kva.test", "exact"),
            ("bücher.test", "exact"),
            ("under_score.test", "exact"),
            ("a.under_score.test", "direct"),
            ("192.0.2.1", "address"),
            ("192.0.2.1.", "address"),
            ("0xc0000201", "address"),
            ("[::ffff:192.0.2.1]", "address"),
            ("192.0.2.3", "address"),
            ("192.0.2.2", "direct"),
            ("[2001:db8::1]", "address"),
            ("[2001:DB8:0::2]", "address"),
            ("[2001:db8::3]", "direct"),
        ],
    );
}

/// "Most specific rule wins" over the whole list: not the first in the list, as in Palpo.
#[test]
fn of_several_proxies_the_most_specific_is_taken_whatever_the_order() {
    let proxies = [
        json!({ "url": "every" }),
        json!({ "url": "com", "include": ["*.com"], "exclude": ["b.example.com"] }),
        json!({ "url": "example", "include": ["*.example.com", "*.test"], "exclude": ["c.example.com"] }),
        json!({ "url": "exact", "include": ["a.example.com", "127.9.9.9", "198.51.100.1"] }),
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        let config = config(order.iter().map(|at| proxies[*at].clone()).collect());
        assert_proxies(
            &config,
            &[
                ("a.example.com", "exact"),
                ("x.a.example.com", "example"),
                ("b.example.com", "example"),
                ("c.example.com", "com"),
                ("example.com", "com"),
                ("com", "every"),
                ("198.51.100.1", "exact"),
                ("198.51.100.2", "every"),
                ("[2001:db8::1]", "every"),
            ],
        );
    }
    // Of equals the first.
    let twice = json!([{ "url": "one", "include": ["*.x.test"] }, { "url": "two", "include": ["x.test", "*.x.test"] }]);
    assert_proxies(&config(twice), &[("a.x.test", "one"), ("x.test", "two")]);
}

#[test]
fn an_empty_or_missing_include_is_every_target() {
    for include in [json!(null), json!([]), json!(["*"])] {
        let config = config(json!([{ "url": "p", "include": include, "exclude": ["*.x.test", "192.0.2.1"] }]));
        assert_proxies(
            &config,
            &[
                ("y.test", "p"),
                ("x.test", "p"),
                ("a.x.test", "direct"),
                ("192.0.2.1", "direct"),
                ("192.0.2.2", "p"),
            ],
        );
    }
    let reason = |include| {
        let config = config(json!([{ "url": "p", "include": include }]));
        config.decide(&"http://x.test".parse().unwrap()).reason().to_string()
    };
    assert_eq!(
        reason(json!([])),
        "by_domain[0] applies (it has no include, so it is for every target)"
    );
    assert_eq!(
        reason(json!(["a", "*"])),
        "by_domain[0] applies (include[1] `*` matches)"
    );
    // Everything is excluded: it is for nothing.
    let none = config(json!([{ "url": "p", "exclude": ["*"] }, { "url": "q", "include": ["a"], "exclude": ["a"] }]));
    assert_proxies(&none, &[("a", "direct"), ("192.0.2.1", "direct")]);
}

/// Exemptions first, then rules of the application, then `by_domain`, then the proxy for the scheme.
#[test]
fn each_setting_has_its_turn() {
    let settings: ProxySettings = serde_json::from_value(json!({
        "https_proxy": "scheme",
        "no_proxy": ["direct.test"],
        "by_domain": [{ "url": "domain", "include": ["*.test", "localhost", "127.0.0.1"] }],
    }))
    .unwrap();
    let config = ProxyConfig::builder()
        .settings(settings, Precedence::EnvOverFile)
        .vars([("HTTPS_PROXY", "env")])
        .proxy_for("rule.test", "rule")
        .build()
        .unwrap();
    assert_proxies(
        &config,
        &[
            ("direct.test", "direct"),
            ("localhost", "direct"),
            ("127.0.0.1", "direct"),
            ("rule.test", "rule"),
            ("x.test", "domain"),
            ("x.example", "env"),
        ],
    );
    let target = "https://x.test".parse().unwrap();
    let decision = config.decide(&target);
    assert!(
        matches!(
            decision.reason(),
            Reason::ByDomain {
                index: 0,
                include: Some((0, "*.test")),
                ..
            }
        ),
        "{decision:?}"
    );
    // Every scheme that proxies are for, and in every dialect.
    for dialect in [Dialect::Standard, Dialect::Go, Dialect::Curl] {
        let config = builder(json!([{ "url": "p:1", "include": ["*.test"] }]))
            .dialect(dialect)
            .build()
            .unwrap();
        for (url, route) in [
            ("http://x.test", "forward through http://p:1"),
            ("https://x.test", "tunnel through http://p:1"),
            ("ws://x.test", "tunnel through http://p:1"),
            ("wss://x.test", "tunnel through http://p:1"),
            ("ftp://x.test", "tunnel through http://p:1"),
        ] {
            assert_eq!(
                config.route(&url.parse().unwrap()).to_string(),
                route,
                "{url} {dialect}"
            );
        }
    }
}

#[test]
fn a_proxy_of_the_list_has_its_own_address_and_credentials() {
    let list = json!([{ "url": "https://user:secret@p.test", "include": ["x.test"] }, { "url": "q.test:3128" }]);
    let config = builder(list).proxy_tls(no_trust()).build().unwrap();
    let shown = |url: &str| config.route(&url.parse().unwrap()).to_string();
    assert_eq!(shown("https://x.test"), "tunnel through https://user:***@p.test:1080");
    assert_eq!(shown("https://y.test"), "tunnel through http://q.test:3128");
    let route = config.route(&"https://x.test".parse().unwrap());
    assert!(route.proxy().unwrap().credentials().is_some());
}

fn no_trust() -> tower_outbound_proxy::TlsConfig {
    let tls = tower_outbound_proxy::TlsConfig::builder();
    tls.dangerous_accept_any_certificate_for_testing().build().unwrap()
}

#[test]
fn a_pattern_that_can_match_nothing_is_an_error() {
    let star = "`*` can only stand alone or as the first label (`*.example.com`)";
    let port = "a pattern cannot have a port";
    let network = "a network is not a pattern (`no_proxy` can have one)";
    let number = "not a valid IPv4 address";
    for (pattern, shown, reason) in [
        ("", "", "the pattern is empty"),
        (" ", " ", "the pattern is empty"),
        ("*foo.com", "*foo.com", star),
        ("a.*.b", "a.*.b", star),
        ("a.*", "a.*", star),
        ("**", "**", star),
        ("*.*.com", "*.*.com", star),
        ("*.", "*.", "the host name is empty"),
        (".", ".", "the name has an empty label (subdomains are `*.example.com`)"),
        (
            ".example.com",
            ".example.com",
            "the name has an empty label (subdomains are `*.example.com`)",
        ),
        (
            "*..com",
            "*..com",
            "the name has an empty label (subdomains are `*.example.com`)",
        ),
        ("a..b", "a..b", "the name has an empty label"),
        ("x.test:443", "x.test:443", port),
        ("192.0.2.1:443", "192.0.2.1:443", port),
        ("[2001:db8::1]:443", "[2001:db8::1]:443", port),
        ("user:s3cret", "user:***", port),
        ("10.0.0.0/8", "10.0.0.0/8", network),
        ("2001:db8::/32", "2001:db8::/32", network),
        ("http://x.test", "http://x.test", "expected a host, found a URL"),
        (
            "http://user:s3cret@x.test/",
            "***@x.test/",
            "expected a host, found a URL",
        ),
        ("127.1", "127.1", number),
        ("*.1", "*.1", number),
        ("1.2.3.256", "1.2.3.256", number),
        ("[::1", "[::1", "the bracket around the IPv6 address is not closed"),
        ("[x]", "[x]", "the text in brackets is not an IPv6 address"),
        (
            "a b",
            "a b",
            "the name contains a character that is not allowed in a host name",
        ),
        (
            "a,b",
            "a,b",
            "the name contains a character that is not allowed in a host name",
        ),
        (
            "exa$mple",
            "exa$mple",
            "the name contains a character that is not allowed in a host name",
        ),
    ] {
        for (key, list) in [
            (
                "include",
                json!([{ "url": "p" }, { "url": "p", "include": ["x", "y", pattern] }]),
            ),
            (
                "exclude",
                json!([{ "url": "p" }, { "url": "p", "exclude": ["x", "y", pattern] }]),
            ),
        ] {
            let error = builder(list).build().unwrap_err();
            let setting = format!("by_domain[1].{key}[2]");
            assert_eq!(
                error.to_string(),
                format!("{setting}=`{shown}` in the settings file: the pattern matches nothing: {reason}")
            );
            assert_eq!(error.setting(), Some(&*setting));
        }
    }
}

/// Deciding is on the path of every request.
#[test]
fn a_look_up_allocates_nothing() {
    let many: Vec<String> = (0..1000).map(|n| format!("*.n{n}.test")).collect();
    let config = config(json!([{ "url": "p", "include": many, "exclude": ["a.n7.test"] }, { "url": "q" }]));
    for (host, expected) in [("x.n7.test", "p"), ("a.n7.test", "q"), ("192.0.2.1", "q")] {
        let target: Target<'_> = format!("https://{host}").parse().unwrap();
        let mut decision = None;
        let allocations = allocation_counter::measure(|| decision = Some(config.decide(&target)));
        assert_eq!(allocations.count_total, 0, "{host}");
        assert_eq!(decision.unwrap().route().proxy().unwrap().host(), expected, "{host}");
    }
}

/// Returns the specificity of a pattern as the documentation defines it; `None` if it does not match.
fn specificity(pattern: &str, host: &str) -> Option<usize> {
    match pattern.strip_prefix("*.") {
        _ if pattern == "*" => Some(0),
        _ if pattern == host => Some(usize::MAX),
        Some(name) if !host.starts_with('[') && host.ends_with(&format!(".{name}")) => Some(name.split('.').count()),
        _ => None,
    }
}

/// Returns the index of the proxy for a host as the documentation defines it.
fn naive(proxies: &[(Vec<String>, Vec<String>)], host: &str) -> Option<usize> {
    let best = |patterns: &[String]| patterns.iter().filter_map(|pattern| specificity(pattern, host)).max();
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (index, (include, exclude)) in proxies.iter().enumerate() {
        let include = if include.is_empty() { Some(0) } else { best(include) };
        match (include, best(exclude)) {
            (Some(include), None) => found.push((include, index)),
            (Some(include), Some(exclude)) if include > exclude => found.push((include, index)),
            _ => {}
        }
    }
    let highest = found.iter().map(|(specificity, _)| *specificity).max()?;
    let first = found.iter().find(|(specificity, _)| *specificity == highest)?;
    Some(first.1)
}

fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab]", 1..4).prop_map(|labels| labels.join("."))
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    let pattern = prop_oneof![
        1 => Just("*".to_owned()),
        4 => name(),
        4 => name().prop_map(|name| format!("*.{name}")),
        1 => Just("192.0.2.1".to_owned()),
    ];
    proptest::collection::vec(pattern, 0..6)
}

proptest! {
    #[test]
    fn the_answer_is_that_of_the_documentation(
        proxies in proptest::collection::vec((patterns(), patterns()), 1..5),
        hosts in proptest::collection::vec(prop_oneof![9 => name(), 1 => Just("192.0.2.1".to_owned())], 1..8),
    ) {
        let list = proxies.iter().enumerate().map(|(index, (include, exclude))| {
            json!({ "url": format!("p{index}"), "include": include, "exclude": exclude })
        });
        let config = config(list.collect());
        for host in hosts {
            let expected = naive(&proxies, &host);
            let target: Target<'_> = format!("http://{host}").parse().unwrap();
            let decision = config.decide(&target);
            let index = match decision.reason() {
                Reason::ByDomain { index, include, .. } => {
                    // The pattern that is named is the first of the most specific ones.
                    let patterns = &proxies[*index].0;
                    let best = patterns.iter().filter_map(|pattern| specificity(pattern, &host)).max();
                    let at = patterns.iter().position(|pattern| specificity(pattern, &host) == best);
                    prop_assert_eq!(include.map(|(at, _)| at), at.filter(|_| best.is_some()));
                    prop_assert_eq!(include.map(|(_, text)| text), include.map(|(at, _)| &*patterns[at]));
                    Some(*index)
                }
                _ => None,
            };
            prop_assert_eq!(index, expected, "{}", host);
            let proxy = decision.route().proxy().map(|proxy| proxy.host());
            prop_assert_eq!(proxy, expected.map(|index| format!("p{index}")));
        }
    }
}
