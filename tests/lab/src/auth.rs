//! Authentication, as proxies ask for it.
//!
//! An [`Auth`] looks at each request, and lets it pass or refuses it with challenges. It also decides about the
//! connection of a refusal, which some proxies close: with a word (Envoy), or without one (tinyproxy).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::lock;
use crate::request::Request;

type Check = Arc<dyn Fn(&Request) -> Result<(), Vec<String>> + Send + Sync>;

/// The authentication that a proxy asks for.
#[derive(Clone)]
pub struct Auth {
    check: Check,
    status: StatusCode,
    ending: Ending,
    page: usize,
}

/// The end of a connection after a refusal, in HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The connection stays open.
    Open,
    /// It is closed, as `Connection: close` says.
    Close,
    /// It is closed, as `Proxy-Connection: close` says.
    ProxyConnection,
    /// It is closed, and nothing says so.
    Silent,
}

impl Auth {
    /// Asks `check` about each request: it returns the challenges of a refusal. The answer is 407, and the connection
    /// stays open.
    pub fn new(check: impl Fn(&Request) -> Result<(), Vec<String>> + Send + Sync + 'static) -> Self {
        Self {
            check: Arc::new(check),
            status: StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            ending: Ending::Open,
            page: 0,
        }
    }

    /// Accepts one value of `Proxy-Authorization`.
    #[must_use]
    pub fn value(accepted: impl Into<String>, challenge: &str) -> Self {
        let (accepted, challenge) = (accepted.into(), challenge.to_owned());
        Self::new(move |request| match request.header(PROXY_AUTHORIZATION.as_str()) {
            Some(sent) if sent == accepted => Ok(()),
            _ => Err(vec![challenge.clone()]),
        })
    }

    /// Accepts a user name and a password in Basic.
    #[must_use]
    pub fn basic(user: &str, password: &str) -> Self {
        Self::value(basic(user, password), "Basic realm=\"lab\"")
    }

    /// Accepts these users after two rounds on one connection, and then all that comes on that connection, as NTLM
    /// does: `Rounds hello-USER` is answered with a token for this connection, and `Rounds USER TOKEN` is accepted.
    #[must_use]
    pub fn rounds(users: &[&str]) -> Self {
        #[derive(Clone, PartialEq)]
        enum State {
            Challenged(String),
            Accepted,
        }
        let users: Vec<_> = users.iter().map(|user| (*user).to_owned()).collect();
        let connections: Mutex<HashMap<usize, State>> = Mutex::default();
        Self::new(move |request| {
            let mut connections = lock(&connections);
            let state = connections.get(&request.connection).cloned();
            let sent = request.header(PROXY_AUTHORIZATION.as_str()).unwrap_or_default();
            let sent = sent.strip_prefix("Rounds ").unwrap_or_default();
            if let Some(user) = sent
                .strip_prefix("hello-")
                .filter(|user| users.iter().any(|one| one == user))
            {
                let token = format!("for-{user}-on-{}", request.connection);
                connections.insert(request.connection, State::Challenged(token.clone()));
                return Err(vec![format!("Rounds {token}")]);
            }
            match state {
                Some(State::Accepted) if sent.is_empty() => Ok(()),
                Some(State::Challenged(token)) if sent == format!("{token}==") => {
                    connections.insert(request.connection, State::Accepted);
                    Ok(())
                }
                _ => Err(vec!["Rounds".to_owned()]),
            }
        })
    }

    /// Refuses with 401 and `WWW-Authenticate`, as Envoy does.
    #[must_use]
    pub fn unauthorized(mut self) -> Self {
        self.status = StatusCode::UNAUTHORIZED;
        self
    }

    /// Sets the end of a connection after a refusal.
    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// Makes the page of a refusal this much longer.
    #[must_use]
    pub fn page(mut self, bytes: usize) -> Self {
        self.page = bytes;
        self
    }

    pub(crate) fn check(&self, request: &Request) -> Result<(), Refused> {
        (self.check)(request).map_err(|challenges| Refused {
            status: self.status,
            ending: self.ending,
            challenges,
            page: self.page,
        })
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("status", &self.status)
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}

/// A refusal.
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) ending: Ending,
    challenges: Vec<String>,
    page: usize,
}

impl Refused {
    /// Returns the header fields of the refusal. HTTP/2 has no connection to speak of.
    pub(crate) fn headers(&self, is_http2: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let name = match self.status {
            StatusCode::UNAUTHORIZED => WWW_AUTHENTICATE,
            _ => PROXY_AUTHENTICATE,
        };
        for challenge in &self.challenges {
            let challenge = HeaderValue::from_bytes(challenge.as_bytes()).expect("a challenge is a value");
            headers.append(&name, challenge);
        }
        let close = HeaderValue::from_static("close");
        match self.ending {
            _ if is_http2 => {}
            Ending::Close => drop(headers.insert(CONNECTION, close)),
            Ending::ProxyConnection => drop(headers.insert(HeaderName::from_static("proxy-connection"), close)),
            Ending::Open | Ending::Silent => {}
        }
        headers
    }

    /// Returns the page, which ends with [`END_OF_PAGE`].
    pub(crate) fn page(&self) -> String {
        format!(
            "the lab refuses (authentication): {}credentials {END_OF_PAGE}",
            "-".repeat(self.page)
        )
    }

    /// Returns true if the connection stays open.
    pub(crate) fn is_open(&self) -> bool {
        self.ending == Ending::Open
    }

    /// Returns true if the connection is to be closed by force after the page.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.ending, Ending::Silent | Ending::ProxyConnection)
    }
}

pub(crate) const END_OF_PAGE: &str = "are required\n";

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
