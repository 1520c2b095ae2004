//! Connections on which a `Client` forwards requests, to proxies that may speak HTTP/2.
//!
//! The requests share the connection of the tunnels through the same proxy. If an attempt to connect takes longer than
//! a second, another starts beside it.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::time::timeout;

use super::{
    Connector, ProxyStream,
    deadline::Deadline,
    multiplexed::Usable,
    proxied::{Dialer, Failed, Proxied},
};
use crate::{
    config::ProxyServer,
    error::ConnectError,
    http2::{Key, Lease, PATIENCE, Turn, Use},
    layer::Proxy,
    route::Route,
};

/// A connection to a proxy that forwards.
pub(crate) enum Forwarding<T> {
    /// A stream of a connection that is shared.
    Stream(Lease),
    /// A connection over HTTP/1.1. `None` if the proxy was known to speak it, so that nothing was dialled.
    Http1(Option<ProxyStream<T>>),
}

impl<S: Connector> Proxy<S> {
    /// Connects, unless the proxy is known to speak HTTP/1.1. `waited` counts towards the connect time-out.
    pub(crate) async fn forwarding(
        &mut self,
        proxy: &ProxyServer,
        identity: u64,
        waited: Duration,
    ) -> Result<Forwarding<S::Stream>, ConnectError> {
        poll_fn(|cx| self.inner.poll_ready(cx))
            .await
            .map_err(ConnectError::dial)?;
        let limit = self.shared.connect_timeout.map(|limit| limit.saturating_sub(waited));
        let proxied = Proxied {
            shared: self.shared.clone(),
            proxy: proxy.clone(),
            authority: proxy
                .dial_uri()
                .authority()
                .map_or_else(String::new, ToString::to_string),
            deadline: Deadline::after(limit),
            dialer: Dialer::new(&mut self.inner, proxy.dial_uri(), false),
            connections: self.connections.clone(),
            first: None,
            route: Route::Forward(proxy.clone()),
        };
        proxied.forwarding(identity).await
    }
}

/// The result of one way to connect.
type OneWay<S> = Result<Forwarding<<S as Connector>::Stream>, Failed>;

impl<S: Connector> Proxied<S> {
    async fn forwarding(self, identity: u64) -> Result<Forwarding<S::Stream>, ConnectError> {
        let this = Arc::new(self);
        let key = Arc::new(this.key(identity));
        let forwarding = this.clone().with_attempts_beside(key, PATIENCE).await;
        forwarding.map_err(|failed| this.told(failed))
    }

    /// Connects. Each attempt that takes longer than its patience gets another beside it, with twice the patience.
    fn with_attempts_beside(
        self: Arc<Self>,
        key: Arc<Key>,
        patience: Duration,
    ) -> Pin<Box<dyn Future<Output = OneWay<S>> + Send>> {
        Box::pin(async move {
            let mut first = pin!(self.one_way(&key));
            if let Ok(result) = timeout(patience, first.as_mut()).await {
                return result;
            }
            let mut second = self.clone().with_attempts_beside(key.clone(), 2 * patience);
            poll_fn(|cx| match first.as_mut().poll(cx) {
                Poll::Pending => second.as_mut().poll(cx),
                ready => ready,
            })
            .await
        })
    }

    async fn one_way(self: &Arc<Self>, key: &Arc<Key>) -> OneWay<S> {
        Ok(match self.turn(key, Use::Forward).await? {
            Turn::Http1 { .. } => Forwarding::Http1(None),
            turn => match self.take(key, turn).await? {
                Usable::Stream(lease) => Forwarding::Stream(lease),
                Usable::Http1(io) => Forwarding::Http1(Some(ProxyStream::forward(io, self.route.clone()))),
            },
        })
    }
}
