//! Promise: a proxy that says credentials back puts them into no error and no log.
//!
//! The proxy says everything back that it has received for a request, in any round: in the reason, in names and values
//! of fields, in the realm, and in the body.

use std::{
    convert::Infallible,
    future::ready,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    ext::ReasonPhrase,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tower::Layer;
use tower_outbound_proxy::{
    Client, ProxyConfig, ProxyLayer,
    auth::{AuthScheme, Authorization, CredentialsRequest},
    connector::ProxyVersion,
};
use tower_outbound_proxy_lab::{Log, connector, within};
use tracing::Level;

use super::lab::response;
use crate::common::everything;

const PASSWORD: &str = "a-s3cret-of-this-test";
/// `user:a-s3cret-of-this-test`
const BASIC: &str = "dXNlcjphLXMzY3JldC1vZi10aGlzLXRlc3Q";

/// The values of `Proxy-Authorization` that a proxy has received.
type Received = Arc<Mutex<Vec<String>>>;

/// Starts a proxy that refuses everything with these challenges.
async fn echoing(version: ProxyVersion, challenges: &'static [&'static str]) -> (SocketAddr, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, received) = (listener.local_addr().unwrap(), Received::default());
    let all = received.clone();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let (io, all) = (TokioIo::new(io), all.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let values = request.headers().get_all(header::PROXY_AUTHORIZATION);
                let values = values.iter().map(|value| value.to_str().unwrap().to_owned());
                let mut all = all.lock().unwrap();
                all.extend(values);
                let refused = refusal(&all, challenges);
                async { Ok::<_, Infallible>(refused) }
            });
            match version {
                ProxyVersion::Http1 => drop(tokio::spawn(http1::Builder::new().serve_connection(io, service))),
                _ => drop(tokio::spawn(
                    http2::Builder::new(TokioExecutor::new()).serve_connection(io, service),
                )),
            }
        }
    });
    (addr, received)
}

fn refusal(received: &[String], challenges: &[&'static str]) -> Response<Full<Bytes>> {
    let all = format!("{} {}", received.join(" "), said(challenges).join(" "));
    let mut refused = Response::new(Full::from(format!("{all} {}", all.to_uppercase())));
    *refused.status_mut() = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    refused
        .extensions_mut()
        .insert(ReasonPhrase::try_from(all.clone().into_bytes()).unwrap());
    let headers = refused.headers_mut();
    for challenge in challenges {
        headers.append(header::PROXY_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    let quoted = all.replace('"', "\\\"");
    headers.append(
        header::PROXY_AUTHENTICATE,
        format!("Other realm=\"{quoted}\"").parse().unwrap(),
    );
    headers.append("x-echo", all.parse().unwrap());
    for secret in secrets(received, challenges) {
        let name = format!("x-{secret}").replace(['=', '/', '+'], "");
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_static("x"),
        );
    }
    refused
}

/// Returns what a proxy says that knows the password already.
fn said(challenges: &[&str]) -> &'static [&'static str] {
    match challenges {
        BEARER => &[],
        _ => &[PASSWORD, BASIC],
    }
}

/// Returns the secret parts of these values.
fn secrets(received: &[String], challenges: &[&str]) -> Vec<String> {
    let secret = |value: &String| match response(value) {
        Some(response) => response.to_owned(),
        None => value.split(' ').next_back().unwrap().trim_end_matches('=').to_owned(),
    };
    let mut secrets: Vec<_> = received.iter().map(secret).collect();
    secrets.extend(said(challenges).iter().map(|&said| said.to_owned()));
    secrets.sort();
    secrets.dedup();
    secrets
}

type Answer = fn(&CredentialsRequest) -> Authorization;

/// Returns a layer with a provider that gives this answer.
fn provided(layer: ProxyLayer, answer: Answer) -> ProxyLayer {
    layer.with_credentials(tower::service_fn(move |request: CredentialsRequest| {
        ready(Ok::<_, Infallible>(answer(&request)))
    }))
}

fn token(request: &CredentialsRequest) -> HeaderValue {
    let token = format!("Bearer a-token-of-round-{}-of-this-test", request.round());
    token.parse().unwrap()
}

const DIGEST: &[&str] = &["Digest realm=\"x\", nonce=\"n\", qop=\"auth\""];
const BEARER: &[&str] = &["Bearer realm=\"x\""];

#[tokio::test]
async fn no_error_and_no_log_shows_what_a_proxy_says_back() {
    type Kind = (&'static str, &'static [&'static str], fn(ProxyLayer) -> ProxyLayer);
    let kinds: [Kind; 6] = [
        ("Basic", &["Basic realm=\"x\""], |layer| layer),
        ("Digest after Basic", DIGEST, |layer| layer),
        ("Digest alone", DIGEST, |layer| {
            layer.with_auth_schemes([AuthScheme::Digest])
        }),
        ("the same value", BEARER, |layer| {
            provided(layer, |_| {
                Authorization::value(HeaderValue::from_static("Bearer a-token-of-this-test"))
            })
        }),
        ("another value", BEARER, |layer| {
            provided(layer, |request| Authorization::value(token(request)))
        }),
        ("values that serve once", BEARER, |layer| {
            provided(layer, |request| Authorization::once(token(request)))
        }),
    ];
    for version in [ProxyVersion::Http1, ProxyVersion::Http2] {
        for (name, challenges, answer) in kinds {
            let log = Log::of_thread(Level::TRACE);
            let (addr, received) = echoing(version, challenges).await;
            let config = ProxyConfig::builder().all(format!("http://user:{PASSWORD}@{addr}"));
            let layer = ProxyLayer::new(config.build().unwrap()).with_proxy_version(version);
            let layer = answer(layer);
            let (mut shown, mut sent) = (Vec::new(), Vec::new());
            let mut half = layer.layer(connector());
            let client: Client<Full<Bytes>> = Client::builder()
                .layer(layer.clone())
                .connector(connector())
                .build()
                .unwrap();
            // Twice, since there is something to know the second time.
            for _ in 0..2 {
                let error = within(half.tunnel("x.test", 443)).await.unwrap_err();
                let response = error.response().unwrap();
                shown.push(format!(
                    "{:?} {}",
                    response.headers(),
                    String::from_utf8_lossy(response.body())
                ));
                shown.extend(error.challenges().iter().map(|one| format!("{one} {one:?}")));
                shown.push(everything(&error));
                sent.append(&mut received.lock().unwrap());
                for url in ["http://x.test/", "https://x.test/"] {
                    let request = Request::get(url).body(Full::default()).unwrap();
                    let error = within(client.send(request)).await.unwrap_err();
                    shown.push(everything(&error));
                    sent.append(&mut received.lock().unwrap());
                }
            }
            shown.push(format!("{half:?} {client:?} {layer:#?}"));
            assert!(sent.len() >= 2, "{name}: {sent:?}");
            let of_client = [("shown", shown.join("\n")), ("log", of_clients(&log.text()))];
            for secret in secrets(&sent, challenges) {
                for (place, text) in &of_client {
                    let found = text.to_lowercase().find(&secret.to_lowercase());
                    let around = found.map(|at| String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(200)..at]));
                    assert_eq!(around, None, "{version:?}, {name}: {secret} in the {place}");
                }
            }
        }
    }
}

/// Returns the lines of the log but those about heads that were received, in which h2 writes what the proxy says.
fn of_clients(log: &str) -> String {
    let is_received = |line: &&str| !line.contains("received") && !line.contains("x-echo");
    log.lines().filter(is_received).collect::<Vec<_>>().join("\n")
}
