//! [`DialTarget`]: the target of a connection; [`DialFuture`]: a pending dial.

use std::{
    fmt,
    future::{Ready, ready},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Uri;
use pin_project_lite::pin_project;

use crate::{
    error::{BoxError, ConnectError},
    target::{Target, TargetError},
    trace::Phase,
};

/// The target of a connection whose addresses this crate chooses.
pub(crate) struct DialTarget {
    pub(crate) target: Target<'static>,
    /// True if the URI names the port. It then takes precedence over the resolver's port.
    port_is_explicit: bool,
}

impl DialTarget {
    /// Reads a URI. Returns it as it is dialled.
    pub(crate) fn new(uri: Uri) -> Result<(Self, Uri), TargetError> {
        let target = Target::try_from(&uri)?.into_owned();
        let uri = target.uri_to_dial(&uri)?.unwrap_or(uri);
        let port_is_explicit = uri.port().is_some();
        Ok((
            Self {
                target,
                port_is_explicit,
            },
            uri,
        ))
    }

    /// Creates the target of a look-up, which is a host without a port.
    pub(crate) fn of_host(host: &str) -> Result<Self, TargetError> {
        Ok(Self {
            target: Target::of_host(host)?,
            port_is_explicit: false,
        })
    }

    /// Returns the target as it is dialled at a resolved address. The address's port applies if the URI names none.
    pub(crate) fn at(&self, address: SocketAddr) -> Target<'_> {
        match (self.port_is_explicit, address.port(), self.target.port()) {
            (true, _, Some(port)) | (false, 0, Some(port)) => self.target.on_port(port),
            (_, 0, None) => self.target.clone(),
            (_, port, _) => self.target.on_port(port),
        }
    }

    /// Returns the URI with a resolved address in place of the host.
    pub(super) fn uri_at(&self, address: SocketAddr, uri: &Uri) -> Result<Uri, TargetError> {
        self.at(address).at(address.ip().to_canonical()).in_uri(uri)
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, ConnectError>> + Send>>;

pin_project! {
    /// Response future of a [`HappyEyeballs`](super::HappyEyeballs) or a [`Guard`](crate::guard::Guard). Dropping it
    /// closes its sockets.
    #[must_use = "futures do nothing unless polled"]
    pub struct DialFuture<F, T> {
        #[pin]
        state: State<F, T>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, T> {
        Address { #[pin] dial: F, target: Target<'static>, phase: Option<Phase> },
        Name { dial: Boxed<T> },
        Failed { #[pin] error: Ready<ConnectError> },
    }
}

impl<F, T> DialFuture<F, T> {
    /// Creates the future of a dial to an address.
    pub(crate) fn address(dial: F, target: Target<'static>, phase: Option<Phase>) -> Self {
        Self {
            state: State::Address { dial, target, phase },
        }
    }

    /// Creates the future of a dial to a name.
    pub(super) fn name(dial: Boxed<T>) -> Self {
        Self {
            state: State::Name { dial },
        }
    }

    pub(crate) fn failed(error: ConnectError) -> Self {
        Self {
            state: State::Failed { error: ready(error) },
        }
    }
}

impl<F, T, E> Future for DialFuture<F, T>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, ConnectError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            StateProj::Address { dial, target, phase } => {
                let result = ready!(dial.poll(cx));
                let result = match phase.take() {
                    Some(phase) => phase.end(result),
                    None => result,
                };
                result.map_err(|error| ConnectError::dial(error).to(target.authority()))
            }
            StateProj::Name { dial } => ready!(dial.as_mut().poll(cx)),
            StateProj::Failed { error } => Err(ready!(error.poll(cx))),
        })
    }
}

impl<F, T> fmt::Debug for DialFuture<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Address { .. } => "address",
            State::Name { .. } => "name",
            State::Failed { .. } => "failed",
        };
        f.debug_tuple("DialFuture").field(&state).finish()
    }
}
