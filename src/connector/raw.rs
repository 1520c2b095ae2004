//! [`Proxy::tunnel`]: a connection for any protocol, and the traits of tokio that its libraries ask for.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Connector, ProxyStream};
use crate::{error::ConnectError, layer::Proxy, target::Target};

impl<S: Connector> Proxy<S> {
    /// Connects to a host and port, for any protocol: a database, redis, SMTP, ssh.
    ///
    /// The route is that of a target of any other scheme, `tcp://host:port`. `NO_PROXY`, the loopback rule and the
    /// rules of the application apply to it as to all targets. `ALL_PROXY` names its proxy, which is asked for a
    /// tunnel. Without one, the connection is direct, even if `HTTPS_PROXY` is set: that variable is for `https`
    /// targets, here as in curl. To use its proxy, pass [`https`](crate::ProxyConfig::https) to
    /// [`all`](crate::config::ProxyConfigBuilder::all). The [stream](ProxyStream::route) knows its route.
    ///
    /// The host is a name, which may contain Unicode, or an address; an IPv6 address may have brackets.
    ///
    /// ```
    /// # use tokio::io::AsyncReadExt;
    /// # use tower::Layer;
    /// # use tower_outbound_proxy::{ProxyLayer, connector::HappyEyeballs};
    /// # async fn run() -> Result<(), tower::BoxError> {
    /// let mut proxy = ProxyLayer::from_env()?.layer(HappyEyeballs::default());
    /// let mut stream = proxy.tunnel("mail.example", 25).await?;
    /// let mut greeting = [0; 512];
    /// let length = stream.read(&mut greeting).await?;
    /// println!("{}", String::from_utf8_lossy(&greeting[..length]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// This crate neither encrypts nor checks the bytes of the stream. A library can use it like a `TcpStream`; if it
    /// insists on that type, [`ProxyStream::into_inner`] returns one.
    ///
    /// # Errors
    ///
    /// The host or port cannot be used, dialling failed, or the proxy refused the tunnel. Many proxies allow CONNECT to
    /// port 443 only, and refuse others with 403.
    pub async fn tunnel(&mut self, host: &str, port: u16) -> Result<ProxyStream<S::Stream>, ConnectError> {
        let target = Target::of_host_port(host, port).map_err(ConnectError::target)?;
        let route = self.shared.config.route_connection(&target);
        // Connectors know this scheme.
        let uri = target.in_uri(&Uri::from_static("http://host/"));
        let uri = uri.map_err(ConnectError::target)?;
        poll_fn(|cx| self.inner.poll_ready(cx))
            .await
            .map_err(ConnectError::dial)?;
        self.connect(&target, uri, route)?.await
    }
}

/// [`TokioIo`] does the same around any stream of hyper.
impl<T: Read + Write + Unpin> AsyncRead for ProxyStream<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut TokioIo::new(self.get_mut())), cx, buf)
    }
}

impl<T: Read + Write + Unpin> AsyncWrite for ProxyStream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Write::poll_write(self, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Write::poll_flush(self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Write::poll_shutdown(self, cx)
    }

    fn is_write_vectored(&self) -> bool {
        Write::is_write_vectored(self)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Write::poll_write_vectored(self, cx, bufs)
    }
}
