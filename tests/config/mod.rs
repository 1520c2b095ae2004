//! What the settings say, wherever they stand, and what is decided by them. One file per promise.

mod by_domain;
mod decision;
mod predicate;
mod settings;
mod settings_file;
mod settings_written;
