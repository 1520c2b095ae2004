//! Credentials providers: services that are asked for the credentials of a proxy.

use std::{fmt, future::poll_fn, pin::Pin, sync::Arc, time::Duration};

use http::HeaderValue;
use tower_service::Service;

use super::{Challenge, Credentials, credentials::secret_value};

/// The error of a provider of any type.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A credentials provider: a tower service that is asked how requests authenticate to a proxy; see
/// [`ProxyLayer::with_credentials`](crate::ProxyLayer::with_credentials).
///
/// Every such service is one, `tower::service_fn` of a closure for instance.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a credentials provider",
    note = "a provider is a `Service<CredentialsRequest>` whose response is an `Authorization`, whose error converts to \
            a boxed error, and whose future is `Send`; it is `Clone`, `Send`, `Sync` and `'static` itself"
)]
pub trait CredentialsProvider:
    Service<CredentialsRequest, Response = Authorization, Error: Into<BoxError>, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> CredentialsProvider for S where
    S: Service<CredentialsRequest, Response = Authorization, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A question to a credentials provider: how does a request authenticate to this proxy?
#[derive(Clone)]
pub struct CredentialsRequest {
    pub(super) proxy: ProxyAddress,
    pub(super) challenges: Vec<Challenge>,
    pub(super) round: u32,
    pub(super) exchange: u64,
}

/// The address of a proxy.
#[derive(Clone)]
pub(crate) struct ProxyAddress {
    pub(crate) url: String,
    pub(crate) host: String,
    pub(crate) credentials: Option<Credentials>,
}

impl CredentialsRequest {
    /// Returns the proxy's address without credentials, always with its port: `https://proxy.example:3129`.
    #[must_use]
    pub fn proxy(&self) -> &str {
        &self.proxy.url
    }

    /// Returns the proxy's host: a name in lower case, or an address (IPv6 in brackets).
    #[must_use]
    pub fn host(&self) -> &str {
        &self.proxy.host
    }

    /// Returns the user name and password of the proxy's address, if it has them.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.proxy.credentials.as_ref()
    }

    /// Returns what the proxy asks for, in order; empty if it was not asked yet.
    #[must_use]
    pub fn challenges(&self) -> &[Challenge] {
        &self.challenges
    }

    /// Returns the number of answers that the proxy has refused, or that it wants continued on the same connection.
    #[must_use]
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Returns a number that is the same in all rounds for one request or tunnel, and in no others.
    #[must_use]
    pub fn exchange(&self) -> u64 {
        self.exchange
    }
}

/// Shows of the challenges their schemes alone, since a proxy may say credentials back.
impl fmt::Debug for CredentialsRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemes: Vec<_> = self.challenges.iter().map(Challenge::scheme).collect();
        f.debug_struct("CredentialsRequest")
            .field("proxy", &self.proxy.url)
            .field("credentials", &self.proxy.credentials)
            .field("schemes", &schemes)
            .field("round", &self.round)
            .field("exchange", &self.exchange)
            .finish()
    }
}

/// A provider's answer: how requests authenticate to a proxy.
///
/// It holds for every request to this proxy until the proxy refuses it, or until it
/// [expires](Self::expires_after).
#[derive(Clone)]
pub struct Authorization {
    pub(super) kind: Kind,
    pub(super) lifetime: Option<Duration>,
    pub(super) identity: Option<Arc<str>>,
}

#[derive(Clone)]
pub(super) enum Kind {
    Nothing,
    Password(Credentials),
    Value(HeaderValue),
    /// It serves for one request, or for one connection.
    Once(HeaderValue),
}

impl Authorization {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            lifetime: None,
            identity: None,
        }
    }

    /// Sends no credentials.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Kind::Nothing)
    }

    /// Answers Basic and Digest with a user name and a password, as a proxy's address does.
    #[must_use]
    pub fn password(credentials: Credentials) -> Self {
        Self::new(Kind::Password(credentials))
    }

    /// Sends this value of `Proxy-Authorization`: `Bearer …`, for instance.
    #[must_use]
    pub fn value(value: HeaderValue) -> Self {
        Self::new(Kind::Value(secret(&value)))
    }

    /// Sends this value with one request, or for one tunnel. The provider is asked again for the next one: tokens of
    /// Negotiate serve once.
    ///
    /// If the proxy answers CONNECT with a further challenge of the same scheme and leaves the connection open, the
    /// provider is asked for the next round, whose answer goes out on the same connection.
    ///
    /// Without an [`identity`](Self::identity), each value stands for somebody else, and each request opens a connection
    /// of its own.
    #[must_use]
    pub fn once(value: HeaderValue) -> Self {
        Self::new(Kind::Once(secret(&value)))
    }

    /// Sets the time after which the provider is asked again.
    #[must_use]
    pub fn expires_after(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Names whom the credentials stand for. Connections that were opened for one identity are never used for another
    /// one. By default, other credentials are another identity; a token that is renewed for the same user says so with
    /// the same name.
    ///
    /// A `Client` and connections to proxies over HTTP/2 keep identities apart. The pool of another client around the
    /// layer does not know them: it uses a tunnel for every request to the same target.
    #[must_use]
    pub fn identity(mut self, name: impl Into<Arc<str>>) -> Self {
        self.identity = Some(name.into());
        self
    }
}

/// Returns a copy that is wiped when it is dropped, and that no library shows.
fn secret(value: &HeaderValue) -> HeaderValue {
    match secret_value(value.as_bytes().to_vec()) {
        Some(value) => value,
        None => unreachable!("it was a value before"),
    }
}

/// Shows the kind, and neither a password nor a value.
impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind: &dyn fmt::Debug = match &self.kind {
            Kind::Nothing => &"none",
            Kind::Password(credentials) => credentials,
            Kind::Value(_) => &"value",
            Kind::Once(_) => &"once",
        };
        f.debug_struct("Authorization")
            .field("kind", kind)
            .field("lifetime", &self.lifetime)
            .field("identity", &self.identity)
            .finish()
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Authorization, BoxError>> + Send>>;

/// A provider of any type.
#[derive(Clone)]
pub(crate) struct Provider(Arc<dyn Fn(CredentialsRequest) -> Answering + Send + Sync>);

impl Provider {
    pub(crate) fn new(service: impl CredentialsProvider) -> Self {
        Self(Arc::new(move |request| {
            let mut service = service.clone();
            Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                service.call(request).await.map_err(Into::into)
            })
        }))
    }

    pub(super) async fn ask(&self, request: CredentialsRequest) -> Result<Authorization, BoxError> {
        (self.0)(request).await
    }
}
