//! The dialects `requests` and `urllib` against these.
//!
//! ```text
//! python3 -m venv venv && venv/bin/pip install 'requests==2.34.*'
//! PYTHON=venv/bin/python cargo test --release --test python -- --ignored --nocapture
//! ```

use std::{env, process::Command};

use tower_outbound_proxy::Dialect;
use tower_outbound_proxy_dialects::{
    Exceptions, Program, REFUSED, SPELLING, Targets, UNUSABLE, USABLE, compare_environments, compare_lists,
    compare_proxies,
};

const REQUESTS: Exceptions = &[
    REFUSED,
    (
        "a bracketed host is compared with no name here; to requests, `3.4` is the end of `[::ffff:1.2.3.4]`",
        |answers| answers.only_theirs_is_direct() && answers.host().starts_with("[::") && answers.host().contains('.'),
    ),
];
const REQUESTS_VARIABLES: Exceptions = &[(
    "requests asks urllib, too, which reads another variable: `No_Proxy`, or none if `no_proxy` is empty",
    |answers| answers.is_set("No_Proxy") || (answers.is_set("no_proxy") && answers.var("no_proxy").is_empty()),
)];
const REQUESTS_PROXIES: Exceptions = &[UNUSABLE, USABLE, SPELLING];

const URLLIB: Exceptions = &[REFUSED];
const URLLIB_VARIABLES: Exceptions = &[];
const URLLIB_PROXIES: Exceptions = &[
    UNUSABLE,
    USABLE,
    SPELLING,
    (
        "an `https://` proxy is reached by TLS here, and without by urllib if the target is `https`",
        |answers| answers.ours.starts_with("https") && answers.ours.replace("https", "http") == answers.theirs,
    ),
];

#[test]
#[ignore = "needs Python and requests"]
fn every_answer_is_requestss() {
    let mut program = start("requests");
    compare_lists(Dialect::Requests, targets(true), REQUESTS, &mut |vars, urls| {
        program.ask(vars, urls)
    });
}

#[test]
#[ignore = "needs Python and requests"]
fn every_variable_is_requestss() {
    let mut program = start("requests");
    let schemes = ["http", "https"];
    compare_environments(
        Dialect::Requests,
        1_000,
        &schemes,
        REQUESTS_VARIABLES,
        &mut |vars, urls| program.ask(vars, urls),
    );
}

#[test]
#[ignore = "needs Python and requests"]
fn every_proxy_is_requestss() {
    let mut program = start("requests");
    compare_proxies(Dialect::Requests, REQUESTS_PROXIES, &mut |vars, urls| {
        program.ask(vars, urls)
    });
}

#[test]
#[ignore = "needs Python"]
fn every_answer_is_urllibs() {
    let mut program = start("urllib");
    compare_lists(Dialect::Urllib, targets(false), URLLIB, &mut |vars, urls| {
        program.ask(vars, urls)
    });
}

#[test]
#[ignore = "needs Python"]
fn every_variable_is_urllibs() {
    let mut program = start("urllib");
    let schemes = ["http", "https"];
    compare_environments(Dialect::Urllib, 1_000, &schemes, URLLIB_VARIABLES, &mut |vars, urls| {
        program.ask(vars, urls)
    });
}

#[test]
#[ignore = "needs Python"]
fn every_proxy_is_urllibs() {
    let mut program = start("urllib");
    compare_proxies(Dialect::Urllib, URLLIB_PROXIES, &mut |vars, urls| {
        program.ask(vars, urls)
    });
}

fn targets(unicode: bool) -> Targets {
    Targets {
        schemes: &["http", "http", "https"],
        unicode,
    }
}

fn start(library: &str) -> Program {
    let python = env::var_os("PYTHON").unwrap_or("python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/answers.py");
    let mut command = Command::new(python);
    let program = Program::start(
        command.arg(script).arg(library),
        "set PYTHON to a Python that has requests",
    );
    println!("{}", program.version());
    program
}
