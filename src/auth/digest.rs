//! [`Digest`]: answers one challenge of Digest authentication (RFC 7616), as often as its nonce is good for.
//!
//! `http-auth` computes. This file chooses among challenges.

use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{HeaderValue, Method};
use http_auth::{
    ChallengeRef, ParamValue, PasswordParams,
    digest::{Algorithm, DigestClient, Qop},
};

use super::{Challenge, Credentials, credentials::secret_value};

/// The answers to one challenge.
pub(super) struct Digest(Mutex<DigestClient>);

impl Digest {
    /// Creates the answers to the strongest of these challenges. `None` if there is no Digest challenge that can be
    /// answered.
    pub(super) fn strongest(challenges: &[Challenge]) -> Option<Self> {
        let clients = challenges.iter().filter_map(client);
        clients.max_by_key(strength).map(|client| Self(Mutex::new(client)))
    }

    /// Returns true if the challenge says that the nonce was refused, and not the password.
    pub(super) fn is_stale(&self) -> bool {
        self.lock().stale()
    }

    /// Returns the value of `Proxy-Authorization` for one request, and true if the nonce had not served before. `None`
    /// if the nonce can serve no more.
    pub(super) fn answer(&self, credentials: &Credentials, method: &Method, uri: &str) -> Option<(HeaderValue, bool)> {
        let (user, password) = credentials.as_str()?;
        let mut client = self.lock();
        let is_first = client.nonce_count() == 0;
        let response = client.respond(&PasswordParams {
            username: user,
            password,
            uri,
            method: method.as_str(),
            body: None,
        });
        Some((secret_value(response.ok()?.into_bytes())?, is_first))
    }

    fn lock(&self) -> MutexGuard<'_, DigestClient> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the answers to one challenge. `None` if it cannot be answered.
fn client(challenge: &Challenge) -> Option<DigestClient> {
    let escaped: Vec<_> = challenge
        .params()
        .map(|(name, value)| match name {
            "algorithm" => (name, usual_spelling(value)),
            _ => (name, value.replace('\\', "\\\\").replace('"', "\\\"")),
        })
        .collect();
    let mut reference = ChallengeRef::new(challenge.scheme());
    for (name, value) in &escaped {
        reference.params.push((name, ParamValue::try_from_escaped(value).ok()?));
    }
    let client = DigestClient::try_from(&reference).ok()?;
    // Without it, the body would have to be hashed.
    (client.qop() & Qop::Auth).then_some(client)
}

/// Returns an algorithm's name as RFC 7616 writes it. Servers use any case.
fn usual_spelling(algorithm: &str) -> String {
    algorithm.to_ascii_uppercase().replace("-SESS", "-sess")
}

/// Returns the strength of the hash. Of two equal challenges, `max_by_key` takes the last one.
fn strength(client: &DigestClient) -> u8 {
    match client.algorithm() {
        Algorithm::Md5 => 0,
        Algorithm::Sha256 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenges(field: &str) -> Vec<Challenge> {
        super::super::parse_challenges([&HeaderValue::from_str(field).unwrap()])
    }

    fn answer(field: &str, times: usize) -> (String, bool) {
        let credentials = Credentials::parse("Mufasa:Circle%20of%20Life").unwrap();
        let digest = Digest::strongest(&challenges(field)).unwrap();
        let answers = (0..times).map(|_| digest.answer(&credentials, &Method::CONNECT, "a.test:443").unwrap());
        let (value, is_first) = answers.last().unwrap();
        (value.to_str().unwrap().to_owned(), is_first)
    }

    #[test]
    fn the_strongest_challenge_is_answered() {
        let offered = r#"Digest realm="a, \"b\"", nonce="n1", qop="auth", algorithm=MD5, Basic realm="x", Digest realm="c", nonce="n2", qop="auth,auth-int", algorithm=SHA-256, opaque="o""#;
        let (answer, is_first) = answer(offered, 1);
        assert!(is_first);
        for part in [
            "Digest username=\"Mufasa\"",
            "realm=\"c\"",
            "uri=\"a.test:443\"",
            "nonce=\"n2\"",
            "algorithm=SHA-256",
            "nc=00000001",
            "qop=auth",
            "opaque=\"o\"",
        ] {
            assert!(answer.contains(part), "{part} in {answer}");
        }
    }

    #[test]
    fn a_nonce_serves_with_a_growing_count() {
        let (answer, is_first) = answer(r#"Digest realm="a", nonce="n", qop="auth""#, 3);
        assert!(answer.contains("nc=00000003") && !is_first, "{answer}");
    }

    #[test]
    fn what_cannot_be_answered_is_no_challenge() {
        for offered in [
            "Basic realm=\"a\"",
            "Digest nonce=\"n\"",
            r#"Digest realm="a", nonce="n", qop="auth-int""#,
            r#"Digest realm="a", nonce="n", qop="auth", algorithm=SHA3-512"#,
        ] {
            assert!(Digest::strongest(&challenges(offered)).is_none(), "{offered}");
        }
    }
}
