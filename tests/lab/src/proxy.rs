//! A forward proxy and its builder. `forward.rs` has its handling of a connection.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::Fault;
use crate::auth::Auth;
use crate::ca::Ca;
use crate::forward::{Proxy, Rules};
use crate::intercept::Interception;
use crate::listen::{Answer, Bind, Ledger, Listening, bind_setters};
use crate::script::Script;

/// A forward proxy on loopback. [`Listening`] has its record.
#[derive(Debug)]
pub struct ForwardProxy(Listening);

impl Deref for ForwardProxy {
    type Target = Listening;

    fn deref(&self) -> &Listening {
        &self.0
    }
}

impl ForwardProxy {
    /// Creates a builder of a proxy that serves everybody, without TLS, on `127.0.0.1`, unless changed.
    pub fn builder() -> ForwardProxyBuilder {
        ForwardProxyBuilder::default()
    }

    /// Returns the URL of the proxy, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_with("")
    }

    /// Returns [`url`](Self::url) with user information, `user:password@`.
    #[must_use]
    pub fn url_with(&self, userinfo: &str) -> String {
        format!("{}://{userinfo}{}", self.scheme(), self.authority())
    }
}

/// Makes a [`ForwardProxy`].
#[derive(Default)]
#[must_use]
pub struct ForwardProxyBuilder {
    bind: Bind,
    rules: Rules,
}

bind_setters!(ForwardProxyBuilder);

impl ForwardProxyBuilder {
    /// Requires these credentials. Without them the answer is 407, and the connection stays open.
    pub fn basic(mut self, user: &str, password: &str) -> Self {
        self.rules.auth = Some(Auth::basic(user, password));
        self
    }

    /// Asks for this authentication.
    pub fn auth(mut self, auth: Auth) -> Self {
        self.rules.auth = Some(auth);
        self
    }

    /// Sets the address of a target `host:port`. Any other name is `127.0.0.1`.
    pub fn map(mut self, authority: &str, addr: SocketAddr) -> Self {
        self.rules.targets.map(authority, addr);
        self
    }

    /// Answers 403 for this host.
    pub fn deny(mut self, host: &str) -> Self {
        self.rules.denied.push(host.to_ascii_lowercase());
        self
    }

    /// Calls [`on_connect`](Self::on_connect) with a ready-made script.
    pub fn fault(self, fault: Fault) -> Self {
        self.on_connect(fault)
    }

    /// Plays this script on each connection whose first request is a CONNECT, for every client and target. Other
    /// connections are served as usual.
    pub fn on_connect(mut self, script: impl Into<Script>) -> Self {
        self.rules.on_connect = Some(script.into());
        self
    }

    /// Opens tunnels and reads their content. The proxy ends the client's TLS with a certificate that `issuer` makes
    /// for the target, and trusts origins whose certificates `origins` issued. Requests inside are recorded after the
    /// CONNECT, as [`Kind::Origin`](crate::Kind::Origin).
    pub fn intercept(mut self, issuer: Arc<Ca>, origins: &Ca) -> Self {
        self.rules.intercept = Some(Interception::new(issuer, origins));
        self
    }

    /// Starts the proxy.
    ///
    /// # Panics
    ///
    /// If loopback cannot be listened on.
    pub async fn start(self) -> ForwardProxy {
        let ledger = Ledger::new();
        let proxy = Arc::new(Proxy {
            rules: self.rules,
            ledger: Arc::clone(&ledger),
        });
        let serve = Arc::new(move |io| Box::pin(Arc::clone(&proxy).serve(io)) as Answer);
        ForwardProxy(Listening::start(self.bind, ledger, serve).await)
    }
}

impl std::fmt::Debug for ForwardProxyBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForwardProxyBuilder")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
