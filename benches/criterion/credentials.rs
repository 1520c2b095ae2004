//! What credentials add to a proxied request: those of the proxy's address, a provider's, and Digest, against none.
//!
//! `cargo bench -p tower-outbound-proxy-benches --bench credentials`. It prints the allocations of one request first,
//! then the times. The proxy is a connection without a network that answers each head at once, so that the client is
//! all that is measured.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use criterion::Criterion;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::runtime::{Builder, Runtime};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_outbound_proxy::{
    Client, ProxyConfig, ProxyLayer, TlsConfig,
    auth::{Authorization, Credentials, CredentialsRequest},
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const OPEN: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// Connects to a proxy that wants credentials of this scheme.
#[derive(Clone, Copy)]
struct Canned {
    /// The challenge and the scheme of a value that is accepted.
    challenge: Option<(&'static str, &'static [u8])>,
}

impl Service<Uri> for Canned {
    type Response = CannedStream;
    type Error = Infallible;
    type Future = Ready<Result<CannedStream, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(Ok(CannedStream {
            proxy: *self,
            response: Bytes::new(),
            reader: None,
        }))
    }
}

struct CannedStream {
    proxy: Canned,
    /// The rest of a response.
    response: Bytes,
    reader: Option<Waker>,
}

impl Connection for CannedStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for CannedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.response.is_empty() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let most = self.response.len().min(buf.remaining());
        buf.put_slice(&self.response.split_to(most));
        Poll::Ready(Ok(()))
    }
}

impl Write for CannedStream {
    /// Takes a head, which is written in one piece.
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, head: &[u8]) -> Poll<io::Result<usize>> {
        let has = |wanted: &[u8]| head.windows(wanted.len()).any(|bytes| bytes == wanted);
        self.response = match self.proxy.challenge {
            Some((challenge, wanted)) if !has(wanted) => {
                let head = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\nproxy-authenticate: ";
                [head, challenge, "\r\n\r\n"].concat().into()
            }
            _ if head.starts_with(b"CONNECT ") => Bytes::from_static(OPEN),
            _ => Bytes::from_static(OK),
        };
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(head.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The kinds of credentials, each with a layer that has them and the proxy that wants them.
fn kinds() -> Vec<(&'static str, ProxyLayer, Canned)> {
    let layer = |proxy: &str| {
        let config = ProxyConfig::builder().all(proxy).build();
        ProxyLayer::new(config.expect("the settings are right")).with_route_extension(false)
    };
    let open = Canned { challenge: None };
    let digest = |algorithm| Canned {
        challenge: Some((algorithm, b": Digest ")),
    };
    // Each has an account of its own, which learns what its proxy wants.
    let (none, own) = (layer("http://proxy.test"), || layer("http://user:secret@proxy.test"));
    let answers =
        |answer: fn() -> Authorization| service_fn(move |_: CredentialsRequest| ready(Ok::<_, Infallible>(answer())));
    let token = || Authorization::value(HeaderValue::from_static("Bearer dXNlcjpzZWNyZXQ"));
    let password = || Authorization::password(Credentials::new("user", "secret").expect("they can be sent"));
    vec![
        ("none", none.clone(), open),
        ("Basic", own(), open),
        (
            "a provider's Bearer",
            none.clone().with_credentials(answers(token)),
            open,
        ),
        ("a provider's Basic", none.with_credentials(answers(password)), open),
        (
            "Digest, MD5",
            own(),
            digest(r#"Digest realm="r", nonce="0123456789abcdef", qop="auth", algorithm=MD5"#),
        ),
        (
            "Digest, SHA-256",
            own(),
            digest(r#"Digest realm="r", nonce="0123456789abcdef", qop="auth", algorithm=SHA-256"#),
        ),
    ]
}

fn client(layer: ProxyLayer, proxy: Canned) -> Client<Empty<Bytes>> {
    // No TLS is spoken here, and a machine without root certificates will do.
    let tls = TlsConfig::builder().dangerous_accept_any_certificate_for_testing();
    let client = Client::builder()
        .layer(layer)
        .connector(proxy)
        .target_tls(tls.build().expect("there is a provider"));
    client.build().expect("the settings are right")
}

async fn get(client: &Client<Empty<Bytes>>, url: &Uri) {
    let request = Request::get(url.clone()).body(Empty::new()).expect("a request");
    let response = client.clone().oneshot(request).await.expect("the proxy answers");
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.expect("the body comes");
    assert_eq!(body.to_bytes(), "ok");
}

async fn connect<S>(connector: &S, url: &Uri)
where
    S: Service<Uri, Error: Into<BoxError>> + Clone,
{
    let tunnel = connector.clone().oneshot(url.clone()).await.map_err(Into::into);
    tunnel.expect("the proxy opens the tunnel");
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts")
}

fn main() {
    let [plain, secure] = ["http://a.test/path", "https://a.test/"].map(Uri::from_static);
    let runtime = runtime();
    let mut c = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();

    println!("allocations of a forwarded request with keep-alive, and of a new tunnel\n");
    for (kind, layer, proxy) in kinds() {
        let (client, connector) = (client(layer.clone(), proxy), layer.layer(proxy));
        let counted = |once: &dyn Fn()| {
            // Connections, buffers and nonces are there after a few.
            (0..10).for_each(|_| once());
            let counted = allocation_counter::measure(|| (0..100).for_each(|_| once()));
            counted.count_total as f64 / 100.0
        };
        let forwarded = counted(&|| runtime.block_on(get(&client, &plain)));
        let tunnel = counted(&|| runtime.block_on(connect(&connector, &secure)));
        println!("{kind}: {forwarded:.2}, {tunnel:.2}");
    }
    println!();

    let mut group = c.benchmark_group("forwarded, keep-alive");
    for (kind, layer, proxy) in kinds() {
        let client = client(layer, proxy);
        group.bench_function(kind, |b| b.iter(|| runtime.block_on(get(&client, &plain))));
    }
    group.finish();
    let mut group = c.benchmark_group("a new tunnel");
    for (kind, layer, proxy) in kinds() {
        let connector = layer.layer(proxy);
        group.bench_function(kind, |b| b.iter(|| runtime.block_on(connect(&connector, &secure))));
    }
    group.finish();
    c.final_summary();
}
