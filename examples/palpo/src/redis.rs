//! A minimal Redis server that answers `PING`, for the demonstration and for tests.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A server on loopback, which ends when it is dropped.
#[derive(Debug)]
pub struct Redis {
    addr: SocketAddr,
    commands: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Redis {
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let commands = Arc::<Mutex<_>>::default();
        Ok(Self {
            addr: listener.local_addr()?,
            serving: tokio::spawn(accept(listener, commands.clone())),
            commands,
        })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the names of the commands that it received.
    pub fn commands(&self) -> Vec<String> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, commands: Arc<Mutex<Vec<String>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let commands = commands.clone();
        tokio::spawn(async move { serve(client, &commands).await });
    }
}

/// Serves a connection. Input that is not a command in RESP ends it, as in the real server.
async fn serve(client: TcpStream, commands: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut client = BufReader::new(client);
    while let Some(command) = read_command(&mut client).await? {
        let reply: &[u8] = match command.first().map(|name| name.to_ascii_uppercase()).as_deref() {
            Some("PING") => b"+PONG\r\n",
            _ => b"-ERR unknown command\r\n",
        };
        let name = command.first().cloned().unwrap_or_default();
        commands.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        client.write_all(reply).await?;
    }
    Ok(())
}

/// Reads an array of bulk strings: `*1`, and for each `$4` and its bytes, all ended by CRLF.
async fn read_command(client: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<String>>> {
    let Some(words) = read_number(client, b'*').await? else {
        return Ok(None);
    };
    let mut command = Vec::new();
    for _ in 0..words {
        let length = read_number(client, b'$').await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut word = vec![0; usize::from(length) + 2];
        client.read_exact(&mut word).await?;
        word.truncate(length.into());
        command.push(String::from_utf8_lossy(&word).into_owned());
    }
    Ok(Some(command))
}

/// Reads a line with a number after this byte; `None` at the end.
async fn read_number(client: &mut BufReader<TcpStream>, kind: u8) -> io::Result<Option<u8>> {
    let mut line = Vec::new();
    if client.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    let number = String::from_utf8_lossy(&line);
    let number = number
        .strip_prefix(char::from(kind))
        .and_then(|number| number.trim_end().parse().ok());
    number.map(Some).ok_or(io::ErrorKind::InvalidData.into())
}
