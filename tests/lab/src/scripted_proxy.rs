//! A proxy that does exactly as it is told: [`ScriptedProxy`] reads one request head from each
//! connection, whatever it says, and plays a [`Script`]. The forward proxy plays scripts as well,
//! for CONNECT alone ([`ForwardProxyBuilder::on_connect`](crate::ForwardProxyBuilder::on_connect)).

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use rustls::ServerConfig;

use crate::listen::{Answer, Bind, Ledger, Listening};
use crate::script::{Script, read_head};
use crate::target::Targets;
use crate::tee::Recorded;

/// A proxy on loopback that plays a [`Script`]. See [`Listening`] for what it recorded.
#[derive(Debug)]
pub struct ScriptedProxy(Listening);

impl Deref for ScriptedProxy {
    type Target = Listening;

    fn deref(&self) -> &Listening {
        &self.0
    }
}

impl ScriptedProxy {
    /// Plays this script on every connection, in the clear, on `127.0.0.1`.
    pub async fn start(script: impl Into<Script>) -> Self {
        Self::builder().script(script).start().await
    }

    /// A scripted proxy of another kind.
    pub fn builder() -> ScriptedProxyBuilder {
        ScriptedProxyBuilder::default()
    }

    /// The URL of the proxy, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_with("")
    }

    /// [`url`](Self::url) with user information, `user:password@`.
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

impl ScriptedProxyBuilder {
    /// The script of the next connection. The last one given is that of all later connections
    /// as well.
    pub fn script(mut self, script: impl Into<Script>) -> Self {
        self.scripts.push(script.into());
        self
    }

    /// Listens on `[::1]`.
    pub fn listen_v6(mut self) -> Self {
        self.bind.v6 = true;
        self
    }

    /// Listens behind TLS.
    pub fn tls(mut self, config: Arc<ServerConfig>) -> Self {
        self.bind.tls = Some(config);
        self
    }

    /// The host that URLs name, bracketed if it is an IPv6 address. By default the address
    /// listened on, or `localhost` behind TLS.
    pub fn host(mut self, host: &str) -> Self {
        self.bind.host = Some(host.to_owned());
        self
    }

    /// Where [`Step::Tunnel`](crate::Step::Tunnel) goes for a target `host:port`.
    pub fn map(mut self, authority: &str, addr: SocketAddr) -> Self {
        self.targets.map(authority, addr);
        self
    }

    /// Starts it.
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
