//! Dials a name: one look-up, then the allowed addresses, with both address families in parallel (RFC 8305).

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

use super::{layer::DialTarget, policy::IpPolicy};
use crate::error::{BoxError, ConnectError};

/// The head start of the first address's family, as in hyper-util's `HttpConnector`.
const FALLBACK_DELAY: Duration = Duration::from_millis(300);

/// A dial to a name that is resolved here.
pub(super) struct ByName<R> {
    pub(super) policy: IpPolicy,
    pub(super) resolver: R,
    pub(super) asked: DialTarget,
    pub(super) uri: Uri,
}

impl<R> ByName<R>
where
    R: Service<Name, Response: Iterator<Item = SocketAddr>, Error: Into<BoxError>>,
{
    /// Dials with a connector that is ready.
    pub(super) async fn dial<S>(mut self, inner: S) -> Result<S::Response, ConnectError>
    where
        S: Service<Uri, Error: Into<BoxError>> + Clone,
    {
        let dialled = match self.resolve().await {
            Ok(addresses) => self.race(inner, &addresses).await,
            Err(error) => Err(error),
        };
        dialled.map_err(|error| error.to(self.asked.target.authority()))
    }

    /// Returns the allowed addresses of the name. If all addresses are denied, the first is the error.
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

    /// Dials the addresses of the first one's family in order. The other family starts after a delay, or once the first
    /// has failed.
    async fn race<S>(&self, inner: S, addresses: &[SocketAddr]) -> Result<S::Response, ConnectError>
    where
        S: Service<Uri, Error: Into<BoxError>> + Clone,
    {
        let Some(first) = addresses.first() else {
            let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            return Err(ConnectError::dial(none));
        };
        let (preferred, others): (Vec<_>, Vec<_>) = addresses
            .iter()
            .partition(|address| address.is_ipv4() == first.is_ipv4());
        let fallback = inner.clone();
        let mut dialling = pin!(self.try_each(inner, preferred));
        if others.is_empty() {
            return dialling.await;
        }
        let mut delay = pin!(sleep(FALLBACK_DELAY));
        let early = poll_fn(|cx| match dialling.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => delay.as_mut().poll(cx).map(|()| None),
        })
        .await;
        let falling_back = pin!(self.try_each(fallback, others));
        match early {
            Some(Ok(stream)) => Ok(stream),
            Some(Err(_)) => falling_back.await,
            None => either(dialling, falling_back).await,
        }
    }

    /// Dials the addresses in order; there must be at least one. The error is that of the last one.
    async fn try_each<S>(&self, mut inner: S, addresses: Vec<SocketAddr>) -> Result<S::Response, ConnectError>
    where
        S: Service<Uri, Error: Into<BoxError>>,
    {
        let mut result = None;
        for address in addresses {
            match self.try_address(&mut inner, address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => result = Some(error),
            }
        }
        Err(result.unwrap_or_else(|| unreachable!("there is at least one address")))
    }

    async fn try_address<S>(&self, inner: &mut S, address: SocketAddr) -> Result<S::Response, ConnectError>
    where
        S: Service<Uri, Error: Into<BoxError>>,
    {
        let target = self.asked.at(address);
        let uri = target.at(address.ip().to_canonical()).in_uri(&self.uri);
        let uri = uri.map_err(ConnectError::target)?;
        poll_fn(|cx| inner.poll_ready(cx)).await.map_err(ConnectError::dial)?;
        inner.call(uri).await.map_err(ConnectError::dial)
    }
}

/// Returns the first success of the two, or the later failure.
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
