//! [`End`]: one end of a connection, as a stream.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep_until},
};

use super::{
    link::{CLIENT, Link},
    pipe::Look,
};
use crate::world::lock;

/// One end of a connection. Dropping it closes the connection, and resets it if the other end goes on to send.
pub(crate) struct End {
    link: Arc<Link>,
    side: usize,
    /// Set while what comes next is on its way.
    timer: Option<Pin<Box<Sleep>>>,
}

impl End {
    pub(super) fn new(link: Arc<Link>, side: usize) -> Self {
        Self {
            link,
            side,
            timer: None,
        }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl AsyncRead for End {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let link = self.link.clone();
        loop {
            let mut state = lock(&link.state);
            let pipe = &mut state.pipes[1 - self.side];
            let due = match pipe.look() {
                Look::Data(data) => {
                    let bytes = data.len().min(buf.remaining());
                    buf.put_slice(&data[..bytes]);
                    pipe.consume(bytes);
                    return Poll::Ready(Ok(()));
                }
                Look::End => return Poll::Ready(Ok(())),
                Look::Reset => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Look::Soon => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Look::Nothing => {
                    pipe.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Look::Later(due) => {
                    pipe.reader = Some(cx.waker().clone());
                    due
                }
            };
            drop(state);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.link.state);
        if state.pipes[1 - self.side].is_reset() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let pipe = &mut state.pipes[self.side];
        if pipe.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if pipe.abandoned {
            drop(state);
            self.link.refuse(self.side);
            return Poll::Ready(Ok(data.len()));
        }
        let room = self.link.window.saturating_sub(pipe.buffered);
        if room == 0 && !data.is_empty() {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        let bytes = data.len().min(room);
        if bytes > 0 {
            self.link.send(self.side, Bytes::copy_from_slice(&data[..bytes]));
        }
        Poll::Ready(Ok(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.end(self.side);
        Poll::Ready(Ok(()))
    }
}

impl Connection for End {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.link.end(self.side);
        lock(&self.link.state).pipes[1 - self.side].abandon();
        let mut record = self.link.world.record();
        match self.side {
            CLIENT => record.client_closed(self.link.connection),
            _ => record.server_closed(self.link.connection),
        }
    }
}
