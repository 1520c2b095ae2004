//! The listener under every server of the lab.
//!
//! Origins and proxies differ in their answers. This module accepts connections, makes TLS, records, stops and restarts
//! for all of them. [`Origin`](crate::Origin), [`ForwardProxy`](crate::ForwardProxy) and
//! [`ScriptedProxy`](crate::ScriptedProxy) dereference to a [`Listening`].

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::lock;
use crate::record::Connection;
use crate::request::Request;
use crate::tee::{CloseMark, Recorded};

/// The address and TLS of a listener, which the builders of the servers have in common.
#[derive(Default)]
pub(crate) struct Bind {
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) v6: bool,
    pub(crate) host: Option<String>,
}

/// The setters of a builder that has a [`Bind`] in its field `bind`.
macro_rules! bind_setters {
    ($builder:ident) => {
        impl $builder {
            /// Listens on `[::1]`.
            pub fn listen_v6(mut self) -> Self {
                self.bind.v6 = true;
                self
            }

            /// Listens behind TLS.
            pub fn tls(mut self, config: std::sync::Arc<rustls::ServerConfig>) -> Self {
                self.bind.tls = Some(config);
                self
            }

            /// Sets the host that URLs name, bracketed if it is an IPv6 address. The default is the address, or `localhost`
            /// behind TLS.
            pub fn host(mut self, host: &str) -> Self {
                self.bind.host = Some(host.to_owned());
                self
            }
        }
    };
}
pub(crate) use bind_setters;

/// Answers one connection. The connection is over when the future is.
pub(crate) type Serve = Arc<dyn Fn(Recorded) -> Answer + Send + Sync>;
pub(crate) type Answer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Everything that a listener has received.
pub(crate) struct Ledger {
    connections: Mutex<Vec<Connection>>,
    requests: Mutex<Vec<Request>>,
    changed: Arc<watch::Sender<()>>,
}

impl Ledger {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            connections: Mutex::default(),
            requests: Mutex::default(),
            changed: Arc::new(watch::Sender::new(())),
        })
    }

    pub(crate) fn request(&self, request: Request) {
        lock(&self.requests).push(request);
        self.changed.send_replace(());
    }

    fn accepted(&self, peer: SocketAddr) -> Connection {
        let mut connections = lock(&self.connections);
        let connection = Connection::new(connections.len(), peer, Arc::clone(&self.changed));
        connections.push(connection.clone());
        drop(connections);
        self.changed.send_replace(());
        connection
    }
}

/// A listener on loopback, and the record of everything it received. The record outlives stopping. Dropping the
/// listener closes its sockets.
pub struct Listening {
    addr: SocketAddr,
    host: String,
    tls: Option<TlsAcceptor>,
    serve: Serve,
    ledger: Arc<Ledger>,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Listening {
    /// Starts to listen. Clients can connect as soon as this returns.
    pub(crate) async fn start(bind: Bind, ledger: Arc<Ledger>, serve: Serve) -> Self {
        let any: SocketAddr = match bind.v6 {
            true => (Ipv6Addr::LOCALHOST, 0).into(),
            false => (Ipv4Addr::LOCALHOST, 0).into(),
        };
        let listener = listen(any).await.expect("loopback has a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let host = bind.host.unwrap_or_else(|| match (bind.v6, &bind.tls) {
            (true, _) => "[::1]".to_owned(),
            (false, Some(_)) => "localhost".to_owned(),
            (false, None) => "127.0.0.1".to_owned(),
        });
        let listening = Self {
            addr,
            host,
            tls: bind.tls.map(TlsAcceptor::from),
            serve,
            ledger,
            running: Mutex::new(None),
        };
        listening.run(listener);
        listening
    }

    fn run(&self, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(
            listener,
            stopped,
            self.tls.clone(),
            Arc::clone(&self.ledger),
            Arc::clone(&self.serve),
        ));
        *lock(&self.running) = Some(Running { stop, task });
    }

    /// Returns the address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Returns `http` or, behind TLS, `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// Returns `host:port`, with the host that the URLs name.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port())
    }

    /// Returns every request so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.ledger.requests).clone()
    }

    /// Returns every connection so far, in the order of arrival, closed ones included.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection> {
        lock(&self.ledger.connections).clone()
    }

    /// Returns the record of the `id`th connection, from 0.
    ///
    /// # Panics
    ///
    /// If there were fewer connections.
    #[must_use]
    #[track_caller]
    pub fn connection(&self, id: usize) -> Connection {
        let connections = self.connections();
        let count = connections.len();
        let found = connections.into_iter().nth(id);
        found.unwrap_or_else(|| panic!("no connection {id}: there were {count}"))
    }

    /// Returns the bytes that every connection so far received, in the order of arrival of the connections.
    #[must_use]
    pub fn raw(&self) -> Vec<Vec<u8>> {
        self.connections().iter().map(Connection::received).collect()
    }

    /// Returns the number of connections ever accepted.
    #[must_use]
    pub fn connections_opened(&self) -> usize {
        lock(&self.ledger.connections).len()
    }

    /// Returns the number of connections open now.
    #[must_use]
    pub fn connections_open(&self) -> usize {
        self.connections().iter().filter(|one| one.is_open()).count()
    }

    /// Waits until `condition` holds. Checks it whenever bytes are received or sent.
    pub async fn until(&self, mut condition: impl FnMut(&Self) -> bool) {
        let mut changes = self.ledger.changed.subscribe();
        while !condition(self) {
            // The ledger keeps the sender, so there is no error.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until no connection is open.
    pub async fn idle(&self) {
        self.until(|listening| listening.connections_open() == 0).await;
    }

    /// Closes every socket, and returns when they are closed. Connecting is refused from then on. Does nothing if the
    /// listener is already stopped.
    pub async fn stop(&self) {
        let running = lock(&self.running).take();
        if let Some(Running { stop, task }) = running {
            drop(stop);
            // A cancelled task has closed its sockets as well.
            let _ = task.await;
        }
    }

    /// Stops, and listens again on the same address.
    ///
    /// # Panics
    ///
    /// If something else has taken the port meanwhile.
    pub async fn restart(&self) {
        self.stop().await;
        let listener = listen(self.addr).await;
        self.run(listener.expect("the port is still free"));
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(Running { task, .. }) = lock(&self.running).take() {
            task.abort();
        }
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening")
            .field("addr", &self.addr)
            .field("requests", &self.requests())
            .field("connections", &self.connections())
            .finish()
    }
}

async fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(addr).await
}

/// Owns every connection's task, so that ending this task closes every socket.
async fn accept(
    listener: TcpListener,
    mut stopped: oneshot::Receiver<()>,
    tls: Option<TlsAcceptor>,
    ledger: Arc<Ledger>,
    serve: Serve,
) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => {
                // A client may be gone again before it is accepted.
                let Ok((io, peer)) = accepted else { continue };
                let record = CloseMark(ledger.accepted(peer));
                tasks.spawn(answer(io, record, tls.clone(), Arc::clone(&serve)));
            }
            Some(_) = tasks.join_next() => {}
        }
    }
    drop(listener);
    tasks.shutdown().await;
}

async fn answer(io: TcpStream, record: CloseMark, tls: Option<TlsAcceptor>, serve: Serve) {
    // Without it, the parts of a split write could leave as one.
    let _ = io.set_nodelay(true);
    let io = match tls {
        None => Recorded::plain(io, record),
        Some(tls) => match tls.accept(io).await {
            Ok(io) => Recorded::tls(io, record),
            Err(error) => return record.0.note_tls(Err(error)),
        },
    };
    serve(io).await;
}
