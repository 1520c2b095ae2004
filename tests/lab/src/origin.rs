//! An origin server.
//!
//! A hyper server that speaks HTTP/1 and HTTP/2, in clear text (with prior knowledge) and behind TLS. Its answers
//! describe the request:
//!
//! | path | answer |
//! |---|---|
//! | `/` | `hello from origin, asked for HOST` |
//! | `/echo` | the body of the request |
//! | `/bytes/N` | the first N bytes of [`pattern`], streamed |
//! | `/status/NNN` | that status |
//! | `/headers` | the header lines of the request |
//! | `/slow/MS` | `slow`, after that many milliseconds |
//! | `/redirect?URL` | 302 to that URL |
//! | `/upgrade` | 101 to a protocol named `echo`, which echoes |
//!
//! Any other path is 404. Configured pages and redirects ([`OriginBuilder::page`], [`OriginBuilder::redirect`]) come
//! first.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, LOCATION, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncWriteExt, copy, split};

use crate::ca::Ca;
use crate::listen::{Answer, Bind, Ledger, Listening, bind_setters};
use crate::lock;
use crate::record::Connection;
use crate::request::Request;
use crate::tee::Recorded;

type Reply = Response<BoxBody<Bytes, Infallible>>;
/// The upgrade that the connection's task serves once hyper has released the socket.
type Pending = Arc<Mutex<Option<OnUpgrade>>>;

/// An origin server on loopback. [`Listening`] has its record.
#[derive(Debug)]
pub struct Origin(Listening);

impl Deref for Origin {
    type Target = Listening;

    fn deref(&self) -> &Listening {
        &self.0
    }
}

impl Origin {
    /// Starts an origin without TLS on `127.0.0.1`.
    pub async fn http() -> Self {
        Self::builder().start().await
    }

    /// Starts an origin behind TLS on `127.0.0.1`, with a certificate for these names. URLs name the first.
    pub async fn https(ca: &Ca, names: &[&str], alpn: &[&str]) -> Self {
        let builder = Self::builder().tls(ca.issue(names).server_config(alpn));
        match names.first() {
            Some(name) => builder.host(name).start().await,
            None => builder.start().await,
        }
    }

    /// Creates a builder for other kinds of origins.
    pub fn builder() -> OriginBuilder {
        OriginBuilder::default()
    }

    /// Returns the URL of a path, which starts with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme(), self.authority())
    }
}

/// Makes an [`Origin`].
#[derive(Default)]
#[must_use]
pub struct OriginBuilder {
    bind: Bind,
    pages: Pages,
}

/// The answers for paths.
type Pages = HashMap<String, Page>;

#[derive(Clone)]
enum Page {
    Html(Bytes),
    Redirect(HeaderValue),
}

bind_setters!(OriginBuilder);

impl OriginBuilder {
    /// Answers this path with these bytes, as `text/html`.
    pub fn page(mut self, path: &str, html: impl Into<Bytes>) -> Self {
        self.pages.insert(path.to_owned(), Page::Html(html.into()));
        self
    }

    /// Answers this path with 302 and this `Location`.
    ///
    /// # Panics
    ///
    /// If it cannot be a header field.
    pub fn redirect(mut self, path: &str, location: &str) -> Self {
        let location = HeaderValue::from_str(location).expect("a location is a header field");
        self.pages.insert(path.to_owned(), Page::Redirect(location));
        self
    }

    /// Starts the origin.
    ///
    /// # Panics
    ///
    /// If loopback cannot be listened on.
    pub async fn start(self) -> Origin {
        let ledger = Ledger::new();
        let (heard, pages) = (Arc::clone(&ledger), Arc::new(self.pages));
        let serve = Arc::new(move |io| Box::pin(serve(io, Arc::clone(&heard), Arc::clone(&pages))) as Answer);
        Origin(Listening::start(self.bind, ledger, serve).await)
    }
}

impl std::fmt::Debug for OriginBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OriginBuilder").finish_non_exhaustive()
    }
}

async fn serve(io: Recorded, ledger: Arc<Ledger>, pages: Arc<Pages>) {
    let pending = Pending::default();
    let record = io.record().clone();
    let service = {
        let pending = Arc::clone(&pending);
        service_fn(move |request| {
            let (ledger, pages, pending) = (Arc::clone(&ledger), Arc::clone(&pages), Arc::clone(&pending));
            reply(request, record.clone(), ledger, pages, pending)
        })
    };
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    let _ = server.serve_connection_with_upgrades(TokioIo::new(io), service).await;
    let upgrade = lock(&pending).take();
    if let Some(upgrade) = upgrade {
        if let Ok(io) = upgrade.await {
            let (mut read, mut write) = split(TokioIo::new(io));
            let _ = copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        }
    }
}

async fn reply(
    request: http::Request<Incoming>,
    record: Connection,
    ledger: Arc<Ledger>,
    pages: Arc<Pages>,
    pending: Pending,
) -> hyper::Result<Reply> {
    let mut request = request;
    let mut heard = Request::from_hyper(&record, &request);
    let upgrade = hyper::upgrade::on(&mut request);
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
    heard.body = request.into_body().collect().await?.to_bytes();
    ledger.request(heard.clone());

    if let Some(page) = pages.get(&path) {
        return Ok(page.reply());
    }
    let (_, route) = path.split_once('/').unwrap_or_default();
    let (route, argument) = route.split_once('/').unwrap_or((route, ""));
    Ok(match route {
        "" => {
            let host = host.as_deref().or(heard.header(HOST.as_str()));
            text(format!("hello from origin, asked for {}\n", host.unwrap_or("nobody")))
        }
        "echo" => Response::new(whole(heard.body)),
        "bytes" => match argument.parse() {
            Ok(left) => Response::new(Pattern { at: 0, left }.boxed()),
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        "status" => match argument.parse() {
            Ok(code) if !StatusCode::is_informational(&code) => status(code),
            _ => status(StatusCode::BAD_REQUEST),
        },
        "headers" => text(
            heard
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {}\n", value.as_bytes().escape_ascii()))
                .collect(),
        ),
        "slow" => match argument.parse() {
            Ok(millis) => {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                text("slow\n".to_owned())
            }
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        "redirect" => match HeaderValue::try_from(query) {
            Ok(location) => Page::Redirect(location).reply(),
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        "upgrade" if heard.header(UPGRADE.as_str()) == Some("echo") => {
            *lock(&pending) = Some(upgrade);
            let mut reply = status(StatusCode::SWITCHING_PROTOCOLS);
            let headers = reply.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("echo"));
            reply
        }
        "upgrade" => status(StatusCode::UPGRADE_REQUIRED),
        _ => status(StatusCode::NOT_FOUND),
    })
}

impl Page {
    fn reply(&self) -> Reply {
        match self {
            Self::Html(html) => {
                let mut reply = Response::new(whole(html.clone()));
                let html = HeaderValue::from_static("text/html; charset=utf-8");
                reply.headers_mut().insert(CONTENT_TYPE, html);
                reply
            }
            Self::Redirect(location) => {
                let mut reply = status(StatusCode::FOUND);
                reply.headers_mut().insert(LOCATION, location.clone());
                reply
            }
        }
    }
}

fn whole(body: impl Into<Bytes>) -> BoxBody<Bytes, Infallible> {
    Full::new(body.into()).boxed()
}

fn text(body: String) -> Reply {
    let mut reply = Response::new(whole(body));
    let plain = HeaderValue::from_static("text/plain");
    reply.headers_mut().insert(CONTENT_TYPE, plain);
    reply
}

fn status(code: StatusCode) -> Reply {
    let mut reply = Response::new(whole(""));
    *reply.status_mut() = code;
    reply
}

/// Returns the first `count` bytes of the answers to `/bytes/N`, for every N. Each run of 251 bytes counts up from 0,
/// so that lost, repeated or moved bytes show.
#[must_use]
pub fn pattern(count: usize) -> Bytes {
    piece(0, count)
}

fn piece(at: usize, count: usize) -> Bytes {
    (at..at + count).map(|index| (index % 251) as u8).collect()
}

/// [`pattern`] as a body of many frames.
struct Pattern {
    at: usize,
    left: usize,
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let count = self.left.min(16 * 1024);
        if count == 0 {
            return Poll::Ready(None);
        }
        let data = piece(self.at, count);
        self.at += count;
        self.left -= count;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}
