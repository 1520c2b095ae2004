//! The other process: origins that count requests, and the proxies, which it kills and starts again.

use std::{
    collections::HashMap,
    convert::Infallible,
    env, fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tower::BoxError;
use tower_outbound_proxy_lab::{
    Ca, Dice,
    servers::{Http2, RealProxy, Setup, StartError},
};

use crate::pattern;

pub(crate) const USER: &str = "user";
pub(crate) const PASSWORD: &str = "password";
/// The file of the POSTs that were processed: by their number two bytes, of which one says how often and one in which row.
pub(crate) const PROCESSED: &str = "processed";
/// The file of the root certificate of proxies and origins.
pub(crate) const ROOT: &str = "root.pem";

/// The proxies that are killed, each with the name of its port with TLS.
const PROXIES: [(&str, &str); 5] = [
    ("squid", "squid-tls"),
    ("apache", "apache-tls"),
    ("tinyproxy", ""),
    ("apache over HTTP/2", "apache-http2"),
    ("nghttpx", "nghttpx-http2"),
];

/// The addresses of the servers, by name.
pub(crate) struct Addresses {
    pub(crate) named: HashMap<String, SocketAddr>,
    pub(crate) root: String,
}

/// The handle of the other process, which ends with this one.
pub(crate) struct Far {
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    root: std::path::PathBuf,
}

impl Far {
    pub(crate) fn start(folder: &Path, seed: u64) -> Result<Self, BoxError> {
        let mut command = Command::new(env::current_exe()?);
        let command = command.arg("far").arg(folder).arg(seed.to_string()).kill_on_drop(true);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("the process has no pipes".into());
        };
        Ok(Self {
            _process: process,
            input,
            output: BufReader::new(output).lines(),
            root: folder.join(ROOT),
        })
    }

    async fn line(&mut self) -> Result<String, BoxError> {
        Ok(self
            .output
            .next_line()
            .await?
            .ok_or("the process of the servers has ended")?)
    }

    /// Waits until all servers serve.
    pub(crate) async fn ready(&mut self) -> Result<Addresses, BoxError> {
        let line = self.line().await?;
        let mut words = line.split_whitespace();
        let mut named = HashMap::new();
        while let (Some(name), Some(address)) = (words.next(), words.next()) {
            named.insert(name.to_owned(), address.parse()?);
        }
        let root = fs::read_to_string(&self.root)?;
        Ok(Addresses { named, root })
    }

    /// Ends the killing, lets the origins write down the requests that they have processed, and returns the number of
    /// times that each proxy was killed.
    pub(crate) async fn stop(&mut self) -> Result<String, BoxError> {
        self.input.write_all(b"stop\n").await?;
        self.line().await
    }
}

/// See [`PROCESSED`].
type Processed = Arc<Mutex<Vec<[u8; 2]>>>;

/// Serves until standard input ends.
pub(crate) async fn run(folder: &Path, seed: u64) -> Result<(), BoxError> {
    let ca = Ca::new();
    fs::write(folder.join(ROOT), ca.pem())?;
    let processed = Processed::default();
    let identity = ca.issue(&["127.0.0.1"]);
    let mut addresses = Vec::new();
    for (name, alpn) in [("http", None), ("http1", Some("http/1.1")), ("http2", Some("h2"))] {
        let tls = alpn.map(|alpn| TlsAcceptor::from(identity.server_config(&[alpn])));
        addresses.push((name, origin(tls, &processed).await?));
    }

    let mut setup = Setup::new(USER, PASSWORD);
    setup.tls = Some(ca.issue(&["127.0.0.1"]).into());
    let mut over_http2 = setup.clone();
    over_http2.http2 = Http2::On;
    let (stop, stopped) = watch::channel(());
    let mut killers = Vec::new();
    for (number, (name, tls_name)) in PROXIES.into_iter().enumerate() {
        let proxy = match name {
            "squid" => RealProxy::squid(&setup).await?,
            "apache" => RealProxy::apache(&setup).await?,
            "apache over HTTP/2" => RealProxy::apache(&over_http2).await?,
            "nghttpx" => RealProxy::nghttpx(&over_http2).await?,
            _ => RealProxy::tinyproxy(&setup).await?,
        };
        match proxy.tls_addr() {
            Some(tls) if tls_name.ends_with("-http2") => addresses.push((tls_name, tls)),
            tls => {
                addresses.push((name, proxy.addr()));
                addresses.extend(tls.map(|tls| (tls_name, tls)));
            }
        }
        let dice = Dice::new(seed.wrapping_mul(10) + number as u64);
        killers.push((name, tokio::spawn(kill_at_random(proxy, dice, stopped.clone()))));
    }
    drop(stopped);
    let words: Vec<_> = addresses
        .iter()
        .map(|(name, address)| format!("{name} {address}"))
        .collect();
    println!("{}", words.join(" "));

    let mut input = BufReader::new(tokio::io::stdin()).lines();
    if input.next_line().await?.is_none() {
        return Ok(());
    }
    drop(stop);
    let mut kills = Vec::new();
    let mut running = Vec::new();
    for (name, killer) in killers {
        let (proxy, number) = killer.await??;
        kills.push(format!("{name} {number} times"));
        running.push(proxy);
    }
    let processed = processed.lock().unwrap_or_else(PoisonError::into_inner).concat();
    fs::write(folder.join(PROCESSED), processed)?;
    println!("{}", kills.join(", "));
    // Until the other process has ended.
    while input.next_line().await?.is_some() {}
    Ok(())
}

async fn kill_at_random(
    mut proxy: RealProxy,
    mut dice: Dice,
    mut stopped: watch::Receiver<()>,
) -> Result<(RealProxy, u32), StartError> {
    let mut kills = 0;
    loop {
        let life = Duration::from_millis(500 + dice.roll(6000));
        tokio::select! {
            _ = stopped.changed() => return Ok((proxy, kills)),
            () = tokio::time::sleep(life) => {}
        }
        if let Err(error) = proxy.kill() {
            eprintln!("a proxy ended by itself: {error}");
        }
        kills += 1;
        tokio::time::sleep(Duration::from_millis(dice.roll(400))).await;
        proxy.restart().await?;
    }
}

async fn origin(tls: Option<TlsAcceptor>, processed: &Processed) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let processed = processed.clone();
    tokio::spawn(async move {
        loop {
            let Ok((io, _)) = listener.accept().await else { continue };
            let _ = io.set_nodelay(true);
            let (tls, processed) = (tls.clone(), processed.clone());
            tokio::spawn(async move {
                match tls {
                    None => serve(io, processed).await,
                    Some(tls) => {
                        if let Ok(io) = tls.accept(io).await {
                            serve(io, processed).await;
                        }
                    }
                }
            });
        }
    });
    Ok(address)
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, processed: Processed) {
    let service = service_fn(move |request| answer(request, processed.clone()));
    let builder = auto::Builder::new(TokioExecutor::new());
    // A proxy that is killed breaks its connections.
    let _ = builder.serve_connection(TokioIo::new(io), service).await;
}

/// Answers `/ROW/NUMBER/LENGTH` with that body. Counts POSTs, which have to bring it as well.
async fn answer(request: Request<Incoming>, processed: Processed) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let status = |status| {
        let mut response = Response::default();
        *response.status_mut() = status;
        Ok(response)
    };
    let mut words = request.uri().path().split('/').skip(1).map(str::parse::<u64>);
    let (Some(Ok(row)), Some(Ok(number)), Some(Ok(length))) = (words.next(), words.next(), words.next()) else {
        return status(StatusCode::NOT_FOUND);
    };
    let expected = pattern::body(number, length as usize);
    if request.method() == http::Method::POST {
        let Ok(body) = request.into_body().collect().await else {
            // It is not processed, and nobody hears the answer.
            return status(StatusCode::BAD_REQUEST);
        };
        if body.to_bytes() != expected {
            return status(StatusCode::UNPROCESSABLE_ENTITY);
        }
        let mut processed = processed.lock().unwrap_or_else(PoisonError::into_inner);
        let number = number as usize;
        if processed.len() <= number {
            processed.resize(number + 1, [0; 2]);
        }
        let [times, _] = processed[number];
        processed[number] = [times.saturating_add(1), row as u8];
    }
    Ok(Response::new(Full::new(expected)))
}
