//! The intercepting proxy's handling of a tunnel.
//!
//! It ends the client's TLS with its own certificate for the name in the CONNECT. It reads and records each request,
//! and passes it on over TLS with the origin. A client without the proxy's root refuses that certificate.

use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::ca::Ca;
use crate::listen::Ledger;
use crate::record::Connection;
use crate::request::Request;

/// The issuer of the certificates that clients get, and the trust in origins.
#[derive(Debug, Clone)]
pub(crate) struct Interception {
    issuer: Arc<Ca>,
    origins: Arc<ClientConfig>,
}

impl Interception {
    pub(crate) fn new(issuer: Arc<Ca>, origins: &Ca) -> Self {
        Self {
            issuer,
            origins: origins.client_config(&["http/1.1"]),
        }
    }

    /// Serves a tunnel to `host` until either end closes it.
    pub(crate) async fn serve<T>(&self, near: T, far: TcpStream, host: &str, (ledger, record): (&Ledger, &Connection))
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let Ok(name) = ServerName::try_from(host.to_owned()) else {
            return;
        };
        let accepting = TlsAcceptor::from(self.issuer.issue(&[host]).server_config(&["http/1.1"]));
        let Ok(near) = accepting.accept(near).await else {
            return;
        };
        let connecting = TlsConnector::from(Arc::clone(&self.origins)).connect(name, far);
        let Ok(far) = connecting.await else {
            return;
        };
        let Ok((sender, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(far)).await else {
            return;
        };
        let sender = Mutex::new(sender);
        let pass_on = service_fn(async |request| {
            ledger.request(Request::from_hyper(record, &request));
            sender.lock().await.send_request(request).await
        });
        tokio::select! {
            _ = http1::Builder::new().serve_connection(TokioIo::new(near), pass_on) => {}
            _ = connection => {}
        }
    }
}
