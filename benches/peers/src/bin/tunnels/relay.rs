//! A relay that is a network of one length: it holds every byte back for half a round trip.
//!
//! A new connection takes one round trip more, as TCP's handshake does. The order of bytes is kept. A byte's time does
//! not depend on those before it, so that the relay limits no bandwidth. Its threads block, because the timers of tokio
//! round up to milliseconds.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

const BUFFER: usize = 64 << 10;

/// Starts a relay to a port, and returns its own.
pub(crate) fn start(to: u16, round_trip: Duration) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // From here on the client can send, but over the network it could not before the handshake's end.
            let open = Instant::now() + round_trip;
            if let Err(error) = connect(client, to, open, round_trip / 2) {
                eprintln!("the relay to port {to}: {error}");
            }
        }
    });
    Ok(port)
}

fn connect(client: TcpStream, to: u16, open: Instant, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    carry(client.try_clone()?, server.try_clone()?, open, delay);
    carry(server, client, open, delay);
    Ok(())
}

/// Carries bytes one way: a thread reads them and another writes them when it is their time.
fn carry(mut from: TcpStream, mut to: TcpStream, open: Instant, delay: Duration) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; BUFFER];
        loop {
            // An error ends the connection as the end does.
            let length = from.read(&mut buffer).unwrap_or(0);
            let due = Instant::now().max(open) + delay;
            if sender.send((due, buffer[..length].to_vec())).is_err() || length == 0 {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if bytes.is_empty() || to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
