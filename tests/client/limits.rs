//! A peer over HTTP/2 that changes the number of requests it takes, frame by frame. Nothing here waits for time to pass.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::Request;
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use tower::ServiceExt;
use tower_outbound_proxy_lab::{Ca, within};

use super::{TestClient, builder, repeat::frame, so_far, soon, unproxied};

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// A server whose connections send what they are told to.
#[derive(Clone)]
struct Peer {
    addr: SocketAddr,
    /// Requests on all connections.
    asked: Arc<AtomicUsize>,
    /// Answered PINGs: the frames before them have been dealt with.
    pongs: Arc<AtomicUsize>,
}

impl Peer {
    /// Starts a server that accepts a connection for each receiver, and closes it at the end of its bytes.
    async fn start(connections: Vec<mpsc::UnboundedReceiver<Vec<u8>>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = Self {
            addr: listener.local_addr().unwrap(),
            asked: Arc::default(),
            pongs: Arc::default(),
        };
        let server = peer.clone();
        tokio::spawn(async move {
            for mut bytes in connections {
                let (mut read, mut write) = listener.accept().await.unwrap().0.into_split();
                let server = server.clone();
                tokio::spawn(async move {
                    read.read_exact(&mut [0; 24]).await?;
                    loop {
                        let mut head = [0; 9];
                        read.read_exact(&mut head).await?;
                        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                        read.read_exact(&mut vec![0; length as usize]).await?;
                        let count = match (head[3], head[4] & 1) {
                            (HEADERS, _) => &server.asked,
                            (PING, 1) => &server.pongs,
                            _ => continue,
                        };
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                    #[expect(unreachable_code, reason = "names the type of the error")]
                    std::io::Result::Ok(())
                });
                tokio::spawn(async move {
                    while let Some(bytes) = bytes.recv().await {
                        write.write_all(&bytes).await.unwrap();
                    }
                });
            }
        });
        peer
    }

    fn client(&self, limit: usize) -> TestClient {
        let builder = builder(unproxied(), &Ca::new()).http2_only(true);
        builder.max_connections_per_key(limit).build().unwrap()
    }

    /// Sends a request in a task of its own. Returns true in the end if it had its response.
    fn post(&self, client: &TestClient) -> tokio::task::JoinHandle<bool> {
        let request = Request::post(format!("http://{}/", self.addr));
        let sending = client.clone().oneshot(request.body(Full::from("once")).unwrap());
        tokio::spawn(async move { sending.await.is_ok() })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Returns the SETTINGS of a peer that takes this many requests at a time.
fn allowing(streams: u8) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, streams])
}

/// Returns an empty response with status 200.
fn ok(stream: u32) -> Vec<u8> {
    frame(HEADERS, 5, stream, &[0x88])
}

/// The limit is known when the SETTINGS have come, though not in one piece, and each time that it changes.
#[tokio::test]
async fn a_limit_is_obeyed_as_soon_as_it_is_known() {
    let (send, bytes) = mpsc::unbounded_channel();
    let peer = Peer::start(vec![bytes]).await;
    let client = peer.client(1);
    // No timer fires while a task is busy.
    tokio::time::pause();
    let tasks = [(); 8].map(|()| peer.post(&client));
    soon(|| peer.asked() == 1).await;
    let settings = allowing(2);
    send.send(settings[..5].to_vec()).unwrap();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    send.send(settings[5..].to_vec()).unwrap();
    soon(|| peer.asked() == 2).await;
    // The client looks at the limit when it sends a request.
    send.send([allowing(8), ok(1)].concat()).unwrap();
    soon(|| peer.asked() == 8).await;
    (3..17).step_by(2).for_each(|stream| send.send(ok(stream)).unwrap());
    for task in tasks {
        assert!(task.await.unwrap());
    }
}

/// A request that hyper has taken and not sent goes to another connection when its own goes away, whatever its method.
/// The requests that are still on that one, and its limit, keep nobody from it.
#[tokio::test]
async fn a_request_that_a_lowered_limit_holds_back_is_sent_elsewhere() {
    for goes_on in [true, false] {
        let (first, on_first) = mpsc::unbounded_channel();
        let (second, on_second) = mpsc::unbounded_channel();
        let peer = Peer::start(vec![on_first, on_second]).await;
        let client = peer.client(2);
        first.send(allowing(8)).unwrap();
        let under_way = peer.post(&client);
        soon(|| peer.asked() == 1).await;
        first.send([allowing(0), frame(PING, 0, 0, &[0; 8])].concat()).unwrap();
        soon(|| peer.pongs.load(Ordering::SeqCst) == 1).await;
        let held_back = peer.post(&client);
        soon(|| so_far(&client).1 == 1).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(peer.asked(), 1);
        second.send(allowing(8)).unwrap();
        let goaway = frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
        first.send(goaway).unwrap();
        let first = goes_on.then_some(first);
        soon(|| peer.asked() == 2).await;
        second.send(ok(1)).unwrap();
        assert!(within(held_back).await.unwrap());
        assert_eq!(so_far(&client).0, 2);
        if let Some(first) = first {
            first.send(ok(1)).unwrap();
            assert!(within(under_way).await.unwrap());
        }
    }
}
