//! Repeats: a request is sent again where that is safe, and never where it may have been acted on.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Body, Frame};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tower_outbound_proxy::{Client, ClientError};
use tower_outbound_proxy_lab::{Ca, ScriptedProxy, Step, within};

use super::{builder, read, unproxied};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

type AnyBody = BoxBody<Bytes, Infallible>;

/// Returns a body by its name.
fn body(kind: &str) -> AnyBody {
    match kind {
        "none" => Full::default().boxed(),
        "in memory" => Full::from("data").boxed(),
        _ => Parts(2).boxed(),
    }
}

/// A body of this many parts.
struct Parts(u8);

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.0.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.0 = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"part")))))
    }
}

async fn ask(client: &Client<AnyBody>, url: &str, method: &Method, kind: &str) -> Result<Bytes, ClientError> {
    let request = Request::builder().method(method).uri(url).body(body(kind)).unwrap();
    Ok(read(within(client.clone().oneshot(request)).await?).await)
}

/// The connection closes when the second request has arrived, and before a byte of the response.
#[tokio::test]
async fn idempotent_requests_are_repeated_if_a_used_connection_closes() {
    for end in [Step::Close, Step::Reset] {
        for (method, kind, repeated) in [
            (Method::GET, "none", true),
            (Method::HEAD, "none", true),
            (Method::DELETE, "none", true),
            (Method::PUT, "in memory", true),
            (Method::GET, "in memory", true),
            (Method::POST, "none", false),
            (Method::POST, "in memory", false),
            (Method::PATCH, "in memory", false),
        ] {
            let server = ScriptedProxy::builder()
                .script([Step::send(OK), Step::ReadHead, end.clone()])
                .script([Step::send(OK), Step::ReadHead, Step::send(OK)])
                .start()
                .await;
            let client = builder(unproxied(), &Ca::new()).build().unwrap();
            ask(&client, &server.url(), &Method::GET, "none").await.unwrap();
            let result = ask(&client, &server.url(), &method, kind).await;
            let what = format!("{method} {kind}");
            assert_eq!(result.is_ok(), repeated, "{what}");
            assert_eq!(server.connections_opened(), 1 + usize::from(repeated), "{what}");
            if let Err(error) = result {
                assert!(!error.is_before_request(), "{what}");
            }
        }
    }
}

/// Not on a new connection, not after a byte of the response, not without end.
#[tokio::test]
async fn nothing_else_is_repeated() {
    for (first, then) in [
        (vec![Step::Close], vec![Step::send(OK)]),
        (
            vec![Step::send(OK), Step::ReadHead, Step::send("H"), Step::Close],
            vec![Step::send(OK)],
        ),
        (vec![Step::send(OK), Step::ReadHead, Step::Close], vec![Step::Close]),
    ] {
        let used = first.len() > 1;
        let server = ScriptedProxy::builder().script(first).script(then).start().await;
        let client = builder(unproxied(), &Ca::new()).build().unwrap();
        if used {
            ask(&client, &server.url(), &Method::GET, "none").await.unwrap();
        }
        let error = ask(&client, &server.url(), &Method::GET, "none").await.unwrap_err();
        assert!(!error.is_before_request());
        assert!(server.connections_opened() <= 2);
    }
}

/// A server's way with one request over HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// 200, without a body.
    Ok,
    /// `REFUSED_STREAM`
    Refused,
    /// `INTERNAL_ERROR` for the stream
    Failed,
    /// `GOAWAY` that excludes this stream
    GoAway,
    /// `GOAWAY` that includes this stream, then the end of the connection
    GoAwayLater,
    /// The end of the connection.
    Close,
}

/// A server that speaks HTTP/2 frame by frame.
struct Frames {
    addr: SocketAddr,
    /// The connection and the stream of each request.
    heard: Arc<Mutex<Vec<(usize, u32)>>>,
}

impl Frames {
    /// Starts a server that treats the requests of its first connection like this, and all later ones like the last.
    async fn start(tls: Arc<ServerConfig>, first: &'static [On], later: On) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let record = heard.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let (io, _) = listener.accept().await.unwrap();
                let (tls, record) = (TlsAcceptor::from(tls.clone()), record.clone());
                let script = if number == 0 { first } else { &[] };
                tokio::spawn(async move {
                    let _ = serve(tls.accept(io).await.unwrap(), script, later, |stream| {
                        record.lock().unwrap().push((number, stream));
                    })
                    .await;
                });
            }
        });
        Self { addr, heard }
    }

    fn url(&self) -> String {
        format!("https://a.test:{}/", self.addr.port())
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

async fn serve(
    mut io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    script: &[On],
    later: On,
    mut heard: impl FnMut(u32),
) -> std::io::Result<()> {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    const STATUS_200: &[u8] = &[0x88];
    let goaway = |last: u32| frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat());
    io.read_exact(&mut [0; 24]).await?;
    io.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    io.flush().await?;
    let mut script = script.iter().copied();
    loop {
        let mut head = [0; 9];
        io.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        io.read_exact(&mut vec![0; length as usize]).await?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let answer = match (head[3], head[4]) {
            (SETTINGS, 0) => frame(SETTINGS, 1, 0, &[]),
            (HEADERS, _) => {
                heard(stream);
                match script.next().unwrap_or(later) {
                    On::Ok => frame(HEADERS, 5, stream, STATUS_200),
                    On::Refused => frame(RST_STREAM, 0, stream, &[0, 0, 0, 7]),
                    On::Failed => frame(RST_STREAM, 0, stream, &[0, 0, 0, 2]),
                    On::GoAway => goaway(stream - 2),
                    On::GoAwayLater => {
                        io.write_all(&goaway(stream)).await?;
                        io.flush().await?;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        return Ok(());
                    }
                    On::Close => return Ok(()),
                }
            }
            _ => continue,
        };
        io.write_all(&answer).await?;
        io.flush().await?;
    }
}

#[tokio::test]
async fn requests_that_a_server_did_not_process_are_repeated() {
    let ca = Ca::new();
    let tls = ca.issue(&["a.test"]).server_config(&["h2"]);
    for (script, promised) in [
        (&[On::Ok, On::Refused][..], true),
        (&[On::Ok, On::GoAway], true),
        (&[On::Ok, On::Failed], false),
        (&[On::Ok, On::GoAwayLater], false),
        (&[On::Ok, On::Close], false),
    ] {
        let is_closed = matches!(script[1], On::GoAwayLater | On::Close);
        for (method, kind) in [
            (Method::GET, "none"),
            (Method::POST, "none"),
            (Method::POST, "in memory"),
            (Method::POST, "in parts"),
        ] {
            let server = Frames::start(tls.clone(), script, On::Ok).await;
            let client = builder(unproxied(), &ca).build().unwrap();
            ask(&client, &server.url(), &Method::GET, "none").await.unwrap();
            let result = ask(&client, &server.url(), &method, kind).await;
            let what = format!("{script:?} {method} {kind}: {result:?}");
            let repeated = (promised && kind != "in parts") || (method == Method::GET && is_closed);
            assert_eq!(result.is_ok(), repeated, "{what}");
            assert_eq!(server.heard.lock().unwrap().len(), 2 + usize::from(repeated), "{what}");
            if let Err(error) = result {
                assert_eq!(error.is_before_request(), promised, "{what}");
            }
        }
    }
}

/// A server that never keeps its promise is not asked without end, and the error tells what is known.
#[tokio::test]
async fn a_server_that_refuses_everything_is_left() {
    let ca = Ca::new();
    let tls = ca.issue(&["a.test"]).server_config(&["h2"]);
    let server = Frames::start(tls, &[], On::Refused).await;
    let client = builder(unproxied(), &ca).build().unwrap();
    let error = ask(&client, &server.url(), &Method::POST, "in memory")
        .await
        .unwrap_err();
    assert!(error.is_before_request() && !error.is_connect());
    assert_eq!(
        error.to_string(),
        "the server refused the request without processing it"
    );
    assert_eq!(server.heard.lock().unwrap().len(), 4);
}
