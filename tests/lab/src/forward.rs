//! The forward proxy's handling of a connection.
//!
//! It does little, but as real proxies do it. hyper is on both sides. Requests in absolute-form are passed on in
//! origin-form without their hop-by-hop fields (RFC 9110, section 7.6.1), and CONNECT is answered with a tunnel
//! (section 9.3.6). A refusal has a status, a body with the reason, and `X-Lab-Error` to tell the reasons apart.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::auth::{Auth, END_OF_PAGE, Refused};
use crate::intercept::Interception;
use crate::listen::Ledger;
use crate::lock;
use crate::request::{Kind, Request};
use crate::script::{Script, put_back, read_head};
use crate::target::{Targets, host};
use crate::tee::Recorded;

type Reply = Response<BoxBody<Bytes, hyper::Error>>;
/// The tunnel that the connection's task serves once hyper has released the socket.
type Pending = Arc<Mutex<Option<Tunnel>>>;

struct Tunnel {
    near: OnUpgrade,
    far: TcpStream,
    /// In lower case, an IPv6 address without its brackets.
    host: String,
}

/// The policy of a proxy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) auth: Option<Auth>,
    /// Hosts in lower case, IPv6 addresses without brackets.
    pub(crate) denied: Vec<String>,
    pub(crate) targets: Targets,
    pub(crate) on_connect: Option<Script>,
    pub(crate) intercept: Option<Interception>,
}

pub(crate) struct Proxy {
    pub(crate) rules: Rules,
    pub(crate) ledger: Arc<Ledger>,
}

impl Proxy {
    pub(crate) async fn serve(self: Arc<Self>, mut io: Recorded) {
        if let Some(script) = &self.rules.on_connect {
            let Ok(Some(head)) = read_head(&mut io).await else {
                return;
            };
            if head.starts_with(b"CONNECT ") {
                let _ = script.play(io, head, &self.rules.targets, &self.ledger).await;
                return;
            }
            put_back(&mut io, &head);
        }
        let record = io.record().clone();
        let (pending, end) = (Pending::default(), Arc::new(Notify::new()));
        let service = {
            let (proxy, pending, record) = (Arc::clone(&self), Arc::clone(&pending), record.clone());
            let end = Arc::clone(&end);
            service_fn(move |request| {
                let heard = Request::from_hyper(&record, &request);
                proxy.ledger.request(heard.clone());
                let (proxy, pending, end) = (Arc::clone(&proxy), Arc::clone(&pending), Arc::clone(&end));
                async move {
                    let answer = proxy.answer(&heard, request, &pending, &end).await;
                    hyper::Result::Ok(answer.unwrap_or_else(Refusal::into_reply))
                }
            })
        };
        let serving = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        let refused = async {
            end.notified().await;
            record.until(|record| record.sent_ends_with(END_OF_PAGE)).await;
        };
        tokio::select! {
            _ = serving => {}
            () = refused => return,
        }
        let tunnel = lock(&pending).take();
        if let Some(Tunnel { near, mut far, host }) = tunnel {
            if let Ok(near) = near.await {
                let mut near = TokioIo::new(near);
                match &self.rules.intercept {
                    Some(interception) => interception.serve(near, far, &host, (&self.ledger, &record)).await,
                    None => drop(copy_bidirectional(&mut near, &mut far).await),
                }
            }
        }
    }

    async fn answer(
        &self,
        heard: &Request,
        mut request: http::Request<Incoming>,
        pending: &Pending,
        end: &Notify,
    ) -> Result<Reply, Refusal> {
        let kind = heard.kind();
        if kind == Kind::Origin {
            return Err(Refusal::bad_request("the target is not a whole URI"));
        }
        if let Some(refused) = self.rules.auth.as_ref().and_then(|auth| auth.check(heard).err()) {
            if refused.is_silent() {
                end.notify_one();
            }
            // A connection that stays open has to be read.
            if refused.is_open() {
                let mut body = request.into_body();
                while body.frame().await.is_some_and(|frame| frame.is_ok()) {}
            }
            return Err(refused.into());
        }
        let Some(authority) = request.uri().authority().cloned() else {
            return Err(Refusal::bad_request("the target has no authority"));
        };
        if self.rules.denied.contains(&host(&authority)) {
            return Err(Refusal::denied());
        }
        if kind == Kind::Connect {
            let far = self.rules.targets.dial(&authority, None).await?;
            *lock(pending) = Some(Tunnel {
                near: hyper::upgrade::on(&mut request),
                far,
                host: host(&authority),
            });
            return Ok(Response::new(body("")));
        }
        if request.uri().scheme() != Some(&Scheme::HTTP) {
            return Err(Refusal::bad_request("only http is forwarded"));
        }
        let far = self.rules.targets.dial(&authority, Some(80)).await?;
        forward(far, &authority, request).await
    }
}

/// Passes one request on, over its own connection.
async fn forward(
    far: TcpStream,
    authority: &Authority,
    mut request: http::Request<Incoming>,
) -> Result<Reply, Refusal> {
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
    let headers = request.headers_mut();
    end_to_end(headers);
    // The target decides, whatever the client said (RFC 9112, section 3.2.2).
    let named = authority.as_str().rsplit('@').next().unwrap_or_default();
    let host = HeaderValue::from_str(named).map_err(|_| Refusal::bad_request("a strange host"))?;
    headers.insert(HOST, host);
    headers.append(VIA, HeaderValue::from_static("1.1 lab"));

    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(far)).await?;
    // Ends with the response, or with whoever was to get it.
    tokio::spawn(connection);
    let mut response = sender.send_request(request).await?;
    end_to_end(response.headers_mut());
    Ok(response.map(BodyExt::boxed))
}

/// Removes the fields that concern one hop only.
fn end_to_end(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let known = [
        CONNECTION,
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("keep-alive"),
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in known.into_iter().chain(named) {
        headers.remove(name);
    }
}

/// The reason why a request is not served.
struct Refusal {
    status: StatusCode,
    reason: &'static str,
    text: String,
    headers: HeaderMap,
}

impl Refusal {
    fn denied() -> Self {
        Self::new(StatusCode::FORBIDDEN, "denied", "this host is denied")
    }

    fn bad_request(explanation: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", explanation)
    }

    fn new(status: StatusCode, reason: &'static str, explanation: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            reason,
            text: format!("the lab refuses ({reason}): {}\n", explanation.into()),
            headers: HeaderMap::new(),
        }
    }

    fn into_reply(self) -> Reply {
        let mut reply = Response::new(body(self.text));
        *reply.status_mut() = self.status;
        let headers = reply.headers_mut();
        *headers = self.headers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert("x-lab-error", HeaderValue::from_static(self.reason));
        reply
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self {
            status: refused.status,
            reason: "authentication",
            text: refused.page(),
            headers: refused.headers(false),
        }
    }
}

/// The target cannot be reached.
impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        let status = match error.kind() {
            std::io::ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, "connect", error.to_string())
    }
}

/// The target does not answer as it should.
impl From<hyper::Error> for Refusal {
    fn from(error: hyper::Error) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "upstream", error.to_string())
    }
}

fn body(text: impl Into<Bytes>) -> BoxBody<Bytes, hyper::Error> {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}
