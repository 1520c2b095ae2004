//! The application: its settings, and the server that answers with previews.

#[path = "../../../shared/causes.rs"]
pub mod causes;
pub mod outbound;
pub mod preview;
pub mod title;
pub mod unit;

use std::time::Duration;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{StatusCode, Uri, header};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_outbound_proxy::{ConfigError, NoProxy, ProxyConfig, Target, TlsConfig, error::BoxError};

use self::preview::Previews;

/// The operator's settings.
#[derive(Default)]
pub struct Settings {
    /// The environment that names the proxies, from a unit file; `None` for the process's own.
    pub environment: Option<Vec<(String, String)>>,
    /// The trust for targets, including an intercepting proxy's roots; the operating system's unless set.
    pub target_tls: Option<TlsConfig>,
    /// The trust for a proxy that is reached over TLS.
    pub proxy_tls: Option<TlsConfig>,
    /// Hosts, addresses and networks, written like `NO_PROXY`, that may be fetched even if the guard denies their
    /// addresses. (Mattermost calls them "allowed untrusted internal connections".)
    pub allow_internal: Option<NoProxy>,
    /// The time-out of a whole preview, including redirects and body; 10 seconds unless set.
    pub timeout: Option<Duration>,
}

impl Settings {
    /// Returns the proxy settings.
    ///
    /// # Errors
    ///
    /// A variable that cannot be used.
    pub fn config(&self) -> Result<ProxyConfig, ConfigError> {
        let builder = match &self.environment {
            Some(variables) => ProxyConfig::builder().vars(variables.iter().map(|(name, value)| (name, value))),
            None => ProxyConfig::builder().env(),
        };
        match &self.proxy_tls {
            Some(tls) => builder.proxy_tls(tls.clone()).build(),
            None => builder.build(),
        }
    }
}

/// Returns the operating system's trust with these roots added.
pub fn trust(roots: &[u8]) -> Result<TlsConfig, ConfigError> {
    TlsConfig::builder().add_root_pem(roots).build()
}

/// The server: `POST /api/v4/opengraph`.
pub fn router(previews: Previews) -> Router {
    Router::new()
        .route("/api/v4/opengraph", post(opengraph))
        .layer(DefaultBodyLimit::max(8 << 10))
        .with_state(previews)
}

async fn opengraph(State(previews): State<Previews>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return answer(rejection.status(), &json!({ "error": rejection.body_text() })),
    };
    let (uri, asked_for) = match url(&body).and_then(|text| read(&text)) {
        Ok(read) => read,
        // The URL is not repeated: it may contain a password.
        Err(reason) => return answer(StatusCode::BAD_REQUEST, &json!({ "error": reason })),
    };
    match previews.oneshot(uri).await {
        Ok(preview) => {
            tracing::info!("{asked_for}: 200");
            let (url, route) = (preview.url.to_string(), preview.route_name());
            answer(
                StatusCode::OK,
                &json!({ "url": url, "title": preview.title, "route": route }),
            )
        }
        Err(error) => failure(&asked_for, &error),
    }
}

/// Logs the details for an operator, and answers with the part that a stranger may know.
fn failure(asked_for: &str, error: &BoxError) -> Response {
    let status = preview::status(error.as_ref());
    let mut text = causes::text(error.as_ref());
    if let Some(advice) = preview::advice(error.as_ref()) {
        text = format!("{text} ({advice})");
    }
    tracing::warn!("{asked_for}: {}: {text}", status.as_u16());
    let told = preview::told(error.as_ref());
    answer(status, &json!({ "url": asked_for, "error": told }))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        format!("{body}\n"),
    )
        .into_response()
}

/// Returns the URL in a request's body: `{"url": URL}`, or the URL alone.
fn url(body: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8")?.trim();
    if !text.starts_with('{') {
        return Ok(text.to_owned());
    }
    let body: Value = serde_json::from_str(text).map_err(|error| format!("the body is not JSON: {error}"))?;
    match body.get("url").and_then(Value::as_str) {
        Some(url) => Ok(url.trim().to_owned()),
        None => Err("the body has no `url`".to_owned()),
    }
}

/// Returns a URL, and its target as a text that can be logged.
fn read(url: &str) -> Result<(Uri, String), String> {
    let target: Target<'_> = url.parse().map_err(|error| format!("not a URL to preview: {error}"))?;
    // Tries the URL as written, and then its ASCII form: people write names and paths in their own script.
    let uri: Uri = match url.parse() {
        Ok(uri) => uri,
        Err(_) => in_ascii(url, &target)
            .parse()
            .map_err(|error| format!("not a URL to preview: {error}"))?,
    };
    match preview::is_fetchable(&uri) {
        true => Ok((uri, target.to_string())),
        false => Err("not a URL to preview: it is not `http` or `https`, or has a user name in it".to_owned()),
    }
}

fn in_ascii(url: &str, target: &Target<'_>) -> String {
    let host = url.find("://").map_or(0, |at| at + 3);
    let path = url[host..].find(['/', '?', '#']).map_or("", |at| &url[host + at..]);
    let path: String = path
        .bytes()
        .map(|byte| match byte.is_ascii() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect();
    format!("{target}{path}")
}
