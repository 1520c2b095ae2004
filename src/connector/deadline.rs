//! One deadline for all steps of making a connection, to a proxy or a target.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// A deadline, and the limit that set it. `Deadline::default()` never comes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deadline(Option<(Instant, Duration)>);

impl Deadline {
    /// The deadline after this limit from now. One that overflows never comes.
    pub(crate) fn after(limit: Option<Duration>) -> Self {
        Self(limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit))))
    }

    /// Runs a step until the deadline. Polls the step before it looks at the clock.
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

    /// The deadline, or the end of this patience if that comes first.
    pub(crate) fn within(self, patience: Duration) -> Instant {
        let patience = Instant::now() + patience;
        self.0.map_or(patience, |(deadline, _)| deadline.min(patience))
    }
}
