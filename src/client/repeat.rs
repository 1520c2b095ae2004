//! Repeats: requests that are sent once more, because that is safe.
//!
//! | what happened | repeated |
//! |---|---|
//! | no byte of the request was sent, on a connection that the peer may have closed | always |
//! | the server promised not to have processed it: `GOAWAY`, `REFUSED_STREAM` (RFC 9113 8.7) | if its body can be sent again |
//! | the proxy asks for other credentials, which are there (407) | if its body can be sent again |
//! | a used connection ended before a byte of the response (RFC 9112 9.3.1) | if its method is idempotent (RFC 9110 9.2.2) and its body can be sent again |
//!
//! A body can be sent again if at most one frame of it was taken, as from a body in memory.

use http::Request;

use super::{
    error::{ClientError, Failure, Processed},
    hold::Hold,
    pool::SendError,
    request_body::RequestBody,
};

/// Repeats after promises of the server. A server that promises more often is not working.
const MOST_PROMISES: u8 = 3;

/// The repeats of one request.
#[derive(Default)]
pub(super) struct Repeats {
    promises: u8,
    /// True if the request may have been processed already.
    was_sent: bool,
}

/// A copy of a request that is being sent.
pub(super) struct Spare(Option<Request<RequestBody>>);

impl Spare {
    /// Copies a request that may be repeated on this connection after some of it was sent.
    pub(super) fn of(request: &Request<RequestBody>, hold: &Hold, may_be_challenged: bool) -> Self {
        let is_possible =
            may_be_challenged || hold.is_http2() || (hold.may_be_stale() && request.method().is_idempotent());
        Self(is_possible.then(|| {
            let mut spare = Request::new(request.body().spare());
            *spare.method_mut() = request.method().clone();
            *spare.uri_mut() = request.uri().clone();
            *spare.headers_mut() = request.headers().clone();
            *spare.extensions_mut() = request.extensions().clone();
            spare
        }))
    }

    /// Drops the copy.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    pub(super) fn again(self) -> Option<Request<RequestBody>> {
        let (parts, body) = self.0?.into_parts();
        Some(Request::from_parts(parts, body.again()?))
    }
}

impl Repeats {
    /// Returns the request if it is to be sent once more, and its error if not.
    pub(super) fn next(
        &mut self,
        failed: SendError,
        spare: Spare,
        may_be_stale: bool,
    ) -> Result<Request<RequestBody>, ClientError> {
        let SendError {
            error,
            is_faulty,
            processed,
            unsent,
            is_unanswered,
        } = failed;
        let is_idempotent = spare.0.as_ref().is_some_and(|spare| spare.method().is_idempotent());
        let again = match processed {
            Processed::Unsent if may_be_stale => unsent,
            Processed::Refused if self.promises < MOST_PROMISES => {
                self.promises += 1;
                spare.again()
            }
            Processed::Maybe if may_be_stale && is_idempotent && is_unanswered => spare.again(),
            _ => None,
        };
        match again {
            Some(request) => {
                self.was_sent |= processed == Processed::Maybe;
                Ok(request)
            }
            None => Err(self.error(ClientError::new(Failure::Send {
                error,
                is_faulty,
                processed,
            }))),
        }
    }

    /// Returns the error of the last repeat as the error of the request.
    pub(super) fn error(&self, error: ClientError) -> ClientError {
        match self.was_sent {
            true => error.after_request(),
            false => error,
        }
    }
}
