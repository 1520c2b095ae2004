//! The one place that decides what of an operator's text may be shown.

use std::fmt;

use crate::host::{split_brackets, split_scheme};

/// Shows a proxy address that may be malformed, with everything hidden that could be (part of) a password.
///
/// A password with a raw `/`, `?`, `#` or `@` moves the place where a URL parser sees the host, and a forgotten host
/// leaves the password where the port should be. So all up to the *last* `@` is taken as user information, and behind it
/// everything from a `:` on that is not followed by a port and nothing else is hidden. Who percent-encodes too much leaves
/// no `:` and no `@` at all: an encoded `:` is one too, and no host has a `%`.
pub(crate) struct Redacted<'a>(pub(crate) &'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = Ok(());
        pieces(self.0, |piece| {
            let written = match piece {
                Piece::Shown(text) => write!(f, "{}", text.escape_debug()),
                Piece::Mark(mark) => f.write_str(mark),
            };
            result = result.and(written);
        });
        result
    }
}

enum Piece<'a> {
    /// Of the text itself.
    Shown(&'a str),
    Mark(&'static str),
}

fn pieces<'a>(text: &'a str, mut with: impl FnMut(Piece<'a>)) {
    use Piece::{Mark, Shown};
    let (scheme, rest) = split_scheme(text);
    if let Some(scheme) = scheme {
        with(Shown(scheme));
        with(Mark("://"));
    }
    let (userinfo, address) = match rest.rsplit_once('@') {
        Some((userinfo, address)) => (Some(userinfo), address),
        None => (None, rest),
    };
    match userinfo.map(|userinfo| (userinfo, first_colon(userinfo))) {
        Some((userinfo, Some(colon))) => {
            with(Shown(&userinfo[..colon]));
            with(Mark(":***@"));
        }
        // `user/word@host`: what stands before the `@` without a `:` can still be half a password.
        Some((user, None)) if user.contains(|c: char| "/?#\\".contains(c) || c.is_whitespace()) => with(Mark("***@")),
        Some((user, None)) => {
            with(Shown(user));
            with(Mark("@"));
        }
        None => {}
    }
    match hidden_from(address) {
        Some(at) => {
            with(Shown(&address[..at]));
            with(Mark(":***"));
        }
        None => with(Shown(address)),
    }
}

/// The place of the first `:`, or where there is none of the first that is percent-encoded.
fn first_colon(userinfo: &str) -> Option<usize> {
    let encoded = |bytes: &[u8]| bytes.eq_ignore_ascii_case(b"%3a");
    userinfo
        .find(':')
        .or_else(|| userinfo.as_bytes().windows(3).position(encoded))
}

/// What may be written to a file in place of a proxy's address: the text itself, if nothing in it is to be hidden.
#[cfg(feature = "serde")]
pub(crate) fn written_address(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    pieces(text, |piece| match piece {
        Piece::Shown(text) => written.push_str(text),
        Piece::Mark(mark) => written.push_str(mark),
    });
    written
}

/// Whether nothing has to be hidden of an entry of a list, or of a list's text. Stricter than [`redacted_entry`], whose
/// reader has to find the entry again: only what can be a host with a port passes.
#[cfg(feature = "serde")]
pub(crate) fn is_entry_without_secret(list: &str) -> bool {
    list.split(|c: char| c == ',' || c.is_whitespace())
        .all(|entry| !entry.contains('@') && (has_colons_of_an_address(entry) || written_address(entry) == entry))
}

/// The same as [`redacted_entry`] for a pattern, which has no port.
#[cfg(feature = "serde")]
pub(crate) fn redacted_pattern(pattern: &str) -> String {
    match pattern.contains('@') || has_colons_of_an_address(pattern) {
        true => redacted_entry(pattern),
        false => Redacted(pattern).to_string(),
    }
}

/// The same for an entry of a list of hosts, which holds no password unless somebody put (a piece of) a proxy's address
/// into it: white space separates entries, and a password may have some.
pub(crate) fn redacted_entry(entry: &str) -> String {
    match entry.rsplit_once('@') {
        Some((_, host)) => format!("***@{}", Redacted(host)),
        None if entry.contains("://") || entry.contains('%') => Redacted(entry).to_string(),
        // More than a host and a port, and no IPv6 address either.
        None if entry.matches(':').count() > 1 && !has_colons_of_an_address(entry) => Redacted(entry).to_string(),
        None => entry.escape_debug().to_string(),
    }
}

/// Whether it has more than one `:`, and no other characters than an IPv6 address, with brackets, port and length of a
/// prefix, can have.
fn has_colons_of_an_address(text: &str) -> bool {
    text.matches(':').count() > 1 && text.chars().all(|c| c.is_ascii_hexdigit() || ":.[]/".contains(c))
}

/// Where, in an address, a `:` stands that something else than a port follows, or a `%`, which can be an encoded one.
fn hidden_from(address: &str) -> Option<usize> {
    let name = match split_brackets(address) {
        Some(Ok((_, rest))) => address.len() - rest.len(),
        _ => 0,
    };
    let colon = name + address[name..].find([':', '%'])?;
    if address[colon..].starts_with('%') {
        return Some(colon);
    }
    let port = &address[colon + 1..];
    let port = port.strip_suffix('/').unwrap_or(port);
    let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
    (!is_port && !port.is_empty() && !is_address).then_some(colon)
}

#[cfg(test)]
mod tests {
    use super::{Redacted, redacted_entry};

    #[test]
    fn no_spelling_of_a_password_is_shown() {
        for (raw, shown) in [
            ("http://user:secret@proxy:3128", "http://user:***@proxy:3128"),
            ("user:secret@proxy", "user:***@proxy"),
            ("socks5://user:secret@proxy", "socks5://user:***@proxy"),
            ("http://user:se@cret@proxy", "http://user:***@proxy"),
            ("http://user:se/cr?e#t@proxy", "http://user:***@proxy"),
            ("http://se/cret@proxy", "http://***@proxy"),
            ("user:http://secret@proxy", "user:***@proxy"),
            ("http://user:secret", "http://user:***"),
            ("http://user:se/cret", "http://user:***"),
            ("user:123456789", "user:***"),
            ("http://proxy:3128/", "http://proxy:3128/"),
            ("http://[::1]:3128", "http://[::1]:3128"),
            ("http://[::1]:secret", "http://[::1]:***"),
            ("http://me@corp.example:secret", "http://me@corp.example:***"),
            ("socks5://me@corp.example:secret/", "socks5://me@corp.example:***"),
            ("http://me@corp.example:secret proxy:3128", "http://me@corp.example:***"),
            ("http:/user:secret", "http:***"),
            ("http://http://user:secret", "http://http:***"),
            ("http://user:123/secret", "http://user:***"),
            ("http://user:123?secret", "http://user:***"),
            ("2001:db8::1", "2001:db8::1"),
            ("http://pro\nxy", "http://pro\\nxy"),
            ("http://user@proxy", "http://user@proxy"),
            ("http://user%3Asecret@proxy", "http://user:***@proxy"),
            ("http://user%3asecret@proxy", "http://user:***@proxy"),
            ("http://us%3Aer:secret@proxy", "http://us%3Aer:***@proxy"),
            ("http://user%3Asecret%40proxy:3128", "http://user:***"),
            ("http://me%40corp.example@proxy", "http://me%40corp.example@proxy"),
            ("http://user secret@proxy", "http://***@proxy"),
        ] {
            assert_eq!(Redacted(raw).to_string(), shown, "{raw}");
        }
    }

    #[test]
    fn no_piece_of_an_address_in_a_list_shows_a_password() {
        for (raw, shown) in [
            ("http://user:secret@proxy", "***@proxy"),
            ("secret@proxy/", "***@proxy/"),
            ("http://user:secret", "http://user:***"),
            ("me@corp.example:secret", "***@corp.example:***"),
            ("user:secret:x", "user:***"),
            ("user%3Asecret", "user:***"),
            ("host:http", "host:http"),
            ("2001:db8::1::/33", "2001:db8::1::/33"),
            ("[::1", "[::1"),
        ] {
            assert_eq!(redacted_entry(raw), shown, "{raw}");
        }
    }
}
