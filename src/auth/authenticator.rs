//! [`Authenticator`]: authenticates requests to one proxy. No other file makes a `Proxy-Authorization` value.

use std::{
    hash::{Hash, Hasher},
    sync::OnceLock,
};

use http::HeaderValue;

use super::Credentials;

/// Authenticates requests to one proxy.
#[derive(Debug)]
pub(crate) struct Authenticator {
    credentials: Option<Credentials>,
    /// Built for the first request, so that later requests do not allocate it.
    basic: OnceLock<HeaderValue>,
}

impl Authenticator {
    pub(crate) fn new(credentials: Option<Credentials>) -> Self {
        Self {
            credentials,
            basic: OnceLock::new(),
        }
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Returns the value of `Proxy-Authorization` for a request that is about to be sent; `None` without credentials.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        let credentials = self.credentials.as_ref()?;
        Some(self.basic.get_or_init(|| credentials.to_basic()))
    }

    /// Hides the credentials, encoded or not, in a text that the proxy sent back.
    pub(crate) fn redact(&self, text: &[u8]) -> Vec<u8> {
        let password = self.credentials.as_ref().and_then(|one| one.password.as_deref());
        // Hiding a password of one or two characters would garble the words of the explanation.
        let password = password.filter(|password| password.len() > 2);
        let token = self
            .authorization()
            .and_then(|value| value.as_bytes().strip_prefix(b"Basic "));
        let mut text = text.to_vec();
        for secret in [token, password].into_iter().flatten() {
            hide(&mut text, secret);
        }
        text
    }
}

/// Authenticators are equal if they send the same credentials.
impl PartialEq for Authenticator {
    fn eq(&self, other: &Self) -> bool {
        self.credentials == other.credentials
    }
}

impl Eq for Authenticator {}

impl Hash for Authenticator {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.credentials.hash(state);
    }
}

fn hide(text: &mut Vec<u8>, secret: &[u8]) {
    let mut from = 0;
    while let Some(at) = text[from..].windows(secret.len()).position(|window| window == secret) {
        text.splice(from + at..from + at + secret.len(), *b"***");
        from += at + 3;
    }
    // A secret that is cut off at the end still reveals a part of itself.
    let part = (4..secret.len())
        .rev()
        .find(|length| text.ends_with(&secret[..*length]));
    if let Some(length) = part {
        text.truncate(text.len() - length);
        text.extend_from_slice(b"***");
    }
}
