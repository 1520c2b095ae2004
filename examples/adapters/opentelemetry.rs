//! OpenTelemetry through a proxy: spans exported by OTLP over HTTP.
//!
//! The exporter takes any [`HttpClient`], and this crate's [`Client`] becomes one in a few lines. It sends batches from
//! a thread of its own, outside of tokio, so the client is told its runtime.
//!
//! ```text
//! cargo run --manifest-path examples/adapters/Cargo.toml --example opentelemetry
//! ```

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use opentelemetry::{
    KeyValue,
    trace::{Span, Tracer, TracerProvider},
};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prost::Message;
use tokio::runtime::Handle;
use tower::BoxError;
use tower_outbound_proxy::{Client, TlsConfig};
use tower_outbound_proxy_adapters::Outbound;
use tower_outbound_proxy_lab::connector;
use tower_outbound_proxy_lab::{Ca, Origin};

/// [`Client`] as the exporter's HTTP client: `exporter.with_http_client(…)`.
#[derive(Debug)]
struct Proxied(Client<Full<Bytes>>);

#[async_trait]
impl HttpClient for Proxied {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = self.0.send(request.map(Full::new)).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ca = Ca::new();
    // An empty body is the response of a collector that has accepted everything.
    let tls = ca.issue(&["collector.test"]).server_config(&["http/1.1"]);
    let collector = Origin::builder().tls(tls).page("/v1/traces", "").start().await;
    let outbound = Outbound::start(&["collector.test"]).await?;

    // The engineer's code. (A server leaves out trust and connector.)
    let trust = TlsConfig::builder().add_root_pem(ca.pem()).only_added_roots().build()?;
    let client = Client::builder()
        .config(outbound.config()?)
        .target_tls(trust)
        .connector(connector())
        .runtime(Handle::current())
        .build()?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Proxied(client))
        .with_endpoint(format!("https://collector.test:{}/v1/traces", collector.port()))
        .build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();

    let tracer = provider.tracer("example");
    for name in ["first", "second"] {
        let mut span = tracer.start(name);
        span.set_attribute(KeyValue::new("url.path", "/"));
        span.end();
    }
    // It waits for the export, which needs the runtime.
    tokio::task::spawn_blocking(move || provider.shutdown()).await??;
    drop(tracer);

    let mut arrived = Vec::new();
    for request in collector.requests() {
        if request.header("proxy-authorization").is_some() {
            return Err("the proxy's password reached the collector".into());
        }
        let export = ExportTraceServiceRequest::decode(request.body)?;
        let scopes = export
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans);
        arrived.extend(scopes.flat_map(|scope| scope.spans));
    }
    let names: Vec<_> = arrived.iter().map(|span| span.name.as_str()).collect();
    println!("the collector has spans: {}", names.join(", "));
    if names != ["first", "second"] || arrived.iter().any(|span| span.attributes.len() != 1) {
        return Err("the spans are not those that ended".into());
    }

    outbound
        .expect([format!("CONNECT collector.test:{}", collector.port())])
        .await
}
