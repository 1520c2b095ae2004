//! TLS to an `https://` proxy.

use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    config::{ProxyHost, ProxyServer},
    error::Failure,
    tls::TlsConfig,
};

/// TLS over a hyper stream, as a hyper stream.
pub(super) type ProxyTls<T> = TokioIo<TlsStream<TokioIo<T>>>;

/// HTTP/1.1 is what this crate speaks to proxies, so it is all that is offered, whatever the configuration lists.
pub(super) async fn connect<T>(stream: T, proxy: &ProxyServer, tls: &TlsConfig) -> Result<ProxyTls<T>, Failure>
where
    T: Read + Write + Unpin,
{
    let name = match proxy.proxy_host() {
        ProxyHost::Ip(ip) => ServerName::IpAddress((*ip).into()),
        ProxyHost::Name(name) => ServerName::try_from(name.clone())
            .map_err(|error| Failure::Tls(std::io::Error::new(std::io::ErrorKind::InvalidInput, error)))?,
    };
    TlsConnector::from(tls.client_config().clone())
        .with_alpn(vec![b"http/1.1".to_vec()])
        .connect(name, TokioIo::new(stream))
        .await
        .map(TokioIo::new)
        .map_err(Failure::Tls)
}
