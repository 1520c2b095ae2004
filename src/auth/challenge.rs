//! [`Challenge`]: reads `Proxy-Authenticate` and `WWW-Authenticate`.

use std::fmt;

use http::HeaderValue;

/// An authentication challenge: a scheme and its parameters (RFC 9110 11.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    token68: Option<String>,
    params: Vec<(String, String)>,
}

impl Challenge {
    /// Returns the scheme as it was written: `Basic`, `Digest`, `Negotiate`, … Compare it case-insensitively.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the single value that some schemes have instead of parameters.
    #[must_use]
    pub fn token68(&self) -> Option<&str> {
        self.token68.as_deref()
    }

    /// Returns the parameters in order, with lower-case names and unquoted values.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the protection space: the parameter `realm`.
    #[must_use]
    pub fn realm(&self) -> Option<&str> {
        self.params().find(|(name, _)| *name == "realm").map(|(_, value)| value)
    }
}

/// `Basic (realm "corporate")`
impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        match self.realm() {
            Some(realm) => write!(f, " (realm {realm:?})"),
            None => Ok(()),
        }
    }
}

/// Reads the challenges of all fields, in order. A part that does not fit the grammar is skipped up to the next comma.
pub(crate) fn parse<'v>(fields: impl IntoIterator<Item = &'v HeaderValue>) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    for field in fields {
        parse_field(&String::from_utf8_lossy(field.as_bytes()), &mut challenges);
    }
    challenges
}

/// Reads one field. A comma separates both challenges and parameters. A word that is followed by `=` is a parameter of
/// the challenge before it; any other word begins a challenge.
fn parse_field(field: &str, challenges: &mut Vec<Challenge>) {
    let first = challenges.len();
    let mut rest = field;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            match rest.find(',') {
                Some(comma) => rest = &rest[comma..],
                None => return,
            }
            continue;
        }
        if let (Some((value, after)), true) = (param_value(after), challenges.len() > first) {
            if let Some(challenge) = challenges.last_mut() {
                challenge.params.push((word.to_ascii_lowercase(), value));
            }
            rest = after;
            continue;
        }
        rest = after.trim_start_matches([' ', '\t']);
        let token68 = token68(rest);
        if let Some(token68) = token68 {
            rest = &rest[token68.len()..];
        }
        challenges.push(Challenge {
            scheme: word.to_owned(),
            token68: token68.map(str::to_owned),
            params: Vec::new(),
        });
    }
}

fn token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

/// Reads `= value`, where the value is a token or a quoted string.
fn param_value(text: &str) -> Option<(String, &str)> {
    let value = text.trim_start_matches([' ', '\t']).strip_prefix('=')?;
    let value = value.trim_start_matches([' ', '\t']);
    let Some(quoted) = value.strip_prefix('"') else {
        let (value, after) = token(value);
        return (!value.is_empty()).then(|| (value.to_owned(), after));
    };
    let mut unquoted = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((unquoted, &quoted[at + 1..])),
            '\\' => unquoted.extend(chars.next().map(|(_, c)| c)),
            _ => unquoted.push(c),
        }
    }
    Some((unquoted, ""))
}

/// Reads a single value that fills the rest of the challenge: `Negotiate YII=`.
fn token68(text: &str) -> Option<&str> {
    let is_token68 = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let body = text.find(|c| !is_token68(c)).unwrap_or(text.len());
    let padding = text[body..].find(|c| c != '=').unwrap_or(text.len() - body);
    let (value, after) = text.split_at(body + padding);
    let ends = after.trim_start_matches([' ', '\t']);
    (body > 0 && (ends.is_empty() || ends.starts_with(','))).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[&str]) -> Vec<String> {
        let fields: Vec<_> = fields
            .iter()
            .map(|field| HeaderValue::from_str(field).unwrap())
            .collect();
        let show = |c: &Challenge| format!("{}|{}|{:?}", c.scheme, c.token68.as_deref().unwrap_or("-"), c.params);
        parse(&fields).iter().map(show).collect()
    }

    #[test]
    fn challenges_are_read() {
        for (fields, expected) in [
            (&["Basic realm=\"lab\""][..], &[r#"Basic|-|[("realm", "lab")]"#][..]),
            (&["Basic"], &["Basic|-|[]"]),
            (&["Negotiate, NTLM"], &["Negotiate|-|[]", "NTLM|-|[]"]),
            (&["Negotiate YII/a+b=="], &["Negotiate|YII/a+b==|[]"]),
            (
                &["Negotiate YII=, Basic realm=x"],
                &["Negotiate|YII=|[]", r#"Basic|-|[("realm", "x")]"#],
            ),
            (
                &["Digest realm = \"a, \\\"b\\\"\" , nonce=\"n=\",qop=auth, Basic REALM=\"c\""],
                &[
                    r#"Digest|-|[("realm", "a, \"b\""), ("nonce", "n="), ("qop", "auth")]"#,
                    r#"Basic|-|[("realm", "c")]"#,
                ],
            ),
            (
                &["Basic realm=\"one\"", "Basic realm=\"two\""],
                &[r#"Basic|-|[("realm", "one")]"#, r#"Basic|-|[("realm", "two")]"#],
            ),
            (&["Basic realm=\"open"], &[r#"Basic|-|[("realm", "open")]"#]),
            (&[", ,Basic ,realm=x,"], &[r#"Basic|-|[("realm", "x")]"#]),
            (&["\"\", Basic realm=x"], &[r#"Basic|-|[("realm", "x")]"#]),
            (&["", " ", ",", "="], &[]),
        ] {
            assert_eq!(read(fields), expected, "{fields:?}");
        }
    }
}
