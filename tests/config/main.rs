//! What the settings say, wherever they stand, and what is decided by them. One file per promise.

#![allow(unreachable_pub, clippy::unwrap_used)] // clippy sees tests only in functions marked so

#[path = "../common/mod.rs"]
mod common;

mod by_domain;
mod decision;
mod predicate;
mod settings;
mod settings_file;
mod settings_written;
