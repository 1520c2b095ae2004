//! Credentials, authentication challenges, and those who answer them.
//!
//! The user name and password of a proxy's address go to that proxy only: as Basic at once, and as Digest if the proxy
//! asks for that. Of several challenges, the strongest is answered.
//! [`ProxyLayer::with_auth_schemes`](crate::ProxyLayer::with_auth_schemes) restricts the schemes.
//!
//! CONNECT is repeated after a challenge. So is a request of a `Client`, if its body can be sent again:
//! one in memory, or one that nothing was taken from. Where a challenge is likely, a body over 64 KiB, or of unknown
//! length, waits for it over HTTP/1.1: the request has `Expect: 100-continue`, and the body follows after a second at
//! most.
//!
//! A credentials provider answers for everything else: passwords that change, tokens (Bearer), Negotiate. It is a tower
//! service that gets a [`CredentialsRequest`] and returns an [`Authorization`]: a [`CredentialsProvider`]; see
//! [`ProxyLayer::with_credentials`](crate::ProxyLayer::with_credentials). `Negotiate`, of the feature `negotiate`, is one
//! for Kerberos.
//!
//! ```
//! # use std::time::Duration;
//! # use http::HeaderValue;
//! # use tower::{BoxError, service_fn};
//! # use tower_outbound_proxy::{ProxyLayer, auth::{Authorization, CredentialsRequest}};
//! # async fn token_for(_: &str) -> Result<HeaderValue, BoxError> { unimplemented!() }
//! # fn build() -> Result<(), BoxError> {
//! let provider = service_fn(async |request: CredentialsRequest| {
//!     let token = token_for(request.proxy()).await?;
//!     Ok::<_, BoxError>(Authorization::value(token).identity("the service").expires_after(Duration::from_secs(300)))
//! });
//! let proxy = ProxyLayer::from_env()?.with_credentials(provider);
//! # Ok(())
//! # }
//! ```
//!
//! A proxy whose challenges nobody can answer refuses with an error, whose
//! [`challenges`](crate::ConnectError::challenges) list what it offers.

mod account;
mod authentication;
mod authenticator;
mod challenge;
mod credentials;
mod digest;
mod echo;
#[cfg(all(unix, any(feature = "negotiate", all(doc, docsrs))))]
mod negotiate;
mod password;
mod provider;
mod scheme;

#[cfg(all(unix, any(feature = "negotiate", all(doc, docsrs))))]
#[cfg_attr(docsrs, doc(cfg(all(unix, feature = "negotiate"))))]
pub use self::negotiate::{Negotiate, NegotiateError, NegotiateFuture};
pub(crate) use self::{
    account::Account,
    authentication::{Answered, Authentication},
    authenticator::Authenticator,
    challenge::parse as parse_challenges,
    provider::{Provider, ProxyAddress},
    scheme::Schemes,
};
pub use self::{
    challenge::Challenge,
    credentials::{Credentials, CredentialsError},
    provider::{Authorization, CredentialsProvider, CredentialsRequest},
    scheme::AuthScheme,
};
