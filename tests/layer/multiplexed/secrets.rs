//! A proxy's credentials reach that proxy, and no log, `Debug` or error text.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::sync::atomic::{AtomicUsize, Ordering};

use h2::Reason;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::Layer;
use tower_outbound_proxy_lab::{Behaviour, Ca, Http2Proxy, Log, Origin, connector as tcp, within};
use tracing::Level;

use super::{negotiating, over_tls, through};
use crate::common::{everything, shouting, speak};

const PASSWORD: &str = "s3cret";
/// `user:s3cret`
const TOKEN: &str = "dXNlcjpzM2NyZXQ=";

fn assert_clean(text: &str, of: &str) {
    for secret in [PASSWORD, TOKEN, "dXNlcjpzM2NyZXQ"] {
        assert!(!text.contains(secret), "{secret} in {of}:\n{text}");
    }
}

/// Not even h2 writes it down, at any level.
#[tokio::test]
async fn no_log_and_no_error_shows_a_password() {
    let log = Log::of_thread(Level::TRACE);
    let origin = shouting().await;
    let proxy = Http2Proxy::builder()
        .map("mail.test:25", origin)
        .basic("user", PASSWORD);
    let count = AtomicUsize::new(0);
    let proxy = proxy.behave(move |_, _| match count.fetch_add(1, Ordering::SeqCst) {
        1 => Behaviour::Refuse(StatusCode::PROXY_AUTHENTICATION_REQUIRED),
        2 => Behaviour::Reset(Reason::CONNECT_ERROR),
        3 => Behaviour::SayAndReset(Vec::new(), Reason::INTERNAL_ERROR),
        4 => Behaviour::GoAway,
        6 => Behaviour::HangUp,
        _ => Behaviour::Serve,
    });
    let proxy = proxy.start().await;
    let mut connector = through(&proxy.url_with(&format!("user:{PASSWORD}@"))).layer(tcp());
    speak(within(connector.tunnel("mail.test", 25)).await.unwrap()).await;
    let before = log.text();
    assert!(before.contains("h2::"), "{before}");
    for _ in 0..2 {
        let error = within(connector.tunnel("mail.test", 25)).await.unwrap_err();
        assert_clean(&everything(&error), "an error");
    }
    let mut tunnel = within(connector.tunnel("mail.test", 25)).await.unwrap();
    assert_clean(&format!("{tunnel:?} {connector:?} {connector:#?}"), "Debug");
    let error = within(tunnel.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_clean(&everything(&error), "an error of a stream");
    tunnel.write_all(b"x").await.unwrap_err();
    for _ in 0..2 {
        drop(within(connector.tunnel("mail.test", 25)).await.unwrap());
    }
    let received = proxy.requests();
    assert!(received.len() >= 7, "{}", received.len());
    // The lab's own h2 decodes what it was sent, and knows nothing of secrets.
    let text = log.text();
    let ours = text.lines().filter(|line| !line.contains("Connection{peer=Server}"));
    assert_clean(&ours.collect::<Vec<_>>().join("\n"), "the log");
}

#[tokio::test]
async fn no_target_receives_a_password() {
    let (ca, targets) = (Ca::new(), Ca::new());
    let origin = Origin::https(&targets, &["a.test"], &[]).await;
    let proxy = over_tls(Http2Proxy::builder(), &ca).map("a.test:443", origin.addr());
    let proxy = proxy.basic("user", PASSWORD).start().await;
    let layer = negotiating(&proxy.url_with(&format!("user:{PASSWORD}@")), &ca);
    let client = crate::common::client(layer.https_connector_with(tcp(), targets.client_config(&[])));
    let response = within(crate::common::get(&client, "https://a.test/headers"))
        .await
        .unwrap();
    assert_clean(&format!("{response:?}"), "a response");
    let [request] = &origin.requests()[..] else { panic!() };
    assert!(request.header("proxy-authorization").is_none());
}
