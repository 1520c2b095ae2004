//! [`GuardFuture`]: a pending guarded connection.

use std::{
    fmt,
    future::{Ready, ready},
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use crate::{
    error::{BoxError, ConnectError},
    target::Target,
};

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, ConnectError>> + Send>>;

pin_project! {
    /// Response future of a [`Guard`](super::Guard). Dropping it closes the socket.
    #[must_use = "futures do nothing unless polled"]
    pub struct GuardFuture<F, T> {
        #[pin]
        state: State<F, T>,
    }
}

pin_project! {
    #[project = StateProj]
    pub(super) enum State<F, T> {
        Dialling { #[pin] dial: F, target: Target<'static> },
        ByName { dial: Boxed<T> },
        Failed { #[pin] error: Ready<ConnectError> },
    }
}

impl<F, T> GuardFuture<F, T> {
    pub(super) fn new(state: State<F, T>) -> Self {
        Self { state }
    }

    pub(super) fn failed(error: ConnectError) -> Self {
        Self::new(State::Failed { error: ready(error) })
    }
}

impl<F, T, E> Future for GuardFuture<F, T>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, ConnectError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            StateProj::Dialling { dial, target } => {
                ready!(dial.poll(cx)).map_err(|error| ConnectError::dial(error).to(target.authority()))
            }
            StateProj::ByName { dial } => ready!(dial.as_mut().poll(cx)),
            StateProj::Failed { error } => Err(ready!(error.poll(cx))),
        })
    }
}

impl<F, T> fmt::Debug for GuardFuture<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Dialling { .. } => "dialling",
            State::ByName { .. } => "by name",
            State::Failed { .. } => "failed",
        };
        f.debug_tuple("GuardFuture").field(&state).finish()
    }
}
