//! kube through a proxy: a list of pods, and `exec`, which upgrades to WebSocket.
//!
//! kube takes any tower service. Its [`ConfigExt`] puts TLS to the API server, with the kubeconfig's trust and client
//! certificate, around this crate's connector. The API server of a kubeconfig with `http://` is reached by a forward
//! route, which carries no upgrades: `exec` then needs `always_tunnel`.
//!
//! ```text
//! cargo run --manifest-path examples/adapters/Cargo.toml --example kube
//! ```

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::Connection},
    rt::{TokioExecutor, TokioIo},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config,
    api::{AttachParams, ListParams},
    client::ConfigExt,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};
use tower::{BoxError, Layer, ServiceBuilder};
use tower_outbound_proxy::{ProxyLayer, connector::Connector};
use tower_outbound_proxy_adapters::{Outbound, serve};
use tower_outbound_proxy_lab::{Ca, connector};

const TOKEN: &str = "Bearer of-the-cluster";

/// Makes a client of the cluster. (A server passes `HappyEyeballs::default()` as `dial`.)
fn client<D>(config: Config, proxy: ProxyLayer, dial: D) -> Result<Client, BoxError>
where
    D: Connector<Stream: Connection> + Clone + Send + Sync + 'static,
{
    let https = config.rustls_https_connector_with_connector(proxy.layer(dial))?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(proxy)
        .map_err(BoxError::from)
        .service(HyperClient::builder(TokioExecutor::new()).build(https));
    Ok(Client::new(service, config.default_namespace))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ca = Ca::new();
    let port = serve(ca.issue(&["kube.test"]).server_config(&[]), api_server).await?;
    let outbound = Outbound::start(&["kube.test"]).await?;

    let mut config = Config::new(format!("https://kube.test:{port}").parse()?);
    config.root_cert = Some(vec![ca.der().to_vec()]);
    config.auth_info.token = Some(TOKEN.trim_start_matches("Bearer ").to_owned().into());
    let client = client(config, ProxyLayer::new(outbound.config()?), connector())?;

    let pods: Api<Pod> = Api::default_namespaced(client);
    let list = pods.list(&ListParams::default()).await?;
    let names: Vec<_> = list
        .items
        .iter()
        .filter_map(|pod| pod.metadata.name.as_deref())
        .collect();
    println!("pods: {}", names.join(", "));
    if names != ["web-0", "web-1"] {
        return Err("the server lists web-0 and web-1".into());
    }

    let attach = AttachParams::default().stdin(true).stderr(false);
    let mut process = pods.exec("web-0", ["cat"], &attach).await?;
    let mut stdin = process.stdin().ok_or("stdin is attached")?;
    let mut stdout = process.stdout().ok_or("stdout is attached")?;
    stdin.write_all(b"through the proxy and back").await?;
    stdin.shutdown().await?;
    let mut output = String::new();
    stdout.read_to_string(&mut output).await?;
    println!("exec cat: {output}");
    if output != "through the proxy and back" {
        return Err("cat writes what it reads".into());
    }
    process.join().await?;

    drop(pods);
    // The upgrade took the list's connection.
    outbound.expect([format!("CONNECT kube.test:{port}")]).await
}

/// Answers as an API server with two pods, in which `cat` can be executed.
async fn api_server(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, BoxError> {
    if request
        .headers()
        .get(header::AUTHORIZATION)
        .is_none_or(|value| value != TOKEN)
    {
        return Ok(Response::builder()
            .status(StatusCode::UNAUTHORIZED)
            .body(Full::default())?);
    }
    match request.uri().path() {
        "/api/v1/namespaces/default/pods" => {
            let pod = |name: &str| json!({ "metadata": { "name": name } });
            let list = json!({
                "apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod("web-0"), pod("web-1")],
            });
            let body = serde_json::to_vec(&list)?;
            Ok(Response::builder()
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.into())?)
        }
        "/api/v1/namespaces/default/pods/web-0/exec" => {
            let key = request
                .headers()
                .get(header::SEC_WEBSOCKET_KEY)
                .ok_or("not a WebSocket")?;
            let response = Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header(header::CONNECTION, "Upgrade")
                .header(header::UPGRADE, "websocket")
                .header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))
                .header(header::SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io")
                .body(Full::default())?;
            tokio::spawn(cat(request));
            Ok(response)
        }
        _ => Ok(Response::builder()
            .status(StatusCode::NOT_FOUND)
            .body(Full::default())?),
    }
}

/// Runs `cat` by the protocol `v5.channel.k8s.io`, in which a message's first byte is its channel: 0 stdin, 1 stdout,
/// 3 status, and 255 to close the channel that follows.
async fn cat(request: Request<Incoming>) -> Result<(), BoxError> {
    let io = TokioIo::new(hyper::upgrade::on(request).await?);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    while let Some(message) = socket.next().await {
        match message? {
            Message::Binary(bytes) if bytes[..] == [255, 0] => break,
            Message::Binary(bytes) => {
                if let [0, input @ ..] = &bytes[..] {
                    socket.send(Message::binary([&[1], input].concat())).await?;
                }
            }
            _ => {}
        }
    }
    let status = serde_json::to_vec(&json!({ "status": "Success" }))?;
    socket.send(Message::binary([&[3][..], &status].concat())).await?;
    socket.close(None).await?;
    while socket.next().await.is_some() {}
    Ok(())
}
