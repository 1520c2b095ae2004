//! No output contains a secret, over a full run through Squid.

use std::fmt::Debug;

use base64::{Engine, prelude::BASE64_STANDARD};
use tower::Layer;
use tower_outbound_proxy::{ConnectError, ProxyConfig, ProxyLayer};
use tower_outbound_proxy_lab::{Log, connector};
use tracing::Level;

use super::{
    lab::{DENIED, Lab, PASSWORD, USER, chain, trust},
    server::Server,
};

const WRONG: &str = "xyzzy-0815";

/// All printed output.
#[derive(Default)]
struct Printed(String);

impl Printed {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn debug(&mut self, value: &dyn Debug) {
        self.line(&format!("{value:?}\n{value:#?}"));
    }

    fn error(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.debug(&error);
        self.line(&chain(error));
    }
}

#[tokio::test]
#[ignore = "needs squid (Debian package squid-openssl)"]
async fn are_nowhere_in_errors_settings_and_logs() {
    let (log, mut printed) = (Log::of_thread(Level::TRACE), Printed::default());
    let lab = Lab::start(Server::squid().over_tls()).await;
    let (http, https) = (lab.http().await, lab.https().await);
    let client = lab.client();
    for origin in [&http, &https] {
        printed.debug(&client.get(&origin.url("/")).await);
    }
    for scheme in ["http", "https"] {
        match client.try_get(&format!("{scheme}://{DENIED}/")).await {
            Ok(response) => printed.debug(&response),
            Err(error) => printed.error(&*error),
        }
    }

    let wrong = lab.client_with(lab.config().all(lab.url_with(WRONG)));
    printed.debug(&wrong.get(&http.url("/")).await);
    let error = wrong.try_get(&https.url("/")).await.unwrap_err();
    printed.error(&*error);
    printed.error(ConnectError::find(&*error).unwrap());

    let builder = lab.config();
    printed.debug(&builder);
    let layer = ProxyLayer::new(builder.build().unwrap());
    printed.debug(&layer);
    printed.debug(layer.config());
    printed.debug(&layer.layer(connector()));
    printed.debug(&layer.https_connector_with(connector(), trust(&lab.target_root())));
    let decision = layer.config().decide(&"https://a.test".parse().unwrap()).clone();
    printed.debug(&decision);
    printed.line(&decision.to_string());
    for unusable in ["/path", ":port", "?query", ":99999"] {
        let error = ProxyConfig::from_vars([("HTTPS_PROXY", lab.url() + unusable)]).unwrap_err();
        printed.error(&error);
    }

    // That there is no secret shows something only if what would have held it is there.
    let printed = printed.0 + &log.text();
    for expected in [
        "proxy decision",
        "user:***@proxy.test",
        "ERR_ACCESS_DENIED",
        "407",
        "HTTPS_PROXY",
    ] {
        assert!(printed.contains(expected), "no {expected} in:\n{printed}");
    }
    for secret in [PASSWORD, WRONG] {
        let encoded: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let token = BASE64_STANDARD.encode(format!("{USER}:{secret}"));
        for form in [secret, &encoded, &token] {
            assert!(!printed.contains(form), "{form} in:\n{printed}");
        }
    }
}
