//! Secrets, and the spellings in which they could travel.

use std::collections::HashMap;

use base64::{
    Engine,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};

/// The shortest spelling that is searched for. Shorter ones would be found by chance.
const SHORTEST: usize = 8;

/// Searches bytes for secrets in every spelling.
#[derive(Default)]
pub struct Search {
    /// The spellings by their first bytes, each with the secret's name.
    spellings: HashMap<[u8; SHORTEST], Vec<(Vec<u8>, String)>>,
    /// True for the first bytes of a spelling, which are looked up before all others.
    starts: Starts,
}

struct Starts([bool; 1 << 16]);

impl Default for Starts {
    fn default() -> Self {
        Self([false; 1 << 16])
    }
}

impl Starts {
    fn at(&mut self, start: [u8; 2]) -> &mut bool {
        &mut self.0[usize::from(u16::from_ne_bytes(start))]
    }
}

impl Search {
    /// Adds a secret. `name` is for the error.
    pub fn add(&mut self, name: &str, secret: &[u8]) {
        for spelling in spellings(secret) {
            assert!(spelling.len() >= SHORTEST, "{name} is too short to be found");
            let start = *spelling.first_chunk().unwrap();
            *self.starts.at([spelling[0], spelling[1]]) = true;
            self.spellings
                .entry(start)
                .or_default()
                .push((spelling, name.to_owned()));
        }
    }

    /// Returns the name of a secret that the bytes contain.
    pub fn find(&self, bytes: &[u8]) -> Option<&str> {
        bytes.windows(SHORTEST).enumerate().find_map(|(at, window)| {
            if !self.starts.0[usize::from(u16::from_ne_bytes([window[0], window[1]]))] {
                return None;
            }
            let candidates = self.spellings.get(window)?;
            let found = candidates
                .iter()
                .find(|(spelling, _)| bytes[at..].starts_with(spelling))?;
            Some(&*found.1)
        })
    }
}

/// Returns the secret as it is; in base64 with both alphabets and at each offset within a longer text, without the
/// characters that depend on what is around it; percent-encoded, as far as necessary and wholly; and in hexadecimal.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![secret.to_vec()];
    for offset in 0..3 {
        let padded = [&[0; 2][..offset], secret].concat();
        // Each character has six bits. The first and the last may have some of a neighbour's.
        let (first, end) = ((offset * 8).div_ceil(6), padded.len() * 8 / 6);
        all.push(BASE64_STANDARD_NO_PAD.encode(&padded).as_bytes()[first..end].to_vec());
        all.push(BASE64_URL_SAFE_NO_PAD.encode(&padded).as_bytes()[first..end].to_vec());
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    for (is_whole, is_upper) in [(true, true), (true, false), (false, true), (false, false)] {
        let percent = |byte: &u8| match (!is_whole && is_plain(byte), is_upper) {
            (true, _) => vec![*byte],
            (false, true) => format!("%{byte:02X}").into_bytes(),
            (false, false) => format!("%{byte:02x}").into_bytes(),
        };
        all.push(secret.iter().flat_map(percent).collect());
    }
    all.push(
        secret
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into_bytes(),
    );
    all.push(
        secret
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect::<String>()
            .into_bytes(),
    );
    all.sort();
    all.dedup();
    all
}

#[test]
fn every_spelling_is_found() {
    let secret = b"s3cret/w@rd?>~";
    let mut search = Search::default();
    search.add("password", secret);
    let mut texts = vec![
        secret.to_vec(),
        b"s3cret%2Fw%40rd%3F%3E~".to_vec(),
        b"s3cret%2fw%40rd%3f%3e~".to_vec(),
    ];
    for before in ["", "u", "us", "user:"] {
        for after in ["", "x", "xy"] {
            let text = [before.as_bytes(), secret, after.as_bytes()].concat();
            texts.push(BASE64_STANDARD_NO_PAD.encode(&text).into_bytes());
            texts.push(BASE64_URL_SAFE_NO_PAD.encode(&text).into_bytes());
        }
    }
    texts.push(b"7333637265742f774072643f3e7e".to_vec());
    for text in texts {
        for text in [text.clone(), [b"Basic ", &*text, b"==\r\n"].concat()] {
            assert_eq!(search.find(&text), Some("password"), "{}", text.escape_ascii());
            assert_eq!(search.find(&text[..text.len() / 2]), None);
        }
    }
}
