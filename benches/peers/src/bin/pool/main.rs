//! Measures the pool of `Client` beside hyper-util's: by the number of idle origins, of waiters and of threads, and the
//! memory of an idle connection.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin pool --
//!     [--rounds N] [--idle N] [--only take|reap|wait|memory|threads] [--report DIR]
//! ```
//!
//! Each measurement is in a process of its own. Most are over a connector without a network, on whose connections every
//! request is answered at once, so that the client is all that is measured; the memory of a connection is measured over
//! sockets, with proxy and origins in another process. `--idle` sets the number of connections that expire, and
//! `--report benches` writes the tables and the chart of `benches/README.md`.

mod canned;
mod contender;
mod counting;
mod memory;
#[path = "../client/process.rs"]
#[expect(dead_code, reason = "Go takes no part here")]
mod process;
mod reap;
#[path = "../behaviour/stream.rs"]
mod stream;
mod take;
mod threads;
mod wait;

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use tower_outbound_proxy_peers::Page;

use crate::contender::Contender;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

struct Options {
    rounds: usize,
    idle: usize,
    only: Option<String>,
    report: Option<PathBuf>,
}

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["take", contender, limits, origins] => {
            take::run(Contender::from_word(contender)?, limits.parse()?, origins.parse()?)
        }
        ["reap", contender, connections] => reap::run(Contender::from_word(contender)?, connections.parse()?),
        ["wait", waiters] => wait::run(waiters.parse()?),
        ["threads", contender, threads, origins] => {
            threads::run(Contender::from_word(contender)?, threads.parse()?, origins.parse()?)
        }
        ["memory", contender, way, ref ports @ .., root] => memory::run(contender, way, ports, root.as_ref()),
        ["serve", root] => memory::serve(root.as_ref()),
        _ => measure(&options(arguments)?),
    }
}

fn options(arguments: Vec<String>) -> Result<Options, BoxError> {
    let mut options = Options {
        rounds: 20,
        idle: 15_000,
        only: None,
        report: None,
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse()?,
            "--idle" => options.idle = value()?.parse()?,
            "--only" => options.only = Some(value()?),
            "--report" => options.report = Some(value()?.into()),
            _ => return Err(format!("unknown argument `{argument}`").into()),
        }
    }
    if options.report.is_some() && options.only.is_some() {
        return Err("--report is for all of it: it excludes --only".into());
    }
    Ok(options)
}

fn measure(options: &Options) -> Result<(), BoxError> {
    let mut page = Page::new(options.report.clone())?;
    let wanted = |part| options.only.as_ref().is_none_or(|only| only == part);
    if wanted("take") {
        take::measure(&mut page, options.rounds)?;
    }
    if wanted("reap") {
        reap::measure(&mut page, options.idle)?;
    }
    if wanted("wait") {
        wait::measure(&mut page)?;
    }
    if wanted("memory") {
        memory::measure(&mut page)?;
    }
    if wanted("threads") {
        threads::measure(&mut page, options.rounds.div_ceil(5))?;
    }
    Ok(page.write()?)
}

/// Runs this program in another role, and returns what it prints.
pub(crate) fn one_shot(arguments: &[&str]) -> Result<String, BoxError> {
    eprintln!("{} …", arguments.join(" "));
    let mut command = Command::new(env::current_exe()?);
    let output = command.args(arguments).stderr(Stdio::inherit()).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("{}: {}", arguments.join(" "), output.status).into()),
    }
}
