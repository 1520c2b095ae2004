//! Negotiate through Squid, with tickets of a KDC of MIT Kerberos.
//!
//! Kerberos takes its settings from the process's environment. So each test starts a KDC, and runs itself again in a
//! process whose environment leads there.

use std::{
    env,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceExt, service_fn};
use tower_outbound_proxy::{
    Client, ClientError, ConnectError, ProxyConfig, ProxyLayer, TlsConfig,
    auth::{Authorization, CredentialsRequest, Negotiate, NegotiateError},
    error::{BoxError, ConnectErrorKind, Stage},
};
use tower_outbound_proxy_lab::{
    Ca, ForwardProxy, Kind, Origin, connector,
    servers::{Kdc, RealProxy, Realm, Setup},
    within,
};

use super::lab::{PASSWORD, PROXY, USER, chain, trust};

/// The service of [`PROXY`].
const SERVICE: &str = "HTTP/proxy.test";
/// A service that is not the proxy's.
const OTHER_SERVICE: &str = "HTTP/other.test";
/// The variable with the folder of the realm.
const REALM: &str = "LAB_REALM";

/// Runs a test in a process for which Kerberos has a realm, where these users are logged in. The last one is the
/// default user.
fn in_realm(test: &str, users: &[&str], body: impl AsyncFnOnce(Realm)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(realm) = env::var_os(REALM) {
        return runtime.block_on(body(Realm::at(realm)));
    }
    let kdc = runtime.block_on(Kdc::start(&[SERVICE, OTHER_SERVICE, "alice", "bob", "carol"]));
    let kdc = kdc.unwrap();
    let realm = kdc.realm();
    users.iter().for_each(|user| realm.log_in(user).unwrap());
    let (_, module) = module_path!().split_once("::").unwrap();
    let Output { status, stdout, stderr } = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{test}"), "--ignored", "--nocapture"])
        .env(REALM, realm.path())
        .env("KRB5_CONFIG", realm.config())
        .env("KRB5CCNAME", realm.collection())
        .env_remove("KRB5_CLIENT_KTNAME")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let passed = status.success() && stdout.contains("test result: ok. 1 passed");
    assert!(passed, "{status}\n{stdout}\n{stderr}");
}

/// A Squid that knows the users of a realm, and what stands behind it.
struct Lab {
    squid: RealProxy,
    proxy_ca: Ca,
    origin_ca: Ca,
    http: Origin,
    https: Origin,
}

impl Lab {
    async fn start(realm: &Realm) -> Self {
        Self::with_service(realm, SERVICE).await
    }

    /// Starts Squid with the key of this service.
    async fn with_service(realm: &Realm, service: &str) -> Self {
        let (proxy_ca, origin_ca) = (Ca::new(), Ca::new());
        let mut setup = Setup::new(USER, PASSWORD);
        setup.tls = Some(proxy_ca.issue(&[PROXY]).into());
        setup.kerberos = Some((realm.clone(), service.to_owned()));
        Self {
            squid: RealProxy::squid(&setup).await.unwrap(),
            http: Origin::builder().host("origin.test").start().await,
            https: Origin::https(&origin_ca, &["origin.test"], &["http/1.1"]).await,
            proxy_ca,
            origin_ca,
        }
    }

    fn url(&self) -> String {
        format!("http://{PROXY}:{}", self.squid.addr().port())
    }

    fn tls_url(&self) -> String {
        format!("https://{PROXY}:{}", self.squid.tls_addr().unwrap().port())
    }

    fn client<S>(&self, proxy: &str, provider: S) -> TestClient
    where
        S: Service<CredentialsRequest, Response = Authorization, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let proxy_tls = trust(self.proxy_ca.pem());
        client(proxy, proxy_tls, trust(self.origin_ca.pem()), provider)
    }

    /// Waits until Squid has logged so many requests. It logs a tunnel when it ends.
    async fn logged(&self, count: usize) -> Vec<String> {
        within(async {
            while self.squid.requests().len() < count {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
        self.squid.requests()
    }
}

type TestClient = Client<Full<Bytes>>;

fn client<S>(proxy: &str, proxy_tls: TlsConfig, target_tls: TlsConfig, provider: S) -> TestClient
where
    S: Service<CredentialsRequest, Response = Authorization, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let config = ProxyConfig::builder()
        .all(proxy)
        .loopback_direct(false)
        .proxy_tls(proxy_tls)
        .build()
        .unwrap();
    let layer = ProxyLayer::new(config).with_credentials(provider);
    let builder = Client::builder().layer(layer).connector(connector());
    builder.target_tls(target_tls).build().unwrap()
}

async fn send(client: &TestClient, url: &str) -> Result<Response<Bytes>, ClientError> {
    within(async {
        let request = Request::get(url).body(Full::default()).unwrap();
        let (head, body) = client.clone().oneshot(request).await?.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Ok(Response::from_parts(head, body))
    })
    .await
}

async fn get(client: &TestClient, url: &str) -> Response<Bytes> {
    let response = send(client, url).await;
    response.unwrap_or_else(|error| panic!("{url}: {}", chain(&error)))
}

/// Returns the provider's error, which every request gets.
async fn provider_error(client: &TestClient, lab: &Lab) -> (String, bool) {
    let mut seen = None;
    for url in [lab.https.url("/"), lab.http.url("/")] {
        let error = send(client, &url).await.unwrap_err();
        let connect = ConnectError::find(&error).unwrap();
        assert_eq!(
            (connect.stage(), connect.kind()),
            (Stage::Credentials, ConnectErrorKind::Provider)
        );
        let negotiate = std::error::Error::source(connect).unwrap();
        let negotiate = negotiate.downcast_ref::<NegotiateError>().unwrap();
        seen = Some((chain(&error), negotiate.is_not_logged_in()));
    }
    assert_eq!((lab.http.connections_opened(), lab.https.connections_opened()), (0, 0));
    seen.unwrap()
}

#[test]
#[ignore = "needs krb5kdc, kadmin.local, kinit (Debian packages krb5-kdc, krb5-admin-server, krb5-user) and squid"]
fn whoever_is_logged_in_is_known_to_the_proxy() {
    in_realm(
        "whoever_is_logged_in_is_known_to_the_proxy",
        &["bob", "alice"],
        async |realm| {
            let lab = Lab::start(&realm).await;
            for url in [lab.url(), lab.tls_url()] {
                let client = lab.client(&url, Negotiate::new());
                for origin in [&lab.https, &lab.http] {
                    // A second request needs a token of its own, or uses the tunnel again.
                    for _ in 0..2 {
                        let response = get(&client, &origin.url("/")).await;
                        assert_eq!(response.status(), StatusCode::OK);
                    }
                }
            }
            let (https, http) = (lab.https.authority(), lab.http.url("/"));
            let requests = lab.logged(6).await;
            let tunnel = format!("CONNECT {https} HTTP/1.1 200 alice@LAB.TEST ");
            let forwarded = format!("GET {http} HTTP/1.1 200 alice@LAB.TEST ");
            let count = |start: &str| requests.iter().filter(|line| line.starts_with(start)).count();
            assert_eq!((count(&tunnel), count(&forwarded)), (2, 4), "{requests:#?}");
            for origin in [&lab.https, &lab.http] {
                assert!(
                    origin
                        .requests()
                        .iter()
                        .all(|one| one.header("proxy-authorization").is_none())
                );
            }
        },
    );
}

#[test]
#[ignore = "needs krb5kdc, kadmin.local, kinit (Debian packages krb5-kdc, krb5-admin-server, krb5-user) and squid"]
fn a_principal_is_chosen_among_those_logged_in() {
    in_realm(
        "a_principal_is_chosen_among_those_logged_in",
        &["alice", "bob"],
        async |realm| {
            let lab = Lab::start(&realm).await;
            let client = lab.client(&lab.url(), Negotiate::new().principal("alice@LAB.TEST"));
            get(&client, &lab.http.url("/")).await;
            assert!(
                lab.logged(1).await[0].contains(" 200 alice@LAB.TEST "),
                "{:?}",
                lab.logged(1).await
            );
        },
    );
}

#[test]
#[ignore = "needs krb5kdc, kadmin.local, kinit (Debian packages krb5-kdc, krb5-admin-server, krb5-user) and squid"]
fn without_a_ticket_the_error_says_how_to_get_one() {
    in_realm("without_a_ticket_the_error_says_how_to_get_one", &[], async |realm| {
        let lab = Lab::start(&realm).await;
        let client = lab.client(&lab.url(), Negotiate::new());
        let (text, is_not_logged_in) = provider_error(&client, &lab).await;
        assert!(is_not_logged_in);
        for expected in ["HTTP/proxy.test", "run `kinit`", "No Kerberos credentials available"] {
            assert!(text.contains(expected), "no {expected} in: {text}");
        }
        let client = lab.client(&lab.url(), Negotiate::new().principal("carol@LAB.TEST"));
        let (text, is_not_logged_in) = provider_error(&client, &lab).await;
        assert!(is_not_logged_in);
        for expected in ["HTTP/proxy.test", "carol@LAB.TEST", "run `kinit`"] {
            assert!(text.contains(expected), "no {expected} in: {text}");
        }
        assert!(lab.squid.requests().is_empty());
    });
}

#[test]
#[ignore = "needs krb5kdc, kadmin.local, kinit (Debian packages krb5-kdc, krb5-admin-server, krb5-user) and squid"]
fn a_proxy_that_the_kdc_does_not_know_is_named() {
    in_realm(
        "a_proxy_that_the_kdc_does_not_know_is_named",
        &["alice"],
        async |realm| {
            let lab = Lab::start(&realm).await;
            for (host, advice) in [("unknown.test", "the KDC has to know"), ("127.0.0.1", "needs a name")] {
                let url = format!("http://{host}:{}", lab.squid.addr().port());
                let (text, is_not_logged_in) = provider_error(&lab.client(&url, Negotiate::new()), &lab).await;
                assert!(!is_not_logged_in);
                for expected in [&format!("HTTP/{host}"), advice, "not found in Kerberos database"] {
                    assert!(text.contains(expected), "no {expected} in: {text}");
                }
            }
            assert!(lab.squid.requests().is_empty());
        },
    );
}

#[test]
#[ignore = "needs krb5kdc, kadmin.local, kinit (Debian packages krb5-kdc, krb5-admin-server, krb5-user) and squid"]
fn a_token_that_the_proxy_refuses_is_sent_once() {
    in_realm(
        "a_token_that_the_proxy_refuses_is_sent_once",
        &["alice"],
        async |realm| {
            // It cannot read tickets for `HTTP/proxy.test`.
            let lab = Lab::with_service(&realm, OTHER_SERVICE).await;
            let client = lab.client(&lab.url(), Negotiate::new());
            for (count, url) in [(1, lab.https.url("/")), (2, lab.http.url("/"))] {
                let error = send(&client, &url).await.unwrap_err();
                let connect = ConnectError::find(&error).unwrap();
                assert_eq!(connect.kind(), ConnectErrorKind::AuthenticationRequired);
                let offered: Vec<_> = connect.challenges().iter().map(|one| one.scheme()).collect();
                assert_eq!(offered, ["Negotiate", "Basic"]);
                assert!(
                    connect.to_string().contains("rejected the configured credentials"),
                    "{connect}"
                );
                assert_eq!(lab.logged(count).await.len(), count, "{:#?}", lab.squid.requests());
            }
        },
    );
}

#[test]
#[ignore = "needs krb5kdc, kadmin.local, kinit (Debian packages krb5-kdc, krb5-admin-server, krb5-user) and squid"]
fn two_identities_share_no_connection() {
    in_realm("two_identities_share_no_connection", &["alice", "bob"], async |realm| {
        let lab = Lab::start(&realm).await;
        // Each question is another user's, whatever the requests are.
        let asked = Arc::new(AtomicUsize::new(0));
        let provider = service_fn({
            let asked = asked.clone();
            move |request: CredentialsRequest| {
                let user = ["alice@LAB.TEST", "bob@LAB.TEST"][asked.fetch_add(1, Relaxed) % 2];
                Negotiate::new().principal(user).oneshot(request)
            }
        });
        let client = lab.client(&lab.url(), provider);
        for _ in 0..4 {
            let mut at_once = tokio::task::JoinSet::new();
            for url in [lab.http.url("/"), lab.https.url("/"), lab.http.url("/")] {
                let client = client.clone();
                at_once.spawn(async move { get(&client, &url).await.status() });
            }
            within(at_once.join_all()).await;
        }
        drop(client);
        assert!(asked.load(Relaxed) >= 9);
        let requests = lab.logged(asked.load(Relaxed)).await;
        let mut users = std::collections::BTreeMap::new();
        for line in &requests {
            let words: Vec<_> = line.split(' ').collect();
            let [.., user, port] = words[..] else { panic!("{line}") };
            assert!(user.ends_with("@LAB.TEST"), "{line}");
            assert_eq!(*users.entry(port).or_insert(user), user, "{requests:#?}");
        }
    });
}

#[test]
#[ignore = "needs krb5kdc, kadmin.local and kinit (Debian packages krb5-kdc, krb5-admin-server, krb5-user)"]
fn each_token_serves_once_and_for_one_proxy() {
    in_realm("each_token_serves_once_and_for_one_proxy", &["alice"], async |_| {
        let (origin_ca, http) = (Ca::new(), Origin::builder().host("origin.test").start().await);
        let https = Origin::https(&origin_ca, &["origin.test"], &["http/1.1"]).await;
        let start = || async {
            let proxy = ForwardProxy::builder().map(&https.authority(), https.addr());
            proxy.map(&http.authority(), http.addr()).start().await
        };
        let (proxy, other) = (start().await, start().await);
        for (proxy, name) in [(&proxy, PROXY), (&other, "other.test")] {
            let url = format!("http://{name}:{}", proxy.port());
            let tls = || trust(origin_ca.pem());
            let client = client(&url, tls(), tls(), Negotiate::new());
            for origin in [&http, &http, &https] {
                get(&client, &origin.url("/")).await;
            }
        }
        let (one, two) = (proxy.requests(), other.requests());
        let tokens: Vec<_> = one
            .iter()
            .chain(&two)
            .map(|one| one.header("proxy-authorization").unwrap())
            .collect();
        assert_eq!(one.iter().filter(|request| request.kind() == Kind::Connect).count(), 1);
        assert_eq!(tokens.len(), 6);
        for (at, token) in tokens.iter().enumerate() {
            // SPNEGO, not Kerberos alone (RFC 4559 4.1): an application tag with SPNEGO's object identifier.
            assert!(token.starts_with("Negotiate YII"), "{token}");
            assert!(!tokens[..at].contains(token), "sent twice: {token}");
        }
    });
}
