//! The memory of an idle connection, in the client's process: live bytes by the allocator, and the resident set.
//!
//! hyper has room for 32 requests in each connection, of the size that their body's type gives them. hyper-util's client
//! is measured with a body that can have content, and with one that cannot, which has no size. For this crate's, the type
//! makes no difference.
//!
//! The last contender is hyper alone: one connection by hand, without any pool and without bodies. It is hyper's, rustls's
//! and tokio's part of the others.

use std::{fs, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Body,
    client::conn::{http1, http2},
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client as Legacy, connect::proxy::Tunnel},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tower::{ServiceExt, service_fn};
use tower_outbound_proxy::{Client, ProxyConfig};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Origin, connector};
use tower_outbound_proxy_peers::{Page, Table};

use crate::{
    BoxError,
    contender::{Fetch, NoBody},
    counting::Live,
    process::{Cores, Process},
    stream::Stream,
};

/// The number of connections whose memory is measured, after these that warm up.
const CONNECTIONS: usize = 400;
const WARM: usize = 10;
const DOMAIN: &str = "bench.test";

const WAYS: [(&str, &str); 5] = [
    ("forward", "to a forward proxy"),
    ("direct", "direct, plain"),
    ("tunnel", "tunnel, plain HTTP in it"),
    ("tunnel-h1", "tunnel, TLS, HTTP/1.1"),
    ("tunnel-h2", "tunnel, TLS, HTTP/2"),
];
const CONTENDERS: [&str; 4] = ["ours", "hyper-util", "hyper-util without bodies", "hyper alone"];
/// The body of a client that can send content.
type SomeBody = Full<Bytes>;

/// The ports of the server's process.
struct Ports {
    proxy: u16,
    http: u16,
    http1: u16,
    http2: u16,
}

/// Serves until standard input ends: a proxy, and origins. Prints their ports.
pub(crate) fn serve(root: &Path) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let ca = Ca::new();
        fs::write(root, ca.pem())?;
        let names = [&format!("*.{DOMAIN}")[..]];
        let proxy = ForwardProxy::builder().start().await;
        let http = Origin::http().await;
        let http1 = Origin::https(&ca, &names, &["http/1.1"]).await;
        let http2 = Origin::https(&ca, &names, &["h2"]).await;
        println!("{} {} {} {}", proxy.port(), http.port(), http1.port(), http2.port());
        tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
        Ok(())
    })
}

/// Prints the live bytes and the resident bytes of an idle connection, and the sizes of its allocations.
pub(crate) fn run(contender: &str, way: &str, ports: &[&str], root: &Path) -> Result<(), BoxError> {
    let ports: Vec<u16> = ports.iter().map(|port| port.parse()).collect::<Result<_, _>>()?;
    let &[proxy, http, http1, http2] = &ports[..] else {
        return Err("there are four ports".into());
    };
    let ports = Ports {
        proxy,
        http,
        http1,
        http2,
    };
    let tls = trust(root)?;
    // Allocations are counted by thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match contender {
            "ours" => {
                let client = ours(way, &ports, tls)?;
                let (live, resident) = grow(&client, way, &ports).await?;
                assert_eq!(client.stats().idle(), WARM + CONNECTIONS, "{way}");
                print(live, resident);
            }
            "hyper-util" => print_hyper_util::<SomeBody>(way, &ports, tls).await?,
            "hyper-util without bodies" => print_hyper_util::<NoBody>(way, &ports, tls).await?,
            _ => {
                let alone = Alone {
                    way: way.to_owned(),
                    proxy,
                    tls,
                };
                // It has no connections to share.
                let way = if way == "forward" { "direct" } else { way };
                let (live, resident) = grow(&alone, way, &ports).await?;
                print(live, resident);
            }
        }
        Ok(())
    })
}

async fn print_hyper_util<B: AnyBody>(way: &str, ports: &Ports, tls: ClientConfig) -> Result<(), BoxError> {
    let (live, resident) = match way {
        "forward" | "direct" => grow(&plain_hyper_util::<B>(way, ports), way, ports).await?,
        _ => grow(&tunnelled_hyper_util::<B>(ports, tls)?, way, ports).await?,
    };
    print(live, resident);
    Ok(())
}

/// A body that hyper-util's client can send.
trait AnyBody: Body<Data: Send, Error: Into<BoxError>> + Default + Send + Unpin + 'static {}
impl<B> AnyBody for B where B: Body<Data: Send, Error: Into<BoxError>> + Default + Send + Unpin + 'static {}

fn print((before, after): (Live, Live), resident: u64) {
    let bytes = (after.bytes - before.bytes) / CONNECTIONS as i64;
    let sizes = after.each_since(&before, CONNECTIONS);
    let large = sizes.iter().rev().filter(|(size, _)| *size >= 1000);
    let sizes: Vec<_> = large
        .map(|(size, number)| match number {
            1 => size.to_string(),
            _ => format!("{number} × {size}"),
        })
        .collect();
    println!("{bytes} {} {}", resident / CONNECTIONS as u64, sizes.join(", "));
}

/// Makes connections, and returns the live bytes before and after, and the growth of the resident set.
async fn grow<F: Fetch>(client: &F, way: &str, ports: &Ports) -> Result<((Live, Live), u64), BoxError> {
    connections(client, way, ports, 0..WARM).await?;
    let (live, resident) = (Live::now(), resident()?);
    connections(client, way, ports, WARM..WARM + CONNECTIONS).await?;
    Ok(((live, Live::now()), self::resident()?.saturating_sub(resident)))
}

async fn connections<F: Fetch>(
    client: &F,
    way: &str,
    ports: &Ports,
    numbers: std::ops::Range<usize>,
) -> Result<(), BoxError> {
    let (scheme, port) = match way {
        "tunnel-h1" => ("https", ports.http1),
        "tunnel-h2" => ("https", ports.http2),
        _ => ("http", ports.http),
    };
    // All origins share the connections to a forward proxy, so these requests are made at once, and take their time.
    let is_forward = way == "forward";
    let (numbers, path) = match is_forward {
        true => (0..numbers.end, "slow/1500"),
        false => (numbers, ""),
    };
    let mut tasks = JoinSet::new();
    for number in numbers {
        let target: Uri = format!("{scheme}://h{number}.{DOMAIN}:{port}/{path}").parse()?;
        match is_forward {
            true => {
                let client = client.clone();
                tasks.spawn(async move { client.fetch(&target).await });
            }
            false => client.fetch(&target).await?,
        }
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    drop(tasks);
    // What is left of the requests ends.
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(())
}

fn resident() -> Result<u64, BoxError> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("no resident set")?.parse()?;
    Ok(pages * 4096)
}

fn trust(root: &Path) -> Result<ClientConfig, BoxError> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&fs::read(root)?) {
        roots.add(root?)?;
    }
    let tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tls)
}

fn ours(way: &str, ports: &Ports, tls: ClientConfig) -> Result<Client<SomeBody>, BoxError> {
    let proxy = format!("http://127.0.0.1:{}", ports.proxy);
    let config = match way {
        "direct" => ProxyConfig::builder(),
        "forward" => ProxyConfig::builder().all(proxy.as_str()),
        _ => ProxyConfig::builder().all(proxy.as_str()).always_tunnel(true),
    };
    let builder = Client::builder()
        .config(config.build()?)
        .target_tls(tls)
        .max_idle(usize::MAX);
    Ok(builder.connector(connector()).build()?)
}

fn plain_hyper_util<B: AnyBody>(way: &str, ports: &Ports) -> impl Fetch + use<B> {
    let (forwards, proxy) = (way == "forward", ports.proxy);
    let connect = service_fn(move |target: Uri| {
        let dialling = match forwards {
            true => connector().oneshot(proxy_uri(proxy)),
            false => connector().oneshot(target),
        };
        Box::pin(async move { dialling.await.map(|io| Stream { io, forwards }) })
    });
    legacy().build::<_, B>(connect)
}

fn tunnelled_hyper_util<B: AnyBody>(ports: &Ports, mut tls: ClientConfig) -> Result<impl Fetch + use<B>, BoxError> {
    tls.alpn_protocols = alpn();
    let tunnel = Tunnel::new(proxy_uri(ports.proxy), connector());
    Ok(legacy().build::<_, B>(HttpsConnector::from((tunnel, tls))))
}

fn legacy() -> hyper_util::client::legacy::Builder {
    let mut builder = Legacy::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new());
    builder
}

fn proxy_uri(port: u16) -> Uri {
    format!("http://127.0.0.1:{port}").parse().expect("a URI")
}

fn alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

/// hyper without a pool. The connections stay open, because the sending halves are kept.
#[derive(Clone)]
struct Alone {
    way: String,
    proxy: u16,
    tls: ClientConfig,
}

impl Fetch for Alone {
    async fn fetch(&self, target: &Uri) -> Result<(), BoxError> {
        let (host, port) = (target.host().ok_or("no host")?, target.port_u16().ok_or("no port")?);
        let request = Request::get(target.path())
            .header("host", format!("{host}:{port}"))
            .body(NoBody::new())?;
        let to = if self.way == "direct" { port } else { self.proxy };
        let mut io = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await?;
        match &self.way[..] {
            "direct" => http1_alone(io, request).await,
            "forward" => {
                let mut request = request;
                *request.uri_mut() = target.clone();
                http1_alone(io, request).await
            }
            way => {
                io.write_all(format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n").as_bytes())
                    .await?;
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(io.read_u8().await?);
                }
                if way == "tunnel" {
                    return http1_alone(io, request).await;
                }
                let mut tls = self.tls.clone();
                tls.alpn_protocols = alpn();
                let name = ServerName::try_from(host.to_owned())?;
                let io = tokio_rustls::TlsConnector::from(Arc::new(tls))
                    .connect(name, io)
                    .await?;
                match way {
                    "tunnel-h1" => http1_alone(io, request).await,
                    _ => {
                        let mut request = request;
                        request.headers_mut().clear();
                        *request.uri_mut() = target.clone();
                        http2_alone(io, request).await
                    }
                }
            }
        }
    }
}

async fn http1_alone<T>(io: T, request: Request<NoBody>) -> Result<(), BoxError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await?.into_body().collect().await?;
    Box::leak(Box::new(sender));
    Ok(())
}

async fn http2_alone<T>(io: T, request: Request<NoBody>) -> Result<(), BoxError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await?.into_body().collect().await?;
    Box::leak(Box::new(sender));
    Ok(())
}

pub(crate) fn measure(page: &mut Page) -> Result<(), BoxError> {
    let (cores, directory) = (Cores::find()?, crate::process::directory()?);
    let root = directory.join("pool-root.pem");
    let mut server = Process::this(&["serve"], &root, cores.server)?;
    let ports = server.answer()?;
    let mut names = CONTENDERS;
    names[0] = "this crate";
    let mut table = Table::new(0..1, ["live (resident), KiB"].iter().chain(&names).copied());
    let mut sizes = Table::new(0..3, ["connection", "client", "allocations of 1,000 bytes or more"]);
    for (way, title) in WAYS {
        let mut row = vec![title.to_owned()];
        for (contender, name) in CONTENDERS.iter().zip(names) {
            let mut arguments = vec!["memory", contender, way];
            arguments.extend(ports.split_whitespace());
            let root = root.to_string_lossy();
            arguments.push(&root);
            let line = crate::one_shot(&arguments)?;
            let mut words = line.trim().splitn(3, ' ');
            let mut number = || {
                words
                    .next()
                    .and_then(|word| word.parse::<f64>().ok())
                    .ok_or("the client ended")
            };
            let (live, resident) = (number()? / 1024.0, number()? / 1024.0);
            row.push(format!("{live:.1} ({resident:.1})"));
            sizes.row([title, name, words.next().unwrap_or_default()]);
        }
        table.row(row);
    }
    page.section("pool-memory", "Memory of an idle connection", table);
    page.section("pool-sizes", "Its large allocations, bytes", sizes);
    Ok(())
}
