//! HTTP/2 connections of the pool, which hyper drives: their settings, and their task. (`crate::http2` has those to
//! proxies.)

use std::{future::poll_fn, pin::pin, sync::Arc, time::Duration};

use hyper::{
    client::conn::http2::{self, Builder},
    rt::{Executor, Read, Write},
};
use hyper_util::rt::TokioTimer;

use super::{
    pool::{Link, OpenConnection},
    request_body::RequestBody,
};
use crate::http2::{MAX_HEAD, StreamLimit};

pub(super) type Connection<T> = http2::Connection<T, RequestBody, Tasks>;

/// Spawns hyper's tasks. The first one has the stream, and is the one to abort.
#[derive(Clone)]
pub(super) struct Tasks(Arc<Link>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.set_task(tokio::spawn(task).abort_handle());
    }
}

/// The settings of HTTP/2 connections to targets.
#[derive(Clone, Copy, Debug)]
pub(super) struct TargetHttp2Settings {
    pub(super) keep_alive_interval: Option<Duration>,
    pub(super) keep_alive_timeout: Duration,
    pub(super) stream_window: u32,
    pub(super) connection_window: u32,
    /// True if all connections speak HTTP/2, without asking the peer.
    pub(super) is_only: bool,
}

impl Default for TargetHttp2Settings {
    fn default() -> Self {
        Self {
            keep_alive_interval: Some(Duration::from_secs(15)),
            keep_alive_timeout: Duration::from_secs(10),
            // hyper's own.
            stream_window: 2 << 20,
            // Go's. With a small one, a few responses that nobody reads stop all others on the connection.
            connection_window: 1 << 30,
            is_only: false,
        }
    }
}

impl TargetHttp2Settings {
    pub(super) fn builder(&self, link: Arc<Link>) -> Builder<Tasks> {
        let mut builder = Builder::new(Tasks(link));
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEAD)
            .keep_alive_interval(self.keep_alive_interval)
            .keep_alive_timeout(self.keep_alive_timeout)
            .initial_stream_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .initial_max_send_streams(StreamLimit::UNKNOWN);
        builder
    }
}

/// Runs a connection to its end. Tells the pool how many requests the peer takes at a time, and when it takes no more.
pub(super) async fn run<T>(connection: Connection<T>, open: OpenConnection)
where
    T: Read + Write + Unpin + Send + 'static,
{
    {
        let mut connection = pin!(connection);
        let mut changed = pin!(open.link.changed());
        // The requests on it receive the cause of its end.
        let _ = poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            if polled.is_ready() {
                open.link.set_draining();
                return polled;
            }
            while changed.as_mut().poll(cx).is_ready() {
                changed.set(open.link.changed());
            }
            if open.link.allows(connection.current_max_send_streams()) {
                open.settled();
            }
            polled
        })
        .await;
    }
    // Requests may still be on it, in hyper's own task.
    open.draining();
    open.link.ended().await;
}
