//! Generates lists, and URLs that nearly match them.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{
    Random,
    texts::{JUNK, LABELS, ODD_HOSTS, UNICODE},
};

const PORTS: &[u16] = &[80, 443, 8080, 8443, 1, 65535];

/// Makes lists and URLs.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    targets: Targets,
}

/// The URLs to make.
#[derive(Debug, Clone, Copy)]
pub struct Targets {
    /// The schemes.
    pub schemes: &'static [&'static str],
    /// True if hosts may contain Unicode.
    pub unicode: bool,
}

/// The subject of an entry, so that a target near it can be made.
#[derive(Debug, Clone)]
enum Aim {
    Name(String),
    V4(u32, u32),
    V6(u128, u32),
    /// Any of the odd hosts.
    Odd,
}

impl Generator {
    /// Creates a generator.
    #[must_use]
    pub fn new(seed: u64, targets: Targets) -> Self {
        Self {
            random: Random::new(seed),
            targets,
        }
    }

    /// Generates a list and this many URLs.
    pub fn case(&mut self, urls: usize) -> (String, Vec<String>) {
        let mut aims = Vec::new();
        let list = self.list(&mut aims);
        let urls = (0..urls).map(|_| self.url(&aims)).collect();
        (list, urls)
    }

    fn list(&mut self, aims: &mut Vec<(Aim, Option<u16>)>) -> String {
        match self.random.below(100) {
            0 => return String::new(),
            1 | 2 => {
                return self
                    .random
                    .one(&["*", "*", "*", " *", "* ", "*,", ",*", "*\t", "*\n", "**", "*,*"])
                    .to_owned();
            }
            _ => {}
        }
        // Most lists are short, so that an entry's effect is seen.
        let entries = match self.random.below(10) {
            0..6 => 1 + self.random.below(3),
            6..9 => 1 + self.random.below(8),
            _ => 10 + self.random.below(30),
        };
        let mut list = String::new();
        for at in 0..entries {
            if at > 0 {
                list.push_str(
                    self.random
                        .one(&[",", ",", ",", ",", ", ", " ,", ",,", ", ,", " , ", ",\t", "\t,"]),
                );
                self.blanks(&mut list, aims);
            }
            list.push_str(&self.entry(aims));
        }
        match self.random.below(20) {
            0 => format!(" {list} "),
            3 => format!("{list}\r\n"),
            4 => format!("\u{a0}{list}\u{c}"),
            1 => format!(",{list},"),
            2 => format!("\t{list}\t,"),
            _ => list,
        }
    }

    /// Sometimes adds white space that each program reads differently. For curl, a blank within an entry ends the list.
    /// For Go, it is part of an impossible name.
    fn blanks(&mut self, list: &mut String, aims: &mut Vec<(Aim, Option<u16>)>) {
        if self.random.percent(3) {
            list.push_str(
                self.random
                    .one(&["b.test c.test,", "b.test\tc.test, ", "\n", "\n\u{a0}", "\u{b}\r"]),
            );
            for name in ["b.test", "c.test"] {
                aims.push((Aim::Name(name.to_owned()), None));
            }
        }
    }

    fn entry(&mut self, aims: &mut Vec<(Aim, Option<u16>)>) -> String {
        let r = &mut self.random;
        if r.percent(8) {
            let junk = r.one(JUNK);
            if junk.to_lowercase().contains("com") {
                aims.push((Aim::Name("example.com".to_owned()), Some(80)));
            }
            if junk.contains(['2', '4']) {
                aims.push((Aim::V4(0x0102_0304, 32), Some(80)));
            }
            if junk.contains("db8") {
                let ip = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
                aims.push((Aim::V6(ip.to_bits(), 128), Some(80)));
            }
            // None of the others is near these.
            aims.push((Aim::Odd, Some(80)));
            return junk.to_owned();
        }
        if r.percent(1) {
            return "*".to_owned();
        }
        let port = r.percent(25).then(|| PORTS[r.below(PORTS.len())]);
        let with_port = |entry: String| match port {
            Some(port) => format!("{entry}:{port}"),
            None => entry,
        };
        match r.below(10) {
            0..5 => {
                let name = self.name();
                aims.push((Aim::Name(name.clone()), port));
                let r = &mut self.random;
                let dots = r.one(&["", "", "", ".", ".", "*."]);
                let end = if r.percent(8) { "." } else { "" };
                let entry = format!("{dots}{name}{end}");
                with_port(self.spelled(&entry))
            }
            5 => {
                let ip = v4(r);
                aims.push((Aim::V4(ip.to_bits(), 32), port));
                with_port(ip.to_string())
            }
            6 => {
                let (ip, length) = (v4(r), length(r, 32));
                aims.push((Aim::V4(ip.to_bits(), length), None));
                format!("{ip}/{length}")
            }
            7 => {
                let ip = v6(r);
                aims.push((Aim::V6(ip.to_bits(), 128), port));
                let text = spelled_v6(r, ip);
                match port {
                    Some(port) => format!("[{text}]:{port}"),
                    None if r.percent(30) => format!("[{text}]"),
                    None => text,
                }
            }
            8 => {
                let (ip, length) = (v6(r), length(r, 128));
                aims.push((Aim::V6(ip.to_bits(), length), None));
                format!("{}/{length}", spelled_v6(r, ip))
            }
            _ => {
                let ip = v4(r);
                let length = 96 + length(r, 32);
                aims.push((Aim::V4(ip.to_bits(), length - 96), port.filter(|_| length == 128)));
                let mapped = spelled_v6(r, ip.to_ipv6_mapped());
                match (length, port) {
                    (128, Some(port)) => format!("[{mapped}]:{port}"),
                    (128, None) => mapped,
                    _ => format!("{mapped}/{length}"),
                }
            }
        }
    }

    fn url(&mut self, aims: &[(Aim, Option<u16>)]) -> String {
        let aim = match aims.is_empty() || self.random.percent(15) {
            true => None,
            false => Some(aims[self.random.below(aims.len())].clone()),
        };
        let (host, entry_port) = match aim {
            Some((aim, port)) => (self.near(&aim), port),
            None => (self.any_host(), None),
        };
        let r = &mut self.random;
        let port = match (r.below(10), entry_port) {
            (0..5, Some(port)) => format!(":{port}"),
            (5, Some(port)) => format!(":{}", port ^ 1),
            (6, _) => format!(":{}", PORTS[r.below(PORTS.len())]),
            (7, _) => ":443".to_owned(),
            (8, _) => ":80".to_owned(),
            (9, _) if r.percent(10) => r.one(&[":0", ":00", ":080", ":0443", ":08080"]).to_owned(),
            _ => String::new(),
        };
        let scheme = r.one(self.targets.schemes);
        let path = r.one(&["/", "", "/path", "/?q", "/a/b?c=d"]);
        format!("{scheme}://{host}{port}{path}")
    }

    fn any_host(&mut self) -> String {
        let r = &mut self.random;
        match r.below(8) {
            0 => r
                .one(&[
                    "localhost",
                    "LocalHost",
                    "a.localhost",
                    "localhost.",
                    "notlocalhost",
                    "localhost.test",
                ])
                .to_owned(),
            1 if r.percent(60) => r.one(ODD_HOSTS).to_owned(),
            1 => format!("127.{}.{}.{}", r.below(256), r.below(256), r.below(256)),
            2 => "[::1]".to_owned(),
            3 => {
                let ip = v4(r);
                self.host_v4(ip)
            }
            4 => {
                let ip = v6(r);
                self.host_v6(ip)
            }
            _ => {
                let name = self.name();
                self.host_name(name)
            }
        }
    }

    /// Returns a host that matches, or only just does not.
    fn near(&mut self, aim: &Aim) -> String {
        let r = &mut self.random;
        match aim {
            Aim::Odd => r.one(ODD_HOSTS).to_owned(),
            Aim::Name(name) => {
                let host = match r.below(12) {
                    0..3 => name.clone(),
                    3..5 => format!("www.{name}"),
                    5 => format!("a.b.{name}"),
                    6 => format!("not{name}"),
                    7 => format!("-{name}"),
                    8 => format!("{name}.com"),
                    9 => format!("{name}x"),
                    10 => name
                        .split_once('.')
                        .map_or(name.as_str(), |(_, parent)| parent)
                        .to_owned(),
                    _ => name.chars().skip(1).collect(),
                };
                let host = host.trim_start_matches('.').to_owned();
                self.host_name(if host.is_empty() { "a".to_owned() } else { host })
            }
            Aim::V4(ip, length) => {
                let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                let ip = match r.below(8) {
                    0..2 => *ip,
                    2 => ip & mask,
                    3 => ip | !mask,
                    4 => (ip & mask).wrapping_sub(1),
                    5 => (ip | !mask).wrapping_add(1),
                    6 => ip ^ (1 << r.below(32)),
                    _ => (ip & mask) | (r.bits() as u32 & !mask),
                };
                self.host_v4(ip.into())
            }
            Aim::V6(ip, length) => {
                let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
                let ip = match r.below(8) {
                    0..2 => *ip,
                    2 => ip & mask,
                    3 => ip | !mask,
                    4 => (ip & mask).wrapping_sub(1),
                    5 => (ip | !mask).wrapping_add(1),
                    6 => ip ^ (1 << r.below(128)),
                    _ => (ip & mask) | (((u128::from(r.bits()) << 64) | u128::from(r.bits())) & !mask),
                };
                self.host_v6(ip.into())
            }
        }
    }

    fn host_name(&mut self, name: String) -> String {
        let end = if self.random.percent(8) { "." } else { "" };
        let name = match self.targets.unicode {
            true => name,
            false => UNICODE
                .iter()
                .fold(name, |name, (unicode, ascii)| name.replace(unicode, ascii))
                .replace(|c: char| !c.is_ascii(), "u"),
        };
        let host = format!("{name}{end}");
        // A name that is cut anywhere may begin or end with what no label can; those are other tests' matter.
        let host = if host.is_ascii() {
            host
        } else {
            host.trim_start_matches('-').to_owned()
        };
        self.spelled(&host)
    }

    fn host_v4(&mut self, ip: Ipv4Addr) -> String {
        let r = &mut self.random;
        let [a, b, c, d] = ip.octets();
        let bits = ip.to_bits();
        match r.below(20) {
            0 => format!("{ip}."),
            1 => format!("{bits}"),
            2 => format!("0x{bits:x}"),
            3 => format!("0{bits:o}"),
            4 => format!("{a}.{}", bits & 0x00ff_ffff),
            5 => format!("0X{a:X}.{b}.{}", bits & 0xffff),
            6 => format!("0{a:o}.{b}.0x{c:x}.{d}"),
            7 => format!("{a:03}.{b}.{c}.{d}"),
            8 => format!("{a}.{b}.{c}.{}", u32::from(d) + 256),
            9 => format!("{a}.{b}.{c}"),
            10 => self.host_v6(ip.to_ipv6_mapped()),
            11 => self.host_v6(Ipv6Addr::from_bits(u128::from(bits))),
            12 => format!("{ip}.example.com"),
            13 => format!("{ip}x"),
            _ => ip.to_string(),
        }
    }

    fn host_v6(&mut self, ip: Ipv6Addr) -> String {
        let r = &mut self.random;
        let text = spelled_v6(r, ip);
        match r.below(20) {
            0 => format!("[{text}%25eth0]"),
            1 => format!("[{text}%25.example.com]"),
            _ => format!("[{text}]"),
        }
    }

    fn name(&mut self) -> String {
        let r = &mut self.random;
        if r.percent(5) {
            return r.one(&["localhost", "a.localhost", "local", "com", "test"]).to_owned();
        }
        let mut labels: Vec<_> = (0..1 + r.below(4)).map(|_| r.one(LABELS)).collect();
        if r.percent(10) {
            let (unicode, ascii) = UNICODE[r.below(UNICODE.len())];
            labels.insert(0, if r.percent(50) { unicode } else { ascii });
        }
        labels.join(".")
    }

    fn spelled(&mut self, text: &str) -> String {
        let r = &mut self.random;
        match r.below(10) {
            0 => text.to_ascii_uppercase(),
            1 => {
                let one = |c: char| if r.percent(50) { c.to_ascii_uppercase() } else { c };
                text.chars().map(one).collect()
            }
            _ => text.to_owned(),
        }
    }
}

fn v4(r: &mut Random) -> Ipv4Addr {
    let base: &str = r.one(&[
        "10.0.0.0",
        "10.1.2.3",
        "127.0.0.1",
        "192.168.1.77",
        "1.2.3.4",
        "0.0.0.0",
        "255.255.255.255",
    ]);
    let ip: Ipv4Addr = base.parse().expect("an address");
    match r.below(4) {
        0 => Ipv4Addr::from_bits(ip.to_bits() ^ (1 << r.below(32))),
        1 => Ipv4Addr::from_bits(r.bits() as u32),
        _ => ip,
    }
}

fn v6(r: &mut Random) -> Ipv6Addr {
    let base: &str = r.one(&[
        "::1",
        "::",
        "2001:db8::1",
        "2001:db8:0:1::",
        "fe80::1",
        "fd00:1:2:3:4:5:6:7",
        "::ffff:10.1.2.3",
        "::ffff:127.0.0.1",
        "::10.1.2.3",
        "64:ff9b::10.1.2.3",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ]);
    let ip: Ipv6Addr = base.parse().expect("an address");
    match r.below(4) {
        0 => Ipv6Addr::from_bits(ip.to_bits() ^ (1 << r.below(128))),
        1 => Ipv6Addr::from_bits((u128::from(r.bits()) << 64) | u128::from(r.bits())),
        _ => ip,
    }
}

fn length(r: &mut Random, most: u32) -> u32 {
    match r.below(10) {
        0 => 0,
        1 => most,
        2..5 => (8 * r.below(most as usize / 8 + 1)) as u32,
        _ => r.below(most as usize + 1) as u32,
    }
}

/// Returns one of the spellings of an IPv6 address.
fn spelled_v6(r: &mut Random, ip: Ipv6Addr) -> String {
    let s = ip.segments();
    match r.below(5) {
        0 => ip.to_string().to_ascii_uppercase(),
        1 => s.map(|s| format!("{s:x}")).join(":"),
        2 => s.map(|s| format!("{s:04X}")).join(":"),
        3 => {
            let [.., a, b] = s;
            let v4 = Ipv4Addr::from_bits((u32::from(a) << 16) | u32::from(b));
            format!(
                "{}:{v4}",
                s[..6].iter().map(|s| format!("{s:x}")).collect::<Vec<_>>().join(":")
            )
        }
        _ => ip.to_string(),
    }
}
