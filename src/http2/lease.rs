//! [`Lease`]: one stream of a connection, while it is in use.

use std::{
    io,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{Request, Version};
use tokio::time::Instant;

use super::{
    link::Link,
    receiving::Receiving,
    registry::{Key, Registry},
};
#[cfg(feature = "client")]
use crate::config::ProxyServer;

/// The connection to a proxy over HTTP/2 that a request used.
///
/// Responses carry it in their extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyConnection {
    version: Version,
    is_reused: bool,
}

impl ProxyConnection {
    /// Returns the version of HTTP on the connection to the proxy.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns true if the connection was open already, for other tunnels or requests.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.is_reused
    }
}

/// One stream of a connection. Dropping it frees the stream for another request.
pub(crate) struct Lease {
    pub(super) registry: Weak<Registry>,
    pub(super) key: Arc<Key>,
    /// The connection.
    pub(super) id: u64,
    pub(super) sender: SendRequest<Bytes>,
    pub(super) link: Arc<Link>,
    /// True if the connection was open before.
    pub(super) is_reused: bool,
    pub(super) sent: Option<Instant>,
    pub(super) is_answered: bool,
    pub(super) is_tunnel: bool,
}

impl Lease {
    /// Waits until a request can be sent, and returns its sender. Nothing is sent if it fails.
    pub(crate) async fn ready(&self) -> Result<SendRequest<Bytes>, h2::Error> {
        self.sender.clone().ready().await
    }

    /// Sends the head of a request by a sender that is [ready](Self::ready), and is so again when the stream is open.
    pub(crate) fn send(
        &mut self,
        sender: &mut SendRequest<Bytes>,
        request: Request<()>,
        is_end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.sent = Some(Instant::now());
        sender.send_request(request, is_end)
    }

    /// Records that the proxy has answered; for a CONNECT, with true if it opened a tunnel.
    pub(crate) fn answered(&mut self, has_opened: Option<bool>) {
        if !std::mem::replace(&mut self.is_answered, true) {
            self.is_tunnel = has_opened == Some(true);
            if let Some(registry) = self.registry.upgrade() {
                registry.answered(self, has_opened);
            }
        }
    }

    /// Returns the receiving half of this stream.
    pub(crate) fn receive(&self, stream: RecvStream) -> Arc<Receiving> {
        let receiving = Arc::new(Receiving::new(stream));
        self.link.add(Arc::downgrade(&receiving));
        receiving
    }

    /// Returns true if nothing was read from the connection since the request was sent.
    pub(super) fn is_silent(&self) -> bool {
        self.sent.is_some_and(|sent| self.link.last_read.get() < sent)
    }

    /// Returns true if the connection was open before.
    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Returns the connection, as its user sees it.
    pub(crate) fn connection(&self) -> ProxyConnection {
        ProxyConnection {
            version: Version::HTTP_2,
            is_reused: self.is_reused,
        }
    }

    #[cfg(feature = "client")]
    pub(crate) fn proxy(&self) -> &ProxyServer {
        &self.key.proxy
    }

    /// Returns the error of this stream.
    pub(crate) fn error(&self, error: h2::Error) -> io::Error {
        self.link.error(error)
    }

    /// Returns a handle that knows how the request fares.
    pub(crate) fn watch(&self) -> Watch {
        Watch {
            registry: self.registry.clone(),
            key: self.key.clone(),
            id: self.id,
            link: self.link.clone(),
            since: Instant::now(),
        }
    }
}

/// A request that is about to be sent, as the attempts beside it see it.
pub(crate) struct Watch {
    registry: Weak<Registry>,
    key: Arc<Key>,
    id: u64,
    link: Arc<Link>,
    since: Instant,
}

impl Watch {
    /// Returns the number of the connection, which no other one of this process has.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Records that the answer is late.
    pub(crate) fn is_late(&self) {
        self.link.want_ping();
    }

    /// Records that another connection was faster.
    pub(crate) fn was_overtaken(&self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.was_overtaken(&self.key, self.id, self.link.last_read.get() < self.since);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.registry.upgrade() {
            Some(registry) => registry.released(self),
            None => self.link.end(),
        }
    }
}
