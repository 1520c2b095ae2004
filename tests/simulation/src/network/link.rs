//! [`Link`]: a connection between two ends.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::pipe::{Content, Pipe};
use crate::{
    fault::Fault,
    random::Random,
    record::ConnectionId,
    world::{World, lock},
};

/// The end of a connection that dialled it.
pub(crate) const CLIENT: usize = 0;
/// The end that accepted it.
pub(crate) const SERVER: usize = 1;

/// The time after which a system gives up a connection whose bytes nobody acknowledges.
const UNACKNOWLEDGED: Duration = Duration::from_secs(900);

/// A connection. Each end writes into the pipe of its own number.
pub(crate) struct Link {
    pub(super) world: Arc<World>,
    pub(crate) connection: ConnectionId,
    pub(super) state: Mutex<State>,
    latency: u64,
    pub(super) window: usize,
}

pub(super) struct State {
    pub(super) pipes: [Pipe; 2],
    random: Random,
    is_dead: bool,
}

impl Link {
    pub(super) fn new(world: &Arc<World>, connection: ConnectionId, server: usize) -> Arc<Self> {
        let plan = world.server(server);
        let link = Arc::new(Self {
            world: world.clone(),
            connection,
            state: Mutex::new(State {
                pipes: [Pipe::default(), Pipe::default()],
                random: Random::new(world.plan.seed, "link", connection as u64),
                is_dead: false,
            }),
            latency: plan.latency,
            window: plan.window,
        });
        world.add_link(connection, &link);
        link
    }

    /// Returns the time at which something that is sent now arrives, and the polls after which it is seen.
    fn arrival(&self, random: &mut Random) -> (Instant, u8) {
        let delay = random.range(self.latency / 2, self.latency);
        (
            Instant::now() + Duration::from_millis(delay),
            random.pick(&[0, 0, 1, 2, 5]),
        )
    }

    /// Sends bytes to the other end, in one piece or several.
    pub(super) fn send(&self, side: usize, mut data: Bytes) {
        let mut state = lock(&self.state);
        let State { pipes, random, is_dead } = &mut *state;
        if *is_dead {
            pipes[side].buffered += data.len();
            return;
        }
        if data.len() > 1 && random.chance(100) {
            let at = random.range(1, data.len() as u64 - 1) as usize;
            let first = data.split_to(at);
            let (due, polls) = self.arrival(random);
            pipes[side].push(due, polls, Content::Data(first));
        }
        let (due, polls) = self.arrival(random);
        pipes[side].push(due, polls, Content::Data(data));
    }

    /// Ends one direction.
    pub(super) fn end(&self, side: usize) {
        let mut state = lock(&self.state);
        let State { pipes, random, is_dead } = &mut *state;
        if !std::mem::replace(&mut pipes[side].ended, true) && !*is_dead {
            let (due, polls) = self.arrival(random);
            pipes[side].push(due, polls, Content::End);
        }
    }

    /// Tells an end that the other is gone, in answer to something that it sent.
    pub(super) fn refuse(&self, side: usize) {
        let mut state = lock(&self.state);
        let State { pipes, random, is_dead } = &mut *state;
        if !*is_dead && !pipes[1 - side].is_reset() {
            let (due, _) = self.arrival(random);
            pipes[1 - side].reset(due, false);
        }
    }

    /// Resets the connection, from the server's end or from the network.
    pub(crate) fn reset(&self, fault: Fault) {
        let mut state = lock(&self.state);
        let State { pipes, random, is_dead } = &mut *state;
        if !*is_dead {
            let overtakes = random.chance(500);
            for pipe in pipes {
                let (due, _) = self.arrival(random);
                pipe.reset(due, overtakes);
            }
        }
        drop(state);
        self.world.record().fault(self.connection, fault);
    }

    /// From now on nothing arrives. After a long time, each end's system gives it up.
    pub(crate) fn die(self: &Arc<Self>, fault: Fault) {
        let mut state = lock(&self.state);
        if std::mem::replace(&mut state.is_dead, true) {
            return;
        }
        state.pipes.iter_mut().for_each(Pipe::lose);
        drop(state);
        self.world.record().fault(self.connection, fault);
        let link = Arc::downgrade(self);
        self.world.spawn(async move {
            tokio::time::sleep(UNACKNOWLEDGED).await;
            if let Some(link) = link.upgrade() {
                let mut state = lock(&link.state);
                state.pipes.iter_mut().for_each(|pipe| pipe.reset(Instant::now(), true));
            }
        });
    }
}
