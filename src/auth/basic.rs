//! HTTP Basic authentication (RFC 7617): a user name and a password, sent with the first request.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::OnceLock,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use percent_encoding::percent_decode_str;

/// A user name and a password.
///
/// `Display` and `Debug` never show the password.
#[derive(Clone)]
pub struct Credentials {
    user: Vec<u8>,
    password: Option<Vec<u8>>,
}

impl Credentials {
    /// Percent-decodes both parts of `user[:password]`.
    pub(crate) fn parse(userinfo: &str) -> Result<Self, &'static str> {
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        let user: Vec<u8> = percent_decode_str(user).collect();
        let password: Option<Vec<u8>> = password.map(|password| percent_decode_str(password).collect());
        if user.contains(&b':') {
            return Err("the user name contains a `:`, which Basic authentication cannot carry (RFC 7617)");
        }
        if user.iter().chain(password.iter().flatten()).any(u8::is_ascii_control) {
            return Err("the user name or password contains a control character (RFC 7617)");
        }
        Ok(Self { user, password })
    }

    #[cfg(feature = "serde")]
    pub(crate) fn user(&self) -> &[u8] {
        &self.user
    }

    #[cfg(feature = "serde")]
    pub(crate) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Returns the user name and the password. Basic authentication treats a missing password as an empty one.
    fn pair(&self) -> (&[u8], &[u8]) {
        (&self.user, self.password.as_deref().unwrap_or_default())
    }

    /// Returns `Basic base64(user:password)`, marked sensitive.
    fn to_header(&self) -> HeaderValue {
        let (user, password) = self.pair();
        let token = BASE64_STANDARD.encode([user, password].join(&b':'));
        let mut header = match HeaderValue::try_from(format!("Basic {token}")) {
            Ok(header) => header,
            Err(_) => unreachable!("base64 is visible ASCII"),
        };
        header.set_sensitive(true);
        header
    }
}

/// Credentials are equal if a proxy cannot tell them apart.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.pair() == other.pair()
    }
}

impl Eq for Credentials {}

impl Hash for Credentials {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pair().hash(state);
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.user).escape_debug())?;
        match self.password {
            Some(_) => f.write_str(":***"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({self})")
    }
}

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
        Some(self.basic.get_or_init(|| credentials.to_header()))
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
