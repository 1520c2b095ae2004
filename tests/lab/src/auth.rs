//! Authentication, as proxies ask for it.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::PROXY_AUTHORIZATION;

use crate::request::Request;

type Check = Arc<dyn Fn(&Request) -> Result<(), Vec<String>> + Send + Sync>;

/// The authentication that a proxy asks for.
#[derive(Clone)]
pub struct Auth(Check);

impl Auth {
    /// Asks `check` about each request: it returns the challenges of a refusal. The answer is 407, and the connection
    /// stays open.
    pub fn new(check: impl Fn(&Request) -> Result<(), Vec<String>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// Accepts a user name and a password in Basic.
    #[must_use]
    pub fn basic(user: &str, password: &str) -> Self {
        let accepted = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Self::new(move |request| match request.header(PROXY_AUTHORIZATION.as_str()) {
            Some(sent) if sent == accepted => Ok(()),
            _ => Err(vec!["Basic realm=\"lab\"".to_owned()]),
        })
    }

    pub(crate) fn check(&self, request: &Request) -> Result<(), Vec<String>> {
        (self.0)(request)
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}
