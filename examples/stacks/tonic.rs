//! gRPC through a CONNECT proxy: tonic with an `http://` and with an `https://` endpoint.
//!
//! The layer goes around the connector, and tonic puts TLS to the endpoint outside it. gRPC on `http://` is HTTP/2 in
//! clear text, which no proxy forwards, so it needs `always_tunnel`. Exits with 0 only if both calls went through
//! tunnels of the proxy, which requires a password.
//!
//! ```text
//! cargo run -p tower-outbound-proxy-stacks --example tonic
//! ```

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tower::{BoxError, Layer};
use tower_outbound_proxy::{ProxyConfig, ProxyLayer};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Kind, connector};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ca = Ca::new();
    let identity = ca.issue(&["grpc.test"]);
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(&identity.cert_pem, &identity.key_pem));
    let clear = serve(Server::builder()).await?;
    let secure = serve(Server::builder().tls_config(tls)?).await?;
    let proxy = ForwardProxy::builder().basic("user", "pass").start().await;

    let config = ProxyConfig::builder()
        .all(proxy.url_with("user:pass@"))
        .always_tunnel(true)
        .build()?;
    let layer = ProxyLayer::new(config);

    let endpoint = Endpoint::try_from(format!("http://grpc.test:{clear}"))?;
    call(endpoint.connect_with_connector(layer.layer(connector())).await?, "http").await?;

    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca.pem()));
    let endpoint = Endpoint::try_from(format!("https://grpc.test:{secure}"))?.tls_config(tls)?;
    call(
        endpoint.connect_with_connector(layer.layer(connector())).await?,
        "https",
    )
    .await?;

    let seen = proxy.requests();
    for request in &seen {
        println!("the proxy saw: {} {}", request.method, request.target);
    }
    let targets: Vec<_> = seen.iter().map(|request| request.target.clone()).collect();
    assert_eq!(targets, [format!("grpc.test:{clear}"), format!("grpc.test:{secure}")]);
    assert!(seen.iter().all(|request| request.kind() == Kind::Connect));
    Ok(())
}

/// Makes a unary call to the health service that gRPC defines.
async fn call(channel: Channel, scheme: &str) -> Result<(), BoxError> {
    let request = HealthCheckRequest::default();
    let status = HealthClient::new(channel).check(request).await?.into_inner().status();
    println!("{scheme}: the server says {}", status.as_str_name());
    assert_eq!(status, ServingStatus::Serving);
    Ok(())
}

async fn serve(mut server: Server) -> Result<u16, BoxError> {
    let incoming = tonic::transport::server::TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let port = incoming.local_addr()?.port();
    let (_, health) = tonic_health::server::health_reporter();
    tokio::spawn(server.add_service(health).serve_with_incoming(incoming));
    Ok(port)
}
