//! A proxy that follows a script: [`ScriptedProxy`] reads one request head from each connection, whatever its content,
//! and plays a [`Script`]. The forward proxy also plays scripts, but only for CONNECT
//! ([`ForwardProxyBuilder::on_connect`](crate::ForwardProxyBuilder::on_connect)).

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::listen::{Answer, Bind, Ledger, Listening, bind_setters};
use crate::script::{Script, read_head};
use crate::target::Targets;
use crate::tee::Recorded;

/// A proxy on loopback that plays a [`Script`]. [`Listening`] has its record.
#[derive(Debug)]
pub struct ScriptedProxy(Listening);

impl Deref for ScriptedProxy {
    type Target = Listening;

    fn deref(&self) -> &Listening {
        &self.0
    }
}

impl ScriptedProxy {
    /// Starts a proxy without TLS on `127.0.0.1` that plays this script on every connection.
    pub async fn start(script: impl Into<Script>) -> Self {
        Self::builder().script(script).start().await
    }

    /// Creates a builder for other kinds of scripted proxies.
    pub fn builder() -> ScriptedProxyBuilder {
        ScriptedProxyBuilder::default()
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

/// Makes a [`ScriptedProxy`].
#[derive(Default)]
#[must_use]
pub struct ScriptedProxyBuilder {
    bind: Bind,
    scripts: Vec<Script>,
    targets: Targets,
}

bind_setters!(ScriptedProxyBuilder);

impl ScriptedProxyBuilder {
    /// Adds the script of the next connection. The last script also applies to all later connections.
    pub fn script(mut self, script: impl Into<Script>) -> Self {
        self.scripts.push(script.into());
        self
    }

    /// Sets the address to which [`Step::Tunnel`](crate::Step::Tunnel) connects for a target `host:port`.
    pub fn map(mut self, authority: &str, addr: SocketAddr) -> Self {
        self.targets.map(authority, addr);
        self
    }

    /// Starts the proxy.
    ///
    /// # Panics
    ///
    /// If loopback cannot be listened on.
    pub async fn start(self) -> ScriptedProxy {
        let Self { bind, scripts, targets } = self;
        let ledger = Ledger::new();
        let state = Arc::new((scripts, targets, Arc::clone(&ledger)));
        let serve = Arc::new(move |mut io: Recorded| {
            let state = Arc::clone(&state);
            Box::pin(async move {
                let (scripts, targets, ledger) = &*state;
                let script = scripts.get(io.record().id()).or(scripts.last());
                if let (Some(script), Ok(Some(head))) = (script, read_head(&mut io).await) {
                    let _ = script.play(io, head, targets, ledger).await;
                }
            }) as Answer
        });
        ScriptedProxy(Listening::start(bind, ledger, serve).await)
    }
}

impl std::fmt::Debug for ScriptedProxyBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedProxyBuilder")
            .field("scripts", &self.scripts)
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}
