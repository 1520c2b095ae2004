//! [`Outbound`]: the proxy in front of an example's servers.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use tower::BoxError;
use tower_outbound_proxy::ProxyConfig;
use tower_outbound_proxy_lab::{
    ForwardProxy, Request,
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
        let deadline = Instant::now() + PATIENCE;
        let (seen, requests, passwords) = loop {
            let (requests, passwords) = self.record();
            let (count, seen) = (requests.len(), BTreeSet::from_iter(requests));
            let complete = expected.is_subset(&seen) && count == passwords;
            if complete || Instant::now() > deadline {
                break (seen, count, passwords);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        for request in &seen {
            println!("the proxy saw: {request}");
        }
        if seen != expected {
            return Err(format!("the proxy saw {seen:?} instead of {expected:?}").into());
        }
        if requests != passwords {
            return Err(format!("{requests} requests had {passwords} passwords").into());
        }
        Ok(())
    }

    /// Returns the requests so far, and how often the password was received, inside of tunnels as well.
    fn record(&self) -> (Vec<String>, usize) {
        match self {
            Self::Lab(proxy) => {
                let passwords = String::from_utf8_lossy(&proxy.raw().concat()).matches(TOKEN).count();
                let line = |request: &Request| format!("{} {}", request.method, request.target);
                (proxy.requests().iter().map(line).collect(), passwords)
            }
            // It let in nobody without the password, and does not tell what was in a tunnel.
            Self::Squid(proxy) => {
                let line = |line: &String| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
                let requests: Vec<_> = proxy.requests().iter().map(line).collect();
                let passwords = requests.len();
                (requests, passwords)
            }
        }
    }
}
