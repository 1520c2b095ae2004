//! The built program: its command line, its exit codes, its log.

use std::{
    net::SocketAddr,
    process::{Output, Stdio},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};
use tower_outbound_proxy_lab::{Ca, Files, ForwardProxy, Origin, within};

use crate::{
    SAMPLE,
    lab::{assert_no_password, post},
    site::page,
};

const USER: &str = "mattermost:password@";

fn program(args: &[&str]) -> Command {
    let mut command = Command::from(tower_outbound_proxy_lab::program(env!("CARGO_BIN_EXE_mattermost")));
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(command: &mut Command) -> Output {
    within(command.output()).await.unwrap()
}

/// The program as a server.
pub struct Server {
    child: Child,
    pub addr: SocketAddr,
}

impl Server {
    /// Starts the program on a free port.
    pub async fn start(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = program(&[&["--listen", "127.0.0.1:0"], args].concat());
        let mut child = command.envs(variables.iter().copied()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        within(stdout.read_line(&mut line)).await.unwrap();
        let Some(addr) = line.trim().strip_prefix("listening on http://") else {
            panic!("{line}{}", log(child).await);
        };
        Self {
            addr: addr.parse().unwrap(),
            child,
        }
    }

    /// Returns the preview of a URL. Fails the test if there is none.
    pub async fn preview(&self, url: &str) -> Value {
        let (status, answer) = post(self.addr, url.to_owned()).await;
        assert_eq!(status, 200, "{url}: {answer}");
        answer
    }

    /// Returns the error of a failed preview, with this status.
    pub async fn failure(&self, url: &str, expected: u16) -> String {
        let (status, answer) = post(self.addr, url.to_owned()).await;
        assert_eq!(status, expected, "{url}: {answer}");
        answer["error"].as_str().unwrap().to_owned()
    }

    /// Ends the program and returns its log, which contains no password.
    pub async fn log(self) -> String {
        log(self.child).await
    }
}

async fn log(mut child: Child) -> String {
    within(child.kill()).await.unwrap();
    let mut log = String::new();
    within(child.stderr.take().unwrap().read_to_string(&mut log))
        .await
        .unwrap();
    assert_no_password(&log);
    log
}

/// Writes the sample unit file of Mattermost's "Using an Outbound Proxy" with these proxies.
pub fn unit(files: &Files, http: &str, https: &str) -> String {
    let sample = SAMPLE.replace("http://mattermost:password@127.0.0.1:3128", http);
    files.write(
        "x.service",
        &sample.replace("https://mattermost:password@127.0.0.1:3128", https),
    )
}

/// The servers around the program. The proxies resolve their names.
struct Lab {
    files: Files,
    origins: Ca,
    proxies: Ca,
    http: Origin,
    https: Origin,
    http_proxy: ForwardProxy,
    https_proxy: ForwardProxy,
}

impl Lab {
    async fn start() -> Self {
        let (origins, proxies) = (Ca::new(), Ca::new());
        let proxy = || ForwardProxy::builder().basic("mattermost", "password");
        let certified = |ca: &Ca, name| ca.issue(&[name]).server_config(&["http/1.1"]);
        Self {
            files: Files::new(),
            http: page("A page").host("origin.test").start().await,
            https: page("A page")
                .tls(certified(&origins, "origin.test"))
                .host("origin.test")
                .start()
                .await,
            http_proxy: proxy().start().await,
            https_proxy: proxy()
                .tls(certified(&proxies, "127.0.0.1"))
                .host("127.0.0.1")
                .start()
                .await,
            origins,
            proxies,
        }
    }

    fn unit(&self) -> String {
        unit(
            &self.files,
            &self.http_proxy.url_with(USER),
            &self.https_proxy.url_with(USER),
        )
    }

    fn ca(&self) -> String {
        self.files.write("ca.pem", self.origins.pem())
    }

    fn proxy_ca(&self) -> String {
        self.files.write("proxy-ca.pem", self.proxies.pem())
    }
}

#[tokio::test]
async fn a_unit_file_sets_the_program_up() {
    let lab = Lab::start().await;
    let (unit, ca, proxy_ca) = (lab.unit(), lab.ca(), lab.proxy_ca());
    let args = ["--unit", &unit, "--ca", &ca, "--proxy-ca", &proxy_ca];
    // Not those of the process.
    let server = Server::start(&args, &[("HTTP_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "*")]).await;

    for (origin, route) in [(&lab.http, "forward"), (&lab.https, "tunnel")] {
        let preview = server.preview(&origin.url("/")).await;
        assert_eq!(
            (&preview["title"], &preview["route"]),
            (&"A page".into(), &route.into())
        );
    }
    assert_eq!(lab.http_proxy.requests()[0].target, lab.http.url("/"));
    assert_eq!(lab.https_proxy.requests()[0].target, lab.https.authority());
    let here = format!("http://127.0.0.1:{}/", lab.http.port());
    server.failure(&here, 403).await;
    assert_eq!(lab.http.requests().len(), 1);

    let log = server.log().await;
    for line in [
        format!(
            "INFO {}: tunnel through https://mattermost:***@{}: HTTPS_PROXY is set, and nothing exempts the target\n",
            lab.https.url(""),
            lab.https_proxy.addr()
        ),
        format!("INFO {}: 200\n", lab.https.url("")),
        format!("INFO http://{}: direct: the target is this machine", lab.http.addr()),
        format!("WARN http://{}: 403: no connection: ", lab.http.addr()),
        "127.0.0.0/8 is loopback".to_owned(),
    ] {
        assert!(log.contains(&line), "{line} in:\n{log}");
    }
}

#[tokio::test]
async fn without_a_unit_file_the_environment_does() {
    let lab = Lab::start().await;
    let url = lab.http_proxy.url_with(USER);
    let server = Server::start(&[], &[("http_proxy", &url)]).await;
    assert_eq!(server.preview(&lab.http.url("/")).await["route"], "forward");
}

#[tokio::test]
async fn what_is_allowed_is_fetched_from_this_machine() {
    let lab = Lab::start().await;
    let server = Server::start(&["--allow-internal", "localhost,127.0.0.1:1"], &[]).await;
    let (name, address) = (
        format!("http://localhost:{}/", lab.http.port()),
        format!("http://127.0.0.1:{}/", lab.http.port()),
    );
    assert_eq!(server.preview(&name).await["title"], "A page");
    server.failure(&address, 403).await;
}

#[tokio::test]
async fn a_wrong_root_is_refused_and_the_right_option_named() {
    let lab = Lab::start().await;
    let (unit, ca, proxy_ca) = (lab.unit(), lab.ca(), lab.proxy_ca());
    for (ca, proxy_ca, advice) in [(&proxy_ca, &proxy_ca, "with --ca)"), (&ca, &ca, "with --proxy-ca)")] {
        let server = Server::start(&["--unit", &unit, "--ca", ca, "--proxy-ca", proxy_ca], &[]).await;
        let error = server.failure(&lab.https.url("/"), 502).await;
        assert!(error.contains("certificate does not verify"), "{error}");
        let log = server.log().await;
        assert!(
            log.contains("invalid peer certificate") && log.contains(advice),
            "{log}"
        );
    }
    assert!(lab.https.requests().is_empty());
}

#[tokio::test]
async fn the_log_tells_what_of_the_settings_is_not_used() {
    let files = Files::new();
    let unit = files.write(
        "x.service",
        "[Service]\nEnvironmentFile=/etc/default/mattermost\nEnvironment=NO_PROXY=a.test,:1\n",
    );
    let log = Server::start(&["--unit", &unit], &[]).await.log().await;
    for line in [
        format!("WARN {unit}:2: `EnvironmentFile=` is not supported here: ignored"),
        "WARN NO_PROXY: entry 2 `:1` matches nothing: there is no host before the port".to_owned(),
    ] {
        assert!(log.contains(&line), "{line} in:\n{log}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_ends_the_program() {
    let files = Files::new();
    let unit = |value: &str| files.write("x.service", &format!("[Service]\nEnvironment={value}\n"));
    let not_pem = files.write("not.pem", "nothing");
    let percent = unit("HTTP_PROXY=http://u:password%Z@p");
    for (code, text, args) in [
        (5, "/nowhere: No such file", &["--unit", "/nowhere"][..]),
        (
            5,
            "x.service:2: Environment=: assignment 1: HTTP_PROXY: systemd takes `%`",
            &["--unit", &percent],
        ),
        (2, "--unit needs a value", &["--unit"]),
        (2, "unknown option --what", &["--what"]),
        (2, "/nowhere: No such file", &["--ca", "/nowhere"]),
        (
            5,
            "--ca: the root certificate is not a PEM certificate",
            &["--ca", &not_pem],
        ),
        (
            5,
            "--proxy-ca: the root certificate is not a PEM certificate",
            &["--proxy-ca", &not_pem],
        ),
        (
            5,
            "--allow-internal: entry 2 `1.2.3.4/33`",
            &["--allow-internal", "a.test,1.2.3.4/33"],
        ),
        (2, "--timeout: invalid float literal", &["--timeout", "soon"]),
        (2, "nowhere.test", &["--listen", "nowhere.test"]),
    ] {
        let output = run(&mut program(args)).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(text), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
        assert_no_password(&stderr);
    }
    let socks = unit("HTTPS_PROXY=socks5://u:password@p");
    let output = run(&mut program(&["--unit", &socks])).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(
        stderr.starts_with("mattermost: HTTPS_PROXY=`socks5://u:***@p`: unsupported"),
        "{stderr}"
    );
}

#[tokio::test]
async fn the_demonstration_shows_every_row_right() {
    let mut command = program(&["--demo"]);
    // The environment has no part in it.
    let output = run(command.env("HTTP_PROXY", "http://127.0.0.1:1").env("NO_PROXY", "*")).await;
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}{output:?}");
    assert!(!stdout.contains("WRONG"), "{stdout}");
    assert!(stdout.lines().count() > 30, "{stdout}");
    assert_no_password(&stdout.replace("another password in the unit file", ""));
    assert!(output.stderr.is_empty(), "{output:?}");
}
