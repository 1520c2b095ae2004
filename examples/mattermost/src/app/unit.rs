//! The `Environment=` lines of a systemd unit file, read as systemd.syntax(7) and systemd.exec(5) define.
//!
//! systemd drops an assignment that it cannot read and starts the service without it. Here this is an error, because a
//! lost proxy setting means direct connections. Errors and warnings name file and line. They show a variable's name,
//! but never its value, nor a word that could be a part of one.

use std::{fmt, fs, path::Path};

/// The environment that a unit file sets for its service.
pub struct Unit {
    /// Names and values, each name once.
    pub environment: Vec<(String, String)>,
    /// Warnings about odd or ignored lines, each with file and line.
    pub warnings: Vec<String>,
}

/// Leaves out the values.
impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("Unit")
            .field("environment", &names)
            .field("warnings", &self.warnings)
            .finish()
    }
}

/// A unit file that cannot be used.
#[derive(Debug)]
pub struct UnitError {
    file: String,
    line: Option<usize>,
    reason: String,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.reason),
            None => write!(f, "{}: {}", self.file, self.reason),
        }
    }
}

impl std::error::Error for UnitError {}

impl Unit {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not UTF-8, has a section header that is not closed (systemd refuses the whole file),
    /// or has an assignment in an `Environment=` line that systemd would drop.
    pub fn read(path: &Path) -> Result<Self, UnitError> {
        let file = path.display().to_string();
        let error = |line, reason| UnitError {
            file: file.clone(),
            line,
            reason,
        };
        let bytes = fs::read(path).map_err(|cause| error(None, cause.to_string()))?;
        let text = std::str::from_utf8(&bytes).map_err(|cause| {
            let before = &bytes[..cause.valid_up_to()];
            let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
            error(Some(line), "not UTF-8".to_owned())
        })?;
        Self::parse(&file, text)
    }

    /// Reads a file's text; `file` is its name in errors and warnings.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn parse(file: &str, text: &str) -> Result<Self, UnitError> {
        let mut unit = Self {
            environment: Vec::new(),
            warnings: Vec::new(),
        };
        let mut section = None;
        for (number, line) in lines(text) {
            let mut warn = |reason: String| unit.warnings.push(format!("{file}:{number}: {reason}"));
            let line = line.trim_matches(BLANKS);
            if line.is_empty() {
                continue;
            }
            if let Some(header) = line.strip_prefix('[') {
                let name = header.strip_suffix(']').ok_or_else(|| UnitError {
                    file: file.to_owned(),
                    line: Some(number),
                    reason: "a section's header ends in `]`".to_owned(),
                })?;
                section = Some(name.to_owned());
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                warn("no `=`: the line is ignored".to_owned());
                continue;
            };
            match (key.trim_end_matches(BLANKS), value.trim_start_matches(BLANKS)) {
                ("Environment", _) if section.as_deref() != Some("Service") => {
                    warn("`Environment=` counts in the section [Service] only: ignored".to_owned());
                }
                ("Environment", "") => unit.environment.clear(),
                ("Environment", value) => {
                    let assigned = assignments(value).map_err(|reason| UnitError {
                        file: file.to_owned(),
                        line: Some(number),
                        reason: format!("Environment=: {reason}"),
                    })?;
                    for (name, value) in assigned {
                        unit.environment.retain(|(other, _)| *other != name);
                        unit.environment.push((name, value));
                    }
                }
                (key @ ("EnvironmentFile" | "PassEnvironment" | "UnsetEnvironment"), value) if !value.is_empty() => {
                    warn(format!("`{key}=` is not supported here: ignored"));
                }
                _ => {}
            }
        }
        Ok(unit)
    }
}

/// The characters that systemd treats as white space.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// Returns logical lines, each with the number of its first line. A backslash at the end of a line counts as a blank,
/// and the line continues on the next one that is not a comment.
fn lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut unfinished: Option<(usize, String)> = None;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if line.trim_start_matches(BLANKS).starts_with(['#', ';']) {
            continue;
        }
        let (number, mut whole) = unfinished.take().unwrap_or((index + 1, String::new()));
        whole.push_str(line);
        // Backslashes in even number are escaped backslashes.
        if whole.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1 {
            whole.pop();
            whole.push(' ');
            unfinished = Some((number, whole));
        } else {
            lines.push((number, whole));
        }
    }
    lines.extend(unfinished);
    lines
}

/// Returns the assignments of one `Environment=` line, or the fault in one of them.
fn assignments(line: &str) -> Result<Vec<(String, String)>, String> {
    let words = words(line)?;
    let numbered = words.into_iter().enumerate();
    numbered
        .map(|(index, word)| assignment(&word).map_err(|reason| format!("assignment {}: {reason}", index + 1)))
        .collect()
}

fn assignment(word: &[u8]) -> Result<(String, String), String> {
    let word = std::str::from_utf8(word).map_err(|_| "not UTF-8")?;
    let Some((name, value)) = word.split_once('=').filter(|(name, _)| is_name(name)) else {
        return Err("it is not `NAME=value` (one whose value has blanks is quoted whole: \"NAME=va lue\")".to_owned());
    };
    let value = without_specifiers(value).map_err(|reason| format!("{name}: {reason}"))?;
    Ok((name.to_owned(), value))
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns the words between blanks, unquoted and with C-style escapes decoded. They are bytes, because `\xff` is one.
fn words(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    // A word exists as soon as it has begun, even with an empty pair of quotes.
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = after;
        match c {
            '\\' => {
                let (bytes, after) = unescaped(after).ok_or(
                    "a backslash begins an escape (as `\\\\`, `\\\"`, `\\x20`), and this one is none that systemd has",
                )?;
                word.get_or_insert_default().extend(bytes);
                rest = after;
            }
            '"' | '\'' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            _ if quote == Some(c) => quote = None,
            _ if quote.is_none() && BLANKS.contains(&c) => words.extend(word.take()),
            _ => word
                .get_or_insert_default()
                .extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    match quote {
        Some(quote) => Err(format!("a quotation that {quote} opens is not closed")),
        None => Ok(words.into_iter().chain(word).collect()),
    }
}

/// Returns the decoded escape after a backslash, and the text after it.
fn unescaped(text: &str) -> Option<(Vec<u8>, &str)> {
    let c = text.chars().next()?;
    let one = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        's' => b' ',
        '\\' | '"' | '\'' => c as u8,
        'x' => return number(&text[1..], 2, 16, |value| Some(vec![u8::try_from(value).ok()?])),
        '0'..='7' => return number(text, 3, 8, |value| Some(vec![u8::try_from(value).ok()?])),
        'u' => return number(&text[1..], 4, 16, character),
        'U' => return number(&text[1..], 8, 16, character),
        _ => return None,
    };
    Some((vec![one], &text[1..]))
}

fn character(value: u32) -> Option<Vec<u8>> {
    Some(char::from_u32(value)?.to_string().into_bytes())
}

/// Reads a number with this many digits, never 0.
fn number(text: &str, digits: usize, radix: u32, bytes: impl Fn(u32) -> Option<Vec<u8>>) -> Option<(Vec<u8>, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    if !number.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let value = u32::from_str_radix(number, radix).ok().filter(|&value| value != 0)?;
    Some((bytes(value)?, rest))
}

/// Decodes `%%` as a percent sign, and rejects `%x`, a systemd specifier. A `%` before anything but a letter or a digit
/// stays.
fn without_specifiers(value: &str) -> Result<String, String> {
    let mut read = String::new();
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        match next {
            Some('%') if c == '%' => drop(chars.next()),
            // The letter or digit is not shown: it may be part of a password.
            Some(next) if c == '%' && next.is_ascii_alphanumeric() => {
                return Err(
                    "systemd takes `%` and a letter or digit for a specifier; in a unit file a percent sign is \
                     written `%%`, also in a percent-encoded URL"
                        .to_owned(),
                );
            }
            _ => {}
        }
        read.push(c);
    }
    Ok(read)
}
