//! Error types.
//!
//! A [`ConfigError`] reports a setting that the operator must correct before anything runs. A [`ConnectError`] reports
//! one failed connection. A `CertificateError` (feature `tls`) says why a certificate does not verify, wherever TLS was
//! spoken. A [`TargetError`] says why a URI names nothing to connect to. Errors that only one module
//! returns are in that module: `client::ClientError`, [`purpose::PurposeError`](crate::purpose::PurposeError) and
//! `no_proxy::NotDirectError`.
//!
//! All are opaque structs. Programs use their methods; people read their text. No text, `Debug` output or `source` ever
//! contains a password.
//!
//! Clients wrap their connectors' errors, so search for a [`ConnectError`] with [`ConnectError::find`]:
//!
//! ```
//! # use tower_outbound_proxy::{ConnectError, error::ConnectErrorKind};
//! fn advice(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
//!     Some(match ConnectError::find(error)?.kind() {
//!         ConnectErrorKind::AuthenticationRequired => "set the proxy's user name and password",
//!         ConnectErrorKind::Certificate => "trust the company's root certificate",
//!         ConnectErrorKind::Timeout => "is the proxy overloaded?",
//!         _ => return None,
//!     })
//! }
//! ```

#[cfg(feature = "tls")]
mod certificate;
mod chain;
mod config;
mod connect;
mod connect_response;
mod denied;
mod no_proxy_entry;
mod refusal;
mod setting_name;
mod unusable_proxy;

#[cfg(feature = "tls")]
pub use self::certificate::CertificateError;
#[cfg(feature = "tls")]
pub(crate) use self::certificate::{Fault, Trust};
#[cfg(feature = "http2")]
pub(crate) use self::chain::find;
#[cfg(feature = "client")]
pub(crate) use self::chain::write_chain;
pub use self::{
    config::ConfigError,
    connect::{ConnectError, ConnectErrorKind, Stage},
    connect_response::ConnectResponse,
    denied::DeniedError,
    no_proxy_entry::EntryError,
    setting_name::SettingName,
    unusable_proxy::UnusableProxyError,
};
pub(crate) use self::{
    config::Problem,
    connect::{Failure, InvalidHead},
    connect_response::{ResponseParts, asks_for_credentials},
    denied::DenyReason,
    refusal::{BODY_PATIENCE, MAX_BODY, MAX_REST, challenges, redact, refusal},
};
pub use crate::target::TargetError;

/// A boxed error, as in tower's own middleware.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
