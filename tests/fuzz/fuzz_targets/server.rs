//! Any text is a proxy's address or an error, and no output of either shows the password.

#![no_main]

use libfuzzer_sys::{arbitrary::Arbitrary, fuzz_target};
use tower_outbound_proxy::{ProxyConfig, ProxyServer};

#[derive(Arbitrary, Debug)]
struct Address<'a> {
    scheme: Scheme<'a>,
    user: &'a str,
    password: &'a str,
    /// The host and whatever follows it.
    host: &'a str,
}

#[derive(Arbitrary, Debug)]
enum Scheme<'a> {
    None,
    Http,
    Https,
    Socks,
    Other(&'a str),
}

impl Address<'_> {
    fn with_password(&self, password: &str) -> String {
        let scheme = match self.scheme {
            Scheme::None => "",
            Scheme::Http => "http://",
            Scheme::Https => "HTTPS://",
            Scheme::Socks => "socks5://",
            Scheme::Other(scheme) => scheme,
        };
        format!("{scheme}{}:{password}@{}", self.user, self.host)
    }
}

/// Returns all visible output for an address.
fn shown(address: &str) -> String {
    let mut shown = match address.parse::<ProxyServer>() {
        Ok(server) => format!("{server} {server:?} {} {:?}", server.url(), server.credentials()),
        Err(error) => format!("{error} {error:?}"),
    };
    if shown.starts_with("https:") {
        // To build the settings for such a proxy would read the system's certificates each time.
        return shown;
    }
    match ProxyConfig::from_vars([("HTTP_PROXY", address), ("NO_PROXY", address)]) {
        Ok(config) => {
            shown += &format!("{config:?}");
            for warning in config.warnings() {
                shown += &format!("{warning} {warning:?}");
            }
        }
        Err(error) => shown += &format!("{error} {error:?}"),
    }
    shown
}

fuzz_target!(|address: Address<'_>| {
    let password = address.password;
    let shown_with = shown(&address.with_password(password));
    // What is shown with another password, too, is shown for another reason.
    let shown_without = shown(&address.with_password("Zq7Xk"));
    let decoded = percent_decode(password);
    for secret in [password, &decoded] {
        // `name://word@host` is a scheme and a user to every reader, whatever somebody meant by it.
        let is_secret = !password.starts_with("//")
            && secret.chars().count() >= 4
            && !address.with_password("").contains(secret)
            && !shown_without.contains(secret)
            && !secret.contains("***");
        assert!(
            !is_secret || !shown_with.contains(secret),
            "{secret:?} is in {shown_with:?}"
        );
    }
});

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
