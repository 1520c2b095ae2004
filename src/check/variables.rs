//! Names and values as they were written, before any program reads them.

use super::finding::{Finding, Leftover};
use crate::host::{QUOTATION_MARKS, is_quoted, split_scheme};

/// The variables that programs read, in lower case.
pub(super) const NAMES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// Returns the name in lower case, if it is that of a proxy variable in any case.
pub(super) fn known(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

/// Returns the name in upper case that a misspelled one probably stands for.
pub(super) fn misspelled(name: &str) -> Option<&'static str> {
    let bare = name.trim().strip_prefix("export ").unwrap_or(name);
    let bare = bare.replace(['_', '-', '.', ' '], "").to_ascii_lowercase();
    match bare.as_str() {
        "httpproxy" => Some("HTTP_PROXY"),
        "httpsproxy" => Some("HTTPS_PROXY"),
        "allproxy" => Some("ALL_PROXY"),
        "noproxy" => Some("NO_PROXY"),
        _ => None,
    }
}

/// Reports what is left over in a value, and returns the value without it, so that the rest can be checked.
pub(super) fn clean<'v>(name: &str, value: &'v str, findings: &mut Vec<Finding>) -> &'v str {
    let is_list = known(name) == Some("no_proxy");
    let mut report = |leftover| {
        findings.push(Finding::Leftover {
            variable: name.to_owned(),
            leftover,
        });
    };
    let trimmed = value.trim();
    let unquoted = trimmed.trim_matches(QUOTATION_MARKS).trim();
    if is_quoted(trimmed) {
        report(Leftover::Quotes);
    }
    if value.contains(['\r', '\n']) {
        report(Leftover::LineEnd);
    } else if !is_list && trimmed.len() < value.len() {
        report(Leftover::Blanks);
    }
    if is_reference(unquoted, is_list) {
        report(Leftover::Reference);
    }
    let mut words = unquoted.split_whitespace().skip(1);
    if !is_list && words.any(|word| word.contains('=') || word.contains("://")) {
        report(Leftover::Several);
    }
    match is_list && !is_quoted(trimmed) {
        // The programs say what blanks around a list mean.
        true => value.trim_matches(['\r', '\n']),
        false => unquoted,
    }
}

/// Returns true if a value refers to another variable. A password can have a `$` or `%` of its own.
fn is_reference(value: &str, is_list: bool) -> bool {
    let starts = value.starts_with(['$', '%']);
    let encloses = value.contains("${") || value.contains("$(");
    starts || (encloses && !value.contains('@')) || (is_list && value.contains(['$', '%']))
}

/// Returns true if the address has a user name or password with a character that must be percent-encoded (RFC 3986
/// 3.2.1).
pub(super) fn needs_encoding(address: &str) -> bool {
    let (_, rest) = split_scheme(address);
    let Some((userinfo, _)) = rest.rsplit_once('@') else {
        return false;
    };
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    !is_encoded(user) || !is_encoded(password)
}

fn is_encoded(text: &str) -> bool {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default();
    let after_percent = |part: &str| {
        let (digits, rest) = part.split_at_checked(2).unwrap_or(("", ""));
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()) && is_plain(rest)
    };
    is_plain(first) && parts.all(after_percent)
}

/// Returns true if the text has only unreserved characters and sub-delimiters.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&b))
}
