//! Random environments.

use crate::Random;

/// The variables, each in the spellings of which programs read some, with its values.
const VARIABLES: &[(&str, &[&str])] = &[
    ("http_proxy", &["http://hl.test:1"]),
    ("HTTP_PROXY", &["http://hu.test:1"]),
    ("Http_Proxy", &["http://hm.test:1"]),
    ("https_proxy", &["http://sl.test:1"]),
    ("HTTPS_PROXY", &["http://su.test:1"]),
    ("Https_proxy", &["http://sm.test:1"]),
    ("all_proxy", &["http://al.test:1"]),
    ("ALL_PROXY", &["http://au.test:1"]),
    ("no_proxy", &["l.test", "*", " "]),
    ("NO_PROXY", &["u.test", "*", " "]),
    ("No_Proxy", &["m.test"]),
    ("REQUEST_METHOD", &["GET"]),
];

/// Addresses of proxies of all kinds.
pub const PROXIES: &[&str] = &[
    "http://p.test:3128",
    "http://p.test",
    "http://p.test/",
    "http://p.test:3128/",
    "HTTP://P.Test:3128",
    "https://p.test:3129",
    "https://p.test",
    "p.test",
    "p.test:3128",
    "p.test:3128/",
    "user@p.test",
    "user:password@p.test:3128",
    "http://user:password@p.test",
    "http://user:p%40ssword@p.test:3128",
    "http://user:p@ssword@p.test:3128",
    "http://user@p.test",
    "http://:@p.test",
    "http://1.2.3.4",
    "http://1.2.3.4:80",
    "1.2.3.4:3128",
    "http://[2001:db8::1]",
    "http://[2001:db8::1]:3128",
    "http://p.test.:3128",
    "http://p.test:03128",
    "http://p.test:80",
    "http://p.test:443",
    "https://p.test:80",
    // Addresses that this crate refuses.
    "socks5://p.test:1080",
    "ftp://p.test",
    "http://",
    "http:///p.test",
    "http:p.test",
    "//p.test",
    "http://p.test:",
    "http://p.test:0",
    "http://p.test:65536",
    "http://p.test:port",
    "http://p.test/path",
    "http://p.test?query",
    "http://p test",
    "http://[2001:db8::1",
    "2001:db8::1",
    "\"http://p.test\"",
    "'http://p.test:3128'",
];

/// Returns an environment in which each variable is unset, empty, or has one of its values, in any order.
pub fn variables(random: &mut Random) -> Vec<(&'static str, &'static str)> {
    let mut variables = Vec::new();
    // Most have few variables, so that each one's effect is seen.
    let set = 2 + random.below(4);
    for (name, values) in VARIABLES {
        match random.below(10) {
            at if at < set && (*name != "REQUEST_METHOD" || random.percent(40)) => {
                variables.push((*name, random.one(values)))
            }
            9 => variables.push((*name, "")),
            _ => {}
        }
    }
    for end in (1..variables.len()).rev() {
        variables.swap(end, random.below(end + 1));
    }
    variables
}
