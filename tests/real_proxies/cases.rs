//! The cases that run through each server.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::Layer;
use tower_outbound_proxy::{
    ConnectError, ProxyLayer, Route,
    connector::ConnectResponse,
    error::{BoxError, CertificateError, ConnectErrorKind, Stage},
};
use tower_outbound_proxy_lab::{Kind, Origin, Resolver, connector_with, pattern, within};

use super::{
    lab::{Client, DENIED, Lab, PASSWORD, PROXY, chain, trust},
    server::Server,
};
use crate::common::{GREETING, shouting, speak};

pub async fn get(server: Server) {
    let lab = Lab::start(server).await;
    let origin = lab.http().await;
    let client = lab.client();

    let response = client.get(&origin.url("/")).await;

    assert_greets(&response, &origin);
    assert!(matches!(response.extensions().get(), Some(Route::Forward(_))));
    assert_eq!(client.resolved(), [PROXY]);
    assert_starts(&lab.logged(1).await, &[format!("GET {} HTTP/1.1", origin.url("/"))]);
    assert_heard_nothing_of_the_proxy(&origin);
}

/// With "always tunnel", plain HTTP goes through CONNECT.
pub async fn get_through_tunnel(server: Server) {
    let lab = Lab::start(server).await;
    let origin = lab.http().await;
    let client = lab.client_with(lab.config().always_tunnel(true));

    let response = client.get(&origin.url("/")).await;

    assert_greets(&response, &origin);
    assert_tunnelled(&lab, client, &origin, &response).await;
}

pub async fn https(server: Server) {
    let lab = Lab::start(server).await;
    let origin = lab.https().await;
    let client = lab.client();

    let response = client.get(&origin.url("/")).await;

    assert_greets(&response, &origin);
    assert_tunnelled(&lab, client, &origin, &response).await;
}

pub async fn post_10_mib(server: Server) {
    let lab = Lab::start(server).await;
    let origin = lab.http().await;

    post(&lab, &origin).await;
}

pub async fn post_10_mib_https(server: Server) {
    let lab = Lab::start(server).await;
    let origin = lab.https().await;

    post(&lab, &origin).await;
}

async fn post(lab: &Lab, origin: &Origin) {
    let body = pattern(10 << 20);
    let request = Request::post(origin.url("/echo"))
        .body(Full::new(body.clone()))
        .unwrap();

    let response = lab.client().send(request).await.unwrap();

    assert_eq!(response.status(), StatusCode::OK);
    // Not `assert_eq`, which would print them.
    assert!(
        origin.requests()[0].body == body,
        "the body has changed on its way to the origin"
    );
    assert!(*response.body() == body, "the body has changed on its way back");
    assert_heard_nothing_of_the_proxy(origin);
}

pub async fn ipv6_target(server: Server) {
    let lab = Lab::start(server).await;
    let origin = lab.http_v6().await;

    let response = lab.client().get(&origin.url("/")).await;

    assert_greets(&response, &origin);
    let target = format!("http://[::1]:{}/", origin.port());
    assert_starts(&lab.logged(1).await, &[format!("GET {target} HTTP/1.1")]);
    assert_heard_nothing_of_the_proxy(&origin);
}

pub async fn ipv6_target_https(server: Server) {
    let lab = Lab::start(server).await;
    let origin = lab.https_v6().await;
    let client = lab.client();

    let response = client.get(&origin.url("/")).await;

    assert_greets(&response, &origin);
    assert_tunnelled(&lab, client, &origin, &response).await;
}

pub async fn two_origins_in_a_row(server: Server) {
    let lab = Lab::start(server).await;
    let origins = lab.origins().await;
    let client = lab.client();

    for _ in 0..2 {
        for origin in &origins {
            assert_greets(&client.get(&origin.url("/")).await, origin);
        }
    }

    for origin in &origins {
        assert_eq!(origin.requests().len(), 2);
        assert_heard_nothing_of_the_proxy(origin);
    }
}

/// Also where that means a certificate for an address.
pub async fn proxy_named_by_its_address(server: Server) {
    let lab = Lab::start(server).await;
    let (http, https) = (lab.http().await, lab.https().await);
    let client = lab.client_with(lab.config().all(lab.url().replace(PROXY, "127.0.0.1")));

    for origin in [http, https] {
        assert_greets(&client.get(&origin.url("/")).await, &origin);
    }

    assert!(client.resolved().is_empty());
}

pub async fn no_proxy_goes_around_it(server: Server) {
    let lab = Lab::start(server).await;
    let (http, https) = (lab.http().await, lab.https().await);
    let client = Client::new(lab.config().no_proxy(server.names[0]), &lab.origin_root());

    for origin in [&http, &https] {
        let response = client.get(&origin.url("/")).await;
        assert_greets(&response, origin);
        assert!(matches!(response.extensions().get(), Some(Route::Direct)));
        assert_heard_nothing_of_the_proxy(origin);
    }

    assert_eq!(client.resolved(), [server.names[0]; 2]);
    drop(client);
    // Once the server has logged something later, it would have logged these.
    lab.client().get(&http.url("/status/204")).await;
    assert_starts(&lab.logged(1).await, &[format!("GET {}", http.url("/status/204"))]);
}

pub async fn no_credentials(server: Server) {
    let lab = Lab::start(server).await;
    let (http, https) = (lab.http().await, lab.https().await);
    let client = lab.client_with(lab.config().all(lab.bare_url(PROXY)));

    let response = client.get(&http.url("/")).await;
    assert_eq!(response.status(), server.no_password);

    let error = client.try_get(&https.url("/")).await.unwrap_err();
    let error = refusal(&error, server.no_password);
    assert_eq!(error.kind(), ConnectErrorKind::AuthenticationRequired);
    assert_eq!(error.challenges()[0].realm(), Some(lab.proxy.realm()));
    assert!(error.to_string().contains("no credentials are configured"), "{error}");
    assert_untouched([http, https]);
}

pub async fn wrong_password(server: Server) {
    const WRONG: &str = "xyzzy-0815";
    let lab = Lab::start(server).await;
    let (http, https) = (lab.http().await, lab.https().await);
    let client = lab.client_with(lab.config().all(lab.url_with(WRONG)));

    let response = client.get(&http.url("/")).await;
    assert_eq!(response.status(), server.wrong_password);

    let error = client.try_get(&https.url("/")).await.unwrap_err();
    let text = format!("{} {error:?}", chain(&*error));
    assert!(!text.contains(WRONG), "{text}");
    let error = refusal(&error, server.wrong_password);
    assert_eq!(error.kind(), ConnectErrorKind::AuthenticationRequired);
    assert_eq!(error.stage(), Stage::Tunnel);
    assert!(error.is_before_request());
    assert!(!error.is_transient());
    assert_eq!(error.challenges()[0].scheme(), "Basic");
    assert_eq!(error.challenges()[0].realm(), Some(lab.proxy.realm()));
    for part in [server.wrong_password.as_str(), lab.proxy.realm(), "user:***@proxy.test"] {
        assert!(error.to_string().contains(part), "no {part} in: {error}");
    }
    assert_untouched([http, https]);
}

/// The proxy's own explanation arrives: as the response of a plain request, in the error of a tunnel.
pub async fn refused_target(server: Server) {
    let lab = Lab::start(server).await;
    let client = lab.client();

    let response = client.get(&format!("http://{DENIED}/")).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_explains(server, response.body());

    let error = client.try_get(&format!("https://{DENIED}/")).await.unwrap_err();
    let error = refusal(&error, StatusCode::FORBIDDEN);
    assert_ne!(error.kind(), ConnectErrorKind::AuthenticationRequired);
    assert!(!error.is_transient());
    assert!(error.to_string().contains("403"), "{error}");
    assert!(error.to_string().contains("denied.test:443"), "{error}");
    let response = error.response().unwrap();
    assert_explains(server, response.body());
    let squid = response
        .headers()
        .get("x-squid-error")
        .map(|value| value.to_str().unwrap());
    assert_eq!(squid, server.x_squid_error);
    assert!(error.to_string().contains(squid.unwrap_or_default()), "{error}");
}

/// A protocol that is not HTTP and whose server speaks first.
pub async fn raw_tunnel(server: Server) {
    let lab = Lab::start(server).await;
    let target = shouting().await;
    let resolver = Resolver::new();
    let layer = ProxyLayer::new(lab.config().build().unwrap());
    let mut connector = layer.layer(connector_with(resolver.clone()));

    let host = server.names[0];
    let stream = within(connector.tunnel(host, target.port())).await.unwrap();

    assert!(matches!(stream.route(), Route::Tunnel(_)));
    assert_eq!(stream.connect_response().unwrap().version(), server.connect_version);
    assert_eq!(speak(stream).await, format!("{GREETING}QUIT\r\n"));
    assert_eq!(resolver.names(), [PROXY]);
    let connect = format!("CONNECT {host}:{} {}", target.port(), server.logged_version);
    assert_starts(&lab.logged(1).await, &[connect]);

    let error = within(connector.tunnel(DENIED, target.port())).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Refused, "{error}");
}

pub async fn credentials_with_special_characters(server: Server) {
    let lab = Lab::with_password(server, server.special_password).await;
    let (http, https) = (lab.http().await, lab.https().await);
    let client = lab.client();

    for origin in [http, https] {
        assert_greets(&client.get(&origin.url("/")).await, &origin);
    }
}

/// A client that trusts the target's root, but not the proxy's.
pub async fn untrusted_proxy(server: Server) {
    let lab = Lab::start(server).await;
    let (http, https) = (lab.http().await, lab.https().await);
    let client = lab.client_with(lab.config().proxy_tls(trust(&lab.origin_root())));

    for origin in [&http, &https] {
        let error = client.try_get(&origin.url("/")).await.unwrap_err();
        let error = ConnectError::find(&*error).unwrap_or_else(|| panic!("{}", chain(&*error)));
        assert_eq!(error.stage(), Stage::Tls);
        assert_eq!(error.kind(), ConnectErrorKind::Certificate, "{error}");
        assert!(!error.is_transient());
    }
    assert!(!lab.proxy.log().contains(&http.authority()));
    assert_untouched([http, https]);
}

/// The tunnel opens; what fails is TLS to what claims to be the target, also for a client that trusts the same root as
/// the proxy's.
pub async fn interception_needs_its_root(server: Server) {
    let lab = Lab::start(server).await;
    let origin = lab.https().await;
    let client = Client::new(lab.config(), &lab.origin_root());

    let error = client.try_get(&origin.url("/")).await.unwrap_err();

    assert!(ConnectError::find(&*error).is_none(), "{}", chain(&*error));
    let issuer = CertificateError::find(&*error).and_then(CertificateError::issuer);
    assert!(
        issuer.is_some_and(|issuer| issuer.contains("mitmproxy")),
        "{}",
        chain(&*error)
    );
    assert!(origin.requests().is_empty());
    let connect = format!("CONNECT {} HTTP/1.1 200", origin.authority());
    assert_starts(&lab.logged(1).await[..1], &[connect]);
}

fn assert_greets(response: &Response<Bytes>, origin: &Origin) {
    assert_eq!(response.status(), StatusCode::OK, "{response:?}");
    let greeting = format!("hello from origin, asked for {}\n", origin.authority());
    assert_eq!(String::from_utf8_lossy(response.body()), greeting);
}

/// Asserts that the request went through CONNECT only. It drops the client, because the server logs a tunnel when it
/// ends.
async fn assert_tunnelled(lab: &Lab, client: Client, origin: &Origin, response: &Response<Bytes>) {
    assert!(matches!(response.extensions().get(), Some(Route::Tunnel(_))));
    let connect: &ConnectResponse = response.extensions().get().unwrap();
    assert_eq!(connect.status(), StatusCode::OK);
    assert_eq!(connect.version(), lab.server.connect_version);

    assert_eq!(client.resolved(), vec![PROXY; lab.server.connections_for_a_tunnel()]);
    drop(client);
    let version = lab.server.logged_version;
    let mut expected = vec![format!("CONNECT {} {version}", origin.authority())];
    if lab.server.intercepts {
        expected.push(format!("GET {}", origin.url("/")));
    }
    assert_starts(&lab.logged(expected.len()).await, &expected);
    assert_heard_nothing_of_the_proxy(origin);
}

/// Asserts that the origin got requests for itself, without the proxy's credentials.
fn assert_heard_nothing_of_the_proxy(origin: &Origin) {
    assert!(!origin.requests().is_empty());
    for request in origin.requests() {
        assert_eq!(request.kind(), Kind::Origin);
        assert_eq!(request.header("host"), Some(&*origin.authority()));
    }
    for received in origin.raw() {
        let received = String::from_utf8_lossy(&received).to_ascii_lowercase();
        assert!(!received.contains("proxy-authorization"), "{received}");
        assert!(!received.contains(PASSWORD), "{received}");
    }
}

fn assert_untouched(origins: [Origin; 2]) {
    for origin in origins {
        assert_eq!(origin.connections_opened(), 0);
    }
}

fn assert_explains(server: Server, body: &[u8]) {
    let body = String::from_utf8_lossy(body);
    assert!(body.contains(server.explanation), "{body}");
}

/// Line by line.
#[track_caller]
fn assert_starts(lines: &[String], starts: &[String]) {
    let same = lines.len() == starts.len() && lines.iter().zip(starts).all(|(line, start)| line.starts_with(start));
    assert!(same, "{lines:#?} should begin with {starts:#?}");
}

/// Returns the refusal in a client's error.
#[track_caller]
fn refusal(error: &BoxError, status: StatusCode) -> &ConnectError {
    let found = ConnectError::find(&**error).unwrap_or_else(|| panic!("{}", chain(&**error)));
    assert!(found.response().is_some(), "{found}");
    assert_eq!(found.response().unwrap().status(), status);
    found
}
