//! [`World`]: the servers and the network of one seed, and the tasks that move them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::{task::JoinSet, time::Instant};

use crate::{
    fault::Fault,
    network::Link,
    plan::{Plan, Server, Settings},
    random::Random,
    record::{ConnectionId, Record},
};

pub(crate) struct World {
    pub(crate) plan: Plan,
    record: Mutex<Record>,
    state: Mutex<State>,
    tasks: Mutex<JoinSet<()>>,
    start: Instant,
}

struct State {
    settings: Settings,
    links: BTreeMap<ConnectionId, Weak<Link>>,
    /// By server: the end of its restart.
    away: BTreeMap<usize, Instant>,
    healed: bool,
}

impl World {
    pub(crate) fn new(plan: Plan, record: Record) -> Arc<Self> {
        Arc::new(Self {
            record: Mutex::new(record),
            state: Mutex::new(State {
                settings: plan.settings,
                links: BTreeMap::new(),
                away: BTreeMap::new(),
                healed: false,
            }),
            tasks: Mutex::default(),
            start: Instant::now(),
            plan,
        })
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }

    /// Runs something until it ends, or the world does.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.tasks).spawn(task);
    }

    /// Ends every server and everything on its way.
    pub(crate) async fn end(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.shutdown().await;
    }

    pub(crate) fn server(&self, server: usize) -> &Server {
        &self.plan.servers[server]
    }

    /// Returns true if a server's fault happens this time. It does not once the world is healthy.
    pub(crate) fn happens(&self, server: usize, fault: Fault, random: &mut Random) -> bool {
        self.server(server).faults.happens(fault, random) && !self.is_healthy()
    }

    /// Ends all faults. What they have done stays.
    pub(crate) fn heal(&self) {
        let mut state = lock(&self.state);
        state.healed = true;
        state.away.clear();
    }

    pub(crate) fn is_healthy(&self) -> bool {
        lock(&self.state).healed
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// Returns the settings for new requests.
    pub(crate) fn settings(&self) -> Settings {
        lock(&self.state).settings
    }

    pub(crate) fn set_settings(&self, settings: Settings) {
        lock(&self.state).settings = settings;
    }

    pub(crate) fn is_away(&self, server: usize) -> bool {
        lock(&self.state)
            .away
            .get(&server)
            .is_some_and(|until| Instant::now() < *until)
    }

    pub(crate) fn set_away(&self, server: usize, until: Instant) {
        lock(&self.state).away.insert(server, until);
    }

    pub(crate) fn add_link(&self, connection: ConnectionId, link: &Arc<Link>) {
        lock(&self.state).links.insert(connection, Arc::downgrade(link));
    }

    /// Returns the open connections to a server.
    pub(crate) fn links_to(&self, server: usize) -> Vec<Arc<Link>> {
        let record = self.record();
        let state = lock(&self.state);
        let links = state
            .links
            .iter()
            .filter(|(id, _)| record.connections[**id].server == server);
        links.filter_map(|(_, link)| link.upgrade()).collect()
    }
}

/// Locks, whatever panicked elsewhere: the panic is reported.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
