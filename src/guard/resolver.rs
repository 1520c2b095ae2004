//! [`GuardedResolver`]: removes denied addresses from a resolver's answers.

use std::{
    fmt,
    future::{Ready, ready},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::policy::IpPolicy;
use crate::{
    connector::DialTarget,
    error::{BoxError, DeniedError},
    target::{Target, TargetError},
};

/// A resolver for the connectors of other clients. It never returns an address that an [`IpPolicy`] denies.
///
/// It removes denied addresses from the answer. If none is left, the look-up fails with a [`DeniedError`]. An empty
/// answer stays empty.
///
/// # It guards names only
///
/// **A connector does not ask its resolver for a host that is an address: `http://127.0.0.1/` bypasses it.** A
/// [`Guard`](super::Guard) around the connector checks such hosts as well. A resolver knows only the name.
/// [Exceptions](super::IpPolicyBuilder::allow_hosts) with a port apply only if the answer has that port, and a proxy's
/// name is guarded like any other.
#[derive(Clone, Debug)]
pub struct GuardedResolver<R = GaiResolver> {
    inner: R,
    policy: IpPolicy,
}

impl GuardedResolver {
    /// Creates a guard around the system's resolver.
    #[must_use]
    pub fn new(policy: IpPolicy) -> Self {
        Self::with_resolver(policy, GaiResolver::new())
    }
}

impl<R> GuardedResolver<R> {
    /// Creates a guard around this resolver.
    #[must_use]
    pub fn with_resolver(policy: IpPolicy, inner: R) -> Self {
        Self { inner, policy }
    }
}

impl<R> Service<Name> for GuardedResolver<R>
where
    R: Service<Name, Response: Iterator<Item = SocketAddr>, Error: Into<BoxError>>,
{
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = ResolveFuture<R::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let state = match DialTarget::of_host(name.as_str()) {
            Ok(asked) => State::LookingUp {
                look_up: self.inner.call(name),
                policy: self.policy.clone(),
                asked,
            },
            // For instance an address with a zone. Name rules must not be tried on it (CVE-2025-22870).
            Err(error) => State::Failed { error: ready(error) },
        };
        ResolveFuture { state }
    }
}

impl IpPolicy {
    /// Returns the addresses that are allowed for the target at each of them. If all are denied, the first is the
    /// error.
    pub(super) fn retain_allowed<'t>(
        &self,
        addresses: impl Iterator<Item = SocketAddr>,
        target: impl Fn(SocketAddr) -> Target<'t>,
    ) -> Result<Vec<SocketAddr>, DeniedError> {
        let mut first_denied = None;
        let allowed: Vec<_> = addresses
            .filter(|address| match self.enforce(&target(*address), address.ip()) {
                Ok(()) => true,
                Err(denied) => {
                    first_denied.get_or_insert(denied);
                    false
                }
            })
            .collect();
        match first_denied {
            Some(denied) if allowed.is_empty() => Err(denied),
            _ => Ok(allowed),
        }
    }
}

pin_project! {
    /// Response future of a [`GuardedResolver`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ResolveFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        LookingUp { #[pin] look_up: F, policy: IpPolicy, asked: DialTarget },
        Failed { #[pin] error: Ready<TargetError> },
    }
}

impl<F, A, E> Future for ResolveFuture<F>
where
    F: Future<Output = Result<A, E>>,
    A: Iterator<Item = SocketAddr>,
    E: Into<BoxError>,
{
    type Output = Result<vec::IntoIter<SocketAddr>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::LookingUp { look_up, policy, asked } => {
                let addresses = ready!(look_up.poll(cx)).map_err(Into::into)?;
                let addresses = policy.retain_allowed(addresses, |address| asked.at(address))?;
                Poll::Ready(Ok(addresses.into_iter()))
            }
            StateProj::Failed { error } => error.poll(cx).map(|error| Err(error.into())),
        }
    }
}

impl<F> fmt::Debug for ResolveFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolveFuture").finish_non_exhaustive()
    }
}
