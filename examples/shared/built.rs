//! A built program, and files to start it with.

use std::{path::Path, process::Command};

use tempfile::TempDir;

/// A program, without the variables of whoever runs the test.
pub fn program(path: impl AsRef<Path>) -> Command {
    let mut command = Command::new(path.as_ref());
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
