//! [`Watch`]: finds requests that do not end.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Outcome, StressClient};

/// The time after which a request on loopback has stalled, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// The requests of some callers, watched from a thread that no request can block.
#[derive(Debug)]
pub(super) struct Watch {
    start: Instant,
    /// The time at which each caller's request began, in ms since the start. Zero is none.
    began: Vec<AtomicU64>,
    answered: AtomicU64,
    unsent: AtomicU64,
    broken: AtomicU64,
    wrong: Mutex<Option<String>>,
    stopped: AtomicBool,
}

impl Watch {
    pub(super) fn new(callers: usize) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            began: (0..callers).map(|_| AtomicU64::new(0)).collect(),
            answered: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            wrong: Mutex::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// Returns true until callers shall make no more requests.
    pub(super) fn goes_on(&self) -> bool {
        !self.stopped.load(SeqCst)
    }

    pub(super) fn begins(&self, caller: usize) {
        self.began[caller].store(self.now(), SeqCst);
    }

    /// Ends a caller's request, of which `None` was given up.
    pub(super) fn ends(&self, caller: usize, outcome: Option<Outcome>) {
        self.began[caller].store(0, SeqCst);
        let counter = match outcome {
            Some(Outcome::Answered) => &self.answered,
            Some(Outcome::Unsent) => &self.unsent,
            Some(Outcome::Broken) => &self.broken,
            None => return,
            Some(Outcome::Wrong(wrong)) => {
                self.wrong.lock().unwrap().get_or_insert(wrong);
                return;
            }
        };
        counter.fetch_add(1, SeqCst);
    }

    /// Returns the numbers of requests that were answered, unsent and broken.
    pub(super) fn counts(&self) -> [u64; 3] {
        [&self.answered, &self.unsent, &self.broken].map(|counter| counter.load(SeqCst))
    }

    /// Lets the callers make requests for a while, and panics if one does not end.
    #[track_caller]
    pub(super) fn watch(&self, client: &StressClient, duration: Duration) {
        let is_over = || self.start.elapsed() > duration;
        loop {
            thread::sleep(Duration::from_millis(100));
            if is_over() {
                self.stopped.store(true, SeqCst);
            }
            if let Some(wrong) = &*self.wrong.lock().unwrap() {
                panic!("{wrong}; ended {:?} (answered, unsent, broken)", self.counts());
            }
            let now = self.now();
            let first = self
                .began
                .iter()
                .map(|began| began.load(SeqCst))
                .filter(|began| *began > 0)
                .min();
            match first {
                Some(began) if now - began > PATIENCE.as_millis() as u64 => {
                    let stalled = self.began.iter().filter(|began| {
                        let began = began.load(SeqCst);
                        began > 0 && now - began > 1000
                    });
                    panic!(
                        "{} requests do not end, the first began {:.1} s after the start; ended {:?} (answered, unsent, broken); {:?}",
                        stalled.count(),
                        began as f64 / 1000.0,
                        self.counts(),
                        client.stats()
                    );
                }
                None if is_over() => break,
                _ => {}
            }
        }
        println!(
            "{:?} (answered, unsent, broken) in {:?}; {:?}",
            self.counts(),
            self.start.elapsed(),
            client.stats()
        );
    }

    /// Returns the ms since the start, and at least one.
    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64 + 1
    }
}
