//! The meaning of the settings, from every source, and the decisions that they lead to. One file per promise.

mod by_domain;
mod check;
mod check_posted;
mod cost;
mod decision;
mod predicate;
mod settings;
mod settings_file;
mod settings_written;
mod warnings;
