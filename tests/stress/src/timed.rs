//! The end of a connection, at a chosen nanosecond of a request's way into it.
//!
//! A message that is sent into a channel while its receiver is being dropped can stay in it for ever. The window for that
//! is some 20 ns wide, so chance finds it once in 30,000 requests. Here, a request on one thread and the end of its
//! connection on another meet, and both go on from there.

use std::{
    hint::spin_loop,
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    thread::{self, yield_now},
    time::{Duration, Instant},
};

use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tower::ServiceExt;
use tower_outbound_proxy_lab::{Ca, Dice, connector};

use crate::{DURATION, Processed, StressClient, builder, request, runtime, send, watch::Watch};

/// The longest time that one thread waits for the other.
const LONGEST: Duration = Duration::from_millis(50);

/// The time after which the caller lets other threads have its core, among them perhaps the one that it waits for.
const AWAKE: Duration = Duration::from_micros(200);

/// The longest time that one of them waits before it goes on, in nanoseconds.
const SWEEP: u64 = 4000;

/// Sends requests in turn, each of them into a connection that ends at that time. The caller is on one thread, and the
/// connections are on another.
pub(super) fn race(ca: &Ca, url: String, processed: Arc<Processed>) {
    let (clock, runtime) = (Arc::new(Clock::default()), runtime(1));
    let timed = clock.clone();
    let connector = connector().map_response(move |io| TokioIo::new(Timed::new(io.into_inner(), timed.clone())));
    let client: StressClient = builder(ca).connector(connector).build().unwrap();
    let watch = Watch::new(1);
    let (caller, watched, handle) = (client.clone(), watch.clone(), runtime.handle().clone());
    thread::spawn(move || {
        let _entered = handle.enter();
        let mut dice = Dice::new(0x5eed);
        for number in 0.. {
            if !watched.goes_on() {
                break;
            }
            let request = request(&url, number);
            // No connection is idle before the first request.
            until(|| caller.stats().idle() == 1, AWAKE);
            let (roll, nanos) = (dice.roll(2 * SWEEP), Duration::from_nanos);
            watched.begins(0);
            clock.meet(nanos(roll.saturating_sub(SWEEP)));
            wait(nanos(SWEEP.saturating_sub(roll)));
            let outcome = block_on(send(&caller, request, number, &processed));
            watched.ends(0, Some(outcome));
        }
    });
    watch.watch(&client, DURATION);
    // Otherwise it tests less than it says.
    assert!(client.stats().opened > 100, "{:?}", client.stats());
}

/// Runs a future on this thread, which stays awake.
fn block_on<F: Future>(future: F) -> F::Output {
    let (mut future, since) = (pin!(future), Instant::now());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        match since.elapsed() < AWAKE {
            true => spin_loop(),
            false => yield_now(),
        }
    }
}

/// Brings a request and the end of the last connection together.
///
/// Connections are numbered from one. Each of the numbers here is that of the last connection to which it has happened.
#[derive(Debug, Default)]
struct Clock {
    opened: AtomicU64,
    /// Reading from the connection tells its task that it has ended.
    ended: AtomicU64,
    /// The task has dropped the socket, and waits for the request before it drops the rest.
    waiting: AtomicU64,
    /// The request begins.
    begun: AtomicU64,
    /// The time from then to the end of the task's wait.
    nanos: AtomicU64,
    /// The task that reads from the last connection.
    reader: Mutex<Option<Waker>>,
}

impl Clock {
    /// Ends the last connection, and returns when its task begins to wait for this time before it drops the channel.
    fn meet(&self, end: Duration) {
        let connection = self.opened.load(SeqCst);
        self.nanos.store(end.as_nanos() as u64, SeqCst);
        self.ended.store(connection, SeqCst);
        if let Some(reader) = self.reader.lock().unwrap().take() {
            reader.wake();
        }
        until(|| self.waiting.load(SeqCst) == connection, AWAKE);
        self.begun.store(connection, SeqCst);
    }

    /// Lets the task of a connection, whose socket it has dropped, meet the request.
    fn dropped(&self, connection: u64) {
        self.waiting.store(connection, SeqCst);
        if until(|| self.begun.load(SeqCst) >= connection, LONGEST) {
            wait(Duration::from_nanos(self.nanos.load(SeqCst)));
        }
    }
}

/// Waits for the other thread, for this time without giving the core away. Returns false if it does not come.
fn until(mut condition: impl FnMut() -> bool, awake: Duration) -> bool {
    let since = Instant::now();
    while !condition() {
        match since.elapsed() {
            elapsed if elapsed > LONGEST => return false,
            elapsed if elapsed > awake => yield_now(),
            _ => spin_loop(),
        }
    }
    true
}

/// Waits without giving the core away.
fn wait(duration: Duration) {
    let since = Instant::now();
    while since.elapsed() < duration {
        spin_loop();
    }
}

/// A socket that ends when the clock says so. hyper drops it first, and its channel for requests next.
#[derive(Debug)]
struct Timed {
    io: Option<TcpStream>,
    clock: Arc<Clock>,
    number: u64,
}

impl Timed {
    fn new(io: TcpStream, clock: Arc<Clock>) -> Self {
        io.set_nodelay(true).unwrap();
        Self {
            io: Some(io),
            number: clock.opened.fetch_add(1, SeqCst) + 1,
            clock,
        }
    }

    fn io(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.io.as_mut().expect("there is a socket until it is dropped"))
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.io = None;
        self.clock.dropped(self.number);
    }
}

impl Connection for Timed {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Timed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        *self.clock.reader.lock().unwrap() = Some(cx.waker().clone());
        match self.clock.ended.load(SeqCst) >= self.number {
            true => Poll::Ready(Ok(())),
            false => self.io().poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }
}
