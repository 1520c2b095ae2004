//! Tests the grammar row by row, then the dialects, their variables and the index.

mod dialects;
mod index;
mod variables;

use super::NoProxy;
use crate::{dialect::Dialect, target::Target};

/// The dialects of the first table.
const DIALECTS: [Dialect; 3] = [Dialect::Standard, Dialect::Go, Dialect::Curl];

/// Those of the second.
const OTHERS: [Dialect; 4] = [Dialect::HyperUtil, Dialect::Requests, Dialect::Urllib, Dialect::Undici];

fn target(url: &str) -> Target<'static> {
    url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// Each row of the grammar: an entry, targets that it matches, and targets that it does not match.
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
        // A spelling of an address that a resolver accepts.
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
        // All addresses of one family, and none of the other.
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
        // A bracketed host is not a name, whatever it contains (CVE-2025-22870).
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
fn white_space_separates_names_without_ascii() {
    let no_proxy = NoProxy::strict("\u{fc}\u{a0}\u{f6}", Dialect::Standard).unwrap();
    for url in ["http://\u{fc}", "http://\u{f6}"] {
        assert!(no_proxy.matches(&target(url)), "{url}");
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
const NO_PORT: &str = "the port is not a number from 1 to 65535";
const NO_NETWORK: &str = "the part before the `/` is not an IP address";
const NO_LENGTH: &str = "the prefix length is not a number";
const TOO_LONG: &str = "the prefix is longer than the address";
const NO_V6: &str = "the text in brackets is not an IPv6 address";
const NEITHER: &str = "neither an IPv6 address nor a host with a port";
const STAR: &str = "`*` can only stand alone or as the first label (`*.example.com`)";
const NUMBER: &str = "not a valid IPv4 address";
const CHARACTER: &str = "the name contains a character that is not allowed in a host name";
const QUOTED: &str = "there are quotation marks around the value (remove them)";
const EMPTY_LABEL: &str = "the name has an empty label";

#[test]
fn an_entry_that_fits_no_row_is_reported_and_spoils_no_other() {
    for (entry, reason) in [
        (":1", NO_HOST),
        ("/8", NO_NETWORK),
        ("1.2.3.4/33", TOO_LONG),
        ("2001:db8::/129", TOO_LONG),
        ("[::1", "the bracket around the IPv6 address is not closed"),
        ("[::1]x", "only a port can follow the closing bracket"),
        ("[1.2.3.4]", NO_V6),
        ("[example.com]:80", NO_V6),
        ("exa$mple", CHARACTER),
        ("192.168.*", STAR),
        ("www.*.com", STAR),
        ("*:80", STAR),
        ("1.2.3.0/24:80", "a network cannot have a port"),
        ("1.2.3.0/", NO_LENGTH),
        ("1.2.3.0/+8", NO_LENGTH),
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
        (".", "the host name is empty"),
        ("*.", "the host name is empty"),
        ("..example.com", EMPTY_LABEL),
        ("example..com", EMPTY_LABEL),
        ("http://example.com", "expected a host, found a URL"),
        ("a\u{7f}b", CHARACTER),
        ("\"example.com", QUOTED),
        ("10.0.0.0/8\"", QUOTED),
        ("'example.com:80'", QUOTED),
        ("\u{201c}example.com\u{201d}", QUOTED),
        ("\"\"", QUOTED),
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
    // The error shows the entry so that it can be found, but hides possible secrets.
    let shown = |list| {
        NoProxy::lenient(list, Dialect::Standard).rejected()[0]
            .entry()
            .to_owned()
    };
    assert_eq!(shown("a\u{1}b"), "a\\u{1}b");
    assert_eq!(shown("http://user:secret@proxy"), "***@proxy");
    assert_eq!(shown("user:secret"), "user:***");
}
