//! The main use, on loopback: one client whose requests follow the operator's variables.
//!
//! Starts a forward proxy that requires a password, an HTTP origin and an HTTPS origin. Sets the variables, sends
//! requests, and compares the requests that the proxy and the origins saw with the expected routes. Exits with 0 only
//! if all are right.
//!
//! ```text
//! cargo run --example quickstart
//! ```

use std::process::ExitCode;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use tower::{BoxError, ServiceExt};
use tower_outbound_proxy::{Client, ProxyConfig, Route, Target, TlsConfig};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Kind, Origin, connector};

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    // The network: two origins and, in front of them, a proxy.
    let ca = Ca::new();
    let http = Origin::http().await;
    let https = Origin::https(&ca, &["origin.test"], &["http/1.1"]).await;
    let proxy = ForwardProxy::builder().basic("user", "open sesame").start().await;

    // The operator's settings. (A server calls `Client::from_env()`, or `ProxyLayer::from_env()` for its existing
    // client stack.)
    let address = proxy.url_with("user:open%20sesame@");
    let config = ProxyConfig::from_vars([
        ("HTTP_PROXY", address.as_str()),
        ("HTTPS_PROXY", address.as_str()),
        ("NO_PROXY", ".internal.test"),
    ])?;

    // The engineer's code. (A server leaves out trust and connector: here, names resolve to loopback.)
    let target_trust = TlsConfig::builder().add_root_pem(ca.pem()).only_added_roots().build()?;
    let client: Client<Empty<Bytes>> = Client::builder()
        .config(config.clone())
        .target_tls(target_trust)
        .connector(connector())
        .build()?;

    // The result.
    println!("{:<36} {:<8} {:<7} the proxy saw", "request", "route", "status");
    let mut all_right = true;
    for (url, expected, seen) in [
        (
            format!("http://origin.test:{}/", http.port()),
            "forward",
            Some(Kind::Forward),
        ),
        (
            format!("https://origin.test:{}/", https.port()),
            "tunnel",
            Some(Kind::Connect),
        ),
        (format!("http://wiki.internal.test:{}/", http.port()), "direct", None),
        (format!("http://localhost:{}/", http.port()), "direct", None),
    ] {
        let uri: Uri = url.parse()?;
        let before = proxy.requests().len();
        let request = Request::get(uri.clone()).body(Empty::<Bytes>::new())?;
        let response = client.clone().oneshot(request).await?;

        let status = response.status();
        let route = name(response.extensions().get::<Route>());
        let body = response.into_body().collect().await?.to_bytes();
        let saw = proxy.requests().split_off(before);
        let right = status == 200
            && body.starts_with(b"hello from origin")
            && route == expected
            && saw.iter().map(|request| request.kind()).eq(seen);
        let line = saw.first().map_or("-".to_owned(), |request| {
            format!("{} {}", request.method, request.target)
        });
        println!(
            "{url:<36} {route:<8} {:<7} {line}{}",
            status.as_str(),
            if right { "" } else { "   WRONG" }
        );
        if !right {
            println!(
                "    expected {expected}, because {}",
                config.decide(&Target::try_from(&uri)?)
            );
        }
        all_right &= right;
    }

    // The password reached the proxy and nobody else.
    let origins = [http.raw(), https.raw()].concat().concat();
    let leaked = String::from_utf8_lossy(&origins)
        .to_lowercase()
        .contains("proxy-authorization");
    println!(
        "the proxy's password reached an origin: {}",
        if leaked { "yes, WRONG" } else { "no" }
    );

    Ok(match all_right && !leaked {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn name(route: Option<&Route>) -> &'static str {
    match route {
        Some(Route::Direct) => "direct",
        Some(Route::Forward(_)) => "forward",
        Some(Route::Tunnel(_)) => "tunnel",
        _ => "unknown",
    }
}
