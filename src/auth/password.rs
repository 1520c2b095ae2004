//! [`Password`]: a user name and a password, and the scheme in which the proxy wants them.
//!
//! Basic is sent unasked. If the proxy asks for Digest, the request that it asked answers with the nonce it got, and
//! once the proxy has accepted that, all requests use the nonce with a growing count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;

use super::{Challenge, Credentials, Schemes, digest::Digest};

/// A user name and a password.
pub(super) struct Password {
    credentials: Credentials,
    basic: HeaderValue,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The nonce that all requests use. `None` while the proxy has not asked for Digest.
    digest: Option<Arc<Digest>>,
    /// True if the proxy has accepted Basic, and no challenge is expected any more.
    is_settled: bool,
}

/// The credentials that a proxy refused.
#[derive(Clone, Copy)]
pub(super) enum Refused {
    Nothing,
    Basic,
    Digest {
        /// True if its nonce had not served before.
        is_first: bool,
    },
}

impl Password {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self {
            basic: credentials.to_basic(),
            credentials,
            state: Mutex::default(),
        }
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn basic(&self) -> &HeaderValue {
        &self.basic
    }

    pub(super) fn digest(&self) -> Option<Arc<Digest>> {
        self.lock().digest.clone()
    }

    pub(super) fn set_digest(&self, digest: Arc<Digest>) {
        self.lock().digest = Some(digest);
    }

    /// Notes that the proxy has accepted Basic.
    pub(super) fn settle(&self) {
        self.lock().is_settled = true;
    }

    pub(super) fn is_settled(&self) -> bool {
        let state = self.lock();
        state.is_settled && state.digest.is_none()
    }

    /// Returns what is better than the refused credentials: a nonce, or Basic. `None` if there is nothing.
    ///
    /// A password that was refused is not sent again in the same scheme, since that could lock an account.
    pub(super) fn better(
        &self,
        refused: Refused,
        challenges: &[Challenge],
        schemes: Schemes,
    ) -> Option<Option<Arc<Digest>>> {
        let offered = Digest::strongest(challenges);
        let offered = offered.filter(|_| schemes.digest && self.credentials.as_str().is_some());
        let offers_basic = challenges.iter().any(|one| one.scheme().eq_ignore_ascii_case("Basic"));
        match (refused, offered) {
            // The server says so, or it has forgotten a nonce that it knew.
            (Refused::Digest { is_first }, Some(offered)) if is_first && !offered.is_stale() => None,
            (_, Some(offered)) => Some(Some(Arc::new(offered))),
            // It wants Basic after all.
            (Refused::Digest { .. } | Refused::Nothing, None) if offers_basic && schemes.basic => {
                self.lock().digest = None;
                Some(None)
            }
            (_, None) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passwords are equal if the proxy cannot tell them apart.
impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.credentials == other.credentials
    }
}
