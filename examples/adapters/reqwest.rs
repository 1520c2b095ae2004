//! reqwest with this crate's decision: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` read once, in one way for the whole
//! program.
//!
//! reqwest's connections are types of its own, so no connector can be put under it. It takes a closure from a URL to a
//! proxy's URL instead, which needs the password in it. reqwest then dials the proxy itself: it opens tunnels for
//! `https` targets only, whatever `always_tunnel` says, and knows no [guard](tower_outbound_proxy::guard).
//!
//! ```text
//! cargo run --manifest-path examples/adapters/Cargo.toml --example reqwest
//! ```

use tower::BoxError;
use tower_outbound_proxy::{ProxyConfig, ProxyServer};
use tower_outbound_proxy_adapters::Outbound;
use tower_outbound_proxy_lab::{Ca, Origin};

/// Makes reqwest ask `config` for the proxy of each request, in place of the environment.
fn proxy(config: ProxyConfig) -> reqwest::Proxy {
    reqwest::Proxy::custom(move |url| match url.as_str().parse() {
        Ok(target) => config.route(&target).proxy().map(ProxyServer::url_with_password),
        // `None` would be a direct connection.
        Err(_) => config.https().or(config.http()).map(ProxyServer::url_with_password),
    })
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ca = Ca::new();
    let http = Origin::http().await;
    let https = Origin::https(&ca, &["origin.test"], &["http/1.1"]).await;
    let outbound = Outbound::start(&["origin.test"]).await?;

    // (A server sets neither trust nor addresses.)
    let client = reqwest::Client::builder()
        .proxy(proxy(outbound.config()?))
        .tls_backend_preconfigured(ca.client_config(&[]).as_ref().clone())
        .resolve("origin.internal.test", http.addr())
        .build()?;

    for url in [
        format!("http://origin.test:{}/", http.port()),
        format!("https://origin.test:{}/", https.port()),
        format!("http://origin.internal.test:{}/", http.port()),
    ] {
        let response = client.get(&url).send().await?.error_for_status()?;
        print!("{url} answers: {}", response.text().await?);
    }

    drop(client);
    let received = [http.raw(), https.raw()].concat().concat();
    if String::from_utf8_lossy(&received)
        .to_lowercase()
        .contains("proxy-authorization")
    {
        return Err("the proxy's password reached an origin".into());
    }
    let forward = format!("GET http://origin.test:{}/", http.port());
    let tunnel = format!("CONNECT origin.test:{}", https.port());
    outbound.expect([forward, tunnel]).await
}
