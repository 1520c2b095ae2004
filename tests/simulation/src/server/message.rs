//! HTTP/1.1 as a server reads and writes it, by hand: hyper is what is tested.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The head of a request, in any version of HTTP.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) method: String,
    /// The target as it was written; for HTTP/2 the path.
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub(crate) fn framing(&self) -> Framing {
        match (self.field("transfer-encoding"), self.field("content-length")) {
            (Some(_), _) => Framing::Chunked,
            (None, Some(length)) => Framing::Length(length.parse().unwrap_or_default()),
            (None, None) => Framing::Length(0),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
}

/// A connection, and what was received and not read.
pub(crate) struct Wire<T> {
    pub(crate) io: T,
    buffer: BytesMut,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    pub(crate) fn new(io: T) -> Self {
        let buffer = BytesMut::with_capacity(4096);
        Self { io, buffer }
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.io.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Reads the head of a request.
    pub(crate) async fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some((head, length)) = parse(&self.buffer)? {
                self.buffer.advance(length);
                return Ok(head);
            }
            self.fill().await?;
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.fill().await?;
        }
    }

    async fn bytes(&mut self, mut length: usize, to: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while length > 0 {
            if self.buffer.is_empty() {
                self.fill().await?;
            }
            let read = length.min(self.buffer.len());
            to(&self.buffer.split_to(read));
            length -= read;
        }
        Ok(())
    }

    /// Reads a body to its end.
    pub(crate) async fn body(&mut self, framing: Framing, mut to: impl FnMut(&[u8])) -> io::Result<()> {
        if let Framing::Length(length) = framing {
            return self.bytes(length, &mut to).await;
        }
        loop {
            let size = self.line().await?;
            let size = usize::from_str_radix(&size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            self.bytes(size, &mut to).await?;
            self.line().await?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Reads until the other end closes.
    pub(crate) async fn drain(&mut self) {
        self.buffer.clear();
        while self.fill().await.is_ok() {
            self.buffer.clear();
        }
    }

    pub(crate) async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.io.write_all(data).await?;
        self.io.flush().await
    }
}

fn parse(received: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(received) {
        Ok(httparse::Status::Complete(length)) => {
            let fields = request.headers.iter().map(|field| {
                let value = String::from_utf8_lossy(field.value).into_owned();
                (field.name.to_ascii_lowercase(), value)
            });
            let head = Head {
                method: request.method.unwrap_or_default().to_owned(),
                target: request.path.unwrap_or_default().to_owned(),
                fields: fields.collect(),
            };
            Ok(Some((head, length)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}
