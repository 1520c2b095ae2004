//! [`Secret`]: memory that is wiped before it is freed. No other file makes a secret header value.
//!
//! A buffer that grows is freed at its old place as it is, so that whatever has a secret is allocated at its full
//! length.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    ops::Deref,
};

use bytes::Bytes;
use http::HeaderValue;
use zeroize::{Zeroize, Zeroizing};

/// Bytes that are wiped when they are dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

/// Text that is wiped when it is dropped.
#[derive(Clone, Default)]
pub(crate) struct SecretText(Zeroizing<String>);

impl Secret {
    /// Collects at most this many bytes.
    pub(crate) fn collect(most: usize, bytes: impl IntoIterator<Item = u8>) -> Self {
        let mut collected = Vec::with_capacity(most);
        collected.extend(bytes.into_iter().take(most));
        Self(Zeroizing::new(collected))
    }

    /// Returns these bytes as a header value, marked sensitive: no library shows it, or keeps it to compress later
    /// ones (RFC 7541 7.1.3). `None` if they are not allowed in one.
    pub(crate) fn into_header_value(self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(self)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        text.as_bytes().to_vec().into()
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Secret {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Deref for SecretText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The value of a variable, which is wiped when it is dropped.
#[derive(Clone)]
pub(crate) struct SecretOs(OsString);

impl From<OsString> for SecretOs {
    fn from(value: OsString) -> Self {
        Self(value)
    }
}

impl Deref for SecretOs {
    type Target = OsStr;

    fn deref(&self) -> &OsStr {
        &self.0
    }
}

impl AsRef<OsStr> for SecretOs {
    fn as_ref(&self) -> &OsStr {
        &self.0
    }
}

impl Drop for SecretOs {
    fn drop(&mut self) {
        std::mem::take(&mut self.0).into_encoded_bytes().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_value_is_sensitive_and_shown_by_nobody() {
        let value = Secret::from("Basic s3cret").into_header_value().unwrap();
        assert!(value.is_sensitive());
        assert_eq!(
            (format!("{value:?}"), value.as_bytes()),
            ("Sensitive".to_owned(), &b"Basic s3cret"[..])
        );
        assert_eq!(format!("{:?}", Secret::from("s3cret")), "Secret(..)");
        assert!(Secret::from("line\r\nbreak").into_header_value().is_none());
    }

    #[test]
    fn nothing_is_collected_beyond_the_most() {
        let collected = Secret::collect(3, *b"abcdef");
        assert_eq!((&*collected, collected.0.capacity()), (&b"abc"[..], 3));
    }
}
