//! The application: its settings, and how it calls out.

pub(crate) mod advice;
pub(crate) mod call;
pub(crate) mod connections;
pub(crate) mod outbound;
pub(crate) mod settings;
