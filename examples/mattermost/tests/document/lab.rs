//! The servers of these tests, and the application in front of them.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tower_outbound_proxy::TlsConfig;
use tower_outbound_proxy_lab::{ForwardProxy, within};

use crate::{
    app::{Settings, outbound, router, trust},
    site::Site,
};

pub struct Lab {
    pub site: Site,
    /// Requires no credentials.
    pub http_proxy: ForwardProxy,
}

impl Lab {
    pub async fn start() -> Self {
        Self::of(Site::start().await).await
    }

    pub async fn of(site: Site) -> Self {
        let http_proxy = site.proxy().start().await;
        Self { site, http_proxy }
    }

    /// Starts the application in this lab's network, with trust in its origins.
    pub async fn app(&self, settings: Settings) -> App {
        let target_tls = trusting(self.site.public.pem());
        self.app_with(Settings { target_tls, ..settings }).await
    }

    /// Starts the application with the trust in its settings.
    pub async fn app_with(&self, settings: Settings) -> App {
        let network = self.site.network.clone();
        let previews = outbound::over(&settings, network.clone(), network).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        App {
            addr: listener.local_addr().unwrap(),
            serving: tokio::spawn(async move { axum::serve(listener, router(previews)).await.unwrap() }),
        }
    }

    #[track_caller]
    pub fn assert_origins_know_no_password(&self) {
        let received = self.site.received();
        assert!(received.contains("GET / HTTP/1.1"), "{received}");
        assert_no_password(&received);
        assert!(!received.to_lowercase().contains("proxy-authorization"), "{received}");
    }
}

/// The running application.
pub struct App {
    pub addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl App {
    /// Returns the preview of a URL. Fails the test if there is none.
    pub async fn preview(&self, url: &str) -> Value {
        let (status, answer) = post(self.addr, json!({ "url": url }).to_string()).await;
        assert_eq!(status, 200, "{url}: {answer}");
        answer
    }

    /// Returns the error of a failed preview, with this status.
    pub async fn failure(&self, url: &str, expected: u16) -> String {
        let (status, answer) = post(self.addr, json!({ "url": url }).to_string()).await;
        assert_eq!(status, expected, "{url}: {answer}");
        answer["error"].as_str().unwrap().to_owned()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Posts this body. The answer is always JSON.
pub async fn post(server: SocketAddr, body: impl Into<Bytes>) -> (u16, Value) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("http://{server}/api/v4/opengraph"))
        .body(Full::new(body.into()))
        .unwrap();
    let (head, body) = within(client.request(request)).await.unwrap().into_parts();
    let body = within(body.collect()).await.unwrap().to_bytes();
    assert_eq!(head.headers[header::CONTENT_TYPE], "application/json", "{body:?}");
    assert_no_password(&String::from_utf8_lossy(&body));
    (head.status.as_u16(), serde_json::from_slice(&body).unwrap())
}

/// Asserts that neither form of the password is in the text.
#[track_caller]
pub fn assert_no_password(text: &str) {
    for secret in ["password", "bWF0dGVybW9zdDpwYXNzd29yZA"] {
        assert!(!text.contains(secret), "{text}");
    }
}

/// Returns settings from these variables.
pub fn environment(variables: &[(&str, &str)]) -> Settings {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    Settings {
        environment: Some(variables.iter().map(owned).collect()),
        ..Settings::default()
    }
}

pub fn trusting(roots: &str) -> Option<TlsConfig> {
    Some(trust(roots.as_bytes()).unwrap())
}
