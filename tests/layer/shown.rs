//! Promise: no public type shows a secret, in `Debug`, in `Display`, as an error with its causes, or serialised.
//!
//! Every public type has an entry here. The list of them is that of `.ci/public-api.txt`, so that a new type without an
//! entry fails the test.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    error::Error,
    fmt::{Debug, Display},
    fs,
    future::{pending, ready},
    panic::{UnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_outbound_proxy::{
    Bypass, Client, ConnectError, Dialect, IpPolicy, NoProxy, ProxyConfig, ProxyLayer, ProxyServer, ProxySettings,
    PurposePolicy, Route, Scheme, Target, TlsConfig,
    auth::{AuthScheme, Authorization, Credentials, CredentialsRequest},
    check::{Check, Leftover, Unusual},
    client::TlsServerName,
    config::{DefaultPort, NoProxySetting, Precedence, ProxySetting},
    connector::{HappyEyeballs, Http2Settings, ProxyConnection, ProxyVersion, Split},
    error::{CertificateError, ConnectErrorKind, Stage},
    guard::{Guard, GuardLayer, GuardedResolver},
    no_proxy::BypassService,
    purpose::ProxyUse,
    route::Destination,
};
use tower_outbound_proxy_lab::{Ca, Http2Proxy, Origin, Resolver, ScriptedProxy, Step, connector, within};

use crate::common::{Wire, everything, tunnel};

const PASSWORD: &str = "s3cret/w@rd";
const ADDRESS: &str = "http://user:s3cret%2Fw%40rd@proxy.test:3128";
/// `user:s3cret/w@rd`
const TOKEN: &str = "dXNlcjpzM2NyZXQvd0ByZA==";

/// Everything that was shown, by the name of the type.
#[derive(Default)]
struct Shown(BTreeMap<&'static str, Vec<String>>);

impl Shown {
    fn debug(&mut self, name: &'static str, value: &dyn Debug) {
        self.0.entry(name).or_default().push(format!("{value:?}\n{value:#?}"));
    }

    fn display<T: Debug + Display>(&mut self, name: &'static str, value: &T) {
        self.debug(name, value);
        self.0.entry(name).or_default().push(format!("{value}\n{value:#}"));
    }

    fn error(&mut self, name: &'static str, error: &(dyn Error + 'static)) {
        self.0.entry(name).or_default().push(everything(error));
    }

    fn written(&mut self, name: &'static str, value: &impl serde::Serialize) {
        let written = serde_json::to_string(value).unwrap_or_else(|error| error.to_string());
        self.0.entry(name).or_default().push(written);
    }
}

/// Returns the public types, each by the last part of its path.
fn public_types() -> BTreeSet<String> {
    let api = fs::read_to_string(".ci/public-api.txt").unwrap();
    let lines = api.lines().map(|line| line.trim_start_matches("#[non_exhaustive] "));
    let paths = lines.filter_map(|line| line.strip_prefix("pub struct ").or(line.strip_prefix("pub enum ")));
    // Their tests are in real_proxies/negotiate: nobody else has a token that they could show.
    let paths = paths.filter(|path| !path.contains("::auth::Negotiate"));
    let names = paths.map(|path| {
        let path = path.split(['<', '(', ' ']).next().unwrap();
        path.rsplit("::").next().unwrap().to_owned()
    });
    names.collect()
}

#[tokio::test]
async fn no_public_type_shows_a_secret() {
    let mut shown = Shown::default();
    settings(&mut shown);
    decisions(&mut shown);
    guards(&mut shown);
    errors(&mut shown);
    connections(&mut shown).await;
    providers(&mut shown).await;
    clients(&mut shown).await;

    let walked: BTreeSet<_> = shown.0.keys().map(|name| (*name).to_owned()).collect();
    let types = public_types();
    assert!(types.len() > 60, "{types:?}");
    let missing: Vec<_> = types.difference(&walked).collect();
    assert!(missing.is_empty(), "without an entry in this test: {missing:?}");
    for (name, texts) in &shown.0 {
        for text in texts {
            let lower = text.to_lowercase();
            for secret in ["s3cret", "w@rd", "w%40rd", &TOKEN.to_lowercase()[4..]] {
                assert!(!lower.contains(secret), "{secret} in {name}:\n{text}");
            }
        }
    }
}

/// Panics show values by `Debug`. These are the payloads of `unwrap` and `expect`.
#[test]
fn no_panic_shows_a_secret() {
    let address = ADDRESS.replace("3128", "99999");
    let panics: [Box<dyn Fn() + UnwindSafe>; 5] = [
        Box::new(move || drop(address.parse::<ProxyServer>().unwrap())),
        Box::new(|| drop(ProxyConfig::builder().no_proxy(ADDRESS).build().expect("settings"))),
        Box::new(|| panic!("{:?}", ADDRESS.parse::<ProxyServer>().unwrap())),
        Box::new(|| drop(Credentials::new("s3cret:user", PASSWORD).unwrap())),
        Box::new(|| panic!("{:?}", Authorization::value(HeaderValue::from_static(PASSWORD)))),
    ];
    for panics in panics {
        let payload = catch_unwind(panics).unwrap_err();
        let text = payload.downcast_ref::<String>().unwrap();
        assert!(!text.contains("s3cret") && text.len() > 20, "{text}");
    }
}

fn settings(shown: &mut Shown) {
    let server: ProxyServer = ADDRESS.parse().unwrap();
    shown.display("ProxyServer", &server);
    shown.written("ProxyServer", &server);
    shown.display("Credentials", server.credentials().unwrap());
    shown.debug("ProxySetting", &ProxySetting::from(ADDRESS));
    shown.debug("ProxySetting", &ProxySetting::from(server));
    shown.debug("NoProxySetting", &NoProxySetting::from(ADDRESS));
    let file =
        format!(r#"{{"http_proxy": "{ADDRESS}", "no_proxy": "{ADDRESS}", "by_domain": [{{"url": "{ADDRESS}"}}]}}"#);
    for file in [file.clone(), file.replace("http_proxy", ADDRESS)] {
        let settings: ProxySettings = serde_json::from_str(&file).unwrap();
        shown.debug("ProxySettings", &settings);
        shown.written("ProxySettings", &settings);
        let builder = ProxyConfig::builder()
            .settings(settings, Precedence::FileOverEnv)
            .https(ADDRESS);
        shown.debug("ProxyConfigBuilder", &builder);
        let error = builder.build().unwrap_err();
        shown.error("ConfigError", &error);
    }
    let broken = ADDRESS.replace("http:", "socks5:");
    let vars = [
        ("http_proxy", ADDRESS),
        ("HTTP_PROXY", "http://u:s3cret@x"),
        ("https_proxy", ADDRESS),
        ("all_proxy", &broken),
    ];
    let config = ProxyConfig::builder()
        .vars([&vars[..], &[("NO_PROXY", ADDRESS)]].concat())
        .build()
        .unwrap();
    shown.debug("ProxyConfig", &config);
    shown.written("ProxyConfig", &config);
    assert!(config.warnings().len() > 1);
    for warning in config.warnings() {
        shown.display("Warning", warning);
    }
    let check = Check::from_vars([&vars[..], &[("NO_PROXY", &format!(".x.test,{ADDRESS}"))]].concat());
    shown.debug("Check", &check);
    assert!(!check.findings().is_empty());
    for finding in check.findings() {
        shown.display("Finding", finding);
        finding.entry().iter().for_each(|entry| shown.debug("ListEntry", entry));
    }
    let suggestion = check.suggestion().unwrap();
    shown.debug("Suggestion", suggestion);
    shown.debug("Programs", suggestion.programs());
    shown.debug("Targets", suggestion.widened());
    shown.display("Leftover", &Leftover::Quotes);
    shown.display("Unusual", &Unusual::Mapped);
    let list = NoProxy::lenient(&format!("x.test,{ADDRESS} user:s3cret s3cret@x"), Dialect::Standard);
    shown.debug("NoProxy", &list);
    shown.written("NoProxy", &list);
    for rejected in list.rejected() {
        shown.display("EntryError", rejected);
        shown.error("EntryError", rejected);
    }
    for value in [&Dialect::Standard as &dyn Debug, &Dialect::Curl] {
        shown.debug("Dialect", value);
    }
    shown.debug("DefaultPort", &DefaultPort::ByScheme);
    shown.debug("Precedence", &Precedence::FileOverEnv);
    shown.debug("Http2Settings", &Http2Settings::default());
    shown.debug("ProxyVersion", &ProxyVersion::Negotiated);
    let layer = ProxyLayer::new(config).with_connect_header(header::COOKIE, HeaderValue::from_static(PASSWORD));
    let layer = layer.unwrap();
    shown.debug("ProxyLayer", &layer);
    shown.debug("Proxy", &layer.layer(()));

    let ca = Ca::new();
    let identity = ca.issue_client("client");
    let (chain, key) = (identity.cert_pem.clone(), format!("{PASSWORD}\n{}", identity.key_pem));
    let builder = TlsConfig::builder()
        .add_root_pem(ca.pem())
        .client_certificate_pem(chain, key);
    shown.debug("TlsConfigBuilder", &builder);
    shown.debug("TlsConfig", &builder.build().unwrap());
}

fn decisions(shown: &mut Shown) {
    let broken = ADDRESS.replace("http:", "socks5:");
    let config = ProxyConfig::builder()
        .http(ADDRESS)
        .https(ADDRESS)
        .all(&*broken)
        .no_proxy("exempt.test");
    let config = config.build().unwrap();
    for host in [
        "http://x.test",
        "https://x.test",
        "tcp://x.test:1",
        "http://exempt.test",
        "http://localhost",
    ] {
        let decision = config.decide(&host.parse().unwrap());
        shown.display("Decision", &decision);
        shown.debug("Reason", &decision.reason());
        shown.display("Route", decision.route());
        if let Route::Unusable(error) = decision.route() {
            shown.display("SettingName", error.setting());
            shown.display("UnusableProxyError", error);
            shown.error("UnusableProxyError", error);
        }
    }
    let url = "http://user:s3cret@x.test/?s3cret";
    let target: Target<'_> = url.parse().unwrap();
    shown.display("Target", &target);
    shown.debug("Scheme", &Scheme::Http);
    let route = Route::Forward(ADDRESS.parse().unwrap());
    let uri = "http://x.test/".parse().unwrap();
    shown.debug("Destination", &Destination { uri, route });
    let own = ProxyUse::Proxy(ADDRESS.parse().unwrap());
    shown.debug("ProxyUse", &own);
    let policy = PurposePolicy::new(|_: &u8, _: &Target<'_>| ProxyUse::Always).without_purpose(own);
    shown.debug("PurposePolicy", &policy);
    let unset = ProxyConfig::builder().build().unwrap();
    let error = unset.decide_for(&"purpose", &ProxyUse::Always, &target).unwrap_err();
    shown.error("PurposeError", &error);

    let list: NoProxy = "x.test".parse().unwrap();
    shown.display("Entry", &list.find(&target).unwrap());
    shown.debug("Exemption", &list.explain(&target));
    shown.debug("And", &list.clone().and(list.clone()));
    shown.debug("Or", &list.clone().or(list.clone()));
    shown.debug("Not", &list.clone().not());
    shown.debug("BypassService", &BypassService::new(list.clone()));
    let mut service = BypassService::new(list.not());
    let error = tower::filter::Predicate::check(&mut service, Request::get(url).body(()).unwrap()).unwrap_err();
    shown.error("NotDirectError", &*error);
}

fn guards(shown: &mut Shown) {
    let builder = IpPolicy::builder().special_purpose().allow_hosts(ADDRESS);
    shown.debug("IpPolicyBuilder", &builder);
    shown.error("ConfigError", &builder.build().unwrap_err());
    let policy = IpPolicy::special_purpose();
    shown.debug("IpPolicy", &policy);
    let target = "http://user:s3cret@x.test/?s3cret".parse().unwrap();
    shown.error("DeniedError", &policy.check(&target, [10, 0, 0, 1].into()).unwrap_err());
    shown.debug("GuardLayer", &GuardLayer::new(policy.clone()));
    shown.debug("Guard", &Guard::new(policy.clone(), connector()));
    let mut resolver = GuardedResolver::with_resolver(policy, Resolver::new());
    shown.debug("GuardedResolver", &resolver);
    shown.debug("ResolveFuture", &resolver.call("x.test".parse().unwrap()));
    shown.debug("HappyEyeballs", &HappyEyeballs::default());
    shown.debug(
        "DialFuture",
        &HappyEyeballs::new(connector()).call("http://user:s3cret@x.test/".parse().unwrap()),
    );
    shown.debug("Split", &Split::new(connector(), connector()));
}

fn errors(shown: &mut Shown) {
    let error = "http://user:s3cret@/s3cret".parse::<Target<'_>>().unwrap_err();
    shown.error("TargetError", &error);
    shown.debug("ConnectErrorKind", &ConnectErrorKind::Refused);
    shown.debug("Stage", &Stage::Tunnel);
    let error = ADDRESS.replace("3128", "s3cret").parse::<ProxyServer>().unwrap_err();
    shown.error("ConfigError", &error);
}

/// Answers of a proxy that knows the password.
fn echo(status: u16) -> String {
    format!(
        "HTTP/1.1 {status} {TOKEN} {PASSWORD}\r\nX-Echo: Basic {TOKEN}\r\nProxy-Authenticate: Basic realm=\"{PASSWORD}\"\r\n\
         Content-Length: 40\r\nConnection: close\r\n\r\n{:40}",
        format!("{PASSWORD} {TOKEN}")
    )
}

async fn connections(shown: &mut Shown) {
    let layer = || ProxyLayer::new(ProxyConfig::builder().all(ADDRESS).build().unwrap());
    let mut half = layer().layer(connector());
    shown.debug(
        "ConnectFuture",
        &half.call("https://user:s3cret@x.test/".parse::<http::Uri>().unwrap()),
    );
    let stream = tunnel(&layer(), Wire::saying([echo(200)])).await.unwrap();
    shown.debug("ProxyStream", &stream);
    shown.display("ConnectResponse", stream.connect_response().unwrap());
    for status in [407, 401, 403] {
        let error: ConnectError = tunnel(&layer(), Wire::saying([echo(status)])).await.unwrap_err();
        shown.error("ConnectError", &error);
        error
            .challenges()
            .iter()
            .for_each(|challenge| shown.display("Challenge", challenge));
    }
    let mut half = layer().layer(service_fn(|_: Request<()>| {
        pending::<Result<Response<()>, Infallible>>()
    }));
    shown.debug(
        "ResponseFuture",
        &half.call(Request::get("http://x.test/?s3cret").body(()).unwrap()),
    );

    let identity = Ca::new().issue(&["other.test"]);
    let proxy = Http2Proxy::builder()
        .host("proxy.test")
        .tls(identity.server_config(&["h2"]))
        .start()
        .await;
    let config = ProxyConfig::builder().all(proxy.url_with("user:s3cret%2Fw%40rd@"));
    let config = config.proxy_tls(trusting(&Ca::new())).build().unwrap();
    let mut half = ProxyLayer::new(config).layer(connector());
    let error = within(half.tunnel("x.test", 1)).await.unwrap_err();
    shown.error("ConnectError", &error);
    shown.error("CertificateError", CertificateError::find(&error).unwrap());
}

async fn providers(shown: &mut Shown) {
    let credentials = Credentials::new("user", PASSWORD).unwrap();
    shown.display("Credentials", &credentials);
    shown.error(
        "CredentialsError",
        &Credentials::new("s3cret:user", PASSWORD).unwrap_err(),
    );
    shown.error("CredentialsError", &Credentials::new("user", "s3cret\n").unwrap_err());
    shown.display("AuthScheme", &AuthScheme::Digest);
    let value = HeaderValue::from_static("Bearer s3cret/w@rd");
    // A proxy says back what it has received.
    for (answer, said) in [
        (Authorization::none(), "nothing"),
        (Authorization::password(credentials), PASSWORD),
        (Authorization::value(value.clone()), PASSWORD),
        (Authorization::once(value), PASSWORD),
    ] {
        shown.debug("Authorization", &answer);
        let named = answer.clone().identity("user").expires_after(Duration::from_secs(1));
        shown.debug("Authorization", &named);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let requests = asked.clone();
        let provider = service_fn(move |request: CredentialsRequest| {
            requests.lock().unwrap().push(request);
            ready(Ok::<_, Infallible>(answer.clone()))
        });
        let layer = ProxyLayer::new(ProxyConfig::builder().all(ADDRESS).build().unwrap()).with_credentials(provider);
        shown.debug("ProxyLayer", &layer);
        shown.debug("Proxy", &layer.layer(connector()));
        let builder = Client::builder().layer(layer.clone()).connector(connector());
        shown.debug("ClientBuilder", &builder);
        let client: Client<Full<Bytes>> = builder.build().unwrap();
        shown.debug("Client", &client);
        // A token that serves once is sent again, on the wire's only connection.
        let refusal = echo(407)
            .replace("Connection: close\r\n", "")
            .replace("Content-Length: 40", "Content-Length: 0");
        let refusal = refusal.replace(PASSWORD, said).replace(TOKEN, said);
        let refusal = refusal.split_inclusive("\r\n\r\n").next().unwrap();
        let error = tunnel(&layer, Wire::saying([refusal, refusal])).await;
        shown.error("ConnectError", &error.unwrap_err());
        let asked = asked.lock().unwrap();
        assert!(asked.iter().any(|request| !request.challenges().is_empty()));
        asked
            .iter()
            .for_each(|request| shown.debug("CredentialsRequest", request));
    }
}

fn trusting(ca: &Ca) -> TlsConfig {
    TlsConfig::builder()
        .add_root_pem(ca.pem())
        .only_added_roots()
        .build()
        .unwrap()
}

async fn clients(shown: &mut Shown) {
    let proxy = Http2Proxy::builder().start().await;
    let origin = Origin::http().await;
    let address = format!("http://user:s3cret%2Fw%40rd@{}", proxy.authority());
    let layer = ProxyLayer::new(ProxyConfig::builder().all(&*address).build().unwrap());
    let builder = Client::builder()
        .layer(layer.with_proxy_version(ProxyVersion::Http2))
        .connector(connector());
    shown.debug("ClientBuilder", &builder);
    let client: Client<Full<Bytes>> = builder.build().unwrap();
    let url = format!("http://x.test:{}/echo?s3cret", origin.port());
    let request = || Request::post(&url).body(Full::from(PASSWORD)).unwrap();
    let future = client.send(request());
    shown.debug("ResponseFuture", &future);
    let response = within(future).await.unwrap();
    shown.debug(
        "ProxyConnection",
        response.extensions().get::<ProxyConnection>().unwrap(),
    );
    shown.debug("ClientBody", response.body());
    shown.debug("Client", &client);
    let stats = client.stats();
    shown.debug("PoolStats", &stats);
    assert!(!stats.keys.is_empty());
    shown.debug("KeyStats", &stats.keys);
    shown.debug("ConfigHandle", &client.config_handle());
    shown.debug("TlsServerName", &TlsServerName::new("x.test").unwrap());
    drop(response);

    let hostile = ScriptedProxy::start(Step::send(echo(407))).await;
    let address = format!("http://user:s3cret%2Fw%40rd@{}", hostile.addr());
    client
        .config_handle()
        .replace(ProxyConfig::builder().all(&*address).build().unwrap());
    let layer = ProxyLayer::new(ProxyConfig::builder().all(&*address).build().unwrap());
    let client: Client<Full<Bytes>> = Client::builder().layer(layer).connector(connector()).build().unwrap();
    for url in ["http://x.test/?s3cret", "https://x.test/?s3cret"] {
        let request = Request::get(url).body(Full::default()).unwrap();
        let error = within(client.clone().oneshot(request)).await.unwrap_err();
        shown.error("ClientError", &error);
    }
    // An end of a body that is not the body's end.
    let cut = ScriptedProxy::start(Step::send(
        echo(200).replace("Content-Length: 40", "Content-Length: 99"),
    ))
    .await;
    let address = format!("http://user:s3cret%2Fw%40rd@{}", cut.addr());
    client
        .config_handle()
        .replace(ProxyConfig::builder().all(&*address).build().unwrap());
    let response = within(client.oneshot(Request::get("http://x.test/").body(Full::default()).unwrap()))
        .await
        .unwrap();
    let error = within(http_body_util::BodyExt::collect(response.into_body()))
        .await
        .unwrap_err();
    shown.error("BodyError", &error);
}
