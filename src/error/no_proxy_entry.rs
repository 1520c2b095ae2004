//! Entries of a `NO_PROXY` list that match nothing.

use std::fmt;

use crate::redact::redacted_entry;

/// A `NO_PROXY` entry that fits no row of the grammar and therefore matches nothing.
///
/// In a list that is read leniently (from the environment), it becomes a [`Warning`](crate::config::Warning), and the
/// other entries apply. In a list that is read strictly ([`NoProxy`](crate::NoProxy)'s `FromStr`, the builder), it
/// causes a [`ConfigError`](crate::ConfigError).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryError {
    position: usize,
    entry: String,
    reason: &'static str,
}

impl EntryError {
    pub(crate) fn new(position: usize, entry: &str, reason: &'static str) -> Self {
        Self {
            position,
            entry: redacted_entry(entry),
            reason,
        }
    }

    /// Returns the entry's place in the list, counted from 1; empty entries are not counted.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns the entry as it was written. What can be a misplaced password is `***`: everything before an `@`, and
    /// what follows a `:` and is no port.
    #[must_use]
    pub fn entry(&self) -> &str {
        &self.entry
    }

    /// Returns the reason why the entry matches nothing.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "entry {} `{}` matches nothing: {}",
            self.position, self.entry, self.reason
        )
    }
}

impl std::error::Error for EntryError {}
