//! [`Plan`]: everything that a seed decides beforehand.
//!
//! Servers decide the rest while they run, with random numbers of their own for each connection.

use crate::{fault::Faults, random::Random};

/// A seed's servers, settings, requests and events.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Origins first, then proxies.
    pub(crate) servers: Vec<Server>,
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) requests: Vec<Request>,
    /// By time in milliseconds.
    pub(crate) events: Vec<(u64, Event)>,
    /// True if the client lives on until its idle connections have expired; false if it is dropped before.
    pub(crate) ends_idle: bool,
}

/// The number of origins, whose servers come before those of proxies.
pub(crate) const ORIGINS: usize = 3;
const PROXIES: usize = 2;

#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) faults: Faults,
    /// HTTP/2: the number of streams at once.
    pub(crate) max_streams: u32,
    pub(crate) tunnels: Tunnels,
    /// The longest one-way delay in milliseconds.
    pub(crate) latency: u64,
    /// Bytes on their way in one direction.
    pub(crate) window: usize,
    /// True if responses are large.
    pub(crate) is_large: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 over TLS.
    Http2,
    Proxy,
    /// A proxy to which the client speaks TLS.
    SecureProxy,
    /// A proxy that speaks HTTP/2 in clear.
    Http2Proxy,
    /// A proxy that chooses HTTP/2 in TLS.
    SecureHttp2Proxy,
}

impl Protocol {
    pub(crate) fn is_proxy(self) -> bool {
        matches!(self, Self::Proxy | Self::SecureProxy) || self.is_http2_proxy()
    }

    pub(crate) fn is_http2_proxy(self) -> bool {
        matches!(self, Self::Http2Proxy | Self::SecureHttp2Proxy)
    }

    /// Returns true for a proxy to which the client speaks TLS.
    pub(crate) fn is_secure_proxy(self) -> bool {
        matches!(self, Self::SecureProxy | Self::SecureHttp2Proxy)
    }
}

/// A proxy's way with CONNECT over HTTP/2. Over HTTP/1.1, every proxy opens tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tunnels {
    Opens,
    /// Closes the connection, as mitmproxy does.
    Closes,
    Resets,
    /// Answers that the method is not allowed or not implemented.
    Refuses,
}

/// The builder's settings of a client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) connect_timeout: u64,
    pub(crate) idle_timeout: Option<u64>,
    pub(crate) max_per_key: Option<usize>,
    pub(crate) max_idle_per_key: Option<usize>,
    pub(crate) max_idle: Option<usize>,
    /// The connections to one proxy over HTTP/2. A limit only makes sense where idle tunnels cannot take all streams.
    pub(crate) max_shared: Option<usize>,
    /// True if proxies are spoken to in HTTP/2 alone.
    pub(crate) is_http2_only: bool,
    /// True if the first bytes of a tunnel wait for the answer.
    pub(crate) is_patient: bool,
    /// True if few bytes may be on their way in a tunnel, and in few tunnels of a connection.
    pub(crate) has_small_windows: bool,
}

/// The proxy settings of a client, which can be replaced.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Numbers of servers.
    pub(crate) http: Option<usize>,
    pub(crate) https: Option<usize>,
    pub(crate) always_tunnel: bool,
    /// Passwords change.
    pub(crate) password: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The start in milliseconds.
    pub(crate) at: u64,
    pub(crate) origin: usize,
    pub(crate) is_post: bool,
    pub(crate) upload: Upload,
    pub(crate) reading: Reading,
    /// The caller's time-out in milliseconds, for everything.
    pub(crate) timeout: u64,
    /// Further tries after an error before the request.
    pub(crate) retries: u32,
}

/// A request's body.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) length: usize,
    /// True if `Content-Length` is known.
    pub(crate) sized: bool,
    pub(crate) stall: Stall,
}

/// A pause in the middle of an upload.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Stall {
    None,
    For(u64),
    Forever,
}

/// The caller's way with a response.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Reading {
    Whole,
    /// This many milliseconds between frames.
    Slow(u64),
    /// Drops the response with its head.
    Head,
    /// Drops the body in its middle.
    Half,
    /// Keeps the body unread for this many milliseconds.
    Late(u64),
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Event {
    Replace(Settings),
    /// A server restarts, and is away for this many milliseconds.
    Restart(usize, u64),
    Move(usize),
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, "plan", 0);
        let random = &mut random;
        let tls = random.chance(250);
        let proxies = Proxies::random(tls, random);
        let mut servers = servers(tls, proxies, random);
        let settings = Settings::random(0, random);
        let mut client = Client::random(proxies, random);
        let is_large = tls && random.chance(30);
        let span = random.pick(&[10, 200, 2_000, 15_000]);
        let mut requests = requests(tls, span, random);
        if is_large {
            make_large(&mut servers, &mut requests, random);
        }
        let events = events(span, random);
        let replaced = events.iter().filter_map(|(_, event)| match event {
            Event::Replace(settings) => Some(settings),
            _ => None,
        });
        let has_tunnels = tls || replaced.chain([&settings]).any(|settings| settings.always_tunnel);
        client.max_shared = client.max_per_key.filter(|_| !has_tunnels);
        Self {
            seed,
            servers,
            client,
            settings,
            requests,
            events,
            ends_idle: random.chance(500),
        }
    }
}

impl Plan {
    /// Returns the origin of a request, or of a probe, whose numbers follow.
    pub(crate) fn origin(&self, request: usize) -> usize {
        let planned = self.requests.get(request).map(|request| request.origin);
        planned.unwrap_or_else(|| request - self.requests.len())
    }

    /// Prints the plan, a line for each part.
    pub(crate) fn print(&self) {
        println!(
            "seed {}: {:?}, {:?}, ends idle: {}",
            self.seed, self.client, self.settings, self.ends_idle
        );
        for server in &self.servers {
            println!("  {server:?}");
        }
        for (number, request) in self.requests.iter().enumerate() {
            println!("  {number}: {request:?}");
        }
        for (at, event) in &self.events {
            println!("  at {at}: {event:?}");
        }
    }
}

/// The versions of HTTP that proxies speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxies {
    Http1,
    Negotiated,
    Http2,
}

impl Proxies {
    fn random(tls: bool, random: &mut Random) -> Self {
        match tls {
            true => random.pick(&[Self::Http1, Self::Negotiated, Self::Negotiated, Self::Http2]),
            false => random.pick(&[Self::Http1, Self::Http2]),
        }
    }

    fn protocol(self, tls: bool, random: &mut Random) -> Protocol {
        const NEGOTIATED: [Protocol; 4] = [
            Protocol::SecureHttp2Proxy,
            Protocol::SecureHttp2Proxy,
            Protocol::SecureProxy,
            Protocol::Proxy,
        ];
        match self {
            Self::Http1 if tls && random.chance(300) => Protocol::SecureProxy,
            Self::Http1 => Protocol::Proxy,
            Self::Negotiated => random.pick(&NEGOTIATED),
            Self::Http2 if tls && random.chance(500) => Protocol::SecureHttp2Proxy,
            Self::Http2 => Protocol::Http2Proxy,
        }
    }

    fn tunnels(self, random: &mut Random) -> Tunnels {
        match self {
            Self::Negotiated if random.chance(300) => {
                random.pick(&[Tunnels::Closes, Tunnels::Resets, Tunnels::Refuses])
            }
            _ => Tunnels::Opens,
        }
    }
}

fn servers(tls: bool, proxies: Proxies, random: &mut Random) -> Vec<Server> {
    let calm = random.chance(200);
    let mut servers = Vec::new();
    for number in 0..ORIGINS + PROXIES {
        let (name, protocol) = match number.checked_sub(ORIGINS) {
            Some(proxy) => (format!("p{proxy}.test"), proxies.protocol(tls, random)),
            None if tls => {
                let protocol = random.pick(&[Protocol::Http2, Protocol::Http2, Protocol::Https]);
                (format!("o{number}.test"), protocol)
            }
            None => (format!("o{number}.test"), Protocol::Http),
        };
        let faults = Faults::random(protocol, random);
        servers.push(Server {
            name,
            protocol,
            faults: if calm { Faults::default() } else { faults },
            max_streams: random.pick(&[1, 2, 4, 100]),
            tunnels: proxies.tunnels(random),
            latency: random.pick(&[0, 0, 1, 5, 40]),
            window: random.pick(&[4 << 10, 64 << 10, 256 << 10]),
            is_large: false,
        });
    }
    servers
}

impl Client {
    fn random(proxies: Proxies, random: &mut Random) -> Self {
        Self {
            connect_timeout: random.pick(&[1_500, 3_000, 10_000]),
            idle_timeout: random.pick(&[None, Some(1), Some(50), Some(1_000), Some(30_000)]),
            max_per_key: random.pick(&[None, None, Some(1), Some(1), Some(2), Some(3)]),
            max_idle_per_key: random.pick(&[None, None, Some(0), Some(1), Some(2)]),
            max_idle: random.pick(&[None, None, Some(0), Some(1), Some(3)]),
            max_shared: None,
            is_http2_only: proxies == Proxies::Http2,
            is_patient: random.chance(300),
            has_small_windows: random.chance(200),
        }
    }
}

impl Settings {
    fn random(password: u64, random: &mut Random) -> Self {
        Self {
            http: random.pick(&[None, Some(ORIGINS), Some(ORIGINS), Some(ORIGINS + 1)]),
            https: random.pick(&[None, None, Some(ORIGINS), Some(ORIGINS + 1)]),
            always_tunnel: random.chance(300),
            password,
        }
    }
}

fn requests(tls: bool, span: u64, random: &mut Random) -> Vec<Request> {
    let most = if tls { 16 } else { 24 };
    let (count, origins) = (random.range(2, most), random.range(0, ORIGINS as u64 - 1));
    let patience: &[u64] = random.pick(&[
        &[60_000][..],
        &[60_000, 60_000, 5_000],
        &[60_000, 20_000, 2_000, 300, 30],
        &[500, 50, 5],
    ]);
    let mut at = 0;
    let mut requests = Vec::new();
    for _ in 0..count {
        // Bursts and pauses.
        if random.chance(500) {
            at = random.range(0, span);
        }
        let is_post = random.chance(500);
        requests.push(Request {
            at,
            origin: random.range(0, origins) as usize,
            is_post,
            upload: if is_post { Upload::random(random) } else { Upload::NONE },
            reading: Reading::random(random),
            timeout: random.pick(patience),
            retries: random.pick(&[0, 1, 3]),
        });
    }
    requests.sort_by_key(|request| request.at);
    requests
}

/// Makes responses as large as the flow control of HTTP/2 allows before somebody has to read, on a fast network. Some are
/// not read for a long time.
fn make_large(servers: &mut [Server], requests: &mut [Request], random: &mut Random) {
    for server in servers {
        server.is_large = true;
        server.max_streams = 100;
        server.latency = random.pick(&[0, 1]);
        server.window = 1 << 20;
    }
    for request in requests {
        request.timeout = 60_000;
        request.reading = random.pick(&[Reading::Whole, Reading::Late(40_000)]);
    }
}

impl Upload {
    pub(crate) const NONE: Self = Self {
        length: 0,
        sized: true,
        stall: Stall::None,
    };

    fn random(random: &mut Random) -> Self {
        Self {
            length: random.pick(&[0, 1, 100, 100, 3_000, 100_000]),
            sized: random.chance(700),
            stall: match random.range(0, 11) {
                0 => Stall::Forever,
                1 | 2 => Stall::For(random.pick(&[1, 100, 5_000])),
                _ => Stall::None,
            },
        }
    }
}

impl Reading {
    fn random(random: &mut Random) -> Self {
        match random.range(0, 9) {
            0 => Self::Slow(random.pick(&[1, 50, 500])),
            1 => Self::Head,
            2 => Self::Half,
            3 => Self::Late(random.pick(&[1, 100, 10_000])),
            _ => Self::Whole,
        }
    }
}

fn events(span: u64, random: &mut Random) -> Vec<(u64, Event)> {
    let mut events = Vec::new();
    for number in 0..random.pick(&[0, 0, 0, 1, 2, 4]) {
        let server = random.range(0, (ORIGINS + PROXIES) as u64 - 1) as usize;
        let event = match random.range(0, 3) {
            0 => Event::Restart(server, random.pick(&[0, 10, 1_000])),
            1 => Event::Move(server),
            _ => {
                let password = random.range(0, number);
                Event::Replace(Settings::random(password, random))
            }
        };
        events.push((random.range(0, span), event));
    }
    events.sort_by_key(|(at, _)| *at);
    events
}
