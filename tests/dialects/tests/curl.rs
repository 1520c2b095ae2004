//! The curl dialect against libcurl.
//!
//! ```text
//! cargo test --release --test curl -- --ignored --nocapture
//! ```
//!
//! Each case is one transfer. The proxy is one stub on loopback, and `CURLOPT_CONNECT_TO` sends every direct connection
//! to another. The stub that was reached is the answer. `CURLOPT_PROXY` and `CURLOPT_NOPROXY` stand for the variables:
//! `proxy_do_not_proxy` in libcurl's `lib/proxy.c` reads `no_proxy` only if the option is not set, and into the same
//! string.
//!
//! Targets are `http` ones, and `ftp` ones for the variables of other schemes, so that libcurl can be built without
//! TLS: `proxy_check_noproxy` gets only the host and the list, neither scheme nor port.
//!
//! Unicode hosts are not tested. This build of libcurl has no IDN library and sends them as they are; one with a
//! library makes them A-labels first.

use std::{
    env,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use curl::easy::{Easy, List};
use tower_outbound_proxy::Dialect;
use tower_outbound_proxy_dialects::{
    Answers, Comparison, Exceptions, REFUSED, Random, Targets, answer, compare_lists, config,
};

const LISTS: Exceptions = &[REFUSED];

#[test]
#[ignore = "builds libcurl and makes 30,000 transfers"]
fn every_answer_is_curls() {
    println!("libcurl {}", curl::Version::get().version());
    let (proxy, direct) = (Stub::start(), Stub::start());
    let targets = Targets {
        schemes: &["http"],
        unicode: false,
    };
    compare_lists(Dialect::Curl, targets, LISTS, &mut |vars, urls| {
        let value = |name| vars.iter().find(|(other, _)| *other == name).unwrap().1;
        let (http, list) = (value("http_proxy"), value("no_proxy"));
        let asked = |url: &String| ask(&proxy, &direct, list, url).replace(&proxy.url(), http);
        urls.iter().map(asked).collect()
    });
}

fn ask(proxy: &Stub, direct: &Stub, list: &str, url: &str) -> String {
    let before = (proxy.connections(), direct.connections());
    let transfer = transfer(direct.address, url, Some((&proxy.url(), list)));
    match (proxy.connections() - before.0, direct.connections() - before.1) {
        (1, 0) => proxy.url(),
        (0, 1) => "direct".to_owned(),
        (0, 0) if transfer.as_ref().is_err_and(curl::Error::is_url_malformed) => "error".to_owned(),
        reached => panic!("{list:?} {url}: {reached:?} connections, {transfer:?}"),
    }
}

/// Makes one transfer, with this proxy and list or with those of the environment.
fn transfer(direct: SocketAddr, url: &str, settings: Option<(&str, &str)>) -> Result<(), curl::Error> {
    let mut connect_to = List::new();
    connect_to.append(&format!("::{direct}"))?;
    let mut easy = Easy::new();
    easy.url(url)?;
    if let Some((proxy, list)) = settings {
        easy.proxy(proxy)?;
        easy.noproxy(list)?;
    }
    easy.connect_to(connect_to)?;
    easy.fresh_connect(true)?;
    easy.forbid_reuse(true)?;
    // A stub answers HTTP. To FTP, which a direct connection speaks, it would have to speak first.
    let limit = if url.starts_with("ftp:") { 200 } else { 10_000 };
    easy.timeout(Duration::from_millis(limit))?;
    easy.perform()
}

#[test]
#[ignore = "builds libcurl"]
fn every_variable_is_curls() {
    let stubs: [Stub; 5] = std::array::from_fn(|_| Stub::start());
    let [lower, upper, all_lower, all_upper, direct] = &stubs;
    let [a, b, c, d] = [lower, upper, all_lower, all_upper].map(Stub::url);
    let names: [(&str, &[&str]); 9] = [
        ("http_proxy", &[&a]),
        ("HTTP_PROXY", &[&b]),
        ("all_proxy", &[&c]),
        ("ALL_PROXY", &[&d]),
        ("no_proxy", &["lower.test"]),
        ("NO_PROXY", &["upper.test"]),
        ("REQUEST_METHOD", &["GET"]),
        ("Http_Proxy", &[&b]),
        ("All_Proxy", &[&b]),
    ];
    let mut comparison = Comparison::new("curl, variables", &[]);
    let mut random = Random::new(Random::seed());
    for _ in 0..300 {
        let vars: Vec<_> = names
            .iter()
            .filter_map(|(name, values)| match random.below(8) {
                0..4 => Some((*name, random.one(values))),
                4 => Some((*name, "")),
                _ => None,
            })
            .collect();
        let config = config(Dialect::Curl, &vars).unwrap();
        for url in [
            "http://lower.test/",
            "http://upper.test/",
            "http://x.test/",
            "ftp://x.test/",
        ] {
            let before = stubs.each_ref().map(Stub::connections);
            transfer_with(direct.address, url, &vars);
            let mut reached = stubs
                .iter()
                .zip(before)
                .filter(|(stub, before)| stub.connections() > *before);
            let reached = reached.next().expect("no stub was reached").0;
            let theirs = match reached.address == direct.address {
                true => "direct".to_owned(),
                false => reached.url(),
            };
            comparison.count(Answers {
                vars: &vars,
                url,
                ours: &answer(&config, url),
                theirs: &theirs,
            });
        }
    }
    comparison.finish(1_200);
}

/// Makes one transfer in a process that has only these variables.
fn transfer_with(direct: SocketAddr, url: &str, vars: &[(&str, &str)]) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_transfer_of_another_process", "--ignored"])
        .env_clear()
        .envs(vars.iter().copied())
        .envs([
            ("TRANSFER_DIRECT", direct.to_string()),
            ("TRANSFER_URL", url.to_owned()),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "what `every_variable_is_curls` starts"]
fn the_transfer_of_another_process() {
    if let (Ok(direct), Ok(url)) = (env::var("TRANSFER_DIRECT"), env::var("TRANSFER_URL")) {
        // Refused by whichever stub it reaches.
        let _ = transfer(direct.parse().unwrap(), &url, None);
    }
}

/// A server that counts its connections and refuses every request.
struct Stub {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Stub {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let mut head = Vec::new();
                let mut buffer = [0; 4096];
                while !head.ends_with(b"\r\n\r\n") {
                    match connection.read(&mut buffer) {
                        Ok(0) | Err(_) => break,
                        Ok(read) => head.extend_from_slice(&buffer[..read]),
                    }
                }
                let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = connection.write_all(answer);
            }
        });
        Self { address, connections }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
