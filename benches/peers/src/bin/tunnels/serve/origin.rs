//! A host: what is at the end of a tunnel.

use std::io::{self, ErrorKind::InvalidData};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::CHUNK;
use crate::content::Content;

/// Answers a line with the host's name, and then waits for the end.
pub(super) async fn raw<T: AsyncRead + AsyncWrite + Unpin>(mut io: T, host: &str) -> io::Result<()> {
    while io.read_u8().await? != b'\n' {}
    io.write_all(format!("{host}\n").as_bytes()).await?;
    io.flush().await?;
    match io.read(&mut [0]).await? {
        0 => Ok(()),
        _ => Err(InvalidData.into()),
    }
}

/// Answers HTTP/1.1 requests as this host, or as the one that a request names.
pub(super) async fn http<T>(mut io: T, host: Option<&str>) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::new();
    while let Some(head) = Head::read(&mut io, &mut buffer).await? {
        let host = host.or(head.host.as_deref()).ok_or(InvalidData)?;
        answer(&mut io, &mut buffer, host, &head).await?;
    }
    Ok(())
}

/// Answers one request to this host.
pub(super) async fn answer<T>(io: &mut T, buffer: &mut BytesMut, host: &str, head: &Head) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut content = match head.method.as_str() {
        "POST" => take(io, buffer, host, head.length.ok_or(InvalidData)?).await?,
        _ => Content::of(host, head.wanted().ok_or(InvalidData)?),
    };
    let mut first = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", content.left()).into_bytes();
    first.extend_from_slice(&content.piece());
    io.write_all(&first).await?;
    while content.left() > 0 {
        io.write_all(&content.piece()).await?;
    }
    io.flush().await
}

/// Reads a request's body, and returns the content of the response.
async fn take<T>(io: &mut T, buffer: &mut BytesMut, host: &str, length: u64) -> io::Result<Content>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut expected = Content::of(host, length);
    loop {
        expected.expect(buffer).map_err(io::Error::other)?;
        buffer.clear();
        if expected.left() == 0 {
            return Ok(Content::of("taken", 6));
        }
        buffer.reserve(CHUNK);
        if io.read_buf(buffer).await? == 0 {
            return Err(InvalidData.into());
        }
    }
}

/// The head of a request.
pub(super) struct Head {
    pub(super) method: String,
    pub(super) target: String,
    /// The name in the field `Host`.
    host: Option<String>,
    length: Option<u64>,
}

impl Head {
    /// Reads the next one.
    pub(super) async fn read<T: AsyncRead + Unpin>(io: &mut T, buffer: &mut BytesMut) -> io::Result<Option<Self>> {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            buffer.reserve(2048);
            if io.read_buf(buffer).await? == 0 {
                return Ok(None);
            }
        };
        let head = std::str::from_utf8(&buffer[..end]).ok().and_then(Self::parse);
        buffer.advance(end);
        head.ok_or_else(|| InvalidData.into()).map(Some)
    }

    fn parse(head: &str) -> Option<Self> {
        let mut lines = head.lines();
        let mut words = lines.next()?.split(' ');
        let field = |name: &str| {
            let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
            let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
            Some(value.trim())
        };
        Some(Self {
            method: words.next()?.to_owned(),
            target: words.next()?.to_owned(),
            host: field("host").map(|host| host.rsplit_once(':').map_or(host, |(host, _)| host).to_owned()),
            length: field("content-length").and_then(|value| value.parse().ok()),
        })
    }

    /// Returns the length of the content that the path asks for.
    fn wanted(&self) -> Option<u64> {
        wanted(&self.target)
    }

    /// Returns the host of a target in absolute-form.
    pub(super) fn target_host(&self) -> Option<&str> {
        let authority = self.target.strip_prefix("http://")?.split('/').next()?;
        Some(authority.rsplit_once(':')?.0)
    }
}

/// Returns the length of the content that a path asks for.
pub(super) fn wanted(target: &str) -> Option<u64> {
    target.rsplit_once("/bytes/")?.1.parse().ok()
}
