//! The version of HTTP that is spoken to proxies, and the settings of HTTP/2.

use std::time::Duration;

/// The version of HTTP that is spoken to proxies; see
/// [`ProxyLayer::with_proxy_version`](crate::ProxyLayer::with_proxy_version).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyVersion {
    /// HTTP/2 if an `https://` proxy chooses it in TLS (ALPN), otherwise HTTP/1.1. A proxy that chooses HTTP/2 and does
    /// not take CONNECT over it gets HTTP/1.1 as well.
    ///
    /// Apache httpd, where its `Protocols` have `h2`, is a proxy over HTTP/2 only with `H2ProxyRequests on`. Without
    /// it, it answers in its own name, which no client can tell from the target's answer: use [`Http1`](Self::Http1)
    /// there.
    #[default]
    Negotiated,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone: as the only offer in TLS, and with prior knowledge to an `http://` proxy (RFC 9113 3.3).
    Http2,
}

/// The settings of HTTP/2 to proxies; see [`ProxyLayer::with_http2`](crate::ProxyLayer::with_http2).
///
/// ```
/// # use std::time::Duration;
/// # use tower_outbound_proxy::{ProxyLayer, connector::Http2Settings};
/// # fn build() -> Result<(), tower_outbound_proxy::ConfigError> {
/// let settings = Http2Settings::default().idle_timeout(Some(Duration::from_secs(30))).max_connections(4);
/// let proxy = ProxyLayer::from_env()?.with_http2(settings);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Http2Settings {
    pub(crate) stream_window: u32,
    pub(crate) connection_window: u32,
    pub(crate) keep_alive_interval: Option<Duration>,
    pub(crate) keep_alive_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_connections: usize,
    pub(crate) is_optimistic: bool,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            stream_window: 4 << 20,
            connection_window: (1 << 31) - 1,
            keep_alive_interval: Some(Duration::from_secs(15)),
            keep_alive_timeout: Duration::from_secs(10),
            idle_timeout: Some(Duration::from_secs(90)),
            max_connections: usize::MAX,
            is_optimistic: true,
        }
    }
}

impl Http2Settings {
    /// Sets the number of bytes that a proxy may send in one tunnel before they are read: 4 MiB by default, and at
    /// least 64 KiB less one byte, with which HTTP/2 begins.
    ///
    /// It limits the memory of a tunnel whose reader is slow, and also its throughput: one window for each round trip.
    pub fn stream_window(mut self, bytes: u32) -> Self {
        self.stream_window = bytes.clamp(LEAST_WINDOW, MOST_WINDOW);
        self
    }

    /// Sets the number of bytes that a proxy may send on one connection before they are read: 2 GiB by default, the
    /// most that HTTP/2 has.
    ///
    /// It also limits the tunnels on one connection: all their [`stream_window`](Self::stream_window)s together are no
    /// larger. A tunnel that nobody reads can therefore never stop another one.
    pub fn connection_window(mut self, bytes: u32) -> Self {
        self.connection_window = bytes.clamp(LEAST_WINDOW, MOST_WINDOW);
        self
    }

    /// Sets the time after which a PING is sent on a connection that is in use and on which nothing was read: 15
    /// seconds by default, `None` for never. (A CONNECT that is not answered for a second always causes a PING.)
    pub fn keep_alive_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.keep_alive_interval = interval.into();
        self
    }

    /// Sets the time after which a connection is closed if its PING is not answered: 10 seconds by default.
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.keep_alive_timeout = timeout;
        self
    }

    /// Sets the time after which an unused connection is closed: 90 seconds by default, `None` for never.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// Sets the maximum number of connections to one proxy with the same credentials; no limit by default, and at least
    /// one. Another connection is opened when a proxy allows no more streams on those that are open. At the limit,
    /// connecting waits for a stream, for as long as
    /// [`connect_timeout`](crate::ProxyLayer::with_connect_timeout) allows.
    pub fn max_connections(mut self, most: usize) -> Self {
        self.max_connections = most.max(1);
        self
    }

    /// Sets whether the first bytes of TLS to a target follow CONNECT at once, without waiting for the response, which
    /// saves a round trip; true by default.
    ///
    /// It applies to `https` and `wss` targets over HTTP/2. Their first bytes are a ClientHello, which can safely be
    /// sent twice. Over HTTP/1.1, a client always waits (RFC 9931).
    ///
    /// The connector then returns a stream before the proxy has answered, whose
    /// [`connect_response`](crate::connector::ProxyStream::connect_response) is `None` until the response has come. If
    /// the proxy refuses, reading or writing the stream fails with an [`io::Error`](std::io::Error), in which
    /// [`ConnectError::find`](crate::ConnectError::find) finds the refusal.
    pub fn optimistic(mut self, optimistic: bool) -> Self {
        self.is_optimistic = optimistic;
        self
    }

    /// Returns the number of streams that can all be stopped by their readers without stopping the connection.
    pub(super) fn streams(&self) -> usize {
        (self.connection_window / self.stream_window).max(1) as usize
    }
}

/// The window that each side begins with (RFC 9113 6.9.2).
const LEAST_WINDOW: u32 = (1 << 16) - 1;

/// The largest window (RFC 9113 6.9.1).
const MOST_WINDOW: u32 = (1 << 31) - 1;
