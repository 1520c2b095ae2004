//! Response heads: both versions accept the same ones.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower_outbound_proxy::ProxyConfig;
use tower_outbound_proxy_lab::Ca;

use super::{TestClient, builder, request, send};

/// Starts a server whose responses to `/FIELDS/BYTES` have so many fields of so many bytes, and returns its port.
async fn start(ca: &Ca, alpn: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = TlsAcceptor::from(ca.issue(&["a.test"]).server_config(&[alpn]));
    tokio::spawn(async move {
        loop {
            let (io, _) = listener.accept().await.unwrap();
            let tls = tls.clone();
            tokio::spawn(async move {
                let io = TokioIo::new(tls.accept(io).await.unwrap());
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(io, service_fn(answer)).await;
            });
        }
    });
    port
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let numbers = request.uri().path().split('/').skip(1);
    let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
    let value = HeaderValue::from_str(&"x".repeat(numbers[1])).unwrap();
    let mut response = Response::default();
    for _ in 0..numbers[0] {
        response.headers_mut().append("x-field", value.clone());
    }
    Ok(response)
}

#[tokio::test]
async fn both_versions_accept_the_same_response_heads() {
    let ca = Ca::new();
    for (alpn, is_proxy) in [("http/1.1", false), ("h2", false), ("http/1.1", true), ("h2", true)] {
        let port = start(&ca, alpn).await;
        let (config, origin) = match is_proxy {
            false => (ProxyConfig::builder(), format!("https://a.test:{port}")),
            true => {
                let config = ProxyConfig::builder().http(format!("https://a.test:{port}"));
                (config.proxy_tls(ca.client_config(&[])), "http://b.test".to_owned())
            }
        };
        let client: TestClient = builder(config.build().unwrap(), &ca).build().unwrap();
        for (fields, bytes, accepted) in [
            (1, 1, true),
            (1, 15_000, true),
            (1, 17_000, true),
            (3, 100_000, true),
            (1, 400_000, true),
            // With the server's own fields, such as `date`.
            (101, 10, true),
            (250, 10, true),
            (250, 1_600, true),
            (10, 100_000, false),
        ] {
            let url = format!("{origin}/{fields}/{bytes}");
            match send(&client, request(&url)).await {
                Ok(response) => {
                    assert!(accepted, "{origin}, {alpn}: {fields} fields of {bytes} bytes");
                    assert_eq!(response.headers().get_all("x-field").iter().count(), fields);
                }
                Err(error) => assert!(
                    !accepted,
                    "{origin}, {alpn}: {fields} fields of {bytes} bytes: {error:?}"
                ),
            }
        }
    }
}
