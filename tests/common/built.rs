//! A built example, and files to start it with.

use std::process::Command;

use tempfile::TempDir;

/// An example, without the variables of whoever runs the test. (`cargo test` builds the examples beside the tests; with
/// `--test` it leaves them as they are.)
pub fn program(name: &str) -> Command {
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --examples`",
        path.display()
    );
    let mut command = Command::new(path);
    command.env_clear();
    command
}

/// A folder of a test's own.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes a file, and returns its path.
    pub fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}
