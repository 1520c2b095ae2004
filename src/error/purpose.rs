//! Requests whose purpose does not allow the route that the settings leave them.

use std::fmt;

use crate::target::Scheme;

/// A request that has to go through a proxy ([`ProxyUse::Always`](crate::ProxyUse::Always)), where none is set.
///
/// It is not sent directly instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurposeError {
    purpose: Option<String>,
    scheme: Scheme,
}

impl PurposeError {
    pub(crate) fn new(purpose: Option<String>, scheme: Scheme) -> Self {
        Self { purpose, scheme }
    }

    /// What the request is for; `None` for one without a purpose.
    #[must_use]
    pub fn purpose(&self) -> Option<&str> {
        self.purpose.as_deref()
    }
}

impl fmt::Display for PurposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.purpose {
            Some(purpose) => write!(f, "purpose {purpose} ")?,
            None => f.write_str("a request without a purpose ")?,
        }
        let scheme = self.scheme.as_str();
        write!(f, "always goes through a proxy, and none is set for {scheme} targets")
    }
}

impl std::error::Error for PurposeError {}
