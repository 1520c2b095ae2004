//! A caller: makes one request after the other, and repeats what is safe to repeat.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use tower_outbound_proxy_lab::Dice;

use crate::{
    Supply, pattern,
    tally::Counts,
    ways::{SoakClient, Way},
};

/// The time that one attempt may take: far longer than any on loopback, and longer than a proxy is away.
const DEADLINE: Duration = Duration::from_secs(20);
/// The time for which a caller repeats a request.
const PATIENCE: Duration = Duration::from_secs(60);

/// The end of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Answered,
    /// The connection broke after the request was sent. A POST is not repeated then.
    Broken,
    /// The proxy answered in the origin's place.
    Refused,
    GivenUp,
    /// It was safe to repeat, and there was no answer for all the caller's patience.
    Lost,
    /// An attempt did not end within its deadline.
    Hung,
    /// The answer is not the one to this request.
    Wrong,
}

pub(crate) struct Caller {
    row: usize,
    client: SoakClient,
    origin: String,
    dice: Dice,
}

impl Caller {
    pub(crate) fn new(row: usize, way: &Way, seed: u64) -> Self {
        Self {
            row,
            client: way.client.clone(),
            origin: way.origin.clone(),
            dice: Dice::new(seed),
        }
    }

    /// Makes requests until there are no more.
    pub(crate) async fn run(mut self, supply: Arc<Supply>) -> (usize, Counts) {
        let mut counts = Counts::default();
        while let Some(number) = supply.next() {
            self.call(number, &mut counts).await;
        }
        (self.row, counts)
    }

    async fn call(&mut self, number: u64, counts: &mut Counts) {
        let is_post = self.dice.roll(2) == 0;
        let length = match self.dice.roll(20) {
            0 => self.dice.roll(pattern::LONGEST as u64),
            1..=4 => self.dice.roll(20_000),
            _ => self.dice.roll(1000),
        };
        let gives_up = self.dice.roll(50) == 0;
        let patience = Duration::from_micros(self.dice.roll(4000));
        let calling = self.until_it_ends(number, is_post, length as usize);
        let (end, repeated) = match gives_up {
            true => timeout(patience, calling).await.unwrap_or((End::GivenUp, 0)),
            false => calling.await,
        };
        counts.add(end, repeated);
        if is_post && matches!(end, End::Lost) {
            counts.unsent.push(number);
        }
    }

    async fn until_it_ends(&self, number: u64, is_post: bool, length: usize) -> (End, u64) {
        let (since, mut repeated) = (Instant::now(), 0);
        loop {
            let attempt = timeout(DEADLINE, self.attempt(number, is_post, length));
            let end = match attempt.await {
                Ok(Attempt::Ended(end)) => end,
                Ok(Attempt::Repeatable) if since.elapsed() < PATIENCE => {
                    repeated += 1;
                    sleep(Duration::from_millis(10)).await;
                    continue;
                }
                Ok(Attempt::Repeatable) => End::Lost,
                Err(_) => {
                    eprintln!("request {number} hung: {:?}", self.client.stats());
                    End::Hung
                }
            };
            return (end, repeated);
        }
    }

    async fn attempt(&self, number: u64, is_post: bool, length: usize) -> Attempt {
        let body = pattern::body(number, length);
        let (method, sent) = match is_post {
            true => (Method::POST, body.clone()),
            false => (Method::GET, bytes::Bytes::new()),
        };
        let uri = format!("{}/{}/{number}/{length}", self.origin, self.row);
        let request = Request::builder().method(method).uri(uri).body(Full::new(sent));
        let Ok(request) = request else {
            unreachable!("a URI is valid")
        };
        let broken = || match is_post {
            true => Attempt::Ended(End::Broken),
            false => Attempt::Repeatable,
        };
        let response = match self.client.clone().oneshot(request).await {
            Ok(response) => response,
            Err(error) if error.is_before_request() => return Attempt::Repeatable,
            Err(_) => return broken(),
        };
        let status = response.status();
        match response.into_body().collect().await {
            Err(_) => broken(),
            Ok(read) if status.is_success() => match read.to_bytes() == body {
                true => Attempt::Ended(End::Answered),
                false => {
                    eprintln!("request {number} got a wrong body");
                    Attempt::Ended(End::Wrong)
                }
            },
            // The origin says that the request's body was wrong.
            Ok(_) if status == http::StatusCode::UNPROCESSABLE_ENTITY => Attempt::Ended(End::Wrong),
            Ok(_) if is_post => Attempt::Ended(End::Refused),
            Ok(_) => Attempt::Repeatable,
        }
    }
}

enum Attempt {
    Ended(End),
    /// It is safe to try again.
    Repeatable,
}
