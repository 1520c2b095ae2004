//! [`Receiving`]: the receiving half of a stream.
//!
//! h2 keeps each DATA frame that is not read yet. Their bytes are bounded by the stream's window, but each frame takes
//! memory of its own, and too many small ones end the connection. The connection's task therefore joins small frames
//! of streams whose readers are slow.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
#[cfg(feature = "client")]
use http::HeaderMap;

/// The longest chunk that is joined with the next one. Unjoined, it would keep the memory of all frames that were read
/// together with it, those of other tunnels included.
pub(super) const SMALL: usize = 4096;

/// The receiving half of a stream.
pub(crate) struct Receiving(Mutex<State>);

struct State {
    stream: RecvStream,
    /// Chunks that were taken out of h2, which still count for the window.
    chunks: VecDeque<Bytes>,
    /// The last chunk, if it is small.
    joined: BytesMut,
    /// The end of the stream, once it has come.
    end: Option<Result<(), h2::Error>>,
    reader: Option<Waker>,
}

impl Receiving {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self(Mutex::new(State {
            stream,
            chunks: VecDeque::new(),
            joined: BytesMut::new(),
            end: None,
            reader: None,
        }))
    }

    /// Returns the next chunk, which counts for the window until it is [released](Self::release). `None` at the end.
    pub(crate) fn poll_data(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(chunk) = state.chunks.pop_front() {
            return Poll::Ready(Some(Ok(chunk)));
        }
        if !state.joined.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut state.joined).freeze())));
        }
        match state.end.take() {
            Some(Ok(())) => {
                state.end = Some(Ok(()));
                return Poll::Ready(None);
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {}
        }
        let polled = state.stream.poll_data(cx);
        state.reader = polled.is_pending().then(|| cx.waker().clone());
        polled
    }

    /// Returns the trailers after the end of the data.
    #[cfg(feature = "client")]
    pub(crate) fn poll_trailers(&self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, h2::Error>> {
        self.lock().stream.poll_trailers(cx)
    }

    /// Returns true if nothing more comes.
    #[cfg(feature = "client")]
    pub(crate) fn is_end_stream(&self) -> bool {
        let state = self.lock();
        state.chunks.is_empty() && state.joined.is_empty() && state.stream.is_end_stream()
    }

    /// Opens the window again by this many bytes.
    pub(crate) fn release(&self, count: usize) {
        // It fails only after the stream's end.
        let _ = self.lock().stream.flow_control().release_capacity(count);
    }

    /// Takes what was received out of h2, and joins the small chunks.
    pub(super) fn join(&self) {
        // A reader that is reading now is not slow.
        let Ok(mut state) = self.0.try_lock() else { return };
        let state = &mut *state;
        let waker = state.reader.clone().unwrap_or_else(|| Waker::noop().clone());
        let mut cx = Context::from_waker(&waker);
        while state.end.is_none() {
            match state.stream.poll_data(&mut cx) {
                Poll::Pending => break,
                Poll::Ready(None) => state.end = Some(Ok(())),
                Poll::Ready(Some(Err(error))) => state.end = Some(Err(error)),
                Poll::Ready(Some(Ok(chunk))) if chunk.len() < SMALL => {
                    state.joined.extend_from_slice(&chunk);
                    if state.joined.len() >= SMALL {
                        state.chunks.push_back(state.joined.split().freeze());
                    }
                }
                Poll::Ready(Some(Ok(chunk))) => {
                    if !state.joined.is_empty() {
                        state.chunks.push_back(state.joined.split().freeze());
                    }
                    state.chunks.push_back(chunk);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
