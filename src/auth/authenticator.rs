//! [`Authenticator`]: the credentials in one proxy's address, and their account.

use std::hash::{Hash, Hasher};

use super::{Account, Credentials};

/// The credentials in one proxy's address.
#[derive(Debug)]
pub(crate) struct Authenticator {
    credentials: Option<Credentials>,
    account: Account,
}

impl Authenticator {
    pub(crate) fn new(credentials: Option<Credentials>) -> Self {
        Self {
            account: Account::fixed(credentials.clone()),
            credentials,
        }
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }
}

/// Authenticators are equal if they have the same credentials.
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
