//! Promise (RFC 9112 3.2): on request, the layer writes the request-target and `Host` as the route requires, so that it
//! fits around any HTTP service, and not only around hyper-util's client.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version, header, uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_outbound_proxy::{ProxyConfig, ProxyLayer, Route, TargetError};
use tower_outbound_proxy_lab::{ForwardProxy, Origin, connector, within};

type Bodied = Request<Full<Bytes>>;

/// Sends requests over one connection of hyper's own, as hyper writes them: it changes neither target nor `Host`.
async fn send(layer: &ProxyLayer, request: Bodied) -> Result<(Route, String), BoxError> {
    let stream = layer.layer(connector()).call(request.uri().clone()).await?;
    let (mut sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    let service = service_fn(move |request: Bodied| sender.send_request(request));
    let response = layer.layer(service).oneshot(request).await?;
    let route = response.extensions().get::<Route>().unwrap().clone();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((route, String::from_utf8(body.to_vec())?))
}

fn layer(proxy: &ForwardProxy) -> ProxyLayer {
    let vars = [
        ("ALL_PROXY", proxy.url_with("user:pass@")),
        ("NO_PROXY", "direct.test".to_owned()),
    ];
    ProxyLayer::new(ProxyConfig::from_vars(vars).unwrap()).with_request_target_form(true)
}

#[tokio::test]
async fn hypers_own_connection_gets_the_form_of_each_route() {
    let origin = Origin::http().await;
    let proxy = ForwardProxy::builder().basic("user", "pass").start().await;
    let port = origin.port();
    for (host, tunnel, target) in [
        ("direct.test", false, "/echo?x".to_owned()),
        ("x.test", false, format!("http://x.test:{port}/echo?x")),
        ("x.test", true, "/echo?x".to_owned()),
    ] {
        let layer = layer(&proxy).with_always_tunnel(tunnel);
        let request = Request::post(format!("http://me:word@{host}:{port}/echo?x"));
        let request = request.body(Full::from("body")).unwrap();
        let (route, answer) = within(send(&layer, request)).await.unwrap();
        assert_eq!(answer, "body", "{route}");
        // The first hop's view, byte for byte: the proxy's, or the origin's.
        let raw = match route {
            Route::Forward(_) => proxy.raw().pop().unwrap(),
            _ => origin.raw().pop().unwrap(),
        };
        let raw = String::from_utf8(raw).unwrap();
        assert!(
            raw.starts_with(&format!("POST {target} HTTP/1.1\r\n")),
            "{route}: {raw}"
        );
        let hosts = raw
            .lines()
            .filter(|line| line.to_ascii_lowercase().starts_with("host: "));
        assert_eq!(hosts.collect::<Vec<_>>(), [format!("host: {host}:{port}")], "{route}");
        assert_eq!(
            raw.contains("proxy-authorization"),
            matches!(route, Route::Forward(_)),
            "{route}"
        );
        let heard = origin.requests().pop().unwrap();
        assert_eq!(
            (heard.target.as_str(), heard.header("proxy-authorization")),
            ("/echo?x", None)
        );
    }
}

/// Returns the target and the hosts that the inner service gets.
async fn seen(layer: ProxyLayer, request: Request<()>) -> Result<(String, HeaderMap, Version), BoxError> {
    let inner = service_fn(async |request: Request<()>| {
        let seen = (request.uri().to_string(), request.headers().clone(), request.version());
        Ok::<_, Infallible>(Response::new(seen))
    });
    Ok(layer.layer(inner).oneshot(request).await?.into_body())
}

fn settings(always_tunnel: bool) -> ProxyLayer {
    let vars = [("ALL_PROXY", "http://proxy.test"), ("NO_PROXY", "direct.test")];
    let layer = ProxyLayer::new(ProxyConfig::from_vars(vars).unwrap());
    layer.with_request_target_form(true).with_always_tunnel(always_tunnel)
}

/// Returns the URI with this path: as text, `http://host*` would be another host.
fn with_path(uri: &str, path: &'static str) -> Uri {
    let mut parts = uri.parse::<Uri>().unwrap().into_parts();
    parts.path_and_query = Some(uri::PathAndQuery::from_static(path));
    Uri::from_parts(parts).unwrap()
}

const STAR: &str =
    "invalid target: `OPTIONS *` cannot be forwarded (set `always_tunnel` to reach http targets through a tunnel)";

#[tokio::test]
async fn every_form_of_the_target() {
    let star = |uri| with_path(uri, "*");
    let uri = |uri: &str| uri.parse::<Uri>().unwrap();
    let (get, options, connect) = (Method::GET, Method::OPTIONS, Method::CONNECT);
    for (method, uri, direct_or_tunnelled, forwarded, host) in [
        (&get, uri("http://H.test/a?b"), "/a?b", "http://h.test/a?b", "H.test"),
        (&get, uri("http://h.test"), "/", "http://h.test/", "h.test"),
        (&get, uri("http://h.test?b"), "/?b", "http://h.test/?b", "h.test"),
        (&get, uri("http://h.test#c"), "/", "http://h.test/", "h.test"),
        (&get, uri("http://h.test:80/"), "/", "http://h.test/", "h.test"),
        (
            &get,
            uri("http://me:word@h.test:81/"),
            "/",
            "http://h.test:81/",
            "h.test:81",
        ),
        (
            &get,
            uri("http://[2001:db8::1]/"),
            "/",
            "http://[2001:db8::1]/",
            "[2001:db8::1]",
        ),
        (&options, uri("http://h.test/a"), "/a", "http://h.test/a", "h.test"),
        (&options, star("http://h.test"), "*", STAR, "h.test"),
        (&options, star("http://h.test:81"), "*", STAR, "h.test:81"),
        (&connect, uri("http://h.test"), "h.test:80", "h.test:80", "h.test:80"),
        (&connect, uri("http://h.test:81"), "h.test:81", "h.test:81", "h.test:81"),
    ] {
        let request = || Request::builder().method(method).uri(uri.clone()).body(()).unwrap();
        let (target, headers, _) = seen(settings(true), request()).await.unwrap();
        assert_eq!(target, direct_or_tunnelled, "tunnelled {method} {uri}");
        assert_eq!(headers.get(header::HOST).unwrap(), host, "{method} {uri}");
        let unproxied = ProxyLayer::new(ProxyConfig::builder().build().unwrap()).with_request_target_form(true);
        let (target, headers, _) = seen(unproxied, request()).await.unwrap();
        assert_eq!(target, direct_or_tunnelled, "direct {method} {uri}");
        assert_eq!(headers.get(header::HOST).unwrap(), host, "{method} {uri}");
        let seen = seen(settings(false), request()).await;
        if forwarded == STAR {
            assert_eq!(seen.unwrap_err().to_string(), STAR);
            continue;
        }
        let (target, headers, _) = seen.unwrap();
        assert_eq!(target, forwarded, "forwarded {method} {uri}");
        assert_eq!(
            headers.get(header::HOST).unwrap(),
            &host.to_ascii_lowercase(),
            "{method} {uri}"
        );
    }
}

/// In absolute-form, a `*` would be a part of the host's name: `http://h.test*`.
#[tokio::test]
async fn a_star_is_for_options_alone() {
    for method in [Method::GET, Method::HEAD, Method::POST] {
        for always_tunnel in [false, true] {
            for url in ["http://h.test", "http://h.test:81", "http://direct.test"] {
                let request = Request::builder().method(&method).uri(with_path(url, "*"));
                let seen = seen(settings(always_tunnel), request.body(()).unwrap()).await;
                let error = seen.unwrap_err();
                assert!(error.is::<TargetError>(), "{method} {url}: {error}");
            }
        }
    }
}

/// HTTP/2 has scheme and authority beside the path. HTTP/1.0 stays what it is.
#[tokio::test]
async fn only_http1_has_a_request_target_to_write() {
    for (version, target, hosts) in [
        (Version::HTTP_10, "/a", 1),
        (Version::HTTP_11, "/a", 1),
        (Version::HTTP_2, "https://x.test/a", 0),
    ] {
        let request = Request::get("https://x.test/a").version(version).body(()).unwrap();
        let (seen_target, headers, seen_version) = seen(settings(false), request).await.unwrap();
        assert_eq!((seen_target.as_str(), seen_version), (target, version));
        assert_eq!(headers.get_all(header::HOST).iter().count(), hosts, "{version:?}");
    }
}

#[tokio::test]
async fn the_callers_own_host_stays_if_it_is_one() {
    let request = |host: &str| {
        Request::get("http://x.test/a")
            .header(header::HOST, host)
            .body(())
            .unwrap()
    };
    for uri_is_forwarded in [false, true] {
        let (_, headers, _) = seen(settings(!uri_is_forwarded), request("virtual.test:8080"))
            .await
            .unwrap();
        assert_eq!(headers.get(header::HOST).unwrap(), "virtual.test:8080");
    }
    let error = seen(settings(false), request("me@virtual.test")).await.unwrap_err();
    assert!(error.is::<TargetError>(), "{error}");
}

/// hyper-util's client needs the whole URI, so nothing is written unless asked for.
#[tokio::test]
async fn without_the_option_the_uri_stays() {
    for uri in ["http://direct.test/a", "http://x.test/a", "https://x.test/a"] {
        let layer = settings(false).with_request_target_form(false);
        let (target, headers, _) = seen(layer, Request::get(uri).body(()).unwrap()).await.unwrap();
        assert_eq!((target.as_str(), headers.len()), (uri, 0));
    }
}
