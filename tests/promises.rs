//! Everything the crate promises, one file per promise, in one binary: built and linked once.
//!
//! A part of it is run by its name, `cargo test --test promises client::pool`. Tests that look at what is global to a
//! process (events, allocations) look at their own thread's alone.

#![allow(unreachable_pub, clippy::unwrap_used)] // clippy sees tests only in functions marked so

mod client;
mod common;
mod config;
mod guard;
mod layer;
#[cfg(unix)]
mod real_proxies;
