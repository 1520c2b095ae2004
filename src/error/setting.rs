//! Where a setting came from.

use std::{borrow::Cow, fmt};

/// The name under which the operator knows a setting, and the place where it stands.
///
/// `Display` says both: `HTTPS_PROXY`, `https_proxy in the settings file`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SettingName {
    name: Cow<'static, str>,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Environment,
    Code,
    File,
}

impl SettingName {
    /// An environment variable, as it is spelled there.
    pub(crate) fn variable(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            place: Place::Environment,
        }
    }

    /// A header field that code sets.
    pub(crate) fn header(name: &http::HeaderName) -> Self {
        Self {
            name: name.as_str().to_owned().into(),
            place: Place::Code,
        }
    }

    /// A builder's method, or another place in the application's code.
    pub(crate) const fn code(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            place: Place::Code,
        }
    }

    pub(crate) const fn key_name(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            place: Place::File,
        }
    }

    /// A key of a settings file, with the way to it: `by_domain[1].include[0]`, counted from 0.
    pub(crate) fn key(path: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: path.into(),
            place: Place::File,
        }
    }

    /// Returns the variable as it is spelled, the builder's method, or the settings file's key with the way to it
    /// (`by_domain[1].include[0]`, counted from 0).
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Returns true for a key of a settings file: a key and a variable can have the same name.
    #[must_use]
    pub fn is_in_settings_file(&self) -> bool {
        self.place == Place::File
    }

    /// The words that follow the name where it is shown with a value.
    pub(super) fn suffix(&self) -> &'static str {
        match self.place {
            Place::File => " in the settings file",
            Place::Environment | Place::Code => "",
        }
    }
}

impl fmt::Display for SettingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.suffix())
    }
}
