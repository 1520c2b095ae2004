//! A program that answers about one case after the other.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A running program. It reads lines, each with a URL and variables (`NAME=value`), separated by tabs, and answers with
/// a line: the proxy's URL, `direct`, or `error`.
#[derive(Debug)]
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    version: String,
}

impl Program {
    /// Starts the program, which first prints a line with its version.
    ///
    /// # Panics
    ///
    /// If it cannot be started; `hint` says what to do then.
    #[must_use]
    pub fn start(command: &mut Command, hint: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}: {hint}"));
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut version = String::new();
        stdout.read_line(&mut version).expect("a line");
        assert!(!version.is_empty(), "{command:?} has ended: {hint}");
        Self {
            stdin: child.stdin.take(),
            child,
            stdout,
            version: version.trim().to_owned(),
        }
    }

    /// Returns the program's name and version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Asks about some URLs with the same variables.
    ///
    /// # Panics
    ///
    /// If the program has ended.
    pub fn ask(&mut self, vars: &[(&str, &str)], urls: &[String]) -> Vec<String> {
        let vars: String = vars
            .iter()
            .map(|(name, value)| format!("\t{name}={}", escaped(value)))
            .collect();
        let lines: String = urls.iter().map(|url| format!("{}{vars}\n", escaped(url))).collect();
        let stdin = self.stdin.as_mut().expect("open until the program is dropped");
        stdin.write_all(lines.as_bytes()).expect("the program reads");
        stdin.flush().expect("the program reads");
        let mut answer = || {
            let mut line = String::new();
            self.stdout.read_line(&mut line).expect("a line");
            assert!(!line.is_empty(), "the program has ended");
            line.trim_end_matches('\n').to_owned()
        };
        urls.iter().map(|_| answer()).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.stdin = None;
        let _ = self.child.wait();
    }
}

fn escaped(text: &str) -> String {
    let escapes = [("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")];
    let replace = |text: String, (from, to): (&str, &str)| text.replace(from, to);
    escapes.into_iter().fold(text.to_owned(), replace)
}
