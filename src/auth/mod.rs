//! Credentials, challenges, and who answers them.
//!
//! The proxy's [`Credentials`] come from its address. A `Proxy-Authorization` value is made here and nowhere else, and is
//! asked for at the moment it is sent: on each CONNECT and on each forwarded request. So nothing else in this crate holds
//! a finished header value that could outlive the decision it was made for.
//!
//! A proxy that wants other credentials answers with [`Challenge`]s. [`ConnectError::challenges`] has those of a refused
//! CONNECT:
//!
//! ```
//! # use tower_outbound_proxy::ConnectError;
//! fn wants_kerberos(error: &ConnectError) -> bool {
//!     error.challenges().iter().any(|challenge| challenge.scheme().eq_ignore_ascii_case("Negotiate"))
//! }
//! ```
//!
//! [`ConnectError::challenges`]: crate::ConnectError::challenges

mod basic;
mod challenge;

pub(crate) use self::{basic::Authenticator, challenge::parse as parse_challenges};
pub use self::{basic::Credentials, challenge::Challenge};
