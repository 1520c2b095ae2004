//! Tunnels over HTTP/2, on connections that many of them share.
//!
//! - Requests that come together share one handshake, which goes on if the one that began it is given up.
//! - A CONNECT that is not answered for a second is sent once more over another connection, and after another second
//!   over a third. The first answer wins.
//! - One that the proxy promised not to have processed, or whose connection was lost, is sent again.
//! - A proxy that chose HTTP/2 and has never answered over it is asked in HTTP/1.1, and so is one whose authentication
//!   takes several rounds on one connection.

use std::{
    future::poll_fn,
    io::ErrorKind,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use h2::Reason;
use hyper_util::rt::TokioIo;
use tokio::{runtime::Handle, time::timeout};

use super::{
    Connector,
    proxied::{Dialled, Failed, Offer, Proxied},
    stream::Io,
    tunnel::{self, Tunnel},
};
use crate::{
    auth::{Authentication, Challenge},
    config::ProxyServer,
    error::{Failure, Stage, find},
    http2::{Key, Lease, PATIENCE, Permit, Turn, Use, Wish, handshake},
    layer::Shared,
    trace,
};

/// The most connections on which one CONNECT is sent, one after the other.
const MOST_TRIES: u8 = 3;

/// A connection that can be used for one tunnel.
pub(super) enum Usable<T> {
    Stream(Lease),
    Http1(Io<T>),
}

/// A way that led to no tunnel.
struct DeadEnd {
    failed: Failed,
    is_over_http2: bool,
    /// The credentials that were sent, and what the proxy asks for.
    refused: Option<(Authentication, Vec<Challenge>)>,
}

impl From<Failed> for DeadEnd {
    fn from(failed: Failed) -> Self {
        Self {
            failed,
            is_over_http2: false,
            refused: None,
        }
    }
}

/// The next step after a dead end.
enum Next {
    /// The same again, since the proxy did not process the request, or the connection was lost.
    Again,
    /// HTTP/1.1, since the proxy may not take CONNECT over HTTP/2.
    Http1,
    Fail,
}

/// Returns the properties that tunnels through this proxy must share to use one connection.
#[cfg_attr(not(feature = "tls"), allow(unused_variables))]
pub(crate) fn key(shared: &Shared, proxy: &ProxyServer, identity: u64) -> Key {
    Key {
        proxy: proxy.clone(),
        identity,
        #[cfg(feature = "tls")]
        tls: shared.config.tls().filter(|_| proxy.is_tls()).cloned(),
    }
}

/// The most connections on which one CONNECT waits at a time.
const MOST_WAYS: u8 = 3;

type Race<'a, S> = Pin<Box<dyn Future<Output = Result<Opened<S>, DeadEnd>> + Send + 'a>>;

type Opened<S> = Tunnel<Io<<S as Connector>::Stream>>;

impl<S: Connector> Proxied<S> {
    /// Opens a tunnel, over HTTP/2 if the proxy speaks it.
    pub(super) async fn shared_tunnel(self: &Arc<Self>) -> Result<Opened<S>, Failed> {
        let mut tries = 0;
        let mut authentication = self.authentication().await?;
        loop {
            let key = Arc::new(self.key(authentication.identity()));
            let dead_end = match self.usable(&key, Use::Tunnel).await? {
                Usable::Http1(io) => return self.flight_over_http1(io, authentication).await,
                Usable::Stream(lease) => match self.race(&key, lease, &authentication, MOST_WAYS).await {
                    Ok(tunnel) => return Ok(tunnel),
                    Err(dead_end) => dead_end,
                },
            };
            if dead_end.is_continued() {
                return match self.offer() {
                    Offer::Both => self.back_to_http1(&key, dead_end.failed).await,
                    _ => Err(dead_end.failed),
                };
            }
            if let Some((refused, challenges)) = &dead_end.refused {
                if let Some(better) = self.exchange(refused, &dead_end.failed.1, challenges).await? {
                    authentication = better;
                    continue;
                }
            }
            tries += 1;
            match self.next(&key, &dead_end) {
                Next::Again if tries < MOST_TRIES => {}
                Next::Http1 => return self.back_to_http1(&key, dead_end.failed).await,
                Next::Again | Next::Fail => return Err(dead_end.failed),
            }
        }
    }

    pub(super) fn key(&self, identity: u64) -> Key {
        key(&self.shared, &self.proxy, identity)
    }

    /// Returns a stream of a connection that is open or becomes so, or a connection in HTTP/1.1.
    async fn usable(self: &Arc<Self>, key: &Arc<Key>, wanted: Use) -> Result<Usable<S::Stream>, Failed> {
        let turn = self.turn(key, wanted).await?;
        self.take(key, turn).await
    }

    pub(super) async fn turn(&self, key: &Arc<Key>, wanted: Use) -> Result<Turn, Failed> {
        let limit = self.connections.settings().max_connections;
        let timed_out = |waited| match limit {
            usize::MAX => Failure::Timeout(waited),
            limit => Failure::NoStream { waited, limit },
        };
        let turn = async { Ok(self.connections.turn(key, wanted).await) };
        let turn = self.deadline.run(turn, timed_out).await;
        turn.map_err(|failure| (Stage::Dial, failure))
    }

    pub(super) async fn take(self: &Arc<Self>, key: &Arc<Key>, turn: Turn) -> Result<Usable<S::Stream>, Failed> {
        match turn {
            Turn::Stream(lease) => Ok(Usable::Stream(lease)),
            Turn::Connect(permit) => {
                let wish = permit.wish();
                Attempt::new(self.clone().attempt(key.clone(), permit), wish).await
            }
            Turn::Http1 { is_only: true } => Ok(Usable::Http1(self.dial(Offer::Http1).await?.io)),
            Turn::Http1 { is_only: false } => {
                let dialled = self.dial(self.offer()).await?;
                match dialled.is_http2 {
                    true => self.share(key, dialled, None).await,
                    false => Ok(Usable::Http1(dialled.io)),
                }
            }
        }
    }

    /// Connects for all that wait.
    async fn attempt(self: Arc<Self>, key: Arc<Key>, permit: Permit) -> Result<Usable<S::Stream>, Failed> {
        match self.dial(self.offer()).await {
            Ok(dialled) if dialled.is_http2 => self.share(&key, dialled, Some(permit)).await,
            Ok(dialled) => {
                self.connections.speaks_http1(&key);
                Ok(Usable::Http1(dialled.io))
            }
            Err(failed) => {
                permit.failed();
                Err(failed)
            }
        }
    }

    /// Speaks HTTP/2 on a new connection, and lets others use it.
    async fn share(
        &self,
        key: &Arc<Key>,
        dialled: Dialled<S::Stream>,
        permit: Option<Permit>,
    ) -> Result<Usable<S::Stream>, Failed> {
        let handshake = handshake(TokioIo::new(dialled.io), self.connections.settings());
        let handshake = async { handshake.await.map_err(Failure::Io) };
        match self.deadline.run(handshake, Failure::Timeout).await {
            Ok(connection) => {
                trace::connected_over_http2(&self.proxy);
                let is_named = self.shared.config.proxies().any(|proxy| *proxy == self.proxy);
                Ok(Usable::Stream(self.connections.add(key, permit, connection, is_named)))
            }
            Err(failure) => {
                permit.into_iter().for_each(Permit::failed);
                Err((Stage::Tunnel, failure))
            }
        }
    }

    /// Sends CONNECT on a stream, and on another connection if the answer is late.
    async fn race(
        self: &Arc<Self>,
        key: &Arc<Key>,
        lease: Lease,
        authentication: &Authentication,
        ways: u8,
    ) -> Result<Opened<S>, DeadEnd> {
        let watch = lease.watch();
        let mut first = pin!(self.over_http2(lease, authentication.clone()));
        if ways <= 1 {
            return first.await;
        }
        if let Ok(result) = timeout(PATIENCE, first.as_mut()).await {
            return result;
        }
        watch.is_late();
        let mut second = pin!(self.another_way(key, watch.id(), authentication, ways - 1));
        let (mut of_first, mut of_second) = (None, None);
        poll_fn(|cx| {
            if of_first.is_none() {
                match first.as_mut().poll(cx) {
                    Poll::Ready(Err(dead_end)) if of_second.is_none() && !dead_end.is_answer() => {
                        of_first = Some(dead_end);
                    }
                    Poll::Ready(result) => return Poll::Ready(result),
                    Poll::Pending => {}
                }
            }
            if of_second.is_none() {
                match second.as_mut().poll(cx) {
                    Poll::Ready(Err(dead_end)) if !dead_end.is_answer() => of_second = Some(dead_end),
                    Poll::Ready(result) => {
                        if of_first.is_none() {
                            watch.was_overtaken();
                        }
                        return Poll::Ready(result);
                    }
                    Poll::Pending => {}
                }
            }
            match of_second.is_some().then(|| of_first.take()).flatten() {
                Some(dead_end) => Poll::Ready(Err(dead_end)),
                None => Poll::Pending,
            }
        })
        .await
    }

    async fn another_way(
        self: &Arc<Self>,
        key: &Arc<Key>,
        except: u64,
        authentication: &Authentication,
        ways: u8,
    ) -> Result<Opened<S>, DeadEnd> {
        // A value that serves once is on the other way.
        let authentication = match authentication.is_once() {
            true => self.authentication().await?,
            false => authentication.clone(),
        };
        match self.usable(key, Use::AnotherWay(except)).await? {
            Usable::Stream(lease) => self.further_race(key, lease, &authentication, ways).await,
            Usable::Http1(io) => Ok(self.flight_over_http1(io, authentication).await?),
        }
    }

    /// A race within a race, whose type would contain itself.
    fn further_race<'a>(
        self: &'a Arc<Self>,
        key: &'a Arc<Key>,
        lease: Lease,
        authentication: &'a Authentication,
        ways: u8,
    ) -> Race<'a, S> {
        Box::pin(self.race(key, lease, authentication, ways))
    }

    async fn over_http2(&self, lease: Lease, mut authentication: Authentication) -> Result<Opened<S>, DeadEnd> {
        let phase = trace::Phase::connect(&self.authority);
        let request = self.request(&mut authentication);
        let opened = tunnel::open_over_http2(lease, self.first.clone(), &request, self.deadline).await;
        match phase.end(opened) {
            Ok(Tunnel { io, response, early }) => {
                authentication.accepted();
                Ok(Tunnel {
                    io: Io::Http2(Box::new(io)),
                    response,
                    early,
                })
            }
            Err(refused) => Err(DeadEnd {
                failed: (Stage::Tunnel, refused.failure),
                is_over_http2: true,
                refused: Some((authentication, refused.challenges)),
            }),
        }
    }

    /// Opens a tunnel over HTTP/1.1, and sends what was written before it was open.
    async fn flight_over_http1(&self, io: Io<S::Stream>, authentication: Authentication) -> Result<Opened<S>, Failed> {
        let mut tunnel = self.tunnel_over_http1(io, authentication).await?;
        if let Some(first) = &self.first {
            let mut sent = 0;
            loop {
                let bytes = first.bytes();
                if bytes.len() == sent {
                    break;
                }
                let written = tunnel::write_all(&mut tunnel.io, &bytes[sent..]).await;
                written.map_err(|error| (Stage::Tunnel, Failure::Io(error)))?;
                sent = bytes.len();
            }
        }
        Ok(tunnel)
    }

    /// Asks in HTTP/1.1. If the proxy answers, it is asked so for a while.
    async fn back_to_http1(&self, key: &Arc<Key>, failed: Failed) -> Result<Opened<S>, Failed> {
        // Some proxies offer HTTP/2 alone, and then the first error says more.
        let Ok(Dialled { io, .. }) = self.dial(Offer::Http1).await else {
            return Err(failed);
        };
        let authentication = self.authentication().await?;
        let result = self.flight_over_http1(io, authentication).await;
        let is_better = match (&result, &failed.1) {
            (Ok(_), _) => true,
            // In HTTP/2, it had not answered at all.
            (Err((_, Failure::Refused { .. })), Failure::Io(_)) => true,
            (Err(_), _) => false,
        };
        if is_better && self.connections.takes_no_http2(key) {
            trace::back_to_http1(&self.proxy, &self.error(failed));
        }
        result
    }

    fn next(&self, key: &Arc<Key>, dead_end: &DeadEnd) -> Next {
        if !dead_end.is_over_http2 {
            return Next::Fail;
        }
        let may_fall_back = self.offer() == Offer::Both && !self.connections.has_opened(key);
        match &dead_end.failed.1 {
            Failure::Io(error) => {
                let is_no_http2 = error.kind() == ErrorKind::InvalidData;
                let error = find::<h2::Error>(error).filter(|error| error.is_remote());
                let is_refused = error.is_some_and(|error| error.reason() == Some(Reason::REFUSED_STREAM));
                let is_gone = error.is_some_and(|error| error.is_go_away());
                let is_reset = error.is_some_and(|error| error.is_reset());
                let is_at_end = error.is_some_and(|error| is_gone && error.reason() == Some(Reason::NO_ERROR));
                match may_fall_back && !self.connections.has_answered(key) && !is_refused && !is_at_end {
                    // It has never answered, and does not like what it was sent.
                    true => Next::Http1,
                    false if is_no_http2 || is_reset && !is_refused => Next::Fail,
                    false => Next::Again,
                }
            }
            // Some servers forward over HTTP/2 and do not tunnel.
            Failure::Refused { response, .. } if may_fall_back && matches!(response.status().as_u16(), 405 | 501) => {
                Next::Http1
            }
            _ => Next::Fail,
        }
    }
}

impl DeadEnd {
    /// Returns true if the proxy wants the exchange of credentials continued on the same connection. Over HTTP/2, the
    /// next CONNECT is another stream, which others may overtake.
    fn is_continued(&self) -> bool {
        let refused = self.refused.as_ref();
        refused.is_some_and(|(refused, challenges)| refused.is_continued(challenges))
    }

    /// Returns true if the proxy has answered, or there is no time left for an answer.
    fn is_answer(&self) -> bool {
        matches!(self.failed.1, Failure::Refused { .. } | Failure::Timeout(_))
    }
}

/// An attempt to connect. If it is given up, it goes on as long as others wait for the same proxy.
struct Attempt<F: Future<Output: Send> + Send + 'static> {
    connecting: Option<Pin<Box<F>>>,
    wish: Wish,
}

impl<F: Future<Output: Send> + Send + 'static> Attempt<F> {
    fn new(connecting: F, wish: Wish) -> Self {
        Self {
            connecting: Some(Box::pin(connecting)),
            wish,
        }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Attempt<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<F::Output> {
        let Some(connecting) = &mut self.connecting else {
            unreachable!("an attempt is polled until it is ready")
        };
        let polled = connecting.as_mut().poll(cx);
        if polled.is_ready() {
            self.connecting = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Attempt<F> {
    fn drop(&mut self) {
        let connecting = self.connecting.take().filter(|_| self.wish.is_wanted());
        if let (Some(mut connecting), Ok(runtime)) = (connecting, Handle::try_current()) {
            let wish = self.wish.clone();
            runtime.spawn(async move {
                // Its result is known to those who wait.
                while timeout(PATIENCE, connecting.as_mut()).await.is_err() && wish.is_wanted() {}
            });
        }
    }
}
