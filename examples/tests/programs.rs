//! Promise: `explain` and `fetch` behave as their documentation says, including exit codes.

#![allow(unreachable_pub, clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use tower_outbound_proxy_lab::{
    Ca, Fault, Files, ForwardProxy, Http2Proxy, Listening, Origin, ScriptedProxy, not_unicode,
};

/// Returns an example's command. (`cargo test` builds examples beside the tests. With `--test`, it does not rebuild
/// them.)
fn program(name: &str) -> Command {
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples").join(name);
    let path = path.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --examples`",
        path.display()
    );
    tower_outbound_proxy_lab::program(path)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

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

#[test]
fn explain_compares_the_dialects() {
    let output = program("explain")
        .env("http_proxy", "http://p:3128")
        .env("no_proxy", ".x.test, 192.0.2.1")
        .args(["--compare", "http://x.test", "http://192.0.2.1", "http://localhost"])
        .output()
        .unwrap();
    let through = "forward through http://p:3128: http_proxy is set, and nothing exempts the target";
    let loopback = "direct: the target is this machine (built-in rule for localhost, 127.0.0.0/8 and ::1)";
    let expected = format!(
        "http://x.test:80
    standard  {through}
    go        {through}
    curl      direct: entry 1 `.x.test` of no_proxy matches
http://192.0.2.1:80
    all       direct: entry 2 `192.0.2.1` of no_proxy matches
http://localhost:80
    standard  {loopback}
    go        {loopback}
    curl      {through}
"
    );
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), expected));
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

/// The lab's servers, and files.
struct Lab {
    ca: Ca,
    http: Origin,
    https: Origin,
    proxy: ForwardProxy,
    files: Files,
}

impl Lab {
    async fn new() -> Self {
        let ca = Ca::new();
        Self {
            http: Origin::http().await,
            https: Origin::https(&ca, &["origin.test"], &["http/1.1"]).await,
            proxy: ForwardProxy::builder()
                .basic("user", "secret")
                .deny("denied.test")
                .start()
                .await,
            files: Files::new(),
            ca,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://origin.test:{}{path}", self.http.port())
    }

    fn secure_url(&self, host: &str) -> String {
        format!("https://{host}:{}/", self.https.port())
    }

    fn proxy(&self) -> String {
        self.proxy.url_with("user:secret@")
    }
}

/// Runs `fetch` outside the runtime's threads, which serve the lab.
async fn fetch(args: &[&str], vars: &[(&str, &str)]) -> Output {
    let mut command = program("fetch");
    command.args(args).envs(vars.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    for text in [stdout(&output), stderr(&output)] {
        assert!(!text.contains("secret"), "{text}");
    }
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_goes_where_the_environment_says() {
    let lab = Lab::new().await;
    let (proxy, ca) = (lab.proxy(), lab.files.write("ca.pem", lab.ca.pem()));

    let forward = fetch(&["-v", &lab.url("/")], &[("HTTP_PROXY", &proxy)]).await;
    assert_eq!(forward.status.code(), Some(0), "{forward:?}");
    assert!(stdout(&forward).starts_with("hello from origin"));
    assert_eq!(
        stderr(&forward),
        format!(
            "* http://origin.test:{}: forward through http://user:***@{}\n* because HTTP_PROXY is set, and nothing exempts \
             the target\n* proxy http://user:***@{1}: HTTP/1.1\n* response: HTTP/1.1 200 OK\n",
            lab.http.port(),
            lab.proxy.addr()
        )
    );

    let args = ["-v", "--cacert", &ca, &lab.secure_url("origin.test")];
    let tunnel = fetch(&args, &[("https_proxy", &proxy)]).await;
    assert_eq!(tunnel.status.code(), Some(0), "{tunnel:?}");
    assert!(stdout(&tunnel).starts_with("hello from origin"));
    assert!(
        stderr(&tunnel).contains(": HTTP/1.1\n* the proxy opened the tunnel: 200"),
        "{tunnel:?}"
    );
    assert_eq!(lab.proxy.requests().len(), 2);

    // Directly, for which the name has to be one that resolves.
    let local = format!("http://localhost:{}/", lab.http.port());
    let direct = fetch(
        &["-v", &local],
        &[("HTTP_PROXY", &proxy), ("NO_PROXY", "x.test localhost")],
    )
    .await;
    assert_eq!(direct.status.code(), Some(0), "{direct:?}");
    assert!(
        stderr(&direct).contains("* because entry 2 `localhost` of NO_PROXY matches"),
        "{direct:?}"
    );
    assert_eq!(lab.proxy.requests().len(), 2);
}

/// Over HTTP/2, all URLs share one connection to the proxy.
#[tokio::test(flavor = "multi_thread")]
async fn fetch_says_in_which_version_it_speaks_to_the_proxy() {
    let lab = Lab::new().await;
    let ca = lab.files.write("ca.pem", lab.ca.pem());
    let (clear, secure) = (lab.url("/"), lab.secure_url("origin.test"));
    let http2 = || {
        let builder = Http2Proxy::builder().basic("user", "secret").host("127.0.0.1");
        let builder = builder.map(&format!("origin.test:{}", lab.http.port()), lab.http.addr());
        builder.map(&format!("origin.test:{}", lab.https.port()), lab.https.addr())
    };
    let identity = lab.ca.issue(&["127.0.0.1"]);
    let both = http2().tls(identity.server_config(&["h2", "http/1.1"])).start().await;
    let proxy = both.url_with("user:secret@");
    let args = [
        "-v",
        "-x",
        &proxy,
        "--proxy-cacert",
        &ca,
        "--cacert",
        &ca,
        &secure,
        &clear,
        &clear,
    ];
    let shared = fetch(&args, &[]).await;
    assert_eq!(shared.status.code(), Some(0), "{shared:?}");
    let said = |line: &str| stderr(&shared).matches(line).count();
    let way = format!("* proxy https://user:***@{}: HTTP/2", both.authority());
    assert_eq!(
        said(&format!("{way}\n* the proxy opened the tunnel: 200 OK\n")),
        1,
        "{shared:?}"
    );
    assert_eq!(
        said(&format!("{way}, connection reused\n* response: HTTP/2 200 OK\n")),
        2,
        "{shared:?}"
    );
    assert_eq!(both.connections_opened(), 1);

    let plain = http2().start().await;
    let proxy = plain.url_with("user:secret@");
    let known = fetch(&["-v", "--proxy-http2", "-x", &proxy, &clear], &[]).await;
    assert_eq!(known.status.code(), Some(0), "{known:?}");
    let way = format!("* proxy http://user:***@{}: HTTP/2\n", plain.authority());
    assert!(stderr(&known).contains(&way), "{known:?}");

    let old = ForwardProxy::builder().host("127.0.0.1");
    let old = old.tls(identity.server_config(&["h2", "http/1.1"])).start().await;
    let told = fetch(
        &["-v", "--proxy-http1.1", "-x", &old.url(), "--proxy-cacert", &ca, &clear],
        &[],
    )
    .await;
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    assert!(
        stderr(&told).contains(&format!("* proxy {}: HTTP/1.1\n", old.url())),
        "{told:?}"
    );
    assert_eq!(old.connection(0).tls().unwrap().alpn.as_deref(), Some("http/1.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_takes_its_options() {
    let lab = Lab::new().await;
    let proxy = lab.proxy();
    // -x goes over the environment, --noproxy over NO_PROXY.
    let vars = [("HTTP_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "*")];
    let body = lab.files.write("body", "");
    let args = [
        "-x",
        &proxy,
        "--noproxy",
        "other.test",
        "-o",
        &body,
        &lab.url("/bytes/100000"),
    ];
    let output = fetch(&args, &vars).await;
    assert_eq!(
        (output.status.code(), stdout(&output)),
        (Some(0), String::new()),
        "{output:?}"
    );
    assert_eq!(
        std::fs::read(&body).unwrap(),
        tower_outbound_proxy_lab::pattern(100_000)
    );
    assert_eq!(lab.proxy.requests().len(), 1);

    let log = fetch(&["--trace", "-x", &proxy, &lab.url("/")], &[]).await;
    assert!(
        stderr(&log).contains("proxy decision") && stderr(&log).contains("TRACE"),
        "{log:?}"
    );
    // Two URLs, one output; Unicode becomes an A-label; without a scheme it is http.
    let unicode = format!("bücher.test:{}/", lab.http.port());
    let two = fetch(&["-x", &proxy, &lab.url("/"), &unicode], &[]).await;
    assert_eq!(stdout(&two).matches("hello from origin").count(), 2, "{two:?}");
    assert!(
        lab.proxy
            .requests()
            .last()
            .unwrap()
            .target
            .starts_with("http://xn--bcher-kva.test:")
    );
}

/// A certificate that does not verify, a proxy's or a target's: the variable that replaces the system's roots is named,
/// and what is advised works.
#[tokio::test(flavor = "multi_thread")]
async fn fetch_names_the_roots_that_it_used() {
    let lab = Lab::new().await;
    let (other, root) = (Ca::new(), lab.ca.pem());
    let file = lab.files.write("other\n.pem", other.pem());
    let both = lab.files.write("both.pem", &format!("{root}{}", other.pem()));
    let tls = lab.ca.issue(&["127.0.0.1"]).server_config(&["http/1.1"]);
    let tls = ForwardProxy::builder().tls(tls).host("127.0.0.1").start().await;
    let (proxy, tls) = (lab.proxy(), format!("https://{}", tls.authority()));
    let (secure, clear) = (lab.secure_url("origin.test"), lab.url("/"));
    for args in [["-x", &tls, &clear], ["-x", &proxy, &secure]] {
        let refused = fetch(&args, &[("SSL_CERT_FILE", &file)]).await;
        assert_eq!(refused.status.code(), Some(60), "{refused:?}");
        let shown = file.replace('\n', "\\n");
        let text = stderr(&refused);
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in [
            "its issuer (`CN=lab root ",
            &format!("(trusted: the roots in SSL_CERT_FILE (`{shown}`))"),
            "add its root certificate there (the operating system's roots are not used while these variables are set)",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let trusted = fetch(&args, &[("SSL_CERT_FILE", &both)]).await;
        assert_eq!(trusted.status.code(), Some(0), "{trusted:?}");

        let empty = fetch(&args, &[("SSL_CERT_FILE", "/no.pem")]).await;
        assert_eq!(empty.status.code(), Some(5), "{empty:?}");
        let part = "the root certificates that SSL_CERT_FILE and SSL_CERT_DIR name cannot be used";
        assert!(stderr(&empty).contains(part), "{empty:?}");

        let system = fetch(&args, &[]).await;
        assert_eq!(system.status.code(), Some(60), "{system:?}");
        let text = stderr(&system);
        let part = "(trusted: the operating system's roots); if it is meant to be, as the issuer of a proxy that intercepts \
                    TLS is, add its root certificate to the operating system's, name a file of roots in SSL_CERT_FILE, or";
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_exits_with_the_code_that_it_documents() {
    let lab = Lab::new().await;
    let (proxy, ca) = (lab.proxy(), lab.files.write("ca.pem", lab.ca.pem()));
    let wrong = lab.proxy.url_with("user:wrong-secret@");
    let tls = lab.ca.issue(&["127.0.0.1"]).server_config(&["http/1.1"]);
    let tls = ForwardProxy::builder().tls(tls).host("127.0.0.1").start().await;
    let hang = ScriptedProxy::start(Fault::Hang).await;
    let garbage = ScriptedProxy::start(Fault::Garbage).await;
    let (secure, clear) = (lab.secure_url("origin.test"), lab.url("/"));
    let wrong_name = lab.secure_url("other.test");
    let denied = format!("https://denied.test:{}/", lab.https.port());
    let (missing, slow) = (lab.url("/nowhere"), lab.url("/slow/60000"));
    let not_pem = lab.files.write("not.pem", "nothing");
    let url = |proxy: &Listening| proxy.authority();
    let (tls, hang, garbage) = (format!("https://{}", url(&tls)), url(&hang), url(&garbage));

    for (code, text, args) in [
        (0, "", &["-x", &proxy, &clear][..]),
        (0, "", &["-x", &tls, "--proxy-cacert", &ca, &clear]),
        (0, "is NOT verified", &["-x", &tls, "--proxy-insecure", &clear]),
        (
            0,
            "is NOT verified",
            &["-x", &tls, "--proxy-insecure", "--insecure", &secure],
        ),
        (22, "", &["-x", &proxy, &missing]),
        (22, "", &["-x", &wrong, &clear]),
        (2, "usage: fetch", &[]),
        (2, "--cacert needs a value", &["--cacert"]),
        (2, "no.pem: No such file", &["--cacert", "/no.pem", &clear]),
        (2, "not a PEM certificate", &["--cacert", &not_pem, &secure]),
        (
            5,
            "http=`socks5://u:***@p`: unsupported proxy scheme",
            &["-x", "socks5://u:secret@p", &clear],
        ),
        (5, "percent-encoded", &["-x", "http://u:sec/secret@p", &clear]),
        (5, "root certificate", &["-x", &tls, "--proxy-cacert", &not_pem, &clear]),
        (
            7,
            "connecting to the proxy failed",
            &["-x", "http://127.0.0.1:1", &clear],
        ),
        (
            7,
            "connecting to the proxy failed",
            &["-x", "http://127.0.0.1:1", &secure, "--insecure"],
        ),
        (28, "timed out", &["-x", &proxy, "--timeout", "0.3", &slow]),
        (
            28,
            "timed out",
            &["-x", &hang, "--timeout", "0.3", "--cacert", &ca, &secure],
        ),
        (56, "403", &["-x", &proxy, "--cacert", &ca, &denied]),
        (56, "407", &["-x", &wrong, "--cacert", &ca, &secure]),
        (56, "is not HTTP/1", &["-x", &garbage, "--cacert", &ca, &secure]),
        (60, "the certificate does not verify", &["-x", &tls, &clear]),
        (
            60,
            "invalid peer certificate",
            &["-x", &proxy, "--cacert", &ca, &wrong_name],
        ),
    ] {
        let output = fetch(args, &[]).await;
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(stderr(&output).contains(text), "{args:?}: {output:?}");
        assert!(
            text.is_empty() != stderr(&output).contains("fetch: "),
            "{args:?}: {output:?}"
        );
    }
    // With -v a refusal's own explanation is shown.
    let refused = fetch(&["-v", "-x", &proxy, "--cacert", &ca, &denied], &[]).await;
    assert!(stderr(&refused).contains("* the proxy said:\n"), "{refused:?}");
}
