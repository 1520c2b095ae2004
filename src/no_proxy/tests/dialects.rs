//! Tests the table of dialects row by row. (`tests/dialects` compares the dialects with the programs themselves.)

use super::{CHARACTER, DIALECTS, target};
use crate::{
    config::ProxyConfig,
    no_proxy::{NoProxy, is_loopback},
};

/// Each point in which the dialects differ: a list, a target, and whether Standard, Go and curl reach it directly.
#[test]
fn the_dialects_differ_where_the_table_says() {
    let (yes, no) = (true, false);
    for (list, url, direct) in [
        // `.example.com` matches `example.com`
        (".example.com", "http://example.com", [no, no, yes]),
        (".example.com", "http://www.example.com", [yes, yes, yes]),
        // `*.example.com`
        ("*.example.com", "http://www.example.com", [yes, yes, no]),
        ("*.example.com", "http://example.com", [no, no, no]),
        // `*`
        ("*", "http://example.com", [yes, yes, yes]),
        ("*", "http://10.0.0.1", [yes, yes, yes]),
        ("a.test,*", "http://example.com", [yes, yes, no]),
        (" *", "http://example.com", [yes, yes, no]),
        ("*,", "http://example.com", [yes, yes, no]),
        // Ports in entries
        ("example.com:80", "http://example.com", [yes, yes, no]),
        ("example.com:80", "https://example.com", [no, no, no]),
        ("10.0.0.1:443", "https://10.0.0.1", [yes, yes, no]),
        ("[2001:db8::1]:80", "http://[2001:db8::1]", [yes, yes, no]),
        // Loopback without being listed
        ("", "http://localhost", [yes, yes, no]),
        ("", "http://LocalHost", [yes, no, no]),
        ("", "http://localhost.", [yes, no, no]),
        ("", "http://a.localhost", [yes, no, no]),
        ("", "http://notlocalhost", [no, no, no]),
        ("", "http://localhost.test", [no, no, no]),
        ("", "http://127.9.8.7", [yes, yes, no]),
        ("", "http://126.255.255.255", [no, no, no]),
        ("", "http://[::1]", [yes, yes, no]),
        ("", "http://[::ffff:127.0.0.1]", [yes, yes, no]),
        ("", "http://[::2]", [no, no, no]),
        // A prefix of 0
        ("0.0.0.0/0", "http://1.2.3.4", [yes, yes, no]),
        ("0.0.0.0/0", "http://0.0.0.0", [yes, yes, yes]),
        ("1.2.3.4/0", "http://1.2.3.4", [yes, yes, yes]),
        ("1.2.3.4/0", "http://1.2.3.5", [yes, yes, no]),
        ("::/0", "http://[2001:db8::1]", [yes, yes, no]),
        ("::/0", "http://[::]", [yes, yes, yes]),
        ("0.0.0.0/1", "http://1.2.3.4", [yes, yes, yes]),
        // Brackets without a port
        ("[2001:db8::1]", "http://[2001:db8::1]", [yes, no, no]),
        ("2001:db8::1", "http://[2001:db8::1]", [yes, yes, yes]),
        // Trailing dots
        ("example.com", "http://example.com.", [yes, no, yes]),
        ("example.com.", "http://example.com", [yes, no, yes]),
        ("example.com.", "http://www.example.com.", [yes, yes, yes]),
        ("1.2.3.4", "http://1.2.3.4.", [yes, no, yes]),
        // Odd IPv4 spellings in the target
        ("10.0.0.1", "http://10.1", [yes, no, yes]),
        ("10.0.0.0/8", "http://0xa.0.0.1", [yes, no, yes]),
        ("10.0.0.1", "http://167772161", [yes, no, yes]),
        ("", "http://127.1", [yes, no, no]),
        // IPv4-mapped IPv6
        ("1.2.3.4", "http://[::ffff:1.2.3.4]", [yes, yes, no]),
        ("::ffff:1.2.3.4", "http://1.2.3.4", [yes, yes, no]),
        ("::ffff:1.2.3.4", "http://[::ffff:1.2.3.4]", [yes, yes, yes]),
        ("::ffff:10.0.0.0/104", "http://10.1.2.3", [yes, yes, no]),
        ("::ffff:10.0.0.0/104", "http://[::ffff:10.1.2.3]", [yes, yes, yes]),
        ("::/1", "http://[::ffff:1.2.3.4]", [no, no, yes]),
        // White space
        ("a.test example.com", "http://a.test", [yes, no, yes]),
        ("a.test example.com", "http://example.com", [yes, no, no]),
        ("a.test b.test,example.com", "http://example.com", [yes, yes, no]),
        (" a.test\t, example.com ", "http://example.com", [yes, yes, yes]),
        ("a.test\n,example.com", "http://a.test", [yes, yes, no]),
        ("a.test\n,example.com", "http://example.com", [yes, yes, yes]),
        ("127.1", "http://127.1", [yes, yes, no]),
        ("10.1", "http://x.10.1", [no, yes, yes]),
        // Unicode entries
        ("example.com。", "http://example.com", [yes, no, no]),
        ("example.com。", "http://example.com.", [yes, yes, no]),
        ("bücher.example", "http://xn--bcher-kva.example", [yes, yes, no]),
        ("xn--bcher-kva.example", "http://xn--bcher-kva.example", [yes, yes, yes]),
        // Security rules are the same in all dialects
        (
            "example.com,.example.com,2001",
            "http://[2001:db8::1%25.example.com]",
            [no, no, no],
        ),
    ] {
        let answers = DIALECTS.map(|dialect| {
            let target = target(url);
            NoProxy::lenient(list, dialect).matches(&target) || is_loopback(&target, dialect.rules())
        });
        assert_eq!(answers, direct, "`{list}` {url}");
    }
}

#[test]
fn what_only_a_dialect_rejects_is_reported_in_that_dialect() {
    for (list, position, reason, rejected_by) in [
        (
            "*.a.test",
            1,
            "in this dialect `*.` is not a wildcard",
            [false, false, true],
        ),
        (
            "b.test,*",
            2,
            "in this dialect `*` must be the whole list, without white space or commas",
            [false, false, true],
        ),
        (
            "a.test:80",
            1,
            "in this dialect an entry with a port matches nothing",
            [false, false, true],
        ),
        (
            "[::1]",
            1,
            "in this dialect an address in brackets needs a port",
            [false, true, false],
        ),
        (
            "[::1]",
            1,
            "in this dialect an address in brackets matches nothing",
            [false, false, true],
        ),
        (
            "bücher.test",
            1,
            "in this dialect a Unicode name is compared as written and matches nothing",
            [false, false, true],
        ),
        (
            "a.test b.test,c.test",
            2,
            "in this dialect white space within an entry ends the list",
            [false, false, true],
        ),
        ("a.test b.test,c.test", 1, CHARACTER, [false, true, false]),
    ] {
        let reported = DIALECTS.map(|dialect| {
            let no_proxy = NoProxy::lenient(list, dialect);
            assert_eq!(NoProxy::strict(list, dialect).is_ok(), no_proxy.rejected().is_empty());
            let mut rejected = no_proxy.rejected().iter();
            rejected.any(|entry| (entry.position(), entry.reason()) == (position, reason))
        });
        assert_eq!(reported, rejected_by, "`{list}`");
    }
}

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
        let answers = DIALECTS.map(|dialect| {
            match ProxyConfig::builder()
                .vars(vars.iter().copied())
                .dialect(dialect)
                .build()
            {
                Ok(config) => config
                    .route(&target(url))
                    .proxy()
                    .map_or("-".to_owned(), |proxy| proxy.url()),
                Err(_) => "!".to_owned(),
            }
        });
        assert_eq!(answers, *expected, "{vars:?} {url}");
    }
}
