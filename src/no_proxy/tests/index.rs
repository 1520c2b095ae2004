//! Compares the index with a plain scan of the same entries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::target;
use crate::{
    dialect::Dialect,
    no_proxy::{
        NoProxy,
        entry::{self, Rule, Scope},
        literal,
        port::Port,
        seen::{SeenHost, seen_by},
    },
    target::Target,
};

/// The oracle: returns the position, counted from 1, of the first entry of `list` that matches. It compares the rules
/// in list order, each in the plainest way.
fn scan(list: &str, dialect: Dialect, target: &Target<'_>) -> Option<usize> {
    let rules = dialect.rules();
    let (host, port) = (seen_by(target, rules), Port::of(target, rules.port));
    let (read, _) = entry::cut(list, rules);
    entry::split(read, rules)
        .position(|span| {
            let (entry, mut read) = (span.of(list), Vec::new());
            match rules.readings {
                [] => read.extend(entry::parse(entry)),
                _ => drop(literal::read_all(entry, entry == list, rules, |rule| read.push(rule))),
            }
            read.iter().any(|rule| holds(rule, host, port))
        })
        .map(|index| index + 1)
}

fn holds(rule: &Rule<'_>, host: SeenHost<'_>, port: Option<Port>) -> bool {
    match (rule, host) {
        (Rule::All { port: only, names_only }, host) => {
            let is_name = match host {
                SeenHost::Name(name) => !name.ends_with('*'),
                host => matches!(host, SeenHost::Other),
            };
            (!names_only || is_name) && (only.is_none() || *only == port)
        }
        (Rule::Network(network), SeenHost::V4(ip) | SeenHost::V4AsWritten(ip, _)) => {
            network.contains(&IpAddr::from(Ipv4Addr::from_bits(ip)))
        }
        (Rule::Network(network), SeenHost::V6(ip)) => network.contains(&IpAddr::from(Ipv6Addr::from_bits(ip))),
        (Rule::Address { ip, port: only }, SeenHost::V4(host)) => {
            *ip == Ipv4Addr::from_bits(host) && Some(*only) == port
        }
        (Rule::Address { ip, port: only }, SeenHost::V6(host)) => {
            *ip == Ipv6Addr::from_bits(host) && Some(*only) == port
        }
        (Rule::Name { .. }, SeenHost::V4AsWritten(_, host)) => holds(rule, SeenHost::Name(host), None),
        (Rule::Name { .. }, SeenHost::V4AsText(ip)) => {
            holds(rule, SeenHost::Name(&Ipv4Addr::from_bits(ip).to_string()), port)
        }
        (
            Rule::Name {
                name,
                scope: Scope::V6,
                port: only,
                ..
            },
            SeenHost::V6AsWritten(host),
        ) => name == host && (only.is_none() || *only == port),
        (
            Rule::Name {
                name,
                scope: Scope::V6BeforeDigits,
                ..
            },
            SeenHost::V6AsWritten(host),
        ) => {
            let digits = host.strip_prefix(&**name).and_then(|rest| rest.strip_prefix(':'));
            digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        }
        (
            Rule::Name {
                name,
                scope: scope @ (Scope::Itself | Scope::Below | Scope::ItselfAndBelow),
                port: only,
                ..
            },
            SeenHost::Name(host),
        ) => {
            let host: Vec<_> = host.split('.').collect();
            let name: Vec<_> = name.split('.').collect();
            let below = host.len() > name.len() && host.ends_with(&name);
            ((below && *scope != Scope::Itself) || (host == name && *scope != Scope::Below))
                && (only.is_none() || *only == port)
        }
        _ => false,
    }
}

/// Returns the position of the entry that matches.
fn position(list: &str, url: &str) -> Option<usize> {
    let no_proxy = NoProxy::strict(list, Dialect::Standard).unwrap();
    no_proxy.find(&target(url)).map(|entry| entry.position())
}

/// The list is long enough for the hash table, where the names with and without a dot share a chain.
#[test]
fn a_repeated_entry_takes_no_other_with_it() {
    let list = "a.test,.a.test,.b.example,b.example,a.test,c.test,d.test,e.test,f.test,g.test";
    for (url, expected) in [
        ("http://a.test", Some(1)),
        ("http://x.a.test", Some(1)),
        ("http://x.b.example", Some(3)),
        ("http://b.example", Some(4)),
        ("http://g.test", Some(10)),
        ("http://test", None),
    ] {
        assert_eq!(position(list, url), expected, "{url}");
    }
}

/// The index skips lengths that no name has.
#[test]
fn names_of_one_length_are_found() {
    let list = "a.test,b.test,c.test,d.test,e.test,f.test,g.test,h.test,i.test";
    for (url, expected) in [
        ("http://a.test", Some(1)),
        ("http://i.test", Some(9)),
        ("http://x.y.i.test", Some(9)),
        ("http://xi.test", None),
    ] {
        assert_eq!(position(list, url), expected, "{url}");
    }
}

#[test]
fn addresses_with_ports_are_found_in_any_order() {
    for list in [
        "10.0.0.2:80,10.0.0.1:443,10.0.0.1:80,10.0.0.1:443",
        "[2001:db8::2]:80,[2001:db8::1]:443,[2001:db8::1]:80,[2001:db8::1]:443",
    ] {
        let hosts = match list.starts_with('[') {
            true => ["[2001:db8::1]", "[2001:db8::2]"],
            false => ["10.0.0.1", "10.0.0.2"],
        };
        for (url, expected) in [
            (format!("http://{}", hosts[1]), Some(1)),
            (format!("https://{}", hosts[0]), Some(2)),
            (format!("http://{}", hosts[0]), Some(3)),
            (format!("https://{}", hosts[1]), None),
        ] {
            assert_eq!(position(list, &url), expected, "{list} {url}");
        }
    }
}

/// Names of a few labels from a small set, so that many are parents of others.
fn name() -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec!["a", "b", "aa", "ab", "example", "com"]);
    prop::collection::vec(label, 1..5).prop_map(|labels| labels.join("."))
}

/// Addresses from a small set: 10.0.0.0/24 and its neighbours, mapped or not, and an IPv6 network.
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

/// Lists shorter and longer than the limit for scanning names; a few contain `*`.
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
        for dialect in Dialect::ALL.iter().copied() {
            let no_proxy = NoProxy::lenient(&list, dialect);
            for url in &urls {
                let target = target(url);
                let found = no_proxy.find(&target).map(|entry| entry.position());
                prop_assert_eq!(found, scan(&list, dialect, &target), "{} `{}` {}", dialect, list, url);
            }
        }
    }

    /// Nested networks: checks every address of a small one, whatever is listed around it.
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
        for dialect in Dialect::ALL.iter().copied() {
            let no_proxy = NoProxy::lenient(&list, dialect);
            prop_assert_eq!(NoProxy::strict(&list, dialect).is_ok(), no_proxy.rejected().is_empty());
            let target = target(&url);
            prop_assert_eq!(no_proxy.find(&target).map(|entry| entry.position()), scan(&list, dialect, &target));
        }
    }
}
