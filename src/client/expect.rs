//! Long bodies that wait for the proxy's consent (RFC 9110 10.1.1).
//!
//! A proxy that asks for credentials need not read the request's body. It closes the connection instead, and the 407 is
//! lost with it if much is still being sent. Where a 407 is likely, a long body therefore waits for `100 Continue`, as
//! curl's do, or for a second. Over HTTP/2, an answer ends the stream alone, and no body waits.

use std::{pin::Pin, time::Duration};

use http::{HeaderValue, Request, StatusCode, header};
use http_body::Body;
use tokio::time::timeout;

use super::request_body::RequestBody;

/// The longest body that is sent with the head.
const SHORT: u64 = 64 * 1024;

/// The time for the answer, which many servers never give.
const PATIENCE: Duration = Duration::from_secs(1);

/// Holds the body of a request that is about to be sent, if it is long. Returns what releases it.
pub(super) fn hold(request: &mut Request<RequestBody>) -> Option<RequestBody> {
    let length = request.body().size_hint().exact();
    if length.is_some_and(|length| length <= SHORT) {
        return None;
    }
    let body = request.body().spare();
    body.hold();
    let expected = request.headers_mut().entry(header::EXPECT);
    expected.or_insert(HeaderValue::from_static("100-continue"));
    let released = body.spare();
    hyper::ext::on_informational(request, move |interim| {
        if interim.status() == StatusCode::CONTINUE {
            released.release();
        }
    });
    Some(body)
}

/// Sends a request, whose body may be held.
pub(super) async fn send<T>(held: Option<RequestBody>, mut sending: Pin<&mut impl Future<Output = T>>) -> T {
    if let Some(held) = held {
        if let Ok(response) = timeout(PATIENCE, sending.as_mut()).await {
            return response;
        }
        held.release();
    }
    sending.await
}
