//! CONNECT over HTTP/2 at a proxy: the tunnel is a stream of a connection that carries others (RFC 9113 8.5).

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf, split},
    time::sleep,
};

use super::{Session, http2::given_up};
use crate::{
    fault::Fault,
    network::{End, dial},
    plan::Tunnels,
    record::{ConnectionId, Peer},
    world::World,
};

/// Serves a CONNECT, and then the tunnel to its end.
pub(super) async fn serve(mut session: Session, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, upload) = request.into_parts();
    let Some((name, peer)) = session.asks_for(&session.head(&parts)) else {
        return;
    };
    let tunnel = Tunnel::new(&session, peer);
    session.connection = tunnel.number;
    let answer = tokio::select! {
        biased;
        () = given_up(&mut respond) => return,
        answer = session.connect(&name, peer) => answer,
    };
    match answer {
        Answer::Open(far) => {
            session.world.record().connected(tunnel.number);
            let Ok(stream) = respond.send_response(Response::new(()), false) else {
                return;
            };
            session.pass(&tunnel, far, upload, stream).await;
        }
        Answer::Refused(status) => {
            let response = Response::builder().status(status).body(());
            let response = response.expect("the response is well formed");
            if let Ok(mut body) = respond.send_response(response, false) {
                let _ = body.send_data(Bytes::from_static(b"no\n"), true);
            }
        }
        Answer::Reset(reason) => respond.send_reset(reason),
    }
}

/// The answer to a CONNECT.
enum Answer {
    Open(End),
    Refused(u16),
    Reset(Reason),
}

/// A tunnel, which the client has closed when this is dropped.
struct Tunnel {
    world: Arc<World>,
    number: ConnectionId,
}

impl Tunnel {
    fn new(session: &Session, peer: Peer) -> Self {
        let world = session.world.clone();
        let number = world.record().tunnel(session.connection, session.server, peer);
        Self { world, number }
    }

    fn is_closed(&self) {
        self.world.record().client_closed(self.number);
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.is_closed();
    }
}

impl Session {
    async fn connect(&mut self, name: &str, peer: Peer) -> Answer {
        match self.world.server(self.server).tunnels {
            Tunnels::Opens | Tunnels::Closes => {}
            Tunnels::Resets => {
                self.fault(Fault::ConnectRefused);
                return Answer::Reset(self.random.pick(&[Reason::PROTOCOL_ERROR, Reason::HTTP_1_1_REQUIRED]));
            }
            Tunnels::Refuses => {
                self.fault(Fault::ConnectRefused);
                return Answer::Refused(self.random.pick(&[405, 501]));
            }
        }
        let _slot = self.slot(|session| session.fault(Fault::ServesFew)).await;
        if self.happens(Fault::RefusesStream) {
            self.fault(Fault::RefusesStream);
            return Answer::Reset(Reason::REFUSED_STREAM);
        }
        if self.happens(Fault::ConnectHangs) {
            self.fault(Fault::ConnectHangs);
            std::future::pending::<()>().await;
        }
        if self.happens(Fault::ConnectSlow) {
            self.fault(Fault::ConnectSlow);
            self.pause(3_000).await;
        }
        if self.happens(Fault::ConnectCloses) {
            self.fault(Fault::ConnectCloses);
            return Answer::Reset(
                self.random
                    .pick(&[Reason::CONNECT_ERROR, Reason::INTERNAL_ERROR, Reason::CANCEL]),
            );
        }
        if self.happens(Fault::ConnectRefused) {
            self.fault(Fault::ConnectRefused);
            return Answer::Refused(self.random.pick(&[403, 407, 502, 503]));
        }
        match dial(&self.world, name, Some((self.connection, peer))).await {
            Ok(far) => Answer::Open(far),
            Err(_) => {
                self.fault(Fault::ConnectRefused);
                Answer::Refused(502)
            }
        }
    }

    /// Passes bytes in both directions. Each ends on its own, and an error of one side resets the other.
    async fn pass(&mut self, tunnel: &Tunnel, far: End, mut upload: RecvStream, mut stream: SendStream<Bytes>) {
        let (mut from, mut to) = split(far);
        let out = async {
            while let Some(data) = upload.data().await {
                let data = data.map_err(io::Error::other)?;
                to.write_all(&data).await?;
                let _ = upload.flow_control().release_capacity(data.len());
            }
            tunnel.is_closed();
            to.shutdown().await
        };
        let back = async {
            let mut buffer = [0; 16 << 10];
            loop {
                let read = poll_fn(|cx| {
                    if stream.poll_reset(cx).is_ready() {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                    }
                    let mut buffer = ReadBuf::new(&mut buffer);
                    ready!(Pin::new(&mut from).poll_read(cx, &mut buffer))?;
                    Poll::Ready(Ok::<_, io::Error>(buffer.filled().len()))
                });
                match read.await? {
                    0 => return stream.send_data(Bytes::new(), true).map_err(io::Error::other),
                    count => send(&mut stream, Bytes::copy_from_slice(&buffer[..count])).await?,
                }
            }
        };
        let broken = async {
            match self.happens(Fault::ResetsTunnel) {
                true => sleep(Duration::from_millis(self.moment())).await,
                false => std::future::pending().await,
            }
        };
        let is_broken = tokio::select! {
            biased;
            passed = async { tokio::try_join!(out, back) } => passed.is_err(),
            () = broken => {
                self.fault(Fault::ResetsTunnel);
                true
            }
        };
        if is_broken {
            stream.send_reset(Reason::CONNECT_ERROR);
        }
    }
}

/// Sends bytes, as fast as the window allows.
async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let capacity = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let capacity = capacity.ok_or(io::ErrorKind::BrokenPipe)?.map_err(io::Error::other)?;
        stream
            .send_data(bytes.split_to(capacity.min(bytes.len())), false)
            .map_err(io::Error::other)?;
    }
    Ok(())
}
