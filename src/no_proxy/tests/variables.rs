//! Tests the rows about variables of the table of dialects. (`tests/dialects` compares the dialects with the programs
//! themselves.)

use super::{DIALECTS, OTHERS, target};
use crate::{config::ProxyConfig, dialect::Dialect};

/// The points about variables: the variables that are set, a target, and its proxy in Standard, Go and curl (`-` means
/// none, `!` an error).
#[test]
fn the_dialects_read_the_variables_as_the_table_says() {
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, [&'a str; 3]);
    let rows: &[Row<'_>] = &[
        // The proxy's default port
        (
            &[("http_proxy", "p.test")],
            "http://a.test",
            ["http://p.test:1080", "http://p.test:80", "http://p.test:80"],
        ),
        (
            &[("http_proxy", "http://p.test")],
            "http://a.test",
            ["http://p.test:1080", "http://p.test:80", "http://p.test:80"],
        ),
        (&[("http_proxy", "p.test:1")], "http://a.test", ["http://p.test:1"; 3]),
        // The spelling that wins
        (
            &[("https_proxy", "l.test:1"), ("HTTPS_PROXY", "u.test:1")],
            "https://a.test",
            ["http://l.test:1", "http://u.test:1", "http://l.test:1"],
        ),
        (&[("HTTPS_PROXY", "u.test:1")], "https://a.test", ["http://u.test:1"; 3]),
        (
            &[("http_proxy", "l.test:1"), ("HTTP_PROXY", "u.test:1")],
            "http://a.test",
            ["http://l.test:1", "http://u.test:1", "http://l.test:1"],
        ),
        (
            &[("HTTP_PROXY", "u.test:1")],
            "http://a.test",
            ["http://u.test:1", "http://u.test:1", "-"],
        ),
        (
            &[
                ("http_proxy", "p.test:1"),
                ("no_proxy", "l.test"),
                ("NO_PROXY", "u.test"),
            ],
            "http://l.test",
            ["-", "http://p.test:1", "-"],
        ),
        // ALL_PROXY
        (
            &[("ALL_PROXY", "p.test:1")],
            "http://a.test",
            ["http://p.test:1", "-", "http://p.test:1"],
        ),
        (
            &[("all_proxy", "p.test:1")],
            "https://a.test",
            ["http://p.test:1", "-", "http://p.test:1"],
        ),
        // CGI
        (
            &[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "p.test:1")],
            "http://a.test",
            ["-", "!", "-"],
        ),
        (
            &[("REQUEST_METHOD", "GET"), ("http_proxy", "p.test:1")],
            "http://a.test",
            ["http://p.test:1", "!", "http://p.test:1"],
        ),
        (
            &[("REQUEST_METHOD", "GET"), ("HTTPS_PROXY", "p.test:1")],
            "https://a.test",
            ["http://p.test:1"; 3],
        ),
        // A proxy that cannot be used is an error in all dialects
        (&[("http_proxy", "socks5://p.test:1")], "http://a.test", ["!"; 3]),
        (&[("http_proxy", "p.test:0")], "http://a.test", ["!"; 3]),
    ];
    for (vars, url, expected) in rows {
        let answers = DIALECTS.map(|dialect| proxy(vars, dialect, url));
        assert_eq!(answers, *expected, "{vars:?} {url}");
    }
}

/// The same for hyper-util, requests, urllib and undici.
#[test]
fn the_other_dialects_read_the_variables_as_the_table_says() {
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, [&'a str; 4]);
    const HTTP: (&str, &str) = ("http_proxy", "http://p.test:1");
    let rows: &[Row<'_>] = &[
        // The proxy's default port, and its scheme
        (
            &[("http_proxy", "http://p.test")],
            "http://a.test",
            ["http://p.test:80"; 4],
        ),
        (
            &[("https_proxy", "http://p.test")],
            "https://a.test",
            [
                "http://p.test:80",
                "http://p.test:80",
                "http://p.test:443",
                "http://p.test:80",
            ],
        ),
        (
            &[("http_proxy", "https://p.test")],
            "http://a.test",
            ["https://p.test:443"; 4],
        ),
        (
            &[("http_proxy", "p.test:1")],
            "http://a.test",
            ["http://p.test:1", "http://p.test:1", "http://p.test:1", "!"],
        ),
        // The spelling that wins
        (
            &[("https_proxy", "http://l.test:1"), ("HTTPS_PROXY", "http://u.test:1")],
            "https://a.test",
            [
                "http://u.test:1",
                "http://l.test:1",
                "http://l.test:1",
                "http://l.test:1",
            ],
        ),
        (
            &[("Https_Proxy", "http://m.test:1")],
            "https://a.test",
            ["-", "http://m.test:1", "http://m.test:1", "-"],
        ),
        (
            &[("HTTPS_PROXY", "http://u.test:1"), ("Https_Proxy", "http://m.test:1")],
            "https://a.test",
            [
                "http://u.test:1",
                "http://m.test:1",
                "http://m.test:1",
                "http://u.test:1",
            ],
        ),
        (
            &[("HTTPS_PROXY", "http://u.test:1"), ("Https_proxy", "http://m.test:1")],
            "https://a.test",
            [
                "http://u.test:1",
                "http://m.test:1",
                "http://m.test:1",
                "http://u.test:1",
            ],
        ),
        (
            &[HTTP, ("no_proxy", "l.test"), ("NO_PROXY", "u.test")],
            "http://l.test",
            ["http://p.test:1", "-", "-", "-"],
        ),
        // A variable that is set and empty
        (
            &[("https_proxy", "http://l.test:1"), ("HTTPS_PROXY", "")],
            "https://a.test",
            ["-", "http://l.test:1", "http://l.test:1", "http://l.test:1"],
        ),
        (
            &[("https_proxy", ""), ("HTTPS_PROXY", "http://u.test:1")],
            "https://a.test",
            ["http://u.test:1", "-", "-", "-"],
        ),
        (
            &[HTTP, ("no_proxy", ""), ("NO_PROXY", "u.test")],
            "http://u.test",
            ["-", "-", "http://p.test:1", "http://p.test:1"],
        ),
        // ALL_PROXY, and that for http
        (
            &[("ALL_PROXY", "http://p.test:1")],
            "http://a.test",
            ["http://p.test:1", "http://p.test:1", "-", "-"],
        ),
        (
            &[("ALL_PROXY", "http://p.test:1")],
            "ftp://a.test",
            ["-", "http://p.test:1", "-", "-"],
        ),
        (&[HTTP], "https://a.test", ["-", "-", "-", "http://p.test:1"]),
        // WebSockets
        (&[HTTP], "ws://a.test", ["-", "-", "-", "http://p.test:1"]),
        (
            &[("ALL_PROXY", "http://p.test:1")],
            "wss://a.test",
            ["-", "http://p.test:1", "-", "-"],
        ),
        // CGI
        (
            &[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://p.test:1")],
            "http://a.test",
            ["-"; 4],
        ),
        (
            &[("REQUEST_METHOD", ""), ("HTTP_PROXY", "http://p.test:1")],
            "http://a.test",
            ["-", "-", "-", "http://p.test:1"],
        ),
        (
            &[("REQUEST_METHOD", "GET"), ("https_proxy", "http://p.test:1")],
            "https://a.test",
            ["-", "http://p.test:1", "http://p.test:1", "http://p.test:1"],
        ),
        (
            &[("REQUEST_METHOD", "GET"), HTTP],
            "http://a.test",
            ["-", "http://p.test:1", "http://p.test:1", "http://p.test:1"],
        ),
        // A proxy that cannot be used is an error in all dialects
        (&[("http_proxy", "socks5://p.test:1")], "http://a.test", ["!"; 4]),
    ];
    for (vars, url, expected) in rows {
        assert_eq!(
            OTHERS.map(|dialect| proxy(vars, dialect, url)),
            *expected,
            "{vars:?} {url}"
        );
    }
}

/// Returns the target's proxy; `-` means none, `!` an error.
fn proxy(vars: &[(&str, &str)], dialect: Dialect, url: &str) -> String {
    let builder = ProxyConfig::builder().vars(vars.iter().copied());
    match builder.dialect(dialect).build() {
        Ok(config) => config
            .route(&target(url))
            .proxy()
            .map_or("-".to_owned(), |proxy| proxy.url()),
        Err(_) => "!".to_owned(),
    }
}
