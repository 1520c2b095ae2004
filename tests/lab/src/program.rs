//! Built programs, and the files that they start with.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Returns a program's command, without the variables of the caller's environment.
#[must_use]
pub fn program(path: impl AsRef<Path>) -> Command {
    let mut command = Command::new(path.as_ref());
    command.env_clear();
    command
}

/// A test's own folder.
#[derive(Debug)]
pub struct Files(TempDir);

impl Files {
    /// Creates an empty one.
    ///
    /// # Panics
    ///
    /// If the operating system refuses it.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("no temporary folder"))
    }

    /// Writes a file and returns its path.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    #[must_use]
    pub fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("the file cannot be written");
        path.into_os_string()
            .into_string()
            .expect("the folder's name is not Unicode")
    }
}
