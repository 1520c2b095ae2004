//! Targets that show how a `NO_PROXY` entry is read.
//!
//! The grammar of entries belongs to `no_proxy`. Here, an entry is read as its author may have meant it, also where no
//! program does, so that the programs can be asked.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::{
    host::{Host, QUOTATION_MARKS, dns_name, ends_in_a_number, parse_port, split_brackets, split_scheme},
    redact::redacted_entry,
    scheme::Scheme,
    target::Target,
};

/// A target, and its relation to the entry it was derived from.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) target: Target<'static>,
    /// True if a reader of the entry expects a match.
    pub(super) wanted: bool,
    /// Set for a target that few requests have. Programs differ on these whatever the list is.
    pub(super) unusual: Option<Unusual>,
}

/// The peculiarity of a target that few requests have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unusual {
    /// A name with a trailing dot: `example.com.`
    TrailingDot,
    /// Another name with the same ending: `notexample.com`.
    SameEnding,
    /// An IPv4-mapped IPv6 address: `[::ffff:192.0.2.1]`.
    Mapped,
    /// An IPv4 address that is not written as usual: `3221225985`.
    Ipv4Spelling,
    /// A loopback target other than `localhost` and `127.0.0.1`.
    Loopback,
}

impl fmt::Display for Unusual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TrailingDot => "a name with a trailing dot",
            Self::SameEnding => "another name with the same ending",
            Self::Mapped => "an IPv4-mapped IPv6 address",
            Self::Ipv4Spelling => "an unusual spelling of an IPv4 address",
            Self::Loopback => "another loopback host",
        })
    }
}

/// Targets of a finding.
///
/// `Display` writes them briefly, without `http://` and without the scheme's port: `example.com and https://192.0.2.1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets(Vec<Target<'static>>);

impl Targets {
    pub(super) fn new(targets: Vec<Target<'static>>) -> Self {
        Self(targets)
    }

    /// Returns the targets.
    #[must_use]
    pub fn as_slice(&self) -> &[Target<'static>] {
        &self.0
    }

    pub(super) fn are(&self) -> &'static str {
        match self.0.len() {
            1 => "is",
            _ => "are",
        }
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, target) in self.0.iter().enumerate() {
            match place {
                0 => {}
                _ if place + 1 == self.0.len() => f.write_str(" and ")?,
                _ => f.write_str(", ")?,
            }
            if target.scheme() != Scheme::Http {
                write!(f, "{}://", target.scheme().as_str())?;
            }
            match target.ip() {
                Some(ip @ IpAddr::V6(_)) => f.write_str(&in_url(ip))?,
                // An address as it is spelled.
                _ => f.write_str(target.written())?,
            }
            match target.port() {
                Some(port) if Some(port) != target.scheme().default_port() => write!(f, ":{port}")?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// An entry, as its author may have meant it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    All,
    Network(IpNet),
    Address {
        ip: IpAddr,
        port: Option<u16>,
    },
    Name {
        /// In normal form.
        name: String,
        below: Below,
        port: Option<u16>,
    },
}

/// The way in which an entry is limited to subdomains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below {
    No,
    Dot,
    Star,
}

impl Meaning {
    /// Reads an entry. `None` if nothing is known of its meaning, or if a part of it may be a password.
    pub(super) fn of(entry: &str) -> Option<Self> {
        if redacted_entry(entry) != entry {
            return None;
        }
        let (_, entry) = split_scheme(entry.trim_matches(QUOTATION_MARKS));
        if entry == "*" {
            return Some(Self::All);
        }
        if let Ok(net) = entry.parse() {
            return Some(Self::Network(net));
        }
        // A path, as after a URL.
        let entry = entry.split('/').next().unwrap_or_default();
        if let Some(net) = ipv4_wildcard(entry) {
            return Some(Self::Network(net));
        }
        if let Ok(ip) = entry.parse() {
            return Some(Self::Address { ip, port: None });
        }
        if let Some(split) = split_brackets(entry) {
            let (inner, rest) = split.ok()?;
            let ip = inner.parse().ok()?;
            let port = rest.strip_prefix(':').map(parse_port).transpose().ok()?;
            return Some(Self::Address { ip, port });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(parse_port(port).ok()?)),
            None => (entry, None),
        };
        if let Ok(ip) = host.parse() {
            return Some(Self::Address { ip, port });
        }
        let (name, below) = match (host.strip_prefix('*'), host.strip_prefix('.')) {
            (Some(name), _) => (name.strip_prefix('.').unwrap_or(name), Below::Star),
            (None, Some(name)) => (name, Below::Dot),
            (None, None) => (host, Below::No),
        };
        let name = dns_name(name).ok().filter(|name| !ends_in_a_number(name))?.into_owned();
        Some(Self::Name { name, below, port })
    }

    /// Returns targets that show how the entry is read.
    pub(super) fn probes(&self) -> Vec<Probe> {
        let mut probes = Probes::default();
        match self {
            Self::All => {
                for url in ["http://example.com", "http://192.0.2.1", "http://[2001:db8::1]"] {
                    probes.usual(url, true);
                }
            }
            Self::Network(net) => probes.of_network(*net),
            Self::Address { ip, port } => probes.of_address(*ip, *port),
            Self::Name { name, below, port } => probes.of_name(name, *below, *port),
        }
        probes.0
    }
}

/// Reads `192.168.*` and `10.96.` as networks.
fn ipv4_wildcard(entry: &str) -> Option<IpNet> {
    let start = entry.trim_end_matches(".*");
    let start = match start.len() < entry.len() {
        true => start,
        false => entry.strip_suffix('.')?,
    };
    let mut octets = [0; 4];
    let mut length = 0;
    for part in start.split('.') {
        *octets.get_mut(length)? = part.parse().ok()?;
        length += 1;
    }
    let net = IpNet::new(Ipv4Addr::from(octets).into(), length as u8 * 8);
    net.ok().filter(|_| length < 4)
}

/// Returns the loopback targets that programs differ on.
pub(super) fn loopback() -> Vec<Probe> {
    let mut probes = Probes::default();
    probes.usual("http://localhost", true);
    probes.usual("http://127.0.0.1", true);
    for url in ["http://[::1]", "http://127.0.0.2", "http://www.localhost"] {
        probes.unusual(url, Unusual::Loopback);
    }
    probes.0
}

#[derive(Default)]
struct Probes(Vec<Probe>);

impl Probes {
    fn push(&mut self, url: &str, wanted: bool, unusual: Option<Unusual>) {
        // A name can become longer than a name may be.
        if let Ok(target) = url.parse() {
            self.0.push(Probe {
                target,
                wanted,
                unusual,
            });
        }
    }

    fn usual(&mut self, url: &str, wanted: bool) {
        self.push(url, wanted, None);
    }

    fn unusual(&mut self, url: &str, unusual: Unusual) {
        self.push(url, false, Some(unusual));
    }

    fn of_name(&mut self, name: &str, below: Below, port: Option<u16>) {
        let url = |host: &str| at(host, port);
        self.usual(&url(name), below == Below::No);
        // `localhost` has no subdomains but in name.
        if name != "localhost" {
            self.usual(&url(&format!("www.{name}")), true);
            self.usual(&url(&format!("a.b.{name}")), true);
        }
        let other = match below {
            Below::No => name.to_owned(),
            Below::Dot | Below::Star => format!("www.{name}"),
        };
        self.usual(&other_port(&other, port), port.is_none());
        self.unusual(&url(&format!("{other}.")), Unusual::TrailingDot);
        self.unusual(&url(&format!("not{name}")), Unusual::SameEnding);
    }

    fn of_address(&mut self, ip: IpAddr, port: Option<u16>) {
        let host = in_url(ip);
        self.usual(&at(&host, port), true);
        self.usual(&other_port(&host, port), port.is_none());
        // The other loopback addresses are for `loopback` to ask.
        if !ip.is_loopback() {
            self.usual(&at(&in_url(step(ip, |bits| bits ^ 1)), port), false);
        }
        // `2001:db8::1:8080` can be read as an address with a port.
        let text = ip.to_string();
        if let Some((before, digits)) = text
            .rsplit_once(':')
            .filter(|(before, _)| before.parse::<Ipv6Addr>().is_ok())
        {
            self.usual(&format!("http://[{before}]:{digits}"), false);
        }
        self.of_spellings(ip, port);
    }

    fn of_network(&mut self, net: IpNet) {
        let (first, last) = (net.network(), net.broadcast());
        let middle = step(first, |bits| bits.midpoint(bits_of(last)));
        for ip in [first, middle, last] {
            self.usual(&at(&in_url(ip), None), true);
        }
        for (edge, next) in [
            (first, bits_of(first).checked_sub(1)),
            (last, bits_of(last).checked_add(1)),
        ] {
            let outside = next.map(|next| step(edge, |_| next));
            if let Some(ip) = outside.filter(|ip| !net.contains(ip)) {
                self.usual(&at(&in_url(ip), None), false);
            }
        }
        self.of_spellings(first, None);
    }

    fn of_spellings(&mut self, ip: IpAddr, port: Option<u16>) {
        if let IpAddr::V4(ip) = ip {
            self.unusual(&at(&in_url(ip.to_ipv6_mapped().into()), port), Unusual::Mapped);
            self.unusual(&at(&ip.to_bits().to_string(), port), Unusual::Ipv4Spelling);
        }
    }
}

fn in_url(ip: IpAddr) -> String {
    Host::Ip(ip).to_string()
}

fn bits_of(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// Returns an address of the same family. Bits beyond the family's are dropped.
fn step(ip: IpAddr, change: impl FnOnce(u128) -> u128) -> IpAddr {
    let bits = change(bits_of(ip));
    match ip {
        IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

fn at(host: &str, port: Option<u16>) -> String {
    let scheme = [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|scheme| scheme.default_port() == port);
    match (scheme, port) {
        (Some(scheme), _) => format!("{}://{host}", scheme.as_str()),
        (None, Some(port)) => format!("http://{host}:{port}"),
        (None, None) => format!("http://{host}"),
    }
}

fn other_port(host: &str, port: Option<u16>) -> String {
    at(
        host,
        match port {
            None => Some(8080),
            port if port == Scheme::Http.default_port() => Scheme::Https.default_port(),
            Some(_) => None,
        },
    )
}
