//! A password that changes while the program runs: a credentials provider asks a vault for it.
//!
//! The provider is asked before the first request, and again only when the proxy refuses what it has answered. Here the
//! vault is behind at first: the proxy already wants the new password. Exits with 0 only if the first request failed
//! with the proxy's challenge, and the next one was repeated with the new password without the caller's help.
//!
//! ```text
//! cargo run --example credentials
//! ```

use std::{
    future::ready,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use tower::{BoxError, service_fn};
use tower_outbound_proxy::{
    Client, ProxyConfig, ProxyLayer,
    auth::{Authorization, Credentials, CredentialsError, CredentialsRequest},
};
use tower_outbound_proxy_lab::{ForwardProxy, Origin};

/// The vault's password for the proxy, and how often it was asked for.
#[derive(Clone, Default)]
struct Vault(Arc<Mutex<(&'static str, u32)>>);

impl Vault {
    fn set(&self, password: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = password;
    }

    fn asked(&self) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn answer(&self, request: &CredentialsRequest) -> Result<Authorization, CredentialsError> {
        for challenge in request.challenges() {
            println!("    {} asks for {challenge}", request.proxy());
        }
        let mut vault = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        vault.1 += 1;
        let credentials = Credentials::new("service", vault.0)?;
        // The same user, whatever the password is: connections stay in use.
        Ok(Authorization::password(credentials).identity("service"))
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let proxy = ForwardProxy::builder().basic("service", "new").start().await;
    let origin = Origin::http().await;
    let vault = Vault::default();

    // A real provider waits for a server, or reads a file. It may be any tower service.
    let provider = vault.clone();
    let provider = service_fn(move |request| ready(provider.answer(&request)));
    let layer = ProxyLayer::new(ProxyConfig::builder().all(proxy.url()).build()?).with_credentials(provider);
    let client = Client::builder().layer(layer).build()?;
    let get = || Request::get(format!("http://origin.test:{}/", origin.port())).body(Empty::<Bytes>::new());

    println!("GET with the old password");
    vault.set("old");
    let refused = client.send(get()?).await.err().ok_or("the old password was accepted")?;
    println!("    {}", refused.connect_error().ok_or("no refusal")?);
    assert_eq!(vault.asked(), 2, "before the request, and after the 407");

    println!("GET after the vault has the new one");
    vault.set("new");
    let response = client.send(get()?).await?;
    println!("    {}", response.status());
    assert_eq!((response.status(), vault.asked()), (StatusCode::OK, 3));

    println!("GET once more");
    let response = client.send(get()?).await?;
    println!("    {}", response.status());
    assert_eq!((response.status(), vault.asked()), (StatusCode::OK, 3));
    assert_eq!(origin.requests().len(), 2);
    Ok(())
}
