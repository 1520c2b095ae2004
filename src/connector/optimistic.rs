//! [`FirstFlight`]: the first bytes of TLS to a target, written before the proxy has answered CONNECT.
//!
//! They may be sent on several connections, one after the other or at once, because they hold only a ClientHello: a
//! target that receives it twice has one connection too many, and no request twice. Whatever follows it, such as 0-RTT
//! data (RFC 8446 8), waits for the answer.

use std::{
    io::IoSlice,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use bytes::{Bytes, BytesMut};

use super::{ProxyStream, first_bytes::HANDSHAKE};
use crate::error::ConnectError;

/// The header of a TLS record: type, version, length (RFC 8446 5.1).
const HEADER: usize = 5;

/// The longest flight; a ClientHello has one or two KiB.
const MOST: usize = 64 * 1024;

/// The first bytes of TLS to a target.
#[derive(Default)]
pub(super) struct FirstFlight(Mutex<State>);

#[derive(Default)]
struct State {
    bytes: BytesMut,
    /// True if a CONNECT was sent that the bytes may follow at once.
    is_wanted: bool,
    waker: Option<Waker>,
}

#[cfg_attr(not(feature = "http2"), allow(dead_code))]
impl FirstFlight {
    /// Takes bytes, up to the end of the handshake messages. Returns pending if nothing more can be taken.
    pub(super) fn write(&self, bufs: &[IoSlice<'_>]) -> Poll<usize> {
        let mut state = self.lock();
        let start = state.bytes.len();
        for buf in bufs {
            state.bytes.extend_from_slice(buf);
        }
        let end = end_of_handshake(&state.bytes).min(MOST).max(start);
        let is_full = end == start && bufs.iter().any(|buf| !buf.is_empty());
        state.bytes.truncate(end);
        let waker = state.waker.take_if(|_| end > start);
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        match is_full {
            true => Poll::Pending,
            false => Poll::Ready(end - start),
        }
    }

    /// Returns the bytes after the first `sent`. If there are none yet, wakes the task when more have come.
    pub(super) fn after(&self, sent: usize, cx: &mut Context<'_>) -> Option<Bytes> {
        let mut state = self.lock();
        state.is_wanted = true;
        if state.bytes.len() > sent {
            return Some(Bytes::copy_from_slice(&state.bytes[sent..]));
        }
        state.waker = Some(cx.waker().clone());
        None
    }

    /// Returns all bytes.
    pub(super) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.lock().bytes)
    }

    /// Returns true if the bytes may be sent at once.
    pub(super) fn is_wanted(&self) -> bool {
        self.lock().is_wanted
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The future of a connection.
pub(super) type Connecting<T> = Pin<Box<dyn Future<Output = Result<ProxyStream<T>, ConnectError>> + Send>>;

/// A tunnel that is not open yet, and its first flight.
pub(super) struct Opening<T> {
    connecting: Mutex<Connecting<T>>,
    pub(super) first: Arc<FirstFlight>,
    halves: Arc<Halves>,
}

/// The half of a stream that waits until it is open.
#[derive(Clone, Copy)]
pub(super) enum Half {
    Read,
    Write,
}

/// The wakers of both halves, which may belong to two tasks. Only one of them has polled last.
#[derive(Default)]
struct Halves(Mutex<[Option<Waker>; 2]>);

impl<T> Opening<T> {
    pub(super) fn new(connecting: Connecting<T>, first: Arc<FirstFlight>) -> Self {
        Self {
            connecting: Mutex::new(connecting),
            first,
            halves: Arc::default(),
        }
    }

    pub(super) fn poll(&mut self, cx: &Context<'_>, half: Half) -> Poll<Result<ProxyStream<T>, ConnectError>> {
        self.halves.lock()[half as usize] = Some(cx.waker().clone());
        let waker = Waker::from(self.halves.clone());
        let connecting = self.connecting.get_mut().unwrap_or_else(PoisonError::into_inner);
        let polled = connecting.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            waker.wake();
        }
        polled
    }
}

impl Halves {
    fn lock(&self) -> MutexGuard<'_, [Option<Waker>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Halves {
    fn wake(self: Arc<Self>) {
        let wakers = mem::take(&mut *self.lock());
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// Returns the end of the last handshake record, which may be yet to come.
fn end_of_handshake(bytes: &[u8]) -> usize {
    let mut end = 0;
    while bytes.get(end) == Some(&HANDSHAKE) {
        let Some(&[.., high, low]) = bytes[end..].first_chunk::<HEADER>() else {
            return bytes.len();
        };
        end += HEADER + usize::from(u16::from_be_bytes([high, low]));
    }
    end.min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes bytes in pieces of a size until no more are taken.
    fn written(bytes: &[u8], size: usize) -> Vec<u8> {
        let flight = FirstFlight::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            match flight.write(&[IoSlice::new(&rest[..size.min(rest.len())])]) {
                Poll::Ready(count) => rest = &rest[count..],
                Poll::Pending => break,
            }
        }
        flight.bytes().to_vec()
    }

    #[test]
    fn only_handshake_records_are_taken() {
        let hello = [&[HANDSHAKE, 3, 1, 0, 4][..], b"abcd", &[HANDSHAKE, 3, 3, 0, 1], b"e"].concat();
        for rest in [&b""[..], &[0x17, 3, 3, 0, 2, 1, 2], &[0x14, 3, 3, 0, 1, 1]] {
            let all = [&hello[..], rest].concat();
            for size in 1..=all.len() {
                assert_eq!(written(&all, size), hello, "in pieces of {size}");
            }
        }
        assert_eq!(written(&hello[..7], 3), &hello[..7]);
    }
}
