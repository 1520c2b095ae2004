//! Promise: without TLS, an `https://` proxy is a configuration error, before any connection.

use tower_outbound_proxy::ProxyConfig;

#[test]
fn an_https_proxy_is_a_configuration_error() {
    let error = ProxyConfig::from_vars([("HTTPS_PROXY", "https://user:secret@proxy.test:3129")]).unwrap_err();
    let expected = match cfg!(feature = "tls") {
        true => {
            "HTTPS_PROXY: TLS needs a cryptography provider (enable the feature `ring` or `aws-lc-rs`, or install a default)"
        }
        false => {
            "HTTPS_PROXY=`https://user:***@proxy.test:3129`: TLS to the proxy is not part of this build (enable the \
             feature `ring` or `aws-lc-rs`)"
        }
    };
    assert_eq!(error.to_string(), expected);
    assert!(error.is_tls());
}

#[test]
fn an_http_proxy_works_in_any_build() {
    let config = ProxyConfig::from_vars([("ALL_PROXY", "http://proxy.test:3128")]).unwrap();
    let decision = config.decide(&"https://x.test".parse().unwrap()).to_string();
    assert!(
        decision.starts_with("tunnel through http://proxy.test:3128"),
        "{decision}"
    );
}
