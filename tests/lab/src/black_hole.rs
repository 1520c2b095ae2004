//! An address that never answers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// A socket that answers no SYN, as a host that is gone or behind a firewall: a listener whose queue is full. (Linux
/// drops further SYNs. Other systems may reset.)
#[derive(Debug)]
pub struct BlackHole {
    listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    /// Starts to be silent on this address of loopback. Port 0 is a free port.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on, or every connection is answered.
    pub async fn start(addr: SocketAddr) -> io::Result<Self> {
        let socket = match addr.is_ipv4() {
            true => TcpSocket::new_v4()?,
            false => TcpSocket::new_v6()?,
        };
        socket.bind(addr)?;
        let listener = socket.listen(1)?;
        let addr = listener.local_addr()?;
        let mut queue = Vec::new();
        while let Ok(queued) = timeout(Duration::from_millis(100), TcpStream::connect(addr)).await {
            queue.push(queued?);
            if queue.len() > 100 {
                return Err(io::Error::other("the listener's queue is never full"));
            }
        }
        Ok(Self {
            listener,
            _queue: queue,
        })
    }

    /// Returns the address.
    ///
    /// # Errors
    ///
    /// The system cannot tell it.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
