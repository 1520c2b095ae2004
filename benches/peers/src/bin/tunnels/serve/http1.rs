//! The proxy over HTTP/1.1.

use std::io::{self, ErrorKind::InvalidData};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{
    Counts, Hosts,
    origin::{self, Head},
};

pub(super) async fn serve<T>(mut io: T, hosts: &Hosts, counts: &Counts) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::new();
    while let Some(head) = Head::read(&mut io, &mut buffer).await? {
        if head.method == "CONNECT" {
            // RFC 9931 forbids a client to send more before the response.
            if !buffer.is_empty() {
                return Err(InvalidData.into());
            }
            io.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            io.flush().await?;
            return hosts.tunnel(io, &head.target, counts).await;
        }
        let host = head.target_host().ok_or(InvalidData)?;
        origin::answer(&mut io, &mut buffer, host, &head).await?;
    }
    Ok(())
}
