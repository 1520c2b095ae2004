//! `Client`, measured on its peers, end to end on loopback: clients on one core, the proxy and the origins on another.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin client
//!     [--squid] [--without-go] [--rounds N] [--mib N] [--only TEXT]
//! ```
//!
//! Each client is a process of its own, all on the same core, each Rust one with a runtime of one thread. They take
//! turns: in a round each does a row's job once, and what is told is the best of the rounds. Every measurement starts
//! with a new client, and so with an empty pool; keep-alive rows warm it up first.
//!
//! The proxy answers in the name of the origins (see `serve.rs`), so that the clients are measured and not the proxy.
//! `--squid` puts Squid in its place, with its own way to the origins, and with credentials. `--only` leaves the rows out
//! whose name has not that text, `--mib` makes the long responses as long.

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
/// How many there are.
pub(crate) const HOSTS: usize = 100;
/// For Squid.
pub(crate) const USER: &str = "user";
pub(crate) const PASSWORD: &str = "password";

const GO: &str = "Go";

struct Options {
    squid: bool,
    go: bool,
    rounds: usize,
    mib: usize,
    only: String,
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
            _ => return Err(format!("unknown argument `{argument}`").into()),
        }
    }
    Ok(options)
}

/// The server's process, and what there is to know of it.
struct Server {
    process: Process,
    ports: Ports,
    credentials: String,
    /// The root that it wrote down.
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

    /// How many connections the proxy has had.
    fn connections(&mut self) -> Result<usize, BoxError> {
        Ok(self.process.ask("connections")?.trim().parse()?)
    }
}

fn measure(options: &Options) -> Result<(), BoxError> {
    let cores = Cores::find()?;
    let directory = process::directory()?;
    let go = match options.go {
        true => Some(Go::build(&directory).map_err(|error| {
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
        // Direct, there is no difference.
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
    report.print(
        options.rounds,
        squid.as_deref(),
        go.as_ref().map(|go| go.version.as_str()),
    );
    Ok(())
}

/// The best of the rounds, for each client.
fn compare(
    row: &Row,
    rounds: usize,
    clients: &mut [(&'static str, Process)],
    server: &mut Server,
) -> Result<Vec<Cell>, BoxError> {
    let job = row.job(server.ports, &server.credentials).to_string();
    let mut cells: Vec<_> = clients.iter().map(|(name, _)| Cell::new(name)).collect();
    for round in 0..if row.is_bulk() { rounds.min(5) } else { rounds } {
        // Each is first in turn: what one leaves behind burdens the next.
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
