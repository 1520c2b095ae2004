//! An HTTP/2 server, an origin or a proxy, over the `h2` crate. What that crate does not do of itself, the
//! [`gate`](super::gate) adds.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    server::{Builder, Connection, SendResponse},
};
use http::{Method, Request, Response, request::Parts};
use tokio::{
    io::{AsyncRead, AsyncWrite, duplex},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Session, gate::Gate, message::Head, shared_tunnel};
use crate::{content, fault::Fault, plan::Tunnels, random::Random, record::TryId};

pub(super) async fn serve<T>(mut session: Session, io: T)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    session.is_shared = session.is_proxy();
    if session.happens(Fault::ServesFew) {
        let slots = session.random.range(1, 3) as usize;
        session.slots = Some(Arc::new(Semaphore::new(slots)));
    }
    let mut builder = Builder::new();
    let most = match session.is_proxy() {
        // The gate tells the client of another number.
        true => 1_000,
        false => session.world.server(session.server).max_streams,
    };
    builder.max_concurrent_streams(most);
    if session.is_proxy() {
        // One tunnel that nobody reads does not stop the others.
        builder.initial_connection_window_size(16 << 20);
    }
    let gate = Gate::of(&mut session);
    if gate.is_open() {
        if let Ok(connection) = builder.handshake(io).await {
            session.streams(connection).await;
        }
        return;
    }
    let (inner, outer) = duplex(64 << 10);
    session.world.spawn(gate.relay(session.clone(), io, outer));
    if let Ok(connection) = builder.handshake(inner).await {
        session.streams(connection).await;
    }
}

impl Session {
    async fn streams<T: AsyncRead + AsyncWrite + Unpin>(mut self, mut connection: Connection<T, Bytes>) {
        let mut served = 0;
        let mut patience = match self.happens(Fault::ClosesIdle) {
            true => Duration::from_millis(self.random.pick(&[0, 1, 5, 50, 1_000])),
            false => Duration::MAX,
        };
        loop {
            let Ok(accepted) = timeout(patience, connection.accept()).await else {
                self.fault(Fault::GoAwayGraceful);
                connection.graceful_shutdown();
                patience = Duration::MAX;
                continue;
            };
            let Some(Ok((request, respond))) = accepted else {
                return;
            };
            if self.happens(Fault::ClosesUnread) {
                return self.fault(Fault::ClosesUnread);
            }
            let is_connect = request.method() == Method::CONNECT;
            if is_connect && self.world.server(self.server).tunnels == Tunnels::Closes {
                return self.fault(Fault::ConnectCloses);
            }
            served += 1;
            let stream = Session {
                random: Random::new(self.world.plan.seed, "stream", (self.connection << 16 | served) as u64),
                ..self.clone()
            };
            match is_connect {
                true => self.world.spawn(shared_tunnel::serve(stream, request, respond)),
                false => self.world.spawn(stream.stream(request, respond)),
            }
            if self.happens(Fault::GoAwayGraceful) {
                self.fault(Fault::GoAwayGraceful);
                connection.graceful_shutdown();
            } else if self.happens(Fault::GoAwayAbrupt) {
                self.fault(Fault::GoAwayAbrupt);
                let reason = self.random.pick(&[Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM]);
                connection.abrupt_shutdown(reason);
            }
        }
    }

    async fn stream(mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (parts, mut upload) = request.into_parts();
        let Some(number) = self.arrived(&self.head(&parts)) else {
            return;
        };
        let waits = |session: &Self| session.stream_fault(number, Fault::ServesFew);
        let slot = tokio::select! {
            biased;
            () = given_up(&mut respond) => return,
            slot = self.slot(waits) => slot,
        };
        if self.happens(Fault::RefusesStream) {
            self.stream_fault(number, Fault::RefusesStream);
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        self.world.record().processed(number);
        let early = self.happens(Fault::AnswersEarly);
        if early {
            self.stream_fault(number, Fault::AnswersEarly);
        } else if self.happens(Fault::StopsReading) && !upload.is_end_stream() {
            self.stream_fault(number, Fault::StopsReading);
            return given_up(&mut respond).await;
        } else if self.receive(number, &mut upload).await.is_err() {
            return;
        }
        if self.happens(Fault::NeverAnswers) {
            self.stream_fault(number, Fault::NeverAnswers);
            return given_up(&mut respond).await;
        }
        let pause = if self.happens(Fault::AnswersLate) { 5_000 } else { 20 };
        self.pause(pause).await;
        if self.happens(Fault::ResetsStream) {
            self.stream_fault(number, Fault::ResetsStream);
            return respond.send_reset(Reason::INTERNAL_ERROR);
        }
        if self.happens(Fault::ResetsUnanswered) || self.happens(Fault::ClosesUnanswered) {
            return self.link.reset(Fault::ResetsUnanswered);
        }
        if self.respond(number, respond).await.is_ok() && early {
            let _ = self.receive(number, &mut upload).await;
        }
        drop(slot);
    }

    /// Returns the head of a request. That to a proxy has the form that it has over HTTP/1.1.
    pub(super) fn head(&self, parts: &Parts) -> Head {
        let fields = parts.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        let mut head = Head {
            method: parts.method.to_string(),
            target: parts.uri.path().to_owned(),
            fields: fields.collect(),
        };
        if self.is_shared {
            head.target = parts.uri.to_string();
            let authority = parts.uri.authority().map(ToString::to_string);
            head.fields.push(("host".to_owned(), authority.unwrap_or_default()));
        }
        head
    }

    /// Waits until a stream is served, if not many are served at a time.
    pub(super) async fn slot(&self, waits: impl FnOnce(&Self)) -> Option<OwnedSemaphorePermit> {
        let slots = self.slots.as_ref()?;
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            return Some(slot);
        }
        waits(self);
        loop {
            match timeout(Duration::from_secs(1), slots.clone().acquire_owned()).await {
                Ok(slot) => return slot.ok(),
                Err(_) if self.world.is_healthy() => return None,
                Err(_) => {}
            }
        }
    }

    fn stream_fault(&self, number: TryId, fault: Fault) {
        self.world.record().stream_fault(number, fault);
    }

    async fn receive(&self, number: TryId, upload: &mut RecvStream) -> Result<(), h2::Error> {
        let mut check = self.upload_check(number);
        while let Some(data) = upload.data().await {
            let data = data?;
            check(&data);
            upload.flow_control().release_capacity(data.len())?;
        }
        Ok(())
    }

    async fn respond(&mut self, number: TryId, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
        let length = match self.world.server(self.server).is_large {
            true => 2 << 20,
            false => self.random.pick(&[0, 10, 10, 1_000, 20_000, 100_000]),
        };
        let status = self.random.pick(&[200, 200, 200, 404, 503]);
        let response = Response::builder().status(status).header("x-try", number).body(());
        let response = response.expect("the response is well formed");
        self.world.record().answering(number);
        let mut stream = respond.send_response(response, length == 0)?;
        let half = length / 2;
        if half > 0 {
            stream.send_data(content::bytes(number, 0, half), false)?;
            for fault in [Fault::StallsInAnswer, Fault::ResetsInAnswer] {
                if self.happens(fault) {
                    self.stream_fault(number, fault);
                    return self.break_off_stream(stream, fault).await;
                }
            }
        }
        if length > 0 {
            stream.send_data(content::bytes(number, half, length), true)?;
        }
        self.world.record().answered(number);
        Ok(())
    }

    async fn break_off_stream(&mut self, mut stream: SendStream<Bytes>, fault: Fault) -> Result<(), h2::Error> {
        match fault {
            Fault::ResetsInAnswer => stream.send_reset(Reason::INTERNAL_ERROR),
            _ => drop(poll_fn(|cx| stream.poll_reset(cx)).await),
        }
        Ok(())
    }
}

/// Waits until the client gives a stream up.
pub(super) async fn given_up(respond: &mut SendResponse<Bytes>) {
    let _ = poll_fn(|cx| respond.poll_reset(cx)).await;
}
