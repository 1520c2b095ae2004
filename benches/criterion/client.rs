//! The cost of `Client`, beside hyper-util's client with the same layer around it and under it.
//!
//! `cargo bench -p tower-outbound-proxy-benches --bench client`. Over loopback, the proxy in a thread of its own; it
//! answers in the name of the origins. Clients in processes of their own, and other libraries, are compared by
//! `benches/peers`.

use std::{cell::Cell, io, net::SocketAddr, thread, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use criterion::Criterion;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Body;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_outbound_proxy::{Client, ProxyConfig, ProxyLayer, TlsConfig};

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";

/// Takes what comes: a CONNECT opens a tunnel to an origin that is here as well.
async fn answer(mut io: TcpStream) -> io::Result<()> {
    io.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(4096);
    loop {
        while let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let is_connect = buffer.starts_with(b"CONNECT ");
            buffer.advance(end + 4);
            let response = if is_connect {
                b"HTTP/1.1 200 OK\r\n\r\n"
            } else {
                RESPONSE
            };
            io.write_all(response).await?;
        }
        buffer.reserve(4096);
        if io.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts")
}

/// The proxy's address. It ends with the program.
fn start_proxy() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    listener.set_nonblocking(true).expect("a socket need not block");
    thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::from_std(listener).expect("the runtime takes the listener");
            while let Ok((io, _)) = listener.accept().await {
                tokio::spawn(answer(io));
            }
        });
    });
    address
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

/// This crate's, and hyper-util's. With `keep` they keep idle connections.
fn ours(layer: &ProxyLayer, keep: bool) -> Client<Empty<Bytes>> {
    // No TLS is spoken here, and a machine without root certificates will do.
    let tls = TlsConfig::builder().dangerous_accept_any_certificate_for_testing();
    let mut builder = Client::builder()
        .layer(layer.clone())
        .connector(connector())
        .target_tls(tls.build().expect("there is a provider"));
    if !keep {
        builder = builder.max_idle(0);
    }
    builder.build().expect("the settings are right")
}

fn theirs(
    layer: &ProxyLayer,
    keep: bool,
) -> impl Service<Request<Empty<Bytes>>, Response = Response<hyper::body::Incoming>, Error = BoxError> + Clone {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new());
    if !keep {
        builder.pool_max_idle_per_host(0);
    }
    layer.layer(builder.build(layer.layer(connector())))
}

async fn get<S, B>(service: S, url: &str) -> usize
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Data: Send, Error: Into<BoxError>>,
{
    let request = Request::get(url).body(Empty::new()).expect("a request");
    let response = service.oneshot(request).await.map_err(Into::into);
    let body = response.expect("the proxy answers").into_body().collect();
    let body = body.await.map_err(Into::into).expect("the body comes");
    body.to_bytes().len()
}

fn compare(c: &mut Criterion, group: &str, layer: &ProxyLayer, keep: bool, url: impl Fn() -> String) {
    let runtime = runtime();
    let mut group = c.benchmark_group(group);
    let (ours, theirs) = (ours(layer, keep), theirs(layer, keep));
    group.bench_function("Client", |b| b.iter(|| runtime.block_on(get(ours.clone(), &url()))));
    group.bench_function("hyper-util", |b| {
        b.iter(|| runtime.block_on(get(theirs.clone(), &url())))
    });
    group.finish();
}

fn main() {
    let proxy = format!("http://{}", start_proxy());
    let forward = ProxyConfig::builder().all(proxy.as_str()).build();
    let forward = ProxyLayer::new(forward.expect("the settings are right"));
    let tunnel = ProxyConfig::builder().all(proxy.as_str()).always_tunnel(true).build();
    let tunnel = ProxyLayer::new(tunnel.expect("the settings are right"));

    let mut c = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4))
        .sample_size(50)
        .configure_from_args();
    let count = Cell::new(0);
    let another = || {
        count.set(count.get() + 1);
        format!("http://h{}.bench.test/", count.get())
    };
    let one = || "http://h0.bench.test/".to_owned();
    compare(&mut c, "forwarded, keep-alive", &forward, true, one);
    compare(&mut c, "in a tunnel, keep-alive", &tunnel, true, one);
    compare(&mut c, "a new tunnel", &tunnel, false, another);
    c.final_summary();
}
