//! [`Link`]: facts about an open connection that its task, its streams and the registry must agree on.

use std::{
    io,
    sync::{
        Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use super::{
    facts::{LastRead, StreamLimit},
    receiving::Receiving,
};

/// The number of small frames from which those that nobody reads are joined.
const MANY_SMALL: usize = 512;

/// An open connection.
pub(super) struct Link {
    pub(super) last_read: LastRead,
    pub(super) streams: StreamLimit,
    /// Small DATA frames since they were last joined.
    small: AtomicUsize,
    /// The streams that are in use. Changes under the registry's lock.
    active: AtomicUsize,
    is_ping_wanted: AtomicBool,
    /// Wakes the connection's task if something of the above may have changed.
    changed: Notify,
    /// The reason for which this side closed the connection.
    cause: OnceLock<String>,
    receiving: Mutex<Vec<Weak<Receiving>>>,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            last_read: LastRead::new(),
            streams: StreamLimit::new(StreamLimit::UNKNOWN),
            small: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            is_ping_wanted: AtomicBool::new(false),
            changed: Notify::new(),
            cause: OnceLock::new(),
            receiving: Mutex::default(),
        }
    }

    /// Records that frames were read, and the number of small ones among them.
    pub(super) fn has_read(&self, small: usize) {
        self.last_read.set_now();
        if small > 0 {
            self.small.fetch_add(small, Ordering::Relaxed);
        }
    }

    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// Adds a stream.
    pub(super) fn begin(&self) {
        self.active.fetch_add(1, Ordering::AcqRel);
    }

    /// Removes a stream. An idle connection's task is woken, which has to see to its end.
    pub(super) fn end(&self) {
        if self.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.changed.notify_one();
        }
    }

    /// Wakes the connection's task.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Asks for a PING.
    pub(super) fn want_ping(&self) {
        self.is_ping_wanted.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Takes the wish for a PING.
    pub(super) fn take_ping_wish(&self) -> bool {
        self.is_ping_wanted.swap(false, Ordering::AcqRel)
    }

    /// Waits for a change.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Records the reason for which this side closes the connection.
    pub(super) fn set_cause(&self, cause: String) {
        let _ = self.cause.set(cause);
    }

    /// Returns the error of a stream: the reason why the connection was closed, if that is known better.
    pub(super) fn error(&self, error: h2::Error) -> io::Error {
        match self.cause.get() {
            Some(cause) => io::Error::new(io::ErrorKind::TimedOut, cause.clone()),
            None if error.is_io() => error
                .into_io()
                .unwrap_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe)),
            None => io::Error::new(io::ErrorKind::ConnectionReset, error),
        }
    }

    /// Adds the receiving half of a stream.
    pub(super) fn add(&self, receiving: Weak<Receiving>) {
        let mut all = self.receiving.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            all.retain(|receiving| receiving.strong_count() > 0);
        }
        all.push(receiving);
    }

    /// Returns true if many small frames have come since they were last joined.
    pub(super) fn has_many_small(&self) -> bool {
        self.small.load(Ordering::Relaxed) >= MANY_SMALL
    }

    /// Joins the small frames that nobody has read, if many have come.
    pub(super) fn join_small_frames(&self) {
        if !self.has_many_small() {
            return;
        }
        self.small.store(0, Ordering::Relaxed);
        let all = self.receiving.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.iter()
            .filter_map(Weak::upgrade)
            .for_each(|receiving| receiving.join());
    }
}
