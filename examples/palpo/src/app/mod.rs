//! The application: its settings and its outbound calls.

pub mod advice;
pub mod call;
#[path = "../../../shared/causes.rs"]
pub mod causes;
pub mod connections;
pub mod outbound;
pub mod settings;
