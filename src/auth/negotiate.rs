//! [`Negotiate`]: a credentials provider that authenticates with Kerberos tickets (RFC 4559).
//!
//! `gssapi` makes the tokens. It waits for files, the KDC and perhaps DNS, so it is called where blocking is allowed. The
//! documentation is built without it, because docs.rs has no GSSAPI library.

#[cfg(feature = "negotiate")]
mod gssapi;

use std::{
    error::Error,
    fmt,
    future::pending,
    net::IpAddr,
    panic::resume_unwind,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{sync::Semaphore, task::spawn_blocking};
use tower_service::Service;

use super::{Authorization, CredentialsRequest};

/// The most calls to GSSAPI at a time. A KDC that does not answer holds so many threads.
const MOST_CALLS: usize = 8;

/// A credentials provider that authenticates to proxies with Kerberos, as `curl --proxy-negotiate` does
/// (SPNEGO, RFC 4559).
///
/// Whoever is logged in on this machine (`kinit`) gets a ticket for the proxy's service `HTTP/host`, where the host is
/// that of the proxy's address. Each tunnel and each request that is forwarded gets a token of its own, which is sent
/// unasked. A token that the proxy refuses is not followed by another one. Tokens do not verify the proxy: TLS does, to
/// an `https://` proxy.
///
/// ```no_run
/// # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
/// use tower_outbound_proxy::{ProxyLayer, auth::Negotiate};
///
/// let proxy = ProxyLayer::from_env()?.with_credentials(Negotiate::new());
/// # Ok(())
/// # }
/// ```
///
/// The layer around another HTTP client cannot wait for a token ([`with_credentials`](crate::ProxyLayer::with_credentials)),
/// so what it forwards is refused. [`with_always_tunnel`](crate::ProxyLayer::with_always_tunnel) sends that through tunnels,
/// which wait. A `Client` needs no such setting.
///
/// # Threads
///
/// GSSAPI blocks while it waits for the KDC, so each call runs on a thread of tokio's for blocking calls, at most 8 at a
/// time (of all clones of one provider); others wait for their turn. A request gives up after the
/// [`connect_timeout`](crate::ProxyLayer::with_connect_timeout), but nothing can interrupt the call: its thread comes back
/// when the library gives up. MIT Kerberos does so within about half a minute for each KDC that is silent. Dropping the
/// runtime waits for such threads, unless the program ends it with `Runtime::shutdown_background`.
///
/// # Requirements
///
/// It uses the GSSAPI library of the system, on Unix: MIT Kerberos, Heimdal or Apple's. Building it needs that library's
/// headers, `pkg-config` and libclang: on Debian, `libkrb5-dev`, `pkg-config` and `libclang-dev`.
///
/// Kerberos has settings of its own, which are those of the process. With MIT Kerberos:
///
/// - `KRB5CCNAME` names the cache of the user's tickets, which `kinit` fills and `klist` shows.
/// - `KRB5_CLIENT_KTNAME` names a keytab. A service whose principal has a key there needs no `kinit`.
/// - `/etc/krb5.conf`, or the file that `KRB5_CONFIG` names, has the realm and its KDC. By default the library looks up
///   a proxy's canonical name in DNS; with `dns_canonicalize_hostname = false`, the proxy's service has the name in its
///   address.
///
/// The proxy needs a keytab with the key of that service: see [Squid's guide][squid]. `kvno HTTP/proxy.example.com` shows
/// whether the KDC knows it.
///
/// [squid]: https://wiki.squid-cache.org/ConfigExamples/Authenticate/Kerberos
#[derive(Clone, Debug)]
pub struct Negotiate {
    principal: Option<Arc<str>>,
    calls: Arc<Semaphore>,
}

impl Negotiate {
    /// Creates a provider for whoever is logged in.
    #[must_use]
    pub fn new() -> Self {
        Self {
            principal: None,
            calls: Arc::new(Semaphore::new(MOST_CALLS)),
        }
    }

    /// Sets the principal to authenticate as, such as `service@EXAMPLE.COM`. Its ticket is searched for in all caches of
    /// the collection that `KRB5CCNAME` names. By default, it is the principal of the primary cache.
    #[must_use]
    pub fn principal(mut self, name: impl Into<Arc<str>>) -> Self {
        self.principal = Some(name.into());
        self
    }
}

impl Default for Negotiate {
    fn default() -> Self {
        Self::new()
    }
}

impl Service<CredentialsRequest> for Negotiate {
    type Response = Authorization;
    type Error = NegotiateError;
    type Future = NegotiateFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NegotiateError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: CredentialsRequest) -> NegotiateFuture {
        NegotiateFuture(Box::pin(token(self.clone(), request)))
    }
}

async fn token(Negotiate { principal, calls }: Negotiate, request: CredentialsRequest) -> Answer {
    // A proxy that refused one token refuses the next one as well.
    if request.round() > 0 {
        return Ok(Authorization::none());
    }
    let turn = calls.acquire_owned().await;
    let call = spawn_blocking(move || {
        let _turn = turn;
        gssapi::initiate(principal.as_deref(), request.host())
    });
    match call.await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime shuts down, and polls no longer.
            Err(_) => pending().await,
        },
    }
}

type Answer = Result<Authorization, NegotiateError>;

/// Response future of [`Negotiate`]. Dropping it does not end a call to GSSAPI that has begun.
#[must_use = "futures do nothing unless polled"]
pub struct NegotiateFuture(Pin<Box<dyn Future<Output = Answer> + Send>>);

impl Future for NegotiateFuture {
    type Output = Result<Authorization, NegotiateError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for NegotiateFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NegotiateFuture").finish_non_exhaustive()
    }
}

/// The error of [`Negotiate`]: there is no token for a proxy.
///
/// The text says what to do about it. The [`source`](Error::source) is the message of the GSSAPI library.
#[derive(Debug)]
pub struct NegotiateError {
    problem: Problem,
    host: String,
    principal: Option<String>,
    cause: Cause,
}

#[derive(Clone, Copy, Debug)]
enum Problem {
    NoTicket,
    Expired,
    NoService,
}

impl NegotiateError {
    /// Returns true if the user has no ticket that is valid: `kinit` was not run, or too long ago.
    #[must_use]
    pub fn is_not_logged_in(&self) -> bool {
        matches!(self.problem, Problem::NoTicket | Problem::Expired)
    }
}

impl fmt::Display for NegotiateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, problem, .. } = self;
        write!(f, "no Kerberos token for the proxy's service HTTP/{host}")?;
        if let Some(principal) = &self.principal {
            write!(f, " from {principal}")?;
        }
        match problem {
            Problem::NoTicket => {
                match &self.principal {
                    Some(principal) => write!(f, ", which is not logged in: run `kinit {principal}`")?,
                    None => f.write_str(", since nobody is logged in: run `kinit`")?,
                }
                f.write_str(
                    ", or set `KRB5CCNAME` to the cache that has the ticket, or `KRB5_CLIENT_KTNAME` to a keytab",
                )
            }
            Problem::Expired => f.write_str(", since the ticket of whoever is logged in has expired: run `kinit`"),
            Problem::NoService if is_address(host) => f.write_str(
                ": Kerberos knows services by the names of their hosts, so the proxy's address needs a name in place of \
                 the IP address",
            ),
            Problem::NoService => write!(
                f,
                ": the KDC has to be reachable and to know this service, whose host is the one in the proxy's address; \
                 `kvno HTTP/{host}` shows if that is so"
            ),
        }
    }
}

impl Error for NegotiateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

/// The message of the GSSAPI library.
#[derive(Debug)]
struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Cause {}

fn is_address(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}
