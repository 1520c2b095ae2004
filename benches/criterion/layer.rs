//! The cost that `Proxy<S>` adds to a request: over a no-op service, beside that service alone.
//!
//! `cargo bench -p tower-outbound-proxy-benches --bench layer`. It prints the allocations of one request first, then
//! the times. The service alone is `alone`, the decision alone `decision`; what the layer costs besides the decision is
//! the rest.

#[path = "../lists/mod.rs"]
mod lists;

use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use criterion::{BatchSize, Criterion};
use http::{HeaderValue, Request, Response, Uri, header};
use tower::{Layer, Service};
use tower_outbound_proxy::{Dialect, NoProxy, Proxy, ProxyConfig, ProxyLayer, Route, Target};

const SIZES: [usize; 2] = [lists::SIZES[1], lists::SIZES[4]];

/// The routes, and for each a URI that is reached so whatever the list's size.
fn routes() -> [(&'static str, Uri); 3] {
    let [(_, listed), _, (_, other), ..] = lists::targets(1);
    let secure = other.replacen("http", "https", 1);
    [("direct", listed), ("forward", other), ("tunnel", secure)]
        .map(|(route, url)| (route, url.parse().expect("a URI")))
}

/// Answers at once.
#[derive(Clone, Copy)]
struct Noop;

impl Service<Request<()>> for Noop {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        drop(request);
        ready(Ok(Response::new(())))
    }
}

/// Readiness, call and response.
fn answer<S>(service: &mut S, request: Request<()>) -> S::Response
where
    S: Service<Request<()>, Error: fmt::Debug>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(response) => response.expect("the service answers"),
        Poll::Pending => unreachable!("a no-op service never waits"),
    }
}

/// A request with the header fields that a client has set before it comes to its proxy.
fn request(uri: &Uri) -> Request<()> {
    let mut request = bare(uri);
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("bench/1"));
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer token"));
    request
}

/// A request without header fields.
fn bare(uri: &Uri) -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = uri.clone();
    request
}

fn config(entries: usize) -> ProxyConfig {
    let list = NoProxy::lenient(&lists::list(entries), Dialect::Standard);
    let config = ProxyConfig::builder().all(lists::PROXY).no_proxy(list).build();
    config.expect("the settings are right")
}

fn proxies(config: &ProxyConfig) -> [(&'static str, Proxy<Noop>); 2] {
    let layer = ProxyLayer::new(config.clone());
    [
        ("proxy", layer.clone().with_route_extension(false).layer(Noop)),
        ("proxy, route in extensions", layer.layer(Noop)),
    ]
}

fn route_of(config: &ProxyConfig, uri: &Uri) -> Route {
    config.route(&Target::try_from(uri).expect("a target"))
}

fn allocations() {
    println!("allocations for a request (for one without header fields)\n");
    for entries in SIZES {
        let config = config(entries);
        for (route, uri) in routes() {
            assert!(route_of(&config, &uri).to_string().starts_with(route));
            for (name, mut service) in proxies(&config) {
                // The first request of all makes the credentials' bytes shareable.
                answer(&mut service, request(&uri));
                let [usual, bare] = [request, bare].map(|make| {
                    let request = make(&uri);
                    let mut response = None;
                    let counted = allocation_counter::measure(|| response = Some(answer(&mut service, request)));
                    drop(response);
                    counted.count_total
                });
                println!("{route}, {entries} entries, {name}: {usual} ({bare})");
            }
        }
    }
    println!();
}

fn times(c: &mut Criterion) {
    for (route, uri) in routes() {
        let mut group = c.benchmark_group(route);
        group.bench_function("alone", |b| {
            b.iter_batched(
                || request(&uri),
                |request| answer(&mut Noop, request),
                BatchSize::SmallInput,
            );
        });
        for entries in SIZES {
            let config = config(entries);
            group.bench_function(format!("decision, {entries} entries"), |b| {
                b.iter(|| route_of(&config, black_box(&uri)));
            });
            for (name, mut service) in proxies(&config) {
                group.bench_function(format!("{name}, {entries} entries"), |b| {
                    b.iter_batched(
                        || request(&uri),
                        |request| answer(&mut service, request),
                        BatchSize::SmallInput,
                    );
                });
            }
        }
        group.finish();
    }
}

fn main() {
    allocations();
    let mut c = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
        .configure_from_args();
    times(&mut c);
    c.final_summary();
}
