//! The decision: a list's size and the place of the match against the time it takes, and building the list.
//!
//! `cargo bench -p tower-outbound-proxy-benches --bench decision`. What other libraries take for the same is in
//! `benches/peers/`.

#[path = "../lists/mod.rs"]
mod lists;

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion};
use http::Uri;
use tower_outbound_proxy::{Dialect, NoProxy, ProxyConfig, Target};

/// The look-up alone, in a target that is there already.
fn look_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("look-up from a Target");
    for entries in lists::SIZES {
        let list = NoProxy::lenient(&lists::list(entries), Dialect::Standard);
        for (place, url) in lists::targets(entries) {
            let target: Target<'_> = url.parse().expect("a target");
            group.bench_function(BenchmarkId::new(place, entries), |b| {
                b.iter(|| list.matches(black_box(&target)));
            });
        }
    }
    group.finish();
}

/// All that there is to it: read the URI, normalise the host, look up, make the route.
fn decide(c: &mut Criterion) {
    let mut group = c.benchmark_group("decision from a Uri");
    for entries in lists::SIZES {
        let list = NoProxy::lenient(&lists::list(entries), Dialect::Standard);
        let config = ProxyConfig::builder().all(lists::PROXY).no_proxy(list).build();
        let config = config.expect("the settings are right");
        for (place, url) in lists::targets(entries) {
            let uri: Uri = url.parse().expect("a URI");
            group.bench_function(BenchmarkId::new(place, entries), |b| {
                b.iter(|| Target::try_from(black_box(&uri)).map(|target| config.route(&target)));
            });
        }
    }
    group.finish();
}

fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("building");
    for entries in lists::SIZES {
        let list = lists::list(entries);
        group.bench_function(BenchmarkId::from_parameter(entries), |b| {
            b.iter(|| NoProxy::lenient(black_box(&list), Dialect::Standard));
        });
    }
    group.finish();
}

fn main() {
    let mut c = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(50)
        .configure_from_args();
    look_up(&mut c);
    decide(&mut c);
    build(&mut c);
    c.final_summary();
}
