//! Logged events, as text.
//!
//! Tests check it for required events and for passwords, which must not appear.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::dispatcher::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber, set_default};
use tracing::{Level, Subscriber};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::lock;

/// The `tracing` events of every crate, from a level on, and each span as it closes.
#[derive(Debug)]
pub struct Log {
    text: Text,
    _thread: Option<(DefaultGuard, Dispatch)>,
}

impl Log {
    /// Records this thread's log, until this is dropped.
    ///
    /// This is the whole log of a test on a runtime of one thread, such as a plain `#[tokio::test]`.
    #[must_use]
    pub fn of_thread(level: Level) -> Self {
        let text = Text::default();
        // With one subscriber alone, a thread that has none and meets an event first would switch
        // that event off for all.
        let second = Dispatch::new(NoSubscriber::default());
        let thread = (set_default(text.subscriber(level)), second);
        Self {
            text,
            _thread: Some(thread),
        }
    }

    /// Records the whole process's log from now on.
    ///
    /// # Panics
    ///
    /// If the process has a subscriber already.
    #[must_use]
    pub fn of_process(level: Level) -> Self {
        let text = Text::default();
        text.subscriber(level).init();
        Self { text, _thread: None }
    }

    /// Returns the log so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.text.0)).into_owned()
    }
}

#[derive(Clone, Debug, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Text {
    fn subscriber(&self, level: Level) -> impl Subscriber + Send + Sync + use<> {
        let text = self.clone();
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(move || text.clone())
            .finish()
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
