//! [`ConnectFuture`]: a pending connection.
//!
//! A direct connection is polled in place. A proxied one is a boxed `async` function, whose code reads from top to
//! bottom. Its one allocation is small beside a dial over the network.

use std::{
    fmt,
    future::{Ready, ready},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Uri;
use pin_project_lite::pin_project;

use super::{
    ProxyStream,
    first_bytes::Awaited,
    optimistic::{Connecting, FirstFlight, Opening},
};
use crate::{
    error::{BoxError, ConnectError},
    route::Route,
    target::Target,
};

pin_project! {
    /// Response future of a [`Proxy`](crate::Proxy) around a connector. Dropping it closes the socket.
    #[must_use = "futures do nothing unless polled"]
    pub struct ConnectFuture<F, T> {
        #[pin]
        state: State<F, T>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, T> {
        Direct { #[pin] dial: F, uri: Uri, awaited: Awaited },
        Proxied { connection: Option<Connecting<T>>, route: Route, awaited: Awaited, first: Option<Arc<FirstFlight>> },
        Failed { #[pin] error: Ready<ConnectError> },
    }
}

impl<F, T> ConnectFuture<F, T> {
    pub(super) fn direct(dial: F, uri: Uri, awaited: Awaited) -> Self {
        Self {
            state: State::Direct { dial, uri, awaited },
        }
    }

    /// Creates the future of a proxied connection. Once the first flight is wanted, the stream is returned that waits
    /// for the connection.
    pub(super) fn proxied(
        connection: Connecting<T>,
        route: Route,
        awaited: Awaited,
        first: Option<Arc<FirstFlight>>,
    ) -> Self {
        Self {
            state: State::Proxied {
                connection: Some(connection),
                route,
                awaited,
                first,
            },
        }
    }

    pub(super) fn failed(error: ConnectError) -> Self {
        Self {
            state: State::Failed { error: ready(error) },
        }
    }
}

impl<F, T, E> Future for ConnectFuture<F, T>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<ProxyStream<T>, ConnectError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Direct { dial, uri, awaited } => Poll::Ready(match ready!(dial.poll(cx)) {
                Ok(stream) => Ok(ProxyStream::direct(stream).awaiting(mem::replace(awaited, Awaited::Any))),
                Err(error) => {
                    let error = ConnectError::dial(error);
                    Err(match Target::try_from(&*uri) {
                        Ok(target) => error.to(target.authority()),
                        Err(_) => error,
                    })
                }
            }),
            StateProj::Proxied {
                connection,
                route,
                awaited,
                first,
            } => {
                let Some(mut pending) = connection.take() else {
                    unreachable!("a future is polled until it is ready")
                };
                let stream = match (pending.as_mut().poll(cx), first) {
                    (Poll::Ready(connected), _) => connected?,
                    (Poll::Pending, Some(first)) if first.is_wanted() => {
                        ProxyStream::opening(Opening::new(pending, first.clone()), route.clone())
                    }
                    (Poll::Pending, _) => {
                        *connection = Some(pending);
                        return Poll::Pending;
                    }
                };
                Poll::Ready(Ok(stream.awaiting(mem::replace(awaited, Awaited::Any))))
            }
            StateProj::Failed { error } => error.poll(cx).map(Err),
        }
    }
}

impl<F, T> fmt::Debug for ConnectFuture<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Direct { .. } => "direct",
            State::Proxied { .. } => "proxied",
            State::Failed { .. } => "failed",
        };
        f.debug_tuple("ConnectFuture").field(&state).finish()
    }
}
