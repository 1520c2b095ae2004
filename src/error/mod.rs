//! Errors, as types.
//!
//! Two families never mix: a [`ConfigError`] is for the operator to correct before anything runs, a [`ConnectError`] is
//! about one connection. [`TargetError`] says why a URI names nothing to connect to. The errors of one module alone stand
//! with it: `client::ClientError`, [`purpose::PurposeError`](crate::purpose::PurposeError) and
//! `no_proxy::NotDirectError`.
//!
//! All are opaque structs: methods answer questions, the text is for people, and no text, `Debug` output or `source` ever
//! contains a password.
//!
//! Clients wrap the errors of their connectors, so look for a [`ConnectError`] with [`ConnectError::find`]:
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

mod config;
mod connect;
mod denied;
mod entry;
mod response;
mod setting;

pub use self::{
    config::ConfigError,
    connect::{ConnectError, ConnectErrorKind, Stage},
    denied::DeniedError,
    entry::EntryError,
    response::ConnectResponse,
    setting::SettingName,
};
pub(crate) use self::{
    config::Problem,
    connect::{Failure, InvalidHead},
    denied::Ground,
    response::ResponseParts,
};
pub use crate::target::TargetError;

/// A boxed error, as tower's own middlewares use it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
