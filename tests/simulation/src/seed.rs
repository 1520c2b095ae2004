//! One seed: a world, a client, and everything that happens between them.

use std::{cell::RefCell, sync::Arc, time::Duration};

use tokio::{
    runtime::{Builder, Handle},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tower_outbound_proxy::{
    Client, ProxyConfig, ProxyLayer,
    connector::{Http2Settings, ProxyVersion},
};

use crate::{
    caller, certificates,
    fault::Fault,
    invariants::{self, Invariant, Violation},
    network::Dialer,
    plan::{self, Event, ORIGINS, Plan, Settings},
    random::Random,
    record::{Happening, Record},
    server::credentials,
    upload::UploadBody,
    world::World,
};

/// After this time, everything has come to rest: closes have arrived, and attempts that nobody waits for have ended.
const REST: Duration = Duration::from_secs(3);
/// The patience with a request in a healthy world: too short for PINGs to find a dead connection meanwhile.
const PROBE: Duration = Duration::from_secs(5);
/// Longer than any request or pause of a plan.
const END: Duration = Duration::from_secs(3_600);

/// The smallest window of HTTP/2.
const SMALL_WINDOW: u32 = (1 << 16) - 1;

/// The result of a seed.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) hash: u64,
    pub(crate) happenings: u64,
    pub(crate) requests: u64,
    pub(crate) connections: u64,
    pub(crate) virtual_time: Duration,
    pub(crate) violations: Vec<Violation>,
}

thread_local! {
    /// Panics of this thread, also those that a runtime catches.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Collects panics, for [`run`] to report.
pub(crate) fn collect_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
    }));
}

/// Runs a seed on a runtime of its own, whose clock jumps to the next thing to happen.
pub(crate) fn run(seed: u64, print: bool, tolerated: &[Invariant]) -> Outcome {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O needs nothing");
    let plan = Plan::new(seed);
    if print {
        plan.print();
    }
    let mut outcome = runtime.block_on(simulate(plan, print, tolerated));
    drop(runtime);
    for panic in PANICS.take() {
        outcome.violations.push(Violation {
            invariant: Invariant::Panic,
            text: panic,
        });
    }
    outcome
}

async fn simulate(plan: Plan, print: bool, tolerated: &[Invariant]) -> Outcome {
    let world = World::new(plan, Record::new(print, tolerated));
    let client = client(&world);
    play(&world, &client).await;
    sleep(REST).await;
    invariants::quiet(&world, &client.stats());
    world.heal();
    world.record().happens(&Happening::Healed);
    recover(&world, &client).await;
    finish(&world, client).await;
    invariants::judge(&world);
    let mut record = world.record();
    Outcome {
        hash: record.hash(),
        happenings: record.happenings,
        requests: record.tries.len() as u64,
        connections: record.connections.len() as u64,
        virtual_time: record.since_start(Instant::now()),
        violations: std::mem::take(&mut record.violations),
    }
}

fn client(world: &Arc<World>) -> Client<UploadBody> {
    let limits = &world.plan.client;
    let layer = ProxyLayer::new(config(world, world.settings()))
        .with_connect_timeout(Some(Duration::from_millis(limits.connect_timeout)))
        .with_proxy_version(match limits.is_http2_only {
            true => ProxyVersion::Http2,
            false => ProxyVersion::Negotiated,
        })
        .with_http2(http2(limits));
    let mut builder = Client::builder()
        .layer(layer)
        .connector(Dialer(world.clone()))
        .target_tls(certificates::CLIENT.clone())
        .idle_timeout(limits.idle_timeout.map(Duration::from_millis));
    if let Some(most) = limits.max_per_key {
        builder = builder.max_connections_per_key(most);
    }
    if let Some(most) = limits.max_idle_per_key {
        builder = builder.max_idle_per_key(most);
    }
    if let Some(most) = limits.max_idle {
        builder = builder.max_idle(most);
    }
    builder.build().expect("the settings can be used")
}

fn http2(limits: &plan::Client) -> Http2Settings {
    let mut settings = Http2Settings::default()
        .idle_timeout(limits.idle_timeout.map(Duration::from_millis))
        .optimistic(!limits.is_patient);
    if let Some(most) = limits.max_shared {
        settings = settings.max_connections(most);
    }
    if limits.has_small_windows {
        settings = settings.stream_window(SMALL_WINDOW).connection_window(4 * SMALL_WINDOW);
    }
    settings
}

fn config(world: &World, settings: Settings) -> ProxyConfig {
    let url = |proxy: usize| {
        let credentials = credentials(proxy, settings.password);
        let server = world.server(proxy);
        let scheme = if server.protocol.is_secure_proxy() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{credentials}@{}:3128", server.name)
    };
    let mut builder = ProxyConfig::builder()
        .always_tunnel(settings.always_tunnel)
        .proxy_tls(certificates::CLIENT.clone());
    if let Some(proxy) = settings.http {
        builder = builder.http(url(proxy));
    }
    if let Some(proxy) = settings.https {
        builder = builder.https(url(proxy));
    }
    builder.build().expect("the settings can be used")
}

/// Makes the planned requests while the planned events happen.
async fn play(world: &Arc<World>, client: &Client<UploadBody>) {
    let mut callers = JoinSet::new();
    for (number, request) in world.plan.requests.iter().enumerate() {
        callers.spawn(caller::run(world.clone(), client.clone(), number, request.clone()));
    }
    for (at, event) in world.plan.events.clone() {
        let (world, client) = (world.clone(), client.clone());
        callers.spawn(async move {
            sleep_until(world.start() + Duration::from_millis(at)).await;
            happen(&world, &client, event);
        });
    }
    let observing = tokio::spawn(observe(world.clone(), client.clone()));
    let ended = timeout(END, async { while callers.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        let text = format_args!("{} callers have not ended after {END:?}", callers.len());
        world.record().violated(Invariant::Deadline, text);
        callers.shutdown().await;
    }
    observing.abort();
}

fn happen(world: &Arc<World>, client: &Client<UploadBody>, event: Event) {
    world.record().happens(&Happening::Event(event));
    match event {
        Event::Replace(settings) => {
            world.set_settings(settings);
            client.config_handle().replace(config(world, settings));
        }
        Event::Restart(server, pause) => {
            world.set_away(server, Instant::now() + Duration::from_millis(pause));
            for link in world.links_to(server) {
                link.reset(Fault::Restarts);
            }
        }
        Event::Move(server) => {
            for link in world.links_to(server) {
                link.die(Fault::Moves);
            }
        }
    }
}

/// Looks at the client's figures at random moments.
async fn observe(world: Arc<World>, client: Client<UploadBody>) {
    let mut random = Random::new(world.plan.seed, "observer", 0);
    let mut pause = 2;
    loop {
        sleep(Duration::from_millis(random.range(0, pause))).await;
        invariants::limits(&world, &client.stats());
        pause = (pause * 2).min(10_000);
    }
}

/// Makes requests in a healthy world. Only a connection that is dead without a sign can fail one, and only one.
async fn recover(world: &Arc<World>, client: &Client<UploadBody>) {
    let origins = world.plan.requests.iter().map(|request| request.origin).max();
    for origin in 0..=origins.unwrap_or_default().min(ORIGINS - 1) {
        let mut failed = 0;
        let server = caller::peer(world, origin).server();
        let dead = world.record().silent_connections(|to| to == server);
        while !caller::probe(world, client, origin, PROBE).await {
            failed += 1;
            // Under a limit, a dead connection has to be found before there is another one.
            let patience = if world.plan.client.max_shared.is_some() {
                8 * dead
            } else {
                dead
            };
            if failed > patience {
                let text = format_args!("origin {origin} was not reached {failed} times, over {dead} dead connections");
                world.record().violated(Invariant::Recovery, text);
                break;
            }
        }
    }
    sleep(REST).await;
    invariants::quiet(world, &client.stats());
}

/// Ends the client in one way or the other.
async fn finish(world: &Arc<World>, client: Client<UploadBody>) {
    if let Some(idle) = world.plan.client.idle_timeout.filter(|_| world.plan.ends_idle) {
        // A connection that carries tunnels is idle when they are closed.
        sleep(2 * Duration::from_millis(idle) + REST).await;
        invariants::closed(world, "after the idle time-out");
        let open = client.stats().open();
        if open > 0 {
            let text = format_args!("{open} open in the figures after the idle time-out");
            world.record().violated(Invariant::Leak, text);
        }
    }
    world.record().happens(&Happening::Dropped);
    drop(client);
    sleep(REST).await;
    invariants::closed(world, "after the client was dropped");
    world.end().await;
    sleep(REST).await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    if tasks > 0 {
        let text = format_args!("{tasks} tasks are left");
        world.record().violated(Invariant::Leak, text);
    }
}

impl Record {
    /// Returns the number of the client's open connections to these servers that are dead without a sign.
    fn silent_connections(&self, to: impl Fn(usize) -> bool) -> usize {
        let open = self.connections.iter().filter(|connection| {
            connection.near.is_none() && connection.connected.is_some() && connection.client_closed.is_none()
        });
        open.filter(|connection| to(connection.server) && connection.faults.iter().any(|(_, fault)| fault.is_silent()))
            .count()
    }
}
