//! All events and spans of this crate (feature `tracing`).
//!
//! | level | message | fields |
//! |---|---|---|
//! | `WARN` | a [`Warning`](crate::config::Warning), as its text | |
//! | `WARN` | `certificates of targets are NOT verified: for testing only` | |
//! | `ERROR` | `the new proxy settings cannot be used: keeping the old ones` | `error` |
//! | `DEBUG` | `proxy decision` | `target`, `purpose`, `route`, `reason` |
//! | `DEBUG` | `connecting through the proxy failed` | `error` |
//! | `DEBUG` | `the proxy has opened a tunnel` | `proxy`, `target`, `version`, `connection_reused` |
//! | `DEBUG` | `connected to the proxy over HTTP/2` | `proxy` |
//! | `DEBUG` | `the connection to the proxy over HTTP/2 is closed` | `proxy`, `open_for` |
//! | `WARN` | `the proxy takes no CONNECT over HTTP/2, which it chose: using HTTP/1.1 for 10 minutes` | `proxy`, `error` |
//! | `DEBUG` | `the first bytes on a connection are not sent` | `error` |
//! | `DEBUG` | `the request's own Proxy-Authorization is not sent` | `target`, `route`, `reason` |
//! | `DEBUG` | a [`DeniedError`](crate::error::DeniedError), as its text | `target`, `address` |
//! | `DEBUG` span | `outbound request` | `method`, `target`, `purpose`, `route` |
//! | `DEBUG` span | `connecting` | `phase`, `peer` |
//!
//! `figures.rs` has the events for dashboards.
//!
//! All values are safe to show: none contains a password.

// Without the feature, the arguments are unused.
#![cfg_attr(not(feature = "tracing"), allow(unused_variables))]

mod figures;

use std::fmt::Display;

pub(crate) use self::figures::Phase;
#[cfg(feature = "client")]
pub(crate) use self::figures::{Peer, RequestFigures, are_wanted, connection_closed};

/// Logs a warning about settings that take effect.
pub(crate) fn warning(warning: &impl Display) {
    #[cfg(feature = "tracing")]
    tracing::warn!("{warning}");
}

/// Warns that a client does not verify certificates of targets.
#[cfg(feature = "client")]
pub(crate) fn targets_not_verified() {
    #[cfg(feature = "tracing")]
    tracing::warn!("certificates of targets are NOT verified: for testing only");
}

/// Logs that new settings cannot be used.
#[cfg(feature = "client")]
pub(crate) fn settings_rejected(error: &impl Display) {
    #[cfg(feature = "tracing")]
    tracing::error!(%error, "the new proxy settings cannot be used: keeping the old ones");
}

/// Logs a decision.
pub(crate) fn decision(target: &impl Display, purpose: Option<&str>, route: &impl Display, reason: &impl Display) {
    #[cfg(feature = "tracing")]
    tracing::debug!(%target, purpose, %route, %reason, "proxy decision");
}

/// Logs a failed connection through a proxy.
pub(crate) fn connect_failed(error: &impl Display) {
    #[cfg(feature = "tracing")]
    tracing::debug!(%error, "connecting through the proxy failed");
}

/// Logs a tunnel, the version in which the proxy was asked for it, and if its connection was open before.
pub(crate) fn tunnel_opened(proxy: &impl Display, target: &str, version: http::Version, connection_reused: bool) {
    #[cfg(feature = "tracing")]
    tracing::debug!(%proxy, target, ?version, connection_reused, "the proxy has opened a tunnel");
}

/// Logs a new connection that tunnels share.
#[cfg(feature = "http2")]
pub(crate) fn connected_over_http2(proxy: &impl Display) {
    #[cfg(feature = "tracing")]
    tracing::debug!(%proxy, "connected to the proxy over HTTP/2");
}

/// Logs the end of a connection that tunnels shared.
#[cfg(feature = "http2")]
pub(crate) fn closed_over_http2(proxy: &impl Display, open_for: std::time::Duration) {
    #[cfg(feature = "tracing")]
    tracing::debug!(%proxy, ?open_for, "the connection to the proxy over HTTP/2 is closed");
}

/// Warns that a proxy is spoken to in HTTP/1.1, though it chose HTTP/2.
#[cfg(feature = "http2")]
pub(crate) fn back_to_http1(proxy: &impl Display, error: &impl Display) {
    #[cfg(feature = "tracing")]
    tracing::warn!(%proxy, %error, "the proxy takes no CONNECT over HTTP/2, which it chose: using HTTP/1.1 for 10 minutes");
}

/// Logs that a client wrote bytes that must not leave.
pub(crate) fn first_bytes_not_sent(error: &impl Display) {
    #[cfg(feature = "tracing")]
    tracing::debug!(%error, "the first bytes on a connection are not sent");
}

/// Logs that a request's own `Proxy-Authorization` is not sent. Its value is not logged.
pub(crate) fn authorization_dropped(target: &impl Display, route: &impl Display, reason: &'static str) {
    #[cfg(feature = "tracing")]
    tracing::debug!(%target, %route, reason, "the request's own Proxy-Authorization is not sent");
}

/// Logs a denied address. The level is not a warning, because strangers control the number of these events.
pub(crate) fn denied(target: &str, address: &impl Display, denied: &impl Display) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target = %target, %address, "{denied}");
}

/// The span of a client's request; its fields include the route.
#[cfg(feature = "client")]
pub(crate) struct RequestSpan {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

#[cfg(feature = "client")]
impl RequestSpan {
    /// Reads the target only if the span is recorded.
    pub(crate) fn new<T: Display>(
        method: &impl Display,
        target: impl FnOnce() -> Option<T>,
        purpose: Option<&str>,
        route: &impl Display,
    ) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: tracing::debug_span!(
                "outbound request",
                %method,
                target = target().map(tracing::field::display),
                purpose,
                %route,
            ),
        }
    }

    /// Runs the request in the span.
    pub(crate) fn run<F: Future>(self, request: F) -> impl Future<Output = F::Output> {
        #[cfg(feature = "tracing")]
        return tracing::Instrument::instrument(request, self.span);
        #[cfg(not(feature = "tracing"))]
        request
    }
}
