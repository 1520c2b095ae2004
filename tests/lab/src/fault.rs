//! A proxy's faults, and unusual but correct behaviour.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::script::{Script, Step};

/// The behaviour of a proxy that does not answer CONNECT plainly. Each is a [`Script`]; write a script for anything
/// more specific.
#[derive(Debug, Clone)]
pub enum Fault {
    /// A tunnel, with these bytes in the same write as the head of the response.
    EarlyBytes(Bytes),
    /// A tunnel, with the head of the response written one byte at a time.
    SplitHead,
    /// A tunnel, with this wait before the response.
    Slow(Duration),
    /// A tunnel, with the interim responses 100 and 103 before the 200.
    Informational,
    /// A tunnel, with a 200 that has `Content-Length` and `Transfer-Encoding`, both of which must be ignored (RFC 9110,
    /// section 9.3.6).
    FramedSuccess,
    /// A tunnel, with a response head of at least this many bytes.
    LongHead(usize),
    /// This status, with a body that explains, and the connection closed.
    Status(u16),
    /// Something that is not HTTP, and the connection closed.
    Garbage,
    /// Half a response head, and the connection closed.
    Truncated,
    /// The connection closed without a word.
    Close,
    /// The connection reset.
    Reset,
    /// Nothing, for as long as the client waits.
    Hang,
}

impl From<Fault> for Script {
    fn from(fault: Fault) -> Self {
        const OK: &str = "HTTP/1.1 200 Connection established\r\n";
        let tunnel = |head: Vec<u8>| [Step::send(head), Step::Tunnel].into();
        match fault {
            Fault::EarlyBytes(bytes) => {
                let mut sent = BytesMut::from(format!("{OK}\r\n").as_bytes());
                sent.extend_from_slice(&bytes);
                tunnel(sent.into())
            }
            Fault::SplitHead => [Step::pieces(format!("{OK}\r\n"), 1), Step::Tunnel].into(),
            Fault::Slow(wait) => [Step::Wait(wait), Step::established(), Step::Tunnel].into(),
            Fault::Informational => [
                Step::send("HTTP/1.1 100 Continue\r\n\r\n"),
                Step::send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"),
                Step::established(),
                Step::Tunnel,
            ]
            .into(),
            Fault::FramedSuccess => {
                tunnel(format!("{OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n").into())
            }
            Fault::LongHead(size) => {
                let line = format!("X-Padding: {}\r\n", "x".repeat(64));
                tunnel(format!("{OK}{}\r\n", line.repeat(size.div_ceil(line.len()))).into())
            }
            Fault::Status(code) => {
                let body = format!("the lab answers {code}\n");
                Step::send(format!(
                    "HTTP/1.1 {code} Lab\r\nX-Lab-Error: status\r\n\
                     Content-Type: text/plain\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{body}",
                    body.len()
                ))
                .into()
            }
            Fault::Garbage => Step::send("220 mail.test ESMTP\r\n\r\n").into(),
            Fault::Truncated => Step::send("HTTP/1.1 200 Connection est").into(),
            Fault::Close => Step::Close.into(),
            Fault::Reset => Step::Reset.into(),
            Fault::Hang => Step::Hang.into(),
        }
    }
}
