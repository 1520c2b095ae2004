//! Promise: nothing that this crate frees has a password in it.
//!
//! An allocator looks into every block that is freed. Servers are threads whose buffers are on the stack, so that only
//! the client's memory is seen. hyper and h2 copy what they send into buffers of their own, which nobody can wipe from
//! outside: no request is forwarded here, and no tunnel is opened over HTTP/2.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::{
    env,
    io::{Read, Write},
    net::TcpListener,
    process::Command,
    thread,
    time::Duration,
};

use hyper_util::client::legacy::connect::HttpConnector;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service};
use tower_outbound_proxy::{
    Client, ProxyConfig, ProxyLayer, ProxyServer, ProxySettings, Route, config::Precedence, purpose::ProxyUse,
    route::Destination,
};
use tower_outbound_proxy_wiping::Watching;
use zeroize::Zeroizing;

/// Literals, with other text around them, are not on the heap.
macro_rules! proxy {
    () => {
        "http://user:a-p%40ssword%2Fof-this-test@127.0.0.1:9"
    };
}

const PROXY: &str = proxy!();

#[global_allocator]
static ALLOCATOR: Watching = Watching::new(&[
    ("the password", b"a-p@ssword/of-this-test"),
    ("the encoded password", b"a-p%40ssword%2Fof-this-test"),
    // `user:a-p@ssword/of-this-test`
    ("the token", b"dXNlcjphLXBAc3N3b3JkL29mLXRoaXMtdGVzd"),
]);

/// Starts a proxy that reads a head and answers with these bytes. Returns its port.
fn proxy(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = [0; 4096];
            let mut length = 0;
            while !head[..length].ends_with(b"\r\n\r\n") {
                match stream.read(&mut head[length..]) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => length += read,
                }
            }
            let token = b"Basic dXNlcjphLXBAc3N3b3JkL29mLXRoaXMtdGVzdA==\r\n";
            assert!(
                head.windows(token.len()).any(|window| window == token),
                "no credentials came"
            );
            let _ = stream.write_all(answer);
            // Open until the client closes it.
            let _ = stream.read(&mut head);
        }
    });
    port
}

fn at(port: u16) -> ProxyServer {
    let address = PROXY.rsplit_once(':').unwrap().0;
    // `format!` would free what grows.
    Zeroizing::new([address, ":", &port.to_string()].concat())
        .parse()
        .unwrap()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Sends CONNECT with the connector half. Returns true if the tunnel was opened.
fn connect(answer: &'static [u8]) -> bool {
    let config = ProxyConfig::builder().all(at(proxy(answer))).build().unwrap();
    let layer = ProxyLayer::new(config).with_connect_timeout(Some(Duration::from_millis(300)));
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let mut half = layer.layer(connector);
    runtime().block_on(async {
        match half.tunnel("origin.test", 443).await {
            Ok(stream) => {
                assert!(!format!("{stream:?}").contains("password"));
                true
            }
            Err(error) => {
                assert!(!format!("{error} {error:?}").contains("password"));
                false
            }
        }
    })
}

/// The uses of a password, by name.
const STEPS: &[(&str, fn())] = &[
    ("an address is parsed, cloned, compared and shown", || {
        let proxy: ProxyServer = PROXY.parse().unwrap();
        let clone = proxy.clone();
        let credentials = proxy.credentials().unwrap().clone();
        assert!(clone == proxy && proxy == PROXY.parse().unwrap());
        drop(format!("{proxy} {proxy:?} {credentials} {credentials:?}"));
    }),
    ("an address with its password is made", || {
        let proxy: ProxyServer = PROXY.parse().unwrap();
        // It is the caller's to wipe.
        drop(Zeroizing::new(proxy.url_with_password()));
    }),
    ("addresses that cannot be used", || {
        for (from, to) in [
            (":9", ":99999"),
            ("http:", "socks5:"),
            ("%2F", "/"),
            ("@127", "%00@127"),
            (":9", ":9/path"),
        ] {
            let address = Zeroizing::new(PROXY.replacen(from, to, 1));
            let error = address.parse::<ProxyServer>().unwrap_err();
            drop(format!("{error} {error:?}"));
        }
        let builder = ProxyConfig::builder().all(PROXY).no_proxy(PROXY);
        let error = builder.build().unwrap_err();
        drop(format!("{error} {error:?}"));
    }),
    ("settings from code", || {
        let builder = ProxyConfig::builder()
            .http(PROXY)
            .https(PROXY.to_owned())
            .all(PROXY)
            .proxy_for("x.test", PROXY);
        let config = builder.clone().build().unwrap();
        drop(format!("{builder:?} {config:?}"));
    }),
    ("settings from variables", || {
        let vars = [
            ("http_proxy", PROXY),
            ("HTTP_PROXY", PROXY),
            ("all_proxy", PROXY),
            ("NO_PROXY", PROXY),
        ];
        let config = ProxyConfig::from_vars(vars).unwrap();
        drop(format!("{config:?} {:?}", config.warnings()));
    }),
    ("settings from the environment", || {
        assert_eq!(ProxyConfig::from_env().unwrap().all().unwrap().port(), 9);
    }),
    ("settings from a file", || {
        let file = concat!(
            r#"{"http_proxy": ""#,
            proxy!(),
            r#"", "no_proxy": ["x.test"], "by_domain": [{"url": ""#,
            proxy!(),
            r#"", "include": ["y.test"]}]}"#
        );
        let settings: ProxySettings = serde_json::from_str(file).unwrap();
        drop(serde_json::to_string(&settings).unwrap());
        for precedence in [Precedence::FileOverEnv, Precedence::EnvOverFile] {
            let config = ProxyConfig::builder()
                .settings(settings.clone(), precedence)
                .build()
                .unwrap();
            drop(serde_json::to_string(&config).unwrap());
        }
    }),
    ("settings from a file that is wrong", || {
        let file = concat!(
            r#"{"http_proxy": [""#,
            proxy!(),
            r#""], ""#,
            proxy!(),
            r#"": 1, "no_proxy": ""#,
            proxy!(),
            r#""}"#
        );
        let settings: ProxySettings = serde_json::from_str(file).unwrap();
        let error = ProxyConfig::builder()
            .settings(settings, Precedence::FileOverEnv)
            .build()
            .unwrap_err();
        drop(format!("{error} {error:?}"));
    }),
    ("decisions", || {
        let config = ProxyConfig::builder().all(PROXY).build().unwrap();
        for url in ["http://x.test", "https://x.test", "tcp://x.test:1"] {
            drop(config.decide(&url.parse().unwrap()).to_string());
            drop(
                config
                    .decide_for(&"p", &ProxyUse::Proxy(PROXY.parse().unwrap()), &url.parse().unwrap())
                    .unwrap(),
            );
        }
    }),
    ("a tunnel is opened", || assert!(connect(b"HTTP/1.1 200 OK\r\n\r\n"))),
    ("a tunnel is refused", || {
        assert!(!connect(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"))
    }),
    ("credentials are refused", || {
        assert!(!connect(
            b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n"
        ));
    }),
    ("a proxy does not answer", || assert!(!connect(b""))),
    ("a proxy answers nonsense", || assert!(!connect(b"220 mail.test\r\n"))),
    ("a CONNECT with many fields", || {
        let port = proxy(b"HTTP/1.1 200 OK\r\n\r\n");
        let mut layer = ProxyLayer::new(ProxyConfig::builder().build().unwrap());
        for _ in 0..3 {
            layer = layer
                .with_connect_header("x-long".parse().unwrap(), "y".repeat(900).parse().unwrap())
                .unwrap();
        }
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        let destination = Destination {
            uri: "https://origin.test".parse().unwrap(),
            route: Route::Tunnel(at(port)),
        };
        let mut half = layer.layer(connector);
        runtime().block_on(half.call(destination)).unwrap();
    }),
    ("a client's settings are replaced", || {
        runtime().block_on(async {
            let config = ProxyConfig::builder().all(PROXY).build().unwrap();
            let client: Client<String> = Client::builder().config(config).build().unwrap();
            client.config_handle().replace(ProxyConfig::builder().build().unwrap());
            drop(format!("{client:?}"));
        });
    }),
];

#[test]
fn no_freed_block_has_a_password_in_it() {
    // The environment is set before the process starts, because nobody may change it later.
    if env::var_os("ALL_PROXY").is_none_or(|value| value != PROXY) {
        let mut process = Command::new(env::current_exe().unwrap());
        process.args(["--exact", "no_freed_block_has_a_password_in_it", "--nocapture"]);
        process
            .env("ALL_PROXY", PROXY)
            .env("NO_PROXY", "")
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy");
        assert!(
            process
                .env_remove("HTTPS_PROXY")
                .env_remove("https_proxy")
                .env_remove("all_proxy")
                .status()
                .unwrap()
                .success()
        );
        return;
    }
    // The allocator does find it.
    ALLOCATOR.take();
    drop(PROXY.to_owned());
    assert_eq!(ALLOCATOR.take().len(), 1);
    let mut faults = Vec::new();
    for (name, step) in STEPS {
        // Blocks that are freed by the test's own threads and before are not this step's.
        ALLOCATOR.take();
        step();
        faults.extend(ALLOCATOR.take().into_iter().map(|found| format!("{name}: {found}")));
    }
    assert!(faults.is_empty(), "{} blocks:\n{}", faults.len(), faults.join("\n\n"));
}
