//! Credentials and authentication challenges.
//!
//! Only Basic authentication is supported. A proxy's [`Credentials`] come from its address and go to that proxy only.
//! The `Proxy-Authorization` value is made when it is sent, on each CONNECT and on each forwarded request.
//!
//! A proxy that requires other credentials answers with [`Challenge`]s. [`ConnectError::challenges`] returns those of a
//! refused CONNECT:
//!
//! ```
//! # use tower_outbound_proxy::ConnectError;
//! fn wants_kerberos(error: &ConnectError) -> bool {
//!     error.challenges().iter().any(|challenge| challenge.scheme().eq_ignore_ascii_case("Negotiate"))
//! }
//! ```
//!
//! [`ConnectError::challenges`]: crate::ConnectError::challenges

mod authenticator;
mod challenge;
mod credentials;
mod echo;

pub(crate) use self::{authenticator::Authenticator, challenge::parse as parse_challenges};
pub use self::{challenge::Challenge, credentials::Credentials};
