//! Promise (the `settings` page, sections 1 and 3): what an operator hardly meant is told, and no warning shows what
//! may be a password.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use tower_outbound_proxy::{Dialect, NoProxy, ProxyConfig};

fn config<const N: usize>(vars: [(&str, &str); N]) -> ProxyConfig {
    ProxyConfig::from_vars(vars).unwrap()
}

fn warnings(config: &ProxyConfig) -> Vec<String> {
    config.warnings().iter().map(ToString::to_string).collect()
}

/// The `settings` page, section 1: a word or a number is used as the proxy's host, and a warning says so.
#[test]
fn a_proxy_that_is_a_word_or_a_number_is_told() {
    for (value, url) in [
        ("0", "http://0.0.0.0:1080"),
        ("1", "http://0.0.0.1:1080"),
        ("3128", "http://0.0.12.56:1080"),
        ("null", "http://null:1080"),
        (" none ", "http://none:1080"),
        ("True", "http://true:1080"),
        ("false", "http://false:1080"),
        ("DIRECT", "http://direct:1080"),
        ("off", "http://off:1080"),
        ("no", "http://no:1080"),
        ("-", "http://-:1080"),
    ] {
        let of_env = ProxyConfig::builder().vars([("Https_Proxy", value), ("ALL_PROXY", "http://proxy.test")]);
        let of_code = ProxyConfig::builder().https(value);
        let of_rule = ProxyConfig::builder().proxy_for("x.test", value);
        for (builder, name) in [(of_env, "Https_Proxy"), (of_code, "https"), (of_rule, "proxy_for")] {
            let config = builder.build().unwrap();
            let expected = format!(
                "{name}=`{}` is read as the proxy {url}: if no proxy is meant, unset {name}; otherwise write the address \
                 in full, as `http://proxy.example:3128`",
                value.trim()
            );
            assert_eq!(warnings(&config), [expected]);
            let route = config.route(&"https://x.test/".parse().unwrap());
            assert_eq!(route.to_string(), format!("tunnel through {url}"));
        }
    }
    for value in [
        "http://none",
        "none:3128",
        "proxy",
        "squid",
        "none.example",
        "10.0.0.1",
        "no-proxy",
        "user@none",
    ] {
        assert_eq!(warnings(&config([("ALL_PROXY", value)])), [""; 0], "{value}");
    }
    // A value that is not used is not told. Beside the two, `ALL_PROXY` is used for other schemes.
    let vars = [
        ("HTTP_PROXY", "http://h"),
        ("HTTPS_PROXY", "http://s"),
        ("ALL_PROXY", "none"),
    ];
    let go = ProxyConfig::builder().vars(vars).dialect(Dialect::Go).build().unwrap();
    assert_eq!((warnings(&config(vars)).len(), warnings(&go).len()), (1, 0));
}

/// The `settings` page, section 3: the text after a `:` may be a password, unless it can be a port.
#[test]
fn an_entry_that_may_have_a_password_is_told_by_position_and_host() {
    let told = |list: &str| warnings(&config([("NO_PROXY", list)])).join("\n");
    let port = "the port is not a number from 1 to 65535";
    assert_eq!(
        told("x.test, user:s3cret"),
        format!("NO_PROXY: entry 2 `user:***` matches nothing: {port}")
    );
    for list in [
        "user:s3cret",
        "user:s3cret@proxy",
        "http://user:s3cret",
        "user:s3cret:1",
        "user:my s3cret",
        "'user:s3cret'",
        "u:%s3cret",
    ] {
        assert!(!told(list).contains("s3cret"), "{}", told(list));
        let error = list.parse::<NoProxy>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        for dialect in [Dialect::Standard, Dialect::Go, Dialect::Curl] {
            let list = NoProxy::lenient(list, dialect);
            assert!(
                !format!("{list:?} {:?}", list.rejected()).contains("s3cret"),
                "{list:?}"
            );
        }
    }
}
