//! The dialect `undici` against undici's `EnvHttpProxyAgent`.
//!
//! ```text
//! npm install --prefix npm 'undici@8.12'
//! NODE_PATH=npm/node_modules cargo test --release --test undici -- --ignored --nocapture
//! ```
//!
//! `NODE` names Node, which has to be one that undici supports (22.19 or later).

use std::{env, process::Command};

use tower_outbound_proxy::Dialect;
use tower_outbound_proxy_dialects::{
    Exceptions, Program, REFUSED, SPELLING, Targets, UNUSABLE, compare_environments, compare_lists, compare_proxies,
};

const LISTS: Exceptions = &[REFUSED];
const VARIABLES: Exceptions = &[(
    "in CGI, `HTTP_PROXY` is not read here, since a client can set it",
    |answers| answers.var("REQUEST_METHOD") == "GET" && answers.theirs == answers.var("HTTP_PROXY"),
)];
const PROXIES: Exceptions = &[UNUSABLE, SPELLING];

const TARGETS: Targets = Targets {
    schemes: &["http", "http", "https", "ws"],
    unicode: true,
};

#[test]
#[ignore = "needs Node and undici"]
fn every_answer_is_undicis() {
    let mut program = start();
    compare_lists(Dialect::Undici, TARGETS, LISTS, &mut |vars, urls| {
        program.ask(vars, urls)
    });
}

#[test]
#[ignore = "needs Node and undici"]
fn every_variable_is_undicis() {
    let mut program = start();
    let schemes = ["http", "https", "ws", "wss"];
    compare_environments(Dialect::Undici, 1_000, &schemes, VARIABLES, &mut |vars, urls| {
        program.ask(vars, urls)
    });
}

#[test]
#[ignore = "needs Node and undici"]
fn every_proxy_is_undicis() {
    let mut program = start();
    compare_proxies(Dialect::Undici, PROXIES, &mut |vars, urls| program.ask(vars, urls));
}

fn start() -> Program {
    let node = env::var_os("NODE").unwrap_or("node".into());
    let mut command = Command::new(node);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/node/answers.js"));
    let program = Program::start(
        &mut command,
        "set NODE to Node, and NODE_PATH to the directory of undici",
    );
    println!("{}", program.version());
    program
}
