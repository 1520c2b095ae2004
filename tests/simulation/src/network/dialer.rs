//! [`Dialer`]: the connector under the client; and [`dial`], which proxies use too.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::time::sleep;
use tower_service::Service;

use super::{
    end::End,
    link::{CLIENT, Link, SERVER},
};
use crate::{
    fault::Fault,
    random::Random,
    record::{ConnectionId, Peer},
    server,
    world::World,
};

/// The connections that a world has before it takes no more.
const MOST: usize = 5_000;

/// A connector whose network is a [`World`].
#[derive(Clone)]
pub(crate) struct Dialer(pub(crate) Arc<World>);

impl Service<Uri> for Dialer {
    type Response = TokioIo<End>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<End>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let world = self.0.clone();
        Box::pin(async move {
            let name = uri.host().unwrap_or_default();
            dial(&world, name, None).await.map(TokioIo::new)
        })
    }
}

/// Connects to the server of this name. `near` is the client's connection and its peer, if a proxy dials for it.
pub(crate) async fn dial(world: &Arc<World>, name: &str, near: Option<(ConnectionId, Peer)>) -> io::Result<End> {
    let found = world.plan.servers.iter().position(|server| server.name == name);
    let server = found.ok_or(io::ErrorKind::NotFound)?;
    let attempt = Attempt::new(world, name, server, near);
    let connection = attempt.connection;
    let random = &mut Random::new(world.plan.seed, "dial", connection as u64);
    let round_trip = 2 * random.range(0, world.server(server).latency);
    sleep(Duration::from_millis(round_trip)).await;
    if connection >= MOST {
        // The invariants tell of it. The clock could stand still for ever.
        std::future::pending::<()>().await;
    }
    if world.happens(server, Fault::DialHangs, random) {
        world.record().fault(connection, Fault::DialHangs);
        std::future::pending::<()>().await;
    }
    if world.happens(server, Fault::DialSlow, random) {
        world.record().fault(connection, Fault::DialSlow);
        sleep(Duration::from_millis(random.range(1, 3_000))).await;
    }
    if world.is_away(server) || world.happens(server, Fault::DialRefused, random) {
        world.record().fault(connection, Fault::DialRefused);
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let link = Link::new(world, connection, server);
    let (client, accepted) = (End::new(link.clone(), CLIENT), End::new(link.clone(), SERVER));
    attempt.succeeds();
    spoil(world, &link, server, random);
    world.spawn(server::accept(world.clone(), server, accepted));
    Ok(client)
}

/// Lets the network break a connection at a random moment.
fn spoil(world: &Arc<World>, link: &Arc<Link>, server: usize, random: &mut Random) {
    for fault in [Fault::LinkDies, Fault::LinkResets] {
        if world.happens(server, fault, random) {
            let after = random.pick(&[0, 1, 10, 100, 1_000, 10_000]);
            let after = Duration::from_millis(random.range(0, after));
            let (healing, link) = (world.clone(), Arc::downgrade(link));
            world.spawn(async move {
                sleep(after).await;
                match link.upgrade().filter(|_| !healing.is_healthy()) {
                    Some(link) if fault == Fault::LinkDies => link.die(fault),
                    Some(link) => link.reset(fault),
                    None => {}
                }
            });
        }
    }
}

/// A connection that is being dialled. Dropping it records that it was given up or refused.
struct Attempt<'w> {
    world: &'w Arc<World>,
    connection: ConnectionId,
    pending: bool,
}

impl<'w> Attempt<'w> {
    fn new(world: &'w Arc<World>, name: &str, server: usize, near: Option<(ConnectionId, Peer)>) -> Self {
        let connection = world.record().dial(name, server, near);
        Self {
            world,
            connection,
            pending: true,
        }
    }

    fn succeeds(mut self) {
        self.pending = false;
        self.world.record().connected(self.connection);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.pending {
            self.world.record().dial_failed(self.connection);
        }
    }
}
