//! The three comparisons that every program takes part in.

use tower_outbound_proxy::Dialect;

use crate::{Answers, Comparison, Exceptions, Generator, PROXIES, Random, Targets, answer, config, variables};

const LISTS: usize = 2_500;
const URLS: usize = 12;

const HTTP: &str = "http://proxy.test:3128";
const HTTPS: &str = "http://secure-proxy.test:3129";

/// Asks a program about URLs with the same variables.
type Ask<'a> = &'a mut dyn FnMut(&[(&str, &str)], &[String]) -> Vec<String>;

/// Compares 30,000 decisions about generated lists and targets.
pub fn compare_lists(dialect: Dialect, targets: Targets, exceptions: Exceptions, ask: Ask<'_>) {
    let mut generator = Generator::new(seed(), targets);
    let mut comparison = Comparison::new(format!("{dialect}, lists"), exceptions);
    for _ in 0..LISTS {
        let (list, urls) = generator.case(URLS);
        let vars = [("http_proxy", HTTP), ("https_proxy", HTTPS), ("no_proxy", &list)];
        compare(dialect, &vars, &urls, &mut comparison, ask);
    }
    comparison.finish(LISTS * URLS);
}

/// Compares decisions in environments where the variables are set in several spellings.
pub fn compare_environments(
    dialect: Dialect,
    environments: usize,
    schemes: &[&str],
    exceptions: Exceptions,
    ask: Ask<'_>,
) {
    let urls: Vec<_> = schemes
        .iter()
        .flat_map(|scheme| ["l.test", "u.test", "m.test", "x.test"].map(|host| format!("{scheme}://{host}/")))
        .collect();
    let mut random = Random::new(seed());
    let mut comparison = Comparison::new(format!("{dialect}, variables"), exceptions);
    for _ in 0..environments {
        let vars = variables(&mut random);
        compare(dialect, &vars, &urls, &mut comparison, ask);
    }
    comparison.finish(environments * urls.len());
}

/// Compares the proxies that are read from addresses of all kinds.
pub fn compare_proxies(dialect: Dialect, exceptions: Exceptions, ask: Ask<'_>) {
    let urls = [
        "http://x.test/",
        "https://x.test/",
        "http://direct.test/",
        "https://direct.test/",
    ]
    .map(str::to_owned);
    let mut comparison = Comparison::new(format!("{dialect}, proxies"), exceptions);
    for proxy in PROXIES {
        for name in ["http_proxy", "https_proxy"] {
            let vars = [(name, *proxy), ("no_proxy", "direct.test")];
            compare(dialect, &vars, &urls, &mut comparison, ask);
        }
    }
    comparison.finish(PROXIES.len() * 8);
}

fn compare(dialect: Dialect, vars: &[(&str, &str)], urls: &[String], comparison: &mut Comparison, ask: Ask<'_>) {
    let config = config(dialect, vars);
    let theirs = ask(vars, urls);
    assert_eq!(theirs.len(), urls.len(), "{vars:?}");
    for (url, theirs) in urls.iter().zip(&theirs) {
        let ours = config.as_ref().map_or("error".to_owned(), |config| answer(config, url));
        comparison.count(Answers {
            vars,
            url,
            ours: &ours,
            theirs,
        });
    }
}

fn seed() -> u64 {
    let seed = Random::seed();
    println!("SEED={seed}");
    seed
}
