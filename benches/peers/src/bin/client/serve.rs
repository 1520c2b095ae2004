//! The process on the other core: a proxy that answers in the origins' place.
//!
//! It answers requests in absolute-form itself. A tunnel ends in this process too, in TLS with a certificate for all the
//! origins' names. So the client is measured, and not the proxy's connections to origins. Requests have no bodies, and
//! `/bytes/N` is the only path.
//!
//! With `--squid` the proxy is Squid, started as for this crate's tests, and the origins are here.

use std::{
    fs,
    io::{self, BufRead, ErrorKind::InvalidData},
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Buf, BytesMut};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tower_outbound_proxy_lab::{
    Ca, Identity, provider,
    servers::{RealProxy, Setup, TlsFiles},
};

use crate::{BoxError, DOMAIN, HOSTS, PASSWORD, USER};

const CHUNK: usize = 64 << 10;
static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// Serves until its standard input ends. It first prints its ports, and answers each line of input with the number of
/// connections that the proxy has accepted so far.
pub(crate) fn run(root: &Path, squid: bool) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(root, squid))
}

async fn serve(root: &Path, squid: bool) -> Result<(), BoxError> {
    let ca = Ca::new();
    fs::write(root, ca.pem())?;
    let identity = ca.issue(&[&format!("*.{DOMAIN}"), "127.0.0.1"]);
    let tls = TlsAcceptor::from(tls(&identity)?);
    let accepted = Arc::new(AtomicUsize::new(0));

    let http = listen(|io| Side::Origin.serve(io, None, None), None).await?;
    let for_https = tls.clone();
    let https = listen(move |io| Side::Origin.serve(io, Some(for_https.clone()), None), None).await?;
    let for_tunnels = tls.clone();
    let count = Some(accepted.clone());
    let plain = listen(move |io| Side::Proxy.serve(io, None, Some(for_tunnels.clone())), count).await?;
    let count = Some(accepted.clone());
    let secure = listen(
        move |io| Side::Proxy.serve(io, Some(tls.clone()), Some(tls.clone())),
        count,
    )
    .await?;

    let squid = match squid {
        true => {
            let mut setup = Setup::new(USER, PASSWORD);
            let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
            setup.hosts = (0..HOSTS).map(|n| (format!("h{n}.{DOMAIN}"), loopback)).collect();
            setup.tls = Some(TlsFiles {
                cert_pem: identity.cert_pem,
                key_pem: identity.key_pem,
            });
            Some(RealProxy::squid(&setup).await?)
        }
        false => None,
    };
    let (plain, secure) = match &squid {
        Some(squid) => (
            squid.addr().port(),
            squid.tls_addr().ok_or("Squid has no TLS port")?.port(),
        ),
        None => (plain, secure),
    };
    println!("{http} {https} {plain} {secure}");

    let (mut logged, mut counted) = (0, 0);
    while tokio::task::spawn_blocking(read_line).await?? {
        let connections = match &squid {
            Some(squid) => {
                // It logs a tunnel when it ends.
                tokio::time::sleep(Duration::from_millis(200)).await;
                let log = squid.requests();
                counted += distinct_ports(&log[logged..]);
                logged = log.len();
                counted
            }
            None => accepted.load(Relaxed),
        };
        println!("{connections}");
    }
    Ok(())
}

/// Returns TLS with a single cipher suite, since Go and rustls prefer different ones and these differ in speed.
fn tls(identity: &Identity) -> Result<Arc<ServerConfig>, BoxError> {
    let mut provider = CryptoProvider::clone(&provider());
    provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let mut config = ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert_der()], identity.key_der())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config.into())
}

fn read_line() -> io::Result<bool> {
    Ok(io::stdin().lock().read_line(&mut String::new())? > 0)
}

/// Counts connections in Squid's log, which has the client's port with every request. Two connections from one port
/// between two questions count as one.
fn distinct_ports(log: &[String]) -> usize {
    let mut ports: Vec<_> = log.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.len()
}

async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static, count: Option<Arc<AtomicUsize>>) -> io::Result<u16>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            if let Some(count) = &count {
                count.fetch_add(1, Relaxed);
            }
            let _ = io.set_nodelay(true);
            tokio::spawn(serve(io));
        }
    });
    Ok(port)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Proxy,
    Origin,
}

impl Side {
    async fn serve(self, io: TcpStream, tls: Option<TlsAcceptor>, tunnels: Option<TlsAcceptor>) -> io::Result<()> {
        match tls {
            Some(tls) => self.answer(tls.accept(io).await?, tunnels).await,
            None => self.answer(io, tunnels).await,
        }
    }

    async fn answer<T>(self, mut io: T, tunnels: Option<TlsAcceptor>) -> io::Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        while let Some(asked) = next(&mut io, &mut buffer).await? {
            match (asked, self, &tunnels) {
                (Asked::Absolute(length), ..) | (Asked::Origin(length), Side::Origin, _) => {
                    send(&mut io, length).await?;
                }
                (Asked::Tunnel, Side::Proxy, Some(tls)) => {
                    io.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                    io.flush().await?;
                    return end_of_tunnel(tls.accept(io).await?).await;
                }
                _ => {
                    io.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                        .await?;
                    return io.shutdown().await;
                }
            }
        }
        Ok(())
    }
}

async fn end_of_tunnel<T: AsyncRead + AsyncWrite + Unpin>(mut io: T) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    // An origin takes both forms (RFC 9112 3.2.2), and hyper-http-proxy sends absolute-form even here.
    while let Some(Asked::Origin(length) | Asked::Absolute(length)) = next(&mut io, &mut buffer).await? {
        send(&mut io, length).await?;
    }
    Ok(())
}

enum Asked {
    Tunnel,
    /// A number of bytes, asked for in absolute-form.
    Absolute(usize),
    /// A number of bytes, asked for in origin-form.
    Origin(usize),
}

/// Reads the next request.
async fn next<T: AsyncRead + Unpin>(io: &mut T, buffer: &mut BytesMut) -> io::Result<Option<Asked>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        buffer.reserve(CHUNK / 8);
        if io.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let asked = std::str::from_utf8(&buffer[..end]).ok().and_then(read);
    buffer.advance(end);
    asked.ok_or_else(|| InvalidData.into()).map(Some)
}

fn read(head: &str) -> Option<Asked> {
    let mut words = head.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    if method == "CONNECT" {
        return Some(Asked::Tunnel);
    }
    let (authority, length) = target.split_once("/bytes/")?;
    let length = length.parse().ok()?;
    Some(match authority.is_empty() {
        true => Asked::Origin(length),
        false => Asked::Absolute(length),
    })
}

async fn send<T: AsyncWrite + Unpin>(io: &mut T, mut length: usize) -> io::Result<()> {
    let mut start =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    let first = length.min(1 << 10);
    start.extend_from_slice(&ZEROS[..first]);
    io.write_all(&start).await?;
    length -= first;
    while length > 0 {
        let chunk = length.min(CHUNK);
        io.write_all(&ZEROS[..chunk]).await?;
        length -= chunk;
    }
    io.flush().await
}
