//! Promise: `palpo` does what Palpo's "Using Forward/Outbound Proxies" says, sentence by sentence.
//!
//! Each sentence of that document that states a behaviour, in its order, and the tests that are named after it:
//!
//! 1. Outbound HTTP(S) requests can go through a proxy: [`http_and_https_requests_can_go_through_a_proxy`]. Only HTTP(S)
//!    proxies are supported, SOCKS and other types are not: [`only_http_and_https_proxies_are_supported`].
//! 2. The environment variables `http_proxy`, `https_proxy` and `no_proxy` set it up:
//!    [`three_environment_variables_set_it_up`]. Their names are case-insensitive:
//!    [`names_of_variables_are_case_insensitive`].
//! 3. `http_proxy` is the proxy for HTTP requests: [`http_proxy_is_for_http_requests`].
//! 4. `https_proxy` is the proxy for HTTPS requests: [`https_proxy_is_for_https_requests`].
//! 5. `no_proxy` is a comma-separated list of hosts, IP addresses, or IP ranges in CIDR notation, which are reached
//!    directly: [`no_proxy_lists_what_is_reached_directly`], [`no_proxy_is_hosts_addresses_and_ranges`].
//! 6. An address is `[scheme://][<username>:<password>@]<host>[:<port>]`: [`an_address_has_four_parts`].
//! 7. The scheme is `http://` or `https://`, `http://` unless named: [`the_scheme_is_http_unless_named`].
//! 8. With `https://` the connection to the proxy uses TLS: [`with_https_the_connection_to_the_proxy_uses_tls`].
//! 9. Certificates are validated, and with an invalid one the connection is rejected:
//!    [`a_proxy_with_an_invalid_certificate_is_rejected`].
//! 10. The port is 1080 unless named: [`the_port_is_1080_unless_named`].
//! 11. User name and password are optional, and for authentication: [`user_name_and_password_authenticate`],
//!     [`user_name_and_password_are_optional`].
//! 12. Examples of the three variables: [`the_documents_examples_hold`].
//! 13. IP blacklists are not applied to connections through a proxy, since the proxy resolves names:
//!     [`ip_blacklists_are_not_applied_to_connections_through_a_proxy`], [`names_are_resolved_by_the_proxy`],
//!     [`ip_blacklists_are_applied_to_direct_connections`].
//! 14. These use the proxy: [`push_uses_the_proxy`], [`url_previews_use_the_proxy`],
//!     [`phone_home_statistics_use_the_proxy`], [`recaptcha_verification_uses_the_proxy`],
//!     [`cas_authentication_uses_the_proxy`], [`openid_connect_uses_the_proxy`], [`outbound_federation_uses_the_proxy`],
//!     [`checking_public_key_revocation_uses_the_proxy`], [`fetching_public_keys_of_other_servers_uses_the_proxy`],
//!     [`downloading_remote_media_uses_the_proxy`].
//! 15. These do not: [`application_services_do_not_use_the_proxy`], [`identity_servers_do_not_use_the_proxy`],
//!     [`connections_between_workers_do_not_use_the_proxy`], [`connections_to_redis_do_not_use_the_proxy`].
//! 16. If connections through a proxy with TLS fail, its certificate is the most likely cause, and switching validation
//!     off tests that: [`a_certificate_that_does_not_verify_is_told_with_what_to_do`].
//! 17. `use_insecure_ssl_client_just_for_testing_do_not_use: true` in the settings file switches validation off, for
//!     testing only: [`the_switch_in_the_settings_file_switches_validation_off`], [`the_switch_is_warned_of`],
//!     [`only_true_switches_validation_off`].
//!
//! The tests of 1 to 5 are in this file, those of 6 to 12 in `addresses.rs`, of 13 to 15 in `connections.rs`, of 16 and
//! 17 in `certificates.rs`.
//!
//! The example makes the calls, and the lab receives them. Other modules test its settings files, settings that are
//! replaced while it runs, the built program, and the program with real proxies.

#![allow(unreachable_pub, clippy::unwrap_used)] // clippy sees tests only in functions marked so

mod addresses;
mod certificates;
mod connections;
mod lab;
mod program;
#[cfg(unix)]
mod real;
mod run;
mod settings;

use palpo::{app, redis, site};
use tower_outbound_proxy_lab::{Kind, Listening};

use app::connections::Connection;
use lab::{Lab, assert_no_password, environment};

/// External targets for HTTP and for HTTPS, for any purpose.
const HTTP: &str = "http://www.example.org/";
const HTTPS: &str = "https://www.example.com/";
const PLAIN: &str = "USERNAME:PASSWORD@plain.example.com";
const TLS: &str = "https://USERNAME:PASSWORD@tls.example.com";

/// Returns the request lines that a server received, without versions.
fn asked(server: &Listening) -> Vec<String> {
    let requests = server.requests();
    let line = |request: &tower_outbound_proxy_lab::Request| format!("{} {}", request.method, request.target);
    requests.iter().map(line).collect()
}

#[tokio::test]
async fn http_and_https_requests_can_go_through_a_proxy() {
    let lab = Lab::start().await;
    let outbound = lab.outbound(&[("http_proxy", PLAIN), ("https_proxy", PLAIN)]);
    for url in [HTTP, HTTPS] {
        assert_eq!(
            lab.reached(&outbound, Connection::UrlPreview, url).await,
            "plain.example.com"
        );
    }
    let proxy = &lab.site.proxies.plain;
    assert_eq!(
        asked(proxy),
        ["GET http://www.example.org/", "CONNECT www.example.com:443"]
    );
    // In the tunnel the proxy sees no HTTP, and the target no proxy.
    assert_eq!(
        lab.site.host("www.example.com").unwrap().requests()[0].kind(),
        Kind::Origin
    );
    lab.assert_targets_know_no_password();
}

#[tokio::test]
async fn only_http_and_https_proxies_are_supported() {
    for variable in ["HTTP_PROXY", "https_proxy"] {
        for scheme in [
            "socks", "socks4", "socks4a", "socks5", "socks5h", "SOCKS5", "ftp", "ws", "quic",
        ] {
            let address = format!("{scheme}://USERNAME:PASSWORD@10.0.1.1:1080");
            let error = environment(&[(variable, &address)]).config().unwrap_err();
            let text = error.to_string();
            assert_eq!(error.setting(), Some(variable));
            let reason = format!("unsupported proxy scheme `{}`", scheme.to_lowercase());
            assert!(text.to_lowercase().contains(&reason), "{text}");
            assert_no_password(&text);
        }
    }
    for scheme in ["http", "https", "HTTP", "Https"] {
        let address = format!("{scheme}://10.0.1.1");
        environment(&[("http_proxy", &address)]).config().unwrap();
    }
}

#[tokio::test]
async fn three_environment_variables_set_it_up() {
    let lab = Lab::start().await;
    let variables = [
        ("http_proxy", PLAIN),
        ("https_proxy", PLAIN),
        ("no_proxy", "push.example.org"),
    ];
    let outbound = lab.outbound(&variables);
    for (url, by_whom) in [
        (HTTP, "plain.example.com"),
        (HTTPS, "plain.example.com"),
        ("https://push.example.org/", "direct"),
    ] {
        assert_eq!(lab.reached(&outbound, Connection::Push, url).await, by_whom, "{url}");
    }
    // Without them there is no proxy, and no other variable is one of them.
    let others = [
        ("proxy", PLAIN),
        ("PALPO_HTTP_PROXY", PLAIN),
        ("socks_proxy", PLAIN),
        ("http_proxy_host", PLAIN),
    ];
    for variables in [&others[..], &[], &[("http_proxy", ""), ("https_proxy", " ")]] {
        let outbound = lab.outbound(variables);
        for url in [HTTP, HTTPS] {
            let by_whom = lab.reached(&outbound, Connection::Push, url).await;
            assert_eq!(by_whom, "direct", "{url}, {variables:?}");
        }
    }
}

#[tokio::test]
async fn names_of_variables_are_case_insensitive() {
    let lab = Lab::start().await;
    for [http, https, no] in [
        ["http_proxy", "https_proxy", "no_proxy"],
        ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"],
        ["Http_Proxy", "Https_Proxy", "No_Proxy"],
        ["hTTP_pROXY", "httpS_PROXY", "NO_proxy"],
    ] {
        let outbound = lab.outbound(&[(http, PLAIN), (https, PLAIN), (no, "push.example.org")]);
        for (url, by_whom) in [
            (HTTP, "plain.example.com"),
            (HTTPS, "plain.example.com"),
            ("https://push.example.org/", "direct"),
        ] {
            assert_eq!(
                lab.reached(&outbound, Connection::Push, url).await,
                by_whom,
                "{http}: {url}"
            );
        }
    }
}

#[tokio::test]
async fn http_proxy_is_for_http_requests() {
    let lab = Lab::start().await;
    let outbound = lab.outbound(&[("http_proxy", PLAIN)]);
    assert_eq!(
        lab.reached(&outbound, Connection::Push, HTTP).await,
        "plain.example.com"
    );
    assert_eq!(lab.reached(&outbound, Connection::Push, HTTPS).await, "direct");
    assert_eq!(asked(&lab.site.proxies.plain), ["GET http://www.example.org/"]);
}

#[tokio::test]
async fn https_proxy_is_for_https_requests() {
    let lab = Lab::start().await;
    let outbound = lab.outbound(&[("https_proxy", PLAIN)]);
    assert_eq!(lab.reached(&outbound, Connection::Push, HTTP).await, "direct");
    assert_eq!(
        lab.reached(&outbound, Connection::Push, HTTPS).await,
        "plain.example.com"
    );
    assert_eq!(asked(&lab.site.proxies.plain), ["CONNECT www.example.com:443"]);
}

#[tokio::test]
async fn no_proxy_lists_what_is_reached_directly() {
    let lab = Lab::start().await;
    let list = "www.example.com,10.2.0.9,172.30.0.0/16";
    let outbound = lab.outbound(&[("http_proxy", PLAIN), ("https_proxy", PLAIN), ("no_proxy", list)]);
    // Named by the operator, and so allowed to be in the own network.
    for (url, by_whom) in [
        ("https://www.example.com/", "direct"),
        ("http://10.2.0.9/", "direct"),
        ("http://172.30.0.5/", "direct"),
        ("http://www.example.org/", "plain.example.com"),
        ("http://10.1.0.5/", "plain.example.com"),
        ("https://push.example.org/", "plain.example.com"),
    ] {
        assert_eq!(lab.reached(&outbound, Connection::Cas, url).await, by_whom, "{url}");
    }
}

#[test]
fn no_proxy_is_hosts_addresses_and_ranges() {
    for (list, direct, proxied) in [
        (
            "example.com",
            &["http://example.com", "https://example.com:8448"][..],
            &["http://example.org", "http://anexample.com"][..],
        ),
        (
            "10.1.2.3",
            &["http://10.1.2.3", "https://10.1.2.3:8448"],
            &["http://10.1.2.4"],
        ),
        ("2001:db8::1", &["http://[2001:db8::1]"], &["http://[2001:db8::2]"]),
        (
            "10.1.0.0/16",
            &["http://10.1.0.0", "https://10.1.255.255"],
            &["http://10.0.255.255", "http://10.2.0.0"],
        ),
        ("2001:db8::/32", &["http://[2001:db8:ffff::]"], &["http://[2001:db9::]"]),
        (
            "example.com,10.1.2.3,172.30.0.0/16",
            &["http://example.com", "http://10.1.2.3", "http://172.30.9.9"],
            &["http://example.org", "http://10.1.2.4", "http://172.31.0.0"],
        ),
    ] {
        let variables = [("http_proxy", "p"), ("https_proxy", "p"), ("no_proxy", list)];
        let config = environment(&variables).config().unwrap();
        assert_eq!(config.warnings(), [], "{list}");
        for (urls, is_direct) in [(direct, true), (proxied, false)] {
            for url in urls {
                let route = config.route(&url.parse().unwrap());
                assert_eq!(route.proxy().is_none(), is_direct, "{list}: {url}: {route}");
            }
        }
    }
}

/// The list at the top names existing tests, and covers every sentence of Palpo's document that states a behaviour.
#[test]
fn each_sentence_names_its_tests() {
    let sources = [
        include_str!("main.rs"),
        include_str!("addresses.rs"),
        include_str!("connections.rs"),
        include_str!("certificates.rs"),
    ];
    let list: String = sources[0].lines().take_while(|line| line.starts_with("//!")).collect();
    let named: Vec<_> = list
        .split("[`")
        .skip(1)
        .filter_map(|rest| rest.split_once("`]"))
        .map(|(name, _)| name)
        .collect();
    assert!(named.len() > 35, "{named:?}");
    for name in named {
        let is_test = |source: &&str| {
            let function = format!("fn {name}()");
            let of_macro = format!("\n    {name} = ");
            source.contains(&function) || source.contains(&of_macro)
        };
        assert!(sources.iter().any(is_test), "{name}");
    }
}
