//! All promises of the crate, one file per promise, in one binary that is built and linked once.
//!
//! Run a part by its name: `cargo test --test promises client::pool`. Tests of state that is global to a process
//! (events, allocations) look only at their own thread.

#![allow(unreachable_pub, clippy::unwrap_used)] // clippy sees tests only in functions marked so

mod client;
mod common;
mod config;
mod credentials;
mod guard;
mod layer;
mod leaks;
mod published;
#[cfg(unix)]
mod real_proxies;
