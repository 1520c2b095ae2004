//! [`Authenticator`]: authenticates requests to one proxy. No other file makes a `Proxy-Authorization` value.

use std::{
    hash::{Hash, Hasher},
    sync::OnceLock,
};

use http::HeaderValue;

use super::{Credentials, echo::hide};

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

    /// Hides the credentials, in any spelling, in a text that the proxy sent back.
    pub(crate) fn redact(&self, text: &[u8]) -> Vec<u8> {
        let password = self.credentials.as_ref().and_then(|one| one.password.as_deref());
        let token = self
            .authorization()
            .and_then(|value| value.as_bytes().strip_prefix(b"Basic "));
        // An echo may lack the padding.
        let token = token.and_then(|token| token.split(|byte| *byte == b'=').next());
        // Hiding one or two characters would garble the words of the explanation.
        let secrets = [token, password]
            .into_iter()
            .flatten()
            .filter(|secret| secret.len() > 2);
        secrets.fold(text.to_vec(), |text, secret| hide(&text, secret))
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
