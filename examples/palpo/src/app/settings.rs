//! The operator's settings: variables, a settings file, and trust.

use std::{error::Error, fmt, fs, path::Path};

use tower_outbound_proxy::{ConfigError, ProxyConfig, ProxySettings, TlsConfig, config::Precedence};

#[derive(Clone, Default)]
pub struct Settings {
    /// Variables in place of the process environment.
    pub environment: Option<Vec<(String, String)>>,
    /// The content of the settings file.
    pub file: Option<ProxySettings>,
    /// True if the environment overrides the file; otherwise the file overrides the environment.
    pub env_over_file: bool,
    /// Trust in targets; the operating system's unless set.
    pub target_tls: Option<TlsConfig>,
    /// Trust in proxies that are reached over TLS; the operating system's unless set.
    pub proxy_tls: Option<TlsConfig>,
}

impl Settings {
    /// Returns the proxies and the exemptions.
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
        // Trust that is set in code overrides the file's testing switch, which would then have no effect.
        match &self.proxy_tls {
            Some(tls) if !self.accepts_any_certificate() => builder.proxy_tls(tls.clone()).build(),
            _ => builder.build(),
        }
    }

    /// Returns TLS to targets. The testing switch applies to them as well, because Palpo uses one client for both.
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

/// Returns the operating system's trust with these roots added.
///
/// # Errors
///
/// They are not PEM certificates.
pub fn trust(roots: &[u8]) -> Result<TlsConfig, ConfigError> {
    TlsConfig::builder().add_root_pem(roots).build()
}

/// Reads a settings file. The file name's extension selects the format.
///
/// # Errors
///
/// The file cannot be read, or its content does not have the format that its name says. [`Settings::config`] reports
/// keys and values that cannot be used.
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

/// Parses TOML. The error's own text quotes the line, which can contain a password; its message does not.
fn toml_settings(text: &str) -> Result<ProxySettings, NotOfFormat> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        (line, format!("it is not TOML: {}", error.message()))
    })
}

/// Parses YAML. Messages of YAML errors quote the value, so the error gives only the location. An empty file sets
/// nothing.
fn yaml_settings(text: &str) -> Result<ProxySettings, NotOfFormat> {
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().and_then(|at| usize::try_from(at.line()).ok());
        (line, "it is not YAML".to_owned())
    })
}

/// A settings file that cannot be read. It shows no part of the content.
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
