//! [`RequestBody`]: a request's body, which can be sent again while nothing of it has been lost.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;

use crate::error::BoxError;

/// A request's body, of any type, with `Bytes` as its data.
///
/// hyper takes a request and does not give it back once it has begun to send it. This body keeps what was taken from
/// the caller's body, as long as that is a single frame at most, so that [`again`](Self::again) can send it once more.
/// A body in memory is a single frame.
///
/// It is as small as it can be, because each of hyper's connections has room for 32 requests.
pub(super) struct RequestBody(Option<Arc<Mutex<Sending>>>);

/// One time that a body is sent.
struct Sending {
    /// The caller's body, unless it is sent another time or not at all.
    body: Option<CallersBody>,
    /// The only frame taken so far.
    first: Option<Bytes>,
    /// True until `first` has been sent this time.
    is_at_start: bool,
    /// True while it waits for the proxy's consent.
    is_held: bool,
    /// True when the caller's body has ended. Many bodies panic if they are polled after that.
    is_at_end: bool,
    /// True if more than `first` was taken, or if a panic hid how much.
    is_lost: bool,
    /// The task that waits for a frame.
    waiting: Option<Waker>,
}

type CallersBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

impl RequestBody {
    pub(super) fn new<B>(body: B) -> Self
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        match body.is_end_stream() {
            true => Self(None),
            false => Self::sending(Box::pin(IntoBytes { body }), None, false),
        }
    }

    fn sending(body: CallersBody, first: Option<Bytes>, is_at_end: bool) -> Self {
        Self(Some(Arc::new(Mutex::new(Sending {
            body: Some(body),
            first,
            is_at_start: true,
            is_held: false,
            is_at_end,
            is_lost: false,
            waiting: None,
        }))))
    }

    /// Returns a second handle on the body, for [`again`](Self::again).
    pub(super) fn spare(&self) -> Self {
        Self(self.0.clone())
    }

    /// Returns the body from its start, if nothing of it has been lost. It is not sent any more from other handles.
    pub(super) fn again(self) -> Option<Self> {
        let Some(sending) = &self.0 else {
            return Some(self);
        };
        let mut sending = lock(sending);
        if sending.is_lost {
            return None;
        }
        let body = sending.end()?;
        Some(Self::sending(body, sending.first.take(), sending.is_at_end))
    }

    /// Sends nothing until [`release`](Self::release).
    pub(super) fn hold(&self) {
        self.set_held(true);
    }

    pub(super) fn release(&self) {
        self.set_held(false);
    }

    fn set_held(&self, is_held: bool) {
        if let Some(sending) = &self.0 {
            let mut sending = lock(sending);
            sending.is_held = is_held;
            sending.waiting.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Returns true if this is the only handle: what sent the body has dropped it.
    pub(super) fn is_finished(&self) -> bool {
        self.0.as_ref().is_none_or(|sending| Arc::strong_count(sending) == 1)
    }

    /// Ends the body with an error for what sends it.
    pub(super) fn stop(&self) {
        let Some(sending) = &self.0 else {
            return;
        };
        // The caller's body is dropped without the lock.
        let _body = match (sending.try_lock(), Handle::try_current()) {
            (Ok(mut sending), _) => sending.end(),
            (Err(TryLockError::Poisoned(poisoned)), _) => poisoned.into_inner().end(),
            // It is being polled. If it drops its own request just now, the poll waits for this function.
            (Err(TryLockError::WouldBlock), Ok(runtime)) => {
                let sending = sending.clone();
                runtime.spawn(async move {
                    let _body = lock(&sending).end();
                });
                None
            }
            (Err(TryLockError::WouldBlock), Err(_)) => lock(sending).end(),
        };
    }
}

impl Sending {
    fn end(&mut self) -> Option<CallersBody> {
        self.waiting.take().into_iter().for_each(Waker::wake);
        self.body.take()
    }

    /// Returns the frame that is to be sent again.
    fn first(&self) -> Option<&Bytes> {
        self.first.as_ref().filter(|_| self.is_at_start)
    }
}

fn lock(sending: &Mutex<Sending>) -> MutexGuard<'_, Sending> {
    sending.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(sending) = &self.0 else {
            return Poll::Ready(None);
        };
        let sending = &mut *lock(sending);
        let Some(body) = &mut sending.body else {
            return Poll::Ready(Some(Err("the request is not sent any more on this connection".into())));
        };
        if sending.is_held {
            sending.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if std::mem::replace(&mut sending.is_at_start, false) {
            if let Some(first) = &sending.first {
                return Poll::Ready(Some(Ok(Frame::data(first.clone()))));
            }
        }
        if sending.is_at_end {
            return Poll::Ready(None);
        }
        // What a body that panics has lost is not known.
        let was_lost = std::mem::replace(&mut sending.is_lost, true);
        let polled = body.as_mut().poll_frame(cx);
        sending.is_lost = was_lost;
        let Poll::Ready(frame) = polled else {
            sending.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let data = match &frame {
            None => {
                sending.is_at_end = true;
                return Poll::Ready(None);
            }
            Some(Ok(frame)) => frame.data_ref(),
            Some(Err(_)) => None,
        };
        match (data, &sending.first, sending.is_lost) {
            (Some(data), None, false) => sending.first = Some(data.clone()),
            _ => (sending.first, sending.is_lost) = (None, true),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|sending| {
            let sending = lock(sending);
            let body = sending.body.as_ref();
            sending.first().is_none() && body.is_some_and(|body| sending.is_at_end || body.is_end_stream())
        })
    }

    fn size_hint(&self) -> SizeHint {
        let Some(sending) = &self.0 else {
            return SizeHint::with_exact(0);
        };
        let sending = lock(sending);
        let mut hint = sending
            .body
            .as_ref()
            .map_or_else(SizeHint::new, |body| body.size_hint());
        if let Some(first) = sending.first() {
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
