//! [`serve`]: an HTTP/1.1 server behind TLS.

use std::{future::Future, io, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::BoxError;

/// Serves HTTP/1.1 behind TLS on loopback, upgrades included, and returns the port. A request that carries the proxy's
/// credentials fails.
///
/// # Errors
///
/// If loopback cannot be listened on.
pub async fn serve<F, A>(tls: Arc<ServerConfig>, answer: F) -> Result<u16, BoxError>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let acceptor = TlsAcceptor::from(tls);
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let leaked = request.headers().contains_key(header::PROXY_AUTHORIZATION);
                    let answer = (!leaked).then(|| answer(request));
                    async move {
                        match answer {
                            Some(answer) => answer.await.map_err(io::Error::other),
                            None => Ok(status(StatusCode::BAD_REQUEST)),
                        }
                    }
                });
                if let Ok(io) = acceptor.accept(io).await {
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(io), service);
                    let _ = connection.with_upgrades().await;
                }
            });
        }
    });
    Ok(port)
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}
