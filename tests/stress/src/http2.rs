//! HTTP/2: a server that closes connections, or says that it will (GOAWAY), under dozens of requests.

use std::{net::SocketAddr, pin::pin, sync::Arc};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::TlsAcceptor;
use tower_outbound_proxy_lab::{Ca, connector};

use crate::{
    DURATION, Processed, Shared, StressClient, builder, request, runtime, send, serve, timed::race, watch::Watch,
};

/// The number of requests at a time.
const CALLERS: usize = 48;

/// A server's order to a connection.
enum End {
    /// Closes it, whatever is on it.
    Close,
    /// Sends GOAWAY, and closes it after the last request.
    GoAway,
}

/// Starts a server in a thread of its own, which ends a connection at every fourth request, if it does.
fn start(ca: &Ca, processed: &Arc<Processed>, ends: bool) -> SocketAddr {
    let tls = TlsAcceptor::from(ca.issue(&["a.test"]).server_config(&["h2"]));
    let (processed, dice) = (processed.clone(), Shared::default());
    serve(move |io| answer(io, tls.clone(), processed.clone(), ends.then(|| dice.clone())))
}

async fn answer(io: TcpStream, tls: TlsAcceptor, processed: Arc<Processed>, ends_by: Option<Shared>) {
    let Ok(io) = tls.accept(io).await else { return };
    let (end, mut ends) = mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Incoming>| {
        let (processed, roll, end) = (
            processed.clone(),
            ends_by.as_ref().map(|dice| dice.roll(8)),
            end.clone(),
        );
        async move {
            match roll {
                Some(0) => drop(end.send(End::Close)),
                Some(1) => drop(end.send(End::GoAway)),
                _ => {}
            }
            let body = request.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Response::new(Full::new(processed.answer(body))))
        }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let mut connection = pin!(connection.serve_connection(TokioIo::new(io), service));
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            end = ends.recv() => match end {
                Some(End::GoAway) => connection.as_mut().graceful_shutdown(),
                _ => return,
            }
        }
    }
}

#[test]
fn a_connection_can_end_in_any_nanosecond_of_a_request() {
    let (ca, processed) = (Ca::new(), Arc::default());
    let addr = start(&ca, &processed, false);
    race(&ca, format!("https://a.test:{}/", addr.port()), processed);
}

#[test]
fn a_connection_ends_under_dozens_of_requests() {
    let (ca, processed, runtime) = (Ca::new(), Arc::<Processed>::default(), runtime(2));
    let addr = start(&ca, &processed, true);
    let client: StressClient = builder(&ca).connector(connector()).build().unwrap();
    let watch = Watch::new(CALLERS);
    for caller in 0..CALLERS {
        let (client, watch, processed) = (client.clone(), watch.clone(), processed.clone());
        runtime.spawn(async move {
            let url = format!("https://a.test:{}/", addr.port());
            for number in (caller as u64..).step_by(CALLERS) {
                if !watch.goes_on() {
                    break;
                }
                watch.begins(caller);
                let outcome = send(&client, request(&url, number), number, &processed).await;
                watch.ends(caller, Some(outcome));
            }
        });
    }
    watch.watch(&client, DURATION);
}
