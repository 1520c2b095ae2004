//! gRPC to several endpoints through a proxy: tonic, balanced by tower.
//!
//! tonic's own `Channel::balance_channel` takes no connector. tower's balancer, which it is made of, takes channels
//! that have one.
//!
//! ```text
//! cargo run --manifest-path examples/adapters/Cargo.toml --example tonic_balanced
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tonic::{
    body::Body,
    transport::{
        Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig, server::TcpIncoming,
    },
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tower::{
    BoxError, Layer,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, PendingRequests},
    util::{BoxCloneSyncService, MapRequestLayer},
};
use tower_outbound_proxy::{Proxy, ProxyLayer, connector::Connector};
use tower_outbound_proxy_adapters::Outbound;
use tower_outbound_proxy_lab::{Ca, connector};

type Balanced = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, BoxError>;

/// Sends each call to the endpoint with the fewer calls pending, of two at random. (A server passes
/// `proxy_layer.layer(HappyEyeballs::default())`.)
fn balanced<D>(endpoints: impl IntoIterator<Item = Endpoint>, proxy: &Proxy<D>) -> Balanced
where
    D: Connector + Clone + Send + 'static,
{
    let channel = |endpoint: Endpoint| -> PendingRequests<Channel> {
        PendingRequests::new(
            endpoint.connect_with_connector_lazy(proxy.clone()),
            CompleteOnResponse::default(),
        )
    };
    let channels: Vec<_> = endpoints.into_iter().map(channel).collect();
    BoxCloneSyncService::new(Buffer::new(Balance::new(ServiceList::new(channels)), 1024))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    const CALLS: u32 = 40;
    let ca = Ca::new();
    let outbound = Outbound::start(&["one.test", "two.test"]).await?;
    let proxy = ProxyLayer::new(outbound.config()?).layer(connector());

    let (mut endpoints, mut tunnels, mut servers) = (Vec::new(), Vec::new(), Vec::new());
    for name in ["one.test", "two.test"] {
        let (port, calls) = serve(&ca, name).await?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca.pem()));
        endpoints.push(Endpoint::try_from(format!("https://{name}:{port}"))?.tls_config(tls)?);
        tunnels.push(format!("CONNECT {name}:{port}"));
        servers.push((name, calls));
    }

    let mut client = HealthClient::new(balanced(endpoints, &proxy));
    for _ in 0..CALLS {
        let status = client.check(HealthCheckRequest::default()).await?.into_inner().status();
        if status != ServingStatus::Serving {
            return Err(format!("the server says {}", status.as_str_name()).into());
        }
    }

    let mut answered = 0;
    for (name, calls) in servers {
        let calls = calls.load(Ordering::Relaxed);
        println!("{name} answered {calls} calls");
        if calls == 0 {
            return Err(format!("{name} answered none of {CALLS} calls").into());
        }
        answered += calls;
    }
    if answered != CALLS {
        return Err(format!("{answered} answers to {CALLS} calls").into());
    }

    drop(client);
    outbound.expect(tunnels).await
}

/// Serves gRPC's health service. Returns its port, and the number of its calls without the proxy's credentials.
async fn serve(ca: &Ca, name: &str) -> Result<(u16, Arc<AtomicU32>), BoxError> {
    let identity = ca.issue(&[name]);
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(&identity.cert_pem, &identity.key_pem));
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let port = incoming.local_addr()?.port();
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    let count = MapRequestLayer::new(move |request: http::Request<Body>| {
        let leaked = request.headers().contains_key(http::header::PROXY_AUTHORIZATION);
        counter.fetch_add(u32::from(!leaked), Ordering::Relaxed);
        request
    });
    let (_, health) = tonic_health::server::health_reporter();
    let server = Server::builder().tls_config(tls)?.layer(count).add_service(health);
    tokio::spawn(server.serve_with_incoming(incoming));
    Ok((port, calls))
}
