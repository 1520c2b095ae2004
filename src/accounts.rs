//! [`Accounts`]: the accounts for which a credentials provider answers, one for each proxy.

use std::{
    collections::HashMap,
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    auth::{Account, Provider, ProxyAddress},
    config::ProxyServer,
};

/// The number of proxies from which accounts that nobody uses are forgotten.
const MANY: usize = 256;

/// The accounts of a provider.
pub(crate) struct Accounts {
    provider: Provider,
    by_proxy: Mutex<HashMap<ProxyServer, Arc<Account>>>,
}

impl Accounts {
    pub(crate) fn new(provider: Provider) -> Self {
        Self {
            provider,
            by_proxy: Mutex::default(),
        }
    }

    /// Returns the account of a proxy, which no other one shares.
    pub(crate) fn of(&self, proxy: &ProxyServer) -> Arc<Account> {
        let mut by_proxy = self.by_proxy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = by_proxy.get(proxy) {
            return account.clone();
        }
        if by_proxy.len() >= MANY {
            by_proxy.retain(|_, account| Arc::strong_count(account) > 1);
        }
        let address = ProxyAddress {
            url: proxy.url(),
            host: proxy.host(),
            credentials: proxy.credentials().cloned(),
        };
        let account = Arc::new(Account::provided(self.provider.clone(), address));
        by_proxy.insert(proxy.clone(), account.clone());
        account
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

/// The account of one proxy.
pub(crate) enum AccountOf<'p> {
    /// That of the credentials in its address.
    Address(&'p Account),
    Provider(Arc<Account>),
}

impl Deref for AccountOf<'_> {
    type Target = Account;

    fn deref(&self) -> &Account {
        match self {
            Self::Address(account) => account,
            Self::Provider(account) => account,
        }
    }
}
