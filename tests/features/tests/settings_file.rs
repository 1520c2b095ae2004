//! Promise: a settings file is read without TLS too. The TLS switch is an error there and is not ignored.

#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use tower_outbound_proxy::{ConfigError, ProxyConfig, ProxySettings, config::Precedence};

const SWITCH: &str = "use_insecure_ssl_client_just_for_testing_do_not_use";

fn build(text: &str) -> Result<ProxyConfig, ConfigError> {
    let settings: ProxySettings = serde_json::from_str(text).unwrap();
    ProxyConfig::builder()
        .settings(settings, Precedence::FileOverEnv)
        .build()
}

#[test]
fn a_settings_file_is_read() {
    let config =
        build(r#"{"http_proxy": "proxy.test", "by_domain": [{"url": "q.test", "include": ["*.onion"]}]}"#).unwrap();
    assert_eq!(config.http().unwrap().host(), "proxy.test");
    let decision = config.decide(&"https://x.onion".parse().unwrap()).to_string();
    assert!(decision.starts_with("tunnel through http://q.test:1080"), "{decision}");
}

#[test]
fn the_switch_for_testing_is_an_error_where_it_could_do_nothing() {
    let error = build(&format!("{{\"{SWITCH}\": true}}")).unwrap_err();
    assert_eq!(error.setting(), Some(SWITCH));
    assert!(error.is_in_settings_file() && error.is_tls(), "{error}");
    assert!(build(&format!("{{\"{SWITCH}\": false}}")).is_ok());
}

#[test]
fn an_https_proxy_of_the_list_is_an_error_that_names_it() {
    let error = build(r#"{"by_domain": [{"url": "http://p"}, {"url": "https://user:secret@p"}]}"#).unwrap_err();
    assert_eq!(error.setting(), Some("by_domain[1].url"));
    assert!(error.is_in_settings_file() && error.is_tls(), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}
