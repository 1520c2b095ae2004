//! Races between requests and the ends of their connections: every request ends, whatever the nanosecond.
//!
//! `cargo test --release --package tower-outbound-proxy-stress -- --test-threads 1 --nocapture`. Servers are in threads
//! of their own, and so is the watch over the requests. Each test makes requests for a fixed time; debug builds find
//! little, and so these tests are a package of their own, which is built for release without all the others.

#![cfg(test)]

mod http1;
mod http2;
mod timed;
mod watch;

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Collected, Full};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};
use tower::ServiceExt;
use tower_outbound_proxy::{Client, ProxyConfig, TlsConfig, client::ClientBuilder};
use tower_outbound_proxy_lab::{Ca, Dice};

type StressClient = Client<Full<Bytes>>;

/// The time that each test makes requests for.
const DURATION: Duration = Duration::from_secs(15);

/// Returns a builder of a client that uses no proxy and trusts this authority.
fn builder(ca: &Ca) -> ClientBuilder {
    let tls = TlsConfig::builder().add_root_pem(ca.pem()).only_added_roots().build();
    let config = ProxyConfig::builder().build().unwrap();
    Client::builder().config(config).target_tls(tls.unwrap())
}

fn runtime(threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all().build().unwrap()
}

/// Starts a server in a thread of its own, which ends with the process.
fn serve<F>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (io, _) = listener.accept().await.unwrap();
                io.set_nodelay(true).unwrap();
                tokio::spawn(answer(io));
            }
        });
    });
    addr
}

/// Dice for the connections of a server.
#[derive(Clone)]
struct Shared(Arc<Mutex<Dice>>);

impl Default for Shared {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Dice::new(0x5eed))))
    }
}

impl Shared {
    fn roll(&self, sides: u64) -> u64 {
        self.0.lock().unwrap().roll(sides)
    }
}

/// The numbers of the requests that a server has processed.
#[derive(Debug, Default)]
struct Processed(Mutex<HashSet<u64>>);

impl Processed {
    /// Records the request with this body, and returns the response's body, which is the same unless the request has
    /// come before.
    fn answer(&self, body: Bytes) -> Bytes {
        match std::str::from_utf8(&body).ok().and_then(|number| number.parse().ok()) {
            Some(number) if self.0.lock().unwrap().insert(number) => body,
            _ => Bytes::from_static(b"repeated"),
        }
    }

    fn has(&self, number: u64) -> bool {
        self.0.lock().unwrap().contains(&number)
    }
}

/// The end of a request.
#[derive(Debug)]
enum Outcome {
    Answered,
    /// The connection ended before the request was sent.
    Unsent,
    /// The connection ended afterwards.
    Broken,
    /// The answer, or the error, is not true.
    Wrong(String),
}

/// Returns a POST whose body is its number.
fn request(url: &str, number: u64) -> Request<Full<Bytes>> {
    Request::post(url).body(format!("{number:08}").into()).unwrap()
}

/// Sends the request of this number, and reads the response, which is its number too.
async fn send(client: &StressClient, request: Request<Full<Bytes>>, number: u64, processed: &Processed) -> Outcome {
    match client.clone().oneshot(request).await {
        Ok(response) => match response.into_body().collect().await.map(Collected::to_bytes) {
            Ok(read) if read == format!("{number:08}") => Outcome::Answered,
            Ok(_) => Outcome::Wrong(format!(
                "request {number} got the response of another, or was processed twice"
            )),
            Err(_) => Outcome::Broken,
        },
        Err(error) if !error.is_before_request() => Outcome::Broken,
        Err(error) if processed.has(number) => {
            Outcome::Wrong(format!("request {number} was processed, and told as unsent: {error:?}"))
        }
        Err(_) => Outcome::Unsent,
    }
}
