//! The error of a certificate that does not verify names its issuer, the roots that were used and what to set, for a
//! proxy and for a target, in every stack. Where roots are not the matter, it says what is.

#![allow(clippy::unwrap_used)] // clippy sees tests only in functions marked so

use std::{error::Error, iter::successors, sync::Arc};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{BoxError, ServiceExt};
use tower_outbound_proxy::{
    Client, ConnectError, ProxyConfig, ProxyLayer, TlsConfig,
    error::{CertificateError, ConnectErrorKind, Stage},
};
use tower_outbound_proxy_lab::{Ca, ForwardProxy, Identity, Origin, connector, within};

use crate::common::{self, connect, get};

const ADVICE: &str = "add its root certificate with `TlsConfigBuilder::add_root_pem`";

fn trusting(roots: &[&str]) -> TlsConfig {
    let builder = roots
        .iter()
        .fold(TlsConfig::builder(), |builder, root| builder.add_root_pem(*root));
    builder.only_added_roots().build().unwrap()
}

/// Returns the text of the error of TLS with an `https://` proxy that shows this certificate.
async fn by_proxy(identity: &Identity, trust: &TlsConfig) -> String {
    let proxy = ForwardProxy::builder().tls(identity.server_config(&[])).start().await;
    let config = ProxyConfig::builder()
        .all(proxy.url_with("user:s3cret@"))
        .proxy_tls(trust.clone());
    let layer = ProxyLayer::new(config.build().unwrap());
    let error = within(connect(&layer, connector(), "https://origin.test/"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.stage()),
        (ConnectErrorKind::Certificate, Stage::Tls)
    );
    assert!(!error.is_transient() && proxy.requests().is_empty());
    // The text is there once, and its cause behind it.
    let cause = error.source().unwrap();
    assert!(
        cause.is::<rustls::Error>() && cause.to_string().starts_with("invalid peer certificate: "),
        "{cause}"
    );
    for cause in successors(Some(cause), |&cause| cause.source()) {
        assert!(cause.to_string().len() < 2000, "{:.200}", cause.to_string());
    }
    let text = error.to_string();
    let prefix = format!("proxy {}, to origin.test:443: ", proxy.url_with("user:***@"));
    told(&error, text.strip_prefix(&prefix).unwrap_or_else(|| panic!("{text}")))
}

/// Checks what a program learns, and returns the text.
fn told(error: &(dyn Error + 'static), text: &str) -> String {
    let found = CertificateError::find(error).unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!(found.to_string(), text);
    assert!(
        text.contains(&format!("`{}`", found.issuer().unwrap_or("not named"))),
        "{text}"
    );
    assert!(!text.contains("s3cret"));
    text.to_owned()
}

/// Returns the texts of the errors of TLS with a target that shows this certificate, in a `Client` and in hyper-util's.
async fn by_target(identity: &Identity, trust: &TlsConfig) -> [String; 2] {
    let origin = Origin::builder().tls(identity.server_config(&[])).start().await;
    let proxy = ForwardProxy::builder()
        .map("origin.test:443", origin.addr())
        .start()
        .await;
    let config = ProxyConfig::builder().all(proxy.url()).build().unwrap();
    let own: Client<Full<Bytes>> = Client::builder()
        .config(config.clone())
        .connector(connector())
        .target_tls(trust.clone())
        .build()
        .unwrap();
    let layer = ProxyLayer::new(config);
    let stack = common::client(layer.https_connector_with(connector(), trust.clone()));
    let request = Request::get("https://origin.test/").body(Full::default()).unwrap();
    let own: BoxError = within(own.oneshot(request)).await.unwrap_err().into();
    let stack: BoxError = within(get(&stack, "https://origin.test/")).await.unwrap_err().into();
    assert!(origin.requests().is_empty());

    let chain = |error: &BoxError| {
        successors(Some(&**error as &(dyn Error + 'static)), |&error| error.source())
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let text = CertificateError::find(&*own)
        .unwrap_or_else(|| panic!("{own:?}"))
        .to_string();
    let [first, second, ..] = &chain(&own)[..] else {
        panic!("{own:?}")
    };
    assert!(first.starts_with("no connection to https://origin.test:443"), "{first}");
    assert!(first.ends_with(": the TLS handshake with the target failed"), "{first}");
    assert_eq!(*second, text);
    let in_stack = CertificateError::find(&*stack).unwrap_or_else(|| panic!("{stack:?}"));
    let last = chain(&stack).pop().unwrap();
    assert_eq!(last, format!("invalid peer certificate: Other(OtherError({in_stack}))"));
    for error in [&own, &stack] {
        assert!(ConnectError::find(&**error).is_none(), "the proxy has no part in it");
    }
    [told(&*own, &text), told(&*stack, &in_stack.to_string())]
}

#[tokio::test]
async fn each_fault_has_its_text_and_its_advice() {
    let (ca, other) = (Ca::named("Trusted Root"), Ca::named("Company Root"));
    let names = &["origin.test", "localhost"];
    let (one, two) = (trusting(&[ca.pem()]), trusting(&[ca.pem(), Ca::new().pem()]));
    let renewed = Ca::named("Trusted Root").issue(names);
    let many: Vec<_> = (0..1000).map(|n| format!("n{n}.test")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let hostile = Ca::named(&format!("evil`\n\u{1b}[2J\u{202e}{}", "x".repeat(5000)));
    let nameless = Ca::named("");
    let interception = "as the issuer of a proxy that intercepts TLS is";
    for (identity, trust, text) in [
        (
            other.issue(names),
            &one,
            format!("its issuer (`CN=Company Root`) is not trusted (trusted: 1 added root); if it is meant to be, {interception}, {ADVICE}"),
        ),
        (
            other.subordinate("Branch").subordinate("Filter").issue(names),
            &two,
            format!(
                "its issuer (`CN=Filter`, under `CN=Company Root`) is not trusted (trusted: 2 added roots); if it is meant \
                 to be, {interception}, {ADVICE}"
            ),
        ),
        (
            Identity::self_signed(names, false),
            &one,
            "it is self-signed (`CN=origin.test`) and not trusted (trusted: 1 added root); if it is the right one, add it \
             with `TlsConfigBuilder::add_root_pem`"
                .to_owned(),
        ),
        (
            Identity::self_signed(names, true),
            &one,
            "it is a certificate authority's, which a server must not present (issuer: `CN=origin.test`); give the server a \
             certificate with `CA:FALSE`"
                .to_owned(),
        ),
        (
            renewed,
            &one,
            "its issuer (`CN=Trusted Root`) has the name of a trusted root, but another key (trusted: 1 added root); if the \
             root was renewed, add the new one with `TlsConfigBuilder::add_root_pem`"
                .to_owned(),
        ),
        (
            ca.issue_expired(names),
            &one,
            "it has expired (issuer: `CN=Trusted Root`); the server needs a new one, unless this machine's clock is wrong"
                .to_owned(),
        ),
        (
            ca.issue_from(names, 2090, 2091),
            &one,
            "it is not valid yet (issuer: `CN=Trusted Root`); is this machine's clock right?".to_owned(),
        ),
        (
            ca.issue(&["a.test", "*.b.test"]),
            &one,
            "it is not for `NAME`, but for `a.test`, `*.b.test` (issuer: `CN=Trusted Root`); does the address name the \
             right host, and does another server answer in its place?"
                .to_owned(),
        ),
        (
            ca.issue(&many),
            &one,
            "it is not for `NAME`, but for `n0.test`, `n1.test`, `n2.test` and 997 more (issuer: `CN=Trusted Root`); does the \
             address name the right host, and does another server answer in its place?"
                .to_owned(),
        ),
        (
            ca.issue(&["192.0.2.1"]),
            &one,
            "it is not for `NAME`, but for no host name (issuer: `CN=Trusted Root`); does the address name the right host, \
             and does another server answer in its place?"
                .to_owned(),
        ),
        (
            ca.issue_client("me"),
            &one,
            "it is not for servers (issuer: `CN=Trusted Root`); give the server a certificate whose extended key usage has \
             `serverAuth`"
                .to_owned(),
        ),
        (
            ca.issue_for_purposes(4000),
            &one,
            "it is not for servers (issuer: `CN=Trusted Root`); give the server a certificate whose extended key usage has \
             `serverAuth`"
                .to_owned(),
        ),
        (
            hostile.issue(names),
            &one,
            format!(
                "its issuer (`CN=evil`\\n\\u{{1b}}[2J\\u{{202e}}{}…`) is not trusted (trusted: 1 added root); if it is meant to \
                 be, {interception}, {ADVICE}",
                "x".repeat(100 - "evil`\n\u{1b}[2J\u{202e}".chars().count())
            ),
        ),
        (
            nameless.issue(names),
            &one,
            format!("its issuer (`CN=`) is not trusted (trusted: 1 added root); if it is meant to be, {interception}, {ADVICE}"),
        ),
    ] {
        let expected = |name| format!("the certificate does not verify: {}", text.replace("NAME", name));
        let proxys = by_proxy(&identity, trust).await;
        assert!(proxys == expected("127.0.0.1") || proxys == expected("localhost"), "{proxys}\n{text}");
        assert_eq!(by_target(&identity, trust).await, [expected("origin.test"), expected("origin.test")]);
    }
}

/// The advice is followed: a self-signed certificate, an intermediate's root and a renewed root are trusted when added.
#[tokio::test]
async fn the_advice_helps() {
    let names = &["origin.test"];
    let own = Identity::self_signed(names, false);
    let (root, old) = (Ca::named("Company Root"), Ca::named("Company Root"));
    let filter = root.subordinate("Filter").issue(names);
    for (identity, trust) in [
        (&own, trusting(&[&own.cert_pem])),
        (&filter, trusting(&[root.pem()])),
        (&filter, trusting(&[old.pem(), root.pem()])),
    ] {
        let origin = Origin::builder()
            .host("origin.test")
            .tls(identity.server_config(&[]))
            .start()
            .await;
        let layer = ProxyLayer::new(ProxyConfig::builder().build().unwrap());
        let client = common::client(layer.https_connector_with(connector(), trust));
        assert_eq!(within(get(&client, &origin.url("/"))).await.unwrap().status(), 200);
    }
}

/// Returns the text for this machine's roots, which these variables take the place of.
fn system_roots() -> String {
    let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
    let set = variables.map(|name| std::env::var(name).ok().map(|value| format!("{name} (`{value}`)")));
    match set.into_iter().flatten().collect::<Vec<_>>().join(" and ") {
        none if none.is_empty() => "the operating system's roots".to_owned(),
        set => format!("the roots in {set}"),
    }
}

/// A proxy that intercepts TLS is named by its root; the operating system's trust does not have it.
#[tokio::test]
async fn an_intercepting_proxy_is_named() {
    let (targets, interceptor) = (Ca::new(), Arc::new(Ca::named("Intercepting Root")));
    let origin = Origin::https(&targets, &["origin.test"], &[]).await;
    let proxy = ForwardProxy::builder()
        .map("origin.test:443", origin.addr())
        .intercept(interceptor.clone(), &targets)
        .start()
        .await;
    let layer = common::layer(&proxy.url());
    let system = TlsConfig::builder().add_root_pem(targets.pem()).build().unwrap();
    for (trust, trusted) in [
        (trusting(&[targets.pem()]), "1 added root"),
        (system, &format!("{}, and 1 added root", system_roots())),
    ] {
        let client = common::client(layer.https_connector_with(connector(), trust));
        let error = within(get(&client, "https://origin.test/")).await.unwrap_err();
        let text = CertificateError::find(&error).unwrap().to_string();
        let part = format!("its issuer (`CN=Intercepting Root`) is not trusted (trusted: {trusted})");
        assert!(text.contains(&part), "{text}");
    }
    let client = common::client(layer.https_connector_with(connector(), trusting(&[interceptor.pem()])));
    assert_eq!(
        within(get(&client, "https://origin.test/")).await.unwrap().status(),
        200
    );
}

/// An application's own verifier is not wrapped. Its error is told as it is.
#[tokio::test]
async fn an_applications_own_configuration_keeps_its_errors() {
    let (ca, other) = (Ca::new(), Ca::new());
    let proxy = ForwardProxy::builder().tls(ca.issue(&["localhost"]).server_config(&[]));
    let proxy = proxy.start().await;
    let config = ProxyConfig::builder()
        .all(proxy.url())
        .proxy_tls(other.client_config(&[]));
    let layer = ProxyLayer::new(config.build().unwrap());
    let error = within(connect(&layer, connector(), "https://origin.test/"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().ends_with(": the certificate does not verify"),
        "{error}"
    );
    assert_eq!(
        error.source().unwrap().to_string(),
        "invalid peer certificate: UnknownIssuer"
    );
    assert!(CertificateError::find(&error).is_none());
}
