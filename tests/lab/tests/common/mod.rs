//! A minimal client.

#![allow(dead_code, unreachable_pub)] // every test binary uses some of it

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_outbound_proxy_lab::within;

pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

pub async fn dial(addr: SocketAddr) -> TcpStream {
    within(TcpStream::connect(addr)).await.unwrap()
}

pub async fn tls<T: Io>(io: T, config: Arc<ClientConfig>, name: &'static str) -> TlsStream<T> {
    let name = name.try_into().unwrap();
    within(TlsConnector::from(config).connect(name, io)).await.unwrap()
}

pub async fn write(io: &mut impl Io, bytes: impl AsRef<[u8]>) {
    within(io.write_all(bytes.as_ref())).await.unwrap();
    within(io.flush()).await.unwrap();
}

/// Reads up to the next empty line.
pub async fn read_head(io: &mut impl Io) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(io.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

pub async fn read(io: &mut impl Io, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    within(io.read_exact(&mut bytes)).await.unwrap();
    bytes
}

pub async fn read_to_end(io: &mut impl Io) -> String {
    let mut bytes = Vec::new();
    within(io.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Sends a CONNECT and returns the head of the answer.
pub async fn connect(io: &mut impl Io, authority: &str, fields: &str) -> String {
    write(
        io,
        format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n"),
    )
    .await;
    read_head(io).await
}

/// Sends one request over its own connection.
pub async fn ask(io: impl Io, request: Request<&str>) -> Response<String> {
    let (mut sender, connection) = within(hyper::client::conn::http1::handshake(TokioIo::new(io)))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = request.map(|body| Full::new(Bytes::copy_from_slice(body.as_bytes())));
    let (head, body) = within(sender.send_request(request)).await.unwrap().into_parts();
    let body = within(body.collect()).await.unwrap().to_bytes();
    Response::from_parts(head, String::from_utf8(body.to_vec()).unwrap())
}

/// Returns a GET of this target for this host.
pub fn get(target: &str, host: &str) -> Request<&'static str> {
    Request::get(target).header("host", host).body("").unwrap()
}
