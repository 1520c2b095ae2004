//! The one place that decides what of an operator's text may be shown.

use std::fmt;

/// Shows a proxy address that may be malformed, with everything hidden that could be (part of) a password.
///
/// A password with a raw `/`, `?`, `#` or `@` moves the place where a URL parser sees the host, and a forgotten host
/// leaves the password where the port should be. So all up to the *last* `@` is taken as user information, and without
/// an `@` everything from a `:` on that is not followed by a port is hidden.
pub(crate) struct Redacted<'a>(pub(crate) &'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = split_scheme(self.0);
        if let Some(scheme) = scheme {
            write!(f, "{}://", scheme.escape_debug())?;
        }
        if let Some((userinfo, host)) = rest.rsplit_once('@') {
            match userinfo.split_once(':') {
                Some((user, _)) => write!(f, "{}:***", user.escape_debug())?,
                // `user/word@host`: what stands before the `@` without a `:` can still be half a password.
                None if userinfo.contains(['/', '?', '#', '\\']) => f.write_str("***")?,
                None => write!(f, "{}", userinfo.escape_debug())?,
            }
            return write!(f, "@{}", host.escape_debug());
        }
        match hidden_from(rest) {
            Some(at) => write!(f, "{}:***", rest[..at].escape_debug()),
            None => write!(f, "{}", rest.escape_debug()),
        }
    }
}

/// Splits `scheme://rest` where the part before `://` can be a scheme (RFC 3986 3.1).
pub(crate) fn split_scheme(text: &str) -> (Option<&str>, &str) {
    match text.split_once("://") {
        Some((scheme, rest))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) =>
        {
            (Some(scheme), rest)
        }
        _ => (None, text),
    }
}

/// Where, in an address without `@`, a `:` stands that no port follows.
fn hidden_from(rest: &str) -> Option<usize> {
    let name = match rest.strip_prefix('[').and_then(|v6| v6.find(']')) {
        Some(end) => end + 2,
        None => 0,
    };
    let colon = name + rest[name..].find(':')?;
    let after = &rest[colon + 1..];
    let port = after.split(['/', '?', '#']).next().unwrap_or_default();
    let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_address = rest.parse::<std::net::Ipv6Addr>().is_ok();
    (!is_port && !port.is_empty() && !is_address).then_some(colon)
}

#[cfg(test)]
mod tests {
    use super::Redacted;

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
            ("2001:db8::1", "2001:db8::1"),
            ("http://pro\nxy", "http://pro\\nxy"),
            ("http://user@proxy", "http://user@proxy"),
        ] {
            assert_eq!(Redacted(raw).to_string(), shown, "{raw}");
        }
    }
}
