//! A command-line option that cannot be used.

use std::{error::Error, fmt};

use tower_outbound_proxy::error::BoxError;

/// The name of the option; its source has the reason.
#[derive(Debug)]
pub(crate) struct OptionError {
    option: String,
    error: BoxError,
}

impl OptionError {
    pub(crate) fn new(option: impl Into<String>, error: impl Into<BoxError>) -> Self {
        Self {
            option: option.into(),
            error: error.into(),
        }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.option)
    }
}

impl Error for OptionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.error)
    }
}
