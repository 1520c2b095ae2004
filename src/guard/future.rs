//! [`Guarding`]: a connection in the making, below a guard.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use super::dial::{Asked, Marked};
use crate::{
    error::{BoxError, ConnectError, Failure, Stage, TargetError},
    target::Authority,
};

pin_project! {
    /// A guarded connection in the making. Dropping it closes the socket.
    #[must_use = "futures do nothing unless polled"]
    pub struct Guarding<F, T> {
        #[pin]
        state: State<F, T>,
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, ConnectError>> + Send>>;

pin_project! {
    #[project = StateProj]
    pub(super) enum State<F, T> {
        ToProxy { #[pin] dial: F },
        Dialling { asked: Arc<Asked>, #[pin] dial: Marked<F> },
        ByName { dial: Boxed<T> },
        Failed { error: Option<ConnectError> },
    }
}

impl<F, T> Guarding<F, T> {
    pub(super) fn new(state: State<F, T>) -> Self {
        Self { state }
    }
}

impl<F, T, E> Future for Guarding<F, T>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, ConnectError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            StateProj::ToProxy { dial } => ready!(dial.poll(cx)).map_err(ConnectError::dial),
            StateProj::Dialling { asked, dial } => {
                ready!(dial.poll(cx)).map_err(|error| ConnectError::dial(error).to(Authority(&asked.target)))
            }
            StateProj::ByName { dial } => ready!(dial.as_mut().poll(cx)),
            StateProj::Failed { error } => Err(error.take().unwrap_or_else(|| {
                let error = TargetError::new("polled after it was done");
                ConnectError::new(Stage::Target, Failure::Target(error))
            })),
        })
    }
}

impl<F, T> fmt::Debug for Guarding<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::ToProxy { .. } => "to a proxy",
            State::Dialling { .. } => "dialling",
            State::ByName { .. } => "by name",
            State::Failed { .. } => "failed",
        };
        f.debug_tuple("Guarding").field(&state).finish()
    }
}
