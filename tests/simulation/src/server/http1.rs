//! An HTTP/1.1 server: an origin, or a proxy. A proxy that forwards answers in the origin's place, which is all that its
//! client can see.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{
    Session,
    message::{Framing, Head, Wire},
    tunnel,
};
use crate::{content, fault::Fault, record::TryId};

/// A server's response.
struct Answer {
    status: u16,
    length: usize,
    chunked: bool,
    closes: bool,
    /// A fault in its middle.
    fault: Option<Fault>,
}

/// The state of a connection after an exchange.
enum Next {
    Keep,
    Close,
}

pub(super) async fn serve<T: AsyncRead + AsyncWrite + Unpin + Send>(mut session: Session, io: T) {
    let mut wire = Wire::new(io);
    loop {
        let Some(head) = session.next(&mut wire).await else {
            return;
        };
        if head.method == "CONNECT" {
            return tunnel::serve(session, wire, &head).await;
        }
        match session.exchange(&mut wire, &head).await {
            Ok(Next::Keep) => {}
            Ok(Next::Close) | Err(_) => return,
        }
    }
}

impl Session {
    /// Waits for a request, or closes the idle connection.
    async fn next<T: AsyncRead + AsyncWrite + Unpin + Send>(&mut self, wire: &mut Wire<T>) -> Option<Head> {
        if !self.happens(Fault::ClosesIdle) {
            return wire.head().await.ok();
        }
        let patience = self.random.pick(&[0, 1, 2, 5, 50, 1_000]);
        match timeout(Duration::from_millis(patience), wire.head()).await {
            Ok(head) => head.ok(),
            Err(_) => {
                self.fault(Fault::ClosesIdle);
                None
            }
        }
    }

    async fn exchange<T: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        wire: &mut Wire<T>,
        head: &Head,
    ) -> io::Result<Next> {
        let number = self.arrived(head).ok_or(io::ErrorKind::InvalidData)?;
        if self.happens(Fault::ClosesUnread) {
            self.fault(Fault::ClosesUnread);
            return Ok(Next::Close);
        }
        self.world.record().processed(number);
        let framing = head.framing();
        let has_upload = !matches!(framing, Framing::Length(0));
        if has_upload {
            for fault in [
                Fault::AnswersEarly,
                Fault::AnswersEarlyAndCloses,
                Fault::AnswersEarlyAndStopsReading,
            ] {
                if self.happens(fault) {
                    return self.answer_early(wire, number, framing, fault).await;
                }
            }
            if self.happens(Fault::StopsReading) {
                self.fault(Fault::StopsReading);
                std::future::pending::<()>().await;
            }
            wire.body(framing, self.upload_check(number)).await?;
        }
        if self.happens(Fault::NeverAnswers) {
            self.world.record().stream_fault(number, Fault::NeverAnswers);
            wire.drain().await;
            return Ok(Next::Close);
        }
        let pause = if self.happens(Fault::AnswersLate) { 5_000 } else { 20 };
        self.pause(pause).await;
        if self.happens(Fault::ClosesUnanswered) {
            self.fault(Fault::ClosesUnanswered);
            return Ok(Next::Close);
        }
        if self.happens(Fault::ResetsUnanswered) {
            self.link.reset(Fault::ResetsUnanswered);
            return Ok(Next::Close);
        }
        let answer = self.decide_answer();
        self.answer(wire, number, &answer).await
    }

    fn decide_answer(&mut self) -> Answer {
        let faults = [Fault::ClosesInAnswer, Fault::ResetsInAnswer, Fault::StallsInAnswer];
        let fault = faults.into_iter().find(|fault| self.happens(*fault));
        let random = &mut self.random;
        Answer {
            status: random.pick(&[200, 200, 200, 404, 503]),
            length: random
                .pick(&[0, 10, 10, 1_000, 1_000, 20_000, 100_000])
                .max(if fault.is_some() { 10 } else { 0 }),
            chunked: random.chance(300),
            closes: random.chance(50),
            fault,
        }
    }

    async fn answer<T: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        wire: &mut Wire<T>,
        number: TryId,
        answer: &Answer,
    ) -> io::Result<Next> {
        self.world.record().answering(number);
        if self.random.chance(50) {
            wire.write(b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n").await?;
        }
        let length = match answer.chunked {
            true => "transfer-encoding: chunked".to_owned(),
            false => format!("content-length: {}", answer.length),
        };
        let close = if answer.closes { "connection: close\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {} .\r\nx-try: {number}\r\n{length}\r\n{close}\r\n",
            answer.status
        );
        wire.write(head.as_bytes()).await?;
        let end = if answer.fault.is_some() {
            answer.length / 2
        } else {
            answer.length
        };
        let mut start = 0;
        while start < end {
            let next = end.min(start + 16_384);
            let data = content::bytes(number, start, next);
            match answer.chunked {
                true => {
                    let size = format!("{:x}\r\n", data.len());
                    wire.write(&[size.as_bytes(), &data, b"\r\n"].concat()).await?;
                }
                false => wire.write(&data).await?,
            }
            start = next;
        }
        if let Some(fault) = answer.fault {
            return self.break_off(wire, fault).await;
        }
        if answer.chunked {
            wire.write(b"0\r\n\r\n").await?;
        }
        self.world.record().answered(number);
        if answer.closes {
            return Ok(Next::Close);
        }
        self.after_answer(wire).await
    }

    async fn break_off<T: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        wire: &mut Wire<T>,
        fault: Fault,
    ) -> io::Result<Next> {
        match fault {
            Fault::ResetsInAnswer => self.link.reset(fault),
            Fault::StallsInAnswer => {
                self.fault(fault);
                wire.drain().await;
            }
            _ => self.fault(fault),
        }
        Ok(Next::Close)
    }

    async fn after_answer<T: AsyncRead + AsyncWrite + Unpin + Send>(&mut self, wire: &mut Wire<T>) -> io::Result<Next> {
        if self.happens(Fault::ClosesSilently) {
            self.pause(5).await;
            for _ in 0..self.random.range(0, 6) {
                tokio::task::yield_now().await;
            }
            self.fault(Fault::ClosesSilently);
            return Ok(Next::Close);
        }
        if self.happens(Fault::HalfCloses) {
            self.fault(Fault::HalfCloses);
            wire.io.shutdown().await?;
            wire.drain().await;
            return Ok(Next::Close);
        }
        Ok(Next::Keep)
    }

    async fn answer_early<T: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        wire: &mut Wire<T>,
        number: TryId,
        framing: Framing,
        fault: Fault,
    ) -> io::Result<Next> {
        self.world.record().stream_fault(number, fault);
        let answer = Answer {
            fault: None,
            closes: fault == Fault::AnswersEarlyAndCloses,
            ..self.decide_answer()
        };
        let next = self.answer(wire, number, &answer).await?;
        match fault {
            Fault::AnswersEarly if matches!(next, Next::Keep) => {
                wire.body(framing, self.upload_check(number)).await?;
                Ok(next)
            }
            Fault::AnswersEarlyAndStopsReading => {
                self.fault(fault);
                std::future::pending::<()>().await;
                Ok(next)
            }
            _ => {
                self.fault(fault);
                self.pause(100).await;
                Ok(Next::Close)
            }
        }
    }
}
