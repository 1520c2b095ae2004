//! [`SettingName`]: the name and the source of a setting.

use std::{borrow::Cow, fmt};

/// A setting's name as the operator knows it, and its source.
///
/// `Display` shows both: `HTTPS_PROXY`, `https_proxy in the settings file`.
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
    const fn new(name: Cow<'static, str>, place: Place) -> Self {
        Self { name, place }
    }

    /// Creates the name of an environment variable, as it is spelled there.
    pub(crate) fn variable(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name.into(), Place::Environment)
    }

    /// Creates the name of a header field that code sets.
    pub(crate) fn header(name: &http::HeaderName) -> Self {
        Self::new(name.as_str().to_owned().into(), Place::Code)
    }

    /// Creates the name of a builder's method, or of another place in the application's code.
    pub(crate) const fn code(name: &'static str) -> Self {
        Self::new(Cow::Borrowed(name), Place::Code)
    }

    /// Creates the name of a top-level key in a settings file.
    pub(crate) const fn key_name(name: &'static str) -> Self {
        Self::new(Cow::Borrowed(name), Place::File)
    }

    /// Creates the name of a key in a settings file from its path: `by_domain[1].include[0]`, counted from 0.
    pub(crate) fn key(path: impl Into<Cow<'static, str>>) -> Self {
        Self::new(path.into(), Place::File)
    }

    /// Returns the variable as it is spelled, the builder's method, or the path of the settings file's key
    /// (`by_domain[1].include[0]`, counted from 0).
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Returns true for a key of a settings file. A key and a variable can have the same name.
    #[must_use]
    pub fn is_in_settings_file(&self) -> bool {
        self.place == Place::File
    }

    /// Returns the words that follow the name, or the value if one is shown.
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
