//! WebSocket through a proxy: tokio-tungstenite with `ws` and `wss`.
//!
//! The crate's connector opens the tunnel, and tungstenite speaks TLS and WebSocket inside of it.
//!
//! ```text
//! cargo run --manifest-path examples/adapters/Cargo.toml --example websocket
//! ```

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use http::{StatusCode, Uri, header};
use rustls::{ClientConfig, ServerConfig};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, accept_hdr_async, client_async_tls_with_config,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};
use tower::{BoxError, Layer, ServiceExt};
use tower_outbound_proxy::{
    Proxy, ProxyLayer,
    connector::{Connector as Dial, ProxyStream},
};
use tower_outbound_proxy_adapters::Outbound;
use tower_outbound_proxy_lab::{Ca, connector};

type Socket<D> = WebSocketStream<MaybeTlsStream<ProxyStream<<D as Dial>::Stream>>>;

/// Opens a WebSocket. (A server passes `proxy_layer.layer(HappyEyeballs::default())`.)
async fn open<D: Dial>(proxy: Proxy<D>, tls: Arc<ClientConfig>, url: &str) -> Result<Socket<D>, BoxError> {
    let stream = proxy.oneshot(url.parse::<Uri>()?).await?;
    let tls = Some(Connector::Rustls(tls));
    let (socket, _) = client_async_tls_with_config(url, stream, None, tls).await?;
    Ok(socket)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ca = Ca::new();
    let clear = echo(None).await?;
    let secure = echo(Some(ca.issue(&["origin.test"]).server_config(&[]))).await?;
    let outbound = Outbound::start(&["origin.test"]).await?;
    let proxy = ProxyLayer::new(outbound.config()?).layer(connector());

    for url in [
        format!("ws://origin.test:{clear}/"),
        format!("wss://origin.test:{secure}/"),
        format!("ws://origin.internal.test:{clear}/"),
    ] {
        let mut socket = open(proxy.clone(), ca.client_config(&[]), &url).await?;
        socket.send(Message::text("hello")).await?;
        let echoed = socket.next().await.ok_or("the server closed the connection")??;
        println!("{url} answers: {echoed}");
        if echoed != Message::text("hello") {
            return Err("the server echoes".into());
        }
        socket.close(None).await?;
        while socket.next().await.is_some() {}
    }

    let tunnels = [clear, secure].map(|port| format!("CONNECT origin.test:{port}"));
    outbound.expect(tunnels).await
}

/// Serves WebSocket connections, and returns the port.
async fn echo(tls: Option<Arc<ServerConfig>>) -> Result<u16, BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let tls = tls.clone().map(TlsAcceptor::from);
            tokio::spawn(async move {
                match tls {
                    Some(tls) => echo_one(tls.accept(io).await?).await,
                    None => echo_one(io).await,
                }
            });
        }
    });
    Ok(port)
}

async fn echo_one(io: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), BoxError> {
    let mut socket = accept_hdr_async(io, without_credentials).await?;
    while let Some(message) = socket.next().await {
        match message? {
            text @ Message::Text(_) => socket.send(text).await?,
            _ => socket.flush().await?,
        }
    }
    Ok(())
}

/// Refuses a handshake that carries the proxy's credentials.
#[expect(clippy::result_large_err, reason = "tungstenite's callback returns it")]
fn without_credentials(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    if !request.headers().contains_key(header::PROXY_AUTHORIZATION) {
        return Ok(response);
    }
    let mut refusal = ErrorResponse::default();
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    Err(refusal)
}
