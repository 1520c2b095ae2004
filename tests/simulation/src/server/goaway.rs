//! GOAWAY below streams that have already arrived, as nginx sends it: they are not processed, and the client is told so.
//!
//! The `h2` crate takes every stream that arrives before it sends GOAWAY. So a relay in front of it withholds streams
//! and sends the GOAWAY.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, split},
    sync::Mutex,
};

use super::Session;
use crate::fault::Fault;

const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;

/// Relays frames, the requests' only for the first streams. GOAWAY follows with the stream after them.
pub(super) async fn relay<T>(session: Session, io: T, server: DuplexStream, streams: usize)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut from_client, to_client) = split(io);
    let (mut from_server, mut to_server) = split(server);
    // Locked for a whole frame.
    let to_client = Mutex::new(to_client);
    let requests = async {
        let mut preface = [0; PREFACE];
        from_client.read_exact(&mut preface).await?;
        to_server.write_all(&preface).await?;
        let (mut seen, mut last, mut withholding) = (0, 0, false);
        loop {
            let frame = read_frame(&mut from_client).await?;
            let (kind, stream) = (frame[3], stream(&frame));
            if kind == HEADERS && stream > last && !withholding {
                seen += 1;
                withholding = seen > streams;
                if withholding {
                    session.fault(Fault::GoAwayBelow);
                    to_client.lock().await.write_all(&goaway(last)).await?;
                } else {
                    last = stream;
                }
            }
            if stream <= last {
                to_server.write_all(&frame).await?;
            }
        }
    };
    let responses = async {
        loop {
            let frame = read_frame(&mut from_server).await?;
            let mut to_client = to_client.lock().await;
            to_client.write_all(&frame).await?;
            to_client.flush().await?;
        }
    };
    let _: io::Result<()> = tokio::select! {
        biased;
        ended = requests => ended,
        ended = responses => ended,
    };
}

async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; FRAME_HEAD];
    from.read_exact(&mut frame).await?;
    let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
    frame.resize(FRAME_HEAD + length, 0);
    from.read_exact(&mut frame[FRAME_HEAD..]).await?;
    Ok(frame)
}

fn stream(frame: &[u8]) -> u32 {
    u32::from_be_bytes([frame[5] & 0x7f, frame[6], frame[7], frame[8]])
}

fn goaway(last: u32) -> Vec<u8> {
    let mut frame = vec![0, 0, 8, GOAWAY, 0, 0, 0, 0, 0];
    frame.extend(last.to_be_bytes());
    frame.extend([0; 4]);
    frame
}
