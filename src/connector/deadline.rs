//! A deadline for all steps of connecting to a proxy or a target.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// A deadline, and the limit that set it. `Deadline::default()` never expires.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deadline(Option<(Instant, Duration)>);

impl Deadline {
    /// Creates a deadline at the end of `limit`, counted from now. A limit that overflows never expires.
    pub(crate) fn after(limit: Option<Duration>) -> Self {
        Self(limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit))))
    }

    /// Runs a step until the deadline. Polls the step before checking the clock.
    pub(crate) async fn run<T, E>(
        self,
        step: impl Future<Output = Result<T, E>>,
        timed_out: impl FnOnce(Duration) -> E,
    ) -> Result<T, E> {
        match self.0 {
            Some((deadline, limit)) => timeout_at(deadline, step)
                .await
                .unwrap_or_else(|_| Err(timed_out(limit))),
            None => step.await,
        }
    }

    /// Returns the time at which it expires.
    #[cfg(feature = "client")]
    pub(crate) fn end(self) -> Option<Instant> {
        self.0.map(|(end, _)| end)
    }

    /// Returns the deadline, or the end of `patience` if that comes first.
    pub(crate) fn within(self, patience: Duration) -> Instant {
        let patience = Instant::now() + patience;
        self.0.map_or(patience, |(deadline, _)| deadline.min(patience))
    }
}
