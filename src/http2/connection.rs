//! The handshake of a connection over HTTP/2, and its task.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, PingPong,
    client::{Builder, Connection, SendRequest},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Http2Settings, MAX_HEAD, PATIENCE,
    facts::StreamLimit,
    frames::Frames,
    link::Link,
    registry::{Key, Registry},
};
use crate::trace;

/// The number of bytes of a stream that h2 buffers until the connection takes them.
const SEND_BUFFER: usize = 256 * 1024;

/// The number of reset streams whose late frames h2 still expects, each for a second.
const MOST_RESET: usize = 10_000;

/// A new connection, whose task does not run yet.
pub(crate) struct NewConnection<T> {
    pub(super) sender: SendRequest<Bytes>,
    pub(super) link: Arc<Link>,
    pub(super) task: Task<T>,
}

/// Speaks HTTP/2 on a new connection.
pub(crate) async fn handshake<T>(io: T, settings: Http2Settings) -> io::Result<NewConnection<T>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let link = Arc::new(Link::new());
    let (sender, connection) = Builder::new()
        .enable_push(false)
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .initial_max_send_streams(StreamLimit::UNKNOWN)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEAD)
        .max_concurrent_reset_streams(MOST_RESET)
        // Frames for a tunnel that was given up are no reason to end the others.
        .max_local_error_reset_streams(None)
        // The stream's window bounds what is kept of its frames, and small ones are joined.
        .data_frame_budget(usize::MAX)
        .handshake(Frames::new(io, link.clone()))
        .await
        .map_err(|error| link.error(error))?;
    let task = Task {
        connection,
        link: link.clone(),
        settings,
    };
    Ok(NewConnection { sender, link, task })
}

/// The task of a connection.
pub(super) struct Task<T> {
    connection: Connection<Frames<T>, Bytes>,
    link: Arc<Link>,
    settings: Http2Settings,
}

/// An open connection in the registry. Dropping it tells the registry that the connection is over.
pub(super) struct Registration {
    pub(super) registry: Weak<Registry>,
    pub(super) key: Arc<Key>,
    pub(super) id: u64,
}

impl Registration {
    /// Tells the registry that the peer allows another number of streams.
    fn settled(&self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.settled(&self.key, self.id);
        }
    }

    /// Returns true if the connection can be given to others.
    fn is_listed(&self) -> bool {
        self.registry
            .upgrade()
            .is_some_and(|registry| registry.has(&self.key, self.id))
    }

    /// Takes the connection out of the registry, unless it is in use.
    fn withdraw_idle(&self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.withdraw_idle(&self.key, self.id);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.closed(&self.key, self.id);
        }
    }
}

impl<T> Task<T>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Moves the connection's bytes until it is closed.
    pub(super) async fn run(self, registration: Registration) {
        let Self {
            mut connection,
            link,
            settings,
        } = self;
        let mut keeper = Keeper {
            pings: connection.ping_pong(),
            asked: None,
            idle_since: Some(Instant::now()),
            closing_since: None,
            link: &link,
            registration: &registration,
            settings,
        };
        let mut connection = pin!(connection);
        let mut changed = pin!(link.changed());
        let mut timer = pin!(sleep_until(Instant::now()));
        poll_fn(|cx| {
            while changed.as_mut().poll(cx).is_ready() {
                changed.set(link.changed());
            }
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if link.streams.set(connection.max_concurrent_send_streams()) {
                registration.settled();
            }
            link.join_small_frames();
            keeper.poll(cx, timer.as_mut())
        })
        .await;
        // The streams that are left receive their error when `connection` is dropped, and the cause is known by then.
        trace::closed_over_http2(&registration.key.proxy, link.last_read.open_for());
    }
}

/// Returns the end of a time, or of a century if there is none.
fn after(start: Instant, time: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    start + time.min(CENTURY)
}

/// Finds out if a connection is dead, and closes it when it is idle. A peer is dead if it does not answer a PING, or
/// does not send its SETTINGS in time (RFC 9113 6.5.3).
struct Keeper<'t> {
    pings: Option<PingPong>,
    /// The time at which the last PING was sent, until it is answered.
    asked: Option<Instant>,
    idle_since: Option<Instant>,
    /// The time since which the connection carries nothing, and nobody can use it.
    closing_since: Option<Instant>,
    link: &'t Link,
    registration: &'t Registration,
    settings: Http2Settings,
}

impl Keeper<'_> {
    /// Returns ready when the connection is dead.
    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        let Some(pings) = &mut self.pings else {
            return Poll::Pending;
        };
        loop {
            if self.asked.is_some() && pings.poll_pong(cx).is_ready() {
                self.asked = None;
            }
            let (now, is_idle) = (Instant::now(), self.link.active() == 0);
            self.idle_since = is_idle.then(|| self.idle_since.unwrap_or(now));
            if is_idle && !self.registration.is_listed() {
                // h2 closes it. That takes for ever if the peer does not read.
                let until = *self.closing_since.get_or_insert(now) + PATIENCE;
                timer.as_mut().reset(until);
                return timer.poll(cx);
            }
            let idle_until = self
                .idle_since
                .zip(self.settings.idle_timeout)
                .map(|(since, time)| after(since, time));
            if idle_until.is_some_and(|until| until <= now) {
                self.registration.withdraw_idle();
                // If somebody has just begun to use it, it is not idle.
                self.idle_since = None;
                continue;
            }
            let limit = self.settings.keep_alive_timeout;
            let silent = self.settings.keep_alive_interval.filter(|_| !is_idle);
            let silent_until = silent.map(|silent| after(self.link.last_read.get(), silent));
            let asks = || self.link.take_ping_wish() || silent_until.is_some_and(|until| until <= now);
            if self.asked.is_none() && asks() {
                if pings.send_ping(Ping::opaque()).is_err() {
                    return Poll::Pending;
                }
                self.asked = Some(now);
                continue;
            }
            // The answer may come behind the bytes of tunnels.
            let answer_until = self
                .asked
                .map(|asked| after(asked.max(self.link.last_read.get()), limit));
            let settings_until = match self.link.streams.get() {
                Some(_) => None,
                None => Some(after(self.link.last_read.opened(), limit)),
            };
            let late = [
                (answer_until, "did not answer a PING"),
                (settings_until, "did not begin HTTP/2"),
            ];
            if let Some((_, what)) = late.iter().find(|(until, _)| until.is_some_and(|until| until <= now)) {
                let cause = format!("the proxy {what} within {limit:?}, and the connection to it was closed");
                self.link.set_cause(cause);
                return Poll::Ready(());
            }
            let silent_until = silent_until.filter(|_| self.asked.is_none());
            let next = [idle_until, silent_until, answer_until, settings_until]
                .into_iter()
                .flatten()
                .min();
            let Some(next) = next else { return Poll::Pending };
            if timer.deadline() != next {
                timer.as_mut().reset(next);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
