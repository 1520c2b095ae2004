//! The end of a request over HTTP/1.1 decides at once on its connection. No timer fires here, since a task is busy.

use http::Request;
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    sync::oneshot,
};
use tower::ServiceExt;
use tower_outbound_proxy::Client;
use tower_outbound_proxy_lab::{Ca, ScriptedProxy, Step, connector, within};

use crate::common::{Handing, Then, Wire};

use super::{TestClient, builder, eventually, fetch, now, read, soon, through, unproxied};

/// A server with small buffers that answers a request's head, and reads the rest of it when it is told to.
async fn early() -> (String, oneshot::Sender<()>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (go, going) = oneshot::channel();
    tokio::spawn(async move {
        let (mut io, _) = listener.accept().await.unwrap();
        io.read_exact(&mut [0; 64]).await.unwrap();
        io.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").await.unwrap();
        let _ = going.await;
        while io.read(&mut [0; 65536]).await.is_ok_and(|read| read > 0) {}
    });
    (url, go)
}

/// A connection whose peer has not taken the whole request takes another when it has, and is closed if it does not.
#[tokio::test]
async fn a_request_that_its_peer_has_not_taken_blocks_its_connection() {
    for is_taken in [true, false] {
        let (url, go) = early().await;
        let mut connector = connector();
        connector.set_send_buffer_size(Some(4096));
        let builder = builder(unproxied(), &Ca::new()).connector(connector);
        let client: TestClient = builder.build().unwrap();
        let request = Request::post(&url).body(Full::from(vec![0; 512 * 1024])).unwrap();
        let response = within(client.clone().oneshot(request)).await.unwrap();
        tokio::time::pause();
        assert_eq!(read(response).await, "early");
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(now(&client), [1, 0, 0, 0]);
        if is_taken {
            go.send(()).unwrap();
            soon(|| now(&client) == [1, 1, 0, 0]).await;
            tokio::time::resume();
        } else {
            tokio::time::resume();
            eventually(|| client.stats().keys.is_empty()).await;
        }
    }
}

/// The end of a connection is heard at once, and its place behind a limit is another's.
#[tokio::test]
async fn a_connection_that_is_to_be_closed_counts_until_its_end() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let proxy = ScriptedProxy::start([Step::send(answer), Step::Close]).await;
    let builder = builder(through(proxy.url()), &Ca::new());
    let client: TestClient = builder.max_connections_per_key(2).build().unwrap();
    tokio::time::pause();
    assert_eq!(fetch(&client, "http://a.test/").await, "ok");
    soon(|| client.stats().keys.is_empty()).await;
}

/// A new connection that ends before its request was sent is an error, and no reason to open another.
#[tokio::test]
async fn a_request_that_a_new_connection_does_not_take_is_not_repeated() {
    let handing = Handing::new(Wire::saying([""; 0]).then(Then::Close));
    let builder = Client::builder().config(unproxied()).connector(handing.clone());
    let client: TestClient = builder.build().unwrap();
    let request = Request::post("http://a.test/").body(Full::from("once")).unwrap();
    let error = within(client.clone().oneshot(request)).await.unwrap_err();
    assert!(error.is_before_request() && !error.is_connect(), "{error:?}");
    assert_eq!(handing.asked().len(), 1);
}
