//! [`GuardedResolver`]: takes denied addresses out of what a resolver answers.

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    vec,
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    dial::{Asked, LookUp},
    policy::IpPolicy,
};
use crate::{
    error::{BoxError, Denied, TargetError},
    target::Target,
};

/// A resolver for hyper-util's [`HttpConnector`] that never gives an address that an [`IpPolicy`] denies.
///
/// Denied addresses are taken out of the answer; if that leaves none, the look-up fails with [`Denied`]. An empty answer
/// stays one. The look-up of a proxy's name by [`Proxy`](crate::Proxy) is left as it is.
///
/// # By itself it guards names only
///
/// **A connector does not ask its resolver for a host that is an address: `http://127.0.0.1/` passes it by.** That is
/// what the [`Guard`](crate::Guard) around the connector is for, and [`IpPolicy::http_connector_with`] makes the pair of
/// both. By itself it also knows no more than the name it is asked for: of the
/// [exceptions](crate::IpPolicyBuilder::allow_hosts) none with a port applies.
///
/// [`HttpConnector`]: hyper_util::client::legacy::connect::HttpConnector
#[derive(Clone, Debug)]
pub struct GuardedResolver<R = GaiResolver> {
    inner: R,
    policy: IpPolicy,
}

impl GuardedResolver {
    /// Guards the system's resolver.
    #[must_use]
    pub fn new(policy: IpPolicy) -> Self {
        Self::with_resolver(policy, GaiResolver::new())
    }
}

impl<R> GuardedResolver<R> {
    /// Guards this resolver.
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
    type Future = Resolving<R::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let asked = match LookUp::of(name.as_str()) {
            LookUp::Proxy => return Resolving::looking_up(None, self.inner.call(name)),
            LookUp::Target(asked) => asked,
            LookUp::Other => match Target::of_host(name.as_str()) {
                Ok(target) => Arc::new(Asked {
                    target,
                    port_is_explicit: false,
                }),
                // An address with a zone, for instance. No rule for names must be tried on it (CVE-2025-22870).
                Err(error) => return Resolving::failed(error),
            },
        };
        let policy = self.policy.clone();
        Resolving::looking_up(Some(Check { policy, asked }), self.inner.call(name))
    }
}

pin_project! {
    /// A look-up whose answer is checked.
    #[must_use = "futures do nothing unless polled"]
    pub struct Resolving<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        LookingUp { check: Option<Check>, #[pin] look_up: F },
        Failed { error: Option<TargetError> },
    }
}

impl<F> Resolving<F> {
    /// Without a check the answer is handed on as it is.
    fn looking_up(check: Option<Check>, look_up: F) -> Self {
        Self {
            state: State::LookingUp { check, look_up },
        }
    }

    fn failed(error: TargetError) -> Self {
        Self {
            state: State::Failed { error: Some(error) },
        }
    }
}

struct Check {
    policy: IpPolicy,
    asked: Arc<Asked>,
}

impl Check {
    fn take_out_denied(&self, addresses: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Denied> {
        let mut first_denied = None;
        let allowed = addresses.filter(|address| {
            let Err(denied) = self.policy.check(&self.asked.at(*address), address.ip()) else {
                return true;
            };
            super::report(&denied);
            first_denied.get_or_insert(denied);
            false
        });
        let allowed: Vec<_> = allowed.collect();
        match first_denied {
            Some(denied) if allowed.is_empty() => Err(denied),
            _ => Ok(allowed),
        }
    }
}

impl<F, A, E> Future for Resolving<F>
where
    F: Future<Output = Result<A, E>>,
    A: Iterator<Item = SocketAddr>,
    E: Into<BoxError>,
{
    type Output = Result<vec::IntoIter<SocketAddr>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::LookingUp { check, look_up } => {
                let addresses = ready!(look_up.poll(cx)).map_err(Into::into)?;
                let addresses = match check {
                    Some(check) => check.take_out_denied(addresses)?,
                    None => addresses.collect(),
                };
                Poll::Ready(Ok(addresses.into_iter()))
            }
            StateProj::Failed { error } => {
                let error = error.take().unwrap_or(TargetError::new("polled after it was done"));
                Poll::Ready(Err(error.into()))
            }
        }
    }
}

impl<F> fmt::Debug for Resolving<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checked = matches!(self.state, State::LookingUp { check: Some(_), .. });
        f.debug_struct("Resolving")
            .field("checked", &checked)
            .finish_non_exhaustive()
    }
}
