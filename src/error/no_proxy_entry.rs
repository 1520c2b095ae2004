//! Entries of a `NO_PROXY` list that are not as they should be.

use std::fmt;

use crate::redact::redacted_entry;

/// A `NO_PROXY` entry that matches nothing, or that fits no row of the grammar and matches targets in its dialect
/// alone.
///
/// In a list that is read leniently (from the environment), it becomes a [`Warning`](crate::config::Warning), and the
/// other entries apply. In a list that is read strictly ([`NoProxy`](crate::NoProxy)'s `FromStr`, the builder), it
/// causes a [`ConfigError`](crate::ConfigError).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryError {
    position: usize,
    entry: String,
    reason: &'static str,
    matches: bool,
}

impl EntryError {
    /// Creates the error of an entry that matches nothing.
    pub(crate) fn new(position: usize, entry: &str, reason: &'static str) -> Self {
        Self {
            position,
            entry: redacted_entry(entry),
            reason,
            matches: false,
        }
    }

    /// Creates the error of an entry that the dialect's program reads in spite of the reason.
    pub(crate) fn matched(position: usize, entry: &str, reason: &'static str) -> Self {
        Self {
            matches: true,
            ..Self::new(position, entry, reason)
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

    /// Returns true if the entry matches nothing. Otherwise the dialect reads it in some way, and other dialects may
    /// not.
    #[must_use]
    pub fn matches_nothing(&self) -> bool {
        !self.matches
    }

    /// Returns the reason why the entry matches nothing, or why it is malformed.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            position,
            entry,
            reason,
            matches,
        } = self;
        match matches {
            false => write!(f, "entry {position} `{entry}` matches nothing: {reason}"),
            true => write!(
                f,
                "entry {position} `{entry}` matches targets in this dialect, but is malformed: {reason}"
            ),
        }
    }
}

impl std::error::Error for EntryError {}
