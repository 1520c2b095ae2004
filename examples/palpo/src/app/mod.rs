//! The application: its settings, and how it calls out.

pub mod advice;
pub mod call;
#[path = "../../../shared/causes.rs"]
pub mod causes;
pub mod connections;
pub mod outbound;
pub mod settings;
