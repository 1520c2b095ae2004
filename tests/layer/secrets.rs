//! Promise: a proxy's credentials reach that proxy and nothing else: no origin, no other proxy, no log, no `Debug`, no
//! error text.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use std::{
    convert::Infallible,
    fmt::{Debug, Write as _},
    future::pending,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_outbound_proxy::{
    ConnectError, IpPolicy, ProxyConfig, ProxyLayer, ProxyServer, ProxySettings, PurposePolicy, Route, Target,
    TlsConfig, check::Check, config::Precedence, purpose::ProxyUse,
};
use tower_outbound_proxy_lab::{Ca, Fault, ForwardProxy, Listening, Log, Origin, ScriptedProxy, connector, within};
use tracing::Level;

/// The password, and its forms in a header field and in the proxy's address.
const PASSWORD: &str = "s3cret/w@rd";
const ENCODED: &str = "s3cret%2Fw%40rd";
/// `user:s3cret/w@rd`
const TOKEN: &str = "dXNlcjpzM2NyZXQvd0ByZA==";

fn assert_clean(text: &str, of: &str) {
    for secret in ["s3cret", "w@rd", TOKEN] {
        assert!(!text.contains(secret), "{secret} in {of}:\n{text}");
    }
}

fn assert_debug_clean(value: &dyn Debug, of: &str) {
    assert_clean(&format!("{value:?} {value:#?}"), of);
}

#[test]
fn no_public_type_shows_a_password() {
    let address = format!("http://user:{ENCODED}@proxy.test:3128");
    let builder = ProxyConfig::builder().http(address.as_str()).vars([
        ("HTTPS_PROXY", &address),
        ("NO_PROXY", &address),
        ("ALL_PROXY", &address.replace("http:", "socks5:")),
    ]);
    assert_debug_clean(&builder, "ProxyConfigBuilder");
    assert_debug_clean(
        &tower_outbound_proxy::config::ProxySetting::from(address.as_str()),
        "ProxySetting",
    );
    assert_debug_clean(
        &tower_outbound_proxy::config::NoProxySetting::from(address.as_str()),
        "NoProxySetting",
    );
    let check = Check::from_vars([
        ("http_proxy", &address),
        ("HTTP_PROXY", &format!("\"http://user:{PASSWORD}@proxy.test\"")),
        ("https_proxy", &address.replace("http:", "socks5:")),
        ("all_proxy", &format!("user:{PASSWORD}@proxy.test http://other.test")),
        ("NOPROXY", &address),
        ("NO_PROXY", &format!("{address} user:{PASSWORD}, me@{PASSWORD}")),
    ]);
    assert!(check.findings().len() > 5, "{check:?}");
    assert_debug_clean(&check, "Check");
    for finding in check.findings() {
        assert_clean(&finding.to_string(), "a finding");
    }
    let config = builder.build().unwrap();
    assert_debug_clean(&config, "ProxyConfig");
    assert_debug_clean(config.no_proxy(), "NoProxy");
    for warning in config.warnings() {
        assert_debug_clean(warning, "Warning");
        assert_clean(&warning.to_string(), "Warning");
    }
    let server: ProxyServer = address.parse().unwrap();
    assert_debug_clean(&server, "ProxyServer");
    assert_clean(&format!("{server} {} {}", server.url(), server.host()), "ProxyServer");
    // The one disclosure, on request and by this name.
    assert_eq!(server.url_with_password(), address);
    let credentials = server.credentials().unwrap();
    assert_debug_clean(credentials, "Credentials");
    assert_clean(&credentials.to_string(), "Credentials");
    for url in ["http://x.test", "https://x.test", "tcp://x.test:1"] {
        let decision = config.decide(&url.parse().unwrap());
        assert_debug_clean(&decision, "Decision");
        assert_clean(&decision.to_string(), "Decision");
        assert_debug_clean(decision.route(), "Route");
        assert_clean(&decision.route().to_string(), "Route");
    }
    let layer = ProxyLayer::new(config)
        .with_connect_header(header::COOKIE, HeaderValue::from_static("s3cret"))
        .unwrap();
    assert_debug_clean(&layer, "ProxyLayer");
    assert_debug_clean(&layer.layer(()), "Proxy");
    // A target's own user information is not shown either.
    let target: Target<'_> = format!("http://user:{ENCODED}@x.test/").parse().unwrap();
    assert_debug_clean(&target, "Target");
    assert_clean(&target.to_string(), "Target");
}

#[test]
fn no_type_around_a_client_shows_a_password() {
    let address = format!("http://user:{ENCODED}@proxy.test:3128");
    let settings = format!(r#"{{"http_proxy": "{address}", "by_domain": [{{"url": "{address}"}}], "{address}": 1}}"#);
    let settings: ProxySettings = serde_json::from_str(&settings).unwrap();
    assert_debug_clean(&settings, "ProxySettings");
    let builder = ProxyConfig::builder().settings(settings, Precedence::FileOverEnv);
    assert_debug_clean(&builder, "ProxyConfigBuilder");
    let error = builder.build().unwrap_err();
    assert_debug_clean(&error, "ConfigError");
    assert_clean(&error.to_string(), "ConfigError");

    let own = ProxyUse::Proxy(address.parse().unwrap());
    assert_debug_clean(&own, "ProxyUse");
    let policy = PurposePolicy::new(|_: &u8, _: &Target<'_>| ProxyUse::Always).without_purpose(own.clone());
    assert_debug_clean(&policy, "PurposePolicy");
    let config = ProxyConfig::builder().http(address.as_str()).build().unwrap();
    let url = format!("https://user:{ENCODED}@x.test/");
    let error = config
        .decide_for(&"p", &ProxyUse::Always, &url.parse().unwrap())
        .unwrap_err();
    assert_debug_clean(&error, "PurposeError");
    assert_clean(&error.to_string(), "PurposeError");
    for usage in [own, ProxyUse::Always, ProxyUse::Settings] {
        let decision = config
            .decide_for(&"p", &usage, &"http://x.test".parse().unwrap())
            .unwrap();
        assert_debug_clean(&decision, "Decision");
        assert_clean(&decision.to_string(), "Decision");
    }

    let guarded = IpPolicy::special_purpose();
    let denied = guarded.check(&url.parse().unwrap(), [10, 0, 0, 1].into()).unwrap_err();
    assert_debug_clean(&denied, "Denied");
    assert_clean(&denied.to_string(), "Denied");

    let builder = tower_outbound_proxy::Client::builder()
        .config(config)
        .purposes(policy)
        .guard(guarded);
    assert_debug_clean(&builder, "ClientBuilder");
    let client: tower_outbound_proxy::Client<String> = builder.build().unwrap();
    assert_debug_clean(&client, "Client");
    assert_debug_clean(&client.stats(), "PoolStats");
    assert_debug_clean(&client.config_handle(), "ConfigHandle");
    assert_debug_clean(&client.config_handle().config(), "ProxyConfig");
}

#[test]
fn a_client_certificates_key_is_not_shown() {
    let ca = Ca::new();
    let client = ca.issue_client("client");
    let builder = TlsConfig::builder()
        .add_root_pem(ca.pem())
        .only_added_roots()
        .client_certificate_pem(client.cert_pem.clone(), client.key_pem.clone());
    let key_line = client.key_pem.lines().nth(1).unwrap();
    let bytes = format!("{:?}", &client.key_pem.as_bytes()[40..60]);
    let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
    assert!(
        !shown.contains(key_line) && !shown.contains(bytes.trim_matches(['[', ']'])),
        "{shown}"
    );
    // A key that cannot be read is an error that does not quote it.
    let broken = client
        .key_pem
        .replace("-----END", "s3cret-----END")
        .replace("BEGIN PRIVATE", "BEGIN");
    let error = builder
        .client_certificate_pem(client.cert_pem, broken)
        .build()
        .unwrap_err();
    assert_debug_clean(&error, "ConfigError");
    assert!(error.to_string().contains("key"), "{error}");
}

struct Stack {
    ca: Ca,
    layer: ProxyLayer,
}

impl Stack {
    fn new(proxy: &Listening) -> Self {
        let ca = Ca::new();
        let config = ProxyConfig::from_vars([
            ("ALL_PROXY", format!("http://user:{ENCODED}@{}", proxy.addr())),
            ("NO_PROXY", "direct.test".to_owned()),
        ]);
        Self {
            ca,
            layer: ProxyLayer::new(config.unwrap()),
        }
    }

    async fn get(&self, url: &str) -> Result<String, BoxError> {
        let tls = TlsConfig::builder()
            .add_root_pem(self.ca.pem())
            .only_added_roots()
            .build()?;
        let client = Client::builder(TokioExecutor::new()).build(self.layer.https_connector_with(connector(), tls));
        let request = Request::get(url).body(Empty::<Bytes>::new())?;
        let response = within(self.layer.layer(client).oneshot(request)).await?;
        assert_debug_clean(&response.extensions().get::<Route>(), "the response's Route");
        let mut shown = format!("{:?}", response.headers());
        write!(shown, "{:?}", within(response.into_body().collect()).await?.to_bytes())?;
        Ok(shown)
    }

    /// Returns the error with all its causes, as `Display` and as `Debug`.
    async fn error(&self, url: &str) -> String {
        let error = self.get(url).await.unwrap_err();
        assert!(ConnectError::find(error.as_ref()).is_some(), "{error:?}");
        let mut shown = format!("{error:?}");
        let mut cause: Option<&dyn std::error::Error> = Some(error.as_ref());
        while let Some(error) = cause {
            write!(shown, "\n{error}\n{error:?}").unwrap();
            cause = error.source();
        }
        shown
    }
}

#[tokio::test]
async fn credentials_reach_their_proxy_and_nothing_else() {
    let log = Log::of_thread(Level::TRACE);

    let proxy = ForwardProxy::builder().basic("user", PASSWORD).start().await;
    let stack = Stack::new(&proxy);
    let http = Origin::http().await;
    let https = Origin::https(&stack.ca, &["origin.test"], &["http/1.1"]).await;
    // The origin sends back what header fields it got.
    for url in [
        format!("http://origin.test:{}/headers", http.port()),
        format!("https://origin.test:{}/headers", https.port()),
        format!("http://direct.test:{}/headers", http.port()),
    ] {
        let answer = stack.get(&url).await.unwrap();
        assert_clean(&answer.to_lowercase(), &url);
        assert!(!answer.to_lowercase().contains("proxy-authorization"), "{answer}");
    }
    for origin in [&http, &https] {
        assert_clean(&String::from_utf8_lossy(&origin.raw().concat()), "an origin");
    }
    // It did get them, and once for each request that went through it.
    let tokens = String::from_utf8_lossy(&proxy.raw().concat()).matches(TOKEN).count();
    assert_eq!((tokens, proxy.requests().len()), (2, 2));

    // Nothing of it is in an error, whatever the proxy does, and a hostile one sends it back.
    let echo = format!(
        "HTTP/1.1 403 {TOKEN} {PASSWORD}\r\nX-Echo: Basic {TOKEN}\r\nProxy-Authenticate: Basic realm=\"{PASSWORD}\"\r\n\
         Connection: close\r\n\r\nyou sent {TOKEN}, which is {PASSWORD}\n"
    );
    let echo407 = echo.replace("403", "407");
    for script in [
        tower_outbound_proxy_lab::Step::send(echo).into(),
        tower_outbound_proxy_lab::Step::send(echo407).into(),
        tower_outbound_proxy_lab::Script::from(Fault::Garbage),
        Fault::Truncated.into(),
        Fault::Close.into(),
        Fault::Reset.into(),
    ] {
        let hostile = ScriptedProxy::start(script).await;
        assert_clean(&Stack::new(&hostile).error("https://origin.test/").await, "an error");
        // They had been sent, so there was something to leak.
        assert!(hostile.connection(0).received_text().contains(TOKEN));
    }

    let log = log.text();
    assert!(
        log.contains("proxy decision") && log.contains("TRACE") && log.contains("hyper_util"),
        "{log}"
    );
    assert_clean(&log, "the log");
}

/// Each proxy gets its own credentials, none the other's.
#[tokio::test]
async fn two_proxies_do_not_share_credentials() {
    let one = ForwardProxy::builder().basic("one", "first").start().await;
    let two = ForwardProxy::builder().basic("two", "second").start().await;
    let ca = Ca::new();
    let http = Origin::http().await;
    let https = Origin::https(&ca, &["origin.test"], &["http/1.1"]).await;
    let layer = ProxyLayer::new(
        ProxyConfig::builder()
            .http(one.url_with("one:first@"))
            .https(two.url_with("two:second@"))
            .build()
            .unwrap(),
    );
    let stack = Stack { ca, layer };
    stack
        .get(&format!("http://origin.test:{}/", http.port()))
        .await
        .unwrap();
    stack
        .get(&format!("https://origin.test:{}/", https.port()))
        .await
        .unwrap();
    let sent = |proxy: &Listening| proxy.requests()[0].header("proxy-authorization").map(str::to_owned);
    assert_eq!(sent(&one).as_deref(), Some("Basic b25lOmZpcnN0"));
    assert_eq!(sent(&two).as_deref(), Some("Basic dHdvOnNlY29uZA=="));
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));
}

/// The future of a forwarded request remembers its target, and no more of its URI is shown.
#[tokio::test]
async fn a_pending_request_does_not_show_its_query() {
    let config = ProxyConfig::builder()
        .http("http://user:s3cret@proxy.test")
        .build()
        .unwrap();
    let layer = ProxyLayer::new(config).with_auth_errors(true);
    let mut service = layer.layer(service_fn(|_: Request<()>| {
        pending::<Result<Response<()>, Infallible>>()
    }));
    let request = Request::get("http://origin.test/p?t0ken").body(()).unwrap();
    let text = format!("{:?}", service.call(request));
    assert!(!text.contains("t0ken") && !text.contains("s3cret"), "{text}");
}
