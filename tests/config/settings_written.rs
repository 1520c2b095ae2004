//! Promise: written settings can be read again with the same meaning, and never contain a password.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use proptest::prelude::*;
use serde_json::{Value, json};
use tower_outbound_proxy::{
    ConfigError, Dialect, NoProxy, ProxyConfig, ProxyServer, ProxySettings, Target, TlsConfig,
    config::{Precedence, ProxyConfigBuilder},
};

fn read(value: Value) -> ProxySettings {
    serde_json::from_value(value).unwrap()
}

fn build(settings: ProxySettings) -> Result<ProxyConfig, ConfigError> {
    let builder = ProxyConfig::builder().settings(settings, Precedence::FileOverEnv);
    builder.build()
}

fn write(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// The same in every format: what is unset is not written.
#[test]
fn what_holds_is_written_in_a_files_keys() {
    let settings = json!({
        "all_proxy": "http://us%40er:secret@Proxy.test/",
        "https_proxy": "[2001:db8::1]:3128",
        "no_proxy": "x.test, 10.1.0.0/8\t*.Y.test",
        "by_domain": [{ "url": "me@p.test", "include": ["*.Onion"] }, { "url": "q.test", "exclude": ["a"] }],
        "use_insecure_ssl_client_just_for_testing_do_not_use": true,
    });
    let config = build(read(settings)).unwrap();
    let expected = json!({
        "http_proxy": "http://us%40er:***@proxy.test:1080",
        "https_proxy": "http://[2001:db8::1]:3128",
        "all_proxy": "http://us%40er:***@proxy.test:1080",
        "no_proxy": ["x.test", "10.1.0.0/8", "*.Y.test"],
        "use_insecure_ssl_client_just_for_testing_do_not_use": true,
        "by_domain": [
            { "url": "http://me@p.test:1080", "include": ["*.Onion"] },
            { "url": "http://q.test:1080", "exclude": ["a"] },
        ],
    });
    assert_eq!(write(&config), expected);
    let toml: Value = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
    assert_eq!(toml, expected);
    let yaml: Value = serde_saphyr::from_str(&serde_saphyr::to_string(&config).unwrap()).unwrap();
    assert_eq!(yaml, expected);
    assert_eq!(
        write(&ProxyConfig::builder().build().unwrap()),
        json!({ "no_proxy": [] })
    );
}

/// Entries of the environment's list that match nothing are left out, and so is a list that a predicate replaces.
#[test]
fn what_does_not_hold_is_not_written() {
    let vars = [
        ("ALL_PROXY", "http://user:secret@p"),
        ("NO_PROXY", "x.test,http://user:secret@p y.test/33,z.test"),
    ];
    let config = ProxyConfig::from_vars(vars).unwrap();
    assert_eq!(config.warnings().len(), 2);
    let written = write(&config);
    assert_eq!(written["no_proxy"], json!(["x.test", "z.test"]));
    assert_eq!(write(config.no_proxy()), json!(["x.test", "z.test"]));
    // Read again, there is nothing to warn of.
    let again: ProxySettings = read(json!({ "no_proxy": written["no_proxy"] }));
    assert!(build(again).unwrap().warnings().is_empty());
    let config = config.with_bypass(|_: &Target<'_>| false);
    assert_eq!(write(&config).get("no_proxy"), None);
    let curl = NoProxy::lenient("a.test, *, b.test c.test, d.test", Dialect::Curl);
    assert_eq!(write(&curl), json!(["a.test", "b.test"]));
}

/// In a file, `all_proxy` would also be for the scheme that code gives no proxy.
#[test]
fn a_proxy_for_other_schemes_alone_is_written_if_a_file_can_say_so() {
    let both = ProxyConfig::builder().http("http://h").https("http://s");
    let written = |builder: ProxyConfigBuilder| write(&builder.build().unwrap()).get("all_proxy").cloned();
    assert_eq!(written(both.clone().all("http://a")), Some(json!("http://a:1080")));
    assert_eq!(written(both.clone().all("http://a").http("")), None);
    assert_eq!(written(both.all("socks5://a")), None);
}

/// The switch for testing is shown wherever it comes from.
#[test]
fn a_switch_that_was_set_in_code_is_written_too() {
    let tls = TlsConfig::builder()
        .dangerous_accept_any_certificate_for_testing()
        .build()
        .unwrap();
    let config = ProxyConfig::builder().proxy_tls(tls).build().unwrap();
    assert_eq!(
        write(&config)["use_insecure_ssl_client_just_for_testing_do_not_use"],
        json!(true)
    );
}

#[test]
fn a_proxy_is_written_as_an_address_that_can_be_read() {
    for (address, written) in [
        ("p", "http://p:1080"),
        ("HTTPS://P.test./", "https://p.test:1080"),
        ("127.1:80", "http://127.0.0.1:80"),
        ("[::1]", "http://[::1]:1080"),
        ("bücher.test", "http://xn--bcher-kva.test:1080"),
        ("user@p", "http://user@p:1080"),
        (
            "u%25s%2Fe%40r-._~%C3%A4%FF@p",
            "http://u%25s%2Fe%40r-._~%C3%A4%FF@p:1080",
        ),
        ("ä'\"\\@p", "http://%C3%A4%27%22%5C@p:1080"),
    ] {
        let server: ProxyServer = address.parse().unwrap();
        assert_eq!(write(&server), json!(written), "{address}");
        assert_eq!(written.parse::<ProxyServer>().unwrap(), server, "{address}");
    }
    for address in [
        "user:secret@p",
        ":secret@p",
        "user:@p",
        "user:***@p",
        "us%40er:se:cr@et@p",
    ] {
        let server: ProxyServer = address.parse().unwrap();
        let written = write(&server);
        assert!(written.as_str().unwrap().ends_with(":***@p:1080"), "{written}");
        let error = build(read(json!({ "http_proxy": written }))).unwrap_err();
        assert!(error.to_string().contains("the password is `***`"), "{error}");
    }
    // One that really is so has a spelling, and code and variables are no file.
    let config = build(read(json!({ "http_proxy": "user:%2A%2A%2A@p" }))).unwrap();
    assert_eq!(config.http().unwrap(), &"user:***@p".parse().unwrap());
    assert!(ProxyConfig::from_vars([("HTTP_PROXY", "user:***@p")]).is_ok());
}

/// Unread settings keep their texts, blanks and mistakes included.
#[test]
fn settings_without_a_password_are_written_as_they_were() {
    for settings in [
        json!({}),
        json!({ "http_proxy": "p", "https_proxy": " ", "all_proxy": "socks5://user@p:x/y" }),
        json!({ "no_proxy": "" }),
        json!({ "no_proxy": " a, b\t10.0.0.0/8 [2001:db8::1]:80 2001:db8::/32 *foo \"x\"" }),
        json!({ "no_proxy_hosts": [] }),
        json!({ "no_proxy_hosts": ["a", "", "a b", "'"] }),
        json!({ "by_domain": [] }),
        json!({ "by_domain": [{ "url": "p" }, { "url": "q", "include": [], "exclude": ["*", "a.*", "[::1]"] }] }),
        json!({ "use_insecure_ssl_client_just_for_testing_do_not_use": false }),
    ] {
        let mut expected = settings.clone();
        // A blank proxy is unset, and `x` is where a password could be.
        if expected["https_proxy"] == " " {
            expected.as_object_mut().unwrap().remove("https_proxy");
            expected["all_proxy"] = json!("socks5://user@p:***");
        }
        assert_eq!(write(&read(settings.clone())), expected);
        let toml: Value = toml::from_str(&toml::to_string(&read(settings)).unwrap()).unwrap();
        assert_eq!(toml, expected);
    }
}

/// A possible password is written as `***`, which is an error when it is read.
#[test]
fn a_misplaced_password_is_not_written_either() {
    for list in [
        "user:s3cret@p",
        "http://user:s3cret",
        "x.test http://user:s3 cret@p y",
        "user:s3cret",
        "s3cret@p",
    ] {
        for settings in [
            json!({ "no_proxy": list }),
            json!({ "no_proxy_hosts": [list] }),
            json!({ "by_domain": [{ "url": "p", "include": [list] }] }),
            json!({ "by_domain": [{ "url": "p", "exclude": [list] }] }),
        ] {
            let written = write(&read(settings.clone()));
            assert!(!written.to_string().contains("s3"), "{written}");
            assert!(written.to_string().contains("\"***\""), "{written}");
            assert!(build(read(written)).is_err(), "{settings}");
        }
    }
}

/// Leaving out what cannot be written would make a mistake a silent direct connection.
#[test]
fn settings_that_cannot_be_written_are_an_error() {
    for (settings, expected) in [
        (
            json!({ "http_prox": "s3cret" }),
            "http_prox in the settings file: unknown key",
        ),
        (
            json!({ "http_proxy": ["s3cret"] }),
            "http_proxy in the settings file: expected a string, found a list",
        ),
        (
            json!({ "by_domain": [{ "url": "p", "s": "s3cret" }] }),
            "by_domain[0].s in the settings file: unknown key",
        ),
        (json!("s3cret"), "the settings file: expected a table, found a string"),
    ] {
        let error = serde_json::to_string(&read(settings)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,4}(\\.[a-z]{1,4}){0,2}",
        "[1-9][0-9]?\\.0\\.0\\.[1-9]",
        "\\[2001:db8::[1-9a-f]{1,3}\\]",
    ]
}

fn address_of(password: bool) -> impl Strategy<Value = String> {
    let user = proptest::option::of(proptest::collection::vec(1u8.., 1..5));
    (any::<bool>(), user, host(), proptest::option::of(1u16..)).prop_map(move |(scheme, user, host, port)| {
        let encode = |bytes: &[u8]| bytes.iter().map(|b| format!("%{b:02X}")).collect::<String>();
        let user = user.map(|user| {
            user.into_iter()
                .filter(|b| *b > 32 && *b != b':' && *b != 127)
                .collect::<Vec<u8>>()
        });
        let user = match user {
            Some(user) if password => format!("{}:S3CRET@", encode(&user)),
            Some(user) if !user.is_empty() => format!("{}@", encode(&user)),
            _ if password => "user:S3CRET@".to_owned(),
            _ => String::new(),
        };
        let scheme = if scheme { "http://" } else { "" };
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        format!("{scheme}{user}{host}{port}")
    })
}

fn settings(password: bool) -> impl Strategy<Value = Value> {
    let address = move || proptest::option::of(address_of(password));
    let patterns = || proptest::collection::vec(prop_oneof![host(), Just("*".to_owned()), "\\*\\.[a-z]{1,5}"], 0..4);
    let list = prop_oneof![
        proptest::collection::vec(host(), 0..4).prop_map(|list| json!(list)),
        proptest::collection::vec(host(), 0..4).prop_map(|list| json!(list.join(", "))),
    ];
    let domains = (address_of(password), patterns(), patterns())
        .prop_map(|(url, include, exclude)| json!({ "url": url, "include": include, "exclude": exclude }));
    let domains = proptest::collection::vec(domains, 0..3);
    (address(), address(), address(), list, any::<bool>(), domains).prop_map(
        |(http, https, all, list, hosts, domains)| {
            let mut settings = json!({ "by_domain": domains });
            settings[if hosts { "no_proxy_hosts" } else { "no_proxy" }] = list;
            for (key, address) in [("http_proxy", http), ("https_proxy", https), ("all_proxy", all)] {
                if let Some(address) = address {
                    settings[key] = json!(address);
                }
            }
            settings
        },
    )
}

proptest! {
    /// Exactly, through every format; and what holds stays what holds.
    #[test]
    fn a_round_trip_without_passwords_is_exact(settings in settings(false), hosts in proptest::collection::vec(host(), 1..6)) {
        let read_once = read(settings.clone());
        prop_assert_eq!(write(&read_once), settings.clone());
        let toml: ProxySettings = toml::from_str(&toml::to_string(&read_once).unwrap()).unwrap();
        prop_assert_eq!(write(&toml), settings.clone());
        let yaml: ProxySettings = serde_saphyr::from_str(&serde_saphyr::to_string(&read_once).unwrap()).unwrap();
        prop_assert_eq!(write(&yaml), settings);

        let config = build(read_once).unwrap();
        let again = build(read(write(&config))).unwrap();
        prop_assert_eq!(write(&again), write(&config));
        for host in hosts {
            for scheme in ["http", "https", "tcp"] {
                let target: Target<'_> = format!("{scheme}://{host}").parse().unwrap();
                prop_assert_eq!(again.route(&target), config.route(&target), "{}", target);
            }
        }
    }

    /// With passwords, nothing of them is written, and what is written is not taken for the settings.
    #[test]
    fn a_round_trip_with_passwords_fails_loudly(settings in settings(true)) {
        let unread = read(settings.clone());
        let config = build(unread.clone()).unwrap();
        let has_proxy = ["http_proxy", "https_proxy", "all_proxy"].iter().any(|key| settings.get(key).is_some());
        for written in [write(&unread), write(&config)] {
            prop_assert!(!written.to_string().contains("S3CRET"), "{}", written);
            let reread = build(read(written));
            prop_assert_eq!(reread.is_err(), has_proxy || settings["by_domain"] != json!([]));
        }
    }
}
