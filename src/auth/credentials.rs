//! [`Credentials`]: a user name and a password, and their form in Basic authentication (RFC 7617).

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use base64::{Engine, encoded_len, prelude::BASE64_STANDARD};
use http::HeaderValue;
#[cfg(feature = "serde")]
use percent_encoding::PercentEncode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Every byte but the unreserved characters of a URI (RFC 3986, section 2.3).
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A user name and a password.
///
/// `Display` and `Debug` never show the password. Both are wiped from memory when they are dropped.
#[derive(Clone)]
pub struct Credentials {
    user: Secret,
    pub(super) password: Option<Secret>,
}

impl Credentials {
    /// Creates credentials of a user name and a password.
    ///
    /// # Errors
    ///
    /// The user name has a colon, or one of the two has a control character: Basic authentication cannot carry them
    /// (RFC 7617).
    pub fn new(user: &str, password: &str) -> Result<Self, CredentialsError> {
        Self::checked(user.into(), Some(password.into())).map_err(CredentialsError)
    }

    /// Percent-decodes both parts of `user[:password]`.
    pub(crate) fn parse(userinfo: &str) -> Result<Self, &'static str> {
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        let decode = |text: &str| Secret::collect(text.len(), percent_decode_str(text));
        Self::checked(decode(user), password.map(decode))
    }

    fn checked(user: Secret, password: Option<Secret>) -> Result<Self, &'static str> {
        if user.contains(&b':') {
            return Err("the user name contains a `:`, which Basic authentication cannot carry (RFC 7617)");
        }
        if user
            .iter()
            .chain(password.as_deref().unwrap_or_default())
            .any(u8::is_ascii_control)
        {
            return Err("the user name or password contains a control character (RFC 7617)");
        }
        Ok(Self { user, password })
    }

    /// Returns `user[:password]`, with the password. [`parse`](Self::parse) reads the same credentials from it.
    pub(crate) fn to_userinfo(&self) -> Zeroizing<String> {
        let (user, password) = self.pair();
        // An encoded byte has three characters.
        let mut userinfo = Zeroizing::new(String::with_capacity(3 * (user.len() + password.len()) + 1));
        userinfo.extend(percent_encode(user, NOT_UNRESERVED));
        if let Some(password) = &self.password {
            userinfo.push(':');
            userinfo.extend(percent_encode(password, NOT_UNRESERVED));
        }
        userinfo
    }

    /// Returns the user name as a URI has it.
    #[cfg(feature = "serde")]
    pub(crate) fn encoded_user(&self) -> PercentEncode<'_> {
        percent_encode(&self.user, NOT_UNRESERVED)
    }

    #[cfg(feature = "serde")]
    pub(crate) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Returns the user name and the password. Basic authentication treats a missing password as an empty one.
    fn pair(&self) -> (&[u8], &[u8]) {
        (&self.user, self.password.as_deref().unwrap_or_default())
    }

    /// Returns the user name and the password as text. `None` if they are not Unicode, which Digest is written in.
    pub(super) fn as_str(&self) -> Option<(&str, &str)> {
        let (user, password) = self.pair();
        Some((std::str::from_utf8(user).ok()?, std::str::from_utf8(password).ok()?))
    }

    /// Returns `Basic base64(user:password)`, marked sensitive.
    pub(super) fn to_basic(&self) -> HeaderValue {
        let (user, password) = self.pair();
        let pair = Secret::from([user, password].join(&b':'));
        let mut value = b"Basic ".to_vec();
        let scheme = value.len();
        // At its full length, while there is no secret in it.
        value.resize(scheme + encoded_len(pair.len(), true).unwrap_or_default(), 0);
        match BASE64_STANDARD.encode_slice(&pair, &mut value[scheme..]) {
            Ok(_) => {}
            Err(_) => unreachable!("the token has this length"),
        }
        match secret_value(value) {
            Some(value) => value,
            None => unreachable!("base64 is visible ASCII"),
        }
    }
}

/// Returns a value that no library may show, and that is wiped when it is dropped.
pub(super) fn secret_value(bytes: Vec<u8>) -> Option<HeaderValue> {
    Secret::from(bytes).into_header_value()
}

/// A user name or password that cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialsError(&'static str);

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for CredentialsError {}

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
