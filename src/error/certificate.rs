//! [`CertificateError`]: a certificate that does not verify.

use std::{env, error::Error as StdError, ffi::OsStr, fmt, sync::Arc};

use super::chain::find;
use crate::redact::Escaped;

/// The environment variables that name roots to use in place of the operating system's, if it keeps its roots in files.
const READS_VARIABLES: bool = cfg!(all(
    unix,
    not(any(
        target_vendor = "apple",
        target_os = "android",
        target_arch = "wasm32"
    ))
));
const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
const SSL_CERT_DIR: &str = "SSL_CERT_DIR";

/// The longest text that is shown of a path, in characters.
const MAX_PATH: usize = 200;

/// A certificate of a proxy or a target that does not verify.
///
/// Its text names the certificate's issuer, and says what to do. If the issuer is not trusted, the text also names the
/// roots that were used. Parts that the peer chose are escaped and cut.
///
/// A [`TlsConfig`](crate::TlsConfig) from its builder puts it into rustls's error. [`find`](Self::find) therefore finds
/// it wherever TLS was spoken: to a proxy, and to a target by `Client` or by a connector. An application's own rustls
/// configuration does not return it.
///
/// ```
/// # use tower_outbound_proxy::error::CertificateError;
/// fn issuer(error: &(dyn std::error::Error + 'static)) -> Option<String> {
///     CertificateError::find(error)?.issuer().map(str::to_owned)
/// }
/// ```
#[derive(Clone)]
pub struct CertificateError(Arc<Inner>);

struct Inner {
    fault: Fault,
    issuer: Option<String>,
    trust: Trust,
    cause: rustls::Error,
}

/// The fault of a certificate.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No trusted root leads to it. The chain that was sent ends at this issuer, if that is not the certificate's own.
    UnknownIssuer {
        top: Option<String>,
    },
    /// It signed itself, and is no trusted root.
    SelfSigned,
    /// A trusted root has the issuer's name, but another key.
    OtherKey,
    /// It is a certificate authority's, not a server's.
    Authority,
    /// It is not for servers.
    Purpose,
    Revoked,
    Expired,
    NotYetValid,
    /// It is for other names than this one.
    Name {
        asked: String,
        names: Vec<String>,
        more: usize,
    },
    /// The cause says more.
    Other,
}

impl CertificateError {
    pub(crate) fn new(fault: Fault, issuer: Option<String>, trust: Trust, cause: rustls::Error) -> Self {
        Self(Arc::new(Inner {
            fault,
            issuer,
            trust,
            cause,
        }))
    }

    /// Finds the `CertificateError` in an error's chain of sources, including the error itself. It also looks into the
    /// errors that [`io::Error`](std::io::Error) and rustls carry.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        find(error)
    }

    /// Returns the issuer that the certificate names, as `CN=Example Root, O=Example`: its common name, organisation
    /// and organisational unit. `None` if it has none of them, or cannot be read.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.issuer.as_deref()
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { fault, trust, .. } = &*self.0;
        let issuer = self.issuer().unwrap_or("not named");
        let advice = trust.advice();
        f.write_str("the certificate does not verify: ")?;
        match fault {
            Fault::UnknownIssuer { top } => {
                write!(f, "its issuer (`{issuer}`")?;
                if let Some(top) = top {
                    write!(f, ", under `{top}`")?;
                }
                write!(
                    f,
                    ") is not trusted (trusted: {trust}); if it is meant to be, as the issuer of a proxy that intercepts \
                     TLS is, add its root certificate {advice}"
                )
            }
            Fault::SelfSigned => write!(
                f,
                "it is self-signed (`{issuer}`) and not trusted (trusted: {trust}); if it is the right one, add it {advice}"
            ),
            Fault::OtherKey => write!(
                f,
                "its issuer (`{issuer}`) has the name of a trusted root, but another key (trusted: {trust}); if the root \
                 was renewed, add the new one {advice}"
            ),
            Fault::Authority => write!(
                f,
                "it is a certificate authority's, which a server must not present (issuer: `{issuer}`); give the server a \
                 certificate with `CA:FALSE`"
            ),
            Fault::Purpose => write!(
                f,
                "it is not for servers (issuer: `{issuer}`); give the server a certificate whose extended key usage has \
                 `serverAuth`"
            ),
            Fault::Revoked => write!(f, "it was revoked (issuer: `{issuer}`); the server needs a new one"),
            Fault::Expired => write!(
                f,
                "it has expired (issuer: `{issuer}`); the server needs a new one, unless this machine's clock is wrong"
            ),
            Fault::NotYetValid => write!(
                f,
                "it is not valid yet (issuer: `{issuer}`); is this machine's clock right?"
            ),
            Fault::Name { asked, names, more } => {
                write!(f, "it is not for `{asked}`, but for ")?;
                match names.split_first() {
                    None => f.write_str("no host name")?,
                    Some((first, rest)) => {
                        write!(f, "`{first}`")?;
                        rest.iter().try_for_each(|name| write!(f, ", `{name}`"))?;
                    }
                }
                if *more > 0 {
                    write!(f, " and {more} more")?;
                }
                write!(
                    f,
                    " (issuer: `{issuer}`); does the address name the right host, and does another server answer in its \
                     place?"
                )
            }
            Fault::Other => write!(f, "it cannot be used (issuer: `{issuer}`)"),
        }
    }
}

/// Writes the text. rustls shows an error that it carries by its `Debug` output alone.
impl fmt::Debug for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for CertificateError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0.cause)
    }
}

/// The roots that certificates are verified by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trust {
    /// The values of `SSL_CERT_FILE` and `SSL_CERT_DIR`. `None` if the operating system's trust is not used.
    system: Option<[Option<String>; 2]>,
    /// The number of roots that the application added.
    added: usize,
}

impl Trust {
    /// Reads the roots' names from the environment, as the verifier reads the roots.
    pub(crate) fn read(system: bool, added: usize) -> Self {
        let read = |name| env::var_os(name).filter(|_| READS_VARIABLES);
        Self {
            system: system.then(|| [read(SSL_CERT_FILE), read(SSL_CERT_DIR)].map(|value| value.as_deref().map(shown))),
            added,
        }
    }

    /// Returns true if variables name other roots than the operating system's.
    pub(crate) fn is_of_variables(&self) -> bool {
        self.system
            .as_ref()
            .is_some_and(|variables| variables.iter().any(Option::is_some))
    }

    /// Says where to add a root.
    fn advice(&self) -> &'static str {
        match &self.system {
            None => "with `TlsConfigBuilder::add_root_pem`",
            Some(_) if self.is_of_variables() => {
                "there (the operating system's roots are not used while these variables are set), or call \
                 `TlsConfigBuilder::add_root_pem`"
            }
            Some(_) if READS_VARIABLES => {
                "to the operating system's, name a file of roots in SSL_CERT_FILE, or call \
                 `TlsConfigBuilder::add_root_pem`"
            }
            Some(_) => "to the operating system's, or call `TlsConfigBuilder::add_root_pem`",
        }
    }
}

fn shown(path: &OsStr) -> String {
    Escaped(&path.to_string_lossy(), MAX_PATH).to_string()
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added = |f: &mut fmt::Formatter<'_>| match self.added {
            1 => f.write_str("1 added root"),
            added => write!(f, "{added} added roots"),
        };
        match &self.system {
            None => return added(f),
            Some([None, None]) => f.write_str("the operating system's roots")?,
            Some(variables) => {
                f.write_str("the roots in ")?;
                let set = variables.iter().zip([SSL_CERT_FILE, SSL_CERT_DIR]);
                let set = set.filter_map(|(value, name)| Some((name, value.as_ref()?)));
                for (n, (name, value)) in set.enumerate() {
                    write!(f, "{}{name} (`{value}`)", if n > 0 { " and " } else { "" })?;
                }
            }
        }
        match self.added {
            0 => Ok(()),
            _ => {
                f.write_str(", and ")?;
                added(f)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Trust;

    #[test]
    fn roots_are_named_by_their_origin() {
        let trust = |file: Option<&str>, dir: Option<&str>, added| Trust {
            system: Some([file, dir].map(|value| value.map(str::to_owned))),
            added,
        };
        for (trust, text) in [
            (trust(None, None, 0), "the operating system's roots"),
            (trust(None, None, 1), "the operating system's roots, and 1 added root"),
            (trust(Some("/f"), None, 0), "the roots in SSL_CERT_FILE (`/f`)"),
            (
                trust(None, Some("/d:/e"), 2),
                "the roots in SSL_CERT_DIR (`/d:/e`), and 2 added roots",
            ),
            (
                trust(Some("/f"), Some("/d"), 0),
                "the roots in SSL_CERT_FILE (`/f`) and SSL_CERT_DIR (`/d`)",
            ),
            (Trust { system: None, added: 1 }, "1 added root"),
            (Trust { system: None, added: 9 }, "9 added roots"),
        ] {
            assert_eq!(trust.to_string(), text);
        }
    }
}
