//! [`UnusableProxyError`]: a setting that names no proxy that can be used.

use std::{fmt, sync::Arc};

use super::{ConfigError, SettingName};

/// A setting that should name a target's proxy and cannot be used; see [`Route::Unusable`](crate::Route::Unusable).
///
/// Its text is that of the [`ConfigError`]: the setting, the value without its password, and the reason. Cloning is
/// cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UnusableProxyError(Arc<Inner>);

#[derive(PartialEq, Eq, Hash)]
struct Inner {
    setting: SettingName,
    text: String,
}

impl UnusableProxyError {
    pub(crate) fn new(error: &ConfigError) -> Self {
        Self(Arc::new(Inner {
            setting: error.setting_name(),
            text: error.to_string(),
        }))
    }

    /// Returns the setting.
    #[must_use]
    pub fn setting(&self) -> &SettingName {
        &self.0.setting
    }
}

impl fmt::Display for UnusableProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for UnusableProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnusableProxyError").field(&self.0.text).finish()
    }
}

impl std::error::Error for UnusableProxyError {}
