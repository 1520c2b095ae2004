//! A forward proxy that speaks HTTP/2, one stream at a time as it is told.
//!
//! h2 is on the near side, so that a test decides about single streams: which one is answered, when, and with which
//! frames. Tunnels are half-closed and reset as the sides of a real proxy's are (RFC 9113, section 8.5). Behind TLS it
//! can serve HTTP/1.1 as well, as [`ForwardProxy`](crate::ForwardProxy) does.

use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::{HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::auth::{Auth, Refused};
use crate::forward;
use crate::listen::{Answer, Bind, Ledger, Listening, bind_setters};
use crate::request::Request;
use crate::script::{Script, Step, read_head};
use crate::target::Targets;
use crate::tee::Recorded;

/// The proxy's behaviour towards a stream.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Serves it, as far as it is able to.
    Serve,
    /// Serves it when so many bytes of its body have come.
    ServeAfter(usize),
    /// Serves it later.
    ServeLate(Duration),
    /// Says nothing.
    Silent,
    /// Answers with this status.
    Refuse(StatusCode),
    /// Resets it.
    Reset(Reason),
    /// Opens a tunnel, sends the bytes as they are, each chunk in a frame, and resets it.
    SayAndReset(Vec<Bytes>, Reason),
    /// Opens a tunnel and sends frames of these sizes, one after the other, for as long as the window allows.
    Frames(Vec<usize>),
    /// Ends the connection in order: what is open goes on, and this stream is not processed.
    GoAway,
    /// Closes the connection.
    HangUp,
}

type Choose = Arc<dyn Fn(&Request, usize) -> Behaviour + Send + Sync>;
type Tune = Arc<dyn Fn(&mut Builder) + Send + Sync>;

/// A forward proxy on loopback that speaks HTTP/2, and opens tunnels in HTTP/1.1 if TLS has chosen that. [`Listening`]
/// has its record.
#[derive(Debug)]
pub struct Http2Proxy {
    listening: Listening,
    open: Arc<AtomicUsize>,
}

impl Deref for Http2Proxy {
    type Target = Listening;

    fn deref(&self) -> &Listening {
        &self.listening
    }
}

impl Http2Proxy {
    /// Creates a builder of a proxy that serves everybody, without TLS, on `127.0.0.1`, unless changed.
    pub fn builder() -> Http2ProxyBuilder {
        Http2ProxyBuilder {
            bind: Bind::default(),
            rules: Rules {
                auth: None,
                targets: Targets::default(),
                choose: Arc::new(|_, _| Behaviour::Serve),
                tune: Arc::new(|_| ()),
                with_http1: false,
            },
        }
    }

    /// Returns the URL of the proxy, with user information: `user:password@`, or nothing.
    #[must_use]
    pub fn url_with(&self, userinfo: &str) -> String {
        format!("{}://{userinfo}{}", self.scheme(), self.authority())
    }

    /// Returns the number of tunnels that are open now.
    #[must_use]
    pub fn tunnels_open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
struct Rules {
    auth: Option<Auth>,
    targets: Targets,
    choose: Choose,
    tune: Tune,
    with_http1: bool,
}

/// Makes an [`Http2Proxy`].
#[must_use]
pub struct Http2ProxyBuilder {
    bind: Bind,
    rules: Rules,
}

bind_setters!(Http2ProxyBuilder);

impl Http2ProxyBuilder {
    /// Requires these credentials. Without them the answer is 407.
    pub fn basic(mut self, user: &str, password: &str) -> Self {
        self.rules.auth = Some(Auth::basic(user, password));
        self
    }

    /// Asks for this authentication.
    pub fn auth(mut self, auth: Auth) -> Self {
        self.rules.auth = Some(auth);
        self
    }

    /// Sets the address of a target `host:port`. Any other name is `127.0.0.1`.
    pub fn map(mut self, authority: &str, addr: std::net::SocketAddr) -> Self {
        self.rules.targets.map(authority, addr);
        self
    }

    /// Chooses the behaviour for each stream, by its request and its number on the connection, from 0.
    pub fn behave(mut self, choose: impl Fn(&Request, usize) -> Behaviour + Send + Sync + 'static) -> Self {
        self.rules.choose = Arc::new(choose);
        self
    }

    /// Changes the settings of connections.
    pub fn tune(mut self, tune: impl Fn(&mut Builder) + Send + Sync + 'static) -> Self {
        self.rules.tune = Arc::new(tune);
        self
    }

    /// Forwards in HTTP/1.1 as well, to clients that do not choose `h2` in TLS. Behaviours are those of streams alone.
    pub fn with_http1(mut self) -> Self {
        self.rules.with_http1 = true;
        self
    }

    /// Starts the proxy.
    ///
    /// # Panics
    ///
    /// If loopback cannot be listened on.
    pub async fn start(self) -> Http2Proxy {
        let ledger = Ledger::new();
        let open = Arc::new(AtomicUsize::new(0));
        let proxy = Arc::new(Proxy {
            rules: self.rules,
            ledger: Arc::clone(&ledger),
            open: Arc::clone(&open),
        });
        let over_http1 = Arc::new(proxy.over_http1());
        let serve = Arc::new(move |io: Recorded| {
            let is_http2 = io.record().tls().is_some_and(|tls| tls.alpn.as_deref() == Some("h2"));
            match proxy.rules.with_http1 && !is_http2 {
                true => Box::pin(Arc::clone(&over_http1).serve(io)) as Answer,
                false => Box::pin(Arc::clone(&proxy).serve(io)) as Answer,
            }
        });
        Http2Proxy {
            listening: Listening::start(self.bind, ledger, serve).await,
            open,
        }
    }
}

impl std::fmt::Debug for Http2ProxyBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2ProxyBuilder").finish_non_exhaustive()
    }
}

struct Proxy {
    rules: Rules,
    ledger: Arc<Ledger>,
    open: Arc<AtomicUsize>,
}

impl Proxy {
    /// Returns the same proxy over HTTP/1.1, with the same record.
    fn over_http1(&self) -> forward::Proxy {
        forward::Proxy {
            rules: forward::Rules {
                auth: self.rules.auth.clone(),
                targets: self.rules.targets.clone(),
                ..forward::Rules::default()
            },
            ledger: Arc::clone(&self.ledger),
        }
    }

    async fn serve(self: Arc<Self>, mut io: Recorded) {
        let record = io.record().clone();
        if record.tls().and_then(|tls| tls.alpn).as_deref() == Some("http/1.1") {
            if let Ok(Some(head)) = read_head(&mut io).await {
                let script = Script::from([Step::established(), Step::Tunnel]);
                let _ = script.play(io, head, &self.rules.targets, &self.ledger).await;
            }
            return;
        }
        let mut builder = Builder::new();
        builder
            .initial_window_size(1 << 20)
            .initial_connection_window_size(1 << 24);
        (self.rules.tune)(&mut builder);
        let Ok(mut connection) = builder.handshake::<_, Bytes>(io).await else {
            return;
        };
        // They end with the connection.
        let mut streams = tokio::task::JoinSet::new();
        let mut count = 0;
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let heard = Request::from_http2(&record, &request);
            self.ledger.request(heard.clone());
            let behaviour = (self.rules.choose)(&heard, count);
            count += 1;
            match behaviour {
                Behaviour::HangUp => return,
                Behaviour::GoAway => {
                    respond.send_reset(Reason::REFUSED_STREAM);
                    connection.graceful_shutdown();
                }
                Behaviour::Reset(reason) => respond.send_reset(reason),
                behaviour => {
                    let proxy = Arc::clone(&self);
                    streams.spawn(async move { proxy.stream(behaviour, &heard, request, respond).await });
                }
            }
        }
    }

    async fn stream(
        &self,
        behaviour: Behaviour,
        heard: &Request,
        request: http::Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) {
        let (head, mut body) = request.into_parts();
        let mut early = Vec::new();
        match behaviour {
            Behaviour::Silent => {
                // It is over when the client gives it up.
                let _ = poll_fn(|cx| respond.poll_reset(cx)).await;
                return;
            }
            Behaviour::Refuse(status) => return refuse(&mut respond, status),
            Behaviour::ServeLate(time) => sleep(time).await,
            Behaviour::ServeAfter(bytes) => {
                while early.len() < bytes {
                    let Some(Ok(chunk)) = body.data().await else { return };
                    let _ = body.flow_control().release_capacity(chunk.len());
                    early.extend_from_slice(&chunk);
                }
            }
            Behaviour::SayAndReset(chunks, reason) => {
                let Ok(mut tunnel) = respond.send_response(Response::new(()), false) else {
                    return;
                };
                for chunk in chunks {
                    let _ = send(&mut tunnel, chunk).await;
                }
                // A reset discards what was not sent before.
                sleep(Duration::from_millis(20)).await;
                tunnel.send_reset(reason);
                return;
            }
            Behaviour::Frames(sizes) => {
                let Ok(mut tunnel) = respond.send_response(Response::new(()), false) else {
                    return;
                };
                for size in sizes {
                    if send(&mut tunnel, Bytes::from(vec![b'x'; size])).await.is_err() {
                        return;
                    }
                    // Other streams are served meanwhile.
                    tokio::task::consume_budget().await;
                }
                let _ = poll_fn(|cx| tunnel.poll_reset(cx)).await;
                return;
            }
            _ => {}
        }
        if let Some(refused) = self.rules.auth.as_ref().and_then(|auth| auth.check(heard).err()) {
            return challenge(&mut respond, &refused);
        }
        let Some(authority) = head.uri.authority().cloned() else {
            return refuse(&mut respond, StatusCode::BAD_REQUEST);
        };
        let default_port = (head.method != Method::CONNECT).then_some(80);
        let Ok(far) = self.rules.targets.dial(&authority, default_port).await else {
            return refuse(&mut respond, StatusCode::BAD_GATEWAY);
        };
        if head.method == Method::CONNECT {
            let Ok(tunnel) = respond.send_response(Response::new(()), false) else {
                return;
            };
            let _open = Counted::new(&self.open);
            let _ = pass(far, &early, body, tunnel).await;
        } else {
            let _ = pass_on(far, head, body, &mut respond).await;
        }
    }
}

/// One of those that are counted, until it is dropped.
struct Counted<'c>(&'c AtomicUsize);

impl<'c> Counted<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn challenge(respond: &mut SendResponse<Bytes>, refused: &Refused) {
    let mut response = Response::new(());
    *response.status_mut() = refused.status;
    *response.headers_mut() = refused.headers(true);
    if let Ok(mut body) = respond.send_response(response, false) {
        let _ = body.send_data(Bytes::from(refused.page()), true);
    }
}

fn refuse(respond: &mut SendResponse<Bytes>, status: StatusCode) {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let challenge = HeaderValue::from_static("Basic realm=\"lab\"");
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            response.headers_mut().insert(PROXY_AUTHENTICATE, challenge);
        }
        StatusCode::UNAUTHORIZED => {
            response.headers_mut().insert(http::header::WWW_AUTHENTICATE, challenge);
        }
        _ => {}
    }
    if let Ok(mut body) = respond.send_response(response, false) {
        let _ = body.send_data(Bytes::from(format!("the lab refuses: {status}\n")), true);
    }
}

/// Sends bytes as one frame, when the window allows it.
async fn send(stream: &mut SendStream<Bytes>, bytes: Bytes) -> Result<(), h2::Error> {
    stream.reserve_capacity(bytes.len());
    while stream.capacity() < bytes.len() {
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(capacity) => capacity?,
            None => return Err(Reason::CANCEL.into()),
        };
    }
    stream.send_data(bytes, false)
}

/// Sends bytes in as many frames as the window requires.
async fn send_all(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let capacity = match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(capacity) => capacity?,
            None => return Err(Reason::CANCEL.into()),
        };
        stream.send_data(bytes.split_to(capacity.min(bytes.len())), false)?;
    }
    Ok(())
}

/// Passes bytes in both directions. Each direction ends on its own, and an error of one side resets the other.
async fn pass(far: TcpStream, early: &[u8], mut body: RecvStream, mut tunnel: SendStream<Bytes>) -> io::Result<()> {
    let (mut from, mut to) = far.into_split();
    let out = async {
        to.write_all(early).await?;
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(io::Error::other)?;
            to.write_all(&chunk).await?;
            let _ = body.flow_control().release_capacity(chunk.len());
        }
        to.shutdown().await
    };
    let back = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = match from.read(&mut buffer).await {
                Ok(count) => count,
                Err(error) => {
                    tunnel.send_reset(Reason::CONNECT_ERROR);
                    return Err(error);
                }
            };
            match count {
                0 => {
                    return tunnel.send_data(Bytes::new(), true).map_err(io::Error::other);
                }
                count => {
                    let bytes = Bytes::copy_from_slice(&buffer[..count]);
                    send_all(&mut tunnel, bytes).await.map_err(io::Error::other)?;
                }
            }
        }
    };
    tokio::try_join!(out, back).map(|_| ())
}

/// The body of a request that is passed on.
struct Upload(RecvStream);

impl Body for Upload {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        self.0.poll_data(cx).map(|chunk| {
            chunk.map(|chunk| {
                let chunk = chunk?;
                let _ = self.0.flow_control().release_capacity(chunk.len());
                Ok(Frame::data(chunk))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

/// Passes one request on, over its own connection in HTTP/1.1.
async fn pass_on(
    far: TcpStream,
    head: http::request::Parts,
    body: RecvStream,
    respond: &mut SendResponse<Bytes>,
) -> io::Result<()> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(far))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let authority = head.uri.authority().map_or("", |authority| authority.as_str());
    let mut request = http::Request::builder()
        .method(head.method)
        .uri(path)
        .body(Upload(body))
        .map_err(io::Error::other)?;
    *request.headers_mut() = head.headers;
    request.headers_mut().remove(PROXY_AUTHORIZATION);
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_str(authority).map_err(io::Error::other)?);
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let (mut parts, mut body) = response.into_parts();
    for name in ["connection", "keep-alive", "transfer-encoding"] {
        parts.headers.remove(name);
    }
    parts.version = http::Version::HTTP_2;
    let mut stream = respond
        .send_response(Response::from_parts(parts, ()), false)
        .map_err(io::Error::other)?;
    while let Some(frame) = body.frame().await {
        match frame.map_err(io::Error::other)?.into_data() {
            Ok(data) => send_all(&mut stream, data).await.map_err(io::Error::other)?,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return stream.send_trailers(trailers).map_err(io::Error::other);
                }
            }
        }
    }
    stream.send_data(Bytes::new(), true).map_err(io::Error::other)
}
