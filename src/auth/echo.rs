//! Secrets that a peer echoes: found in each spelling that servers and their error pages write.
//!
//! Case is ignored, since names of header fields are compared without it. A character may also be escaped with a
//! backslash (quoted strings, JSON), percent-encoded (URLs, forms) or a character reference (HTML).

/// Replaces each occurrence of the secret, which must not be empty, by `***`. A beginning of the secret that is cut off
/// by the end of the text counts as an occurrence.
pub(super) fn hide(text: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let rest = &text[at..];
        let found = length(rest, secret, as_written).max(length(rest, secret, encoded));
        match found {
            Some(length) => {
                shown.extend_from_slice(b"***");
                at += length;
            }
            None => {
                shown.push(*byte);
                at += 1;
            }
        }
    }
    shown
}

/// The shortest beginning of a secret that is hidden at the end of a text.
const PART: usize = 4;
/// The longest character reference, without its `&`.
const LONGEST: usize = 8;

/// Returns the length of the secret at the start of the text. `spelling` returns the length of one character.
fn length(text: &[u8], secret: &[u8], spelling: fn(&[u8], u8) -> Option<usize>) -> Option<usize> {
    let mut end = 0;
    for (matched, byte) in secret.iter().enumerate() {
        match spelling(&text[end..], *byte) {
            Some(length) => end += length,
            None if matched >= PART && is_cut_off(&text[end..]) => return Some(text.len()),
            None => return None,
        }
    }
    Some(end)
}

/// Returns true if the text ends here, or within an escape.
fn is_cut_off(text: &[u8]) -> bool {
    match text {
        [] | [b'%'] | [b'%', _] | [b'\\'] => true,
        [b'&', reference @ ..] => reference.len() < LONGEST && !reference.contains(&b';'),
        _ => false,
    }
}

fn as_written(text: &[u8], byte: u8) -> Option<usize> {
    text.first()?.eq_ignore_ascii_case(&byte).then_some(1)
}

/// Prefers the longest spelling: `%25` is a `%`.
fn encoded(text: &[u8], byte: u8) -> Option<usize> {
    let is = |found: Option<u8>| found.is_some_and(|found| found.eq_ignore_ascii_case(&byte));
    match text {
        [b'%', digits @ ..] if is(digits.get(..2).and_then(|digits| number(digits, 16))) => Some(3),
        [b'&', reference @ ..] => match reference.iter().take(LONGEST).position(|byte| *byte == b';') {
            Some(end) if is(referenced(&reference[..end])) => Some(end + 2),
            _ => as_written(text, byte),
        },
        [b'\\', escaped, ..] if *escaped == byte => Some(2),
        // Forms, and the URL-safe alphabet of base64 (RFC 4648 5).
        [b'+', ..] if byte == b' ' => Some(1),
        [b'-', ..] if byte == b'+' => Some(1),
        [b'_', ..] if byte == b'/' => Some(1),
        _ => as_written(text, byte),
    }
}

/// Returns the character that an HTML reference stands for, without its `&` and `;`.
fn referenced(reference: &[u8]) -> Option<u8> {
    match reference {
        b"amp" => Some(b'&'),
        b"lt" => Some(b'<'),
        b"gt" => Some(b'>'),
        b"quot" => Some(b'"'),
        b"apos" => Some(b'\''),
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16),
        [b'#', digits @ ..] => number(digits, 10),
        _ => None,
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::hide;

    #[test]
    fn no_spelling_of_a_secret_is_shown() {
        for (secret, text, shown) in [
            ("s3cret", "a s3cret b s3crets3cret", "a *** b ******"),
            ("s3cret", "X-S3CRET: x-s3cret", "X-***: x-***"),
            ("pass/w@rd", "pass%2Fw%40rd, pass%2fw%40rd", "***, ***"),
            ("pass/w@rd", "%70%61ss/w@%72d", "***"),
            ("pass word", "pass+word, pass%20word, pass&#32;word", "***, ***, ***"),
            (
                "a&b<c>",
                "a&b<c>, a&amp;b&lt;c&gt;, a&#38;b&#x3C;c&#x3e;",
                "***, ***, ***",
            ),
            ("&amp;x", "&amp;x, &amp;amp;x", "***, ***"),
            ("100%25", "100%25, 100%2525", "***, ***"),
            (
                "say \"it's\"",
                "say \\\"it's\\\", say &quot;it&apos;s&quot;",
                "***, ***",
            ),
            ("a\\b\\c", "a\\b\\c, a\\\\b\\\\c", "***, ***"),
            ("dXNl+/Zy", "dXNl+/Zy==, dXNl-_Zy", "***==, ***"),
            ("s3cret", "cut off: s3cr", "cut off: ***"),
            ("s3cret", "cut off: s3c", "cut off: s3c"),
            ("s/cret", "cut off: s%2Fcr", "cut off: ***"),
            ("some/cret", "cut off: some%2", "cut off: ***"),
            ("some/cret", "cut off: some&#4", "cut off: ***"),
            ("some/cret", "some: some, some%", "some: some, ***"),
            ("aab", "aaab", "a***"),
            ("abc", "", ""),
            ("abc", "%", "%"),
            ("abc", "&", "&"),
        ] {
            let seen = String::from_utf8(hide(text.as_bytes(), secret.as_bytes())).unwrap();
            assert_eq!(seen, shown, "`{secret}` in `{text}`");
        }
    }
}
