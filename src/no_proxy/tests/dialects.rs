//! Tests the rows about lists of the table of dialects. (`tests/dialects` compares the dialects with the programs
//! themselves.)

use super::{CHARACTER, DIALECTS, OTHERS, target};
use crate::{
    config::ProxyConfig,
    dialect::Dialect,
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
        // Texts that are no names in Standard
        ("*.", "http://example.com.", [no, yes, no]),
        (".", "http://example.com.", [no, yes, no]),
        (".", "http://example.com..", [no, yes, yes]),
        ("[1.2.3.4]:443", "https://1.2.3.4", [no, yes, no]),
        ("[example.com]:80", "http://example.com", [no, yes, no]),
        ("example.com:", "http://example.com", [no, yes, no]),
        ("example.com:080", "http://example.com", [yes, no, no]),
        ("example.com:080", "http://example.com:080", [yes, yes, no]),
        ("example.com", "http://example.com:0", [yes, yes, yes]),
        ("example.com:0", "http://example.com:0", [no, yes, no]),
        ("1.2.3.4", "http://a.1.2.3.4", [no, no, yes]),
        ("1.2.3.4.5", "http://1.2.3.4.5", [no, yes, yes]),
        ("0.0.0.1", "http://0x.1", [yes, no, no]),
        ("0x.1", "http://0x.1", [no, yes, yes]),
        ("wor\u{212a}.test", "http://work.test", [yes, yes, no]),
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

/// The points in which hyper-util, requests, urllib and undici differ: a list, a target, and whether each reaches it
/// directly.
#[test]
fn the_other_dialects_differ_where_the_table_says() {
    let (yes, no) = (true, false);
    for (list, url, direct) in [
        // A leading dot
        (".example.com", "http://example.com", [yes, yes, yes, yes]),
        (".example.com", "http://www.example.com", [yes, yes, yes, yes]),
        ("..example.com", "http://example.com", [no, yes, yes, no]),
        ("..example.com", "http://a..example.com", [yes, yes, yes, yes]),
        // `*.`
        ("*.example.com", "http://www.example.com", [no, no, no, yes]),
        ("*.example.com", "http://example.com", [no, no, no, no]),
        ("*.example.com", "http://*.example.com", [yes, yes, yes, yes]),
        ("*example.com", "http://www.example.com", [no, no, no, no]),
        // `*`
        ("*", "http://example.com", [yes, yes, yes, yes]),
        ("*", "http://10.0.0.1", [no, yes, yes, yes]),
        ("*", "http://[2001:db8::1]", [no, yes, yes, yes]),
        ("*", "http://[2001:db8::1%25eth0]", [yes, yes, yes, yes]),
        ("*", "http://a*", [no, yes, yes, yes]),
        ("a.test,*", "http://example.com", [yes, no, no, yes]),
        (" *", "http://example.com", [yes, no, no, yes]),
        ("*:80", "http://10.0.0.1", [no, no, no, yes]),
        ("*:80", "https://10.0.0.1", [no, no, no, no]),
        ("[*]", "http://example.com", [no, no, no, yes]),
        ("*.*", "http://example.com", [no, no, no, yes]),
        // Ports
        ("example.com:80", "http://example.com", [no, no, no, yes]),
        ("example.com:80", "http://example.com:80", [no, yes, yes, yes]),
        ("example.com:80", "http://example.com:080", [no, yes, no, yes]),
        ("example.com:080", "http://example.com:080", [no, no, yes, yes]),
        ("example.com:080", "http://example.com:80", [no, no, no, yes]),
        ("EXAMPLE.com:80", "http://example.com:80", [no, no, yes, yes]),
        ("example.com:0", "http://example.com", [no, no, no, yes]),
        ("example.com:0", "http://example.com:0", [no, no, yes, yes]),
        ("10.0.0.1:80", "http://10.0.0.1:80", [no, no, yes, yes]),
        ("example.com:", "http://example.com", [no, no, no, no]),
        // IPv4
        ("10.0.0.1", "http://10.0.0.1", [yes, yes, yes, yes]),
        ("10.0.0.1", "http://10.1", [no, no, no, yes]),
        ("10.1", "http://10.1", [yes, yes, yes, no]),
        ("10.1", "http://10.0.10.1", [no, yes, yes, yes]),
        ("0.1", "http://10.0.0.1", [no, yes, yes, yes]),
        ("10.0.0.0/8", "http://10.1.2.3", [yes, yes, no, no]),
        ("10.0.0.0/8", "http://10.1", [no, yes, no, no]),
        ("10/8", "http://0.1.2.3", [no, yes, no, no]),
        ("10.0.0.0/+8", "http://10.1.2.3", [no, yes, no, no]),
        ("0.0.0.0/0", "http://10.1.2.3", [yes, no, no, no]),
        ("010.0.0.0/8", "http://10.1.2.3", [yes, no, no, no]),
        ("1.2.3.4", "http://1.2.3.4.", [no, no, no, yes]),
        ("1.2.3.4", "http://a.1.2.3.4", [no, yes, yes, yes]),
        // IPv6
        ("2001:db8::1", "http://[2001:db8::1]", [yes, yes, no, yes]),
        ("2001:db8::1", "http://[2001:db8:0::1]", [yes, no, no, yes]),
        ("2001:db8:0::1", "http://[2001:db8:0::1]", [yes, yes, no, no]),
        ("2001:DB8::1", "http://[2001:db8::1]", [yes, yes, no, yes]),
        ("2001:db8::1", "http://[2001:db8::1%25eth0]", [no, no, no, yes]),
        ("2001:db8::/32", "http://[2001:db8::1]", [yes, no, no, no]),
        ("[2001:db8::1]", "http://[2001:db8::1]", [no, no, yes, yes]),
        ("[2001:db8::1]:80", "http://[2001:db8::1]", [no, no, no, yes]),
        ("[2001:db8::1]:80", "http://[2001:db8::1]:80", [no, no, yes, yes]),
        ("2001:db8::1:80", "http://[2001:db8::1]:80", [no, yes, no, no]),
        ("2001:db8:", "http://[2001:db8::1]", [no, yes, no, no]),
        ("2001:db8:", "http://[2001:db8::a]", [no, no, no, no]),
        ("::ffff:1.2.3.4", "http://[::ffff:1.2.3.4]", [yes, yes, no, no]),
        ("::ffff:102:304", "http://[::ffff:1.2.3.4]", [yes, no, no, yes]),
        ("1.2.3.4", "http://[::ffff:1.2.3.4]", [no, no, no, no]),
        // Trailing dots
        ("example.com", "http://example.com.", [no, no, no, yes]),
        ("example.com.", "http://example.com", [no, no, no, yes]),
        ("example.com.", "http://example.com.", [yes, yes, yes, yes]),
        (".", "http://example.com.", [yes, yes, yes, no]),
        (".", "http://example.com..", [yes, yes, yes, yes]),
        // White space
        ("a.test example.com", "http://example.com", [no, no, no, yes]),
        ("exam ple.com", "http://example.com", [no, yes, no, no]),
        ("a.test\texample.com", "http://example.com", [no, no, no, yes]),
        ("\u{1c}example.com", "http://example.com", [no, yes, yes, no]),
        ("\u{feff}example.com", "http://example.com", [no, no, no, yes]),
        ("\u{85}example.com", "http://example.com", [yes, yes, yes, no]),
        ("\texample.com:80", "http://example.com:80", [no, no, yes, yes]),
        // Unicode
        ("bücher.example", "http://bücher.example", [no, no, no, no]),
        ("xn--bcher-kva.example", "http://bücher.example", [yes, yes, yes, yes]),
        ("wor\u{212a}.test", "http://work.test", [no, yes, yes, yes]),
        // Loopback
        ("", "http://localhost", [no, no, no, no]),
        ("", "http://127.0.0.1", [no, no, no, no]),
        // Texts that are no names in Standard
        ("exa$mple.com", "http://exa$mple.com", [yes, yes, yes, yes]),
        ("1.2.3.4.5", "http://1.2.3.4.5", [yes, yes, yes, yes]),
        ("[example.com]:80", "http://example.com:80", [no, no, no, yes]),
        // Security rules: a host in brackets is compared with no name
        ("3.4", "http://[::ffff:1.2.3.4]", [no, no, no, no]),
        (".example.com", "http://[2001:db8::1%25.example.com]", [no, no, no, no]),
    ] {
        let answers = OTHERS.map(|dialect| {
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

/// An entry that Standard rejects and a dialect matches with something.
#[test]
fn what_a_dialect_matches_although_it_is_malformed_is_reported_as_that() {
    for (list, dialects) in [
        ("a.test,[1.2.3.4]:443", &[Dialect::Go, Dialect::Undici][..]),
        ("a.test,exa$mple.com", &Dialect::ALL[1..]),
        ("a.test,10/8", &[Dialect::Requests]),
        ("a.test,010.0.0.0/8", &[Dialect::HyperUtil, Dialect::Requests]),
        ("a.test,2001:db8:", &[Dialect::Requests]),
        ("a.test,x.test:0", &[Dialect::Go, Dialect::Urllib, Dialect::Undici]),
        ("a.test,192.168.*", &[]),
        ("a.test,x.test/8", &[]),
        ("a.test,user:password", &[]),
    ] {
        for dialect in Dialect::ALL {
            let no_proxy = NoProxy::lenient(list, *dialect);
            let (malformed, rejected) = (no_proxy.malformed(), no_proxy.rejected());
            let expected = usize::from(dialects.contains(dialect));
            assert_eq!(
                (malformed.len(), rejected.len()),
                (expected, 1 - expected),
                "{dialect} {list}"
            );
            for error in malformed.iter().chain(rejected) {
                assert_eq!(
                    (error.position(), error.matches_nothing()),
                    (2, expected == 0),
                    "{dialect} {list}"
                );
            }
            assert_eq!(
                NoProxy::strict(list, *dialect).is_ok(),
                expected == 1,
                "{dialect} {list}"
            );
        }
    }
    let config = ProxyConfig::builder().vars([("no_proxy", "[1.2.3.4]:443")]);
    let config = config.dialect(Dialect::Go).build().unwrap();
    assert_eq!(
        config.warnings()[0].to_string(),
        "no_proxy: entry 1 `[1.2.3.4]:443` matches targets in this dialect, but is malformed: the text in brackets is \
         not an IPv6 address",
    );
}
