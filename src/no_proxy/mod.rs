//! Targets that are reached directly: the `NO_PROXY` list, and predicates in its place.
//!
//! [`NoProxy`] is the list, parsed once. It depends neither on proxies nor on the process environment;
//! [`ProxyConfig`](crate::ProxyConfig) combines it with them.
//!
//! [`Bypass`] is the trait of predicates, which the list implements. Predicates compose: a list with closures over a
//! [`Target`], or with other lists. [`BypassService`] turns any predicate into a tower service.
//!
//! ```
//! # use tower_outbound_proxy::{Bypass, NoProxy, ProxyConfig, Target};
//! let list: NoProxy = "internal.example, 10.0.0.0/8".parse()?;
//! let config = ProxyConfig::builder()
//!     .all("http://proxy.example:3128")
//!     .bypass(list.or(|target: &Target| target.port() == Some(8448)))
//!     .build()?;
//!
//! assert!(config.route(&"https://wiki.internal.example/".parse()?).proxy().is_none());
//! assert!(config.route(&"https://matrix.example:8448/".parse()?).proxy().is_none());
//! assert!(config.route(&"https://example.com/".parse()?).proxy().is_some());
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod entry;
mod index;
mod literal;
mod parts;
mod port;
mod predicate;
mod seen;
mod service;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr, sync::Arc};

use zeroize::Zeroizing;

#[cfg(not(feature = "serde"))]
use self::index::Index;
pub(crate) use self::seen::{is_loopback, seen_by};
#[cfg(feature = "filter")]
pub use self::service::NotDirectError;
use self::{entry::Span, port::Port};
#[cfg(feature = "serde")]
pub(crate) use self::{
    entry::{Rule, Scope},
    index::Index,
};
pub use self::{
    predicate::{And, Bypass, Exemption, Not, Or},
    service::BypassService,
};
pub use crate::error::EntryError;
use crate::{
    dialect::{Dialect, Rules},
    error::{ConfigError, Problem},
    redact::redacted_entry,
    target::Target,
};

/// A `NO_PROXY` list.
///
/// | entry | matches |
/// |---|---|
/// | `*` | every target |
/// | `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]` | that address |
/// | `10.0.0.0/8`, `2001:db8::/32` | the network; host bits may be set |
/// | `example.com` | that name and every subdomain |
/// | `.example.com`, `*.example.com` | subdomains only |
/// | an address or a name with `:port` | the same, on that port only |
///
/// Commas or white space separate entries. This is the [`Standard`](Dialect::Standard) dialect; see [`Dialect`] for the
/// others.
///
/// ```
/// # use tower_outbound_proxy::{NoProxy, Target};
/// let list: NoProxy = "10.0.0.0/8, .example.com:8080".parse()?;
/// let target: Target = "http://api.example.com:8080/".parse()?;
/// assert_eq!(list.find(&target).unwrap().to_string(), "entry 2 `.example.com:8080`");
/// assert!(!list.matches(&"http://example.com:8080".parse()?));
///
/// // When read strictly, an entry that can match nothing is an error.
/// let error = "example.com, 10.0.0.0/33".parse::<NoProxy>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "entry 2 `10.0.0.0/33` matches nothing: the prefix is longer than the address",
/// );
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// Cloning is cheap. A lookup does not allocate, and does not get slower with the list's length.
#[derive(Clone)]
pub struct NoProxy(Arc<List>);

struct List {
    dialect: Dialect,
    rules: &'static Rules,
    /// The list, followed by the normal form of each name that is written in another form.
    /// A misplaced address may be in it, with its password.
    text: Zeroizing<String>,
    /// The span of each counted entry in `text`, so that a match can be shown.
    entries: Vec<Span>,
    rejected: Vec<EntryError>,
    malformed: Vec<EntryError>,
    index: Index,
}

impl NoProxy {
    /// Reads a list leniently, like the environment's list: entries that match nothing go to
    /// [`rejected`](Self::rejected), and all others apply.
    #[must_use]
    pub fn lenient(list: &str, dialect: Dialect) -> Self {
        let rules = dialect.rules();
        let (read, ignored) = entry::cut(list, rules);
        let entries: Vec<_> = entry::split(read, rules).collect();
        let (mut rejected, mut malformed) = (Vec::new(), Vec::new());
        let positions = entries.iter().zip(1..);
        let mut text = Zeroizing::new(list.to_owned());
        let index = match rules.readings {
            [] => {
                let parsed = positions.filter_map(|(span, position)| {
                    let entry = span.of(list);
                    entry::parse(entry)
                        .map_err(|reason| rejected.push(EntryError::new(position, entry, reason)))
                        .ok()
                        .map(|rule| (position as u32, span.start, rule))
                });
                Index::new(parsed, &mut text)
            }
            _ => {
                let mut parsed = Vec::with_capacity(entries.len());
                for (span, position) in positions {
                    let entry = span.of(list);
                    let emit = |rule| parsed.push((position as u32, span.start, rule));
                    let read = literal::read_all(entry, list == entry, rules, emit);
                    match (read, entry::parse(entry)) {
                        (Ok(()), Ok(_)) => {}
                        (Ok(()), Err(reason)) => malformed.push(EntryError::matched(position, entry, reason)),
                        (Err(_), Err(reason)) | (Err(reason), Ok(_)) => {
                            rejected.push(EntryError::new(position, entry, reason));
                        }
                    }
                }
                Index::new(parsed, &mut text)
            }
        };
        if !ignored.is_empty() {
            let reason = "in this dialect white space within an entry ends the list";
            // It may end a password that the entry before it begins.
            let cut = entries.last().map_or("", |span| span.of(list));
            let ignored = match redacted_entry(cut) == cut {
                true => ignored.trim(),
                false => "***",
            };
            rejected.push(EntryError::new(entries.len() + 1, ignored, reason));
        }
        Self(Arc::new(List {
            dialect,
            rules,
            text,
            entries,
            rejected,
            malformed,
            index,
        }))
    }

    /// Reads a list strictly: an entry that matches nothing is an error.
    ///
    /// # Errors
    ///
    /// Returns the first entry that fits no row of [`NoProxy`]'s table, with its position and the reason.
    pub fn strict(list: &str, dialect: Dialect) -> Result<Self, ConfigError> {
        let list = Self::lenient(list, dialect);
        match list.0.rejected.first() {
            None => Ok(list),
            Some(first) => Err(ConfigError::new(Problem::Entry(first.clone()))),
        }
    }

    /// Returns true if an entry matches the target.
    #[must_use]
    pub fn matches(&self, target: &Target<'_>) -> bool {
        self.position(target).is_some()
    }

    /// Returns the first entry that matches the target.
    #[must_use]
    pub fn find(&self, target: &Target<'_>) -> Option<Entry<'_>> {
        let position = self.position(target)? as usize;
        Some(Entry {
            position,
            text: self.0.entries[position - 1].of(&self.0.text),
        })
    }

    fn position(&self, target: &Target<'_>) -> Option<u32> {
        let List { rules, index, text, .. } = &*self.0;
        index.find(text, seen_by(target, rules), Port::of(target, rules.port))
    }

    /// Returns the entries that match nothing, with their positions and reasons.
    #[must_use]
    pub fn rejected(&self) -> &[EntryError] {
        &self.0.rejected
    }

    /// Returns the entries that fit no row of [`NoProxy`]'s table, and that match targets all the same, since the
    /// dialect's program reads them in some way. Other programs may read them otherwise.
    #[must_use]
    pub fn malformed(&self) -> &[EntryError] {
        &self.0.malformed
    }

    /// Returns the entries as they were written, without those that match nothing.
    #[cfg(feature = "serde")]
    pub(crate) fn entries(&self) -> impl Iterator<Item = &str> {
        // In the order of the entries, too.
        let mut rejected = self.0.rejected.iter().map(EntryError::position).peekable();
        let entries = self.0.entries.iter().zip(1..);
        entries
            .filter(move |(_, position)| rejected.next_if_eq(position).is_none())
            .map(|(span, _)| span.of(&self.0.text))
    }

    /// Returns the dialect in which the list was read.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.0.dialect
    }
}

/// Creates an empty list, which matches nothing.
impl Default for NoProxy {
    fn default() -> Self {
        Self::lenient("", Dialect::Standard)
    }
}

/// Reads a list of the Standard dialect [strictly](NoProxy::strict).
impl FromStr for NoProxy {
    type Err = ConfigError;

    fn from_str(list: &str) -> Result<Self, ConfigError> {
        Self::strict(list, Dialect::Standard)
    }
}

impl fmt::Debug for NoProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoProxy")
            .field("dialect", &self.0.dialect)
            .field("entries", &self.0.entries.len())
            .field("rejected", &self.0.rejected)
            .finish_non_exhaustive()
    }
}

/// An entry of a [`NoProxy`] list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'l> {
    position: usize,
    text: &'l str,
}

impl<'l> Entry<'l> {
    /// Returns the entry's position in the list, counted from 1; empty entries are not counted.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns the entry as it was written.
    #[must_use]
    pub fn as_str(&self) -> &'l str {
        self.text
    }
}

/// Writes ``entry 2 `.example.com` ``.
impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} `{}`", self.position, self.text)
    }
}
