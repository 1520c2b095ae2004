//! A realm, a Squid that knows its users, and clients in front of it.

use std::{
    env,
    process::{Command, Output},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;
use tower_outbound_proxy::{Client, ClientError, ProxyConfig, ProxyLayer, TlsConfig, auth::CredentialsProvider};
use tower_outbound_proxy_lab::{
    Ca, Origin, connector,
    servers::{Http2, Kdc, RealProxy, Realm, Setup},
    within,
};

use crate::real_proxies::lab::{PASSWORD, PROXY, USER, chain, trust};

/// The service of [`PROXY`].
pub const SERVICE: &str = "HTTP/proxy.test";
/// A service that is not the proxy's.
pub const OTHER_SERVICE: &str = "HTTP/other.test";
/// The variable with the folder of the realm.
const REALM: &str = "LAB_REALM";

/// Runs a test in a process for which Kerberos has a realm, where these users are logged in. The last one is the
/// default user.
///
/// Kerberos takes its settings from the process's environment. So the test starts a KDC, and runs itself again in a
/// process whose environment leads there.
pub fn in_realm(test: &str, users: &[&str], body: impl AsyncFnOnce(Realm)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(realm) = env::var_os(REALM) {
        runtime.block_on(body(Realm::at(realm)));
        // A call to GSSAPI may still wait for a KDC.
        return runtime.shutdown_background();
    }
    let kdc = runtime.block_on(Kdc::start(&[SERVICE, OTHER_SERVICE, "alice", "bob", "carol"]));
    let kdc = kdc.unwrap();
    let realm = kdc.realm();
    users.iter().for_each(|user| realm.log_in(user).unwrap());
    let (_, test) = test.split_once("::").unwrap();
    let Output { status, stdout, stderr } = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(REALM, realm.path())
        .env("KRB5_CONFIG", realm.config())
        .env("KRB5CCNAME", realm.collection())
        // It may have a `.k5identity`.
        .env("HOME", realm.path())
        .env_remove("KRB5_CLIENT_KTNAME")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let passed = status.success() && stdout.contains("test result: ok. 1 passed");
    assert!(passed, "{status}\n{stdout}\n{stderr}");
}

/// A Squid that knows the users of a realm, and what stands behind it.
pub struct Lab {
    pub squid: RealProxy,
    pub proxy_ca: Ca,
    pub origin_ca: Ca,
    pub http: Origin,
    pub https: Origin,
}

impl Lab {
    pub async fn start(realm: &Realm) -> Self {
        Self::with_service(realm, SERVICE).await
    }

    /// Starts Squid with the key of this service.
    pub async fn with_service(realm: &Realm, service: &str) -> Self {
        let (proxy_ca, origin_ca) = (Ca::new(), Ca::new());
        let setup = Self::setup(realm, service, &proxy_ca);
        Self::behind(RealProxy::squid(&setup).await.unwrap(), proxy_ca, origin_ca).await
    }

    /// Starts nghttpx, which speaks HTTP/2, in front of it.
    pub async fn with_http2(realm: &Realm) -> Self {
        let (proxy_ca, origin_ca) = (Ca::new(), Ca::new());
        let mut setup = Self::setup(realm, SERVICE, &proxy_ca);
        setup.http2 = Http2::On;
        Self::behind(RealProxy::nghttpx(&setup).await.unwrap(), proxy_ca, origin_ca).await
    }

    fn setup(realm: &Realm, service: &str, proxy_ca: &Ca) -> Setup {
        let mut setup = Setup::new(USER, PASSWORD);
        setup.tls = Some(proxy_ca.issue(&[PROXY]).into());
        setup.kerberos = Some((realm.clone(), service.to_owned()));
        setup
    }

    async fn behind(squid: RealProxy, proxy_ca: Ca, origin_ca: Ca) -> Self {
        Self {
            squid,
            http: Origin::builder().host("origin.test").start().await,
            https: Origin::https(&origin_ca, &["origin.test"], &["http/1.1"]).await,
            proxy_ca,
            origin_ca,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{PROXY}:{}", self.squid.addr().port())
    }

    pub fn tls_url(&self) -> String {
        format!("https://{PROXY}:{}", self.squid.tls_addr().unwrap().port())
    }

    pub fn client(&self, proxy: &str, provider: impl CredentialsProvider) -> TestClient {
        let proxy_tls = trust(self.proxy_ca.pem());
        client(proxy, proxy_tls, trust(self.origin_ca.pem()), provider)
    }

    /// Returns the number of requests to Squid.
    pub fn asked(&self) -> usize {
        self.squid.requests().len()
    }

    /// Waits until Squid has logged so many requests. It logs a tunnel when it ends.
    pub async fn logged(&self, count: usize) -> Vec<String> {
        within(async {
            while self.squid.requests().len() < count {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
        self.squid.requests()
    }
}

pub type TestClient = Client<Full<Bytes>>;

pub fn client(
    proxy: &str,
    proxy_tls: TlsConfig,
    target_tls: TlsConfig,
    provider: impl CredentialsProvider,
) -> TestClient {
    let layer = layer(proxy, proxy_tls).with_credentials(provider);
    client_of(layer, target_tls)
}

/// Returns a layer with this proxy for every target, including those on this machine.
pub fn layer(proxy: &str, proxy_tls: TlsConfig) -> ProxyLayer {
    let config = ProxyConfig::builder().all(proxy).loopback_direct(false);
    ProxyLayer::new(config.proxy_tls(proxy_tls).build().unwrap())
}

pub fn client_of(layer: ProxyLayer, target_tls: TlsConfig) -> TestClient {
    let builder = Client::builder().layer(layer).connector(connector());
    builder.target_tls(target_tls).build().unwrap()
}

pub async fn send(client: &TestClient, url: &str) -> Result<Response<Bytes>, ClientError> {
    let request = Request::get(url).body(Full::default()).unwrap();
    within(async {
        let (head, body) = client.clone().oneshot(request).await?.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Ok(Response::from_parts(head, body))
    })
    .await
}

/// Gets a page. It has to be there.
pub async fn get(client: &TestClient, url: &str) -> Response<Bytes> {
    let response = send(client, url).await;
    let response = response.unwrap_or_else(|error| panic!("{url}: {}", chain(&error)));
    assert_eq!(response.status(), StatusCode::OK, "{url}");
    response
}
