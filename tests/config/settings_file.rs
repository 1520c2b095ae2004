//! Promise: a settings file has the same meaning in every format, and each mistake in it is an error that names the
//! key. No error shows a password. The application chooses the precedence of file and environment, and code overrides
//! both.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use crate::common::{self, everything};
use serde::{Deserialize, de::DeserializeOwned};
use tower_outbound_proxy::{
    ConfigError, Dialect, NoProxy, ProxyConfig, ProxySettings, TlsConfig,
    config::{Precedence, Warning},
    error::ConnectErrorKind,
    route::Reason,
};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Origin, connector, within};

const TOML: usize = 0;
const JSON: usize = 1;
const YAML: usize = 2;

/// Parses TOML, JSON or YAML.
fn parse<T: DeserializeOwned>(format: usize, text: &str) -> T {
    match format {
        TOML => toml::from_str(text).unwrap(),
        JSON => serde_json::from_str(text).unwrap(),
        _ => serde_saphyr::from_str(text).unwrap(),
    }
}

fn json(text: &str) -> ProxySettings {
    parse(JSON, text)
}

fn build(settings: ProxySettings) -> Result<ProxyConfig, ConfigError> {
    ProxyConfig::builder()
        .settings(settings, Precedence::FileOverEnv)
        .build()
}

fn error(text: &str) -> ConfigError {
    build(json(text)).unwrap_err()
}

#[track_caller]
fn assert_decisions(config: &ProxyConfig, decisions: &[(&str, &str)], of: &str) {
    for (url, decision) in decisions {
        assert_eq!(
            config.decide(&url.parse().unwrap()).to_string(),
            *decision,
            "{url}, {of}"
        );
    }
}

/// A file in TOML, JSON and YAML, and the expected decisions.
type Said = ([&'static str; 3], &'static [(&'static str, &'static str)]);

/// The terms of Mattermost's "Using an Outbound Proxy" and Palpo's "Using Forward/Outbound Proxies".
const SAID: &[Said] = &[
    (
        [
            "http_proxy = 'http://user:secret@proxy.test:3128'\nhttps_proxy = 'other.test'\nno_proxy = '.x.test, 10.0.0.0/8'",
            r#"{"http_proxy": "http://user:secret@proxy.test:3128", "https_proxy": "other.test", "no_proxy": ".x.test, 10.0.0.0/8"}"#,
            "http_proxy: http://user:secret@proxy.test:3128\nhttps_proxy: other.test\nno_proxy: .x.test, 10.0.0.0/8",
        ],
        &[
            (
                "http://y.test",
                "forward through http://user:***@proxy.test:3128: http_proxy in the settings file is set, and nothing exempts the target",
            ),
            (
                "https://x.test",
                "tunnel through http://other.test:1080: https_proxy in the settings file is set, and nothing exempts the target",
            ),
            (
                "https://10.1.2.3",
                "direct: entry 2 `10.0.0.0/8` of no_proxy in the settings file matches",
            ),
        ],
    ),
    (
        [
            "all_proxy = 'proxy.test'\nhttps_proxy = ''\nno_proxy_hosts = ['10.0.0.0/8', ' x.test ', '[2001:db8::1]:80']",
            r#"{"all_proxy": "proxy.test", "https_proxy": null, "no_proxy_hosts": ["10.0.0.0/8", " x.test ", "[2001:db8::1]:80"]}"#,
            "all_proxy: proxy.test\nhttps_proxy:\nno_proxy_hosts:\n  - 10.0.0.0/8\n  - ' x.test '\n  - '[2001:db8::1]:80'",
        ],
        &[
            (
                "https://y.test",
                "tunnel through http://proxy.test:1080: all_proxy in the settings file is set, and nothing exempts the target",
            ),
            (
                "https://a.x.test",
                "direct: entry 2 `x.test` of no_proxy_hosts in the settings file matches",
            ),
            (
                "http://[2001:db8::1]",
                "direct: entry 3 `[2001:db8::1]:80` of no_proxy_hosts in the settings file matches",
            ),
        ],
    ),
    (
        [
            "http_proxy = 'h.test'\n[[by_domain]]\nurl = 'a.test'\ninclude = ['*.onion', '192.0.2.1']\nexclude = ['b.onion']\n[[by_domain]]\nurl = 'c.test'\ninclude = ['x.test']",
            r#"{"http_proxy": "h.test", "by_domain": [{"url": "a.test", "include": ["*.onion", "192.0.2.1"], "exclude": ["b.onion"]}, {"url": "c.test", "include": ["x.test"], "exclude": null}]}"#,
            "http_proxy: h.test\nby_domain:\n- url: a.test\n  include: ['*.onion', 192.0.2.1]\n  exclude: [b.onion]\n- url: c.test\n  include: [x.test]\n  exclude: []",
        ],
        &[
            (
                "https://192.0.2.1",
                "tunnel through http://a.test:1080: by_domain[0] applies (include[1] `192.0.2.1` matches)",
            ),
            (
                "http://x.test",
                "forward through http://c.test:1080: by_domain[1] applies (include[0] `x.test` matches)",
            ),
            (
                "http://b.onion",
                "forward through http://h.test:1080: http_proxy in the settings file is set, and nothing exempts the target",
            ),
            ("https://b.onion", "direct: no proxy is set for https targets"),
        ],
    ),
    // Nothing in it.
    (
        ["", "{}", "{}"],
        &[("http://x.test", "direct: no proxy is set for http targets")],
    ),
];

#[test]
fn a_file_says_the_same_in_every_format() {
    for (texts, decisions) in SAID {
        for (format, text) in texts.iter().enumerate() {
            let config = build(parse(format, text)).unwrap();
            assert_decisions(&config, decisions, text);
            assert!(config.warnings().is_empty(), "{text}");
        }
    }
}

/// Among an application's own keys, and in a section of its own, which may be empty or missing.
#[test]
fn the_settings_are_part_of_an_applications_own() {
    #[derive(Deserialize)]
    struct Flat {
        port: u16,
        #[serde(flatten)]
        proxy: ProxySettings,
        #[serde(flatten)]
        others: Others,
    }
    #[derive(Deserialize)]
    struct Others {
        name: String,
    }
    #[derive(Deserialize)]
    struct Section {
        #[serde(default)]
        proxy: ProxySettings,
        second: Option<ProxySettings>,
    }
    for (texts, decisions) in SAID {
        for (format, text) in texts.iter().enumerate() {
            let flat = match format {
                TOML => format!("port = 80\nname = 'x'\n{text}"),
                JSON => format!("{{\"port\": 80, \"name\": \"x\", {}", &text[1..]).replace("\"x\", }", "\"x\"}"),
                _ if *text == "{}" => "port: 80\nname: x".to_owned(),
                _ => format!("port: 80\nname: x\n{text}"),
            };
            let flat: Flat = parse(format, &flat);
            assert_eq!((flat.port, &*flat.others.name), (80, "x"));
            assert_decisions(&build(flat.proxy).unwrap(), decisions, text);
        }
        let section: Section = parse(JSON, &format!("{{\"proxy\": {0}, \"second\": {0}}}", texts[JSON]));
        assert_decisions(&build(section.proxy).unwrap(), decisions, texts[JSON]);
        assert_decisions(&build(section.second.unwrap()).unwrap(), decisions, texts[JSON]);
    }
    for text in ["proxy:", "proxy: {}", "{}"] {
        let section: Section = parse(YAML, text);
        assert!(build(section.proxy).unwrap().http().is_none() && section.second.is_none());
    }
    // An application's key is none of ours, and one of ours is still judged.
    let flat: Flat = parse(TOML, "port = 80\nname = 'x'\nhttp_proxy = 3128");
    assert_eq!(build(flat.proxy).unwrap_err().setting(), Some("http_proxy"));
}

const KNOWN: &str = "(expected one of http_proxy, https_proxy, all_proxy, no_proxy, no_proxy_hosts, by_domain, \
                     use_insecure_ssl_client_just_for_testing_do_not_use)";

#[test]
fn each_mistake_names_its_key() {
    for (text, setting, expected) in [
        // Kinds.
        (
            r#"{"http_proxy": 3128}"#,
            "http_proxy",
            "http_proxy in the settings file: expected a string, found a number",
        ),
        (
            r#"{"https_proxy": ["p"]}"#,
            "https_proxy",
            "https_proxy in the settings file: expected a string, found a list",
        ),
        (
            r#"{"all_proxy": {"url": "p"}}"#,
            "all_proxy",
            "all_proxy in the settings file: expected a string, found a table",
        ),
        (
            r#"{"http_proxy": true}"#,
            "http_proxy",
            "http_proxy in the settings file: expected a string, found a boolean",
        ),
        (
            r#"{"no_proxy": 1}"#,
            "no_proxy",
            "no_proxy in the settings file: expected a string or a list of strings, found a number",
        ),
        (
            r#"{"no_proxy": ["a", null]}"#,
            "no_proxy[1]",
            "no_proxy[1] in the settings file: expected a string, found no value",
        ),
        (
            r#"{"no_proxy_hosts": [["a"]]}"#,
            "no_proxy_hosts[0]",
            "no_proxy_hosts[0] in the settings file: expected a string, found a list",
        ),
        (
            r#"{"by_domain": {"url": "p"}}"#,
            "by_domain",
            "by_domain in the settings file: expected a list of proxies, found a table",
        ),
        (
            r#"{"by_domain": ["p"]}"#,
            "by_domain[0]",
            "by_domain[0] in the settings file: expected a table, found a string",
        ),
        (
            r#"{"by_domain": [null]}"#,
            "by_domain[0]",
            "by_domain[0] in the settings file: expected a table, found no value",
        ),
        (
            r#"{"by_domain": [{"url": "p", "include": "a"}]}"#,
            "by_domain[0].include",
            "by_domain[0].include in the settings file: expected a list of strings, found a string",
        ),
        (
            r#"{"by_domain": [{"url": "p"}, {"url": "p", "exclude": ["a", 1.5]}]}"#,
            "by_domain[1].exclude[1]",
            "by_domain[1].exclude[1] in the settings file: expected a string, found a number",
        ),
        (
            r#"{"use_insecure_ssl_client_just_for_testing_do_not_use": "true"}"#,
            "use_insecure_ssl_client_just_for_testing_do_not_use",
            "use_insecure_ssl_client_just_for_testing_do_not_use in the settings file: expected a boolean, found a string",
        ),
        // Keys.
        (
            r#"{"HTTP_PROXY": "p"}"#,
            "HTTP_PROXY",
            &format!("HTTP_PROXY in the settings file: unknown key {KNOWN}"),
        ),
        (
            r#"{"http_proxy ": "p"}"#,
            "***",
            &format!("*** in the settings file: unknown key {KNOWN}"),
        ),
        (
            r#"{"by_domain": [{"url": "p", "excludes": []}]}"#,
            "by_domain[0].excludes",
            "by_domain[0].excludes in the settings file: unknown key (expected one of url, include, exclude)",
        ),
        (
            r#"{"http_proxy": "p", "http_proxy": "p"}"#,
            "http_proxy",
            "http_proxy in the settings file: duplicate key",
        ),
        (
            r#"{"by_domain": [{"url": "p", "include": [], "include": []}]}"#,
            "by_domain[0].include",
            "by_domain[0].include in the settings file: duplicate key",
        ),
        (
            r#"{"no_proxy": "", "no_proxy_hosts": []}"#,
            "no_proxy_hosts",
            "no_proxy_hosts in the settings file: set either `no_proxy` or `no_proxy_hosts`, not both",
        ),
        (
            r#"{"by_domain": [{"include": ["x.test"]}]}"#,
            "by_domain[0].url",
            "by_domain[0].url in the settings file: missing (every proxy in `by_domain` needs a `url`)",
        ),
        (
            r#"{"by_domain": [{"url": " "}]}"#,
            "by_domain[0].url",
            "by_domain[0].url in the settings file: missing (every proxy in `by_domain` needs a `url`)",
        ),
        // Values.
        (
            r#"{"http_proxy": "socks5://user:s3cret@p"}"#,
            "http_proxy",
            "http_proxy=`socks5://user:***@p` in the settings file: unsupported proxy scheme `socks5` (http and https are supported)",
        ),
        (
            r#"{"all_proxy": "p:0"}"#,
            "all_proxy",
            "all_proxy=`p:0` in the settings file: the port is not a number from 1 to 65535",
        ),
        (
            r#"{"by_domain": [{"url": "http://p/x"}]}"#,
            "by_domain[0].url",
            "by_domain[0].url=`http://p/x` in the settings file: a proxy's address cannot have a path",
        ),
        (
            r#"{"no_proxy": "x.test, 10.0.0.0/33"}"#,
            "no_proxy",
            "no_proxy in the settings file: entry 2 `10.0.0.0/33` matches nothing: the prefix is longer than the address",
        ),
        (
            r#"{"no_proxy_hosts": ["x.test", "*foo"]}"#,
            "no_proxy_hosts",
            "no_proxy_hosts in the settings file: entry 2 `*foo` matches nothing: `*` can only stand alone or as the first label (`*.example.com`)",
        ),
        (
            r#"{"no_proxy": ["x.test", "a.test,b.test"]}"#,
            "no_proxy",
            "no_proxy in the settings file: entry 2 `a.test,b.test` matches nothing: an item is one entry, but this one contains a comma or white space",
        ),
        (
            r#"{"no_proxy": ["a.test b.test"]}"#,
            "no_proxy",
            "no_proxy in the settings file: entry 1 `a.test b.test` matches nothing: an item is one entry, but this one contains a comma or white space",
        ),
        (
            r#"{"no_proxy": ["x.test", " "]}"#,
            "no_proxy",
            "no_proxy in the settings file: entry 2 ` ` matches nothing: the entry is blank",
        ),
        (
            r#"{"https_proxy": "http://user:***@p"}"#,
            "https_proxy",
            "https_proxy=`http://user:***@p` in the settings file: the password is `***`, which stands for a password in settings that were written out",
        ),
        (
            r#"{"by_domain": [{"url": " ***@p"}]}"#,
            "by_domain[0].url",
            "by_domain[0].url=`***@p` in the settings file: the password is `***`, which stands for a password in settings that were written out",
        ),
    ] {
        let error = error(text);
        assert_eq!(error.to_string(), expected, "{text}");
        assert_eq!(error.setting(), Some(setting), "{text}");
        assert!(error.is_in_settings_file(), "{text}");
    }
    let entry = error(r#"{"no_proxy": ["x.test", "*foo"]}"#);
    assert_eq!(
        entry.entry().map(|entry| (entry.position(), entry.entry())),
        Some((2, "*foo"))
    );
    assert!(error(r#"{"http_proxy": "socks5://p"}"#).is_unsupported_scheme());
}

#[test]
fn settings_that_are_no_table_are_an_error_of_the_whole_file() {
    assert!(build(json("null")).unwrap().http().is_none());
    for (text, found) in [
        ("\"p\"", "a string"),
        ("3128", "a number"),
        ("[\"p\"]", "a list"),
        ("false", "a boolean"),
    ] {
        let error = error(text);
        assert_eq!(
            error.to_string(),
            format!("the settings file: expected a table, found {found}")
        );
        assert_eq!((error.setting(), error.is_in_settings_file()), (None, true));
    }
}

/// A variable of the same name is told from a key.
#[test]
fn a_variables_error_is_not_a_files() {
    let error = ProxyConfig::from_vars([("http_proxy", "socks5://p")]).unwrap_err();
    assert!(!error.is_in_settings_file(), "{error}");
    assert!(error.to_string().starts_with("http_proxy=`socks5://p`: "), "{error}");
}

/// In each place where it can be misplaced, and in each format, the password is in no error but the format's own.
#[test]
fn no_error_shows_a_password() {
    let url = "http://user:s3cret@proxy.test:3128";
    let values = [
        format!("'{url}'"),
        format!("['{url}']"),
        format!("[['{url}']]"),
        format!("[{{'url' = '{url}'}}]"),
        format!("{{'url' = '{url}'}}"),
        format!("{{'{url}' = 'x'}}"),
        format!("[{{'{url}' = 'x'}}]"),
        format!("[{{'url' = 'p', 'include' = ['{url}']}}]"),
        format!("[{{'url' = 'p', 'exclude' = ['x', '{url}']}}]"),
        format!("[{{'url' = 'p', 'exclude' = '{url}'}}]"),
        "[{'url' = 'p', 'include' = ['user:s3cret']}]".to_owned(),
        "[{'url' = 'p', 'include' = ['s3cret@p']}]".to_owned(),
        format!("[{{'url' = ['{url}']}}]"),
        format!("[{{'url' = '{}/path'}}]", url),
        format!("[{{'url' = '{}'}}]", url.replace("http", "socks5")),
        format!("[{{'urls' = '{url}'}}]"),
        "'http://user:s3cret'".to_owned(),
        "'http://user:s3cret@proxy.test:3128/path'".to_owned(),
        "'http://user:x y s3cret@proxy.test:3128'".to_owned(),
        "['http://user:x y s3cret@proxy.test:3128']".to_owned(),
        "'socks5://user:s3cret@proxy.test:3128'".to_owned(),
        "'http://user:***@s3cret@proxy.test:3128'".to_owned(),
    ];
    let mut errors = 0;
    for value in &values {
        for key in [
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "no_proxy",
            "no_proxy_hosts",
            "by_domain",
            "use_insecure_ssl_client_just_for_testing_do_not_use",
            "unknown_key",
            url,
        ] {
            let toml = format!("'{key}' = {value}");
            let quoted = toml.replace('\'', "\"");
            let json = format!("{{{}}}", quoted.replace(" = ", ": "));
            let twice = format!("{{{0}, {0}}}", &json[1..json.len() - 1]);
            let yaml = format!("{}\n", &json[1..json.len() - 1]);
            for (format, text) in [
                (TOML, &toml),
                (JSON, &json),
                (JSON, &twice),
                (YAML, &yaml),
                (YAML, &json),
            ] {
                // Whatever is wrong with the content, the format finds nothing to quote.
                let settings: ProxySettings = parse(format, text);
                let shown = format!("{settings:?} {settings:#?}");
                assert!(!shown.contains("s3cret"), "{shown}");
                let written = serde_json::to_string(&settings).unwrap_or_else(|error| everything(&error));
                assert!(!written.contains("s3cret"), "{text}: {written}");
                let builder = ProxyConfig::builder().settings(settings, Precedence::FileOverEnv);
                assert!(!format!("{builder:?}").contains("s3cret"));
                let shown = match builder.build() {
                    Ok(config) => format!("{config:?} {}", serde_json::to_string(&config).unwrap()),
                    Err(error) => {
                        errors += 1;
                        everything(&error)
                    }
                };
                assert!(!shown.contains("s3cret"), "{text}: {shown}");
            }
        }
    }
    // Those that are none are proxies with a password, once each, as they should be.
    assert!(errors > values.len() * 9 * 4, "{errors}");
}

/// The section itself may be the password's place.
#[test]
fn no_error_shows_a_password_in_place_of_the_section() {
    #[derive(Deserialize)]
    struct Section {
        proxy: ProxySettings,
    }
    let url = "http://user:s3cret@proxy.test:3128";
    for (format, text) in [
        (TOML, format!("proxy = '{url}'")),
        (TOML, format!("proxy = ['{url}']")),
        (JSON, format!("{{\"proxy\": \"{url}\"}}")),
        (YAML, format!("proxy: {url}")),
        (YAML, format!("proxy: [{url}]")),
    ] {
        let error = build(parse::<Section>(format, &text).proxy).unwrap_err();
        assert!(!everything(&error).contains("s3cret"), "{error}");
    }
}

/// Key by key: code over both, and of file and environment the one that was chosen.
#[test]
fn of_code_file_and_environment_one_holds() {
    for precedence in [Precedence::FileOverEnv, Precedence::EnvOverFile] {
        for (key, variable, url) in [
            ("http_proxy", "HTTP_PROXY", "http://x.test"),
            ("https_proxy", "HTTPS_PROXY", "https://x.test"),
            ("all_proxy", "ALL_PROXY", "https://x.test"),
        ] {
            for set in 0..8 {
                let [code, file, env] = [1, 2, 4].map(|bit| set & bit != 0);
                let mut builder = ProxyConfig::builder();
                if file {
                    builder = builder.settings(json(&format!("{{\"{key}\": \"file.test\"}}")), precedence);
                }
                if env {
                    builder = builder.vars([(variable, "env.test")]);
                }
                builder = match key {
                    _ if !code => builder,
                    "http_proxy" => builder.http("code.test"),
                    "https_proxy" => builder.https("code.test"),
                    _ => builder.all("code.test"),
                };
                let file_first = precedence == Precedence::FileOverEnv;
                let expected = match (code, file, env) {
                    (true, ..) => Some(("code.test", key.trim_end_matches("_proxy"), false)),
                    (_, true, false) => Some(("file.test", key, true)),
                    (_, true, true) if file_first => Some(("file.test", key, true)),
                    (.., true) => Some(("env.test", variable, false)),
                    (_, false, false) => None,
                };
                let config = builder.build().unwrap();
                let decision = config.decide(&url.parse().unwrap());
                let found = match decision.reason() {
                    Reason::Proxy { setting, .. } => {
                        let host = decision.route().proxy().unwrap().host();
                        Some((host, setting.as_str().to_owned(), setting.is_in_settings_file()))
                    }
                    _ => None,
                };
                let expected = expected.map(|(host, setting, in_file)| (host.to_owned(), setting.to_owned(), in_file));
                assert_eq!(found, expected, "{key} {precedence:?} {set:03b}");
            }
        }
    }
}

#[test]
fn of_code_file_and_environment_one_list_holds() {
    for precedence in [Precedence::FileOverEnv, Precedence::EnvOverFile] {
        for (key, of_file) in [
            ("no_proxy", "\"file.test\""),
            ("no_proxy_hosts", "[\"file.test\"]"),
            ("no_proxy", "[]"),
        ] {
            for set in 0..8 {
                let [code, file, env] = [1, 2, 4].map(|bit| set & bit != 0);
                let mut builder = ProxyConfig::builder().all("p");
                if file {
                    builder = builder.settings(json(&format!("{{\"{key}\": {of_file}}}")), precedence);
                }
                if env {
                    builder = builder.vars([("NO_PROXY", "env.test, rejected/33")]);
                }
                if code {
                    builder = builder.no_proxy("code.test");
                }
                let config = builder.build().unwrap();
                let file_first = precedence == Precedence::FileOverEnv;
                let expected = match (code, file, env) {
                    (true, ..) => Some("direct: entry 1 `code.test` of no_proxy matches".to_owned()),
                    (_, true, false) | (_, true, true) if !env || file_first => match of_file {
                        "[]" => None,
                        _ => Some(format!(
                            "direct: entry 1 `file.test` of {key} in the settings file matches"
                        )),
                    },
                    (.., true) => Some("direct: entry 1 `env.test` of NO_PROXY matches".to_owned()),
                    _ => None,
                };
                let direct = ["code", "file", "env"].map(|name| format!("http://{name}.test").parse().unwrap());
                let decisions = direct.iter().map(|target| config.decide(target).to_string());
                let found: Vec<_> = decisions.filter(|decision| decision.starts_with("direct")).collect();
                assert_eq!(
                    found,
                    Vec::from_iter(expected),
                    "{key} {of_file} {precedence:?} {set:03b}"
                );
                // The environment is read leniently, and only if it holds.
                let is_env = found.iter().any(|decision| decision.contains("NO_PROXY"));
                assert_eq!(config.warnings().len(), usize::from(is_env), "{:?}", config.warnings());
            }
        }
    }
}

/// Each key by itself: what one source does not set is taken from the other, and `all_proxy` only from there on.
#[test]
fn sources_are_mixed_key_by_key() {
    let settings = r#"{"http_proxy": "file-h", "all_proxy": "file-a", "no_proxy": ""}"#;
    let vars = [
        ("HTTP_PROXY", "env-h"),
        ("HTTPS_PROXY", "env-s"),
        ("NO_PROXY", "x.test"),
    ];
    for (precedence, http, x) in [
        (Precedence::FileOverEnv, "file-h", "file-h"),
        (Precedence::EnvOverFile, "env-h", "direct"),
    ] {
        let config = ProxyConfig::builder()
            .settings(json(settings), precedence)
            .vars(vars)
            .build()
            .unwrap();
        assert_eq!(config.http().unwrap().host(), http);
        assert_eq!(config.https().unwrap().host(), "env-s");
        let route = config.route(&"http://x.test".parse().unwrap());
        assert_eq!(route.proxy().map_or("direct".to_owned(), |proxy| proxy.host()), x);
        // What does not hold is not read.
        let wrong = json(r#"{"http_proxy": "socks5://file"}"#);
        let result = ProxyConfig::builder().settings(wrong, precedence).vars(vars).build();
        assert_eq!(result.is_ok(), precedence == Precedence::EnvOverFile);
        let wrong = [("HTTP_PROXY", "socks5://env")];
        let result = ProxyConfig::builder()
            .settings(json(settings), precedence)
            .vars(wrong)
            .build();
        assert_eq!(result.is_ok(), precedence == Precedence::FileOverEnv);
        // A blank variable overrides nothing, but an empty list is a list.
        let blank = [("HTTP_PROXY", " "), ("NO_PROXY", "")];
        let config = ProxyConfig::builder()
            .settings(json(r#"{"http_proxy": "file-h", "no_proxy": "x.test"}"#), precedence)
            .vars(blank)
            .build()
            .unwrap();
        assert_eq!(config.http().unwrap().host(), "file-h");
        let is_listed = config.no_proxy().matches(&"http://x.test".parse().unwrap());
        assert_eq!(is_listed, precedence == Precedence::FileOverEnv);
    }
    // In code, "none" is a setting too.
    let config = ProxyConfig::builder()
        .settings(json(settings), Precedence::FileOverEnv)
        .http("")
        .build()
        .unwrap();
    assert!(config.http().is_none());
    assert_eq!(config.https().unwrap().host(), "file-a");
}

/// CGI is about what a client can set: variables.
#[test]
fn in_cgi_a_file_is_read() {
    for (dialect, port) in [(Dialect::Standard, 1080), (Dialect::Go, 80), (Dialect::Curl, 80)] {
        let settings = json(r#"{"http_proxy": "file.test", "all_proxy": "all.test"}"#);
        let config = ProxyConfig::builder()
            .settings(settings, Precedence::FileOverEnv)
            .vars([("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil.test")])
            .dialect(dialect)
            .build()
            .unwrap();
        assert_eq!(config.http().unwrap().url(), format!("http://file.test:{port}"));
        assert_eq!(config.https().unwrap().host(), "all.test");
    }
}

#[test]
fn a_dialect_applies_to_a_files_entries() {
    let build = |text: &str, dialect| {
        let builder = ProxyConfig::builder().settings(json(text), Precedence::FileOverEnv);
        builder.dialect(dialect).build()
    };
    let curl = build(r#"{"all_proxy": "p", "no_proxy": [".x.test"]}"#, Dialect::Curl).unwrap();
    assert!(curl.no_proxy().matches(&"http://x.test".parse().unwrap()));
    let every = build(r#"{"no_proxy": ["*"]}"#, Dialect::Curl).unwrap();
    assert!(every.no_proxy().matches(&"http://x.test".parse().unwrap()));
    let error = build(r#"{"no_proxy": ["x.test", "*.x.test"]}"#, Dialect::Curl).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no_proxy in the settings file: entry 2 `*.x.test` matches nothing: in this dialect `*.` is not a wildcard"
    );
    assert_eq!(every.no_proxy().dialect(), Dialect::Curl);
}

#[tokio::test]
async fn the_switch_for_testing_accepts_any_certificate_of_a_proxy() {
    let (ca, origin) = (Ca::new(), Origin::http().await);
    let proxy = ForwardProxy::builder()
        .host("proxy.test")
        .tls(ca.issue(&["other.test"]).server_config(&[]))
        .map("origin.test:80", origin.addr())
        .start()
        .await;
    let text = |switch| {
        format!(
            "http_proxy = '{}'\nuse_insecure_ssl_client_just_for_testing_do_not_use = {switch}",
            proxy.url()
        )
    };
    let settings: ProxySettings = parse(TOML, &text(true));
    assert!(settings.accepts_any_certificate_for_testing());
    let config = build(settings.clone()).unwrap();
    assert_eq!(config.warnings(), [Warning::CertificatesNotVerified]);
    let layer = tower_outbound_proxy::ProxyLayer::new(config);
    let client = common::client(tower::Layer::layer(&layer, connector()));
    let response = within(common::get(&client, "http://origin.test/status/201"))
        .await
        .unwrap();
    assert_eq!(response.status(), 201);

    // What is given in code goes over it, and so does `false`.
    let trusting = TlsConfig::builder()
        .add_root_pem(ca.pem())
        .only_added_roots()
        .build()
        .unwrap();
    let given = ProxyConfig::builder().proxy_tls(trusting.clone());
    for (settings, accepts) in [(settings, true), (parse(TOML, &text(false)), false)] {
        assert_eq!(settings.accepts_any_certificate_for_testing(), accepts);
        let config = given
            .clone()
            .settings(settings, Precedence::FileOverEnv)
            .build()
            .unwrap();
        assert!(config.warnings().is_empty());
        let layer = tower_outbound_proxy::ProxyLayer::new(config);
        let error = within(common::connect(&layer, connector(), "http://origin.test/"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::Certificate, "{error}");
    }
}

/// From the process environment, of which a test can only see that it is read.
#[test]
fn the_shorthand_reads_the_process_environment() {
    let settings = json(r#"{"http_proxy": "file.test", "no_proxy": ""}"#);
    let config = ProxyConfig::from_settings(settings, Precedence::FileOverEnv).unwrap();
    assert_eq!(config.http().unwrap().host(), "file.test");
    let https = ProxyConfig::from_env().unwrap().https().cloned();
    assert_eq!(config.https(), https.as_ref());
    let _: &NoProxy = config.no_proxy();
}

/// An error of the format's, at another key of the application's, can show the proxy's line too. What the documentation
/// of `ProxySettings` says to print does not.
#[test]
fn what_is_to_be_printed_of_a_formats_error_shows_no_password() {
    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code)]
    struct Settings {
        proxy: ProxySettings,
        port: u16,
    }
    let text = "port = 'x'\n[proxy]\nhttp_proxy = 'http://user:secret@proxy'\n";
    let error = toml::from_str::<Settings>(text).unwrap_err();
    assert!(format!("{error:?}").contains("secret"));
    assert!(!error.message().contains("secret"), "{}", error.message());
    for text in [
        "proxy:\n  http_proxy: http://user:secret@proxy\nport: x\n",
        "proxy:\n  http_proxy: http://user:secret@proxy\n  http_proxy: http://user:secret@proxy\nport: 1\n",
        "proxy:\n  http_proxy: !!binary http://user:secret@proxy\nport: 1\n",
    ] {
        let error = serde_saphyr::from_str::<Settings>(text).unwrap_err();
        assert!(error.to_string().contains("secret"));
        let cut = error.without_snippet().to_string();
        assert!(!cut.contains("secret"), "{cut}");
    }
}
