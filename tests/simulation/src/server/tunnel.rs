//! CONNECT at a proxy: the tunnel to an origin, over a connection that the proxy dials on the same network.

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};

use super::{
    Session,
    message::{Head, Wire},
};
use crate::{fault::Fault, network::dial};

/// Serves a CONNECT, and then the tunnel to its end.
pub(super) async fn serve<T: AsyncRead + AsyncWrite + Unpin + Send>(
    mut session: Session,
    mut wire: Wire<T>,
    head: &Head,
) {
    let Some((name, peer)) = session.asks_for(head) else {
        return;
    };
    if session.happens(Fault::ConnectHangs) {
        session.fault(Fault::ConnectHangs);
        return wire.drain().await;
    }
    if session.happens(Fault::ConnectSlow) {
        session.fault(Fault::ConnectSlow);
        session.pause(3_000).await;
    }
    if session.happens(Fault::ConnectCloses) {
        session.fault(Fault::ConnectCloses);
        return;
    }
    if session.happens(Fault::ConnectRefused) {
        session.fault(Fault::ConnectRefused);
        let status = session.random.pick(&[403, 407, 502, 503]);
        return refuse(wire, status).await;
    }
    let Ok(mut far) = dial(&session.world, &name, Some((session.connection, peer))).await else {
        session.fault(Fault::ConnectRefused);
        return refuse(wire, 502).await;
    };
    if wire.write(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
        let _ = copy_bidirectional(&mut wire.io, &mut far).await;
    }
}

async fn refuse<T: AsyncRead + AsyncWrite + Unpin + Send>(mut wire: Wire<T>, status: u16) {
    let head = format!("HTTP/1.1 {status} .\r\ncontent-length: 3\r\n\r\nno\n");
    let _ = wire.write(head.as_bytes()).await;
}
