//! Measures the decision of this crate and its peers: the same lists and the same targets, in one process, in turns.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin decision -- [--without-go] [--batches N] [--report DIR]
//! ```
//!
//! Each number is nanoseconds per decision, the least of 25 batches of about a millisecond. The batches are interleaved:
//! one of each contender, then the next of each. Go's batches run in a second process, which is idle otherwise.
//!
//! The input decides how much work there is. hyper-util, Go, proxyvars and `env_proxy` take a URL, already parsed to
//! their own type; ours beside them is `Target::try_from(&Uri)` and `ProxyConfig::route`. `no-proxy` takes a host; ours
//! beside it is `NoProxy::matches(&Target)`.
//!
//! `--report benches` writes the tables and charts of `benches/README.md`.

mod counting;
mod go;
#[path = "../../../../lists/mod.rs"]
mod lists;
mod report;

use std::{
    env,
    error::Error,
    hint::black_box,
    time::{Duration, Instant},
};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use tower_outbound_proxy::{Dialect, NoProxy, ProxyConfig, Route, Target};
use tower_outbound_proxy_peers::{Page, Table};
use url::Url;

use crate::report::{Cell, Report};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The duration of a batch, roughly.
const BATCH: Duration = Duration::from_millis(1);

const URI: &str = "this crate, from `&Uri`";
const TARGET: &str = "this crate, from `&Target`";

/// A decision, as far as all contenders can tell it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Direct,
    Proxy,
}

impl Answer {
    fn direct(is_direct: bool) -> Self {
        match is_direct {
            true => Self::Direct,
            false => Self::Proxy,
        }
    }
}

/// Some decisions in a row, and their cost.
pub(crate) struct Batch {
    nanos: u64,
    allocations: u64,
    answer: Answer,
}

type Run<'a> = Box<dyn FnMut(u64) -> Result<Batch, BoxError> + 'a>;

/// A library, or one of its entry points.
struct Contender<'a> {
    name: &'static str,
    run: Run<'a>,
}

impl<'a> Contender<'a> {
    /// A contender in this process.
    fn new(name: &'static str, decide: impl Fn() -> Answer + 'a) -> Self {
        let run = move |count| {
            let (before, start) = (counting::allocations(), Instant::now());
            let mut answer = Answer::Proxy;
            for _ in 0..count {
                answer = black_box(decide());
            }
            Ok(Batch {
                nanos: nanos(start.elapsed()),
                allocations: counting::allocations() - before,
                answer,
            })
        };
        Self {
            name,
            run: Box::new(run),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn main() -> Result<(), BoxError> {
    let mut batches = 25;
    let mut without_go = false;
    let mut directory = None;
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--without-go" => without_go = true,
            "--batches" => batches = arguments.next().ok_or("--batches needs a number")?.parse()?,
            "--report" => directory = Some(arguments.next().ok_or("--report needs a directory")?.into()),
            _ => return Err(format!("unknown argument `{argument}`").into()),
        }
    }
    let mut page = Page::new(directory)?;
    let go = match without_go {
        true => None,
        false => Some(go::Program::build().map_err(|error| {
            format!("no Go toolchain to be had ({error}): set GO to one, or measure the others with --without-go")
        })?),
    };

    let mut report = Report::default();
    for entries in lists::SIZES {
        measure_decisions(entries, batches, go.as_ref(), &mut report)?;
    }
    page.section("decision-run", "The run", run(batches, go.as_ref()));
    report.write(&mut page)?;
    page.section("decision-building", "Building the list (µs)", build(batches));
    Ok(page.write()?)
}

/// Says what the numbers are of.
fn run(batches: usize, go: Option<&go::Program>) -> String {
    let go = go.map(|go| format!(" Go is {}.", go.version)).unwrap_or_default();
    format!("The least of {batches} batches.{go}")
}

fn measure_decisions(
    entries: usize,
    batches: usize,
    go: Option<&go::Program>,
    report: &mut Report,
) -> Result<(), BoxError> {
    let list = lists::list(entries);
    let no_proxy = NoProxy::lenient(&list, Dialect::Standard);
    let config = ProxyConfig::builder()
        .all(lists::PROXY)
        .no_proxy(no_proxy.clone())
        .build()?;
    let hyper_util = Matcher::builder().all(lists::PROXY).no(list.as_str()).build();
    let no_proxy_crate = no_proxy::NoProxy::from(list.as_str());
    let proxyvars = proxyvars::NoProxy::from(list.as_str());
    set_environment(&list);
    let mut go = go.map(|go| go.start(&list)).transpose()?;

    for (place, url) in lists::targets(entries) {
        let uri: Uri = url.parse()?;
        let target = Target::try_from(&uri)?;
        let parsed = Url::parse(&url)?;
        let host = uri.host().unwrap_or_default();
        let mut contenders = vec![
            Contender::new(URI, || match Target::try_from(black_box(&uri)) {
                Ok(target) => Answer::direct(config.route(&target) == Route::Direct),
                Err(_) => unreachable!("it was a target before"),
            }),
            Contender::new("hyper-util 0.1.21", || {
                Answer::direct(hyper_util.intercept(black_box(&uri)).is_none())
            }),
            Contender::new("proxyvars 0.2.0", || {
                Answer::direct(proxyvars.matches_uri(black_box(&uri)))
            }),
            Contender::new("env_proxy 0.4.1", || {
                Answer::direct(env_proxy::for_url(black_box(&parsed)).is_none())
            }),
            Contender::new(TARGET, || Answer::direct(no_proxy.matches(black_box(&target)))),
            Contender::new("no-proxy 0.3.7", || {
                Answer::direct(no_proxy_crate.matches(black_box(host)))
            }),
        ];
        if let Some(go) = &mut go {
            contenders.push(Contender {
                name: "Go",
                run: Box::new(|count| Ok(go.run(count, &url)?)),
            });
        }
        report.add(entries, place, measure(&mut contenders, batches)?);
    }
    Ok(())
}

/// Takes the least of so many batches of each contender, in turns.
fn measure(contenders: &mut [Contender<'_>], batches: usize) -> Result<Vec<Cell>, BoxError> {
    let mut cells = Vec::new();
    for contender in contenders.iter_mut() {
        // Finds the number of decisions that fills a batch.
        let mut count = 1;
        let mut batch = (contender.run)(count)?;
        while batch.nanos < nanos(BATCH) / 4 {
            count *= 2;
            batch = (contender.run)(count)?;
        }
        let count = (count * nanos(BATCH)).div_ceil(batch.nanos);
        cells.push(Cell {
            name: contender.name,
            count,
            nanos: f64::INFINITY,
            allocations: u64::MAX,
            answer: batch.answer,
        });
    }
    for _ in 0..batches {
        for (contender, cell) in contenders.iter_mut().zip(&mut cells) {
            let batch = (contender.run)(cell.count)?;
            cell.nanos = cell.nanos.min(batch.nanos as f64 / cell.count as f64);
            // Rounded down, since a runtime makes a few of its own.
            cell.allocations = cell.allocations.min(batch.allocations / cell.count);
        }
    }
    Ok(cells)
}

/// Measures building a list, without dropping it.
fn build(batches: usize) -> Table {
    let header = [
        "entries",
        "this crate",
        "hyper-util 0.1.21",
        "no-proxy 0.3.7",
        "proxyvars 0.2.0",
    ];
    let mut table = Table::new(0..0, header);
    for entries in lists::SIZES {
        let list = lists::list(entries);
        let mut least = [(u64::MAX, 0); 4];
        for _ in 0..batches {
            let measured = [
                timed(|| NoProxy::lenient(black_box(&list), Dialect::Standard)),
                timed(|| {
                    Matcher::builder()
                        .all(lists::PROXY)
                        .no(black_box(list.as_str()))
                        .build()
                }),
                timed(|| no_proxy::NoProxy::from(black_box(list.as_str()))),
                timed(|| proxyvars::NoProxy::from(black_box(list.as_str()))),
            ];
            for (least, measured) in least.iter_mut().zip(measured) {
                *least = measured.min(*least);
            }
        }
        let cells = least.map(|(nanos, allocations)| format!("{:.1} ({allocations})", nanos as f64 / 1e3));
        table.row([entries.to_string()].into_iter().chain(cells));
    }
    table
}

/// Runs `build` and returns its nanoseconds and allocations.
fn timed<T>(build: impl FnOnce() -> T) -> (u64, u64) {
    let (before, start) = (counting::allocations(), Instant::now());
    let built = black_box(build());
    let measured = (nanos(start.elapsed()), counting::allocations() - before);
    drop(built);
    measured
}

/// Sets the variables for `env_proxy`, which reads them anew for every decision.
fn set_environment(list: &str) {
    let vars = [
        ("http_proxy", lists::PROXY),
        ("https_proxy", lists::PROXY),
        ("no_proxy", list),
    ];
    for (name, value) in vars {
        // SAFETY: this program has one thread.
        unsafe { env::set_var(name, value) };
    }
}
