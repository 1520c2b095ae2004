//! Settings and a URL: the index finds the entry that a scan finds, the decision follows from it, and no `Debug` shows
//! the password.
//!
//! The scan uses the public API: it makes each entry a list of its own, one after the other.

#![no_main]

use std::{
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr},
};

use libfuzzer_sys::{arbitrary::Arbitrary, fuzz_target};
use tower_outbound_proxy::{Dialect, NoProxy, ProxyConfig, Target, route::Reason};

const SECRET: &str = "Zq7Xk";

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    dialect: u8,
    entries: Vec<Entry<'a>>,
    urls: Vec<Url<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Entry<'a> {
    Text(&'a str),
    Host { dots: u8, host: Host, port: Option<Port> },
    V4 { ip: V4, length: u8 },
    V6 { ip: V6, length: u8 },
}

#[derive(Arbitrary, Debug)]
enum Url<'a> {
    Text(&'a str),
    Host {
        https: bool,
        host: Host,
        port: Option<Port>,
    },
}

/// A host with few possible values, so that many match.
#[derive(Arbitrary, Debug)]
enum Host {
    Name(Vec<u8>, bool),
    V4(V4),
    V6(V6),
}

#[derive(Arbitrary, Debug)]
struct V4(u8, u8);

#[derive(Arbitrary, Debug)]
struct V6(bool, u8, u8);

#[derive(Arbitrary, Debug)]
enum Port {
    Http,
    Https,
    Any(u16),
}

impl V4 {
    fn ip(&self) -> Ipv4Addr {
        [10, 0, self.0 & 3, self.1].into()
    }
}

impl V6 {
    fn ip(&self) -> Ipv6Addr {
        match self.0 {
            true => V4(self.1, self.2).ip().to_ipv6_mapped(),
            false => [0x2001, 0xdb8, 0, 0, 0, 0, u16::from(self.1 & 3), u16::from(self.2)].into(),
        }
    }
}

impl Host {
    fn write(&self, out: &mut String, brackets: bool) {
        let _ = match self {
            Self::Name(labels, dot) => {
                let labels: Vec<_> = labels
                    .iter()
                    .take(5)
                    .map(|at| ["a", "b", "aa", "x-1", "test"][usize::from(at % 5)])
                    .collect();
                write!(out, "{}{}", labels.join("."), if *dot { "." } else { "" })
            }
            Self::V4(ip) => write!(out, "{}", ip.ip()),
            Self::V6(ip) if brackets => write!(out, "[{}]", ip.ip()),
            Self::V6(ip) => write!(out, "{}", ip.ip()),
        };
    }
}

impl Port {
    fn write(&self, out: &mut String) {
        let number = match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Any(port) => *port,
        };
        let _ = write!(out, ":{number}");
    }
}

impl Entry<'_> {
    fn write(&self, out: &mut String) {
        let _ = match self {
            Self::Text(text) => write!(out, "{text}"),
            Self::Host { dots, host, port } => {
                out.push_str(["", "", ".", "*."][usize::from(dots % 4)]);
                host.write(out, port.is_some());
                port.iter().for_each(|port| port.write(out));
                Ok(())
            }
            Self::V4 { ip, length } => write!(out, "{}/{}", ip.ip(), length % 34),
            Self::V6 { ip, length } => write!(out, "{}/{}", ip.ip(), length % 130),
        };
    }
}

impl Url<'_> {
    fn write(&self) -> String {
        match self {
            Self::Text(text) => (*text).to_owned(),
            Self::Host { https, host, port } => {
                let mut url = if *https { "https://" } else { "http://" }.to_owned();
                host.write(&mut url, true);
                port.iter().for_each(|port| port.write(&mut url));
                url
            }
        }
    }
}

/// Returns the place of the first entry that matches alone. Only Standard's lists have blanks.
fn scan(list: &str, dialect: Dialect, target: &Target<'_>) -> Option<usize> {
    let entries = list.split(|c: char| c == ',' || c.is_whitespace());
    let found = entries.filter(|entry| !entry.is_empty()).position(|entry| {
        // To some, `*` has a meaning only as the whole list.
        let alone = if entry == list { entry.to_owned() } else { format!("{entry},") };
        NoProxy::lenient(&alone, dialect).matches(target)
    });
    found.map(|index| index + 1)
}

fuzz_target!(|input: Input<'_>| {
    let dialect = Dialect::ALL[usize::from(input.dialect) % Dialect::ALL.len()];
    let mut list = String::new();
    for entry in &input.entries {
        if !list.is_empty() {
            list.push(',');
        }
        entry.write(&mut list);
    }
    if dialect != Dialect::Standard {
        // Each has its own meaning of white space; another target has that.
        list.retain(|c| !c.is_whitespace() && !matches!(c, '\u{feff}' | '\x1c'..='\x1f'));
    }
    let proxy = format!("http://user:{SECRET}@proxy.test:3128");
    let vars = [
        ("http_proxy", proxy.as_str()),
        ("https_proxy", &proxy),
        ("no_proxy", &list),
    ];
    let builder = ProxyConfig::builder().vars(vars).dialect(dialect);
    let config = builder
        .build()
        .expect("the proxies are good, and NO_PROXY is read leniently");
    let (rejected, malformed) = (config.no_proxy().rejected(), config.no_proxy().malformed());
    assert_eq!(rejected.len() + malformed.len(), config.warnings().len());
    let secrets = list.contains(SECRET);
    assert!(secrets || !format!("{config:?}").contains(SECRET));
    for url in &input.urls {
        let url = url.write();
        let Ok(target) = url.parse::<Target<'_>>() else {
            continue;
        };
        let found = config.no_proxy().find(&target).map(|entry| entry.position());
        assert_eq!(found, scan(&list, dialect, &target), "{dialect} {list:?} {target}");
        let decision = config.decide(&target);
        match decision.reason() {
            Reason::NoProxy { entry, .. } => assert_eq!(Some(entry.position()), found),
            Reason::Scheme | Reason::Unset { .. } => assert!(decision.route().proxy().is_none()),
            Reason::Loopback => assert!(found.is_none() && decision.route().proxy().is_none()),
            _ => assert!(found.is_none() && decision.route().proxy().is_some()),
        }
        assert!(secrets || url.contains(SECRET) || !format!("{decision:?} {decision}").contains(SECRET));
    }
});
