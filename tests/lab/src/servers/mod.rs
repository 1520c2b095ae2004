//! Real proxy servers, started for one test and stopped with it.
//!
//! The lab's own proxy does what a test tells it to do. These do what deployed proxies do: Squid, Apache httpd,
//! nghttpx, Envoy, tinyproxy and mitmproxy, as Debian and PyPI ship them. Each gets its own folder and free ports on
//! `127.0.0.1`, so any number can run at once. Nothing outside that folder is written.
//!
//! | server | plain | TLS | HTTP/2 behind TLS | names it resolves | refusal of a denied host |
//! |---|---|---|---|---|---|
//! | [Squid](RealProxy::squid) | yes | yes | no, and no ALPN | [`Setup::hosts`], `localhost` | page, `X-Squid-Error` |
//! | [Apache httpd](RealProxy::apache) | yes | yes | yes | [`Setup::hosts`], the system's | page |
//! | [nghttpx](RealProxy::nghttpx) | yes | yes | yes | as Squid | as Squid |
//! | [Envoy](RealProxy::envoy) | yes | yes | yes | [`Setup::hosts`], `localhost` | page |
//! | [tinyproxy](RealProxy::tinyproxy) | yes | no | – | the system's (`localhost`) | page |
//! | [mitmproxy](RealProxy::mitmproxy) | yes | one port | but for CONNECT | [`Setup::hosts`], the system's | page |
//!
//! Squid and Apache httpd ask for Digest instead of Basic if [`Setup::digest`] says so.
//!
//! [`Nginx`] is not a proxy but an origin, and [`Kdc`] issues the tickets by which Squid knows users of Kerberos.
//!
//! IP literals work through all of them, IPv6 included. Each server's own file has the details of its configuration.
//!
//! ```no_run
//! # async fn run() -> Result<(), tower_outbound_proxy_lab::servers::StartError> {
//! use tower_outbound_proxy_lab::servers::{RealProxy, Setup};
//!
//! let squid = RealProxy::squid(&Setup::new("user", "password")).await?;
//! println!("http://user:password@{}", squid.addr());
//! # Ok(()) }
//! ```

mod apache;
mod envoy;
mod error;
mod kdc;
mod mitmproxy;
mod nghttpx;
mod nginx;
mod process;
mod squid;
mod tinyproxy;

pub use error::StartError;
pub use kdc::{Kdc, Realm};
pub use nginx::Nginx;

use process::Running;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;

use crate::Identity;

/// The configuration of a real proxy server.
#[derive(Clone)]
pub struct Setup {
    /// The only user it lets in. Without a colon, which Basic cannot carry.
    pub user: String,
    /// That user's password.
    pub password: String,
    /// Digest in place of Basic, with Squid and Apache httpd.
    pub digest: Option<Nonces>,
    /// Certificate and key to be reached over TLS with; none: plain only.
    pub tls: Option<TlsFiles>,
    /// HTTP/2 behind TLS, with nghttpx, Apache httpd and Envoy.
    pub http2: Http2,
    /// The streams of one connection that those serve at a time; none: the server's default.
    pub streams: Option<u32>,
    /// Host names refused with 403, in CONNECT and in plain requests.
    pub deny: Vec<String>,
    /// Names that resolve although no DNS knows them, as far as the server can
    /// be told. The names in [`deny`](Self::deny) need not be repeated.
    pub hosts: Vec<(String, IpAddr)>,
    /// Roots, as PEM, by which an intercepting proxy verifies origins.
    pub origin_ca_pem: Option<String>,
    /// The realm whose users Squid knows by Negotiate, besides the only user, and its service there: `HTTP/proxy.test`.
    pub kerberos: Option<(Realm, String)>,
}

impl Setup {
    /// One user, no TLS, no HTTP/2, nothing denied; `origin.test` and `other.test` are
    /// `127.0.0.1`.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            user: user.into(),
            password: password.into(),
            digest: None,
            tls: None,
            http2: Http2::Off,
            streams: None,
            deny: Vec::new(),
            hosts: ["origin.test", "other.test"]
                .map(|name| (name.to_owned(), loopback))
                .into(),
            origin_ca_pem: None,
            kerberos: None,
        }
    }

    /// The names of `hosts` that are not denied.
    fn allowed_hosts(&self) -> impl Iterator<Item = &(String, IpAddr)> {
        self.hosts.iter().filter(|(name, _)| !self.denies(name))
    }

    fn denies(&self, name: &str) -> bool {
        self.deny.iter().any(|denied| denied.eq_ignore_ascii_case(name))
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("digest", &self.digest)
            .field("tls", &self.tls)
            .field("http2", &self.http2)
            .field("streams", &self.streams)
            .field("deny", &self.deny)
            .field("hosts", &self.hosts)
            .field("kerberos", &self.kerberos)
            .finish_non_exhaustive()
    }
}

/// The life of the nonces of Digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonces {
    /// As long as the server's default, which no test reaches.
    Lasting,
    /// Squid: two requests. Apache httpd: one second.
    Short,
}

/// HTTP/2 on a port with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2 {
    /// HTTP/1.1 alone.
    Off,
    /// For CONNECT alone, with Apache httpd, whose default it is: it takes other requests for its own site's.
    WithoutForwarding,
    /// For all requests.
    On,
}

impl Http2 {
    fn is_offered(self) -> bool {
        self != Self::Off
    }
}

/// A certificate chain and its key, as PEM text.
#[derive(Clone)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub cert_pem: String,
    /// The leaf's private key.
    pub key_pem: String,
}

impl From<Identity> for TlsFiles {
    fn from(identity: Identity) -> Self {
        Self {
            cert_pem: identity.cert_pem,
            key_pem: identity.key_pem,
        }
    }
}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFiles").finish_non_exhaustive()
    }
}

/// A running server: its process, its folder and where to reach it.
///
/// Dropping it stops the server with all its helpers, waits for that, and
/// removes the folder. Both also happen, a moment later, when the test process
/// is killed. In a test that fails, dropping it prints what it logged.
#[derive(Debug)]
pub struct RealProxy {
    running: Running,
    realm: &'static str,
    root_pem: Option<String>,
    /// The proxy that this one hands everything on to.
    behind: Option<Box<RealProxy>>,
}

impl RealProxy {
    /// Starts Squid: Basic, plain port, TLS port if [`Setup::tls`] is given, Negotiate if [`Setup::kerberos`] is.
    ///
    /// # Errors
    ///
    /// If Squid or `openssl` is missing, or Squid does not come up.
    pub async fn squid(setup: &Setup) -> Result<Self, StartError> {
        squid::start(setup).await
    }

    /// Starts Apache httpd: Basic, plain port, TLS port if [`Setup::tls`] is
    /// given.
    ///
    /// # Errors
    ///
    /// If httpd or `openssl` is missing, or httpd does not come up.
    pub async fn apache(setup: &Setup) -> Result<Self, StartError> {
        apache::start(setup).await
    }

    /// Starts nghttpx, and Squid behind it: Basic, plain port, TLS port if [`Setup::tls`] is given.
    ///
    /// [`kill`](Self::kill) ends nghttpx alone.
    ///
    /// # Errors
    ///
    /// If nghttpx, Squid or `openssl` is missing, or one of them does not come up.
    pub async fn nghttpx(setup: &Setup) -> Result<Self, StartError> {
        nghttpx::start(setup).await
    }

    /// Starts Envoy: Basic, plain port, TLS port if [`Setup::tls`] is given.
    ///
    /// The program is looked for in the environment variable `ENVOY`, then in `PATH`.
    ///
    /// # Errors
    ///
    /// If Envoy or `openssl` is missing, or Envoy does not come up.
    pub async fn envoy(setup: &Setup) -> Result<Self, StartError> {
        envoy::start(setup).await
    }

    /// Starts tinyproxy: Basic, plain port only.
    ///
    /// # Errors
    ///
    /// If tinyproxy is missing or does not come up, and for credentials it
    /// cannot be configured with: all but ASCII letters, digits, `-._`.
    pub async fn tinyproxy(setup: &Setup) -> Result<Self, StartError> {
        tinyproxy::start(setup).await
    }

    /// Starts mitmproxy: Basic, intercepts TLS with [its own root](Self::root_pem).
    ///
    /// It takes plain and TLS clients on one port, the latter always with a
    /// certificate of its own making: [`Setup::tls`] is not used.
    ///
    /// # Errors
    ///
    /// If mitmproxy is missing or does not come up, and for a password with a
    /// colon, which it cannot check.
    pub async fn mitmproxy(setup: &Setup) -> Result<Self, StartError> {
        mitmproxy::start(setup).await
    }

    /// Ends the server at once (SIGKILL), with all its connections. [`restart`](Self::restart) starts it again.
    ///
    /// # Errors
    ///
    /// If it has ended already.
    pub fn kill(&mut self) -> std::io::Result<()> {
        self.running.kill()
    }

    /// Starts the server again on the same addresses after [`kill`](Self::kill), and returns when it serves. Its logs
    /// begin anew.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.running.restart(self.realm).await
    }

    /// Returns the address for plain HTTP.
    pub fn addr(&self) -> SocketAddr {
        self.running.addr
    }

    /// Returns the address for HTTP over TLS, if there is one.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.running.tls_addr
    }

    /// Returns the realm of its Basic challenge.
    pub fn realm(&self) -> &'static str {
        self.realm
    }

    /// Returns the root certificate that an intercepting proxy made for itself, as PEM.
    pub fn root_pem(&self) -> Option<String> {
        self.root_pem.clone()
    }

    /// Returns the requests it logged, one a line. Each begins with the request line: `CONNECT origin.test:443 HTTP/1.1
    /// 200 user 40312`. Status, user and the client's port follow, except with tinyproxy.
    ///
    /// Squid, Apache httpd, nghttpx and Envoy log a tunnel when it *ends*. The last two do not know the user.
    pub fn requests(&self) -> Vec<String> {
        self.running.requests()
    }

    /// Returns everything it logged, for the message of a failed test.
    pub fn log(&self) -> String {
        let behind = self.behind.as_ref().map(|behind| behind.log());
        self.running.log() + &behind.unwrap_or_default()
    }
}

impl Drop for RealProxy {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
