//! [`BypassService`]: a predicate as a tower service, and as a predicate of `tower::filter`.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{Request, Uri, request::Parts};
use tower_service::Service;

use super::Bypass;
use crate::target::{Target, TargetError};

/// A predicate as a tower service. It takes a [`Target`], a `&Request` or a request's `&Parts`, and returns true if the
/// target is reached directly. It is always ready and answers at once.
///
/// With the feature `filter` it is also a `tower::filter::Predicate`. It passes requests whose target is reached
/// directly, and rejects all others with a `NotDirectError`.
///
/// ```
/// # use tower::ServiceExt;
/// # use tower_outbound_proxy::{NoProxy, Target, no_proxy::BypassService};
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
    /// Creates a service from a predicate.
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
    use std::fmt;

    use http::Request;
    use tower::filter::Predicate;

    use super::{Bypass, BypassService};
    use crate::error::BoxError;

    /// A request that was rejected because its target is not reached directly.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct NotDirectError(());

    impl fmt::Display for NotDirectError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the target is not reached directly")
        }
    }

    impl std::error::Error for NotDirectError {}

    impl<P: Bypass, B> Predicate<Request<B>> for BypassService<P> {
        type Request = Request<B>;

        fn check(&mut self, request: Request<B>) -> Result<Request<B>, BoxError> {
            match self.of_uri(request.uri())? {
                true => Ok(request),
                false => Err(NotDirectError(()).into()),
            }
        }
    }
}

#[cfg(feature = "filter")]
pub use self::filter::NotDirectError;
