//! [`Bypass`]: a composable predicate that decides which targets are reached directly.

use std::sync::Arc;

use super::{Entry, NoProxy};
use crate::target::Target;

/// Decides which targets are reached directly.
///
/// [`NoProxy`] is such a predicate, and so is any closure over a [`Target`]. [`and`](Self::and), [`or`](Self::or) and
/// [`not`](Self::not) combine predicates without allocating. A predicate answers at once. A decision that takes time
/// inserts a [`Destination`](crate::route::Destination) into the request's extensions instead (see
/// [`route`](crate::route)).
///
/// ```
/// # use tower_outbound_proxy::{Bypass, NoProxy, ProxyConfig, Target};
/// let list: NoProxy = "internal.example".parse()?;
/// let bypass = list.or(|target: &Target| target.port() == Some(8448)).and((|target: &Target| {
///     target.name() == Some("audit.internal.example")
/// }).not());
///
/// assert!(bypass.bypass(&"https://wiki.internal.example".parse()?));
/// assert!(bypass.bypass(&"https://matrix.example:8448".parse()?));
/// assert!(!bypass.bypass(&"https://audit.internal.example".parse()?));
///
/// let config = ProxyConfig::builder().all("http://proxy.example:3128").bypass(bypass).build()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait Bypass {
    /// Returns true if the target is reached directly.
    fn bypass(&self, target: &Target<'_>) -> bool;

    /// Returns the reason why the target is reached directly, or `None` if it is not. The default implementation names
    /// no entry.
    fn explain(&self, target: &Target<'_>) -> Option<Exemption<'_>> {
        self.bypass(target).then_some(Exemption::Predicate)
    }

    /// Combines two predicates that must both hold. `other` is called only if this one holds.
    fn and<B: Bypass>(self, other: B) -> And<Self, B>
    where
        Self: Sized,
    {
        And(self, other)
    }

    /// Combines two predicates of which at least one must hold. `other` is called only if this one does not hold.
    fn or<B: Bypass>(self, other: B) -> Or<Self, B>
    where
        Self: Sized,
    {
        Or(self, other)
    }

    /// Inverts the predicate.
    fn not(self) -> Not<Self>
    where
        Self: Sized,
    {
        Not(self)
    }
}

/// The reason why a target is reached directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exemption<'a> {
    /// An entry of a list.
    Entry(Entry<'a>),
    /// A predicate without a reason of its own.
    Predicate,
}

impl Bypass for NoProxy {
    fn bypass(&self, target: &Target<'_>) -> bool {
        self.matches(target)
    }

    fn explain(&self, target: &Target<'_>) -> Option<Exemption<'_>> {
        self.find(target).map(Exemption::Entry)
    }
}

impl<F> Bypass for F
where
    F: Fn(&Target<'_>) -> bool,
{
    fn bypass(&self, target: &Target<'_>) -> bool {
        self(target)
    }
}

impl<P: Bypass + ?Sized> Bypass for Arc<P> {
    fn bypass(&self, target: &Target<'_>) -> bool {
        (**self).bypass(target)
    }

    fn explain(&self, target: &Target<'_>) -> Option<Exemption<'_>> {
        (**self).explain(target)
    }
}

/// Two predicates that must both hold, created by [`Bypass::and`].
#[derive(Clone, Copy, Debug)]
pub struct And<A, B>(A, B);

impl<A: Bypass, B: Bypass> Bypass for And<A, B> {
    fn bypass(&self, target: &Target<'_>) -> bool {
        self.0.bypass(target) && self.1.bypass(target)
    }

    fn explain(&self, target: &Target<'_>) -> Option<Exemption<'_>> {
        match (self.0.explain(target)?, self.1.explain(target)?) {
            (Exemption::Predicate, other) => Some(other),
            (entry, _) => Some(entry),
        }
    }
}

/// Two predicates of which at least one must hold, created by [`Bypass::or`].
#[derive(Clone, Copy, Debug)]
pub struct Or<A, B>(A, B);

impl<A: Bypass, B: Bypass> Bypass for Or<A, B> {
    fn bypass(&self, target: &Target<'_>) -> bool {
        self.0.bypass(target) || self.1.bypass(target)
    }

    fn explain(&self, target: &Target<'_>) -> Option<Exemption<'_>> {
        self.0.explain(target).or_else(|| self.1.explain(target))
    }
}

/// The opposite of a predicate, created by [`Bypass::not`].
#[derive(Clone, Copy, Debug)]
pub struct Not<P>(P);

impl<P: Bypass> Bypass for Not<P> {
    fn bypass(&self, target: &Target<'_>) -> bool {
        !self.0.bypass(target)
    }
}
