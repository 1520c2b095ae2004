//! [`Negotiate`]: a credentials provider that authenticates with Kerberos tickets (RFC 4559).
//!
//! GSSAPI waits for files, the KDC and perhaps DNS, so it is called where blocking is allowed. Each call makes
//! credentials and a context of its own: a token serves for one proxy, once.

use std::{
    error::Error,
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use libgssapi::{
    context::{ClientCtx, CtxFlags},
    credential::{Cred, CredUsage},
    error::Error as GssError,
    name::Name,
    oid::{GSS_MECH_KRB5, GSS_MECH_SPNEGO, GSS_NT_HOSTBASED_SERVICE, GSS_NT_KRB5_PRINCIPAL, OidSet},
};
use tokio::task::{JoinHandle, spawn_blocking};
use tower_service::Service;

use super::{Authorization, CredentialsRequest};

/// A credentials provider that authenticates to proxies with Kerberos, as `curl --proxy-negotiate` does.
///
/// Whoever is logged in on this machine (`kinit`) gets a ticket for the proxy's service `HTTP/host`, where the host is
/// that of the proxy's address. Each tunnel and each request that is forwarded gets a token of its own, which is sent
/// unasked.
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
#[derive(Clone, Debug, Default)]
pub struct Negotiate {
    principal: Option<Arc<str>>,
}

impl Negotiate {
    /// Creates a provider for whoever is logged in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the principal to authenticate as, such as `service@EXAMPLE.COM`. Its ticket is searched for in all caches of
    /// the collection that `KRB5CCNAME` names. By default, it is the principal of the primary cache.
    #[must_use]
    pub fn principal(mut self, name: impl Into<Arc<str>>) -> Self {
        self.principal = Some(name.into());
        self
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
        let (principal, host) = (self.principal.clone(), request.host().to_owned());
        // A proxy that refused one token refuses the next one as well.
        let is_refused = request.round() > 0;
        NegotiateFuture(spawn_blocking(move || match is_refused {
            true => Ok(Authorization::none()),
            false => initiate(principal.as_deref(), &host),
        }))
    }
}

/// The future of [`Negotiate`].
#[derive(Debug)]
pub struct NegotiateFuture(JoinHandle<Result<Authorization, NegotiateError>>);

impl Future for NegotiateFuture {
    type Output = Result<Authorization, NegotiateError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(answer) => Poll::Ready(answer),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime shuts down, and polls no longer.
                Err(_) => Poll::Pending,
            },
        }
    }
}

/// Makes the first token for a proxy.
fn initiate(principal: Option<&str>, host: &str) -> Result<Authorization, NegotiateError> {
    let failed = |problem| {
        move |cause: GssError| NegotiateError {
            problem,
            host: host.to_owned(),
            principal: principal.map(str::to_owned),
            // The library keeps the text for this thread only.
            cause: Cause(cause.to_string()),
        }
    };
    // The default credentials may be another user's a moment later, so they are taken by name.
    let user = match principal {
        Some(principal) => Name::new(principal.as_bytes(), Some(GSS_NT_KRB5_PRINCIPAL)),
        None => credentials(None).and_then(|credentials| credentials.name()),
    };
    let credentials = user
        .and_then(|user| credentials(Some(&user)))
        .map_err(failed(Problem::NoTicket))?;
    credentials.lifetime().map_err(failed(Problem::Expired))?;
    let name = credentials.name().and_then(|name| name.display_name());
    let name = name.map_err(failed(Problem::NoTicket))?;
    let service = format!("HTTP@{}", host.trim_matches(['[', ']']));
    let service = Name::new(service.as_bytes(), Some(GSS_NT_HOSTBASED_SERVICE)).map_err(failed(Problem::NoService))?;
    let mut context = ClientCtx::new(
        Some(credentials),
        service,
        CtxFlags::GSS_C_MUTUAL_FLAG,
        Some(GSS_MECH_SPNEGO),
    );
    let token = context.step(None, None).map_err(failed(Problem::NoService))?;
    Ok(Authorization::once(value(token.as_deref().unwrap_or_default())).identity(&*String::from_utf8_lossy(&name)))
}

/// Returns the credentials of a user, or of the default one.
///
/// SPNEGO's are asked for explicitly. With those of Kerberos alone, SPNEGO takes the default user's instead. Kerberos'
/// are asked for first, because its errors say what is missing.
fn credentials(user: Option<&Name>) -> Result<Cred, GssError> {
    let mut mechanisms = OidSet::singleton(GSS_MECH_KRB5)?;
    mechanisms.add(GSS_MECH_SPNEGO)?;
    Cred::acquire(user, None, CredUsage::Initiate, Some(&mechanisms))
}

fn value(token: &[u8]) -> HeaderValue {
    let mut value = match HeaderValue::try_from(format!("Negotiate {}", BASE64_STANDARD.encode(token))) {
        Ok(value) => value,
        Err(_) => unreachable!("base64 is visible ASCII"),
    };
    value.set_sensitive(true);
    value
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
            Problem::NoTicket => f.write_str(
                ", since nobody is logged in: run `kinit`, or set `KRB5CCNAME` to the cache that has the ticket, or \
                 `KRB5_CLIENT_KTNAME` to a keytab",
            ),
            Problem::Expired => f.write_str(", since the ticket of whoever is logged in has expired: run `kinit`"),
            Problem::NoService if is_address(host) => f.write_str(
                ": Kerberos knows services by the names of their hosts, so the proxy's address needs a name in place of \
                 the IP address",
            ),
            Problem::NoService => f.write_str(
                ": the KDC has to know this service (`kvno` asks for it), whose host is the one in the proxy's address",
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
