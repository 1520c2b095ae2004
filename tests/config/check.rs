//! Promise: a check finds what programs read differently, says it truly, and suggests only lists that mean the same.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use proptest::prelude::*;
use tower_outbound_proxy::{
    Dialect, ProxyConfig, Target,
    check::{Check, Finding, Programs},
};

/// The oldest dialects, whose texts are spelled out here. The laws below are about all.
const THREE: [Dialect; 3] = [Dialect::Standard, Dialect::Go, Dialect::Curl];

fn check(vars: &[(&str, &str)]) -> Check {
    Check::among(&THREE, vars.iter().copied())
}

/// Returns the texts of all findings but notes.
fn odd(check: &Check) -> Vec<String> {
    let odd = check.findings().iter().filter(|finding| !finding.is_note());
    odd.map(ToString::to_string).collect()
}

#[track_caller]
fn assert_odd(vars: &[(&str, &str)], expected: &[&str]) {
    let check = check(vars);
    assert_eq!(odd(&check), expected, "{vars:?}");
    assert_eq!(check.is_odd(), !expected.is_empty(), "{vars:?}");
}

const HTTP: (&str, &str) = ("http_proxy", "http://proxy.example:3128");
const HTTPS: (&str, &str) = ("https_proxy", "http://proxy.example:3128");

/// Returns the findings about a list, with proxies that are set as they should be.
#[track_caller]
fn assert_odd_list(list: &str, expected: &[&str]) {
    let list = format!("localhost,127.0.0.1,{list}");
    assert_odd(&[HTTP, HTTPS, ("no_proxy", &list)], expected);
}

#[test]
fn settings_that_all_programs_read_alike_are_not_odd() {
    assert_odd(&[], &[]);
    assert_odd(&[("PATH", "/bin"), ("http_proxy", ""), ("HOME", "\"")], &[]);
    for list in [
        "",
        "example.com",
        "192.0.2.1,10.0.0.0/8,2001:db8::1",
        "EXAMPLE.com,",
        "example.com ",
        " example.com , a.test",
    ] {
        assert_odd_list(list, &[]);
    }
    assert_odd(&[HTTP, HTTPS, ("no_proxy", "*")], &[]);
    assert_odd(
        &[
            HTTP,
            HTTPS,
            ("HTTP_PROXY", HTTP.1),
            ("HTTPS_PROXY", HTTPS.1),
            ("no_proxy", "localhost,127.0.0.1"),
            ("NO_PROXY", "localhost,127.0.0.1"),
        ],
        &[],
    );
}

#[test]
fn a_variable_that_some_programs_do_not_read_is_found_with_the_one_to_set() {
    let (upper, lower) = ("http://proxy.example:3128", "http://other.example:3128");
    let loopback = ("no_proxy", "localhost,127.0.0.1");
    assert_odd(
        &[("HTTP_PROXY", upper), HTTPS, loopback],
        &["HTTP_PROXY is not read for http targets by curl: they are reached directly (set http_proxy too)"],
    );
    assert_odd(
        &[("ALL_PROXY", upper), loopback],
        &[
            "ALL_PROXY is not read for http and https targets by go: they are reached directly (set http_proxy and https_proxy too)",
        ],
    );
    // Another spelling has the same value, and then it has not.
    assert_odd(&[("HTTP_PROXY", upper), HTTP, HTTPS, loopback], &[]);
    assert_odd(
        &[("HTTP_PROXY", lower), HTTP, HTTPS, loopback],
        &[
            "http_proxy and HTTP_PROXY differ: http_proxy is used by standard and curl; HTTP_PROXY is used by go (set all to \
         the same value)",
        ],
    );
    assert_odd(
        &[HTTP, HTTPS, ("no_proxy", "localhost,127.0.0.1"), ("NO_PROXY", "*")],
        &[
            "no_proxy and NO_PROXY differ: no_proxy is used by standard and curl; NO_PROXY is used by go (set all to the \
         same value)",
        ],
    );
    assert_odd(
        &[HTTP, HTTPS, ("NO_PROXY", "localhost,127.0.0.1"), ("no_proxy", "")],
        &[],
    );
    let other = ("HTTP_PROXY", "http://other:secret@proxy.example:3128");
    let password = check(&[
        other,
        ("http_proxy", "http://user:secret@proxy.example:3128"),
        HTTPS,
        loopback,
    ]);
    assert!(
        odd(&password)[0].starts_with("http_proxy and HTTP_PROXY differ: "),
        "{password:?}"
    );
    // To Python, a variable that is set to nothing hides the other spelling.
    let hidden = [("http_proxy", ""), ("HTTP_PROXY", upper), HTTPS, loopback];
    let hidden = Check::among(&[Dialect::Standard, Dialect::Requests], hidden);
    assert_eq!(
        odd(&hidden),
        ["HTTP_PROXY is not read for http targets by requests: they are reached directly (set http_proxy too)",]
    );
    // In CGI, hyper-util reads nothing, whatever is set.
    let cgi = [HTTP, HTTPS, ("REQUEST_METHOD", "GET"), ("no_proxy", "*")];
    let cgi = Check::among(&[Dialect::Standard, Dialect::HyperUtil], cgi);
    assert_eq!(
        odd(&cgi)[..2],
        [
            "http_proxy is not read for http targets by hyper-util: they are reached directly",
            "https_proxy is not read for https targets by hyper-util: they are reached directly",
        ]
    );
    let cgi = check(&[HTTP, HTTPS, ("REQUEST_METHOD", "GET"), loopback]);
    assert_eq!(odd(&cgi).len(), 1, "{cgi:?}");
    assert!(
        odd(&cgi)[0].starts_with("in go, http_proxy: refused because REQUEST_METHOD is set"),
        "{cgi:?}"
    );
}

#[test]
fn a_proxy_that_is_not_set_for_all_or_not_written_out_is_found() {
    let loopback = ("no_proxy", "localhost,127.0.0.1");
    assert_odd(
        &[HTTP, loopback],
        &["http_proxy is set alone: https targets are reached directly (set https_proxy too)"],
    );
    assert_odd(
        &[("HTTPS_PROXY", HTTPS.1), loopback],
        &["HTTPS_PROXY is set alone: http targets are reached directly (set http_proxy too)"],
    );
    assert_odd(
        &[("http_proxy", "http://p"), HTTPS, loopback],
        &["http_proxy names no port: 1080 is used by standard; 80 is used by go and curl (write the port)"],
    );
    assert_odd(
        &[HTTP, ("https_proxy", "https://proxy.example:3128"), loopback],
        &[
            "https_proxy speaks TLS to proxy.example:3128 and http_proxy plain HTTP: the scheme is that of the proxy, not of \
         the targets (most proxies need http:// in both)",
        ],
    );
    assert_odd(
        &[("http_proxy", "none"), HTTPS, loopback],
        &[
            "http_proxy=`none` is read as the proxy http://none:1080: if no proxy is meant, unset http_proxy; otherwise write \
         the address in full, as `http://proxy.example:3128`",
        ],
    );
    assert_odd(
        &[HTTP, ("https_proxy", "socks5://user:secret@p:1080"), loopback],
        &["https_proxy=`socks5://user:***@p:1080`: unsupported proxy scheme `socks5` (http and https are supported)"],
    );
    assert!(!format!("{:?}", check(&[HTTP, HTTPS])).contains("Tls"));
    let two_ports = check(&[HTTP, ("https_proxy", "https://proxy.example:3129"), loopback]);
    assert!(!format!("{two_ports:?}").contains("Tls"), "{two_ports:?}");
    let all = check(&[HTTP, HTTPS, ("ALL_PROXY", "socks5://user:secret@p:1080"), loopback]);
    assert!(
        odd(&all)[0].starts_with("ALL_PROXY=`socks5://user:***@p:1080`: unsupported"),
        "{all:?}"
    );
    // TLS on a port for plain HTTP can be right.
    let tls = check(&[
        ("http_proxy", "https://p:8080"),
        ("https_proxy", "https://p:8080"),
        loopback,
    ]);
    assert!(!tls.is_odd(), "{tls:?}");
    assert!(
        tls.findings()[0]
            .to_string()
            .starts_with("http_proxy speaks TLS to https://p:8080, a port"),
        "{tls:?}"
    );
}

#[test]
fn what_a_file_left_in_a_value_is_found_and_the_rest_is_checked_without_it() {
    let quotes = "http_proxy has quotation marks in its value: remove them where it is set (Docker's --env-file and unit \
                  files can keep them)";
    let line_end = "http_proxy has a line end (CR or LF) in its value: save the file that sets it with the line ends of \
                    this system";
    let reference = "has a reference to another variable in its value: unit files and Docker's --env-file do not \
                     replace `$NAME`, so write the value itself";
    let several = "http_proxy has white space in its value: a proxy is one address (are several settings between one pair \
                   of quotation marks?)";
    let loopback = ("no_proxy", "localhost,127.0.0.1");
    for (value, expected) in [
        ("\"http://proxy.example:3128\"", &[quotes][..]),
        ("'http://proxy.example:3128'\r", &[quotes, line_end]),
        ("http://proxy.example:3128\"", &[quotes]),
        ("http://proxy.example:3128\r\n", &[line_end]),
        (
            " http://proxy.example:3128",
            &["http_proxy begins or ends with white space: remove it where it is set"],
        ),
        (
            "http://proxy.example:3128 https_proxy=http://proxy.example:3128",
            &[several],
        ),
    ] {
        assert_odd(&[("http_proxy", value), HTTPS, loopback], expected);
    }
    assert_odd(
        &[HTTP, HTTPS, ("no_proxy", "\"localhost,127.0.0.1\"")],
        &[&quotes.replace("http", "no")],
    );
    let reference_found = check(&[HTTP, HTTPS, ("no_proxy", "localhost,127.0.0.1,${NO_PROXY}")]);
    assert_eq!(odd(&reference_found)[0], format!("no_proxy {reference}"));
    assert_odd(
        &[
            ("http_proxy", "http://user:pa$(word)@proxy.example:3128"),
            HTTPS,
            loopback,
        ],
        &[],
    );
    for value in ["$PROXY", "%PROXY%", "http://${PROXY}:3128"] {
        let found = check(&[("http_proxy", value), HTTPS, loopback]);
        assert_eq!(odd(&found)[0], format!("http_proxy {reference}"), "{value}");
    }
    assert_odd(
        &[
            ("http_proxy", "http://user:pa$$word@proxy.example:3128"),
            HTTPS,
            loopback,
        ],
        &[],
    );
    for name in ["NOPROXY", "NO-PROXY", "no_proxy ", "export NO_PROXY"] {
        assert_odd(
            &[HTTP, HTTPS, loopback, (name, "localhost")],
            &[&format!(
                "`{name}` is not the name of a proxy variable: is NO_PROXY meant?"
            )],
        );
    }
}

#[test]
fn a_password_that_must_be_percent_encoded_is_found_and_not_shown() {
    let loopback = ("no_proxy", "localhost,127.0.0.1");
    for (userinfo, is_odd) in [
        ("user:secret", false),
        ("user:se%40cret!$&'()*+,;=-._~", false),
        ("user", false),
        ("user:se@cret", true),
        ("user:se:cret", true),
        ("user:se%cret", true),
        ("user:se%c", true),
        ("user:se\\cret", true),
        ("us er:secret", true),
        ("user:se/cret", true),
        ("user:s\u{e9}cret", true),
        ("me@corp.example:secret", true),
    ] {
        let proxy = format!("http://{userinfo}@proxy.example:3128");
        let check = check(&[("http_proxy", &proxy), ("https_proxy", &proxy), loopback]);
        assert_eq!(check.is_odd(), is_odd, "{userinfo}");
        // Once for each of both variables, or the first error.
        assert!(odd(&check).len() <= 2, "{check:?}");
        for finding in odd(&check) {
            assert!(
                !finding.contains("cret") && finding.starts_with("http"),
                "{userinfo}: {finding}"
            );
        }
    }
}

#[test]
fn an_entry_that_programs_read_differently_is_found() {
    assert_odd_list(
        ".example.com",
        &[
            "entry 3 `.example.com` of no_proxy: example.com is reached directly by curl, and through the proxy by standard \
         and go",
        ],
    );
    assert_odd_list(
        "*.example.com",
        &["entry 3 `*.example.com` of no_proxy matches nothing in curl: `*.` is not a wildcard"],
    );
    // Another entry matches what curl does not read, and what another entry is not read alike for is said once.
    assert_odd_list("example.com,*.example.com", &[]);
    assert_odd_list(
        ".example.com,*.example.com",
        &[
            "entry 3 `.example.com` of no_proxy: example.com is reached directly by curl, and through the proxy by standard \
         and go",
        ],
    );
    assert_odd_list(
        "example.com:8080,b.test",
        &[
            "entry 3 `example.com:8080` of no_proxy matches nothing in curl: an entry with a port matches \
         nothing",
        ],
    );
    assert_odd_list(
        "[2001:db8::1]",
        &[
            "entry 3 `[2001:db8::1]` of no_proxy matches nothing in go and curl: an address in brackets \
         needs a port",
        ],
    );
    assert_odd_list(
        "0.0.0.0/0",
        &[
            "entry 3 `0.0.0.0/0` of no_proxy: 127.255.255.255 and 255.255.255.255 are reached directly by standard and go, \
         and through the proxy by curl",
        ],
    );
    assert_odd_list(
        "*",
        &[
            "entry 3 `*` of no_proxy matches nothing in curl: `*` must be the whole list, without white \
         space or commas",
        ],
    );
    assert_odd_list(
        "https://example.com/",
        &["entry 3 `https://example.com/` of no_proxy matches nothing in every program: expected a host, found a URL"],
    );
    assert_odd_list(
        "192.168.*",
        &[
            "entry 3 `192.168.*` of no_proxy matches nothing in every program: `*` can only stand alone or as the first \
         label (`*.example.com`)",
        ],
    );
    assert_odd_list(
        "user:secret",
        &["entry 3 `user:***` of no_proxy matches nothing in every program: the port is not a number from 1 to 65535"],
    );
}

#[test]
fn an_entry_that_is_not_separated_by_a_comma_is_found() {
    let separated = |position: usize, entry: &str, programs: &str| {
        format!(
            "entry {position} `{entry}` of no_proxy is not read as an entry by {programs}: separate entries with commas \
             alone"
        )
    };
    assert_odd_list(
        "a.test b.test",
        &[&separated(3, "a.test", "go"), &separated(4, "b.test", "go and curl")],
    );
    assert_odd_list(
        "a.test;b.test",
        &[
            &separated(3, "a.test", "every program"),
            &separated(4, "b.test", "every program"),
        ],
    );
    assert_odd_list(
        "a.test|b.test",
        &[
            &separated(3, "a.test", "every program"),
            &separated(4, "b.test", "every program"),
        ],
    );
    // Another entry matches the same targets.
    assert_odd_list("b.test,a.test b.test", &[&separated(4, "a.test", "go")]);
}

#[test]
fn this_machine_is_told_if_programs_differ_on_it() {
    let loopback = "localhost and 127.0.0.1 are reached directly by standard and go, and through the proxy by curl (add \
                    to NO_PROXY: localhost,127.0.0.1)";
    assert_odd(&[HTTP, HTTPS], &[loopback]);
    assert_odd(&[HTTP, HTTPS, ("no_proxy", "example.com")], &[loopback]);
    // Curl's list ends at the white space, which is a finding about the entry.
    assert_odd(
        &[HTTP, HTTPS, ("no_proxy", "localhost 127.0.0.1")],
        &["entry 2 `127.0.0.1` of no_proxy is not read as an entry by curl: separate entries with commas alone"],
    );
    let alone = check(&[("no_proxy", "localhost,127.0.0.1")]);
    assert_eq!(
        alone.findings()[0].to_string(),
        "no_proxy is set and no proxy is: every target is reached directly, and the list was not checked"
    );
    assert!(!alone.is_odd() && !alone.has_proxy());
}

#[test]
fn targets_that_few_requests_have_are_notes() {
    let check = check(&[HTTP, HTTPS, ("no_proxy", "localhost,127.0.0.1,example.com,192.0.2.1")]);
    assert!(!check.is_odd());
    let notes: Vec<_> = check.findings().iter().map(ToString::to_string).collect();
    // One example of each.
    for unusual in [
        "trailing dot",
        "IPv4-mapped",
        "another loopback host",
        "unusual spelling",
    ] {
        assert_eq!(
            notes.iter().filter(|note| note.contains(unusual)).count(),
            1,
            "{notes:#?}"
        );
    }
    assert!(!notes.iter().any(|note| note.contains("192.0.2.1 ")), "{notes:#?}");
    for note in [
        "localhost. (a name with a trailing dot) is reached directly by standard and curl, and through the proxy by go",
        "[::1] (another loopback host) is reached directly by standard and go, and through the proxy by curl",
    ] {
        assert!(notes.iter().any(|found| found == note), "{notes:#?}");
    }
}

#[test]
fn notes_are_last() {
    let proxy = "https://p:8080";
    let check = check(&[
        ("http_proxy", proxy),
        ("https_proxy", proxy),
        ("no_proxy", ".a.test,10.0.0.0/8"),
    ]);
    let notes: Vec<_> = check.findings().iter().map(Finding::is_note).collect();
    assert!(notes.is_sorted() && notes[0] != notes[notes.len() - 1], "{check:?}");
    let networks = check
        .findings()
        .iter()
        .filter(|finding| matches!(finding, Finding::AddressesAlone { .. }));
    assert_eq!(networks.count(), 1, "{check:?}");
}

#[test]
fn a_list_that_means_the_same_to_all_is_suggested() {
    for (list, suggested, widened) in [
        (
            "localhost,127.0.0.1,.example.com",
            "localhost,127.0.0.1,example.com",
            "example.com",
        ),
        ("*.example.com", "example.com,localhost,127.0.0.1", "example.com"),
        (
            "a.test b.test;c.test,127.0.0.1,localhost",
            "a.test,b.test,c.test,127.0.0.1,localhost",
            "",
        ),
        (
            "example.com:8443,127.0.0.1,localhost",
            "example.com,127.0.0.1,localhost",
            "example.com",
        ),
        (
            "[2001:db8::1],127.0.0.1,localhost",
            "2001:db8::1,127.0.0.1,localhost",
            "",
        ),
        (
            "192.168.*,127.0.0.1,localhost",
            "192.168.0.0/16,127.0.0.1,localhost",
            "",
        ),
        (
            "http://example.com/x,127.0.0.1,localhost",
            "example.com,127.0.0.1,localhost",
            "",
        ),
        (
            "b\u{fc}cher.example,127.0.0.1,localhost",
            "xn--bcher-kva.example,127.0.0.1,localhost",
            "",
        ),
        (
            "10.0.0.0/8,10.1.0.0/16,*.example.com,localhost,127.0.0.1",
            "10.0.0.0/8,10.1.0.0/16,example.com,localhost,127.0.0.1",
            "example.com",
        ),
        ("example.com,*", "*", ""),
        (
            "*example.com,\"a.test\",127.0.0.1,localhost",
            "example.com,a.test,127.0.0.1,localhost",
            "example.com",
        ),
        (
            ".example.com.,127.0.0.1,localhost",
            "example.com,127.0.0.1,localhost",
            "example.com",
        ),
        ("user:secret,127.0.0.1,localhost", "127.0.0.1,localhost", ""),
    ] {
        let check = check(&[HTTP, HTTPS, ("no_proxy", list)]);
        let suggestion = check.suggestion().unwrap_or_else(|| panic!("{list}"));
        assert!(
            suggestion.programs().is_all() && suggestion.blocking().is_empty(),
            "{list}"
        );
        assert_eq!(
            (suggestion.list(), &*suggestion.widened().to_string()),
            (suggested, widened),
            "{list}"
        );
    }
    // Node and Python's urllib read no network.
    for (list, suggested, blocking) in [
        (
            "localhost,127.0.0.1,192.0.2.9/30",
            "localhost,127.0.0.1,192.0.2.8,192.0.2.9,192.0.2.10,192.0.2.11",
            &[][..],
        ),
        (
            "localhost,127.0.0.1,192.0.2.0/28",
            "localhost,127.0.0.1,192.0.2.0/28",
            &["192.0.2.0/28".to_owned()],
        ),
        (
            "localhost,127.0.0.1,2001:db8::1:80",
            "localhost,127.0.0.1,2001:db8::1:80,[2001:db8::1:80]",
            &["2001:db8::1:80".to_owned()],
        ),
    ] {
        let check = Check::from_vars([HTTP, HTTPS, ("no_proxy", list)]);
        let suggestion = check.suggestion().unwrap();
        assert_eq!(
            (suggestion.list(), suggestion.blocking()),
            (suggested, blocking),
            "{list}"
        );
        assert_eq!(suggestion.programs().is_all(), blocking.is_empty(), "{list}");
    }
    // Two programs that differ have no list between them.
    let both = Check::among(
        &[Dialect::Standard, Dialect::Curl],
        [HTTP, HTTPS, ("no_proxy", "0.0.0.0/0")],
    );
    assert!(both.suggestion().is_none() && !both.is_list_common(), "{both:?}");
    // Curl reads the network in no spelling.
    let check = check(&[HTTP, HTTPS, ("no_proxy", "0.0.0.0/0")]);
    let suggestion = check.suggestion().unwrap();
    assert_eq!(suggestion.programs().to_string(), "standard and go");
    assert_eq!(
        (suggestion.blocking(), suggestion.list()),
        (&["0.0.0.0/0".to_owned()][..], "0.0.0.0/0")
    );
}

/// Returns the programs that reach a target directly, as the settings page has it.
fn direct(target: &Target<'_>, list: &str) -> Vec<Dialect> {
    let is_direct = |dialect: &&Dialect| {
        let vars = [HTTP, HTTPS, ("no_proxy", list)];
        let config = ProxyConfig::builder().dialect(**dialect).vars(vars).build().unwrap();
        config.route(target).proxy().is_none()
    };
    Dialect::ALL.iter().filter(is_direct).copied().collect()
}

/// Returns a list without quotation marks around it, which are a finding of their own, and without the blanks that are
/// left over with them.
fn unquoted(list: &str) -> &str {
    let trimmed = list.trim();
    match trimmed.trim_matches('"') {
        unquoted if unquoted.len() < trimmed.len() => unquoted.trim(),
        _ => list,
    }
}

fn entry() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        "[ab]\\.(test|example)",
        "192\\.0\\.2\\.[0-9]",
        "10\\.[0-9]\\.0\\.0/(8|15|30|32|0)",
        Just("2001:db8::1".to_owned()),
        Just("[2001:db8::2]".to_owned()),
        Just("2001:db8::/32".to_owned()),
        Just("localhost".to_owned()),
        Just("127.0.0.1".to_owned()),
        Just("*".to_owned()),
        Just("10.*".to_owned()),
        Just("B\u{dc}CHER.example".to_owned()),
        "[a.:/\\[\\]*0-9]{1,6}",
    ];
    let before = prop_oneof![6 => Just(""), 2 => Just("."), 2 => Just("*."), 1 => Just("http://"), 1 => Just("\"")];
    let after = prop_oneof![6 => Just(""), 2 => Just(":8080"), 1 => Just(":443"), 1 => Just("."), 1 => Just("/")];
    (before, host, after).prop_map(|(before, host, after)| format!("{before}{host}{after}"))
}

fn list() -> impl Strategy<Value = String> {
    let separator = prop_oneof![8 => Just(","), 1 => Just(" "), 1 => Just(", "), 1 => Just(";")];
    proptest::collection::vec((entry(), separator), 0..5)
        .prop_map(|parts| parts.into_iter().map(|(entry, separator)| entry + separator).collect())
}

proptest! {
    /// A line of a log has no line end, and no check panics.
    #[test]
    fn any_settings_give_lines(
        vars in proptest::collection::vec(("(?i)(export )?(http|https|all|no)[_-]?proxy[\\s]?", "(?s)(http://)?.{0,20}"), 0..5),
        dialects in proptest::sample::subsequence(Dialect::ALL, 0..=Dialect::ALL.len()),
    ) {
        let check = Check::among(&dialects, vars);
        let list = check.suggestion().map_or("", |suggestion| suggestion.list());
        for text in check.findings().iter().map(ToString::to_string).chain([list.to_owned()]) {
            prop_assert!(!text.contains(char::is_control), "{:?}", text);
        }
    }

    /// A finding names two sets of programs and a target: each program of the sets decides so.
    #[test]
    fn a_difference_is_as_the_dialects_decide(list in list()) {
        let check = Check::from_vars([HTTP, HTTPS, ("no_proxy", &list)]);
        for finding in check.findings() {
            let (targets, on_direct, on_proxied): (_, &Programs, &Programs) = match finding {
                Finding::Differs { targets, direct, proxied, .. } | Finding::Loopback { targets, direct, proxied, .. } => {
                    (targets, direct, proxied)
                }
                Finding::Rare { example, direct, proxied, .. } => (example, direct, proxied),
                _ => continue,
            };
            let list = unquoted(&list);
            for target in targets.as_slice() {
                let direct = direct(target, list);
                prop_assert!(on_direct.dialects().iter().all(|dialect| direct.contains(dialect)), "{}", finding);
                prop_assert!(!on_proxied.dialects().iter().any(|dialect| direct.contains(dialect)), "{}", finding);
                prop_assert!(!on_direct.is_empty() && !on_proxied.is_empty(), "{}", finding);
            }
        }
    }

    /// A list that is not odd, and one that is suggested, means the same to all programs that are named.
    #[test]
    fn a_list_that_is_called_common_is(list in list(), names in proptest::collection::vec("[abw]\\.(test|example)", 1..4)) {
        let check = Check::from_vars([HTTP, HTTPS, ("no_proxy", &list)]);
        let (list, programs) = match check.suggestion() {
            Some(suggestion) => (suggestion.list(), suggestion.programs().dialects()),
            None if check.is_list_common() => (unquoted(&list), Dialect::ALL),
            None => return Ok(()),
        };
        let hosts = ["192.0.2.1", "192.0.2.7", "10.1.0.3", "10.200.0.1", "[2001:db8::1]", "[2001:db8::5]", "localhost", "127.0.0.1"];
        let hosts = hosts.map(str::to_owned).into_iter().chain(names.iter().cloned());
        for host in hosts.chain(names.iter().map(|name| format!("www.{name}"))) {
            for url in [format!("http://{host}"), format!("https://{host}"), format!("http://{host}:8080")] {
                let direct = direct(&url.parse().unwrap(), list);
                let direct = programs.iter().filter(|dialect| direct.contains(dialect)).count();
                prop_assert!(direct == 0 || direct == programs.len(), "`{}`: {}", list, url);
            }
        }
    }
}
