//! A dashboard: the client's figures as OpenTelemetry metrics.
//!
//! `tracing_opentelemetry::MetricsLayer` makes metrics of the crate's events, and a gauge reads the client's statistics.
//!
//! ```text
//! cargo run --manifest-path examples/adapters/Cargo.toml --example metrics
//! ```

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use opentelemetry::{
    KeyValue,
    metrics::{Meter, MeterProvider},
};
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
    data::{AggregatedMetrics, MetricData},
};
use tower::BoxError;
use tower_outbound_proxy::{Client, TlsConfig};
use tower_outbound_proxy_adapters::Outbound;
use tower_outbound_proxy_lab::{Ca, Origin, connector};
use tracing_opentelemetry::MetricsLayer;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// Makes metrics of the crate's events, and of nothing else.
fn of_events(provider: &SdkMeterProvider) {
    let events = Targets::new().with_target("tower_outbound_proxy::metrics", tracing::Level::TRACE);
    let metrics = MetricsLayer::new(provider.clone()).with_filter(events);
    tracing_subscriber::registry().with(metrics).init();
}

/// Makes a metric of a client's statistics.
fn of_statistics(meter: &Meter, client: Client<Empty<Bytes>>) {
    let gauge = meter.i64_observable_up_down_counter("http.client.open_connections");
    let observed = gauge.with_callback(move |observer| {
        for key in client.stats().keys {
            let server = key.origin.unwrap_or_else(|| key.route.to_string());
            for (state, count) in [("idle", key.idle), ("active", key.open - key.idle)] {
                let attributes = [
                    KeyValue::new("http.connection.state", state),
                    KeyValue::new("server.address", server.clone()),
                ];
                observer.observe(count as i64, &attributes);
            }
        }
    });
    observed.build();
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ca = Ca::new();
    let plain = Origin::http().await;
    let secure = Origin::https(&ca, &["secure.test"], &["h2"]).await;
    let outbound = Outbound::start(&["plain.test", "secure.test"]).await?;

    let exporter = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(exporter.clone()).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    of_events(&provider);

    let trust = TlsConfig::builder().add_root_pem(ca.pem()).only_added_roots().build()?;
    let client: Client<Empty<Bytes>> = Client::builder()
        .config(outbound.config()?)
        .target_tls(trust)
        .connector(connector())
        .max_idle(1)
        // Squid records a tunnel when it has ended.
        .idle_timeout(Some(Duration::from_secs(3)))
        .build()?;
    of_statistics(&provider.meter("example"), client.clone());
    for (scheme, host, port) in [
        ("http", "plain.test", plain.port()),
        ("https", "secure.test", secure.port()),
        ("https", "secure.test", secure.port()),
    ] {
        let request = Request::get(format!("{scheme}://{host}:{port}/")).body(Empty::new())?;
        client.send(request).await?.into_body().collect().await?;
    }
    // The first connection is one too many, and closes.
    while client.stats().open() > 1 {
        tokio::task::yield_now().await;
    }
    provider.force_flush()?;

    let figures = read(&exporter)?;
    for (name, count) in &figures {
        println!("{name}: {count}");
    }
    let expected = [
        // Active, and idle.
        ("http.client.open_connections active", 0),
        ("http.client.open_connections idle", 1),
        ("http.client.connection.duration", 1),
        // CONNECT and TLS once, and the proxy is dialled for each of two connections.
        ("http.client.connection.setup.duration connect", 1),
        ("http.client.connection.setup.duration tls to the target", 1),
        ("http.client.request.duration", 3),
        ("http.client.request.time_in_queue", 3),
    ];
    for (name, count) in expected {
        if figures.get(name) != Some(&count) {
            return Err(format!("{name}: {:?} instead of {count}", figures.get(name)).into());
        }
    }
    outbound
        .expect([
            format!("GET http://plain.test:{}/", plain.port()),
            format!("CONNECT secure.test:{}", secure.port()),
        ])
        .await
}

/// Returns the number of values of each histogram, and each gauge, by state or phase.
fn read(exporter: &InMemoryMetricExporter) -> Result<BTreeMap<String, i64>, BoxError> {
    let mut figures = BTreeMap::new();
    for resource in exporter.get_finished_metrics()? {
        for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
            let name = metric.name();
            match metric.data() {
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                    for point in histogram.data_points() {
                        let name = format!("{name}{}", part(point.attributes()));
                        *figures.entry(name).or_default() += point.count() as i64;
                    }
                }
                AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                    for point in sum.data_points() {
                        let name = format!("{name}{}", part(point.attributes()));
                        *figures.entry(name).or_default() += point.value();
                    }
                }
                _ => return Err(format!("{name} is neither").into()),
            }
        }
    }
    Ok(figures)
}

/// Returns the state or phase among these attributes, after a blank.
fn part<'a>(mut attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let part = attributes.find(|one| ["http.connection.state", "http.connection.phase"].contains(&one.key.as_str()));
    part.map_or_else(String::new, |one| format!(" {}", one.value))
}
