//! Runs examples as an operator does.

#![allow(unreachable_pub, clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::process::{Command, Output};

/// Returns an example's command. (`cargo test` builds examples beside the tests. With `--test`, it does not rebuild
/// them.)
pub fn program(name: &str) -> Command {
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples").join(name);
    let path = path.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --examples`",
        path.display()
    );
    tower_outbound_proxy_lab::program(path)
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
