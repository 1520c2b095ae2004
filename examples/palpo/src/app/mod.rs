//! The application: its settings, and how it calls out.

pub(crate) mod advice;
pub(crate) mod call;
#[path = "../../../shared/causes.rs"]
pub(crate) mod causes;
pub(crate) mod connections;
pub(crate) mod outbound;
pub(crate) mod settings;
