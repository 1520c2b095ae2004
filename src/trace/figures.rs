//! Figures: how long requests and connections take, for a dashboard.
//!
//! Each is an event at `TRACE`, with the target `tower_outbound_proxy::metrics`, whose field is named as
//! `tracing_opentelemetry::MetricsLayer` expects it: `histogram.` and the name of the metric, in seconds. The other
//! fields are its attributes. Names and attributes are OpenTelemetry's, where it has them. A subscriber that takes no
//! such event costs a comparison for each.

use std::fmt::Display;
#[cfg(feature = "client")]
use std::time::Duration;
#[cfg(feature = "tracing")]
use std::time::Instant;

#[cfg(feature = "client")]
use http::{Method, StatusCode, Version};

/// The target of a request or connection, and its proxy: attributes of its figures.
#[cfg(feature = "client")]
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "tracing"), allow(dead_code))]
pub(crate) struct Peer {
    /// `None` for a connection that serves any target.
    pub(crate) scheme: Option<&'static str>,
    /// The target; the proxy for a connection that serves any target.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// The proxy's host and port.
    pub(crate) proxy: Option<(String, u16)>,
    /// `direct`, `forward` or `tunnel`.
    pub(crate) route: &'static str,
}

/// Returns true if somebody takes the figures.
#[cfg(any(feature = "client", feature = "tracing"))]
pub(crate) fn are_wanted() -> bool {
    #[cfg(feature = "tracing")]
    // With a field's name, since `MetricsLayer` takes events by it.
    return tracing::event_enabled!(target: "tower_outbound_proxy::metrics", tracing::Level::TRACE, histogram.duration);
    #[cfg(not(feature = "tracing"))]
    false
}

/// Records a figure with the attributes of a peer.
#[cfg(all(feature = "client", feature = "tracing"))]
macro_rules! figure {
    ($($name:tt).+ = $time:expr, $peer:expr, { $($attributes:tt)* }) => {{
        let peer: &Peer = $peer;
        let proxy = peer.proxy.as_ref();
        tracing::event!(
            target: "tower_outbound_proxy::metrics",
            tracing::Level::TRACE,
            $($name).+ = Duration::as_secs_f64(&$time),
            url.scheme = peer.scheme,
            server.address = &*peer.host,
            server.port = peer.port,
            network.peer.address = proxy.map(|(host, _)| &**host),
            network.peer.port = proxy.map(|(_, port)| *port),
            proxy.route = peer.route,
            $($attributes)*
        );
    }};
}

/// One phase of making a connection, as a span and a figure.
///
/// The span `connecting` (`DEBUG`) is open for as long as the phase takes.
pub(crate) struct Phase {
    #[cfg(feature = "tracing")]
    started: Option<(&'static str, String, Instant)>,
    #[cfg(feature = "tracing")]
    _span: tracing::Span,
}

impl Phase {
    /// Begins the look-up of a name.
    pub(crate) fn dns(host: impl Display) -> Self {
        Self::new("dns", host)
    }

    /// Begins to dial an address.
    pub(crate) fn tcp(address: impl Display) -> Self {
        Self::new("tcp", address)
    }

    /// Begins the TLS handshake with a proxy.
    #[cfg(feature = "tls")]
    pub(crate) fn proxy_tls(proxy: impl Display) -> Self {
        Self::new("tls to the proxy", proxy)
    }

    /// Begins CONNECT.
    pub(crate) fn connect(target: impl Display) -> Self {
        Self::new("connect", target)
    }

    /// Begins the TLS handshake with a target.
    #[cfg(feature = "client")]
    pub(crate) fn target_tls(target: impl Display) -> Self {
        Self::new("tls to the target", target)
    }

    fn new(phase: &'static str, peer: impl Display) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            started: are_wanted().then(|| (phase, peer.to_string(), Instant::now())),
            #[cfg(feature = "tracing")]
            _span: tracing::debug_span!("connecting", phase, %peer),
        }
    }

    /// Ends the phase with its result. A phase that is given up has no figure.
    pub(crate) fn end<T, E>(self, result: Result<T, E>) -> Result<T, E> {
        #[cfg(feature = "tracing")]
        if let Some((phase, peer, started)) = self.started {
            tracing::event!(
                target: "tower_outbound_proxy::metrics",
                tracing::Level::TRACE,
                histogram.http.client.connection.setup.duration = started.elapsed().as_secs_f64(),
                http.connection.phase = phase,
                server.address = peer,
                error.type = result.is_err().then_some("failed"),
            );
        }
        result
    }
}

/// Records the life of an open connection.
#[cfg(feature = "client")]
pub(crate) fn connection_closed(peer: &Peer, open_for: Duration, version: &'static str) {
    #[cfg(feature = "tracing")]
    figure!(histogram.http.client.connection.duration = open_for, peer, {
        network.protocol.version = version
    });
}

/// The figures of a request in progress.
#[cfg(feature = "client")]
pub(crate) struct RequestFigures {
    #[cfg(feature = "tracing")]
    wanted: Option<Wanted>,
}

#[cfg(all(feature = "client", feature = "tracing"))]
struct Wanted {
    peer: Peer,
    method: Method,
    started: Instant,
    is_queued: bool,
}

#[cfg(feature = "client")]
impl RequestFigures {
    /// Begins. Reads the peer only if the figures are wanted.
    pub(crate) fn new(method: &Method, peer: impl FnOnce() -> Option<Peer>) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            wanted: are_wanted().then(peer).flatten().map(|peer| Wanted {
                peer,
                method: method.clone(),
                started: Instant::now(),
                is_queued: true,
            }),
        }
    }

    /// Records the wait for the first connection, which includes the time to open one.
    pub(crate) fn dequeued(&mut self) {
        #[cfg(feature = "tracing")]
        if let Some(Wanted {
            peer,
            method,
            started,
            is_queued: is_queued @ true,
        }) = &mut self.wanted
        {
            *is_queued = false;
            figure!(histogram.http.client.request.time_in_queue = started.elapsed(), peer, {
                http.request.method = method.as_str()
            });
        }
    }

    /// Records the time to the response's head, or to the error.
    pub(crate) fn end(&mut self, outcome: Result<(StatusCode, Version), String>) {
        #[cfg(feature = "tracing")]
        if let Some(Wanted {
            peer, method, started, ..
        }) = self.wanted.take()
        {
            let status = outcome.as_ref().ok().map(|(status, _)| *status);
            let version = outcome.as_ref().ok().map(|(_, version)| match *version {
                Version::HTTP_2 => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            });
            let error = match (&outcome, status) {
                (Err(error), _) => Some(error.clone()),
                (_, Some(status)) if status.as_u16() >= 400 => Some(status.as_str().to_owned()),
                _ => None,
            };
            figure!(
                histogram.http.client.request.duration = started.elapsed(),
                &peer,
                {
                    http.request.method = method.as_str(),
                    http.response.status_code = status.map(|status| status.as_u16()),
                    network.protocol.version = version,
                    error.type = error.as_deref(),
                }
            );
        }
    }
}

#[cfg(feature = "client")]
impl Drop for RequestFigures {
    /// A request that is given up has no outcome.
    fn drop(&mut self) {
        self.end(Err("cancelled".to_owned()));
    }
}
