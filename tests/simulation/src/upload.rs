//! [`UploadBody`]: a request's body, which may stall.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::{
    content,
    plan::{Stall, Upload},
};

const FRAME: usize = 8 << 10;

pub(crate) struct UploadBody {
    request: usize,
    upload: Upload,
    sent: usize,
    stall: Option<Pin<Box<Sleep>>>,
}

impl UploadBody {
    pub(crate) fn new(request: usize, upload: Upload) -> Self {
        Self {
            request,
            upload,
            sent: 0,
            stall: None,
        }
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (sent, length) = (self.sent, self.upload.length);
        if sent >= length / 2 {
            match self.upload.stall {
                Stall::None => {}
                Stall::Forever => return Poll::Pending,
                Stall::For(pause) => {
                    let pause = || Box::pin(sleep(Duration::from_millis(pause)));
                    if self.stall.get_or_insert_with(pause).as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.upload.stall = Stall::None;
                }
            }
        }
        if sent == length {
            return Poll::Ready(None);
        }
        // The stall is in the middle.
        let end = if sent < length / 2 { length / 2 } else { length };
        let end = end.min(sent + FRAME);
        self.sent = end;
        let data = content::bytes(self.request, sent, end);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.upload.sized && self.sent == self.upload.length && matches!(self.upload.stall, Stall::None)
    }

    fn size_hint(&self) -> SizeHint {
        match self.upload.sized {
            true => SizeHint::with_exact((self.upload.length - self.sent) as u64),
            false => SizeHint::default(),
        }
    }
}
