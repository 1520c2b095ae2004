//! Dials a name by its addresses: one look-up, then the allowed addresses, two families side by side (RFC 8305).

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use http::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::sleep;
use tower_service::Service;

use super::{layer::Asked, policy::IpPolicy};
use crate::error::{BoxError, ConnectError};

/// The head start of the first address's family, as in hyper-util's `HttpConnector`.
const FALLBACK_DELAY: Duration = Duration::from_millis(300);

/// A dial to a name that is resolved here.
pub(super) struct ByName<S, R> {
    pub(super) policy: IpPolicy,
    pub(super) resolver: R,
    /// It is ready.
    pub(super) inner: S,
    pub(super) asked: Asked,
    pub(super) uri: Uri,
}

impl<S, R> ByName<S, R>
where
    S: Service<Uri, Error: Into<BoxError>> + Clone,
    R: Service<Name, Response: Iterator<Item = SocketAddr>, Error: Into<BoxError>>,
{
    pub(super) async fn dial(mut self) -> Result<S::Response, ConnectError> {
        let dialled = self.resolve_and_race().await;
        dialled.map_err(|error| error.to(self.asked.target.authority()))
    }

    async fn resolve_and_race(&mut self) -> Result<S::Response, ConnectError> {
        let addresses = self.resolve().await?;
        let first = addresses
            .first()
            .ok_or_else(|| ConnectError::dial(io::Error::new(io::ErrorKind::NotFound, "the name has no address")))?;
        let (preferred, others) = addresses
            .iter()
            .partition(|address| address.is_ipv4() == first.is_ipv4());
        self.race(preferred, others).await
    }

    /// The allowed addresses of the name. If there are none but denied ones, the first of those is the error.
    async fn resolve(&mut self) -> Result<Vec<SocketAddr>, ConnectError> {
        let name = self.asked.target.written();
        let name = name.parse::<Name>().map_err(ConnectError::dial)?;
        poll_fn(|cx| self.resolver.poll_ready(cx))
            .await
            .map_err(ConnectError::dial)?;
        let addresses = self.resolver.call(name).await.map_err(ConnectError::dial)?;
        self.policy
            .retain_allowed(addresses, |address| self.asked.at(address))
            .map_err(ConnectError::denied_by)
    }

    /// Dials the addresses of one family in order, and those of the other after a delay, or once the first are exhausted.
    async fn race(&self, preferred: Vec<SocketAddr>, others: Vec<SocketAddr>) -> Result<S::Response, ConnectError> {
        let mut first = pin!(self.try_each(self.inner.clone(), preferred));
        if others.is_empty() {
            return first.await;
        }
        let mut delay = pin!(sleep(FALLBACK_DELAY));
        let failed = poll_fn(|cx| match first.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => delay.as_mut().poll(cx).map(|()| None),
        })
        .await;
        let mut second = pin!(self.try_each(self.inner.clone(), others));
        match failed {
            Some(Ok(stream)) => Ok(stream),
            Some(Err(_)) => second.await,
            None => either(first, second.as_mut()).await,
        }
    }

    async fn try_each(&self, mut inner: S, addresses: Vec<SocketAddr>) -> Result<S::Response, ConnectError> {
        let mut failed = None;
        for address in addresses {
            match self.try_address(&mut inner, address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| ConnectError::dial("no address was dialled")))
    }

    async fn try_address(&self, inner: &mut S, address: SocketAddr) -> Result<S::Response, ConnectError> {
        let target = self.asked.at(address).at(address.ip().to_canonical());
        let uri = target.in_uri(&self.uri).map_err(ConnectError::target)?;
        poll_fn(|cx| inner.poll_ready(cx)).await.map_err(ConnectError::dial)?;
        inner.call(uri).await.map_err(ConnectError::dial)
    }
}

/// The first success of two, or the failure of the one that fails last.
async fn either<T, E>(
    mut first: Pin<&mut impl Future<Output = Result<T, E>>>,
    mut second: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> Result<T, E> {
    let first_to_end = poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready((result, true)),
        Poll::Pending => second.as_mut().poll(cx).map(|result| (result, false)),
    })
    .await;
    match first_to_end {
        (Ok(stream), _) => Ok(stream),
        (Err(_), true) => second.await,
        (Err(_), false) => first.await,
    }
}
