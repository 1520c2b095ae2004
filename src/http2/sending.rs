//! The sending half of a stream: its window, and the header fields that it may carry.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
#[cfg(feature = "client")]
use h2::Reason;
use h2::SendStream;
use http::{HeaderName, header};

/// The most bytes of one frame: with the frame's header, they fill one TLS record (RFC 8446 5.1).
pub(crate) const MOST_DATA: usize = 16 * 1024 - 9;

/// The number of bytes that a writer waits for: enough for a frame that is worth its header.
const LEAST: usize = 1024;

/// The header fields that no request over HTTP/2 may have, whatever their value is (RFC 9113 8.2.2).
pub(crate) const OF_HTTP1: [HeaderName; 4] = [
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Returns the number of bytes that can be sent now, up to `wanted`. `None` if the stream takes no more.
pub(crate) fn poll_room(
    sending: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    wanted: usize,
) -> Poll<Option<Result<usize, h2::Error>>> {
    loop {
        sending.reserve_capacity(wanted);
        let capacity = sending.capacity();
        if capacity > 0 {
            return Poll::Ready(Some(Ok(capacity.min(wanted))));
        }
        // A writer that waits reserves no more than this of the shared window, because it may be given up.
        sending.reserve_capacity(wanted.min(LEAST));
        match ready!(sending.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        }
    }
}

/// Returns true if the server promised not to have processed the request (RFC 9113 8.7).
#[cfg(feature = "client")]
pub(crate) fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}
