//! The grammar and the dialects row by row, and the index against a plain scan.

use proptest::prelude::*;

use super::{
    NoProxy,
    entry::{self, Rule},
    index::Host,
    is_loopback, seen_by,
};
use crate::{
    config::ProxyConfig,
    dialect::{Dialect, Rules},
    target::Target,
};

const DIALECTS: [Dialect; 3] = [Dialect::Standard, Dialect::Go, Dialect::Curl];

fn target(url: &str) -> Target<'static> {
    url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// Each row of the grammar: an entry, targets that it matches, and targets that it does not.
#[test]
fn an_entry_matches_what_its_row_says() {
    let rows: &[(&str, &[&str], &[&str])] = &[
        // The whole list.
        (
            "*",
            &[
                "http://example.com",
                "https://10.0.0.1",
                "http://[2001:db8::1]:8080",
                "http://localhost",
            ],
            &[],
        ),
        ("a.test, *", &["http://b.test", "http://10.0.0.1"], &[]),
        // An address, any port.
        (
            "1.2.3.4",
            &[
                "http://1.2.3.4",
                "https://1.2.3.4",
                "http://1.2.3.4:8080",
                "http://[::ffff:1.2.3.4]",
                "http://[::ffff:102:304]",
            ],
            &[
                "http://1.2.3.5",
                "http://11.2.3.4",
                "http://1.2.3.4.example",
                "http://[::1.2.3.4]",
            ],
        ),
        (
            "2001:db8::1",
            &[
                "http://[2001:db8::1]",
                "https://[2001:DB8:0:0::1]:8443",
                "http://[2001:db8::1%25eth0]",
            ],
            &["http://[2001:db8::2]", "http://1.2.3.4"],
        ),
        (
            "[2001:db8::1]",
            &["http://[2001:db8::1]", "http://[2001:db8::1]:8080"],
            &["http://[2001:db8::11]"],
        ),
        (
            "2001:DB8:0000::0001",
            &["http://[2001:db8::1]"],
            &["http://[2001:db8::]"],
        ),
        // A spelling of an address that a resolver would take.
        (
            "127.0.0.1",
            &[
                "http://127.1",
                "http://0x7f.1",
                "http://2130706433",
                "http://0177.0.0.1",
                "http://127.0.0.1.",
            ],
            &["http://127.2", "http://127.0.0.1.test"],
        ),
        ("8.0.0.0/8", &["http://010.0.0.1"], &["http://10.0.0.1"]),
        // A network, with and without host bits.
        (
            "10.0.0.0/8",
            &["http://10.0.0.0", "http://10.255.255.255:1", "http://[::ffff:10.1.2.3]"],
            &[
                "http://9.255.255.255",
                "http://11.0.0.0",
                "http://10.example",
                "http://[::a00:1]",
            ],
        ),
        (
            "1.2.3.4/8",
            &["http://1.0.0.0", "http://1.255.255.255"],
            &["http://2.2.3.4", "http://0.255.255.255"],
        ),
        (
            "1.2.3.4/31",
            &["http://1.2.3.4", "http://1.2.3.5"],
            &["http://1.2.3.3", "http://1.2.3.6"],
        ),
        ("1.2.3.4/32", &["http://1.2.3.4"], &["http://1.2.3.5"]),
        (
            "2001:db8::/32",
            &["http://[2001:db8::]", "http://[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]"],
            &["http://[2001:db9::]", "http://[2001:db7:ffff::]", "http://32.1.13.184"],
        ),
        (
            "2001:db8::1/127",
            &["http://[2001:db8::]", "http://[2001:db8::1]"],
            &["http://[2001:db8::2]"],
        ),
        // All of one family, and never of the other.
        (
            "0.0.0.0/0",
            &["http://0.0.0.0", "http://255.255.255.255", "http://[::ffff:1.2.3.4]"],
            &["http://[::1]", "http://[::]", "http://example.com"],
        ),
        (
            "::/0",
            &["http://[::]", "http://[2001:db8::1]"],
            &["http://1.2.3.4", "http://[::ffff:1.2.3.4]", "http://a.test"],
        ),
        // IPv4-mapped.
        (
            "::ffff:1.2.3.4",
            &["http://1.2.3.4", "http://[::ffff:102:304]"],
            &["http://1.2.3.5"],
        ),
        (
            "[::ffff:1.2.3.4]:80",
            &["http://1.2.3.4", "http://[::ffff:1.2.3.4]"],
            &["https://1.2.3.4"],
        ),
        (
            "::ffff:10.0.0.0/104",
            &["http://10.9.8.7", "http://[::ffff:10.0.0.1]"],
            &["http://11.0.0.0", "http://[::a00:1]"],
        ),
        (
            "::ffff:0:0/96",
            &["http://1.2.3.4", "http://[::ffff:1.2.3.4]"],
            &["http://[::fffe:102:304]"],
        ),
        (
            "::ffff:0:0/95",
            &["http://[::fffe:102:304]"],
            &["http://1.2.3.4", "http://[::ffff:1.2.3.4]"],
        ),
        // A name and its subdomains.
        (
            "example.com",
            &[
                "http://example.com",
                "https://example.com:8443",
                "http://www.example.com",
                "http://a.b.example.com",
            ],
            &[
                "http://ample.com",
                "http://notexample.com",
                "http://example.com.test",
                "http://com",
                "http://example.co",
            ],
        ),
        ("ample.com", &["http://ample.com"], &["http://example.com"]),
        (
            "com",
            &["http://example.com", "http://com"],
            &["http://example.comx", "http://telecom"],
        ),
        (
            "localhost",
            &["http://localhost", "http://a.localhost"],
            &["http://127.0.0.1"],
        ),
        (
            "under_score.test",
            &["http://under_score.test"],
            &["http://underscore.test"],
        ),
        // Subdomains only.
        (
            ".example.com",
            &["http://www.example.com", "http://a.b.example.com"],
            &["http://example.com", "http://notexample.com"],
        ),
        (
            "*.example.com",
            &["http://www.example.com", "http://a.b.example.com"],
            &["http://example.com", "http://notexample.com"],
        ),
        // On one port.
        (
            "1.2.3.4:80",
            &["http://1.2.3.4", "https://1.2.3.4:80", "ws://1.2.3.4"],
            &["https://1.2.3.4", "http://1.2.3.4:8080"],
        ),
        (
            "[2001:db8::1]:443",
            &[
                "https://[2001:db8::1]",
                "wss://[2001:db8::1]",
                "http://[2001:db8::1]:443",
            ],
            &["http://[2001:db8::1]", "https://[2001:db8::2]"],
        ),
        (
            ".example.com:8080",
            &["http://www.example.com:8080", "https://www.example.com:8080"],
            &["http://example.com:8080", "http://www.example.com"],
        ),
        (
            "*.example.com:80",
            &["http://www.example.com"],
            &["http://example.com", "https://www.example.com"],
        ),
        (
            "example.com:443",
            &["https://example.com", "wss://a.example.com"],
            &["http://example.com", "ws://example.com"],
        ),
        ("localhost:8080", &["http://localhost:8080"], &["http://localhost"]),
        // Case, trailing dots, Unicode.
        ("EXAMPLE.Com", &["http://example.com", "http://WWW.eXample.COM"], &[]),
        (
            "example.com.",
            &["http://example.com", "http://example.com.", "http://www.example.com."],
            &["http://example.com.test"],
        ),
        (
            "example.com",
            &["http://example.com.", "http://www.example.com.:8080"],
            &[],
        ),
        (
            ".example.com.:80",
            &["http://www.example.com", "http://www.example.com."],
            &["http://example.com."],
        ),
        (
            "bücher.example",
            &[
                "http://xn--bcher-kva.example",
                "http://BÜCHER.example",
                "http://a.bücher.example",
            ],
            &["http://bucher.example"],
        ),
        ("xn--bcher-kva.example", &["http://bücher.example"], &[]),
        // A bracketed host is no name, whatever it contains (CVE-2025-22870).
        (
            "example.com",
            &[],
            &["http://[::1%25.example.com]", "http://[2001:db8::1%25example.com]"],
        ),
        (".example.com", &[], &["http://[::1%25.example.com]"]),
        ("", &[], &["http://example.com", "http://10.0.0.1", "http://[::1]"]),
    ];
    for (list, hits, misses) in rows {
        let no_proxy = NoProxy::strict(list, Dialect::Standard).unwrap();
        for url in *hits {
            assert!(no_proxy.matches(&target(url)), "`{list}` does not match {url}");
        }
        for url in *misses {
            assert!(!no_proxy.matches(&target(url)), "`{list}` matches {url}");
        }
    }
}

#[test]
fn entries_are_separated_by_commas_and_white_space_and_counted_without_the_empty_ones() {
    let list = " a.test,b.test c.test\td.test\r\n, ,,\u{a0}e.test ,";
    let no_proxy = NoProxy::strict(list, Dialect::Standard).unwrap();
    for (position, name) in (1..).zip(["a.test", "b.test", "c.test", "d.test", "e.test"]) {
        let url = format!("http://{name}");
        let target = target(&url);
        let found = no_proxy.find(&target).unwrap();
        assert_eq!((found.position(), found.as_str()), (position, name));
    }
}

#[test]
fn the_first_entry_that_matches_is_found() {
    for (list, url, position) in [
        ("a.test,test,a.test", "http://a.test", 1),
        ("b.test,test,a.test,*", "http://a.test", 2),
        ("b.test,*,a.test", "http://a.test", 2),
        ("10.0.0.0/8,10.0.0.0/16,10.0.0.1", "http://10.0.0.1", 1),
        ("10.0.0.1,10.0.0.0/16,10.0.0.0/8", "http://10.0.0.1", 1),
        ("10.0.0.1,10.0.0.0/16,10.0.0.0/8", "http://10.0.1.1", 2),
        ("10.0.0.1:80,10.0.0.1", "http://10.0.0.1", 1),
        ("10.0.0.1:80,10.0.0.1", "https://10.0.0.1", 2),
        ("10.0.0.1,10.0.0.1:80", "http://10.0.0.1", 1),
        ("exa$mple,a.test", "http://a.test", 2),
    ] {
        let found = NoProxy::lenient(list, Dialect::Standard);
        assert_eq!(
            found.find(&target(url)).map(|entry| entry.position()),
            Some(position),
            "{list} {url}"
        );
    }
}

const NO_HOST: &str = "there is no host before the port";
const NO_PORT: &str = "its port is not a number from 1 to 65535";
const NO_NETWORK: &str = "what stands before the `/` is not an IP address";
const NO_LENGTH: &str = "the prefix length is not a number";
const TOO_LONG: &str = "the prefix is longer than the address";
const NO_V6: &str = "what stands in brackets is not an IPv6 address";
const NEITHER: &str = "it is neither an IPv6 address nor a host with a port";
const STAR: &str = "`*` can only stand alone or as the first label (`*.example.com`)";
const NUMBER: &str = "it ends in a number, but is not an IPv4 address";
const CHARACTER: &str = "the name has a character that no host name can have";
const EMPTY_LABEL: &str = "the name has an empty label";

#[test]
fn an_entry_that_fits_no_row_is_reported_and_spoils_no_other() {
    for (entry, reason) in [
        (":1", NO_HOST),
        ("/8", NO_NETWORK),
        ("1.2.3.4/33", TOO_LONG),
        ("2001:db8::/129", TOO_LONG),
        ("[::1", NO_V6),
        ("[::1]x", NO_V6),
        ("[1.2.3.4]", NO_V6),
        ("[example.com]:80", NO_V6),
        ("exa$mple", CHARACTER),
        ("192.168.*", STAR),
        ("www.*.com", STAR),
        ("*:80", STAR),
        ("1.2.3.0/24:80", NO_LENGTH),
        ("1.2.3.0/", NO_LENGTH),
        ("1.2.3.0/+8", NO_LENGTH),
        ("1.2.3.0/08", NO_LENGTH),
        ("1.2.3.0/256", NO_LENGTH),
        ("host:0", NO_PORT),
        ("host:", NO_PORT),
        ("host:65536", NO_PORT),
        ("host:+1", NO_PORT),
        ("host:http", NO_PORT),
        ("010.0.0.0/8", NO_NETWORK),
        ("example.com/8", NO_NETWORK),
        ("010.0.0.1", NUMBER),
        ("127.1", NUMBER),
        ("1.2.3.256", NUMBER),
        ("a:b:c", NEITHER),
        ("a:b:1", NEITHER),
        ("2001:db8::1::2", NEITHER),
        ("fe80::1%eth0", NEITHER),
        (".", "there is no host name"),
        ("*.", "there is no host name"),
        ("..example.com", EMPTY_LABEL),
        ("example..com", EMPTY_LABEL),
        ("http://example.com", "it is a URL; only its host belongs here"),
        ("a\u{7f}b", CHARACTER),
    ] {
        let list = format!("a.test, {entry} ,b.test");
        let lenient = NoProxy::lenient(&list, Dialect::Standard);
        let [rejected] = lenient.rejected() else {
            panic!("`{entry}`: {:?}", lenient.rejected());
        };
        assert_eq!((rejected.position(), rejected.reason()), (2, reason), "`{entry}`");
        for (url, found) in [
            ("http://a.test", Some(1)),
            ("http://b.test", Some(3)),
            ("http://c.test", None),
        ] {
            assert_eq!(
                lenient.find(&target(url)).map(|entry| entry.position()),
                found,
                "`{entry}` {url}"
            );
        }
        let strict = NoProxy::strict(&list, Dialect::Standard).unwrap_err();
        assert_eq!(strict.entry(), Some(rejected), "`{entry}`");
    }
    let long = format!("{}.test", "a".repeat(64));
    assert!(NoProxy::strict(&long, Dialect::Standard).is_err());
    // The reported entry is shown so that it can be found, and without what may be a secret.
    let shown = |list| {
        NoProxy::lenient(list, Dialect::Standard).rejected()[0]
            .entry()
            .to_owned()
    };
    assert_eq!(shown("a\u{1}b"), "a\\u{1}b");
    assert_eq!(shown("http://user:secret@proxy"), "http://user:***@proxy");
}

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
        // Unicode entries
        ("bücher.example", "http://xn--bcher-kva.example", [yes, yes, no]),
        ("xn--bcher-kva.example", "http://xn--bcher-kva.example", [yes, yes, yes]),
        // Security rules are the same in all
        (
            "example.com,.example.com,2001",
            "http://[2001:db8::1%25.example.com]",
            [no, no, no],
        ),
    ] {
        let answers = DIALECTS.map(|dialect| {
            let target = target(url);
            NoProxy::lenient(list, dialect).matches(&target) || is_loopback(&target, dialect)
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
            "in this dialect `*.` is no wildcard",
            [false, false, true],
        ),
        (
            "b.test,*",
            2,
            "in this dialect `*` has to be the whole list, without a blank or comma",
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
            [false, true, true],
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

/// The points that are about variables: what is set, a target, and its proxy in Standard, Go and curl (`-` is none, `!`
/// an error).
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
        // Which spelling wins
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
        // A proxy that cannot be used is an error in all
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

/// The oracle: reads the rules in the list's order, and compares each in the way that is plainest to read.
fn scan(list: &str, dialect: Dialect, target: &Target<'_>) -> Option<usize> {
    let rules: &Rules = dialect.rules();
    let host = seen_by(target, dialect);
    let (read, _) = entry::cut(list, rules);
    entry::split(read, rules)
        .position(|span| match entry::parse(span.of(list), span.of(list) == list, rules) {
            Ok(rule) => holds(&rule, host, target.port()),
            Err(_) => false,
        })
        .map(|index| index + 1)
}

fn holds(rule: &Rule, host: Host<'_>, port: Option<u16>) -> bool {
    match (rule, host) {
        (Rule::All, _) => true,
        (Rule::Network(network), Host::Ip(ip)) => network.contains(&ip),
        (Rule::Address { ip, port: only }, Host::Ip(host)) => *ip == host && Some(*only) == port,
        (Rule::Name(rule), Host::Name(host)) => {
            let host: Vec<_> = host.split('.').collect();
            let name: Vec<_> = rule.name.split('.').collect();
            let below = host.len() > name.len() && host.ends_with(&name);
            (below || (rule.apex && host == name)) && (rule.port.is_none() || rule.port == port)
        }
        _ => false,
    }
}

/// Names of a few labels out of few, so that many are each other's parents.
fn name() -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec!["a", "b", "aa", "ab", "example", "com"]);
    prop::collection::vec(label, 1..5).prop_map(|labels| labels.join("."))
}

/// Addresses out of few: 10.0.0.0/24 and its neighbourhood, mapped or not, and a network of IPv6.
fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..4u8, any::<u8>()).prop_map(|(c, d)| format!("10.0.{c}.{}", d & 0xc3)),
        1 => any::<u8>().prop_map(|d| format!("::ffff:10.0.0.{}", d & 0xc3)),
        3 => (0..4u8, any::<u8>()).prop_map(|(g, h)| format!("2001:db8::{g:x}:{:x}", h & 0xc3)),
    ]
}

fn port() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![4 => Just(None), 1 => Just(Some(80)), 1 => Just(Some(443)), 1 => Just(Some(8080))]
}

fn list_entry() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (prop::sample::select(vec!["", "", ".", "*."]), name(), prop::sample::select(vec!["", "", "", "."]), port())
            .prop_map(|(dots, name, end, port)| with_port(format!("{dots}{name}{end}"), port)),
        4 => (address(), 0..33u8).prop_map(|(address, up)| match address.contains(':') {
            true => format!("{address}/{}", 128 - up),
            false => format!("{address}/{}", 32 - up),
        }),
        4 => (address(), port()).prop_map(host),
        1 => prop::sample::select(vec!["1.2.3.4/33", "exa$mple", "[::1", ":1", "a b", ""]).prop_map(str::to_owned),
    ]
}

fn host((address, port): (String, Option<u16>)) -> String {
    match (address.contains(':'), port) {
        (true, Some(_)) => with_port(format!("[{address}]"), port),
        _ => with_port(address, port),
    }
}

fn with_port(host: String, port: Option<u16>) -> String {
    port.map_or(host.clone(), |port| format!("{host}:{port}"))
}

/// Lists under and over the length to which names are scanned; rarely one with a `*`.
fn list() -> impl Strategy<Value = String> {
    let entries = prop_oneof![
        prop::collection::vec(list_entry(), 0..12),
        prop::collection::vec(list_entry(), 12..200)
    ];
    (entries, prop::option::weighted(0.05, any::<prop::sample::Index>())).prop_map(|(mut entries, star)| {
        if let Some(star) = star {
            entries.insert(star.index(entries.len() + 1), "*".to_owned());
        }
        entries.join(",")
    })
}

fn url() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(vec!["http", "https", "ws", "ftp"]);
    let host = prop_oneof![
        (name(), prop::sample::select(vec!["", "", "", "."])).prop_map(|(name, end)| name + end),
        address().prop_map(|address| match address.contains(':') {
            true => format!("[{address}]"),
            false => address,
        }),
        any::<u8>().prop_map(|d| format!("10.{d}")),
    ];
    (scheme, host, port()).prop_map(|(scheme, host, port)| format!("{scheme}://{}", with_port(host, port)))
}

proptest! {
    #[test]
    fn the_index_finds_what_a_plain_scan_finds(list in list(), urls in prop::collection::vec(url(), 1..32)) {
        for dialect in DIALECTS {
            let no_proxy = NoProxy::lenient(&list, dialect);
            for url in &urls {
                let target = target(url);
                let found = no_proxy.find(&target).map(|entry| entry.position());
                prop_assert_eq!(found, scan(&list, dialect, &target), "{} `{}` {}", dialect, list, url);
            }
        }
    }

    /// Nested networks: every address of a small one, whatever is listed around it.
    #[test]
    fn no_address_is_lost_between_nested_networks(blocks in prop::collection::vec((any::<u8>(), 20..=32u8), 0..60)) {
        let list: Vec<_> = blocks.iter().map(|(d, length)| format!("10.0.0.{d}/{length}")).collect();
        let list = list.join(" ");
        let no_proxy = NoProxy::lenient(&list, Dialect::Standard);
        for d in 0..=255 {
            let target = target(&format!("http://10.0.0.{d}"));
            let found = no_proxy.find(&target).map(|entry| entry.position());
            prop_assert_eq!(found, scan(&list, Dialect::Standard, &target), "`{}` .{}", list, d);
        }
    }

    #[test]
    fn any_text_is_a_list(list in any::<String>(), url in url()) {
        for dialect in DIALECTS {
            let no_proxy = NoProxy::lenient(&list, dialect);
            prop_assert_eq!(NoProxy::strict(&list, dialect).is_ok(), no_proxy.rejected().is_empty());
            let target = target(&url);
            prop_assert_eq!(no_proxy.find(&target).map(|entry| entry.position()), scan(&list, dialect, &target));
        }
    }
}
