//! The built program: its command line, its table, its exit codes.

use tower_outbound_proxy_lab::{Ca, Files, ForwardProxy, Listening, Origin};

use crate::{
    app::connections::Connection,
    redis::Redis,
    run::{Done, SWITCH, palpo},
};

/// The servers around the program. The proxies resolve names with `.test`; the program itself knows none.
struct Lab {
    files: Files,
    origins: Ca,
    proxies: Ca,
    http: Origin,
    https: Origin,
    own: Origin,
    redis: Redis,
    plain: ForwardProxy,
    tls: ForwardProxy,
}

impl Lab {
    async fn start() -> Self {
        let (origins, proxies) = (Ca::new(), Ca::new());
        let proxy = || {
            ForwardProxy::builder()
                .basic("USERNAME", "PASSWORD")
                .deny("denied.test")
        };
        let tls = proxies.issue(&["127.0.0.1"]).server_config(&["http/1.1"]);
        Self {
            files: Files::new(),
            http: Origin::builder().host("origin.test").start().await,
            https: Origin::https(&origins, &["origin.test"], &["http/1.1"]).await,
            own: Origin::http().await,
            redis: Redis::start().await.unwrap(),
            plain: proxy().start().await,
            tls: proxy().tls(tls).host("127.0.0.1").start().await,
            origins,
            proxies,
        }
    }

    /// Writes a settings file with this proxy for HTTP and this one for HTTPS.
    fn config(&self, http: &ForwardProxy, https: &ForwardProxy, more: &str) -> String {
        let [http, https] = [http, https].map(|proxy| proxy.url_with("USERNAME:PASSWORD@"));
        let yaml = format!("http_proxy: {http}\nhttps_proxy: {https}\n{more}");
        self.files.write("palpo.yaml", &yaml)
    }

    fn ca(&self) -> String {
        self.files.write("ca.pem", self.origins.pem())
    }

    fn proxy_ca(&self) -> String {
        self.files.write("proxy-ca.pem", self.proxies.pem())
    }

    /// Returns `TYPE=URL` for a target that the proxies know.
    fn target(&self, connection: Connection, origin: &Origin) -> String {
        format!("{}={}", connection.name(), origin.url("/"))
    }

    /// Returns `TYPE=URL` for a target on this machine.
    fn own(&self, connection: Connection) -> String {
        match connection {
            Connection::Redis => format!("redis=redis://{}", self.redis.addr()),
            _ => self.target(connection, &self.own),
        }
    }
}

fn forwarded(server: &Listening) -> Vec<String> {
    server.requests().into_iter().map(|request| request.target).collect()
}

#[tokio::test]
async fn the_demonstration_shows_every_row_right() {
    // The environment has no part in it.
    let done = palpo(&["--demo"], &[("HTTP_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "*")]).await;
    done.assert_right();
    assert!(done.stdout.lines().count() > 80, "{}", done.stdout);
    for connection in Connection::ALL {
        let row = done.row(connection);
        assert_eq!(row[2], row[3], "{row:?}");
    }
}

#[tokio::test]
async fn every_kind_of_connection_goes_its_way() {
    let lab = Lab::start().await;
    let (config, ca) = (lab.config(&lab.plain, &lab.plain, ""), lab.ca());
    let mut args = vec!["--config".to_owned(), config, "--ca".to_owned(), ca];
    let own = [Connection::ApplicationService, Connection::Worker, Connection::Redis];
    let called: Vec<_> = Connection::ALL
        .into_iter()
        // It is guarded, and there is nothing outside that could be called.
        .filter(|connection| *connection != Connection::IdentityServer)
        .collect();
    for connection in &called {
        let target = match own.contains(connection) {
            true => lab.own(*connection),
            false => lab.target(*connection, &lab.https),
        };
        args.extend(["--target".to_owned(), target]);
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let done = palpo(&args, &[]).await;
    done.assert_right();

    let tunnel = format!("tunnel through http://USERNAME:***@{}", lab.plain.addr());
    for connection in called {
        let row = done.row(connection);
        let status = if connection == Connection::Redis {
            "+PONG"
        } else {
            "200 OK"
        };
        match own.contains(&connection) {
            true => assert_eq!(row[2..5], ["direct", "direct", status], "{row:?}"),
            false => assert_eq!(row[2..5], ["proxy", &tunnel, status], "{row:?}"),
        }
    }
    let connects = forwarded(&lab.plain);
    assert!(
        connects.iter().all(|target| *target == lab.https.authority()),
        "{connects:?}"
    );
    assert_eq!((lab.https.requests().len(), lab.own.requests().len()), (10, 2));
    assert_eq!(lab.redis.commands(), ["PING"]);
    assert_eq!(lab.tls.connections_opened(), 0);
}

#[tokio::test]
async fn the_environment_sets_it_up_and_the_file_holds_over_it() {
    let lab = Lab::start().await;
    let plain = lab.plain.url_with("USERNAME:PASSWORD@");
    let target = lab.target(Connection::UrlPreview, &lab.http);
    let row = |done: &Done| done.row(Connection::UrlPreview).join("  ");

    let of_env = palpo(&["--target", &target], &[("http_proxy", &plain)]).await;
    of_env.assert_right();
    assert!(
        row(&of_env).ends_with("http_proxy is set, and nothing exempts the target"),
        "{}",
        row(&of_env)
    );

    let config = lab.config(&lab.plain, &lab.plain, "");
    let args = ["--config", &config, "--target", &target];
    let of_file = palpo(&args, &[("HTTP_PROXY", "http://127.0.0.1:1")]).await;
    of_file.assert_right();
    assert!(
        row(&of_file).contains("http_proxy in the settings file is set"),
        "{}",
        row(&of_file)
    );

    let dead = lab.files.write("dead.toml", "http_proxy = 'http://127.0.0.1:1'\n");
    let args = ["--config", &dead, "--env-over-file", "--target", &target];
    palpo(&args, &[("HTTP_PROXY", &plain)]).await.assert_right();
    assert_eq!(
        forwarded(&lab.plain),
        [lab.http.url("/"), lab.http.url("/"), lab.http.url("/")]
    );
}

#[tokio::test]
async fn a_proxy_whose_certificate_does_not_verify_is_told_with_what_to_do() {
    let lab = Lab::start().await;
    let (config, ca, wrong) = (
        lab.config(&lab.tls, &lab.tls, ""),
        lab.ca(),
        lab.files.write("wrong.pem", Ca::new().pem()),
    );
    let (clear, secure) = (
        lab.target(Connection::Statistics, &lab.http),
        lab.target(Connection::Push, &lab.https),
    );
    let args = [
        "--config", &config, "--ca", &ca, "--target", &clear, "--target", &secure,
    ];
    let proxy = format!(
        "the proxy https://USERNAME:***@{} shows does not verify",
        lab.tls.addr()
    );
    let said = [
        "palpo: statistics: ",
        "palpo: push: ",
        &proxy,
        "--proxy-ca FILE",
        SWITCH.trim_end(),
    ];
    let with = |more: &[&'static str]| [&args[..], more].concat();
    palpo(&args, &[]).await.assert_failed(60, &said);
    let args_wrong = [&args[..], &["--proxy-ca", &wrong]].concat();
    palpo(&args_wrong, &[]).await.assert_failed(60, &said);
    assert!(lab.tls.requests().is_empty());

    let proxy_ca = lab.proxy_ca();
    let args_right = [&args[..], &["--proxy-ca", &proxy_ca]].concat();
    palpo(&args_right, &[]).await.assert_right();

    // The same file, and the switch in it.
    lab.config(&lab.tls, &lab.tls, SWITCH);
    let done = palpo(&with(&[]), &[]).await;
    done.assert_failed(0, &["palpo: warning: the proxy's certificate is NOT verified"]);
    assert!(!done.stdout.contains("WRONG"), "{}", done.stdout);
    assert_eq!(lab.tls.requests().len(), 4);
}

#[tokio::test]
async fn a_target_whose_certificate_does_not_verify_is_another_matter() {
    let lab = Lab::start().await;
    let config = lab.config(&lab.plain, &lab.plain, "");
    let target = lab.target(Connection::Push, &lab.https);
    let done = palpo(&["--config", &config, "--target", &target], &[]).await;
    done.assert_failed(
        60,
        &["palpo: push: ", "--ca FILE", "Is a proxy on the way intercepting?"],
    );
    assert!(!done.stderr.contains("--proxy-ca"), "{}", done.stderr);
    assert!(lab.https.requests().is_empty());
}

#[tokio::test]
async fn a_password_in_a_targets_url_is_not_shown() {
    let lab = Lab::start().await;
    let (http, redis) = (
        format!("worker=http://user:PASSWORD@{}/", lab.own.addr()),
        format!("redis=redis://:PASSWORD@{}", lab.redis.addr()),
    );
    let done = palpo(&["--target", &http, "--target", &redis], &[]).await;
    done.assert_right();
    assert_eq!(done.row(Connection::Redis)[1], format!("redis://{}", lab.redis.addr()));
}

#[tokio::test]
async fn what_is_not_as_documented_is_wrong() {
    let lab = Lab::start().await;
    let ca = lab.ca();
    let config = lab.config(&lab.plain, &lab.plain, "");
    let wrong = lab.files.write(
        "wrong.yaml",
        &format!(
            "http_proxy: http://USERNAME:another@{0}\nhttps_proxy: http://{0}\n",
            lab.plain.addr()
        ),
    );
    let denied = "push=https://denied.test/";
    let nowhere = format!("url-preview=http://nowhere.test:{}/", free_port());
    let (http, https) = (
        lab.target(Connection::Push, &lab.http),
        lab.target(Connection::Push, &lab.https),
    );
    let own = lab.own(Connection::UrlPreview);
    let slow = format!("push={}", lab.http.url("/slow/60000"));
    let not_redis = format!("redis=redis://{}", lab.own.addr());
    let no_redis = format!("redis=redis://127.0.0.1:{}", free_port());
    for (config, target, status, said) in [
        // It asks for other credentials, does not serve the host, or cannot reach it.
        (
            &wrong,
            &*http,
            "failed",
            "the request was refused: 407 Proxy Authentication Required; the proxy asks for Basic",
        ),
        (
            &wrong,
            &https,
            "failed",
            "the tunnel was refused: 407 Proxy Authentication Required; the proxy asks for Basic",
        ),
        (
            &config,
            denied,
            "failed",
            "palpo: push: no connection: proxy http://USERNAME:***@127.0.0.1",
        ),
        (&config, &nowhere, "502 Bad Gateway", ""),
        // The own machine is named by a stranger.
        (
            &config,
            &own,
            "failed",
            "the address 127.0.0.1 is denied for direct connections",
        ),
        (&config, &slow, "failed", "palpo: push: no answer within 1s"),
        (&config, &not_redis, "failed", "palpo: redis: the answer is not Redis'"),
        (&config, &no_redis, "failed", "palpo: redis: 127.0.0.1"),
    ] {
        let args = ["--config", config, "--ca", &ca, "--timeout", "1", "--target", target];
        let done = palpo(&args, &[]).await;
        done.assert_failed(1, &[said]);
        assert!(
            done.stdout.contains(status) && done.stdout.contains("WRONG"),
            "{target}: {}",
            done.stdout
        );
        assert!(!done.stderr.contains("another"), "{}", done.stderr);
    }
    // One that is wrong is not made up for by one that is right.
    let worker = lab.own(Connection::Worker);
    let done = palpo(&["--config", &config, "--target", &own, "--target", &worker], &[]).await;
    done.assert_failed(1, &[]);
    assert_eq!(done.row(Connection::Worker)[3], "direct");
    assert_eq!(done.stdout.matches("WRONG").count(), 1);
}

/// Returns a port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn what_cannot_be_used_ends_the_program() {
    let files = Files::new();
    let push = "push=https://origin.test/";
    let not_pem = files.write("not.pem", "nothing");
    let socks = files.write("a.yaml", "https_proxy: socks5://USERNAME:PASSWORD@p\n");
    let unknown = files.write("b.toml", "http_porxy = 'http://USERNAME:PASSWORD@p'\n");
    let syntax = files.write("c.toml", "\nhttp_proxy = http://USERNAME:PASSWORD@p\n");
    let yaml = files.write("d.yaml", "http_proxy: {http://USERNAME:PASSWORD@p\n");
    let json = files.write("e.json", "{}");
    for (code, said, args) in [
        (2, "usage: palpo", &[][..]),
        (2, "--target needs a value", &["--target"]),
        (2, "--target needs a value TYPE=URL", &["--target", "push"]),
        (
            2,
            "there is no such type; the types are push, url-preview, ",
            &["--target", "x=http://a"],
        ),
        (2, "--target push: ", &["--target", "push=http://USERNAME:PASSWORD@["]),
        (2, "its scheme has to be https or http", &["--target", "push=redis://a"]),
        (2, "its scheme has to be redis", &["--target", "redis=http://a"]),
        (2, "unknown option --what", &["--what"]),
        (2, "unknown option --demo", &["--target", push, "--demo"]),
        (2, "invalid float literal", &["--timeout", "soon", "--target", push]),
        (
            2,
            "--ca: /nowhere: No such file",
            &["--ca", "/nowhere", "--target", push],
        ),
        (
            5,
            "--proxy-ca: the root certificate is not",
            &["--proxy-ca", &not_pem, "--target", push],
        ),
        (
            5,
            "/nowhere.toml: No such file",
            &["--config", "/nowhere.toml", "--target", push],
        ),
        (
            5,
            "e.json: the name has to end in",
            &["--config", &json, "--target", push],
        ),
        (
            5,
            "https_proxy=`socks5://USERNAME:***@p` in the settings file",
            &["--config", &socks, "--target", push],
        ),
        (
            5,
            "http_porxy in the settings file: unknown key",
            &["--config", &unknown, "--target", push],
        ),
        (5, "c.toml:2: it is not TOML", &["--config", &syntax, "--target", push]),
        (5, "d.yaml:", &["--config", &yaml, "--target", push]),
    ] {
        let done = palpo(args, &[]).await;
        done.assert_failed(code, &["palpo: ", said]);
        assert_eq!(done.stdout, "", "{args:?}");
    }
    let variables = [("Https_Proxy", "socks5://USERNAME:PASSWORD@p")];
    let done = palpo(&["--target", push], &variables).await;
    done.assert_failed(
        5,
        &["palpo: Https_Proxy=`socks5://USERNAME:***@p`: unsupported proxy scheme"],
    );
}
