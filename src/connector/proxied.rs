//! [`Proxied`]: a connection to a proxy, or through one, in its steps.

#[cfg(feature = "tls")]
use std::io;
use std::{
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use http::{Method, Uri};
use hyper::rt::{Read, Write};

#[cfg(feature = "tls")]
use super::tls;
use super::{
    ConnectFuture, Connector, ProxyStream,
    deadline::Deadline,
    first_bytes::Awaited,
    optimistic::FirstFlight,
    stream::Io,
    tunnel::{self, ConnectRequest, Tunnel},
};
#[cfg(feature = "http2")]
use crate::http2::{Connections, ProxyVersion};
use crate::{
    accounts::AccountOf,
    auth::{Authentication, Challenge},
    config::ProxyServer,
    error::{ConnectError, Failure, Stage},
    layer::Shared,
    route::Route,
    trace,
};
#[cfg(feature = "tls")]
use crate::{host::HostPort, tls::TlsConfig};

/// The step that failed, and the reason.
pub(super) type Failed = (Stage, Failure);

/// A connection to a proxy, or through one, that is yet to be made.
pub(super) struct Proxied<S: Connector> {
    pub(super) shared: Arc<Shared>,
    pub(super) route: Route,
    pub(super) proxy: ProxyServer,
    pub(super) authority: String,
    pub(super) deadline: Deadline,
    pub(super) dialer: Dialer<S>,
    #[cfg(feature = "http2")]
    pub(super) connections: Connections,
    /// The first bytes in the tunnel, if they need not wait for the response to CONNECT.
    pub(super) first: Option<Arc<FirstFlight>>,
}

/// The versions of HTTP that are offered to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    Http1,
    #[cfg(feature = "http2")]
    Both,
    #[cfg(feature = "http2")]
    Http2,
}

/// A connection to a proxy, and the version of HTTP on it.
pub(super) struct Dialled<T> {
    pub(super) io: Io<T>,
    #[cfg(feature = "http2")]
    pub(super) is_http2: bool,
}

impl<S: Connector> Proxied<S> {
    /// Returns the future of the connection.
    pub(super) fn start(self, awaited: Awaited) -> ConnectFuture<S::Future, S::Stream> {
        let (route, first) = (self.route.clone(), self.first.clone());
        ConnectFuture::proxied(Box::pin(self.establish()), route, awaited, first)
    }

    async fn establish(self) -> Result<ProxyStream<S::Stream>, ConnectError> {
        let this = Arc::new(self);
        this.steps().await.map_err(|failed| this.told(failed))
    }

    /// Returns the error, which is logged.
    pub(super) fn told(&self, failed: Failed) -> ConnectError {
        let error = self.error(failed);
        trace::connect_failed(&error);
        error
    }

    pub(super) fn error(&self, (stage, failure): Failed) -> ConnectError {
        let error = ConnectError::new(stage, failure).through(&self.proxy);
        match self.is_for_any_target() {
            true => error,
            false => error.to(&self.authority),
        }
    }

    /// Returns true for a connection that a `Client` makes to a proxy that forwards: it asks for the proxy itself, since
    /// requests to any target can use it.
    fn is_for_any_target(&self) -> bool {
        let proxy = self.proxy.dial_uri().authority();
        matches!(self.route, Route::Forward(_)) && proxy.is_some_and(|proxy| *proxy == *self.authority)
    }

    async fn steps(self: &Arc<Self>) -> Result<ProxyStream<S::Stream>, Failed> {
        let tunnel = match (&self.route, self.offer()) {
            (Route::Tunnel(_), Offer::Http1) => {
                let authentication = self.authentication().await?;
                let io = self.dial(Offer::Http1).await?.io;
                self.tunnel_over_http1(io, authentication).await?
            }
            #[cfg(feature = "http2")]
            (Route::Tunnel(_), _) => self.shared_tunnel().await?,
            #[cfg(feature = "http2")]
            (_, Offer::Http2) => return Err((Stage::Target, Failure::NeedsHttp1)),
            _ => {
                let io = self.dial(Offer::Http1).await?.io;
                return Ok(ProxyStream::forward(io, self.route.clone()));
            }
        };
        let Tunnel { io, response, early } = tunnel;
        let is_reused = response.is_connection_reused();
        trace::tunnel_opened(&self.proxy, &self.authority, response.version(), is_reused);
        Ok(ProxyStream::tunnel(io, self.route.clone(), response, early))
    }

    pub(super) fn offer(&self) -> Offer {
        Offer::to(&self.shared, &self.proxy)
    }

    /// Dials the proxy, and speaks TLS to it if its address says so.
    pub(super) async fn dial(&self, offer: Offer) -> Result<Dialled<S::Stream>, Failed> {
        let dialled = self.deadline.run(self.dialer.dial(), Failure::Timeout).await;
        let stream = dialled.map_err(|failure| (Stage::Dial, failure))?;
        self.secure(stream, offer)
            .await
            .map_err(|failure| (Stage::Tls, failure))
    }

    #[cfg(feature = "tls")]
    async fn secure(&self, stream: S::Stream, offer: Offer) -> Result<Dialled<S::Stream>, Failure> {
        if !self.proxy.is_tls() {
            return Ok(Dialled {
                io: Io::Plain(stream),
                #[cfg(feature = "http2")]
                is_http2: offer == Offer::Http2,
            });
        }
        let handshake = async {
            let tls = match self.shared.config.tls() {
                Some(tls) => tls.clone(),
                // This proxy came with a `Destination`, or is for other schemes alone.
                None => TlsConfig::platform().map_err(|error| Failure::Tls(io::Error::other(error)))?,
            };
            tls::handshake(stream, self.proxy.host_name(), &tls, offer.alpn())
                .await
                .map_err(Failure::Tls)
        };
        let phase = trace::Phase::proxy_tls(HostPort(self.proxy.host_name().borrowed(), Some(self.proxy.port())));
        let tls = phase.end(self.deadline.run(handshake, Failure::Timeout).await)?;
        #[cfg(feature = "http2")]
        let is_http2 = tls.inner().get_ref().1.alpn_protocol() == Some(tls::HTTP2);
        #[cfg(feature = "http2")]
        if offer == Offer::Http2 && !is_http2 {
            return Err(Failure::NotHttp2);
        }
        Ok(Dialled {
            io: Io::Tls(Box::new(tls)),
            #[cfg(feature = "http2")]
            is_http2,
        })
    }

    /// Returns the stream as it is. A build without TLS rejects the address of an `https://` proxy.
    #[cfg(not(feature = "tls"))]
    async fn secure(&self, stream: S::Stream, _offer: Offer) -> Result<Dialled<S::Stream>, Failure> {
        Ok(Dialled {
            io: Io::Plain(stream),
            #[cfg(feature = "http2")]
            is_http2: _offer == Offer::Http2,
        })
    }

    /// Opens a tunnel on a connection of its own, or on another one after a challenge.
    pub(super) async fn tunnel_over_http1(
        &self,
        mut io: Io<S::Stream>,
        mut authentication: Authentication,
    ) -> Result<Tunnel<Io<S::Stream>>, Failed>
    where
        S::Stream: Read + Write + Unpin,
    {
        let (mut is_kept, mut is_continued) = (false, false);
        loop {
            let phase = trace::Phase::connect(&self.authority);
            let opened = tunnel::open(io, &self.request(&mut authentication), self.deadline).await;
            let refused = match phase.end(opened) {
                Ok(tunnel) => {
                    authentication.accepted();
                    return Ok(tunnel);
                }
                Err(refused) => refused,
            };
            // The proxy may have closed it with its refusal.
            let was_closed = is_kept && !is_continued && refused.failure.is_closed();
            if !was_closed {
                is_continued = authentication.is_continued(&refused.challenges);
                // The next round has no meaning on another connection.
                let is_over = is_continued && refused.connection.is_none();
                let exchanged = match is_over {
                    true => None,
                    false => {
                        self.exchange(&authentication, &refused.failure, &refused.challenges)
                            .await?
                    }
                };
                authentication = match exchanged {
                    Some(better) => better,
                    None => return Err((Stage::Tunnel, refused.failure)),
                };
            }
            (io, is_kept) = match refused.connection {
                Some(io) => (io, true),
                None => (self.dial(Offer::Http1).await?.io, false),
            };
        }
    }

    pub(super) fn account(&self) -> AccountOf<'_> {
        self.shared.account(&self.proxy)
    }

    /// Returns how CONNECT authenticates, for which a provider may have to be asked.
    pub(super) async fn authentication(&self) -> Result<Authentication, Failed> {
        let account = self.account();
        let authentication = async { account.authentication().await.map_err(Failure::Provider) };
        let authentication = self.deadline.run(authentication, Failure::Timeout).await;
        authentication.map_err(|failure| (Stage::Credentials, failure))
    }

    /// Exchanges an authentication that the proxy refused for a better one. `None` if there is none, or the refusal is
    /// not about credentials.
    pub(super) async fn exchange(
        &self,
        refused: &Authentication,
        failure: &Failure,
        challenges: &[Challenge],
    ) -> Result<Option<Authentication>, Failed> {
        match failure {
            Failure::Refused { response, .. } if response.is_auth() => {}
            _ => return Ok(None),
        }
        let account = self.account();
        let exchange = async {
            let exchanged = account.exchange(refused, challenges, self.shared.schemes).await;
            exchanged.map_err(Failure::Provider)
        };
        let exchanged = self.deadline.run(exchange, Failure::Timeout).await;
        exchanged.map_err(|failure| (Stage::Credentials, failure))
    }

    pub(super) fn request<'r>(&'r self, authentication: &'r mut Authentication) -> ConnectRequest<'r> {
        ConnectRequest {
            authority: &self.authority,
            headers: &self.shared.connect_headers,
            authorization: authentication.authorization(self.shared.schemes, &Method::CONNECT, &self.authority),
            authentication,
        }
    }
}

impl Offer {
    /// Returns the versions of HTTP that a proxy may speak.
    pub(super) fn to(shared: &Shared, proxy: &ProxyServer) -> Self {
        #[cfg(feature = "http2")]
        return match (shared.proxy_version, proxy.is_tls()) {
            (ProxyVersion::Http2, _) => Self::Http2,
            (ProxyVersion::Negotiated, true) => Self::Both,
            (ProxyVersion::Negotiated, false) | (ProxyVersion::Http1, _) => Self::Http1,
        };
        #[cfg(not(feature = "http2"))]
        {
            let _ = (shared, proxy);
            Self::Http1
        }
    }

    #[cfg(feature = "tls")]
    fn alpn(self) -> Vec<Vec<u8>> {
        let protocols: &[&[u8]] = match self {
            Self::Http1 => &[tls::HTTP1],
            #[cfg(feature = "http2")]
            Self::Both => &[tls::HTTP2, tls::HTTP1],
            #[cfg(feature = "http2")]
            Self::Http2 => &[tls::HTTP2],
        };
        protocols.iter().map(|protocol| protocol.to_vec()).collect()
    }
}

/// Returns true if this proxy may speak HTTP/2.
#[cfg(feature = "client")]
pub(crate) fn may_speak_http2(shared: &Shared, proxy: &ProxyServer) -> bool {
    Offer::to(shared, proxy) != Offer::Http1
}

/// Dials a proxy, as often as it takes.
pub(super) struct Dialer<S: Connector> {
    proxy: Uri,
    state: Mutex<(Option<First<S>>, S)>,
}

/// The first dial.
enum First<S: Connector> {
    Called(S::Future),
    /// A connector that is ready.
    Ready(S),
}

impl<S: Connector> Dialer<S> {
    /// Calls a connector that is ready, or keeps it and leaves a clone if a connection may not be needed.
    pub(super) fn new(inner: &mut S, proxy: &Uri, is_needed: bool) -> Self {
        let other = inner.clone();
        let first = match is_needed {
            true => First::Called(inner.dial_proxy(proxy.clone())),
            false => First::Ready(mem::replace(inner, other.clone())),
        };
        Self {
            proxy: proxy.clone(),
            state: Mutex::new((Some(first), other)),
        }
    }

    async fn dial(&self) -> Result<S::Stream, Failure> {
        let failed = |error: S::Error| Failure::dial(error.into());
        let next = {
            let (first, other) = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
            first.take().ok_or_else(|| other.clone())
        };
        let dial = match next {
            Ok(First::Called(dial)) => dial,
            Ok(First::Ready(mut connector)) => connector.dial_proxy(self.proxy.clone()),
            Err(mut connector) => {
                poll_fn(|cx| connector.poll_ready(cx)).await.map_err(failed)?;
                connector.dial_proxy(self.proxy.clone())
            }
        };
        dial.await.map_err(failed)
    }
}
