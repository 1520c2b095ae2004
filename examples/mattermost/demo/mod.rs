//! What the document says, row by row, against servers on loopback.
//!
//! Each set-up is a unit file on disk, as the document's sample has it, and the server that it sets up. What is compared is
//! not only what that server answers, but which servers were asked.

mod lab;
mod log;

use std::{fs, net::SocketAddr};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tower_outbound_proxy::BoxError;

use self::{
    lab::{Lab, secrets},
    log::Log,
};
use crate::app::{Settings, outbound, router, unit::Unit};

/// What the document says, the URL that is posted, the status, a piece of the title or the error, and who is asked.
type Row<'r> = (&'r str, &'r str, u16, &'r str, &'r [&'r str]);

/// Prints all rows; whether each is as documented.
///
/// # Errors
///
/// A set-up that fails.
pub(crate) async fn run() -> Result<bool, BoxError> {
    let log = Log::start();
    let lab = Lab::start().await;
    let mut demo = Demo {
        lab: &lab,
        files: tempfile::tempdir()?,
        answers: String::new(),
        right: true,
    };
    let roots = |pem: &str| Some(pem.as_bytes().to_vec());
    let complete = || Settings {
        target_roots: roots(lab.public.pem()),
        proxy_roots: roots(lab.proxies.pem()),
        allow_internal: Some("login.example.com, wiki.internal.example.com".to_owned()),
        ..Settings::default()
    };

    let own = format!("http://{}/", lab.own.addr());
    demo.set_up(
        "the sample unit file, with all roots",
        &lab.unit(),
        complete(),
        &[
            (
                "HTTP_PROXY is for HTTP",
                "http://www.example.org/",
                200,
                "A page",
                &["HTTP proxy"],
            ),
            (
                "HTTPS_PROXY is for HTTPS",
                "https://www.example.org/",
                200,
                "A page",
                &["HTTPS proxy"],
            ),
            (
                "NO_PROXY: an SSO provider",
                "https://login.example.com/",
                200,
                "Sign in",
                &["login"],
            ),
            (
                "a name is its subdomains too",
                "https://eu.login.example.com/",
                200,
                "Sign in",
                &["login"],
            ),
            (
                "an intranet site",
                "http://wiki.internal.example.com/",
                200,
                "Wiki",
                &["wiki"],
            ),
            (
                "with a dot, subdomains only",
                "http://internal.example.com/",
                200,
                "A page",
                &["HTTP proxy"],
            ),
            (
                "an address with a port",
                "http://1.2.3.4:567/",
                200,
                "Port 567",
                &["1.2.3.4:567"],
            ),
            (
                "is not one with another port",
                "http://1.2.3.4/",
                200,
                "A page",
                &["HTTP proxy"],
            ),
            (
                "a redirect is decided anew",
                "http://www.example.org/to-wiki",
                200,
                "Wiki",
                &["HTTP proxy", "wiki"],
            ),
            (
                "internal addresses are refused",
                "http://database.internal.example.com/",
                403,
                "10.0.0.9",
                &[],
            ),
            (
                "after a redirect too",
                "http://www.example.org/to-database",
                403,
                "10.0.0.9",
                &["HTTP proxy"],
            ),
            ("this machine too", &own, 403, "127.0.0.1", &[]),
            (
                "but not through a proxy: a name",
                "http://printer.example.net/",
                200,
                "A page",
                &["HTTP proxy"],
            ),
            (
                "but not through a proxy: an address",
                "http://10.0.0.8/",
                200,
                "A page",
                &["HTTP proxy"],
            ),
            ("what is no URL", "www.example.org", 400, "no scheme", &[]),
        ],
    )
    .await?;

    let settings = Settings {
        allow_internal: None,
        ..complete()
    };
    demo.set_up(
        "without internal connections that are allowed",
        &lab.unit(),
        settings,
        &[
            (
                "internal addresses are refused",
                "http://wiki.internal.example.com/",
                403,
                "10.0.0.7",
                &[],
            ),
            (
                "external ones are not",
                "http://1.2.3.4:567/",
                200,
                "Port 567",
                &["1.2.3.4:567"],
            ),
        ],
    )
    .await?;

    let settings = Settings {
        proxy_roots: None,
        ..complete()
    };
    demo.set_up(
        "without the root of the proxy that is reached over TLS",
        &lab.unit(),
        settings,
        &[
            (
                "it is refused",
                "https://www.example.org/",
                502,
                "certificate does not verify",
                &[],
            ),
            (
                "the other is not",
                "http://www.example.org/",
                200,
                "A page",
                &["HTTP proxy"],
            ),
        ],
    )
    .await?;

    demo.set_up(
        "without the root of the intercepting proxy",
        &lab.unit_intercepting(),
        complete(),
        &[(
            "interception is detected",
            "https://www.example.org/",
            502,
            "UnknownIssuer",
            &["intercepting proxy"],
        )],
    )
    .await?;

    let both = [lab.public.pem(), lab.interceptor.pem()].concat();
    let settings = Settings {
        target_roots: roots(&both),
        ..complete()
    };
    demo.set_up(
        "with it",
        &lab.unit_intercepting(),
        settings,
        &[
            // The CONNECT, and the request that the proxy has read in the tunnel.
            (
                "responses are accepted",
                "https://www.example.org/",
                200,
                "A page",
                &["intercepting proxy"; 2],
            ),
            (
                "NO_PROXY is not intercepted",
                "https://login.example.com/",
                200,
                "Sign in",
                &["login"],
            ),
        ],
    )
    .await?;

    let wrong = lab.unit().replace(":password@", ":another@");
    demo.set_up(
        "with another password in the unit file",
        &wrong,
        complete(),
        &[
            (
                "the proxy asks for credentials",
                "http://www.example.org/",
                502,
                "407",
                &["HTTP proxy"],
            ),
            (
                "for a tunnel too",
                "https://www.example.org/",
                502,
                "407",
                &["HTTPS proxy"],
            ),
        ],
    )
    .await?;

    let (answers, rows) = (demo.answers, demo.right);
    let named = log.text().contains("tunnel through https://mattermost:***@127.0.0.1");
    let told = [answers.into_bytes(), log.text().into_bytes(), lab.told_to_origins()].concat();
    let told = String::from_utf8_lossy(&told);
    let leaks = secrets().iter().any(|secret| told.contains(secret)) || told.contains(":another");
    let looked_up = lab.network.resolved().contains(&"printer.example.net".to_owned());
    println!();
    let mut right = rows;
    for (fact, holds) in [
        ("the log names the proxy that was used", named),
        ("no secret is in it, in an answer, or with an origin", !leaks),
        ("names that the proxy looks up are not looked up here", !looked_up),
        ("nothing was sent to what is refused", lab.trespasses() == 0),
    ] {
        println!("{:<54}{}", fact, if holds { "right" } else { "WRONG" });
        right &= holds;
    }
    Ok(right)
}

struct Demo<'l> {
    lab: &'l Lab,
    files: TempDir,
    /// All that the servers answered.
    answers: String,
    right: bool,
}

impl Demo<'_> {
    /// Writes the unit file, starts the server that it sets up, and posts each row's URL.
    async fn set_up(&mut self, title: &str, unit: &str, settings: Settings, rows: &[Row<'_>]) -> Result<(), BoxError> {
        let file = self.files.path().join("mattermost.service");
        fs::write(&file, unit)?;
        let settings = Settings {
            environment: Some(Unit::read(&file)?.environment),
            ..settings
        };
        let network = self.lab.network.clone();
        let previews = outbound::over(&settings, network.clone(), network)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let server = listener.local_addr()?;
        let serving = tokio::spawn(axum::serve(listener, router(previews)).into_future());

        println!(
            "\n{title}\n{:<38}{:<40}{:<52}actual",
            "  the document", "URL", "expected"
        );
        for row in rows {
            self.check(server, row).await?;
        }
        serving.abort();
        Ok(())
    }

    async fn check(&mut self, server: SocketAddr, &(says, url, status, text, asked): &Row<'_>) -> Result<(), BoxError> {
        let before = self.lab.servers().map(|(_, server)| server.requests().len());
        let (answered, answer) = post(server, url).await?;
        let seen: Vec<_> = self
            .lab
            .servers()
            .into_iter()
            .zip(before)
            .flat_map(|((name, server), before)| vec![name; server.requests().len() - before])
            .collect();
        let told = answer["title"]
            .as_str()
            .or(answer["error"].as_str())
            .unwrap_or_default();
        let right = answered == status && told.contains(text) && seen == asked;
        println!(
            "  {says:<36}{url:<40}{:<52}{}{}",
            outcome(status, text, asked),
            outcome(answered, if right { text } else { told }, &seen),
            if right { "" } else { "   WRONG" }
        );
        self.answers += &answer.to_string();
        self.right &= right;
        Ok(())
    }
}

fn outcome(status: u16, text: &str, asked: &[&str]) -> String {
    let asked = match asked {
        [] => "nobody".to_owned(),
        asked => asked.join(", "),
    };
    format!("{status} {text}: {asked}")
}

async fn post(server: SocketAddr, url: &str) -> Result<(u16, Value), BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let body = json!({ "url": url }).to_string();
    let request = Request::post(format!("http://{server}/api/v4/opengraph")).body(Full::<Bytes>::from(body))?;
    let (head, body) = client.request(request).await?.into_parts();
    let answer = serde_json::from_slice(&body.collect().await?.to_bytes())?;
    Ok((head.status.as_u16(), answer))
}
