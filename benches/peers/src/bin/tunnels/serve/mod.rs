//! The process on the other core: a TLS proxy for HTTP/1.1 and HTTP/2 that answers in the hosts' place.
//!
//! A tunnel ends in this process, so that the client is measured, and not the proxy's connections to hosts. The port that
//! the client asks for says what is in the tunnel. For direct connections and for real proxies the same hosts have ports
//! of their own.

mod http1;
mod http2;
mod origin;

use std::{
    fs,
    io::{self, BufRead, ErrorKind::InvalidInput},
    net::Ipv4Addr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use rustix::time::{ClockId, clock_gettime};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tower_outbound_proxy_lab::{Ca, Identity, provider};

use crate::{BoxError, DOMAIN, ROUND_TRIP, relay};

/// The largest piece that is read at once.
const CHUNK: usize = 64 << 10;

/// The counts so far.
#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    /// Those of the connections that speak HTTP/2.
    http2: AtomicUsize,
    /// The tunnels that are open now.
    open: AtomicUsize,
}

/// The hosts: the ports by which they are asked, and their TLS.
#[derive(Clone)]
struct Hosts {
    raw: u16,
    http: u16,
    https: u16,
    tls: TlsAcceptor,
}

/// Serves until its standard input ends. It first prints its ports. Each line of input is answered with the number of
/// connections that the proxy has accepted so far, that of those over HTTP/2, the number of tunnels that are open, and
/// this process's CPU time in nanoseconds.
pub(crate) fn run(root: &Path) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(root))
}

async fn serve(root: &Path) -> Result<(), BoxError> {
    let identity = identity(root)?;
    let hosts = Hosts::listen(&identity).await?;
    let counts = Arc::new(Counts::default());
    let proxy = listener().await?;
    let port = proxy.local_addr()?.port();
    let proxy_tls = TlsAcceptor::from(tls(&identity, &["h2", "http/1.1"])?);
    let (shared, ends) = (counts.clone(), hosts.clone());
    accept(proxy, move |io| {
        let (counts, hosts, tls) = (shared.clone(), ends.clone(), proxy_tls.clone());
        async move {
            counts.connections.fetch_add(1, Relaxed);
            let io = tls.accept(io).await?;
            if io.get_ref().1.alpn_protocol() != Some(b"h2") {
                return http1::serve(io, &hosts, &counts).await;
            }
            counts.http2.fetch_add(1, Relaxed);
            http2::serve(io, hosts, counts).await
        }
    });
    let far_proxy = relay::start(port, ROUND_TRIP)?;
    let far_host = relay::start(hosts.https, ROUND_TRIP)?;
    println!(
        "{port} {far_proxy} {far_host} {} {} {}",
        hosts.raw, hosts.http, hosts.https
    );

    while tokio::task::spawn_blocking(read_line).await?? {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = cpu.tv_sec * 1_000_000_000 + cpu.tv_nsec;
        let [connections, http2, open] =
            [&counts.connections, &counts.http2, &counts.open].map(|count| count.load(Relaxed));
        println!("{connections} {http2} {open} {cpu}");
    }
    Ok(())
}

/// Returns a certificate for all the names, whose root it writes to this file.
fn identity(root: &Path) -> io::Result<Identity> {
    let ca = Ca::new();
    fs::write(root, ca.pem())?;
    Ok(ca.issue(&[&format!("*.{DOMAIN}"), "127.0.0.1"]))
}

/// Returns TLS with a single cipher suite, since the clients prefer different ones and these differ in speed.
fn tls(identity: &Identity, alpn: &[&str]) -> Result<Arc<ServerConfig>, BoxError> {
    let mut provider = CryptoProvider::clone(&provider());
    provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let mut config = ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert_der()], identity.key_der())?;
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(config.into())
}

fn read_line() -> io::Result<bool> {
    Ok(io::stdin().lock().read_line(&mut String::new())? > 0)
}

async fn listener() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F + Send + 'static)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let _ = io.set_nodelay(true);
            tokio::spawn(serve(io));
        }
    });
}

impl Hosts {
    /// Listens on ports of their own.
    async fn listen(identity: &Identity) -> Result<Self, BoxError> {
        let (raw, http, https) = (listener().await?, listener().await?, listener().await?);
        let hosts = Self {
            raw: raw.local_addr()?.port(),
            http: http.local_addr()?.port(),
            https: https.local_addr()?.port(),
            tls: TlsAcceptor::from(tls(identity, &["http/1.1"])?),
        };
        for (listener, port) in [(raw, hosts.raw), (http, hosts.http), (https, hosts.https)] {
            let hosts = hosts.clone();
            accept(listener, move |io| {
                let hosts = hosts.clone();
                async move { hosts.answer(io, None, port).await }
            });
        }
        Ok(hosts)
    }

    /// Ends a tunnel to this host and port.
    async fn tunnel<T>(&self, io: T, authority: &str, counts: &Counts) -> io::Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let (host, port) = authority.rsplit_once(':').ok_or(InvalidInput)?;
        let port = port.parse().map_err(|_| InvalidInput)?;
        counts.open.fetch_add(1, Relaxed);
        let ended = self.answer(io, Some(host), port).await;
        counts.open.fetch_sub(1, Relaxed);
        ended
    }

    /// Answers on this port. A host without a name goes by the one that each request has.
    async fn answer<T>(&self, io: T, host: Option<&str>, port: u16) -> io::Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        match port {
            port if port == self.raw => origin::raw(io, host.ok_or(InvalidInput)?).await,
            port if port == self.http => origin::http(io, host).await,
            port if port == self.https => origin::http(self.tls.accept(io).await?, host).await,
            _ => Err(InvalidInput.into()),
        }
    }
}
