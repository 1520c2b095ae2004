//! Settings files, the precedence of file and environment, and settings that are replaced while the application runs.

use tower_outbound_proxy_lab::within;

use crate::{
    HTTP, HTTPS, PLAIN,
    app::{
        advice::report,
        connections::Connection,
        settings::{Settings, read},
    },
    lab::{Lab, assert_no_password, environment, file},
    site::EXAMPLES,
};

const YAML: &str = "\
http_proxy: http://USERNAME:PASSWORD@10.0.1.1:8080/
https_proxy: http://USERNAME:PASSWORD@proxy.example.com:8080/
no_proxy_hosts: [master.hostname.example.com, 10.1.0.0/16]
by_domain:
  - url: http://USERNAME:PASSWORD@plain.example.com
    include: ['*.onion', 'www.example.com']
    exclude: ['push.example.org']
";
const TOML: &str = "\
http_proxy = 'http://USERNAME:PASSWORD@10.0.1.1:8080/'
https_proxy = 'http://USERNAME:PASSWORD@proxy.example.com:8080/'
no_proxy_hosts = ['master.hostname.example.com', '10.1.0.0/16']
[[by_domain]]
url = 'http://USERNAME:PASSWORD@plain.example.com'
include = ['*.onion', 'www.example.com']
exclude = ['push.example.org']
";

#[tokio::test]
async fn a_settings_file_says_the_same_as_the_variables_and_by_domain() {
    let lab = Lab::start().await;
    for (name, content) in [("palpo.yaml", YAML), ("palpo.yml", YAML), ("palpo.toml", TOML)] {
        let settings = Settings {
            file: Some(file(name, content)),
            ..lab.settings(&[])
        };
        let outbound = lab.outbound_with(&settings);
        for (connection, url, by_whom) in [
            (Connection::Cas, HTTP, "10.0.1.1"),
            (Connection::Cas, "https://push.example.org/", "proxy.example.com"),
            (Connection::Cas, HTTPS, "plain.example.com"),
            (Connection::Cas, "https://hidden.onion/", "plain.example.com"),
            (Connection::Cas, "https://master.hostname.example.com/", "direct"),
            (Connection::Cas, "http://10.1.0.5/", "direct"),
            // The list of connections goes over all of it.
            (Connection::ApplicationService, "https://hidden.onion/", "direct"),
        ] {
            assert_eq!(lab.reached(&outbound, connection, url).await, by_whom, "{name}: {url}");
        }
    }
    lab.assert_targets_know_no_password();
}

#[tokio::test]
async fn the_file_holds_over_the_environment_unless_told_otherwise() {
    let lab = Lab::start().await;
    let variables = [("HTTP_PROXY", PLAIN), ("no_proxy", "push.example.org")];
    let over_env = Settings {
        file: Some(file("palpo.yaml", YAML)),
        ..lab.settings(&variables)
    };
    let under_env = Settings {
        env_over_file: true,
        ..over_env.clone()
    };
    for (settings, routes) in [
        (over_env, ["10.0.1.1", "proxy.example.com", "direct"]),
        (under_env, ["plain.example.com", "direct", "proxy.example.com"]),
    ] {
        let outbound = lab.outbound_with(&settings);
        let urls = [
            HTTP,
            "https://push.example.org/",
            "https://master.hostname.example.com/",
        ];
        for (url, by_whom) in urls.into_iter().zip(routes) {
            assert_eq!(lab.reached(&outbound, Connection::Push, url).await, by_whom, "{url}");
        }
    }
}

#[test]
fn a_file_that_sets_nothing_can_be_read() {
    for (name, content) in [
        ("palpo.yaml", ""),
        ("palpo.yaml", "# all is commented out\n"),
        ("palpo.toml", ""),
        ("palpo.yaml", "http_proxy:\nby_domain: []\n"),
    ] {
        let settings = Settings {
            file: Some(file(name, content)),
            ..environment(&[])
        };
        let config = settings.config().unwrap();
        assert_eq!((config.http(), config.https()), (None, None), "{name}: {content}");
    }
}

#[test]
fn what_is_wrong_in_a_file_names_its_key_and_shows_no_password() {
    for (content, key) in [
        ("http_proxy: socks5://USERNAME:PASSWORD@p", "http_proxy"),
        ("https_proxy: http://USERNAME:PASS/WORD@p", "https_proxy"),
        ("http_prox: http://USERNAME:PASSWORD@p", "http_prox"),
        ("http_proxy: [http://USERNAME:PASSWORD@p]", "http_proxy"),
        ("no_proxy_hosts: [a.test, '1.2.3.4/33']", "no_proxy_hosts"),
        ("by_domain: [{url: 'socks5://USERNAME:PASSWORD@p'}]", "by_domain[0].url"),
        ("by_domain: [{url: p, include: ['a*']}]", "by_domain[0].include[0]"),
        ("by_domain: {url: 'http://USERNAME:PASSWORD@p'}", "by_domain"),
    ] {
        let settings = Settings {
            file: Some(file("palpo.yaml", content)),
            ..environment(&[])
        };
        let error = settings.config().unwrap_err();
        assert_eq!(
            (error.setting(), error.is_in_settings_file()),
            (Some(key), true),
            "{content}"
        );
        let text = report(&error);
        assert_no_password(&text);
        assert!(!text.contains("WORD"), "{text}");
    }
}

#[test]
fn what_is_no_yaml_or_toml_names_its_line_and_shows_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content, place) in [
        (
            "a.toml",
            "# proxies\nhttp_proxy = http://USERNAME:PASSWORD@p\n",
            "a.toml:2: it is not TOML: ",
        ),
        (
            "b.toml",
            "http_proxy = 'http://USERNAME:PASSWORD@p\n",
            "b.toml:1: it is not TOML: ",
        ),
        (
            "c.toml",
            "no_proxy = 'a'\nhttp://USERNAME:PASSWORD@p\n",
            "c.toml:2: it is not TOML: ",
        ),
        ("d.toml", "PASSWORD = 1\nPASSWORD = 2\n", "d.toml:2: it is not TOML: "),
        (
            "a.yaml",
            "no_proxy: x\nhttp_proxy: {http://USERNAME:PASSWORD@p\n",
            "a.yaml:",
        ),
        ("b.yaml", "http_proxy: \"http://USERNAME:PASSWORD@p\n", "b.yaml:"),
        (
            "c.yaml",
            "http_proxy: http://p\n  https_proxy: http://USERNAME:PASSWORD@p\n",
            "c.yaml:",
        ),
        ("d.yaml", "http_proxy: *PASSWORD\n", "d.yaml:"),
        ("e.yaml", "PASSWORD: 1\nPASSWORD: 2\n", "e.yaml:"),
        ("f.yaml", "http_proxy: !!int PASSWORD\n", "f.yaml:"),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        let result = read(&path);
        // Some of it may be YAML after all; then it is the key whose value is wrong.
        let text = match result {
            Err(error) => {
                let text = format!("{}\n{error:?}", report(&error));
                assert!(text.contains(place), "{text}");
                text
            }
            Ok(file) => {
                let file = Some(file);
                report(
                    &Settings {
                        file,
                        ..environment(&[])
                    }
                    .config()
                    .unwrap_err(),
                )
            }
        };
        assert_no_password(&text);
    }
}

#[tokio::test]
async fn settings_are_replaced_while_it_runs() {
    let lab = Lab::start().await;
    let outbound = lab.outbound(&EXAMPLES);
    // By both clients: what strangers name, and what the operator does.
    let pairs = [
        (Connection::Push, HTTP),
        (Connection::Cas, HTTP),
        (Connection::Push, HTTPS),
        (Connection::Cas, HTTPS),
    ];
    for (connection, url) in pairs {
        lab.reached(&outbound, connection, url).await;
    }
    let old = [&lab.site.proxies.http, &lab.site.proxies.https];
    assert_eq!(old.map(|proxy| proxy.connections_open()), [2, 2]);

    outbound
        .reload(&lab.settings(&[("http_proxy", PLAIN), ("https_proxy", PLAIN)]))
        .unwrap();
    for proxy in old {
        within(proxy.idle()).await;
    }
    for (connection, url) in pairs {
        assert_eq!(
            lab.reached(&outbound, connection, url).await,
            "plain.example.com",
            "{url}"
        );
    }
    assert_eq!(old.map(|proxy| proxy.connections_opened()), [2, 2]);
}

#[tokio::test]
async fn settings_that_cannot_be_used_replace_nothing() {
    let lab = Lab::start().await;
    let outbound = lab.outbound(&EXAMPLES);
    let broken = [("http_proxy", PLAIN), ("https_proxy", "socks5://USERNAME:PASSWORD@p")];
    let error = outbound.reload(&lab.settings(&broken)).unwrap_err();
    assert_eq!(error.setting(), Some("https_proxy"));
    assert_no_password(&report(&error));
    for connection in [Connection::Push, Connection::Cas] {
        assert_eq!(lab.reached(&outbound, connection, HTTP).await, "10.0.1.1");
        assert_eq!(lab.reached(&outbound, connection, HTTPS).await, "proxy.example.com");
    }
}
