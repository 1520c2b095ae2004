//! The dialect `hyper-util` against hyper-util's matcher, in this process.
//!
//! ```text
//! cargo test --release --test hyper_util -- --ignored --nocapture
//! ```

use std::{env, process::Command};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use tower_outbound_proxy::Dialect;
use tower_outbound_proxy_dialects::{
    Exceptions, SPELLING, Targets, UNUSABLE, USABLE, compare_environments, compare_lists, compare_proxies,
};

const LISTS: Exceptions = &[(
    "a bracketed host is compared with no name here, and with its zone to hyper-util",
    |answers| answers.only_theirs_is_direct() && answers.host().contains('%'),
)];

const PROXIES: Exceptions = &[UNUSABLE, USABLE, SPELLING];

const TARGETS: Targets = Targets {
    schemes: &["http", "http", "https"],
    unicode: false,
};

#[test]
#[ignore = "one of the comparisons with real programs"]
fn every_answer_is_hyper_utils() {
    compare_lists(Dialect::HyperUtil, TARGETS, LISTS, &mut |vars, urls| {
        let value = |name| vars.iter().find(|(other, _)| *other == name).unwrap().1;
        let matcher = Matcher::builder().http(value("http_proxy")).https(value("https_proxy"));
        let matcher = matcher.no(value("no_proxy")).build();
        urls.iter().map(|url| answer(&matcher, url)).collect()
    });
}

#[test]
#[ignore = "one of the comparisons with real programs"]
fn every_variable_is_hyper_utils() {
    let schemes = ["http", "https", "ftp", "ws", "wss"];
    compare_environments(Dialect::HyperUtil, 500, &schemes, &[], &mut ask_with);
}

#[test]
#[ignore = "one of the comparisons with real programs"]
fn every_proxy_is_hyper_utils() {
    compare_proxies(Dialect::HyperUtil, PROXIES, &mut ask_with);
}

fn answer(matcher: &Matcher, url: &str) -> String {
    let Ok(uri) = url.parse::<Uri>() else {
        return "error".to_owned();
    };
    let Some(proxy) = matcher.intercept(&uri) else {
        return "direct".to_owned();
    };
    // A connector for the proxy takes the default port of the proxy's scheme.
    let proxy = proxy.uri();
    let default = if proxy.scheme_str() == Some("https") { 443 } else { 80 };
    let (scheme, host) = (proxy.scheme_str().unwrap(), proxy.host().unwrap());
    let port = proxy.port_u16().unwrap_or(default);
    format!("{scheme}://{host}:{port}").to_ascii_lowercase()
}

/// Asks in a process that has only these variables.
fn ask_with(vars: &[(&str, &str)], urls: &[String]) -> Vec<String> {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_answers_of_another_process", "--ignored", "--nocapture"])
        .env_clear()
        .envs(vars.iter().copied())
        .env("MATCHER_URLS", urls.join(" "))
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    let answers = stdout.lines().filter_map(|line| line.strip_prefix("answer: "));
    answers.map(str::to_owned).collect()
}

#[test]
#[ignore = "what `ask_with` starts"]
fn the_answers_of_another_process() {
    if let Ok(urls) = env::var("MATCHER_URLS") {
        let matcher = Matcher::from_env();
        println!();
        for url in urls.split(' ') {
            println!("answer: {}", answer(&matcher, url));
        }
    }
}
