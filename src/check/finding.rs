//! [`Finding`]: one thing that is odd.

use std::fmt;

use super::{Programs, Targets, Unusual};
use crate::{config::Warning, scheme::Scheme};

/// One thing in the settings that is odd, or that an operator should know.
///
/// `Display` writes one line: the variable or the entry, then what is wrong, then what to set. It never shows a
/// password.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A setting cannot be used.
    #[non_exhaustive]
    Unusable {
        /// The variable, as spelled.
        variable: String,
        /// The setting, its redacted value and the reason: the text of the [`ConfigError`](crate::ConfigError).
        error: String,
        /// The programs whose rules make it unusable.
        programs: Programs,
    },
    /// A value contains something that belongs to the file it was written in.
    #[non_exhaustive]
    Leftover {
        /// The variable, as spelled.
        variable: String,
        /// The thing that was left over.
        leftover: Leftover,
    },
    /// The user name or password in a proxy's address has characters that must be percent-encoded.
    #[non_exhaustive]
    Password {
        /// The variable, as spelled.
        variable: String,
    },
    /// A variable's name is almost that of a proxy variable.
    #[non_exhaustive]
    Misspelled {
        /// The variable, as spelled.
        variable: String,
        /// The name that was probably meant.
        meant: &'static str,
    },
    /// Some programs do not read a variable from which others take a proxy or the list. They have none.
    #[non_exhaustive]
    Unread {
        /// The variable, as spelled.
        variable: String,
        /// The schemes of the targets that are reached directly; none for a list.
        schemes: Vec<Scheme>,
        /// The programs that do not read it.
        programs: Programs,
        /// The variables to set to the same value, after which all programs agree. Empty if none has this effect.
        set: Vec<String>,
    },
    /// Programs take the same setting from different variables, whose values differ.
    #[non_exhaustive]
    Spellings {
        /// Each variable that is used, as spelled, and the programs that use it.
        used: Vec<(String, Programs)>,
    },
    /// A proxy's address names no port, and programs connect to different ones.
    #[non_exhaustive]
    DefaultPort {
        /// The variable, as spelled.
        variable: String,
        /// Each port, and the programs that connect to it.
        ports: Vec<(u16, Programs)>,
    },
    /// A proxy is set for `http` targets or for `https` targets, and none for the others.
    #[non_exhaustive]
    OneScheme {
        /// The variable that is set, as spelled.
        variable: String,
        /// The scheme whose targets are reached directly.
        direct: Scheme,
    },
    /// Two variables name the same host and port, one for TLS to the proxy and one for plain HTTP.
    #[non_exhaustive]
    TlsAndPlain {
        /// The variable with `https://`, as spelled.
        tls: String,
        /// The variable with `http://`, as spelled.
        plain: String,
        /// The proxy's `host:port`.
        proxy: String,
    },
    /// A proxy's address has `https://` and a port on which proxies usually speak plain HTTP.
    #[non_exhaustive]
    TlsPort {
        /// The variable, as spelled.
        variable: String,
        /// The proxy, as `https://host:port`.
        proxy: String,
    },
    /// Another warning of the configuration.
    Warning(Warning),
    /// An entry matches nothing in some programs, or in none.
    #[non_exhaustive]
    Never {
        /// The entry.
        entry: ListEntry,
        /// The programs in which it matches nothing.
        programs: Programs,
        /// The reason, if the program's rules reject the entry.
        reason: Option<&'static str>,
    },
    /// Some programs read an entry as a part of another, because of the character before or after it.
    #[non_exhaustive]
    Separator {
        /// The entry.
        entry: ListEntry,
        /// The programs in which it has no effect.
        programs: Programs,
    },
    /// Programs differ on targets of an entry.
    #[non_exhaustive]
    Differs {
        /// The entry.
        entry: ListEntry,
        /// The targets.
        targets: Targets,
        /// The programs that reach them directly.
        direct: Programs,
        /// The programs that use the proxy.
        proxied: Programs,
    },
    /// Programs differ on this machine itself, which the list does not name.
    #[non_exhaustive]
    Loopback {
        /// The targets.
        targets: Targets,
        /// The programs that reach them directly.
        direct: Programs,
        /// The programs that use the proxy.
        proxied: Programs,
    },
    /// Programs differ on a target that few requests have. No list changes that, so it is a [note](Self::is_note).
    #[non_exhaustive]
    Rare {
        /// The peculiarity of the target.
        unusual: Unusual,
        /// An example.
        example: Targets,
        /// The programs that reach it directly.
        direct: Programs,
        /// The programs that use the proxy.
        proxied: Programs,
    },
    /// An entry is a network, and no program looks up a name to compare its address. This is a [note](Self::is_note).
    #[non_exhaustive]
    AddressesAlone {
        /// The first entry that is a network.
        entry: ListEntry,
    },
    /// `NO_PROXY` is set and no proxy is, so the list was not checked. This is a [note](Self::is_note).
    #[non_exhaustive]
    NoProxyAlone {
        /// The variable, as spelled.
        variable: String,
    },
}

/// An entry of a `NO_PROXY` list.
///
/// `Display` writes ``entry 2 `.example.com` of NO_PROXY``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    pub(super) setting: String,
    pub(super) position: usize,
    pub(super) text: String,
}

impl ListEntry {
    /// Returns the variable that holds the list, as spelled.
    #[must_use]
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// Returns the position in the list, counted from 1. White space, `;` and `|` count as commas, so that the entry is
    /// the one that its author saw.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns the entry. A part that can be a misplaced password is `***`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for ListEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} `{}` of {}", self.position, self.text, self.setting)
    }
}

/// Something in a value that belongs to the file it was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Leftover {
    /// Quotation marks around the value, or on one side of it.
    Quotes,
    /// A CR or LF: the file was written on another system.
    LineEnd,
    /// White space at the beginning or end.
    Blanks,
    /// `$NAME`, `${NAME}` or `%NAME%`, in place of another variable's value.
    Reference,
    /// White space within a proxy's address, as after two settings between one pair of quotation marks.
    Several,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quotes => {
                "has quotation marks in its value: remove them where it is set (Docker's --env-file and unit files can \
                 keep them)"
            }
            Self::LineEnd => {
                "has a line end (CR or LF) in its value: save the file that sets it with the line ends of this system"
            }
            Self::Blanks => "begins or ends with white space: remove it where it is set",
            Self::Reference => {
                "has a reference to another variable in its value: unit files and Docker's --env-file do not replace \
                 `$NAME`, so write the value itself"
            }
            Self::Several => {
                "has white space in its value: a proxy is one address (are several settings between one pair of \
                 quotation marks?)"
            }
        })
    }
}

impl Finding {
    /// Returns true for a finding that is useful to know and no fault. It does not make a [`Check`](super::Check) odd.
    #[must_use]
    pub fn is_note(&self) -> bool {
        matches!(
            self,
            Self::TlsPort { .. } | Self::Rare { .. } | Self::AddressesAlone { .. } | Self::NoProxyAlone { .. }
        )
    }

    /// Returns the entry that the finding is about.
    #[must_use]
    pub fn entry(&self) -> Option<&ListEntry> {
        match self {
            Self::Never { entry, .. }
            | Self::Separator { entry, .. }
            | Self::Differs { entry, .. }
            | Self::AddressesAlone { entry } => Some(entry),
            _ => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable { error, programs, .. } if programs.is_all() => f.write_str(error),
            Self::Unusable { error, programs, .. } => {
                write!(f, "in {programs}, {}", error.replace(": in this dialect ", ": "))
            }
            Self::Leftover { variable, leftover } => write!(f, "{variable} {leftover}"),
            Self::Password { variable } => write!(
                f,
                "{variable}: the user name or password has a character that must be percent-encoded: `@` is %40, `:` %3A, \
                 `/` %2F, `#` %23, `?` %3F and `%` %25"
            ),
            Self::Misspelled { variable, meant } => {
                let variable = variable.escape_debug();
                write!(f, "`{variable}` is not the name of a proxy variable: is {meant} meant?")
            }
            Self::Unread {
                variable,
                schemes,
                programs,
                set,
            } => {
                let schemes: Vec<_> = schemes.iter().map(|scheme| scheme.as_str()).collect();
                match schemes.is_empty() {
                    true => write!(f, "{variable} is not read by {programs}")?,
                    false => write!(
                        f,
                        "{variable} is not read for {} targets by {programs}: they are reached directly",
                        schemes.join(" and ")
                    )?,
                }
                match set.is_empty() {
                    true => Ok(()),
                    false => write!(f, " (set {} too)", set.join(" and ")),
                }
            }
            Self::Spellings { used } => {
                let names: Vec<_> = used.iter().map(|(name, _)| name.as_str()).collect();
                write!(f, "{} differ:", names.join(" and "))?;
                for (place, (name, programs)) in used.iter().enumerate() {
                    let separator = if place > 0 { "; " } else { " " };
                    write!(f, "{separator}{name} is used by {programs}")?;
                }
                f.write_str(" (set all to the same value)")
            }
            Self::DefaultPort { variable, ports } => {
                write!(f, "{variable} names no port:")?;
                for (place, (port, programs)) in ports.iter().enumerate() {
                    let separator = if place > 0 { "; " } else { " " };
                    write!(f, "{separator}{port} is used by {programs}")?;
                }
                f.write_str(" (write the port)")
            }
            Self::OneScheme { variable, direct } => {
                let direct = direct.as_str();
                write!(
                    f,
                    "{variable} is set alone: {direct} targets are reached directly (set {direct}_proxy too)"
                )
            }
            Self::TlsAndPlain { tls, plain, proxy } => write!(
                f,
                "{tls} speaks TLS to {proxy} and {plain} plain HTTP: the scheme is that of the proxy, not of the targets \
                 (most proxies need http:// in both)"
            ),
            Self::TlsPort { variable, proxy } => write!(
                f,
                "{variable} speaks TLS to {proxy}, a port that is usually for plain HTTP: the scheme is that of the \
                 proxy, not of the targets"
            ),
            Self::Warning(warning) => warning.fmt(f),
            Self::Never {
                entry,
                programs,
                reason,
            } => {
                write!(f, "{entry} matches nothing in {programs}")?;
                match reason {
                    Some(reason) => write!(f, ": {reason}"),
                    None => Ok(()),
                }
            }
            Self::Separator { entry, programs } => {
                write!(
                    f,
                    "{entry} is not read as an entry by {programs}: separate entries with commas alone"
                )
            }
            Self::Differs {
                entry,
                targets,
                direct,
                proxied,
            } => {
                let are = targets.are();
                write!(
                    f,
                    "{entry}: {targets} {are} reached directly by {direct}, and through the proxy by {proxied}"
                )
            }
            Self::Loopback {
                targets,
                direct,
                proxied,
            } => {
                let are = targets.are();
                write!(
                    f,
                    "{targets} {are} reached directly by {direct}, and through the proxy by {proxied} (add to NO_PROXY: \
                     localhost,127.0.0.1)"
                )
            }
            Self::Rare {
                unusual,
                example,
                direct,
                proxied,
            } => write!(
                f,
                "{example} ({unusual}) is reached directly by {direct}, and through the proxy by {proxied}"
            ),
            Self::AddressesAlone { entry } => write!(
                f,
                "{entry} is for URLs with an address: no program looks up a name to compare its address (list the names \
                 too)"
            ),
            Self::NoProxyAlone { variable } => {
                write!(
                    f,
                    "{variable} is set and no proxy is: every target is reached directly, and the list was not checked"
                )
            }
        }
    }
}
