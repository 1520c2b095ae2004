//! Promise: `fetch` behaves as its documentation says, including exit codes.

#![allow(unreachable_pub, clippy::unwrap_used)] // clippy sees tests only in functions marked so

mod common;

use std::process::Output;

use tower_outbound_proxy_lab::{Ca, Fault, Files, ForwardProxy, Http2Proxy, Listening, Origin, ScriptedProxy};

use common::{program, stderr, stdout};

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

/// There is no KDC here, and nobody is logged in.
#[tokio::test(flavor = "multi_thread")]
async fn proxy_negotiate_says_what_it_needs() {
    let lab = Lab::new().await;
    let proxy = lab.proxy.url();
    let tickets = format!("FILE:{}", lab.files.write("tickets", ""));
    let vars = [
        ("KRB5CCNAME", tickets.as_str()),
        ("KRB5_CONFIG", "/dev/null"),
        ("KRB5_CLIENT_KTNAME", "/dev/null"),
    ];
    let output = fetch(&["--proxy-negotiate", "-x", &proxy, &lab.url("/")], &vars).await;
    let (code, expected) = match cfg!(all(unix, feature = "negotiate")) {
        true => (
            7,
            "no Kerberos token for the proxy's service HTTP/127.0.0.1, since nobody is logged in: run `kinit`",
        ),
        false => (2, "build it on Unix with `--features negotiate`"),
    };
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(stderr(&output).contains(expected), "{output:?}");
    assert!(lab.proxy.requests().is_empty());
}
