//! [`Outbound`]: the proxy in front of an example's servers.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use tower::BoxError;
use tower_outbound_proxy::ProxyConfig;
use tower_outbound_proxy_lab::{
    ForwardProxy,
    servers::{RealProxy, Setup},
};

const USER: &str = "user";
/// A password whose URL has to be percent-encoded.
const PASSWORD: &str = "open/sesame@1";
const USERINFO: &str = "user:open%2Fsesame%401";
/// `user:open/sesame@1` in Base64.
const TOKEN: &str = "dXNlcjpvcGVuL3Nlc2FtZUAx";

/// The proxy's record is complete within this time: Squid writes a tunnel into its log when the tunnel has ended.
const PATIENCE: Duration = Duration::from_secs(10);

/// A proxy on loopback that requires a password.
#[derive(Debug)]
pub enum Outbound {
    /// The lab's proxy.
    Lab(ForwardProxy),
    /// A real Squid.
    Squid(Box<RealProxy>),
}

impl Outbound {
    /// Starts the proxy that the program's arguments name. It resolves `names` to loopback.
    ///
    /// # Errors
    ///
    /// An argument that is not `--squid`, or a Squid that does not start.
    pub async fn start(names: &[&str]) -> Result<Self, BoxError> {
        match std::env::args().nth(1).as_deref() {
            None => Ok(Self::Lab(ForwardProxy::builder().basic(USER, PASSWORD).start().await)),
            Some("--squid") => {
                let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
                let mut setup = Setup::new(USER, PASSWORD);
                setup.hosts = names.iter().map(|name| ((*name).to_owned(), loopback)).collect();
                Ok(Self::Squid(Box::new(RealProxy::squid(&setup).await?)))
            }
            Some(other) => Err(format!("the argument is `{other}`: the only one is `--squid`").into()),
        }
    }

    /// Returns the settings that an operator would make: this proxy for all targets but those below `internal.test`.
    ///
    /// # Errors
    ///
    /// None: the settings are good ones.
    pub fn config(&self) -> Result<ProxyConfig, BoxError> {
        let addr = match self {
            Self::Lab(proxy) => proxy.addr(),
            Self::Squid(proxy) => proxy.addr(),
        };
        Ok(ProxyConfig::from_vars([
            ("ALL_PROXY", format!("http://{USERINFO}@{addr}").as_str()),
            ("NO_PROXY", "internal.test"),
        ])?)
    }

    /// Waits until the proxy has seen these requests, and prints what it saw. Squid records a tunnel when it has ended,
    /// so drop the client first.
    ///
    /// A request is its method and target. How often it was seen does not count: a pooled client may open a second
    /// connection before the first is idle.
    ///
    /// # Errors
    ///
    /// Other requests than these, or the password elsewhere than once in the head of each request.
    pub async fn expect<S: Into<String>>(&self, expected: impl IntoIterator<Item = S>) -> Result<(), BoxError> {
        let expected: BTreeSet<String> = expected.into_iter().map(Into::into).collect();
        let complete = async {
            while !expected.is_subset(&self.requests().into_iter().collect())
                || self.passwords() != self.requests().len()
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // If it is incomplete, the comparison says what is missing.
        let _ = tokio::time::timeout(PATIENCE, complete).await;

        let requests = self.requests();
        let seen: BTreeSet<String> = requests.iter().cloned().collect();
        for request in &seen {
            println!("the proxy saw: {request}");
        }
        if seen != expected {
            return Err(format!("the proxy saw {seen:?} instead of {expected:?}").into());
        }
        match self.passwords() {
            passwords if passwords == requests.len() => Ok(()),
            passwords => Err(format!("{} requests had {passwords} passwords", requests.len()).into()),
        }
    }

    /// Returns how often the password was received, inside of tunnels as well.
    fn passwords(&self) -> usize {
        match self {
            Self::Lab(proxy) => String::from_utf8_lossy(&proxy.raw().concat()).matches(TOKEN).count(),
            // Squid lets in nobody without it, and does not tell what was in a tunnel.
            Self::Squid(_) => self.requests().len(),
        }
    }

    fn requests(&self) -> Vec<String> {
        match self {
            Self::Lab(proxy) => {
                let requests = proxy.requests();
                requests
                    .iter()
                    .map(|one| format!("{} {}", one.method, one.target))
                    .collect()
            }
            Self::Squid(proxy) => {
                let line = |line: &String| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
                proxy.requests().iter().map(line).collect()
            }
        }
    }
}
