//! [`RequestBody`]: a request's body, which can be sent again while nothing of it has been lost.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::error::BoxError;

/// A request's body, of any type, with `Bytes` as its data.
///
/// hyper takes a request and does not give it back once it has begun to send it. This body keeps what was taken from
/// the caller's body, as long as that is a single frame at most, so that [`again`](Self::again) can send it once more.
/// A body in memory is a single frame.
pub(super) struct RequestBody(Option<Handle>);

/// One sender's hold on a body.
struct Handle {
    body: Arc<Mutex<Shared>>,
    /// The sender that this handle belongs to.
    sender: u32,
    is_at_start: bool,
}

struct Shared {
    body: Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>,
    /// The only frame taken so far.
    first: Option<Bytes>,
    /// True if more was taken than `first`.
    is_lost: bool,
    /// The only sender that can still take frames.
    sender: u32,
    /// The task of a sender that waits for a frame.
    waiting: Option<Waker>,
}

impl RequestBody {
    pub(super) fn new<B>(body: B) -> Self
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        if body.is_end_stream() {
            return Self(None);
        }
        Self(Some(Handle {
            body: Arc::new(Mutex::new(Shared {
                body: Box::pin(IntoBytes { body }),
                first: None,
                is_lost: false,
                sender: 0,
                waiting: None,
            })),
            sender: 0,
            is_at_start: true,
        }))
    }

    /// Returns a second handle on the body, for [`again`](Self::again).
    pub(super) fn spare(&self) -> Self {
        Self(self.0.as_ref().map(|handle| Handle {
            body: handle.body.clone(),
            ..*handle
        }))
    }

    /// Returns the body from its start, if nothing of it has been lost. Other handles take no more from it.
    pub(super) fn again(self) -> Option<Self> {
        let Some(mut handle) = self.0 else {
            return Some(self);
        };
        {
            let mut shared = lock(&handle.body);
            if shared.is_lost {
                return None;
            }
            handle.sender = shared.next_sender();
        }
        handle.is_at_start = true;
        Some(Self(Some(handle)))
    }

    /// Returns true if this is the only handle: what sent the body has dropped it.
    pub(super) fn is_finished(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|handle| Arc::strong_count(&handle.body) == 1)
    }

    /// Ends the body with an error for the sender that this handle belongs to.
    pub(super) fn stop(&self) {
        let waiting = self.0.as_ref().and_then(|handle| {
            let mut shared = lock(&handle.body);
            if shared.sender != handle.sender {
                return None;
            }
            shared.next_sender();
            shared.waiting.take()
        });
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Shared {
    fn next_sender(&mut self) -> u32 {
        self.sender += 1;
        self.sender
    }
}

fn lock(body: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(handle) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let shared = &mut *lock(&handle.body);
        if shared.sender != handle.sender {
            return Poll::Ready(Some(Err("the request is not sent any more on this connection".into())));
        }
        let is_at_start = std::mem::replace(&mut handle.is_at_start, false);
        if let Some(first) = shared.first.as_ref().filter(|_| is_at_start) {
            return Poll::Ready(Some(Ok(Frame::data(first.clone()))));
        }
        let Poll::Ready(frame) = shared.body.as_mut().poll_frame(cx) else {
            shared.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let data = match &frame {
            None => return Poll::Ready(None),
            Some(Ok(frame)) => frame.data_ref(),
            Some(Err(_)) => None,
        };
        match (data, &shared.first, shared.is_lost) {
            (Some(data), None, false) => shared.first = Some(data.clone()),
            _ => (shared.first, shared.is_lost) = (None, true),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|handle| {
            let shared = lock(&handle.body);
            let is_before_first = handle.is_at_start && shared.first.is_some();
            !is_before_first && shared.body.is_end_stream()
        })
    }

    fn size_hint(&self) -> SizeHint {
        let Some(handle) = &self.0 else {
            return SizeHint::with_exact(0);
        };
        let shared = lock(&handle.body);
        let mut hint = shared.body.size_hint();
        if let Some(first) = shared.first.as_ref().filter(|_| handle.is_at_start) {
            let length = first.len() as u64;
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper + length);
            }
            hint.set_lower(hint.lower() + length);
        }
        hint
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("size_hint", &self.size_hint())
            .finish()
    }
}

pin_project_lite::pin_project! {
    /// A caller's body with `Bytes` as its data. Unlike `http_body_util`'s `map_frame`, it keeps the length, which a
    /// request needs for its `Content-Length`.
    struct IntoBytes<B> {
        #[pin]
        body: B,
    }
}

impl<B> Body for IntoBytes<B>
where
    B: Body<Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.project().body.poll_frame(cx));
        Poll::Ready(frame.map(|frame| match frame {
            Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
            Err(error) => Err(error.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
