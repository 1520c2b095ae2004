//! The lists and the targets that every bench decides on, the peers' too.

use std::fmt::Write;

/// The numbers of entries of the lists.
pub(crate) const SIZES: [usize; 5] = [1, 10, 100, 1_000, 10_000];

/// A proxy for both schemes.
pub(crate) const PROXY: &str = "http://user:password@proxy.example:3128";

/// A list such as grows in a company: of ten entries eight are names of one domain, one is an IPv4 and one an IPv6
/// network. The first and the last are names, whatever the size, and none has what only some of the peers can read.
pub(crate) fn list(entries: usize) -> String {
    let mut list = String::new();
    for i in 0..entries {
        if i > 0 {
            list.push(',');
        }
        let written = match i % 10 {
            3 => write!(list, "10.{}.{}.0/24", i / 256, i % 256),
            6 => write!(list, "2001:db8:{i:x}::/48"),
            1 | 4 | 8 => write!(list, ".zone{i}.corp.example"),
            _ => list.write_str(&name(i)),
        };
        written.expect("a string takes everything");
    }
    list
}

fn name(i: usize) -> String {
    format!("host{i}.dept{}.corp.example", i % 97)
}

/// Returns the URLs to look up in a list of so many entries, each with the place at which it is found.
pub(crate) fn targets(entries: usize) -> [(&'static str, String); 5] {
    let url = |host: &str| format!("http://{host}/v1/items?page=2");
    [
        ("first", url(&name(0))),
        ("last", url(&name(entries - 1))),
        ("miss", url("api.eu-west.payments.corp.example")),
        ("miss IPv4", url("192.0.2.77")),
        ("miss IPv6", url("[2001:db9::77]")),
    ]
}
