//! Proxies and origins.
//!
//! Each connection has a [`Session`], which decides by its own random numbers what goes wrong, and records it before it
//! does.

mod arrival;
mod gate;
mod http1;
mod http2;
mod message;
mod shared_tunnel;
mod tunnel;

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::{io::AsyncReadExt, sync::Semaphore, time::sleep};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::arrival::credentials;
use crate::{
    certificates,
    fault::Fault,
    network::{End, Link},
    plan::Protocol,
    random::Random,
    record::ConnectionId,
    world::World,
};

/// A server's side of a connection.
#[derive(Clone)]
struct Session {
    world: Arc<World>,
    server: usize,
    connection: ConnectionId,
    link: Arc<Link>,
    random: Random,
    /// HTTP/2: the streams that are served at a time, if there is a limit.
    slots: Option<Arc<Semaphore>>,
    /// True for a proxy over HTTP/2, whose connections are shared by all that goes through it.
    is_shared: bool,
}

impl Session {
    fn happens(&mut self, fault: Fault) -> bool {
        self.world.happens(self.server, fault, &mut self.random)
    }

    fn fault(&self, fault: Fault) {
        self.world.record().fault(self.connection, fault);
    }

    fn is_proxy(&self) -> bool {
        self.world.server(self.server).protocol.is_proxy()
    }

    /// Returns a random moment in the life of a connection, in milliseconds.
    fn moment(&mut self) -> u64 {
        let most = self.random.pick(&[0, 1, 10, 100, 1_000, 10_000]);
        self.random.range(0, most)
    }

    async fn pause(&mut self, most: u64) {
        let pause = self.random.range(0, most);
        if pause > 0 {
            sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// Serves a connection to its end.
///
/// Boxed, since a proxy dials on the network that accepts for it.
pub(crate) fn accept(world: Arc<World>, server: usize, end: End) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(serve(world, server, end))
}

async fn serve(world: Arc<World>, server: usize, mut end: End) {
    let link = end.link().clone();
    let mut session = Session {
        random: Random::new(world.plan.seed, "server", link.connection as u64),
        server,
        connection: link.connection,
        link,
        world,
        slots: None,
        is_shared: false,
    };
    if session.happens(Fault::Mute) {
        session.fault(Fault::Mute);
        let mut ignored = [0; 4096];
        while end.read(&mut ignored).await.is_ok_and(|bytes| bytes > 0) {}
        return;
    }
    let tls = match session.world.server(server).protocol {
        Protocol::Http | Protocol::Proxy => return http1::serve(session, end).await,
        Protocol::Http2Proxy => return http2::serve(session, end).await,
        Protocol::Https | Protocol::SecureProxy => &certificates::HTTP1,
        Protocol::Http2 | Protocol::SecureHttp2Proxy => &certificates::HTTP2,
    };
    let Ok(stream) = TlsAcceptor::from((*tls).clone()).accept(end).await else {
        return;
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => http2::serve(session, stream).await,
        _ => http1::serve(session, stream).await,
    }
}
