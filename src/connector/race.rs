//! Dials all addresses of a name, each a moment after the one before (RFC 8305 5).

use std::{
    future::poll_fn,
    io, iter, mem,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use crate::error::ConnectError;

/// The head start of an address before the next one, which RFC 8305 calls the Connection Attempt Delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The most dials at once, so that the owner of a name with many addresses cannot use up the sockets of this process.
const MOST_AT_ONCE: usize = 8;

/// Dials until one address connects. The next address has its turn when one fails, or after a delay; those before it
/// go on, until there are too many. The error is that of the last one to fail.
pub(super) async fn race<T, F>(
    addresses: Vec<SocketAddr>,
    mut dial: impl FnMut(SocketAddr) -> F,
) -> Result<T, ConnectError>
where
    F: Future<Output = Result<T, ConnectError>>,
{
    let mut waiting = families_in_turn(addresses).peekable();
    let mut dialling = Vec::new();
    let mut failed = None;
    loop {
        if let Some(address) = waiting.next() {
            if dialling.len() == MOST_AT_ONCE {
                drop(dialling.remove(0));
            }
            dialling.push(Box::pin(dial(address)));
        }
        if dialling.is_empty() {
            return Err(failed.unwrap_or_else(|| {
                let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                ConnectError::dial(none)
            }));
        }
        let delay = waiting.peek().map(|_| sleep(ATTEMPT_DELAY));
        match first_to_end(&mut dialling, delay).await {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => failed = Some(error),
            None => {}
        }
    }
}

/// Returns the addresses with the two families in turn, beginning with the first address's (RFC 8305 4).
fn families_in_turn(addresses: Vec<SocketAddr>) -> impl Iterator<Item = SocketAddr> {
    let first_is_ipv4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (turn, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv4() == first_is_ipv4);
    let (mut turn, mut other) = (turn.into_iter(), other.into_iter());
    iter::from_fn(move || {
        let address = turn.next();
        mem::swap(&mut turn, &mut other);
        address.or_else(|| turn.next())
    })
}

/// Returns the result of the first future to end, which is removed. `None` if the delay ends before.
async fn first_to_end<F: Future>(futures: &mut Vec<Pin<Box<F>>>, delay: Option<Sleep>) -> Option<F::Output> {
    let mut delay = pin!(delay);
    poll_fn(|cx| {
        for index in 0..futures.len() {
            if let Poll::Ready(output) = futures[index].as_mut().poll(cx) {
                drop(futures.remove(index));
                return Poll::Ready(Some(output));
            }
        }
        match delay.as_mut().as_pin_mut() {
            Some(delay) => delay.poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending};

    use tokio::time::Instant;

    use super::*;

    /// Counts the dials that run now.
    struct Running<'c>(&'c Cell<usize>);

    impl Drop for Running<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_addresses_all_are_dialled_and_only_some_at_once() {
        let (running, most, started) = (Cell::new(0), Cell::new(0), Instant::now());
        let addresses = (1..=100).map(|port| SocketAddr::new([192, 0, 2, 1].into(), port));
        let dialled = race(addresses.collect(), |address| {
            running.set(running.get() + 1);
            most.set(most.get().max(running.get()));
            let this = Running(&running);
            async move {
                let _this = this;
                match address.port() {
                    100 => Ok(address.port()),
                    _ => pending().await,
                }
            }
        });
        assert_eq!(dialled.await.unwrap(), 100);
        assert_eq!((running.get(), most.get()), (0, MOST_AT_ONCE));
        assert_eq!(started.elapsed(), 99 * ATTEMPT_DELAY);
    }

    fn in_turn(addresses: &str) -> String {
        let addresses = addresses
            .split_whitespace()
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), 0));
        let in_turn: Vec<_> = families_in_turn(addresses.collect())
            .map(|address| address.ip().to_string())
            .collect();
        in_turn.join(" ")
    }

    #[test]
    fn the_families_take_turns_and_the_first_address_stays_the_first() {
        for (addresses, expected) in [
            ("", ""),
            ("::1", "::1"),
            ("1.1.1.1 1.1.1.2 1.1.1.3", "1.1.1.1 1.1.1.2 1.1.1.3"),
            ("::1 ::2 ::3 1.1.1.1", "::1 1.1.1.1 ::2 ::3"),
            ("1.1.1.1 ::1 ::2 ::3 1.1.1.2", "1.1.1.1 ::1 1.1.1.2 ::2 ::3"),
        ] {
            assert_eq!(in_turn(addresses), expected);
        }
    }
}
