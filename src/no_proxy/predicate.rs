//! "Is this target reached directly?" as a predicate that composes.
//!
//! [`NoProxy`] is one such predicate, any closure over a [`Target`] is another, and [`and`](Bypass::and),
//! [`or`](Bypass::or) and [`not`](Bypass::not) make new ones of them, without an allocation.
//! [`BypassService`] makes a tower service of one.
//!
//! A predicate answers at once. A decision that takes time (a look-up in DNS, a policy server) is a
//! `Service<Target, Response = Route>`; see [`DecideLayer`](crate::DecideLayer).

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Uri, request::Parts};
use tower_service::Service;

use super::{Entry, NoProxy};
use crate::{error::TargetError, target::Target};

/// Whether a target is reached directly.
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
    /// Whether the target is reached directly.
    fn bypass(&self, target: &Target<'_>) -> bool;

    /// The same with the reason, `None` where the target is not reached directly. Implementations that know of no entry
    /// need not give one.
    fn explain(&self, target: &Target<'_>) -> Option<Exemption<'_>> {
        self.bypass(target).then_some(Exemption::Predicate)
    }

    /// Direct where both say so. The other is asked only if this one does.
    fn and<B: Bypass>(self, other: B) -> And<Self, B>
    where
        Self: Sized,
    {
        And(self, other)
    }

    /// Direct where either says so. The other is asked only if this one does not.
    fn or<B: Bypass>(self, other: B) -> Or<Self, B>
    where
        Self: Sized,
    {
        Or(self, other)
    }

    /// Direct where this one does not say so.
    fn not(self) -> Not<Self>
    where
        Self: Sized,
    {
        Not(self)
    }
}

/// What exempts a target from going through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exemption<'a> {
    /// An entry of a list.
    Entry(Entry<'a>),
    /// A predicate that gives no reason of its own.
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

/// Two predicates that have to agree; made by [`Bypass::and`].
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

/// Two predicates of which one is enough; made by [`Bypass::or`].
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

/// The opposite of a predicate; made by [`Bypass::not`].
#[derive(Clone, Copy, Debug)]
pub struct Not<P>(P);

impl<P: Bypass> Bypass for Not<P> {
    fn bypass(&self, target: &Target<'_>) -> bool {
        !self.0.bypass(target)
    }
}

/// A predicate as a tower service: for a [`Target`], a `&Request` or a request's `&Parts` it tells whether that is reached
/// directly. It is always ready and answers at once.
///
/// With the feature `filter` it is also a `tower::filter::Predicate`, which lets through what is reached directly.
///
/// ```
/// # use tower::ServiceExt;
/// # use tower_outbound_proxy::{BypassService, NoProxy, Target};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let service = BypassService::new("internal.example".parse::<NoProxy>()?);
/// let target: Target = "https://wiki.internal.example".parse()?;
/// assert!(service.oneshot(target).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BypassService<P> {
    predicate: P,
}

impl<P: Bypass> BypassService<P> {
    /// A service that answers as the predicate does.
    pub fn new(predicate: P) -> Self {
        Self { predicate }
    }

    fn of_uri(&self, uri: &Uri) -> Result<bool, TargetError> {
        Target::try_from(uri).map(|target| self.predicate.bypass(&target))
    }
}

impl<P: Bypass> Service<Target<'_>> for BypassService<P> {
    type Response = bool;
    type Error = Infallible;
    type Future = Ready<Result<bool, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Target<'_>) -> Self::Future {
        ready(Ok(self.predicate.bypass(&target)))
    }
}

impl<P: Bypass, B> Service<&Request<B>> for BypassService<P> {
    type Response = bool;
    type Error = TargetError;
    type Future = Ready<Result<bool, TargetError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TargetError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: &Request<B>) -> Self::Future {
        ready(self.of_uri(request.uri()))
    }
}

impl<P: Bypass> Service<&Parts> for BypassService<P> {
    type Response = bool;
    type Error = TargetError;
    type Future = Ready<Result<bool, TargetError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TargetError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: &Parts) -> Self::Future {
        ready(self.of_uri(&request.uri))
    }
}

#[cfg(feature = "filter")]
mod filter {
    //! `tower::filter::Predicate`: lets through what is reached directly.

    use std::fmt;

    use http::Request;
    use tower::filter::Predicate;

    use super::{Bypass, BypassService};
    use crate::error::BoxError;

    /// A request that was filtered out, because its target is not reached directly.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct NotDirect(());

    impl fmt::Display for NotDirect {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the target is not one that is reached directly")
        }
    }

    impl std::error::Error for NotDirect {}

    impl<P: Bypass, B> Predicate<Request<B>> for BypassService<P> {
        type Request = Request<B>;

        fn check(&mut self, request: Request<B>) -> Result<Request<B>, BoxError> {
            match self.of_uri(request.uri())? {
                true => Ok(request),
                false => Err(NotDirect(()).into()),
            }
        }
    }
}

#[cfg(feature = "filter")]
pub use self::filter::NotDirect;
