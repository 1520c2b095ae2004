//! The proxy over HTTP/2.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h2::{
    RecvStream, SendStream,
    server::{self, SendResponse},
};
use http::{Method, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Counts, Hosts, origin};
use crate::content::Content;

/// Go's server and Apache's have similar limits; nghttpx and Envoy admit 100.
const MAX_CONCURRENT_STREAMS: u32 = 250;
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// The most bytes of a DATA frame: with its header, they fill one TLS record.
const DATA: usize = (16 << 10) - 9;

pub(super) async fn serve<T>(io: T, hosts: Hosts, counts: Arc<Counts>) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = server::Builder::new()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake::<_, Bytes>(io)
        .await
        .map_err(io::Error::other)?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted.map_err(io::Error::other)?;
        let (hosts, counts) = (hosts.clone(), counts.clone());
        tokio::spawn(async move { answer(request, respond, &hosts, &counts).await });
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    hosts: &Hosts,
    counts: &Counts,
) -> io::Result<()> {
    let (head, receive) = request.into_parts();
    let authority = head.uri.authority().ok_or(ErrorKind::InvalidData)?;
    let send = respond
        .send_response(Response::new(()), false)
        .map_err(io::Error::other)?;
    let mut stream = Stream {
        send,
        receive,
        unread: Bytes::new(),
    };
    if head.method == Method::CONNECT {
        return hosts.tunnel(stream, authority.as_str(), counts).await;
    }
    let length = origin::wanted(head.uri.path()).ok_or(ErrorKind::InvalidData)?;
    let mut content = Content::of(authority.host(), length);
    let piece = content.piece();
    // Long responses are for tunnels.
    if content.left() > 0 {
        return Err(ErrorKind::InvalidData.into());
    }
    stream.send.send_data(piece, true).map_err(io::Error::other)
}

/// A stream as a connection.
struct Stream {
    send: SendStream<Bytes>,
    receive: RecvStream,
    unread: Bytes,
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            let Some(data) = ready!(self.receive.poll_data(cx)) else {
                return Poll::Ready(Ok(()));
            };
            self.unread = data.map_err(io::Error::other)?;
            let length = self.unread.len();
            let released = self.receive.flow_control().release_capacity(length);
            released.map_err(io::Error::other)?;
        }
        let length = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wanted = bytes.len().min(DATA);
        self.send.reserve_capacity(wanted);
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(capacity) => capacity.map_err(io::Error::other)?,
                None => return Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
            };
        }
        let length = wanted.min(self.send.capacity());
        let data = Bytes::copy_from_slice(&bytes[..length]);
        self.send.send_data(data, false).map_err(io::Error::other)?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.send.send_data(Bytes::new(), true);
        Poll::Ready(ended.map_err(io::Error::other))
    }
}
