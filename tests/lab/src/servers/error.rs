//! The error of a server that did not start, with its log.

use std::error::Error;
use std::{fmt, io};

/// A real proxy server could not be started.
///
/// `Display` ends with the server's log, which has the reason.
#[derive(Debug)]
pub struct StartError {
    what: String,
    log: String,
    missing: bool,
    source: Option<io::Error>,
}

impl StartError {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            log: String::new(),
            missing: false,
            source: None,
        }
    }

    pub(super) fn missing(program: &str, package: &str) -> Self {
        Self {
            missing: true,
            ..Self::new(format!("{program} not found: install {package}"))
        }
    }

    pub(super) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self {
            source: Some(source),
            ..Self::new(doing)
        }
    }

    pub(super) fn with_log(self, log: String) -> Self {
        Self { log, ..self }
    }

    /// Returns true if the program is not installed; the message names the package.
    pub fn is_missing(&self) -> bool {
        self.missing
    }

    /// Returns the server's log at that time.
    pub fn log(&self) -> &str {
        &self.log
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.log.is_empty() {
            write!(f, "; it logged:\n{}", self.log)?;
        }
        Ok(())
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}
