//! Checks Mattermost's "Using an Outbound Proxy", row by row, against servers on loopback.
//!
//! Each set-up is a unit file on disk, like the document's sample, and the server that it sets up. The demonstration
//! compares the server's answers, and the servers that it called.

mod lab;

use std::{fs, net::SocketAddr};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tower_outbound_proxy::{NoProxy, error::BoxError};
use tower_outbound_proxy_lab::Log;
use tracing::Level;

use self::lab::{Lab, secrets};
use mattermost::app::{Settings, outbound, router, trust, unit::Unit};

/// Prints all rows. Returns true if each is as documented.
///
/// # Errors
///
/// A set-up that fails.
pub(crate) async fn run() -> Result<bool, BoxError> {
    let log = Log::of_process(Level::TRACE);
    let lab = Lab::start().await;
    let mut demo = Demo {
        lab: &lab,
        files: tempfile::tempdir()?,
        answers: String::new(),
        right: true,
    };
    let trusting = |roots: &str| trust(roots.as_bytes()).map(Some);
    let (target_tls, proxy_tls) = (trusting(lab.site.public.pem())?, trusting(lab.proxies.pem())?);
    let allowed: NoProxy = "wiki.internal.example.com".parse()?;
    let complete = || Settings {
        target_tls: target_tls.clone(),
        proxy_tls: proxy_tls.clone(),
        allow_internal: Some(allowed.clone()),
        ..Settings::default()
    };

    let own = lab.own.addr();
    let rows = format!(
        "HTTP_PROXY is for HTTP              | http://www.example.org/               | 200 A page   | HTTP proxy
         HTTPS_PROXY is for HTTPS            | https://www.example.org/              | 200 A page   | HTTPS proxy
         NO_PROXY: an SSO provider           | https://login.example.com/            | 200 Sign in  | login
         a name is its subdomains too        | https://eu.login.example.com/         | 200 Sign in  | login
         an intranet site                    | http://wiki.internal.example.com/     | 200 Wiki     | wiki
         with a dot, subdomains only         | http://internal.example.com/          | 200 A page   | HTTP proxy
         an address with a port              | http://1.2.3.4:567/                   | 200 Port 567 | 1.2.3.4:567
         is not one with another port        | http://1.2.3.4/                       | 200 A page   | HTTP proxy
         a redirect is decided anew          | http://www.example.org/to-wiki        | 200 Wiki     | HTTP proxy, wiki
         internal addresses are refused      | http://database.internal.example.com/ | 403 its address | nobody
         after a redirect too                | http://www.example.org/to-database    | 403 its address | HTTP proxy
         this machine too                    | http://{own}/                         | 403 its address | nobody
         but not through a proxy: a name     | http://printer.example.net/           | 200 A page   | HTTP proxy
         but not through a proxy: an address | http://10.0.0.8/                      | 200 A page   | HTTP proxy
         what is no URL                      | www.example.org                       | 400 no scheme| nobody"
    );
    demo.set_up("the sample unit file, with all roots", &lab.unit(), complete(), &rows)
        .await?;

    let title = "without internal connections that are allowed";
    let settings = Settings {
        allow_internal: None,
        ..complete()
    };
    let rows = "
        internal addresses are refused       | http://wiki.internal.example.com/     | 403 its address | nobody
        external ones are not                | http://1.2.3.4:567/                   | 200 Port 567 | 1.2.3.4:567";
    demo.set_up(title, &lab.unit(), settings, rows).await?;

    let title = "without the root of the proxy that is reached over TLS";
    let settings = Settings {
        proxy_tls: None,
        ..complete()
    };
    let rows = "
        the proxy is refused                 | https://www.example.org/              | 502 the proxy's certificate | nobody
        the other is not                     | http://www.example.org/               | 200 A page   | HTTP proxy";
    demo.set_up(title, &lab.unit(), settings, rows).await?;

    let title = "without the root of the proxy that intercepts";
    let rows = "
        interception is detected             | https://www.example.org/              | 502 the target's certificate | interceptor";
    demo.set_up(title, &lab.unit_intercepting(), complete(), rows).await?;

    let title = "with it";
    let both = [lab.site.public.pem(), lab.interceptor.pem()].concat();
    let settings = Settings {
        target_tls: trusting(&both)?,
        ..complete()
    };
    // The proxy is asked twice: by the CONNECT, and by the request that it has read in the tunnel.
    let rows = "
        responses are accepted               | https://www.example.org/              | 200 A page   | interceptor, interceptor
        NO_PROXY is not intercepted          | https://login.example.com/            | 200 Sign in  | login";
    demo.set_up(title, &lab.unit_intercepting(), settings, rows).await?;

    let title = "with another password in the unit file";
    let unit = lab.unit().replace(":password@", ":another@");
    let rows = "
        the proxy asks for credentials       | http://www.example.org/               | 502 407      | HTTP proxy
        for a tunnel too                     | https://www.example.org/              | 502 407      | HTTPS proxy";
    demo.set_up(title, &unit, complete(), rows).await?;

    let (answers, rows) = (demo.answers, demo.right);
    let named = log.text().contains("tunnel through https://mattermost:***@127.0.0.1");
    let told_to_the_operator = ["10.0.0.7", "10.0.0.9"].iter().all(|address| {
        let refused = format!("the address {address} is denied");
        log.text().contains(&refused) && !answers.contains(address)
    });
    let told = [answers, log.text(), lab.site.received()].concat();
    let leaks = secrets().iter().any(|secret| told.contains(*secret)) || told.contains(":another");
    let looked_up = lab.site.network.resolved().contains(&"printer.example.net".to_owned());
    println!();
    let mut right = rows;
    for (fact, holds) in [
        ("the log names the proxy that was used", named),
        (
            "the log names addresses that are refused, no answer does",
            told_to_the_operator,
        ),
        ("no secret is in it, in an answer, or with an origin", !leaks),
        ("names that the proxy looks up are not looked up here", !looked_up),
        ("nothing was sent to what is refused", lab.trespasses() == 0),
    ] {
        println!("{:<60}{}", fact, if holds { "right" } else { "WRONG" });
        right &= holds;
    }
    Ok(right)
}

struct Demo<'l> {
    lab: &'l Lab,
    files: TempDir,
    /// All answers of the servers.
    answers: String,
    right: bool,
}

impl Demo<'_> {
    /// Writes the unit file, starts the server that it sets up, and posts each row's URL.
    async fn set_up(&mut self, title: &str, unit: &str, settings: Settings, rows: &str) -> Result<(), BoxError> {
        let file = self.files.path().join("mattermost.service");
        fs::write(&file, unit)?;
        let settings = Settings {
            environment: Some(Unit::read(&file)?.environment),
            ..settings
        };
        let network = self.lab.site.network.clone();
        let previews = outbound::over(&settings, network.clone(), network)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let server = listener.local_addr()?;
        let serving = tokio::spawn(axum::serve(listener, router(previews)).into_future());

        println!(
            "\n{title}\n{:<39}{:<40}{:<45}actual",
            "  the document", "URL", "expected"
        );
        for row in rows.trim().lines() {
            self.check(server, row).await?;
        }
        serving.abort();
        Ok(())
    }

    /// Checks a row: the document's statement, the posted URL, the status with a part of the title or error, and the
    /// servers that are asked.
    async fn check(&mut self, server: SocketAddr, row: &str) -> Result<(), BoxError> {
        let columns: Vec<_> = row.split('|').map(str::trim).collect();
        let &[says, url, expected, asked] = &columns[..] else {
            return Err(format!("a row has four columns: {row}").into());
        };
        let before = self.lab.servers().map(|(_, server)| server.requests().len());
        let (status, answer) = post(server, url).await?;
        let servers = self.lab.servers().into_iter().zip(before);
        let seen: Vec<_> = servers
            .flat_map(|((name, server), before)| vec![name; server.requests().len() - before])
            .collect();
        let seen = if seen.is_empty() {
            "nobody".to_owned()
        } else {
            seen.join(", ")
        };
        let told = answer["title"].as_str().or(answer["error"].as_str());
        let told = format!("{status} {}", told.unwrap_or("without a title"));

        // A title is compared as a whole, an error by a part.
        let (code, piece) = expected.split_once(' ').unwrap_or((expected, ""));
        let fits = told == expected || (status >= 400 && told.starts_with(code) && told.contains(piece));
        let actual = if fits { expected } else { told.as_str() };
        let right = fits && seen == asked;
        let (expected, actual) = (format!("{expected}: {asked}"), format!("{actual}: {seen}"));
        let mark = if right { "" } else { "   WRONG" };
        println!("  {says:<37}{url:<40}{expected:<45}{actual}{mark}");
        self.answers += &answer.to_string();
        self.right &= right;
        Ok(())
    }
}

async fn post(server: SocketAddr, url: &str) -> Result<(u16, Value), BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let body = json!({ "url": url }).to_string();
    let request = Request::post(format!("http://{server}/api/v4/opengraph")).body(Full::<Bytes>::from(body))?;
    let (head, body) = client.request(request).await?.into_parts();
    let answer = serde_json::from_slice(&body.collect().await?.to_bytes())?;
    Ok((head.status.as_u16(), answer))
}
