//! Promise: `explain` behaves as its `--help` says, including exit codes.

#![allow(unreachable_pub, clippy::unwrap_used)] // clippy sees tests only in functions marked so

mod common;

use std::{io::Write, process::Stdio};

use tower_outbound_proxy::Dialect;
use tower_outbound_proxy_lab::not_unicode;

use common::{program, stderr, stdout};

#[test]
fn explain_says_which_route_and_why() {
    let output = program("explain")
        .env("HTTP_PROXY", "http://user:secret@proxy.test:3128")
        .env("NO_PROXY", "10.0.0.0/8,.internal.test,:1")
        .args([
            "http://x.test/path",
            "http://a.internal.test",
            "https://bücher.test",
            "http://user:secret@127.1",
        ])
        .output()
        .unwrap();
    assert_eq!(
        stdout(&output),
        "http://x.test:80
    route  forward through http://user:***@proxy.test:3128
    why    HTTP_PROXY is set, and nothing exempts the target
http://a.internal.test:80
    route  direct
    why    entry 2 `.internal.test` of NO_PROXY matches
https://xn--bcher-kva.test:443
    route  direct
    why    no proxy is set for https targets
http://127.0.0.1:80
    route  direct
    why    the target is this machine (built-in rule for localhost, 127.0.0.0/8 and ::1)
warning: NO_PROXY: entry 3 `:1` matches nothing: there is no host before the port
"
    );
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}

#[test]
fn explain_names_the_purposes_it_is_told() {
    let output = program("explain")
        .env("HTTPS_PROXY", "http://user:secret@proxy.test:3128")
        .env("NO_PROXY", "push.test")
        .args(["--purpose", "push=always", "--purpose", "redis=never"])
        .args([
            "--purpose",
            "keys=http://user:secret@keys.test",
            "--purpose",
            "other=settings",
        ])
        .args(["https://push.test", "http://x.test"])
        .output()
        .unwrap();
    assert_eq!(
        stdout(&output),
        "https://push.test:443
    route  direct
    why    entry 1 `push.test` of NO_PROXY matches
  purpose push
    route  tunnel through http://user:***@proxy.test:3128
    why    the policy says always for this purpose, and HTTPS_PROXY is set
  purpose redis
    route  direct
    why    the policy says never for this purpose
  purpose keys
    route  direct
    why    entry 1 `push.test` of NO_PROXY matches
  purpose other
    route  direct
    why    entry 1 `push.test` of NO_PROXY matches
http://x.test:80
    route  direct
    why    no proxy is set for http targets
  purpose push
    route  none
    why    purpose push requires a proxy, but none is set for http targets
  purpose redis
    route  direct
    why    the policy says never for this purpose
  purpose keys
    route  forward through http://user:***@keys.test:1080
    why    the policy names a proxy for this purpose, and nothing exempts the target
  purpose other
    route  direct
    why    no proxy is set for http targets
"
    );
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));

    for (argument, error) in [
        ("push", "explain: --purpose needs NAME=USE\n"),
        ("=always", "explain: --purpose needs NAME=USE\n"),
        (
            "push=nevr",
            "explain: --purpose push: neither settings, never, always nor a proxy's URL\n",
        ),
        (
            "push=socks5://user:secret@p.test",
            "explain: `socks5://user:***@p.test`: unsupported proxy scheme `socks5` (http and https are supported)\n",
        ),
    ] {
        let output = program("explain")
            .args(["--purpose", argument, "http://x.test"])
            .output()
            .unwrap();
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(2), error));
    }
}

#[test]
fn explain_reads_in_the_dialect_it_is_told() {
    for (dialect, route) in [
        ("standard", "forward through http://p:1080"),
        ("go", "forward through http://p:80"),
        ("curl", "direct"),
    ] {
        let output = program("explain")
            .env("http_proxy", "http://p")
            .env("no_proxy", ".x.test")
            .args(["--dialect", dialect, "http://x.test"])
            .output()
            .unwrap();
        assert_eq!(
            stdout(&output).lines().nth(1).unwrap().trim(),
            format!("route  {route}"),
            "{dialect}"
        );
    }
}

/// Limits a comparison to the oldest dialects, so that the expected text is short.
const THREE: [&str; 6] = ["--dialect", "curl", "--dialect", "standard", "--dialect", "go"];

const LEGEND: &str = "
Programs:
  standard    this crate
  go          Go: net/http
  curl        curl and libcurl
";

#[test]
fn explain_compares_the_dialects() {
    let output = program("explain")
        .env("http_proxy", "http://user:secret@p.test:3128")
        .env("https_proxy", "https://p.test:3129")
        .env("no_proxy", ".x.test, 192.0.2.1, *.y.test, b.y.test")
        .arg("--compare")
        .args(THREE)
        .args([
            "http://x.test",
            "http://192.0.2.1",
            "https://other.test/",
            "http://localhost",
            "http://b.y.test",
        ])
        .output()
        .unwrap();
    let expected = format!(
        "http://x.test:80
    p.test:3128  standard, go
                 http_proxy is set, and nothing exempts the target
    direct       curl
                 entry 1 `.x.test` of no_proxy matches
http://192.0.2.1:80
    direct  all programs
https://other.test:443
    https://p.test:3129  all programs
http://localhost:80
    direct       standard, go
                 the target is this machine (built-in rule for localhost,
                 127.0.0.0/8 and ::1)
    p.test:3128  curl
                 http_proxy is set, and nothing exempts the target
http://b.y.test:80
    direct  all programs
{LEGEND}"
    );
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), expected));
}

#[test]
fn explain_checks_the_settings() {
    let output = program("explain")
        .env("HTTP_PROXY", "http://user:secret@p.test:3128")
        .env("https_proxy", "\"http://p.test:3128\"")
        .env("NO_PROXY", "localhost,.x.test,user:secret,*.y.test z.test,127.0.0.1")
        .arg("--check")
        .args(THREE)
        .output()
        .unwrap();
    let expected = format!(
        "8 things are odd in the proxy settings.

- https_proxy has quotation marks in its value: remove them where it is set
  (Docker's --env-file and unit files can keep them)
- HTTP_PROXY is not read for http targets by curl: they are reached directly
  (set http_proxy too)

Entries of NO_PROXY:
   2  .x.test             x.test
                            direct: curl
                            proxy:  standard, go
   3  user:***            matches nothing in all programs: the port is not a
                          number from 1 to 65535
   4  *.y.test            matches nothing in curl: `*.` is not a wildcard
                          is not read as an entry by go: separate entries with
                          commas alone
   5  z.test              is not read as an entry by go and curl: separate
                          entries with commas alone
   6  127.0.0.1           is not read as an entry by curl: separate entries with
                          commas alone

This list means the same to all programs:
  localhost,x.test,y.test,z.test,127.0.0.1
It exempts more than the entries say: x.test and y.test

Good to know:
- localhost. (a name with a trailing dot) is reached directly by standard and
  curl, and through the proxy by go
- [::ffff:127.0.0.1] (an IPv4-mapped IPv6 address) is reached directly by
  standard and go, and through the proxy by curl
- 2130706433 (an unusual spelling of an IPv4 address) is reached directly by
  standard, and through the proxy by go and curl
- [::1] (another loopback host) is reached directly by standard and go, and
  through the proxy by curl
{LEGEND}"
    );
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), expected));
    assert_eq!(stderr(&output), "");
}

#[test]
fn explain_checks_settings_that_are_not_odd() {
    let run = |vars: &[(&str, &str)]| {
        let mut command = program("explain");
        command.arg("--check").envs(vars.iter().copied()).output().unwrap()
    };
    let unset = run(&[]);
    assert_eq!(stdout(&unset), "No proxy is set: every target is reached directly.\n");
    assert_eq!(unset.status.code(), Some(0));
    let proxy = "http://p.test:3128";
    let alike = run(&[
        ("http_proxy", proxy),
        ("https_proxy", proxy),
        ("no_proxy", "localhost,127.0.0.1,x.test,192.0.2.1"),
    ]);
    let text = stdout(&alike);
    assert!(
        text.starts_with("Nothing is odd: all programs read the settings alike.\n"),
        "{text}"
    );
    assert_eq!(alike.status.code(), Some(0), "{text}");
}

/// Configurations that people posted: curl/curl#12120, hashicorp/consul-template#132, hareku/fanbox-dl#30,
/// axios/axios#2864 and guzzle/guzzle#1677. Hosts are replaced by ones for documentation.
#[test]
fn explain_finds_what_people_found_the_hard_way() {
    let proxy = "http://192.0.2.252:3128";
    for (vars, text) in [
        (
            &[("HTTP_PROXY", proxy), ("HTTPS_PROXY", proxy)][..],
            "HTTP_PROXY is not read for http targets by curl: they are reached",
        ),
        (
            &[("http_proxy", "\"http://web-proxy:8080\"")],
            "http_proxy has quotation marks in its value",
        ),
        (
            &[("HTTP_PROXY", "http://192.0.2.1:9999")],
            "HTTP_PROXY is not read for https targets by standard, go,",
        ),
        (
            &[
                ("http_proxy", proxy),
                ("NO_PROXY", "*.example.com"),
                ("no_proxy", "*.example.com"),
            ],
            "  1  *.example.com       matches nothing in curl",
        ),
        (
            &[("http_proxy", "http://login:secret@mail.example@192.0.2.1:80")],
            "- http_proxy: the user name or password has a character that must be",
        ),
    ] {
        let output = program("explain")
            .arg("--check")
            .envs(vars.iter().copied())
            .output()
            .unwrap();
        let found = stdout(&output);
        assert!(found.contains(text) && !found.contains("secret"), "{found}");
        assert_eq!(output.status.code(), Some(1), "{found}");
    }
}

/// Terminals are often 80 columns wide. Only a list, which is for copying, can be longer.
#[test]
fn explain_fits_a_terminal() {
    let long = "a-very-long-name-of-a-host.in-a-long-domain.example";
    let list = format!("{long},.{long}:8080,10.0.0.0/8 *.{long},https://user:secret@{long}/path,[2001:db8::1]");
    for args in [
        vec!["--help"],
        vec!["--check"],
        vec![
            "--compare",
            "http://10.0.0.1",
            "https://a-very-long-name-of-a-host.in-a-long-domain.example",
        ],
    ] {
        let output = program("explain")
            .env("HTTP_PROXY", format!("http://user:secret@proxy.{long}:3128"))
            .env("HTTPS_PROXY", format!("https://user:se@cret@proxy.{long}:3128"))
            .env("NO_PROXY", &list)
            .args(&args)
            .output()
            .unwrap();
        let text = stdout(&output);
        assert!(!text.contains("cret"), "{text}");
        let mut long = text.lines().filter(|line| line.chars().count() > 80);
        assert!(
            long.all(|line| line.starts_with("  ") && line.contains(",localhost")),
            "{text}"
        );
        assert_eq!(output.status.code() == Some(1), args == ["--check"], "{output:?}");
    }
}

/// A name that is listed for a dialect is one that `--dialect` takes.
#[test]
fn explain_helps_with_all_dialects() {
    let help = stdout(&program("explain").arg("--help").output().unwrap());
    for dialect in Dialect::ALL {
        assert!(help.contains(&format!("\n  {dialect} ")), "{dialect}: {help}");
        let output = program("explain")
            .args(["--dialect", dialect.as_str(), "http://x.test"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{dialect}");
    }
}

#[test]
fn explain_fails_on_what_cannot_be_used() {
    let run = |args: &[&str]| {
        program("explain")
            .env("HTTPS_PROXY", "socks5://u:secret@p")
            .args(args)
            .output()
            .unwrap()
    };
    let setting = run(&["http://x.test"]);
    assert_eq!((setting.status.code(), stdout(&setting)), (Some(5), String::new()));
    assert!(
        stderr(&setting).starts_with("explain: HTTPS_PROXY=`socks5://u:***@p`: unsupported"),
        "{setting:?}"
    );
    for args in [
        &[][..],
        &["--batch", "http://x.test"],
        &["--compare"],
        &["--compare", "--batch"],
        &["--check", "--batch"],
        &["--check", "http://x.test"],
        &["--check", "--purpose", "push=always"],
        &["--dialect", "go", "--dialect", "curl", "http://x.test"],
        &["--wat"],
        &["--dialect"],
        &["--dialect", "wget", "x"],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    let compared = run(&["--compare", "http://x.test"]);
    assert_eq!(compared.status.code(), Some(5));
    assert!(!stdout(&compared).contains("secret"), "{compared:?}");
    let not_unicode = program("explain").arg(not_unicode("http://")).output().unwrap();
    assert_eq!(not_unicode.status.code(), Some(2));
    let url = program("explain").arg("x.test").output().unwrap();
    assert_eq!(url.status.code(), Some(2));
}

#[test]
fn explain_answers_a_batch_line_by_line() {
    let cases = [
        ("\t\t\thttp://x.test", "direct"),
        ("http://u:secret@p\t\t\thttp://x.test", "forward http://p:1080"),
        (
            "\thttps://u:secret@[::1]:3129\t\thttps://x.test",
            "tunnel https://[::1]:3129",
        ),
        ("p\t\t\tws://x.test", "tunnel http://p:1080"),
        ("p\t\ta.test\\tx.test\\nb.test\thttp://x.test", "direct"),
        (
            "p\\\\\t\t\thttp://x.test",
            "error: http_proxy=`p\\\\`: the name contains a character that is not allowed in a host name",
        ),
        (
            "socks5://u:secret@p\t\t\thttp://x.test",
            "error: http_proxy=`socks5://u:***@p`: unsupported proxy scheme `socks5` (http and https are supported)",
        ),
        (
            "p\t\t\tx.test",
            "error: invalid target: no scheme (expected an absolute URL)",
        ),
        ("p\t\tx.test", "error: a line has four columns"),
        ("p\t\t1.2.3.4/33\thttp://x.test", "forward http://p:1080"),
    ];
    // What the process environment says has no part in it.
    let mut child = program("explain")
        .env("HTTP_PROXY", "http://environment")
        .env("NO_PROXY", "*")
        .arg("--batch")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input: String = cases.iter().map(|(line, _)| format!("{line}\n")).collect();
    // What is not UTF-8 spoils its own line only.
    let input = [b"\xff\t\t\thttp://x.test\n", input.as_bytes()].concat();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    let mut answers = vec!["error: the line is not UTF-8"];
    answers.extend(cases.iter().map(|(_, answer)| *answer));
    assert_eq!(stdout(&output).lines().collect::<Vec<_>>(), answers);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}
