//! [`Link`]: facts about an open connection, shared by its stream, its task, its requests and the pool; and [`Watched`],
//! the stream that records them.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::client::legacy::connect::Connected;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    task::AbortHandle,
    time::Instant,
};

use super::idle::Stamp;
use crate::http2::{LastRead, StreamLimit};

/// Requests on an HTTP/2 connection before the peer's SETTINGS tell how many the peer allows. Others wait in the pool,
/// where they can still be sent on another connection.
const STREAMS_BEFORE_SETTINGS: usize = 1;

/// An open connection, as far as its stream, its task, its requests and the pool must agree on it.
pub(in crate::client) struct Link {
    pub(super) connected: Connected,
    is_http2: bool,
    /// Bytes read.
    read: AtomicU64,
    /// Recorded over HTTP/2.
    last_read: LastRead,
    /// The requests that the peer takes at a time: one over HTTP/1.1.
    streams: StreamLimit,
    /// Requests on an HTTP/2 connection. Changes under the pool's lock.
    users: AtomicUsize,
    /// True if the peer does not take all that was written.
    blocked: AtomicBool,
    /// True when an HTTP/2 connection takes no more requests.
    draining: AtomicBool,
    /// True when the stream has been dropped.
    ended: AtomicBool,
    /// True when the connection's task has ended.
    over: AtomicBool,
    /// Wakes the request that waits for that.
    set_over: Notify,
    /// Wakes the connection's task if something of the above may have changed.
    changed: Notify,
    task: OnceLock<AbortHandle>,
    /// The connection's place among the idle ones; zero if it is in use. Changes under the pool's lock.
    stamp: AtomicU64,
}

impl Link {
    pub(in crate::client) fn new(connected: Connected, is_http2: bool) -> Arc<Self> {
        Arc::new(Self {
            connected,
            is_http2,
            read: AtomicU64::new(0),
            last_read: LastRead::new(),
            streams: StreamLimit::new(if is_http2 { StreamLimit::UNKNOWN } else { 1 }),
            users: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            over: AtomicBool::new(false),
            set_over: Notify::new(),
            changed: Notify::new(),
            task: OnceLock::new(),
            stamp: AtomicU64::new(0),
        })
    }

    /// Returns the time since the connection was opened.
    pub(super) fn open_for(&self) -> Duration {
        self.last_read.open_for()
    }

    /// Returns the number of bytes read.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Acquire)
    }

    pub(in crate::client) fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// Returns the time since the last read from an HTTP/2 connection, or since `start` if that is later.
    pub(super) fn silent_since(&self, start: Instant) -> Duration {
        self.last_read.get().max(start).elapsed()
    }

    /// Returns the number of requests that the peer takes at a time.
    pub(super) fn streams(&self) -> usize {
        self.streams.get().unwrap_or(STREAMS_BEFORE_SETTINGS)
    }

    /// Returns true if the peer's limits are not known yet, but can be expected soon.
    pub(super) fn is_settling(&self, patience: Duration) -> bool {
        !self.is_settled() && self.open_for() < patience
    }

    pub(super) fn is_settled(&self) -> bool {
        self.streams.get().is_some()
    }

    /// Records the peer's limit. Returns true if it has changed.
    pub(in crate::client) fn allows(&self, streams: usize) -> bool {
        self.streams.set(streams)
    }

    /// Waits for a change.
    pub(in crate::client) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn users(&self) -> usize {
        self.users.load(Ordering::Relaxed)
    }

    /// Adds a user.
    pub(super) fn begin(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes a user. Returns true if it was the last one.
    pub(super) fn end(&self) -> bool {
        self.users.fetch_sub(1, Ordering::Relaxed) == 1
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Records that an HTTP/2 connection takes no more requests. Comes before hyper lets go of those that it has taken.
    pub(in crate::client) fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Returns true if the peer does not take all that was written.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    /// Waits until the peer has taken all that was written.
    pub(super) async fn unblocked(&self) {
        while self.is_blocked() {
            self.changed().await;
        }
    }

    fn set_blocked(&self, blocked: bool) {
        if self.blocked.swap(blocked, Ordering::AcqRel) && !blocked {
            self.changed.notify_one();
        }
    }

    /// Waits until the stream has been dropped.
    pub(in crate::client) async fn ended(&self) {
        while !self.ended.load(Ordering::Acquire) {
            self.changed().await;
        }
    }

    /// Waits until the connection's task has ended. Nothing of the waiting task stays behind: an idle connection would
    /// keep the memory of the last task that used it.
    pub(super) async fn over(&self) {
        let mut set_over = pin!(self.set_over.notified());
        set_over.as_mut().enable();
        if !self.over.load(Ordering::Acquire) {
            set_over.await;
        }
    }

    /// Records that the connection's task has ended, which ends every wait on it.
    pub(super) fn set_over(&self) {
        self.over.store(true, Ordering::Release);
        self.set_over.notify_waiters();
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp.load(Ordering::Relaxed)
    }

    pub(super) fn set_stamp(&self, stamp: Stamp) {
        self.stamp.store(stamp, Ordering::Relaxed);
    }

    /// Sets the task that has the stream.
    pub(in crate::client) fn set_task(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }

    /// Closes the connection at once, whatever is under way on it.
    pub(super) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// A stream that records in its [`Link`] what is read, and its end.
pub(in crate::client) struct Watched<T> {
    stream: T,
    link: Arc<Link>,
}

impl<T> Watched<T> {
    pub(in crate::client) fn new(stream: T, link: Arc<Link>) -> Self {
        Self { stream, link }
    }

    /// Records that a write has to wait. It is over when all has been flushed, which hyper does after each write.
    fn wrote<R>(&self, polled: Poll<R>) -> Poll<R> {
        if polled.is_pending() {
            self.link.set_blocked(true);
        }
        polled
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        self.link.ended.store(true, Ordering::Release);
        self.link.changed.notify_one();
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // h2 comes back for more when it has dealt with what it had, the SETTINGS for instance.
        if !this.link.is_settled() && this.link.read() > 0 {
            this.link.changed.notify_one();
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let read = (buf.filled().len() - before) as u64;
        if read > 0 {
            this.link.read.fetch_add(read, Ordering::AcqRel);
            if this.link.is_http2 {
                this.link.last_read.set_now();
            }
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.link.set_blocked(polled.is_pending());
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }
}
