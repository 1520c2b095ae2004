//! The application and its site, for the program in `main.rs` and for the tests.

// Nobody else reads it.
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc
)]

pub mod app;
pub mod redis;
pub mod site;
