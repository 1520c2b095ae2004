//! Promise (the `settings` page, sections 1 and 2): every setting has its documented meaning, and one that cannot be
//! used is an error that names the variable, the redacted value and the reason.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use std::ffi::OsString;

use proptest::prelude::*;
use tower_outbound_proxy::{Dialect, NoProxy, ProxyConfig, ProxyServer, Route, Target, config::DefaultPort};
use tower_outbound_proxy_lab::not_unicode;

fn route(config: &ProxyConfig, url: &str) -> String {
    let target: Target<'_> = url.parse().unwrap();
    match config.route(&target) {
        Route::Direct => "direct".to_owned(),
        route => format!(
            "{} {}",
            route.to_string().split(' ').next().unwrap(),
            route.proxy().unwrap().url()
        ),
    }
}

fn config<const N: usize>(vars: [(&str, &str); N]) -> ProxyConfig {
    ProxyConfig::from_vars(vars).unwrap()
}

fn error<const N: usize>(vars: [(&str, &str); N]) -> String {
    ProxyConfig::from_vars(vars).unwrap_err().to_string()
}

fn warnings(config: &ProxyConfig) -> Vec<String> {
    config.warnings().iter().map(ToString::to_string).collect()
}

/// The `settings` page, section 1: each scheme has its variable.
#[test]
fn each_scheme_has_its_variable() {
    let (h, s, a) = (
        ("HTTP_PROXY", "http://h"),
        ("HTTPS_PROXY", "http://s"),
        ("ALL_PROXY", "http://a"),
    );
    for (vars, http, https) in [
        (vec![], "direct", "direct"),
        (vec![h], "forward http://h:1080", "direct"),
        (vec![s], "direct", "tunnel http://s:1080"),
        (vec![h, s], "forward http://h:1080", "tunnel http://s:1080"),
        (vec![a], "forward http://a:1080", "tunnel http://a:1080"),
        (vec![h, a], "forward http://h:1080", "tunnel http://a:1080"),
        (vec![s, a], "forward http://a:1080", "tunnel http://s:1080"),
        (vec![h, s, a], "forward http://h:1080", "tunnel http://s:1080"),
    ] {
        let config = ProxyConfig::from_vars(vars.clone()).unwrap();
        assert_eq!(route(&config, "http://x.test/"), http, "{vars:?}");
        assert_eq!(route(&config, "https://x.test/"), https, "{vars:?}");
        assert_eq!(
            route(&config, "ws://x.test/"),
            http.replace("forward", "tunnel"),
            "{vars:?}"
        );
        assert_eq!(route(&config, "wss://x.test/"), https, "{vars:?}");
        let other = if vars.contains(&a) {
            "tunnel http://a:1080"
        } else {
            "direct"
        };
        assert_eq!(route(&config, "ftp://x.test/"), other, "{vars:?}");
    }
}

/// The `settings` page, section 1: names are case-insensitive; lower case wins, then upper case, then any other; blank
/// is unset.
#[test]
fn of_several_spellings_one_wins() {
    for (vars, winner) in [
        (vec![("HTTP_PROXY", "u"), ("http_proxy", "l")], "l"),
        (vec![("http_proxy", "l"), ("HTTP_PROXY", "u")], "l"),
        (vec![("Http_Proxy", "m"), ("HTTP_PROXY", "u")], "u"),
        (vec![("HTTP_PROXY", "u"), ("Http_Proxy", "m")], "u"),
        (vec![("Http_Proxy", "m")], "m"),
        (vec![("hTTP_PROXY", "n"), ("Http_Proxy", "m")], "m"),
        (vec![("http_proxy", ""), ("HTTP_PROXY", "u")], "u"),
        (vec![("http_proxy", " \t"), ("HTTP_PROXY", "u")], "u"),
        (vec![("http_proxy", "first"), ("http_proxy", "second")], "first"),
    ] {
        let config = ProxyConfig::from_vars(vars.clone()).unwrap();
        assert_eq!(config.http().unwrap().host(), winner, "{vars:?}");
    }
    let blank = config([("HTTP_PROXY", " "), ("HTTPS_PROXY", ""), ("ALL_PROXY", "\t")]);
    assert!(blank.http().is_none() && blank.https().is_none());
    // A blank variable is unset, so the common one takes its place.
    assert_eq!(
        config([("HTTP_PROXY", " "), ("ALL_PROXY", "a")]).http().unwrap().host(),
        "a"
    );
}

#[test]
fn spellings_that_differ_are_a_warning_and_ones_that_agree_are_not() {
    let differ = config([("HTTPS_PROXY", "http://user:secret@u"), ("https_proxy", "http://l")]);
    assert_eq!(
        warnings(&differ),
        ["https_proxy and HTTPS_PROXY are both set and differ: https_proxy is used"]
    );
    assert!(warnings(&config([("HTTPS_PROXY", "same"), ("https_proxy", "same")])).is_empty());
}

/// The `settings` page, section 1, NO_PROXY: any spelling; empty is an empty list.
#[test]
fn no_proxy_is_read_like_the_others() {
    for name in ["NO_PROXY", "no_proxy", "No_Proxy"] {
        let config = config([("ALL_PROXY", "p"), (name, "x.test")]);
        assert_eq!(route(&config, "http://x.test"), "direct", "{name}");
        assert_eq!(route(&config, "http://y.test"), "forward http://p:1080", "{name}");
    }
    let both = config([("ALL_PROXY", "p"), ("NO_PROXY", "x.test"), ("no_proxy", "y.test")]);
    assert_eq!(route(&both, "http://x.test"), "forward http://p:1080");
    let empty = config([("ALL_PROXY", "p"), ("NO_PROXY", "")]);
    assert_eq!(route(&empty, "http://x.test"), "forward http://p:1080");
}

/// The `settings` page, section 1, CGI: CVE-2016-5385.
#[test]
fn in_cgi_a_client_cannot_choose_the_proxy() {
    for spelling in ["HTTP_PROXY", "Http_Proxy", "HTTP_proxy"] {
        let config = config([
            ("REQUEST_METHOD", "GET"),
            (spelling, "http://evil"),
            ("HTTPS_PROXY", "http://s"),
        ]);
        assert_eq!(route(&config, "http://x.test"), "direct", "{spelling}");
        assert_eq!(route(&config, "https://x.test"), "tunnel http://s:1080", "{spelling}");
        let [warning] = &warnings(&config)[..] else {
            panic!("one warning")
        };
        assert!(
            warning.starts_with(&format!("{spelling} is ignored because REQUEST_METHOD is set")),
            "{warning}"
        );
    }
    let lower = config([
        ("REQUEST_METHOD", "GET"),
        ("http_proxy", "http://h"),
        ("HTTP_PROXY", "http://evil"),
    ]);
    assert_eq!(route(&lower, "http://x.test"), "forward http://h:1080");
    // What is ignored is as good as unset, and is not even read.
    let all = config([
        ("REQUEST_METHOD", "GET"),
        ("HTTP_PROXY", "socks5://evil"),
        ("ALL_PROXY", "http://a"),
    ]);
    assert_eq!(route(&all, "http://x.test"), "forward http://a:1080");
    let not_cgi = config([("REQUEST_METHOD", " "), ("HTTP_PROXY", "http://h")]);
    assert_eq!(route(&not_cgi, "http://x.test"), "forward http://h:1080");
}

#[test]
fn a_value_that_is_not_unicode_is_an_error_that_names_the_variable() {
    let broken = || not_unicode("p");
    for name in ["HTTP_PROXY", "https_proxy", "All_Proxy", "NO_PROXY"] {
        let error = ProxyConfig::from_vars([(OsString::from(name), broken())]).unwrap_err();
        assert_eq!(error.to_string(), format!("{name}: the value is not valid Unicode"));
        assert_eq!(error.setting(), Some(name));
    }
    // One that is not ours, in name or value, is nobody's business.
    let others = [(broken(), broken()), (OsString::from("PATH"), broken())];
    assert!(ProxyConfig::from_vars(others).is_ok());
}

#[test]
fn what_is_not_used_need_not_be_usable() {
    // The common one is often SOCKS, on desktops, beside the specific ones.
    let config = config([("HTTP_PROXY", "h"), ("HTTPS_PROXY", "s"), ("ALL_PROXY", "socks5://x")]);
    assert_eq!(route(&config, "https://x.test"), "tunnel http://s:1080");
    let text = error([("HTTP_PROXY", "h"), ("ALL_PROXY", "socks5://x")]);
    assert!(
        text.starts_with("ALL_PROXY=`socks5://x`: unsupported proxy scheme `socks5`"),
        "{text}"
    );
}

/// The `settings` page, section 2: accepted addresses.
#[test]
fn proxy_addresses() {
    for (raw, shown) in [
        ("proxy", "http://proxy:1080"),
        ("proxy:3128", "http://proxy:3128"),
        ("http://proxy", "http://proxy:1080"),
        ("https://proxy", "https://proxy:1080"),
        ("HTTP://proxy", "http://proxy:1080"),
        ("HttpS://proxy:1", "https://proxy:1"),
        ("http://proxy:65535/", "http://proxy:65535"),
        ("  http://proxy:3128/\t", "http://proxy:3128"),
        ("http://PROXY.Example.", "http://proxy.example:1080"),
        ("http://bücher.example", "http://xn--bcher-kva.example:1080"),
        ("http://192.168.4.5:3128", "http://192.168.4.5:3128"),
        ("http://0x7f.1", "http://127.0.0.1:1080"),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]:1080"),
        ("[::1]:3128", "http://[::1]:3128"),
        ("http://my_proxy", "http://my_proxy:1080"),
        ("http://user@proxy", "http://user@proxy:1080"),
        ("http://user:@proxy", "http://user:***@proxy:1080"),
        ("http://@proxy", "http://proxy:1080"),
        ("http://:pass@proxy", "http://:***@proxy:1080"),
        ("user:pass@proxy:3128", "http://user:***@proxy:3128"),
        ("http://user:p@ss:w@proxy", "http://user:***@proxy:1080"),
        (
            "http://USERNAME:PASSWORD@10.0.1.1:8080/",
            "http://USERNAME:***@10.0.1.1:8080",
        ),
        (
            "http://mattermost:password@127.0.0.1:3128",
            "http://mattermost:***@127.0.0.1:3128",
        ),
    ] {
        let proxy: ProxyServer = raw.parse().unwrap_or_else(|e| panic!("{raw}: {e}"));
        assert_eq!(proxy.to_string(), shown, "{raw}");
        assert_eq!(format!("{proxy:?}"), format!("ProxyServer({shown})"), "{raw}");
        assert!(!proxy.url().contains('@'), "{raw}");
    }
}

/// The URL for other libraries: their readers decode what is percent-encoded, and differ in what else they accept.
#[test]
fn the_url_with_the_password_is_read_as_the_same_proxy() {
    for (raw, url) in [
        ("proxy", "http://proxy:1080"),
        ("https://[2001:DB8::1]:3129/", "https://[2001:db8::1]:3129"),
        ("user@proxy", "http://user@proxy:1080"),
        ("user:@proxy", "http://user:@proxy:1080"),
        (":word@proxy", "http://:word@proxy:1080"),
        ("@proxy", "http://proxy:1080"),
        (
            "us-e.r_~:p@ss:w+rd&@proxy:80",
            "http://us-e.r_~:p%40ss%3Aw%2Brd%26@proxy:80",
        ),
        ("%FF:%2F%3F%23%25%20@proxy", "http://%FF:%2F%3F%23%25%20@proxy:1080"),
        (
            "bücher:ü@bücher.test",
            "http://b%C3%BCcher:%C3%BC@xn--bcher-kva.test:1080",
        ),
    ] {
        let proxy: ProxyServer = raw.parse().unwrap_or_else(|e| panic!("{raw}: {e}"));
        assert_eq!(proxy.url_with_password(), url, "{raw}");
        let same: ProxyServer = url.parse().unwrap_or_else(|e| panic!("{url}: {e}"));
        assert_eq!((&same, same.url_with_password()), (&proxy, url.to_owned()), "{raw}");
    }
}

/// The `settings` page, section 2: rejected addresses, with the whole text that an operator reads.
#[test]
fn proxy_addresses_that_cannot_be_used() {
    const PORT: &str = "the port is not a number from 1 to 65535";
    const ENCODE: &str = "a `/`, `?` or `#` in the user name or password must be percent-encoded (%2F, %3F, %23)";
    const QUOTED: &str = "there are quotation marks around the value (remove them)";
    const BLANK: &str = "the address contains white space or a control character";
    for (raw, shown, reason) in [
        (
            "socks5://proxy",
            "socks5://proxy",
            "unsupported proxy scheme `socks5` (http and https are supported)",
        ),
        (
            "ftp://proxy",
            "ftp://proxy",
            "unsupported proxy scheme `ftp` (http and https are supported)",
        ),
        ("http://", "http://", "the host name is empty"),
        ("http://:3128", "http://:3128", "the host name is empty"),
        ("http://proxy:0", "http://proxy:0", PORT),
        ("http://proxy:65536", "http://proxy:***", PORT),
        ("http://proxy:", "http://proxy:", PORT),
        ("http://proxy:+80", "http://proxy:***", PORT),
        ("http://user:secret", "http://user:***", PORT),
        (
            "http://proxy/path",
            "http://proxy/path",
            "a proxy's address cannot have a path",
        ),
        ("\"http://user:secret@proxy\"", "\"http://user:***@proxy\"", QUOTED),
        ("'http://proxy:3128'", "'http://proxy:3128'", QUOTED),
        ("http://proxy:3128/\"", "http://proxy:***", QUOTED),
        ("http://user:sec/ret@proxy'", "http://user:***@proxy'", QUOTED),
        ("\u{201c}http://proxy\u{201d}", "\u{201c}http:***", QUOTED),
        ("\"\"", "\"\"", QUOTED),
        (
            "http://proxy//",
            "http://proxy//",
            "a proxy's address cannot have a path",
        ),
        (
            "http://proxy?q",
            "http://proxy?q",
            "a proxy's address cannot have a query",
        ),
        (
            "http://proxy/?q",
            "http://proxy/?q",
            "a proxy's address cannot have a path",
        ),
        (
            "http://proxy#f",
            "http://proxy#f",
            "a proxy's address cannot have a fragment",
        ),
        ("http://user:sec/ret@proxy", "http://user:***@proxy", ENCODE),
        ("http://user:sec?ret@proxy", "http://user:***@proxy", ENCODE),
        ("http://user:sec#ret@proxy", "http://user:***@proxy", ENCODE),
        (
            "http://us%3Aer:secret@proxy",
            "http://us%3Aer:***@proxy",
            "the user name contains a `:`, which Basic authentication cannot carry (RFC 7617)",
        ),
        (
            "http://user:sec%0Aret@proxy",
            "http://user:***@proxy",
            "the user name or password contains a control character (RFC 7617)",
        ),
        (
            "http://user:sec ret@proxy",
            "http://user:***@proxy",
            "white space or a control character in the user name or password must be percent-encoded",
        ),
        ("http://pro xy", "http://pro xy", BLANK),
        ("http://pro\u{7f}xy", "http://pro\\u{7f}xy", BLANK),
        (
            "http://2001:db8::1",
            "http://2001:db8::1",
            "an IPv6 address must be in brackets",
        ),
        (
            "http://[::1",
            "http://[:***",
            "the bracket around the IPv6 address is not closed",
        ),
        (
            "http://[::1]3128",
            "http://[::1]3128",
            "only a port can follow the closing bracket",
        ),
        (
            "http://[proxy]",
            "http://[proxy]",
            "the text in brackets is not an IPv6 address",
        ),
        (
            "http://[fe80::1%25eth0]",
            "http://[fe80::1%25eth0]",
            "the text in brackets is not an IPv6 address",
        ),
        (
            "http://1.2.3.256",
            "http://1.2.3.256",
            "the host is not a valid IPv4 address",
        ),
        (
            "http://exa$mple",
            "http://exa$mple",
            "the name contains a character that is not allowed in a host name",
        ),
        ("http://a..b", "http://a..b", "the name has an empty label"),
    ] {
        let error = ProxyConfig::from_vars([("HTTPS_PROXY", raw)]).unwrap_err();
        assert_eq!(error.to_string(), format!("HTTPS_PROXY=`{shown}`: {reason}"), "{raw}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("sec"), "{raw}: {text}");
        }
    }
}

#[test]
fn the_default_port_can_be_set() {
    for (port, http, https) in [
        (None, 1080, 1080),
        (Some(DefaultPort::ByScheme), 80, 443),
        (Some(DefaultPort::Fixed(3128)), 3128, 3128),
    ] {
        let mut builder = ProxyConfig::builder().http("http://h").https("https://s");
        if let Some(port) = port {
            builder = builder.default_port(port);
        }
        let config = builder.build().unwrap();
        assert_eq!(config.http().unwrap().port(), http);
        assert_eq!(config.https().unwrap().port(), https);
    }
}

/// The builder: code over variables, strict lists, blank means none, errors name the method.
#[test]
fn the_builder_goes_over_the_variables() {
    let vars = [("HTTP_PROXY", "h"), ("HTTPS_PROXY", "s"), ("NO_PROXY", "x.test")];
    let config = ProxyConfig::builder()
        .https("")
        .http("other")
        .no_proxy("y.test")
        .vars(vars)
        .build()
        .unwrap();
    assert_eq!(route(&config, "http://x.test"), "forward http://other:1080");
    assert_eq!(route(&config, "https://x.test"), "direct");
    assert_eq!(route(&config, "http://y.test"), "direct");

    // None is as firm as any: the common proxy does not take its place.
    let vars = [("ALL_PROXY", "a"), ("HTTP_PROXY", "socks5://not-looked-at")];
    let config = ProxyConfig::builder().http(" ").vars(vars).build().unwrap();
    assert_eq!(route(&config, "http://x.test"), "direct");
    assert_eq!(route(&config, "https://x.test"), "tunnel http://a:1080");

    let text = |builder: tower_outbound_proxy::config::ProxyConfigBuilder| builder.build().unwrap_err().to_string();
    assert_eq!(
        text(ProxyConfig::builder().all("socks4://p")),
        "all=`socks4://p`: unsupported proxy scheme `socks4` (http and https are supported)"
    );
    assert_eq!(
        text(ProxyConfig::builder().no_proxy("a.test,:1")),
        "no_proxy: entry 2 `:1` matches nothing: there is no host before the port"
    );
    let lenient = NoProxy::lenient("a.test,:1", Dialect::Standard);
    let config = ProxyConfig::builder().all("p").no_proxy(lenient).build().unwrap();
    assert_eq!(
        warnings(&config),
        ["no_proxy: entry 2 `:1` matches nothing: there is no host before the port"]
    );
}

#[test]
fn dialects_have_names() {
    for (name, dialect) in [
        ("standard", Dialect::Standard),
        ("Go", Dialect::Go),
        ("CURL", Dialect::Curl),
        ("Hyper-Util", Dialect::HyperUtil),
        ("requests", Dialect::Requests),
        ("urllib", Dialect::Urllib),
        ("undici", Dialect::Undici),
    ] {
        assert!(Dialect::ALL.contains(&dialect));
        assert_eq!(name.parse::<Dialect>().unwrap(), dialect);
        assert_eq!(dialect.to_string(), name.to_lowercase());
    }
    let error = "wget".parse::<Dialect>().unwrap_err().to_string();
    assert_eq!(
        error,
        "`wget`: unknown dialect (expected standard, go, curl, hyper-util, requests, urllib or undici)"
    );
}

proptest! {
    /// Whatever the user and password are, percent-encoded they come through, and none of it is shown.
    #[test]
    fn encoded_credentials_survive(user in "[^:\\p{Cc}]{1,20}", password in "\\PC{0,20}") {
        let encode = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        let raw = format!("http://{}:{}@proxy", encode(&user), encode(&password));
        let proxy: ProxyServer = raw.parse().unwrap();
        let same: ProxyServer = raw.replace("http://", "HTTP://").parse().unwrap();
        prop_assert_eq!(&proxy, &same);
        prop_assert_eq!(&proxy.url_with_password().parse::<ProxyServer>().unwrap(), &proxy);
        let shown = format!("{proxy} {proxy:?}");
        prop_assert!(shown.contains(":***@proxy:1080"));
        prop_assert_eq!(shown, format!("http://{0}:***@proxy:1080 ProxyServer(http://{0}:***@proxy:1080)", user.escape_debug()));
    }

    /// No text makes the reader panic, and an `@`-less reading never shows what a full one hides.
    #[test]
    fn any_text_is_an_address_or_an_error(raw in "\\PC{0,40}") {
        let _ = raw.parse::<ProxyServer>().map_err(|error| error.to_string());
    }

    #[test]
    fn a_password_is_in_no_error(password in "s3cr[a-z/?#@: %]{4,12}t", tail in "(proxy|proxy:99999|pro xy|:|)") {
        for raw in [format!("http://user:{password}@{tail}"), format!("socks5://user:{password}@{tail}"), format!("user:{password}")] {
            if let Err(error) = ProxyConfig::from_vars([("ALL_PROXY", raw.as_str())]) {
                prop_assert!(!format!("{error} {error:?}").contains("s3cr"), "{}: {}", raw, error);
            }
        }
    }
}
