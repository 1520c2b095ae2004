//! Decides which parts of an operator's text may be shown. No other file does.

use std::fmt::{self, Write as _};

use crate::host::{split_brackets, split_scheme};

/// Displays a proxy address that may be malformed, and hides everything that could be (part of) a password.
///
/// A raw `/`, `?`, `#` or `@` in a password moves the host that a URL parser finds, and a missing host leaves the
/// password in the port's place. Everything up to the *last* `@` therefore counts as user information. After it, a `:`
/// may only be followed by a port. Otherwise everything from the `:` on is hidden. An address with too much
/// percent-encoding may have neither `:` nor `@`. An encoded `:` therefore counts as a `:`, and everything from a `%`
/// on is hidden, since no host has one.
pub(crate) struct Redacted<'a>(pub(crate) &'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = Ok(());
        pieces(self.0, &mut |piece| {
            let written = match piece {
                Piece::Shown(text) => write_escaped(text, f),
                Piece::Mark(mark) => f.write_str(mark),
            };
            result = result.and(written);
        });
        result
    }
}

/// Displays a text that others chose between backticks: control characters are escaped, and of a longer text only this
/// many characters are shown.
#[cfg(feature = "tls")]
pub(crate) struct Escaped<'a>(pub(crate) &'a str, pub(crate) usize);

#[cfg(feature = "tls")]
impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(self.1) {
            None => write_escaped(self.0, f),
            Some((end, _)) => {
                write_escaped(&self.0[..end], f)?;
                f.write_char('…')
            }
        }
    }
}

/// Writes a text that is shown between backticks: control characters are escaped, quotation marks are not.
fn write_escaped(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    text.chars().try_for_each(|c| match c {
        '"' | '\'' => f.write_char(c),
        c => write!(f, "{}", c.escape_debug()),
    })
}

enum Piece<'a> {
    /// A part of the text itself.
    Shown(&'a str),
    Mark(&'static str),
}

fn pieces<'a>(text: &'a str, with: &mut dyn FnMut(Piece<'a>)) {
    use Piece::{Mark, Shown};
    // Quotation marks around the value, which hide its scheme.
    if let Some((mark, rest)) = ["\"", "'"]
        .into_iter()
        .find_map(|mark| Some((mark, text.strip_prefix(mark)?)))
    {
        with(Mark(mark));
        let quoted = rest.strip_suffix(mark);
        pieces(quoted.unwrap_or(rest), with);
        if quoted.is_some() {
            with(Mark(mark));
        }
        return;
    }
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
        // `user/word@host`: even without a `:`, the part before the `@` can be half a password.
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

/// Returns the index of the first `:`, or of the first percent-encoded `:` if there is none.
fn first_colon(userinfo: &str) -> Option<usize> {
    let encoded = |bytes: &[u8]| bytes.eq_ignore_ascii_case(b"%3a");
    userinfo
        .find(':')
        .or_else(|| userinfo.as_bytes().windows(3).position(encoded))
}

/// Returns a proxy's address as it may be written to a file: the text itself, if it has nothing to hide.
#[cfg(feature = "serde")]
pub(crate) fn written_address(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    pieces(text, &mut |piece| match piece {
        Piece::Shown(text) => written.push_str(text),
        Piece::Mark(mark) => written.push_str(mark),
    });
    written
}

/// Returns true if an entry, or a whole list, has nothing to hide. This is stricter than [`redacted_entry`], which must
/// leave the entry recognisable: only text that can be a host with a port passes.
#[cfg(feature = "serde")]
pub(crate) fn is_entry_without_secret(list: &str) -> bool {
    list.split(|c: char| c == ',' || c.is_whitespace())
        .all(|entry| !entry.contains('@') && (has_colons_of_an_address(entry) || written_address(entry) == entry))
}

/// Redacts an entry of a list of hosts, or a pattern. An entry contains a password only if it is (a piece of) a
/// misplaced proxy address: white space separates entries, and a password may contain some. The part before a `:`
/// stays, so that the entry can be found; what follows the `:` is shown only if it can be a port.
pub(crate) fn redacted_entry(entry: &str) -> String {
    match entry.rsplit_once('@') {
        Some((_, host)) => format!("***@{}", Redacted(host)),
        None if has_colons_of_an_address(entry) => entry.to_owned(),
        None => Redacted(entry).to_string(),
    }
}

/// Returns true if the text has the colons of an IPv6 address, `::` or seven, and only characters of an address with
/// brackets, port and prefix length.
fn has_colons_of_an_address(text: &str) -> bool {
    (text.contains("::") || text.matches(':').count() >= 7)
        && text.chars().all(|c| c.is_ascii_hexdigit() || ":.[]/".contains(c))
}

/// Returns the index of a `:` that is not followed by a port, or of a `%`, which can be an encoded `:`.
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
            ("\"http://user:secret@proxy:3128\"", "\"http://user:***@proxy:3128\""),
            ("'http://proxy:3128'", "'http://proxy:3128'"),
            ("\"http://user:secret", "\"http://user:***"),
            ("\"user:secret\"", "\"user:***\""),
            ("http://user:secret\"", "http://user:***"),
            ("\"", "\""),
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
            ("user:secret", "user:***"),
            ("user:12345678", "user:***"),
            ("user:bad:cafe", "user:***"),
            ("bad:cafe:babe", "bad:***"),
            ("user:8080x", "user:***"),
            ("user:+80", "user:***"),
            (":secret", ":***"),
            ("10.0.0.0/8:secret", "10.0.0.0/8:***"),
            ("[::1]:secret", "[::1]:***"),
            ("host:", "host:"),
            ("host:0", "host:0"),
            ("host:8080", "host:8080"),
            ("10.0.0.0/8:80", "10.0.0.0/8:80"),
            ("a\u{1}b", "a\\u{1}b"),
            ("2001:db8::1::/33", "2001:db8::1::/33"),
            ("1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8:9"),
            ("[::1", "[::1"),
        ] {
            assert_eq!(redacted_entry(raw), shown, "{raw}");
        }
    }
}
