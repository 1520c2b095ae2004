//! The threads and events that a log records.
//!
//! This is one test, because a second log at the same time would hide the faults of a single one.

use std::thread;

use tower_outbound_proxy_lab::Log;
use tracing::Level;

/// Runs `event` on a thread that has no log of its own.
fn elsewhere(event: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(event);
    });
}

#[test]
fn a_log_is_of_its_thread_or_of_the_process() {
    let log = Log::of_thread(Level::DEBUG);
    let event = || tracing::debug!("an event");
    elsewhere(event);
    let span = tracing::info_span!("a span", field = 1);
    span.in_scope(event);
    span.in_scope(|| tracing::trace!("too fine"));
    drop(span);
    let text = log.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("DEBUG a span{field=1}: log: an event"), "{text}");
    assert!(
        lines[1].contains("a span{field=1}") && lines[1].contains("close"),
        "{text}"
    );
    drop(log);

    let log = Log::of_process(Level::INFO);
    elsewhere(|| tracing::info!("from elsewhere"));
    tracing::debug!("too fine");
    let text = log.text();
    assert!(text.contains("from elsewhere"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}
