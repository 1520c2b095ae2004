//! What can go wrong, as types.
//!
//! Two families that never mix: a [`ConfigError`] is what an operator has to correct before anything runs, a
//! [`ConnectError`] is what happened to one connection. [`TargetError`] says why a URI names nothing to connect to.
//!
//! All of them are opaque structs: questions are asked through methods, the text is for people, and no text,
//! `Debug` output or `source` ever holds a password.

mod config;
mod connect;
mod denied;
mod purpose;
pub(crate) mod redact;
mod response;

pub(crate) use self::{config::Problem, denied::Ground};
pub use self::{
    config::{ConfigError, EntryError},
    connect::{ConnectError, Stage},
    denied::Denied,
    purpose::PurposeError,
    response::{Challenge, ConnectResponse},
};
pub(crate) use self::{
    connect::{Broken, Failure},
    response::ResponseParts,
};

use std::fmt;

/// A boxed error, as tower's own middlewares use it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A URI that does not say which host to reach.
///
/// Returned by [`Target`](crate::Target)'s conversions and, inside a [`BoxError`] or a [`ConnectError`], by the services
/// of [`Proxy`](crate::Proxy), which then do not call the service they wrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetError {
    reason: &'static str,
}

impl TargetError {
    pub(crate) const fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a target: {}", self.reason)
    }
}

impl std::error::Error for TargetError {}
