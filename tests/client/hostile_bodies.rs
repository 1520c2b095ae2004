//! Request bodies that do what no body should: panic, end only once, and drop their own request.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty, combinators::BoxBody};
use hyper::body::{Body, Frame};
use tokio::runtime::Builder;
use tower_outbound_proxy::{Client, client::ResponseFuture};
use tower_outbound_proxy_lab::{Ca, Origin, ScriptedProxy, Step, within};

use super::{builder, eventually, runtime::without_hanging, unproxied};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A body whose frames a function makes.
struct Made<F>(F);

impl<F> Body for Made<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<Bytes>> + Unpin,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        (self.0)(cx).map(|frame| frame.map(|data| Ok(Frame::data(data))))
    }
}

type AnyBody = BoxBody<Bytes, Infallible>;

fn put<F>(url: &str, frames: F) -> Request<AnyBody>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<Bytes>> + Send + Sync + Unpin + 'static,
{
    let request = Request::builder().method(Method::PUT).uri(url);
    request.body(Made(frames).boxed()).unwrap()
}

/// Returns a server that closes a connection under its second request, and a client that has used that connection.
async fn closing() -> (ScriptedProxy, Client<AnyBody>) {
    let server = ScriptedProxy::builder()
        .script([Step::send(OK), Step::ReadHead, Step::Close])
        .script([Step::send(OK)])
        .start()
        .await;
    let client: Client<AnyBody> = builder(unproxied(), &Ca::new()).build().unwrap();
    let first = Request::get(server.url()).body(Empty::new().boxed()).unwrap();
    let response = within(client.send(first)).await.unwrap();
    within(response.into_body().collect()).await.unwrap();
    (server, client)
}

/// Many streams panic if they are asked for more after their end.
#[tokio::test]
async fn a_repeat_asks_a_body_for_nothing_after_its_end() {
    let (server, client) = closing().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let request = put(&server.url(), move |_| match counted.fetch_add(1, Ordering::Relaxed) {
        0 => Poll::Ready(Some(Bytes::from_static(b"data"))),
        1 => Poll::Ready(None),
        _ => panic!("the body is asked for more after its end"),
    });
    let response = within(client.send(request)).await.unwrap();
    assert_eq!((response.status().as_u16(), asked.load(Ordering::Relaxed)), (200, 2));
    assert_eq!(server.connections_opened(), 2);
}

/// Nobody knows the rest of such a body.
#[tokio::test]
async fn a_body_that_panics_is_not_asked_again() {
    let (server, client) = closing().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let request = put(&server.url(), move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        panic!("the test's body panics")
    });
    let error = within(client.send(request)).await.unwrap_err();
    assert_eq!(
        (asked.load(Ordering::Relaxed), server.connections_opened()),
        (1, 1),
        "{error:?}"
    );
    eventually(|| client.stats().open() == 0).await;
}

/// Over HTTP/2, hyper sends a body that is not ready at once in a task of its own, whose panic ends nothing else.
#[test]
fn a_request_whose_body_panicked_can_be_dropped() {
    without_hanging(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ca = Ca::new();
            let origin = Origin::https(&ca, &["a.test"], &["h2"]).await;
            let client: Client<AnyBody> = builder(unproxied(), &ca).build().unwrap();
            let asked = Arc::new(AtomicUsize::new(0));
            let counted = asked.clone();
            let request = put(&origin.url("/"), move |cx| {
                cx.waker().wake_by_ref();
                match counted.fetch_add(1, Ordering::Relaxed) {
                    0 => Poll::Pending,
                    _ => panic!("the test's body panics"),
                }
            });
            let request = tokio::spawn(client.send(request));
            eventually(|| asked.load(Ordering::Relaxed) > 1).await;
            request.abort();
            let _ = within(request).await;
            eventually(|| client.stats().open() == client.stats().idle()).await;
            assert_eq!(asked.load(Ordering::Relaxed), 2);
        });
    });
}

/// As one does that ends an exchange when it finds a fault in what it sends.
#[test]
fn a_body_may_drop_its_own_request() {
    without_hanging(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ca = Ca::new();
            for alpn in ["http/1.1", "h2"] {
                let origin = Origin::https(&ca, &["a.test"], &[alpn]).await;
                let client: Client<AnyBody> = builder(unproxied(), &ca).build().unwrap();
                let responding: Arc<Mutex<Option<ResponseFuture>>> = Arc::default();
                let held = responding.clone();
                let request = put(&origin.url("/"), move |_| {
                    let dropped = held.lock().unwrap().take();
                    drop(dropped);
                    Poll::Ready(Some(Bytes::from_static(b"data")))
                });
                *responding.lock().unwrap() = Some(client.send(request));
                // The body takes it away without waking anyone.
                eventually(|| match &mut *responding.lock().unwrap() {
                    Some(response) => Pin::new(response)
                        .poll(&mut Context::from_waker(Waker::noop()))
                        .is_ready(),
                    None => true,
                })
                .await;
                eventually(|| client.stats().open() == usize::from(alpn == "h2")).await;
            }
        });
    });
}
