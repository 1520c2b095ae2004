//! `Host` and `:authority`: a request names the same host whichever version its connection speaks.

use std::{io, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, Version, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::service_fn;
use tower_outbound_proxy_lab::{Ca, Origin};

use super::{TestClient, builder, client, read, request, send, unproxied};

fn with_host(url: &str, host: &str) -> Request<Full<Bytes>> {
    let mut request = request(url);
    let host = HeaderValue::from_str(host).unwrap();
    request.headers_mut().insert(header::HOST, host);
    request
}

/// Returns the host that the origin's last request named, and checks that nothing else named one.
fn named(origin: &Origin) -> String {
    let heard = origin.requests().pop().unwrap();
    let hosts: Vec<_> = heard.headers.get_all(header::HOST).iter().collect();
    if heard.version == Version::HTTP_2 {
        assert_eq!(hosts, [""; 0], "beside `:authority`");
        return heard.target.parse::<Uri>().unwrap().authority().unwrap().to_string();
    }
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    hosts[0].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_callers_host_is_the_authority_of_http2() {
    let ca = Ca::new();
    for alpn in ["http/1.1", "h2"] {
        let origin = Origin::https(&ca, &["a.test"], &[alpn]).await;
        let client = client(unproxied(), &ca);
        let own = origin.authority();
        for host in [
            "virtual.test",
            "Virtual.test:8443",
            "[2001:db8::1]:80",
            "under_score",
            &own,
        ] {
            let response = send(&client, with_host(&origin.url("/echo?x"), host)).await.unwrap();
            read(response).await;
            assert_eq!(named(&origin), host);
        }
        read(send(&client, request(&origin.url("/echo"))).await.unwrap()).await;
        assert_eq!(named(&origin), own);
        // The connection is that to the URL's host.
        let tls = origin.connection(0).tls().unwrap();
        assert_eq!((tls.alpn.as_deref(), tls.sni.as_deref()), (Some(alpn), Some("a.test")));
        assert_eq!(origin.connections_opened(), 1);
    }
}

/// The scheme's own port is named in neither version.
#[tokio::test]
async fn the_default_port_is_not_named() {
    let ca = Ca::new();
    for alpn in ["http/1.1", "h2"] {
        let origin = Origin::https(&ca, &["a.test"], &[alpn]).await;
        let addr = origin.addr();
        let connector = service_fn(move |_: Uri| dial(addr));
        let client: TestClient = builder(unproxied(), &ca).connector(connector).build().unwrap();
        for url in [
            "https://a.test/echo",
            "https://a.test:443/echo",
            "https://me:s3cret@a.test:443/echo",
        ] {
            read(send(&client, request(url)).await.unwrap()).await;
            assert_eq!(named(&origin), "a.test", "{url}");
        }
    }
}

#[tokio::test]
async fn a_host_that_is_none_is_an_error_that_costs_nothing() {
    let ca = Ca::new();
    let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
    let client = client(unproxied(), &ca);
    for host in ["", "a b", "me@a.test", "a.test/path", "http://a.test", ":80", "[::1"] {
        let error = send(&client, with_host(&origin.url("/"), host)).await.unwrap_err();
        assert!(error.is_before_request() && !error.is_connect(), "{host}: {error:?}");
        assert_eq!(
            error.to_string(),
            "invalid target: the request's Host field is not a host with or without a port"
        );
    }
    let mut twice = with_host(&origin.url("/"), "a.test");
    twice
        .headers_mut()
        .append(header::HOST, HeaderValue::from_static("a.test"));
    let error = send(&client, twice).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid target: the request has more than one Host field"
    );
    assert_eq!(origin.connections_opened(), 0);
}

async fn dial(addr: SocketAddr) -> io::Result<TokioIo<TcpStream>> {
    TcpStream::connect(addr).await.map(TokioIo::new)
}
