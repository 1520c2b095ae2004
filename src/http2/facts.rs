//! Facts about a connection that those to proxies and those of a `Client`'s pool record alike: [`LastRead`] and
//! [`StreamLimit`].

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// The time at which a connection was opened, and that of the last read from it.
pub(crate) struct LastRead {
    opened: Instant,
    /// Nanoseconds from `opened` to the last read.
    nanos: AtomicU64,
}

impl LastRead {
    /// Creates the times of a connection that is opened now.
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            nanos: AtomicU64::new(0),
        }
    }

    /// Returns the time at which the connection was opened.
    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// Returns the time since the connection was opened.
    pub(crate) fn open_for(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Returns the time of the last read, or that of the opening if there was none.
    pub(crate) fn get(&self) -> Instant {
        self.opened + Duration::from_nanos(self.nanos.load(Ordering::Acquire))
    }

    /// Records a read.
    pub(crate) fn set_now(&self) {
        let nanos = u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.store(nanos, Ordering::Release);
    }
}

/// The number of streams that the peer of a connection takes at a time.
pub(crate) struct StreamLimit(AtomicUsize);

impl StreamLimit {
    /// The number that h2 is told to assume before the peer's SETTINGS; no peer can allow as many.
    pub(crate) const UNKNOWN: usize = usize::MAX - 1;

    /// Creates a limit. [`UNKNOWN`](Self::UNKNOWN) is none yet.
    pub(crate) const fn new(streams: usize) -> Self {
        Self(AtomicUsize::new(streams))
    }

    /// Returns the limit; `None` before the peer's SETTINGS.
    pub(crate) fn get(&self) -> Option<usize> {
        let streams = self.0.load(Ordering::Acquire);
        (streams != Self::UNKNOWN).then_some(streams)
    }

    /// Records the limit that h2 reports. Returns true if it has changed.
    pub(crate) fn set(&self, streams: usize) -> bool {
        self.0.swap(streams, Ordering::AcqRel) != streams
    }
}
