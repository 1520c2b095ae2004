//! The kinds of credentials: a proxy that asks for them, and a client that answers.
//!
//! The secrets are the user name and the password, in whatever spelling: a token is made of both.

use std::{
    convert::Infallible,
    future::ready,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use http::HeaderValue;
use tower::service_fn;
use tower_outbound_proxy::{
    ProxyLayer,
    auth::{AuthScheme, Authorization, CredentialsRequest},
};
use tower_outbound_proxy_lab::Request;

use super::lab::{Identity, Proxy};

/// A kind of credentials.
pub struct Scheme {
    pub name: &'static str,
    /// Returns the challenges of a proxy that does not serve this request.
    pub check: fn(Proxy, &Request) -> Result<(), Vec<String>>,
    /// Makes a layer answer the proxy.
    pub answer: fn(ProxyLayer) -> ProxyLayer,
    /// Returns whose credentials a proxy has received. Those with different numbers stand for different people.
    pub identify: fn(&Request) -> Option<(Identity, u64)>,
    /// True if not even the proxy receives the password.
    pub hides_password: bool,
    /// True if no proxy may receive the same value twice.
    pub serves_once: bool,
    /// True if requests that the layer forwards around another client have no credentials: it cannot wait for those
    /// that are asked for anew each time.
    pub is_for_tunnels_of_halves: bool,
}

pub const SCHEMES: &[Scheme] = &[
    Scheme {
        name: "Basic",
        check: |_, _| Ok(()),
        answer: |layer| layer,
        identify: |request| {
            let sent = answer(request)?;
            let sender = Identity::ALL.into_iter().find(|identity| identity.basic() == sent)?;
            Some((sender, 0))
        },
        hides_password: false,
        serves_once: false,
        is_for_tunnels_of_halves: false,
    },
    Scheme {
        name: "Digest",
        check: |proxy, request| {
            let nonce = nonce(proxy);
            match answer(request) {
                Some(sent) if sent.starts_with("Digest ") && sent.contains(&format!("nonce=\"{nonce}\"")) => Ok(()),
                _ => Err(vec![format!(
                    "Digest realm=\"lab\", nonce=\"{nonce}\", qop=\"auth\", algorithm=SHA-256"
                )]),
            }
        },
        answer: |layer| layer.with_auth_schemes([AuthScheme::Digest]),
        identify: |request| {
            let user = answer(request)?.split("username=\"").nth(1)?;
            Some((Identity::of_user(user)?, 0))
        },
        hides_password: true,
        serves_once: false,
        is_for_tunnels_of_halves: false,
    },
    Scheme {
        name: "a provider's value",
        check: wants_bearer,
        answer: |layer| provided(layer, |token, _| Authorization::value(token)),
        identify: |request| Identity::of_bearer(answer(request)?),
        hides_password: false,
        serves_once: false,
        is_for_tunnels_of_halves: false,
    },
    Scheme {
        name: "a provider's value that serves once",
        check: wants_bearer,
        answer: |layer| provided(layer, |token, _| Authorization::once(token)),
        identify: |request| Some((Identity::of_bearer(answer(request)?)?.0, 0)),
        hides_password: false,
        serves_once: true,
        is_for_tunnels_of_halves: true,
    },
    Scheme {
        name: "a provider's value for another one each time",
        check: wants_bearer,
        answer: |layer| {
            provided(layer, |token, number| {
                let answer = Authorization::value(token).identity(number.to_string());
                answer.expires_after(Duration::ZERO)
            })
        },
        identify: |request| Identity::of_bearer(answer(request)?),
        hides_password: false,
        serves_once: false,
        is_for_tunnels_of_halves: true,
    },
];

fn answer(request: &Request) -> Option<&str> {
    request.header("proxy-authorization")
}

fn wants_bearer(proxy: Proxy, request: &Request) -> Result<(), Vec<String>> {
    match answer(request).and_then(Identity::of_bearer) {
        Some((identity, _)) if identity.proxy == proxy => Ok(()),
        _ => Err(vec!["Bearer realm=\"lab\"".to_owned()]),
    }
}

/// Returns a layer with a provider whose tokens are those of the user in the proxy's address.
fn provided(layer: ProxyLayer, answer: fn(HeaderValue, u64) -> Authorization) -> ProxyLayer {
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    layer.with_credentials(service_fn(move |request: CredentialsRequest| {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let user = request.credentials().unwrap().to_string();
        let token = Identity::of_user(&user).unwrap().bearer(number);
        ready(Ok::<_, Infallible>(answer(token.parse().unwrap(), number)))
    }))
}

/// Returns the nonce of a proxy that asks for Digest.
pub fn nonce(proxy: Proxy) -> String {
    format!("a-nonce-of-proxy-{proxy:?}-and-no-other")
}
