//! Requests that a proxy forwards over HTTP/2: each is a stream of a connection that also carries tunnels.
//!
//! This file speaks to h2 and not to hyper, because hyper would own the connection and leave no stream to tunnels.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use tokio::{sync::oneshot, time::timeout};

use super::{
    body::ClientBody,
    error::Processed,
    pool::{REST_OF_REQUEST, SendError},
    request_body::RequestBody,
};
use crate::{
    error::{BoxError, find},
    http2::{Lease, MOST_DATA, OF_HTTP1, PATIENCE, Receiving, is_unprocessed, poll_room},
    route::Route,
};

/// A stream for one request.
pub(super) struct Forward(Lease);

/// The body of a response.
pub(super) struct ForwardedBody {
    receiving: Arc<Receiving>,
    /// The number of bytes that are yet to come, if the server has said so.
    left: Option<u64>,
    /// Tells the task that sends the rest of the request when the response has been read. Dropping it stops the task.
    upload: Option<oneshot::Sender<()>>,
    lease: Arc<Lease>,
    is_over: bool,
}

impl Forward {
    pub(super) fn new(lease: Lease) -> Self {
        Self(lease)
    }

    /// Returns true if the connection was not opened for this request, and the peer may have closed it.
    pub(super) fn may_be_stale(&self) -> bool {
        self.0.is_reused()
    }

    /// Sends a request. The response may come before the end of the request.
    pub(super) async fn send(
        self,
        request: Request<RequestBody>,
        is_described: bool,
    ) -> Result<Response<ClientBody>, SendError> {
        let Self(mut lease) = self;
        let mut sender = match lease.ready().await {
            Ok(sender) => sender,
            Err(error) => {
                return Err(SendError {
                    error: lease.error(error).into(),
                    is_faulty: false,
                    processed: Processed::Unsent,
                    unsent: Some(request),
                    is_unanswered: true,
                });
            }
        };
        let (mut head, body) = request.into_parts();
        only_end_to_end(&mut head.headers);
        set_length(&head.method, &mut head.headers, &body);
        let sent = lease.send(&mut sender, Request::from_parts(head, ()), body.is_end_stream());
        let (response, sending) = sent.map_err(|error| failed(&lease, error))?;
        if !is_opened(sender).await {
            return Err(SendError {
                error: "the proxy takes no further requests on this connection for now".into(),
                is_faulty: false,
                processed: Processed::Refused,
                unsent: None,
                is_unanswered: false,
            });
        }
        let mut upload = match body.is_end_stream() {
            true => None,
            false => Some(Box::pin(Upload {
                sending,
                body,
                rest: Bytes::new(),
            })),
        };
        let mut response = answer(response, &mut upload).await.map_err(|error| match error {
            Failed::Stream(error) => failed(&lease, error),
            Failed::Body(error) => SendError {
                error,
                is_faulty: true,
                processed: Processed::Maybe,
                unsent: None,
                is_unanswered: false,
            },
        })?;
        lease.answered(None);
        if is_described {
            response.extensions_mut().insert(Route::Forward(lease.proxy().clone()));
            response.extensions_mut().insert(lease.connection());
        }
        let lease = Arc::new(lease);
        let upload = upload.map(|upload| go_on(upload, lease.clone()));
        Ok(ForwardedBody::new(response, upload, lease).map(ClientBody::shared))
    }
}

/// Waits for the stream of a request to open, and returns false if that takes too long. Nothing has been sent then.
///
/// The lease has a place for it, but the peer may lower its limit at that moment. The request would then wait in h2 for
/// the end of another stream, without a deadline, whatever room other connections have.
async fn is_opened(mut sender: SendRequest<Bytes>) -> bool {
    // An error is the response's as well.
    timeout(PATIENCE, poll_fn(|cx| sender.poll_ready(cx))).await.is_ok()
}

/// Returns the error of a stream.
fn failed(lease: &Lease, error: h2::Error) -> SendError {
    let is_refused = is_unprocessed(&error);
    let error = lease.error(error);
    SendError {
        is_faulty: false,
        processed: match is_refused {
            true => Processed::Refused,
            false => Processed::Maybe,
        },
        unsent: None,
        // The whole connection is lost, not only this stream.
        is_unanswered: find::<h2::Error>(&error).is_none(),
        error: error.into(),
    }
}

enum Failed {
    Stream(h2::Error),
    /// The request's own body failed.
    Body(BoxError),
}

/// Waits for the head of the response, and sends the body meanwhile.
async fn answer(
    mut response: ResponseFuture,
    upload: &mut Option<Pin<Box<Upload>>>,
) -> Result<Response<RecvStream>, Failed> {
    poll_fn(|cx| {
        if let Some(sending) = upload {
            match sending.as_mut().poll(cx) {
                Poll::Pending => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failed::Body(error))),
                Poll::Ready(Ok(())) => *upload = None,
            }
        }
        Pin::new(&mut response).poll(cx).map_err(Failed::Stream)
    })
    .await
}

/// Sends the rest of a body while the response is read, and a moment longer.
fn go_on(mut upload: Pin<Box<Upload>>, lease: Arc<Lease>) -> oneshot::Sender<()> {
    let (over, mut is_over) = oneshot::channel();
    tokio::spawn(async move {
        let ended = poll_fn(|cx| match upload.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => Pin::new(&mut is_over).poll(cx).map(Some),
        });
        if let Some(Ok(())) = ended.await {
            let _ = timeout(REST_OF_REQUEST, upload.as_mut()).await;
        }
        // The stream ends before the lease frees its place.
        drop(upload);
        drop(lease);
    });
    over
}

/// Removes the fields that concern one connection, and have no meaning in HTTP/2 (RFC 9113 8.2.2).
fn only_end_to_end(headers: &mut HeaderMap) {
    OF_HTTP1.iter().for_each(|name| {
        headers.remove(name);
    });
    if headers.get_all(header::TE).iter().any(|value| value != "trailers") {
        headers.remove(header::TE);
    }
    if let header::Entry::Occupied(connection) = headers.entry(header::CONNECTION) {
        let (_, options) = connection.remove_entry_mult();
        let names: Vec<_> = options
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect();
        for name in names.iter().flat_map(|names| names.split(',')) {
            headers.remove(name.trim());
        }
    }
}

/// Sets `Content-Length` if the length is known, except for an empty body where the method expects none.
fn set_length(method: &Method, headers: &mut HeaderMap, body: &RequestBody) {
    let Some(length) = body.size_hint().exact() else { return };
    let is_expected = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    if (length > 0 || is_expected) && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Sends a body. It ends with an error only if the body does.
struct Upload {
    sending: SendStream<Bytes>,
    body: RequestBody,
    /// The part of a frame of the body that is not sent yet.
    rest: Bytes,
}

impl Future for Upload {
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            // The server may want nothing more, and the error then is in its response.
            if let Poll::Ready(Ok(_) | Err(_)) = this.sending.poll_reset(cx) {
                return Poll::Ready(Ok(()));
            }
            while !this.rest.is_empty() {
                let wanted = this.rest.len().min(MOST_DATA);
                let Some(Ok(room)) = ready!(poll_room(&mut this.sending, cx, wanted)) else {
                    return Poll::Ready(Ok(()));
                };
                let frame = this.rest.split_to(room);
                let is_end = this.rest.is_empty() && this.body.is_end_stream();
                if this.sending.send_data(frame, is_end).is_err() || is_end {
                    return Poll::Ready(Ok(()));
                }
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                None => {
                    let _ = this.sending.send_data(Bytes::new(), true);
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => {
                    this.sending.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(error));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let _ = this.sending.send_trailers(trailers);
                        return Poll::Ready(Ok(()));
                    }
                },
            }
        }
    }
}

impl ForwardedBody {
    fn new(response: Response<RecvStream>, upload: Option<oneshot::Sender<()>>, lease: Arc<Lease>) -> Response<Self> {
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|stream| {
            let is_over = stream.is_end_stream();
            let mut body = Self {
                receiving: lease.receive(stream),
                left: length,
                upload,
                lease,
                is_over,
            };
            if is_over {
                body.end();
            }
            body
        })
    }

    fn end(&mut self) {
        self.is_over = true;
        if let Some(upload) = self.upload.take() {
            let _ = upload.send(());
        }
    }
}

impl Body for ForwardedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(chunk) = ready!(self.receiving.poll_data(cx)) {
            let chunk = chunk.map_err(|error| self.lease.error(error))?;
            self.receiving.release(chunk.len());
            self.left = self.left.map(|left| left.saturating_sub(chunk.len() as u64));
            if self.receiving.is_end_stream() {
                self.end();
            }
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let trailers = ready!(self.receiving.poll_trailers(cx));
        self.end();
        match trailers {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(Some(Err(self.lease.error(error)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.is_over => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
