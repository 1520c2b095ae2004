//! The end of a request over HTTP/1.1 decides at once on its connection. No timer fires here, since a task is busy.

use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;
use tower_outbound_proxy::Client;
use tower_outbound_proxy_lab::{Ca, ScriptedProxy, Step, within};

use crate::common::{Handing, Pipe, Then, Wire};

use super::{TestClient, builder, eventually, fetch, now, read, soon, through, unproxied};

/// A connection whose peer has not taken the whole request takes another when it has, and is closed if it does not.
#[tokio::test]
async fn a_request_that_its_peer_has_not_taken_blocks_its_connection() {
    for is_taken in [true, false] {
        let (near, mut far) = Pipe::new(1024);
        let handing = Handing::new(near);
        let builder = Client::builder().config(unproxied()).connector(handing);
        let client: TestClient = builder.build().unwrap();
        let request = Request::post("http://a.test/").body(Full::from(vec![0; 4096])).unwrap();
        let response = tokio::spawn(client.clone().oneshot(request));
        far.read_exact(&mut [0; 64]).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";
        far.write_all(answer).await.unwrap();
        let response = within(response).await.unwrap().unwrap();
        tokio::time::pause();
        assert_eq!(read(response).await, "early");
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(now(&client), [1, 0, 0, 0]);
        if is_taken {
            let rest = tokio::spawn(async move { while far.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} });
            soon(|| now(&client) == [1, 1, 0, 0]).await;
            tokio::time::resume();
            drop(client);
            rest.await.unwrap();
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
