//! Observes clients behind a proxy: this crate, hyper-util's `Matcher` and `Tunnel`, hyper-http-proxy and reqwest, against
//! the proxy and the origins of this crate's tests.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin behaviour -- [--report DIR]
//! ```
//!
//! Each client is set up by the environment variables that an operator would set, in a process of its own. Each cell is
//! an observation; only "no such setting" is knowledge of a client's interface. Takes 40 seconds, because one row waits
//! for a default time-out. `--report benches` writes the table of `benches/README.md`.

mod clients;
mod stream;

use std::{env, error::Error, io::Write, net::SocketAddr, process::Stdio, time::Duration};

use futures_util::future::{LocalBoxFuture, join_all};
use tempfile::NamedTempFile;
use tokio::process::Command;
use tower_outbound_proxy_lab::{Ca, DigestAuth, Fault, ForwardProxy, ForwardProxyBuilder, Origin, Script, Step};
use tower_outbound_proxy_peers::{Page, Table};

use crate::clients::{Peer, ROOTS, TUNNEL};

/// The limit for a client where time is not the question.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time for which a client is observed whose proxy does not answer.
const LONG: Duration = Duration::from_secs(35);

/// The credentials that only the proxy should see: as written, decoded, and in Base64.
const USERINFO: &str = "user:hunt%40er2@";
const PASSWORD: &str = "hunt@er2";
const SECRETS: [&str; 3] = ["hunt%40er2", "hunt@er2", "dXNlcjpodW50QGVyMg"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // All clients use the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<_> = env::args().skip(1).collect();
    let directory = match &arguments[..] {
        [] => None,
        [option, directory] if option == "--report" => Some(directory.into()),
        [peer, url] => {
            let peer = Peer::ALL.into_iter().find(|known| format!("{known:?}") == *peer);
            peer.ok_or("an unknown client")?.run(url).await;
            return Ok(());
        }
        _ => return Err("usage: behaviour [--report DIR]".into()),
    };
    let mut page = Page::new(directory)?;
    let lab = Lab::new()?;
    let rows: Vec<LocalBoxFuture<'_, Row>> = vec![
        row("a 2xx other than 200 opens the tunnel", |p| {
            lab.tunnel(p, [Step::send("HTTP/1.1 204 No Content\r\n\r\n"), Step::Tunnel].into())
        }),
        row("an HTTP/1.0 200 opens the tunnel", |p| {
            lab.tunnel(p, [Step::send("HTTP/1.0 200 OK\r\n\r\n"), Step::Tunnel].into())
        }),
        row("interim responses (1xx) are skipped", |p| {
            lab.tunnel(p, Fault::Informational.into())
        }),
        row("a response head of 16 KiB opens the tunnel", |p| {
            lab.tunnel(p, long_head())
        }),
        row("bytes right behind the response head are kept", |p| lab.early_bytes(p)),
        row("a refusal's status reaches the caller", |p| lab.refusal(p, "403")),
        row("a refusal's header fields reach the caller", |p| {
            lab.refusal(p, "x-lab-error")
        }),
        row("a refusal's body reaches the caller", |p| {
            lab.refusal(p, "the lab answers")
        }),
        row("a 407's realm reaches the caller", |p| lab.realm(p)),
        row("a percent-encoded password is decoded", |p| lab.password(p)),
        row("a tunnel through a proxy that asks for Digest opens", |p| lab.digest(p)),
        row("a proxy that never answers CONNECT times out, unasked", |p| lab.hang(p)),
        row("`https://[2001:db8::1]/` works through a tunnel", |p| lab.ipv6(p)),
        row("CONNECT for an `http` target names port 80", |p| lab.port_80(p)),
        row("`host:port` in NO_PROXY exempts that port", |p| {
            lab.no_proxy(p, "origin.test:PORT", "origin.test")
        }),
        row("blanks separate the entries of NO_PROXY", |p| {
            lab.no_proxy(p, "a.test origin.test", "origin.test")
        }),
        row("`*` in NO_PROXY exempts IP addresses too", |p| {
            lab.no_proxy(p, "*", "192.0.2.1")
        }),
        row("`localhost` is reached directly, unasked", |p| {
            lab.no_proxy(p, "", "localhost")
        }),
        row("a malformed proxy address is an error", |p| {
            lab.bad_proxy(p, "http://[::1:3128")
        }),
        row("a proxy scheme that nobody speaks is an error", |p| {
            lab.bad_proxy(p, "gopher://127.0.0.1:1")
        }),
        row("an origin reached directly does not see the password", |p| {
            lab.leak(p, Way::Direct)
        }),
        row("an origin behind a forward proxy does not see it", |p| {
            lab.leak(p, Way::Forward)
        }),
        row("an origin behind a tunnel does not see it", |p| {
            lab.leak(p, Way::Tunnel)
        }),
        row("`Debug` of what is set up does not show it", |p| lab.debug(p)),
    ];
    let rows = join_all(rows).await;
    let header = [""].into_iter().chain(Peer::ALL.map(Peer::name));
    let mut table = Table::new(0..1 + Peer::ALL.len(), header);
    for row in rows {
        table.row([row.title.to_owned()].into_iter().chain(row.cells));
    }
    page.section("behaviour", "What works", table);
    Ok(page.write()?)
}

type Observed = Result<String, Box<dyn Error>>;

struct Row {
    title: &'static str,
    cells: Vec<String>,
}

/// All clients at once.
fn row<'a, F>(title: &'static str, observe: impl Fn(Peer) -> F + 'a) -> LocalBoxFuture<'a, Row>
where
    F: Future<Output = Observed> + 'a,
{
    let cells = Peer::ALL.map(observe);
    Box::pin(async move {
        let cells = join_all(cells).await.into_iter();
        let cells = cells.map(|cell| cell.unwrap_or_else(|error| format!("not observed: {error}")));
        Row {
            title,
            cells: cells.collect(),
        }
    })
}

/// The route of a request to its origin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Forward,
    Tunnel,
}

/// The result of one client's request.
struct Outcome {
    /// `None` for an error.
    status: Option<u16>,
    /// The error, all that its caller can get to know.
    error: String,
    /// `Debug` of what was set up.
    debug: String,
    timed_out: bool,
    took: Duration,
}

impl Outcome {
    /// "yes" for a response of 200, else what there was.
    fn ok(&self) -> String {
        match self.status {
            Some(200) => "yes".to_owned(),
            _ => format!("no: {}", self.in_short()),
        }
    }

    fn in_short(&self) -> String {
        match self.status {
            _ if self.timed_out => format!("nothing within {} s", self.took.as_secs()),
            Some(status) => format!("status {status}"),
            None => {
                let line = self.error.lines().next().unwrap_or_default();
                // Clients wrap one error into others; the innermost says what it was.
                let innermost = line.rsplit(": ").next().unwrap_or(line);
                format!("`{}`", innermost.replace('`', "'"))
            }
        }
    }
}

fn yes_or_no(yes: bool) -> String {
    match yes {
        true => "yes".to_owned(),
        false => "no".to_owned(),
    }
}

fn long_head() -> Script {
    let head = format!("HTTP/1.1 200 OK\r\nX-Padding: {}\r\n\r\n", "x".repeat(16 << 10));
    [Step::send(head), Step::Tunnel].into()
}

const NO_SETTING: &str = "no such setting";

struct Lab {
    ca: Ca,
    roots: NamedTempFile,
}

impl Lab {
    fn new() -> Result<Self, Box<dyn Error>> {
        let ca = Ca::new();
        let mut roots = NamedTempFile::new()?;
        roots.write_all(ca.pem().as_bytes())?;
        Ok(Self { ca, roots })
    }

    async fn https_origin(&self) -> Origin {
        Origin::https(&self.ca, &["origin.test", "2001:db8::1"], &["http/1.1"]).await
    }

    /// One request, with nothing in the environment but these variables.
    async fn run(
        &self,
        peer: Peer,
        vars: &[(&str, &str)],
        url: &str,
        limit: Duration,
    ) -> Result<Outcome, Box<dyn Error>> {
        let mut child = Command::new(env::current_exe()?);
        child
            .args([&format!("{peer:?}"), url])
            .env_clear()
            .envs(vars.iter().copied())
            .env(ROOTS, self.roots.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let start = std::time::Instant::now();
        let output = tokio::time::timeout(limit, child.output()).await;
        let took = start.elapsed();
        let (timed_out, stdout, debug) = match output {
            Ok(output) => {
                let output = output?;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                (false, text(&output.stdout), text(&output.stderr))
            }
            Err(_) => (true, String::new(), String::new()),
        };
        let (first, rest) = stdout.split_once('\n').unwrap_or_default();
        Ok(Outcome {
            status: first.parse().ok(),
            error: rest.to_owned(),
            debug,
            timed_out,
            took,
        })
    }

    /// A GET of `https://origin.test/` through a proxy that plays this script, or serves as usual.
    async fn through(&self, peer: Peer, script: Option<Script>, limit: Duration) -> Result<Outcome, Box<dyn Error>> {
        let origin = self.https_origin().await;
        let mut proxy = ForwardProxy::builder().map("origin.test:443", origin.addr());
        if let Some(script) = script {
            proxy = proxy.on_connect(script);
        }
        let proxy = proxy.start().await;
        self.run(peer, &[("HTTPS_PROXY", &proxy.url())], "https://origin.test/", limit)
            .await
    }

    async fn tunnel(&self, peer: Peer, script: Script) -> Observed {
        Ok(self.through(peer, Some(script), PATIENCE).await?.ok())
    }

    /// A TLS alert, which ends the client's handshake if it comes to it and nothing if it is lost.
    async fn early_bytes(&self, peer: Peer) -> Observed {
        let head = b"HTTP/1.1 200 OK\r\n\r\n";
        let handshake_failure = [0x15, 3, 3, 0, 2, 2, 40];
        let both = [&head[..], &handshake_failure].concat();
        let outcome = self
            .through(peer, Some([Step::send(both), Step::Tunnel].into()), PATIENCE)
            .await?;
        Ok(match outcome.status {
            Some(200) => "no: lost".to_owned(),
            None if outcome.error.contains("HandshakeFailure") => "yes".to_owned(),
            _ => format!("no: {}", outcome.in_short()),
        })
    }

    async fn refusal(&self, peer: Peer, wanted: &str) -> Observed {
        let outcome = self.through(peer, Some(Fault::Status(403).into()), PATIENCE).await?;
        Ok(match outcome.error.to_lowercase().contains(wanted) {
            true => "yes".to_owned(),
            false => format!("no: {}", outcome.in_short()),
        })
    }

    async fn realm(&self, peer: Peer) -> Observed {
        let proxy = ForwardProxy::builder().basic("user", PASSWORD).start().await;
        let vars = [("HTTPS_PROXY", &*proxy.url())];
        let outcome = self.run(peer, &vars, "https://origin.test/", PATIENCE).await?;
        // The first line is the error's text alone.
        let line = outcome.error.lines().next().unwrap_or_default();
        Ok(match line.contains("lab") {
            true => "yes".to_owned(),
            false => format!("no: {}", outcome.in_short()),
        })
    }

    async fn password(&self, peer: Peer) -> Observed {
        let (_origin, proxy) = self.forward(ForwardProxy::builder().basic("user", PASSWORD)).await;
        let vars = [("HTTP_PROXY", &*proxy.url_with(USERINFO))];
        Ok(self.run(peer, &vars, "http://origin.test/", PATIENCE).await?.ok())
    }

    async fn digest(&self, peer: Peer) -> Observed {
        let digest = DigestAuth::new("user", "secret");
        let origin = self.https_origin().await;
        let proxy = ForwardProxy::builder().map("origin.test:443", origin.addr());
        let proxy = proxy.auth(digest.auth()).start().await;
        let vars = [("HTTPS_PROXY", &*proxy.url_with("user:secret@"))];
        Ok(self.run(peer, &vars, "https://origin.test/", PATIENCE).await?.ok())
    }

    /// A proxy that forwards `http://origin.test/` to an origin.
    async fn forward(&self, proxy: ForwardProxyBuilder) -> (Origin, ForwardProxy) {
        let origin = Origin::http().await;
        let proxy = proxy.map("origin.test:80", origin.addr()).start().await;
        (origin, proxy)
    }

    async fn hang(&self, peer: Peer) -> Observed {
        let outcome = self.through(peer, Some(Fault::Hang.into()), LONG).await?;
        Ok(match outcome.timed_out {
            true => format!("no: {}", outcome.in_short()),
            false => format!("yes: after {} s", outcome.took.as_secs()),
        })
    }

    async fn ipv6(&self, peer: Peer) -> Observed {
        let origin = self.https_origin().await;
        let proxy = ForwardProxy::builder().map("[2001:db8::1]:443", origin.addr());
        let proxy = proxy.start().await;
        let vars = [("HTTPS_PROXY", &*proxy.url())];
        Ok(self.run(peer, &vars, "https://[2001:db8::1]/", PATIENCE).await?.ok())
    }

    async fn port_80(&self, peer: Peer) -> Observed {
        if !peer.has_http_tunnels() {
            return Ok(NO_SETTING.to_owned());
        }
        let (_origin, proxy) = self.forward(ForwardProxy::builder()).await;
        let vars = [("HTTP_PROXY", &*proxy.url()), (TUNNEL, "1")];
        self.run(peer, &vars, "http://origin.test/", PATIENCE).await?;
        let first = proxy.requests().into_iter().next().ok_or("the proxy was not asked")?;
        Ok(match &*first.target {
            "origin.test:80" => "yes".to_owned(),
            other => format!("no: `{} {other}`", first.method),
        })
    }

    /// Observes whether a host is reached directly with this list, in which `PORT` stands for the origin's port.
    async fn no_proxy(&self, peer: Peer, list: &str, host: &str) -> Observed {
        if !peer.has_no_proxy() && !list.is_empty() {
            return Ok(NO_SETTING.to_owned());
        }
        let origin = Origin::http().await;
        let port = origin.port().to_string();
        let anywhere: SocketAddr = origin.addr();
        let proxy = ForwardProxy::builder().map(&format!("{host}:{port}"), anywhere);
        let proxy = proxy.start().await;
        let vars = [
            ("HTTP_PROXY", &*proxy.url()),
            ("NO_PROXY", &*list.replace("PORT", &port)),
        ];
        // An address that is none of this machine's is not reached at all; that the proxy is not asked tells enough.
        let limit = Duration::from_secs(2);
        let outcome = self.run(peer, &vars, &format!("http://{host}:{port}/"), limit).await?;
        match (proxy.requests().is_empty(), origin.requests().is_empty()) {
            (false, _) => Ok("no".to_owned()),
            (true, false) => Ok("yes".to_owned()),
            (true, true) if host == "192.0.2.1" => Ok("yes".to_owned()),
            (true, true) => Err(outcome.in_short().into()),
        }
    }

    async fn bad_proxy(&self, peer: Peer, proxy: &str) -> Observed {
        let origin = Origin::http().await;
        let url = format!("http://origin.test:{}/", origin.port());
        let outcome = self.run(peer, &[("HTTP_PROXY", proxy)], &url, PATIENCE).await?;
        Ok(match origin.requests().is_empty() {
            true => format!("yes: {}", outcome.in_short()),
            false => "no: the request went there directly".to_owned(),
        })
    }

    /// Observes whether the password stays away from the origin.
    async fn leak(&self, peer: Peer, way: Way) -> Observed {
        let (origin, scheme) = match way {
            Way::Tunnel => (self.https_origin().await, "https"),
            _ => (Origin::http().await, "http"),
        };
        let port = origin.port();
        // It asks for no credentials, so that the request gets to the origin whatever the client does with them.
        let proxy = ForwardProxy::builder().map(&format!("origin.test:{port}"), origin.addr());
        let proxy = proxy.start().await;
        let address = proxy.url_with(USERINFO);
        let mut vars = vec![("HTTP_PROXY", &*address), ("HTTPS_PROXY", &*address)];
        if way == Way::Direct {
            if !peer.has_no_proxy() {
                return Ok(NO_SETTING.to_owned());
            }
            vars.push(("NO_PROXY", "origin.test"));
        }
        let url = format!("{scheme}://origin.test:{port}/");
        let outcome = self.run(peer, &vars, &url, PATIENCE).await?;
        let request = origin.requests().into_iter().next().ok_or_else(|| outcome.in_short())?;
        let mut fields = ["authorization", "proxy-authorization"].into_iter();
        Ok(match fields.find(|field| request.header(field).is_some()) {
            None => "yes".to_owned(),
            Some(field) => format!("no: in `{field}`"),
        })
    }

    async fn debug(&self, peer: Peer) -> Observed {
        let proxy = ForwardProxy::builder().basic("user", PASSWORD).start().await;
        let address = proxy.url_with(USERINFO);
        let vars = [("HTTP_PROXY", &*address), ("HTTPS_PROXY", &*address)];
        let outcome = self.run(peer, &vars, "https://origin.test/", PATIENCE).await?;
        if outcome.debug.is_empty() {
            return Err(outcome.in_short().into());
        }
        Ok(yes_or_no(!SECRETS.iter().any(|secret| outcome.debug.contains(secret))))
    }
}
