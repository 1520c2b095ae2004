//! Measures `Client` and its peers end to end on loopback: the clients on one core, the proxy and the origins on another.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin client --
//!     [--squid] [--without-go] [--rounds N] [--mib N] [--only TEXT] [--report DIR]
//! ```
//!
//! Each client is a process of its own. All of them share one core, and each Rust client has a runtime of one thread. The
//! clients take turns: in a round each does a row's job once, and the tables show the best of the rounds. Every
//! measurement starts with a new client, and so with an empty pool. Keep-alive rows warm it up first.
//!
//! The proxy answers in the origins' place (see `serve.rs`), so that the clients are measured and not the proxy.
//! `--squid` replaces it by Squid, which connects to the origins and asks for credentials. `--only` runs the rows whose
//! names contain the text, `--mib` sets the length of the long responses, and `--report benches` writes the tables and
//! charts of `benches/README.md`.

#[path = "../decision/counting.rs"]
mod counting;
mod peers;
mod process;
mod report;
mod rows;
mod run;
mod serve;
#[path = "../behaviour/stream.rs"]
mod stream;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use tower_outbound_proxy_peers::Page;

use crate::{
    peers::{diy, hyper_http_proxy, ours, reqwest},
    process::{Cores, Go, Process, output},
    report::{Cell, Report},
    rows::{Ports, Row, Way},
    run::Took,
};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The origins are `h0.bench.test` and so on.
pub(crate) const DOMAIN: &str = "bench.test";
/// The number of origins.
pub(crate) const HOSTS: usize = 100;
/// The credentials for Squid.
pub(crate) const USER: &str = "user";
pub(crate) const PASSWORD: &str = "password";

const GO: &str = "Go";

/// The most rounds of a row with long responses.
const BULK_ROUNDS: usize = 5;

struct Options {
    squid: bool,
    go: bool,
    rounds: usize,
    mib: usize,
    only: String,
    report: Option<PathBuf>,
}

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", root] => serve::run(Path::new(root), false),
        ["serve", "--squid", root] => serve::run(Path::new(root), true),
        ["run", client, root] => run::run(client, Path::new(root)),
        _ => measure(&options(arguments)?),
    }
}

fn options(arguments: Vec<String>) -> Result<Options, BoxError> {
    let mut options = Options {
        squid: false,
        go: true,
        rounds: 10,
        mib: 1024,
        only: String::new(),
        report: None,
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--squid" => options.squid = true,
            "--without-go" => options.go = false,
            "--rounds" => options.rounds = value()?.parse()?,
            "--mib" => options.mib = value()?.parse()?,
            "--only" => options.only = value()?,
            "--report" => options.report = Some(value()?.into()),
            _ => return Err(format!("unknown argument `{argument}`").into()),
        }
    }
    if options.report.is_some() && (options.squid || !options.only.is_empty()) {
        return Err("--report is for all rows through the built-in proxy: it excludes --squid and --only".into());
    }
    Ok(options)
}

/// The server's process, its ports and its root certificate.
struct Server {
    process: Process,
    ports: Ports,
    credentials: String,
    /// The file of its root certificate.
    root: PathBuf,
}

impl Server {
    fn start(squid: bool, directory: &Path, core: usize) -> Result<Self, BoxError> {
        let root = directory.join("root.pem");
        let (arguments, credentials) = match squid {
            true => (&["serve", "--squid"][..], format!("{USER}:{PASSWORD}@")),
            false => (&["serve"][..], String::new()),
        };
        let mut process = Process::this(arguments, &root, core)?;
        let line = process.answer()?;
        let ports: Vec<u16> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let &[http, https, plain, tls] = &ports[..] else {
            return Err(format!("the server said `{line}`").into());
        };
        Ok(Self {
            process,
            ports: Ports {
                http,
                https,
                plain,
                tls,
            },
            credentials,
            root,
        })
    }

    /// Returns the number of connections that the proxy has accepted.
    fn connections(&mut self) -> Result<usize, BoxError> {
        Ok(self.process.ask("connections")?.trim().parse()?)
    }
}

fn measure(options: &Options) -> Result<(), BoxError> {
    let mut page = Page::new(options.report.clone())?;
    let cores = Cores::find()?;
    let directory = process::directory()?;
    let go = match options.go {
        true => Some(Go::build("client", &directory).map_err(|error| {
            format!("no Go toolchain to be had ({error}): set GO to one, or measure the others with --without-go")
        })?),
        false => None,
    };
    let mut server = Server::start(options.squid, &directory, cores.server)?;
    let mut clients = Vec::new();
    for name in [ours::NAME, diy::NAME, hyper_http_proxy::NAME, reqwest::NAME] {
        clients.push((name, Process::this(&["run", name], &server.root, cores.client)?));
    }
    if let Some(go) = &go {
        clients.push((GO, go.start(&server.root, cores.client)?));
    }

    let mut report = Report::default();
    for row in rows::all(options.mib << 20) {
        // Direct requests do not see the proxy.
        if row.name.contains(&options.only) && !(options.squid && row.way == Way::Direct) {
            eprintln!("{} …", row.name);
            report.add(row, compare(&row, options.rounds, &mut clients, &mut server)?);
        }
    }
    let squid = match options.squid {
        true => Some(output(
            Command::new("sh").args(["-c", "PATH=$PATH:/usr/sbin; squid -v | head -n 1"]),
        )?),
        false => None,
    };
    page.section("client-run", "The run", run_of(options, squid.as_deref(), go.as_ref()));
    report.write(&mut page)?;
    Ok(page.write()?)
}

/// Says what the numbers are of.
fn run_of(options: &Options, squid: Option<&str>, go: Option<&Go>) -> String {
    let (rounds, bulk_rounds) = (options.rounds, options.rounds.min(BULK_ROUNDS));
    let mib = options.mib;
    let proxy = squid.unwrap_or("a server of this program that answers in the origins' place");
    let go = go
        .map(|go| format!(", {go} (`net/http`)", go = go.version))
        .unwrap_or_default();
    format!(
        "The best of {rounds} rounds, of the long responses ({mib} MiB) of {bulk_rounds}. The proxy is {proxy}. The clients \
         are this crate, hyper-util 0.1.21 (`legacy::Client` with `Matcher` and `Tunnel`), hyper-http-proxy 1.2.0 (on the \
         same `legacy::Client`), reqwest 0.13.5{go}."
    )
}

/// Takes the best of the rounds for each client.
fn compare(
    row: &Row,
    rounds: usize,
    clients: &mut [(&'static str, Process)],
    server: &mut Server,
) -> Result<Vec<Cell>, BoxError> {
    let job = row.job(server.ports, &server.credentials).to_string();
    let mut cells: Vec<_> = clients.iter().map(|(name, _)| Cell::new(name)).collect();
    for round in 0..if row.is_bulk() { rounds.min(BULK_ROUNDS) } else { rounds } {
        // Each goes first in its turn: one client's remains burden the next.
        for turn in 0..clients.len() {
            let turn = (round + turn) % clients.len();
            let ((name, client), cell) = (&mut clients[turn], &mut cells[turn]);
            let before = server.connections()?;
            let line = client.ask(&job)?;
            let took: Took = line.parse().map_err(|error| format!("{name}, {}: {error}", row.name))?;
            let connections = server.connections()? - before;
            cell.add(row, took, connections.div_ceil(row.repeats));
        }
    }
    Ok(cells)
}
