//! What an operator sets: variables, a settings file, and whom to trust.

use std::{error::Error, fmt, fs, path::Path};

use tower_outbound_proxy::{ConfigError, ProxyConfig, ProxySettings, TlsConfig, config::Precedence};

#[derive(Clone, Default)]
pub struct Settings {
    /// Variables in place of the process environment.
    pub environment: Option<Vec<(String, String)>>,
    /// What the settings file says.
    pub file: Option<ProxySettings>,
    /// Whether the environment holds where both set the same; the file does otherwise.
    pub env_over_file: bool,
    /// Trust in targets; the operating system's unless set.
    pub target_tls: Option<TlsConfig>,
    /// Trust in proxies that are reached over TLS; the operating system's unless set.
    pub proxy_tls: Option<TlsConfig>,
}

impl Settings {
    /// The proxies, and what is reached without them.
    ///
    /// # Errors
    ///
    /// A setting that cannot be used.
    pub fn config(&self) -> Result<ProxyConfig, ConfigError> {
        let mut builder = match &self.environment {
            Some(variables) => ProxyConfig::builder().vars(variables.iter().map(|(name, value)| (name, value))),
            None => ProxyConfig::builder().env(),
        };
        if let Some(file) = &self.file {
            let precedence = match self.env_over_file {
                true => Precedence::EnvOverFile,
                false => Precedence::FileOverEnv,
            };
            builder = builder.settings(file.clone(), precedence);
        }
        // Trust that is given in code goes over the file's switch for testing, which would then switch nothing off.
        match &self.proxy_tls {
            Some(tls) if !self.accepts_any_certificate() => builder.proxy_tls(tls.clone()).build(),
            _ => builder.build(),
        }
    }

    /// TLS to targets, for which the switch for testing counts as well: in Palpo it is one client's.
    ///
    /// # Errors
    ///
    /// As `TlsConfigBuilder::build`.
    pub fn target_tls(&self) -> Result<Option<TlsConfig>, ConfigError> {
        match self.accepts_any_certificate() {
            true => {
                let builder = TlsConfig::builder().dangerous_accept_any_certificate_for_testing();
                builder.build().map(Some)
            }
            false => Ok(self.target_tls.clone()),
        }
    }

    fn accepts_any_certificate(&self) -> bool {
        let file = self.file.as_ref();
        file.is_some_and(ProxySettings::accepts_any_certificate_for_testing)
    }
}

/// The operating system's trust, and these roots.
///
/// # Errors
///
/// They are not PEM certificates.
pub fn trust(roots: &[u8]) -> Result<TlsConfig, ConfigError> {
    TlsConfig::builder().add_root_pem(roots).build()
}

/// Reads a settings file, whose format is told by the end of its name.
///
/// # Errors
///
/// A file that cannot be read, or is not of the format that its name tells. A key or value that cannot be used is found
/// in [`Settings::config`].
pub fn read(file: &Path) -> Result<ProxySettings, FileError> {
    let error = |line, reason: String| FileError {
        file: file.display().to_string(),
        line,
        reason,
    };
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    let format = match &*extension {
        "toml" => toml_settings,
        "yaml" | "yml" => yaml_settings,
        _ => return Err(error(None, "the name has to end in .toml, .yaml or .yml".to_owned())),
    };
    let text = fs::read_to_string(file).map_err(|reason| error(None, reason.to_string()))?;
    format(&text).map_err(|(line, reason)| error(line, reason))
}

type NotOfFormat = (Option<usize>, String);

/// The error's own text quotes the line, which can hold a password; its message does not.
fn toml_settings(text: &str) -> Result<ProxySettings, NotOfFormat> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        (line, format!("it is not TOML: {}", error.message()))
    })
}

/// Of YAML, messages too quote what was found, so the place has to do. An empty file sets nothing.
fn yaml_settings(text: &str) -> Result<ProxySettings, NotOfFormat> {
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().and_then(|at| usize::try_from(at.line()).ok());
        (line, "it is not YAML".to_owned())
    })
}

/// A settings file that cannot be read. Shows nothing of what is in it.
#[derive(Debug)]
pub struct FileError {
    file: String,
    line: Option<usize>,
    reason: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, reason } = self;
        match line {
            Some(line) => write!(f, "{file}:{line}: {reason}"),
            None => write!(f, "{file}: {reason}"),
        }
    }
}

impl Error for FileError {}
