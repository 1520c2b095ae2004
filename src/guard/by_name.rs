//! Dialling a name by its addresses: one look-up, and one allowed address after the other.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc};

use http::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use super::{dial::Asked, resolver::GuardedResolver};
use crate::{
    error::{BoxError, ConnectError, Failure, Stage},
    target::Authority,
};

/// A dial to a name that is resolved here.
pub(super) struct ByName<S, R> {
    pub(super) resolver: GuardedResolver<R>,
    pub(super) inner: S,
    pub(super) asked: Arc<Asked>,
    pub(super) uri: Uri,
}

impl<S, R> ByName<S, R>
where
    S: Service<Uri>,
    S::Error: Into<BoxError>,
    R: Service<Name>,
    R::Response: Iterator<Item = SocketAddr>,
    R::Error: Into<BoxError>,
{
    pub(super) async fn dial(mut self) -> Result<S::Response, ConnectError> {
        let dialled = self.try_each_address().await;
        dialled.map_err(|error| error.to(Authority(&self.asked.target)))
    }

    async fn try_each_address(&mut self) -> Result<S::Response, ConnectError> {
        let name = self.asked.target.written();
        let name = name.parse::<Name>().map_err(ConnectError::dial)?;
        poll_fn(|cx| self.resolver.poll_ready(cx))
            .await
            .map_err(ConnectError::dial)?;
        let addresses = self.resolver.call(name).await.map_err(ConnectError::dial)?;

        let mut failed = None;
        for address in addresses {
            match self.try_address(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = Some(error),
            }
        }
        let no_address = || ConnectError::dial(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        Err(failed.unwrap_or_else(no_address))
    }

    async fn try_address(&mut self, address: SocketAddr) -> Result<S::Response, ConnectError> {
        let target = self.asked.at(address);
        let uri = target
            .at(address.ip().to_canonical())
            .in_uri(&self.uri)
            .map_err(|error| ConnectError::new(Stage::Target, Failure::Target(error)))?;
        poll_fn(|cx| self.inner.poll_ready(cx))
            .await
            .map_err(ConnectError::dial)?;
        self.inner.call(uri).await.map_err(ConnectError::dial)
    }
}
