//! Digest authentication, from the server's side (RFC 7616).
//!
//! It is written from the RFC, and shares nothing with a client's implementation but the hashes. It issues nonces,
//! checks every part of an answer, counts, and keeps a record of the answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::{Method, Version};
use md5::Md5;
use sha2::digest::Digest as _;
use sha2::{Sha256, Sha512_256};

use crate::auth::{Auth, basic};
use crate::lock;
use crate::request::Request;

const REALM: &str = "lab \"digest\"";
const OPAQUE: &str = "a\\b,c=";

/// A server's side of Digest. Clones share nonces and record.
#[derive(Debug, Clone)]
pub struct DigestAuth(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    rules: Rules,
    state: Mutex<State>,
}

#[derive(Debug, Clone)]
struct Rules {
    user: String,
    password: String,
    realm: String,
    algorithms: Vec<&'static str>,
    qop: Option<&'static str>,
    hashes_user: bool,
    most_uses: usize,
    offers_basic: bool,
    accepts_basic: bool,
    in_order: bool,
}

#[derive(Debug, Default)]
struct State {
    issued: usize,
    nonces: HashMap<String, Vec<u32>>,
    answers: Vec<DigestAnswer>,
}

/// An answer to a challenge.
#[derive(Debug, Clone)]
pub struct DigestAnswer {
    /// The connection that it came on.
    pub connection: usize,
    /// The version of the request.
    pub version: Version,
    /// The method of the request.
    pub method: Method,
    /// The digest-uri.
    pub uri: String,
    /// The nonce.
    pub nonce: String,
    /// The nonce count. Zero if there was none.
    pub count: u32,
    /// The algorithm. Empty if there was none.
    pub algorithm: String,
    /// The header field's value.
    pub value: String,
    /// The reason why it was refused: `None` if it was not.
    pub fault: Option<String>,
}

impl DigestAuth {
    /// Asks for MD5 with `qop="auth"`, and counts.
    #[must_use]
    pub fn new(user: &str, password: &str) -> Self {
        Self::of(Rules {
            user: user.to_owned(),
            password: password.to_owned(),
            realm: REALM.to_owned(),
            algorithms: vec!["MD5"],
            qop: Some("auth"),
            hashes_user: false,
            most_uses: usize::MAX,
            offers_basic: false,
            accepts_basic: false,
            in_order: true,
        })
    }

    fn of(rules: Rules) -> Self {
        Self(Arc::new(Shared {
            rules,
            state: Mutex::default(),
        }))
    }

    fn with(&self, change: impl FnOnce(&mut Rules)) -> Self {
        let mut rules = self.0.rules.clone();
        change(&mut rules);
        Self::of(rules)
    }

    /// Offers these algorithms, each in a challenge of its own.
    #[must_use]
    pub fn algorithms(self, algorithms: &[&'static str]) -> Self {
        self.with(|rules| rules.algorithms = algorithms.to_vec())
    }

    /// Offers this `qop`, or none, as servers before RFC 2617 do.
    #[must_use]
    pub fn qop(self, qop: Option<&'static str>) -> Self {
        self.with(|rules| rules.qop = qop)
    }

    /// Sets the realm, as it is before it is quoted.
    #[must_use]
    pub fn realm(self, realm: &str) -> Self {
        self.with(|rules| rules.realm = realm.to_owned())
    }

    /// Wants the user's name hashed.
    #[must_use]
    pub fn userhash(self) -> Self {
        self.with(|rules| rules.hashes_user = true)
    }

    /// Takes each nonce so often at most. After that it is stale.
    #[must_use]
    pub fn most_uses(self, uses: usize) -> Self {
        self.with(|rules| rules.most_uses = uses)
    }

    /// Offers Basic before the others, and accepts it or not.
    #[must_use]
    pub fn with_basic(self, accepts: bool) -> Self {
        self.with(|rules| (rules.offers_basic, rules.accepts_basic) = (true, accepts))
    }

    /// Takes the counts of one nonce in any order. By default, one that comes late is stale, as in Squid.
    #[must_use]
    pub fn in_any_order(self) -> Self {
        self.with(|rules| rules.in_order = false)
    }

    /// Returns the check for a proxy.
    #[must_use]
    pub fn auth(&self) -> Auth {
        let this = self.clone();
        Auth::new(move |request| this.check(request))
    }

    /// Returns every answer so far.
    #[must_use]
    pub fn answers(&self) -> Vec<DigestAnswer> {
        lock(&self.0.state).answers.clone()
    }

    /// Returns the answers that were accepted.
    #[must_use]
    pub fn accepted(&self) -> Vec<DigestAnswer> {
        let mut answers = self.answers();
        answers.retain(|answer| answer.fault.is_none());
        answers
    }

    /// Forgets all nonces, which are stale from now on.
    pub fn forget(&self) {
        lock(&self.0.state).nonces.clear();
    }

    /// Checks a request, and returns the challenges of a refusal.
    ///
    /// # Errors
    ///
    /// The request has no answer that is right.
    pub fn check(&self, request: &Request) -> Result<(), Vec<String>> {
        let Shared { rules, state } = &*self.0;
        let mut state = lock(state);
        let Some(sent) = request.headers.get("proxy-authorization") else {
            return Err(self.challenges(&mut state, false));
        };
        let sent = String::from_utf8_lossy(sent.as_bytes()).into_owned();
        if rules.accepts_basic && sent == basic(&rules.user, &rules.password) {
            return Ok(());
        }
        let Some(fields) = sent.strip_prefix("Digest ").map(fields) else {
            return Err(self.challenges(&mut state, false));
        };
        let get = |name: &str| fields.get(name).cloned().unwrap_or_default();
        let count = u32::from_str_radix(&get("nc"), 16).unwrap_or_default();
        let mut answer = DigestAnswer {
            connection: request.connection,
            version: request.version,
            method: request.method.clone(),
            uri: get("uri"),
            nonce: get("nonce"),
            count,
            algorithm: get("algorithm"),
            value: sent.clone(),
            fault: None,
        };
        let wrong = rules.wrong(request, &fields);
        let (fault, is_stale) = match (wrong, state.nonces.get_mut(&answer.nonce)) {
            (Some(wrong), _) => (Some(wrong), false),
            (None, None) => (Some("unknown nonce".to_owned()), true),
            (None, Some(_)) if rules.qop.is_none() => (None, false),
            (None, Some(counts)) if counts.contains(&count) => (Some("replayed count".to_owned()), false),
            (None, Some(counts)) if counts.len() >= rules.most_uses => (Some("used up".to_owned()), true),
            (None, Some(counts)) if rules.in_order && counts.iter().any(|one| *one > count) => {
                (Some("late count".to_owned()), true)
            }
            (None, Some(counts)) => {
                counts.push(count);
                (None, false)
            }
        };
        answer.fault.clone_from(&fault);
        state.answers.push(answer);
        match fault {
            None => Ok(()),
            Some(_) => Err(self.challenges(&mut state, is_stale)),
        }
    }

    fn challenges(&self, state: &mut State, is_stale: bool) -> Vec<String> {
        let rules = &self.0.rules;
        state.issued += 1;
        let nonce = format!("nonce-{}/+=", state.issued);
        state.nonces.insert(nonce.clone(), Vec::new());
        let stale = if is_stale { ", stale=true" } else { "" };
        let qop = rules.qop.map(|qop| format!(", qop=\"{qop}\"")).unwrap_or_default();
        let userhash = if rules.hashes_user { ", userhash=true" } else { "" };
        let digests = rules.algorithms.iter().map(|algorithm| {
            format!(
                "Digest realm=\"{}\", nonce=\"{nonce}\", opaque=\"{}\", algorithm={algorithm}{qop}{userhash}{stale}",
                quoted(&rules.realm),
                quoted(OPAQUE)
            )
        });
        let basic = rules.offers_basic.then(|| "Basic realm=\"lab\"".to_owned());
        basic.into_iter().chain(digests).collect()
    }
}

impl Rules {
    /// Returns what is wrong with an answer, except for its nonce.
    fn wrong(&self, request: &Request, fields: &HashMap<String, String>) -> Option<String> {
        let get = |name: &str| fields.get(name).map(String::as_str);
        let has_qop = self.qop.is_some();
        let algorithm = get("algorithm").unwrap_or("MD5");
        if !self.algorithms.iter().any(|one| one.eq_ignore_ascii_case(algorithm)) {
            return Some(format!("algorithm {algorithm}"));
        }
        let user = match (self.hashes_user, get("username*")) {
            (true, _) => {
                (get("username") == Some(&hash(algorithm, &[&self.user, &self.realm])))
                    && get("userhash") == Some("true")
            }
            (false, Some(extended)) => {
                get("username").is_none() && extended.strip_prefix("UTF-8''").map(decoded).as_ref() == Some(&self.user)
            }
            (false, None) => get("username") == Some(&self.user),
        };
        if !user {
            return Some("user name".to_owned());
        }
        let (nonce, count, cnonce) = (get("nonce")?, get("nc"), get("cnonce"));
        let expected = [
            ("realm", Some(self.realm.as_str())),
            ("uri", Some(request.target.as_str())),
            ("opaque", Some(OPAQUE)),
            ("qop", has_qop.then_some("auth")),
        ];
        for (name, value) in expected {
            if get(name) != value {
                return Some(format!("{name} {:?} in place of {value:?}", get(name)));
            }
        }
        if has_qop != (cnonce.is_some_and(|cnonce| cnonce.len() >= 8) && count.is_some_and(|count| count.len() == 8)) {
            return Some("cnonce or count".to_owned());
        }
        let response = response(&Answer {
            algorithm,
            user: &self.user,
            realm: &self.realm,
            password: &self.password,
            method: request.method.as_str(),
            uri: &request.target,
            nonce,
            counted: count.zip(cnonce),
        });
        (get("response") != Some(&response)).then(|| "response".to_owned())
    }
}

/// The parts of an answer.
struct Answer<'a> {
    algorithm: &'a str,
    user: &'a str,
    realm: &'a str,
    password: &'a str,
    method: &'a str,
    uri: &'a str,
    nonce: &'a str,
    /// `nc` and `cnonce`.
    counted: Option<(&'a str, &'a str)>,
}

/// Returns the response, by sections 3.4.1 to 3.4.3.
fn response(answer: &Answer<'_>) -> String {
    let h = |parts: &[&str]| hash(answer.algorithm, parts);
    let mut a1 = h(&[answer.user, answer.realm, answer.password]);
    if answer.algorithm.to_ascii_lowercase().ends_with("-sess") {
        let cnonce = answer.counted.map_or("", |(_, cnonce)| cnonce);
        a1 = h(&[&a1, answer.nonce, cnonce]);
    }
    let a2 = h(&[answer.method, answer.uri]);
    match answer.counted {
        Some((count, cnonce)) => h(&[&a1, answer.nonce, count, cnonce, "auth", &a2]),
        None => h(&[&a1, answer.nonce, &a2]),
    }
}

/// Returns the hash of these parts with colons between them, in hexadecimal digits.
pub(crate) fn hash(algorithm: &str, parts: &[&str]) -> String {
    let text = parts.join(":");
    let algorithm = algorithm.to_ascii_uppercase();
    let bytes = match algorithm.trim_end_matches("-SESS") {
        "MD5" => Md5::digest(text).to_vec(),
        "SHA-256" => Sha256::digest(text).to_vec(),
        "SHA-512-256" => Sha512_256::digest(text).to_vec(),
        other => panic!("no algorithm {other}"),
    };
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Returns the fields of a value: `name=token` or `name="quoted"`, with commas between them.
fn fields(value: &str) -> HashMap<String, String> {
    let mut fields = HashMap::new();
    let mut chars = value.chars().peekable();
    loop {
        while chars.next_if(|c| *c == ' ' || *c == ',').is_some() {}
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=') {
            name.push(c);
        }
        if chars.next().is_none() {
            return fields;
        }
        let mut value = String::new();
        if chars.next_if_eq(&'"').is_some() {
            while let Some(c) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => value.extend(chars.next()),
                    c => value.push(c),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                value.push(c);
            }
        }
        let was = fields.insert(name.to_ascii_lowercase(), value);
        assert!(was.is_none(), "`{name}` twice");
    }
}

/// Percent-decodes a text.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        match (first, others) {
            (b'%', [a, b, others @ ..]) => {
                let digits = [*a, *b];
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                bytes.push(u8::from_str_radix(digits, 16).unwrap_or_default());
                rest = others;
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 3.9.1 of the RFC. Its example in section 3.9.2 is wrong (erratum 4897).
    #[test]
    fn responses_are_those_of_the_rfc() {
        for (algorithm, expected) in [
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ] {
            let response = response(&Answer {
                algorithm,
                user: "Mufasa",
                realm: "http-auth@example.org",
                password: "Circle of Life",
                method: "GET",
                uri: "/dir/index.html",
                nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                counted: Some(("00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")),
            });
            assert_eq!(response, expected);
        }
    }

    #[test]
    fn fields_are_read() {
        let read = fields("username=\"a \\\"b\\\"\", nc=00000001,qop=auth, uri=\"a.test:443\"");
        assert_eq!(read["username"], "a \"b\"");
        assert_eq!(
            (&*read["nc"], &*read["qop"], &*read["uri"]),
            ("00000001", "auth", "a.test:443")
        );
        assert_eq!(decoded("J%C3%A4s%20x"), "Jäs x");
    }
}
